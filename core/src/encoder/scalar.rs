//! A value on a fixed range as a run of `w` consecutive bits, the run moving with the value.
//!
//! Source: `scalar.py` of nupic's encoders, sized by radius. Departure: out-of-range values are an error (the
//! reference can also clip them).

use super::EncodeError;
use crate::params::ParamsError;
use crate::sdr::Sdr;

/// The encoder; it has no state.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarEncoder {
    run_bits: usize,
    min: f64,
    max: f64,
    is_periodic: bool,
    /// Input units per bit.
    resolution: f64,
    /// Bits below the smallest value's centre, none for a periodic range.
    padding: usize,
    width: usize,
}

impl ScalarEncoder {
    /// An encoder with `run_bits` set bits (odd) in which values more than `radius` apart share none.
    ///
    /// # Errors
    /// If `run_bits` is even, the range is empty or not finite, `radius` is not above 0, or the width exceeds
    /// 65,536 bits.
    pub fn with_radius(
        run_bits: usize,
        min: f64,
        max: f64,
        radius: f64,
        is_periodic: bool,
    ) -> Result<Self, ParamsError> {
        let is_valid = run_bits % 2 == 1 && min.is_finite() && max.is_finite() && min < max && radius > 0.0;
        #[expect(clippy::cast_precision_loss, reason = "a few dozen bits")]
        let run = run_bits as f64;
        let padding = if is_periodic { 0 } else { (run_bits - usize::from(run_bits > 0)) / 2 };
        let resolution = radius / run;
        let range = if is_periodic { max - min } else { (max - min) + resolution };
        #[expect(clippy::cast_precision_loss, reason = "a few dozen bits")]
        let width = (run * (range / radius) + 2.0 * padding as f64).ceil();
        if !is_valid || !(run..=65_536.0).contains(&width) {
            return Err(ParamsError::ScalarEncoder {
                reason: format!(
                    "a scalar encoder of {run_bits} bits on {min} to {max} with radius {radius} is not possible; give \
                     an odd number of bits, a finite range and a radius that needs at most 65,536 bits"
                ),
            });
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1..=65,536 as checked")]
        let width = width as usize;
        Ok(Self { run_bits, min, max, is_periodic, resolution, padding, width })
    }

    /// Number of bits.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether `value` can be encoded.
    ///
    /// # Errors
    /// If it lies outside the range (a periodic range does not include its upper end).
    pub fn check(&self, value: f64) -> Result<(), EncodeError> {
        let is_inside =
            self.min <= value && if self.is_periodic { value < self.max } else { value <= self.max };
        if is_inside { Ok(()) } else { Err(EncodeError { value, min: self.min, max: self.max }) }
    }

    /// Sets the value's bits at `offset` and returns its bucket.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn encode(&self, value: f64, offset: usize, sdr: &mut Sdr) -> Result<usize, EncodeError> {
        self.check(value)?;
        let half_run = (self.run_bits - 1) / 2;
        if self.is_periodic {
            #[expect(clippy::cast_precision_loss, reason = "at most 65,536 bits")]
            let centre = whole((value - self.min) * self.width as f64 / (self.max - self.min));
            for bit in 0..self.run_bits {
                sdr.set(offset + (centre + self.width + bit - half_run) % self.width);
            }
            Ok(centre)
        } else {
            let bucket = whole(((value - self.min) + self.resolution / 2.0) / self.resolution);
            let first = bucket + self.padding - half_run;
            for bit in first..first + self.run_bits {
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
}
