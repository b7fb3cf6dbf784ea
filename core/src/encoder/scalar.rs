//! A value on a fixed range as a run of `w` consecutive bits, the run moving with the value.
//!
//! The encoder is sized by the number of bits, by the radius (values further apart share no bit) or by the
//! resolution (input units per bit); each gives the other two.
//!
//! Source: `scalar.py` of nupic's encoders. Departure: a value that is to be clipped is clipped at both ends alike.

use serde::{Deserialize, Serialize};

use super::EncodeError;
use crate::params::ParamsError;
use crate::sdr::Sdr;

/// Most bits of one encoder; far more than a spatial pooler takes.
const MAX_WIDTH: f64 = 65_536.0;

/// What a scalar encoder's width follows from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalarSize {
    /// Number of bits in all.
    Bits(usize),
    /// Input units beyond which two values share no bit.
    Radius(f64),
    /// Input units per bit.
    Resolution(f64),
}

/// Fixed numbers of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalarParams {
    /// Set bits of each value, odd.
    pub run_bits: usize,
    /// Smallest value.
    pub min: f64,
    /// Largest value; on a ring, the one that equals the smallest.
    pub max: f64,
    /// Whether the range is a ring.
    pub is_periodic: bool,
    /// Whether values outside count as the nearest end; not on a ring.
    pub clips: bool,
    /// How wide it is.
    pub size: ScalarSize,
}

/// The encoder; it has no state.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarEncoder {
    params: ScalarParams,
    /// Input units per bit.
    resolution: f64,
    /// Bits below the smallest value's centre, none for a periodic range.
    padding: usize,
    width: usize,
}

impl ScalarEncoder {
    /// An encoder with these numbers.
    ///
    /// # Errors
    /// If the run is even, the range is empty or not finite, the size is not above 0 (in bits, not above the run), or
    /// the width exceeds 65,536 bits.
    pub fn new(params: ScalarParams) -> Result<Self, ParamsError> {
        let ScalarParams { run_bits, min, max, is_periodic, clips, size } = params;
        let refused = || {
            let kind = if is_periodic { "ring" } else { "range" };
            ParamsError::ScalarEncoder {
                reason: format!(
                    "a scalar encoder of {run_bits} bits on the {kind} {min} to {max} with {size:?} is not possible; \
                     give an odd number of bits, a finite range (clipped only if it is no ring), and a size that \
                     needs more bits than the run and at most 65,536"
                ),
            }
        };
        let inner = max - min;
        if run_bits % 2 == 0 || !inner.is_finite() || inner <= 0.0 || clips && is_periodic {
            return Err(refused());
        }
        #[expect(clippy::cast_precision_loss, reason = "a few dozen bits")]
        let run = run_bits as f64;
        let padding = if is_periodic { 0 } else { (run_bits - 1) / 2 };
        let width_of = |radius: f64, resolution: f64| {
            let range = if is_periodic { inner } else { inner + resolution };
            #[expect(clippy::cast_precision_loss, reason = "a few dozen bits")]
            let padded = (run * (range / radius) + 2.0 * padding as f64).ceil();
            padded
        };
        let (resolution, width) = match size {
            #[expect(clippy::cast_precision_loss, reason = "checked below to be at most 65,536")]
            ScalarSize::Bits(bits) if bits > run_bits => {
                let steps = if is_periodic { bits } else { bits - run_bits };
                (inner / steps as f64, bits as f64)
            }
            ScalarSize::Bits(_) => return Err(refused()),
            ScalarSize::Radius(radius) => {
                let resolution = radius / run;
                (resolution, width_of(radius, resolution))
            }
            ScalarSize::Resolution(resolution) => (resolution, width_of(resolution * run, resolution)),
        };
        if !resolution.is_finite() || resolution <= 0.0 || !(run..=MAX_WIDTH).contains(&width) {
            return Err(refused());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1..=65,536 as checked")]
        let width = width as usize;
        Ok(Self { params, resolution, padding, width })
    }

    /// An encoder with `run_bits` set bits (odd) in which values more than `radius` apart share none.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_radius(
        run_bits: usize,
        min: f64,
        max: f64,
        radius: f64,
        is_periodic: bool,
    ) -> Result<Self, ParamsError> {
        let size = ScalarSize::Radius(radius);
        Self::new(ScalarParams { run_bits, min, max, is_periodic, clips: false, size })
    }

    /// The fixed numbers.
    pub fn params(&self) -> &ScalarParams {
        &self.params
    }

    /// Number of bits.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether `value` can be encoded.
    ///
    /// # Errors
    /// If it lies outside the range (a periodic range does not include its upper end), unless it is clipped.
    pub fn check(&self, value: f64) -> Result<(), EncodeError> {
        let ScalarParams { min, max, is_periodic, clips, .. } = self.params;
        let is_inside = min <= value && if is_periodic { value < max } else { value <= max };
        if is_inside || clips { Ok(()) } else { Err(EncodeError::OutOfRange { value, min, max }) }
    }

    /// Sets the value's bits at `offset` and returns its bucket.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn encode(&self, value: f64, offset: usize, sdr: &mut Sdr) -> Result<usize, EncodeError> {
        self.check(value)?;
        let ScalarParams { run_bits, min, max, is_periodic, .. } = self.params;
        let half_run = (run_bits - 1) / 2;
        if is_periodic {
            #[expect(clippy::cast_precision_loss, reason = "at most 65,536 bits")]
            let centre = whole((value - min) * self.width as f64 / (max - min));
            for bit in 0..run_bits {
                sdr.set(offset + (centre + self.width + bit - half_run) % self.width);
            }
            Ok(centre)
        } else {
            let value = value.clamp(min, max);
            let bucket = whole(((value - min) + self.resolution / 2.0) / self.resolution);
            let first = bucket + self.padding - half_run;
            for bit in first..first + run_bits {
                sdr.set(offset + bit);
            }
            Ok(bucket)
        }
    }
}

/// The integer part of a number that the range check keeps within 0..=65,536.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=65,536 by the range check")]
fn whole(value: f64) -> usize {
    value.trunc() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(encoder: &ScalarEncoder, value: f64) -> Vec<usize> {
        let mut sdr = Sdr::new(encoder.width());
        encoder.encode(value, 0, &mut sdr).expect("in range");
        sdr.active_bits().collect()
    }

    #[test]
    fn a_fixed_range_keeps_every_run_inside_the_width() {
        let encoder = ScalarEncoder::with_radius(21, 0.0, 1.0, 1.0, false).expect("valid");
        assert_eq!(encoder.width(), 42);
        assert_eq!(bits(&encoder, 0.0), (0..21).collect::<Vec<_>>());
        assert_eq!(bits(&encoder, 1.0), (21..42).collect::<Vec<_>>());
    }

    #[test]
    fn refuses_values_outside_the_range() {
        let fixed = ScalarEncoder::with_radius(21, 0.0, 1.0, 1.0, false).expect("valid");
        assert!(fixed.check(1.000_001).is_err());
        assert!(fixed.check(-0.000_001).is_err());
        let periodic = ScalarEncoder::with_radius(21, 0.0, 7.0, 1.0, true).expect("valid");
        assert!(periodic.check(7.0).is_err());
        assert!(periodic.check(6.999).is_ok());
    }

    #[test]
    fn refuses_impossible_shapes() {
        assert!(ScalarEncoder::with_radius(20, 0.0, 1.0, 1.0, false).is_err());
        assert!(ScalarEncoder::with_radius(21, 1.0, 1.0, 1.0, false).is_err());
        assert!(ScalarEncoder::with_radius(21, 0.0, 1.0, 0.0, false).is_err());
        assert!(ScalarEncoder::with_radius(21, 0.0, 1e9, 1.0, false).is_err());
        assert!(ScalarEncoder::with_radius(21, 0.0, f64::INFINITY, 1.0, false).is_err());
    }

    #[test]
    fn the_number_of_bits_gives_the_resolution() {
        let params = ScalarParams {
            run_bits: 21,
            min: 0.0,
            max: 5000.0,
            is_periodic: false,
            clips: true,
            size: ScalarSize::Bits(272),
        };
        let encoder = ScalarEncoder::new(params).expect("valid");
        assert_eq!(encoder.width(), 272);
        assert_eq!(bits(&encoder, 0.0), (0..21).collect::<Vec<_>>());
        assert_eq!(bits(&encoder, 5000.0), (251..272).collect::<Vec<_>>());
        // 251 steps of 5000 / 251: half a step further is the next bucket.
        assert_eq!(bits(&encoder, 9.9), (0..21).collect::<Vec<_>>());
        assert_eq!(bits(&encoder, 10.0), (1..22).collect::<Vec<_>>());
        assert_eq!(bits(&encoder, 1e9), bits(&encoder, 5000.0));
        assert_eq!(bits(&encoder, -1e9), bits(&encoder, 0.0));
        let ring = ScalarParams { is_periodic: true, clips: false, size: ScalarSize::Bits(50), ..params };
        let ring = ScalarEncoder::new(ring).expect("valid");
        assert_eq!(bits(&ring, 2500.0), (15..36).collect::<Vec<_>>());
    }

    #[test]
    fn resolution_and_radius_say_the_same() {
        let with = |size| {
            ScalarEncoder::new(ScalarParams {
                run_bits: 21,
                min: 0.0,
                max: 100.0,
                is_periodic: false,
                clips: false,
                size,
            })
            .expect("valid")
        };
        let (by_radius, by_resolution) = (with(ScalarSize::Radius(10.5)), with(ScalarSize::Resolution(0.5)));
        // 201 buckets and 20 bits around them.
        assert_eq!((by_radius.width(), by_resolution.width()), (221, 221));
        assert_eq!(bits(&by_radius, 42.0), bits(&by_resolution, 42.0));
    }
}
