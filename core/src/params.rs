//! The parameters of a model: checked once, valid ever after.
//!
//! Source: `getScalarMetricWithTimeOfDayAnomalyParams` of nupic and its `best_single_metric_anomaly_params_cpp.json`,
//! which is what htmengine and NAB's `numenta` detector use. Departures: only the value encoder's resolution may
//! differ between models so far.

use std::fmt;
use std::sync::Arc;

use htm_kernels::backtracking_tm::BacktrackingTmParams;
use htm_kernels::permanence::PermanenceCodes;
use htm_kernels::spatial_pooler::SpatialPoolerParams;
use htm_kernels::temporal_memory::TemporalMemoryParams;

use crate::encoder::EncoderParams;

/// Buckets that the declared value range is divided into.
pub const BUCKETS_PER_RANGE: f64 = 130.0;

/// Smallest resolution unless a model asks for another.
pub const DEFAULT_MIN_RESOLUTION: f64 = 0.001;

/// Share of the observed range added below and above it when a range is estimated.
pub const RANGE_PADDING: f64 = 0.2;

/// The smallest and largest value a metric is expected to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueRange {
    /// Finite, not above `max`.
    pub min: f64,
    /// Finite.
    pub max: f64,
}

impl ValueRange {
    /// A range; equal ends are allowed.
    ///
    /// # Errors
    /// If an end is not finite, `min` is above `max`, or they lie so far apart that their distance overflows.
    pub fn new(min: f64, max: f64) -> Result<Self, ParamsError> {
        if !min.is_finite() || !max.is_finite() || min > max || !(max - min).is_finite() {
            return Err(ParamsError::Range { min, max });
        }
        Ok(Self { min, max })
    }

    /// The range of observed values, widened by [`RANGE_PADDING`] of its width on each side.
    ///
    /// # Errors
    /// As [`Self::new`], also if the padded range overflows.
    pub fn padded(min: f64, max: f64) -> Result<Self, ParamsError> {
        let padding = (max - min).abs() * RANGE_PADDING;
        Self::new(min - padding, max + padding)
    }

    /// Input units per bucket: the range in [`BUCKETS_PER_RANGE`] parts, but at least `min_resolution`
    /// ([`DEFAULT_MIN_RESOLUTION`] if `None`). A range of equal ends counts as 1 wide.
    pub fn resolution(self, min_resolution: Option<f64>) -> f64 {
        let max = if self.max <= self.min { self.min + 1.0 } else { self.max };
        ((max - self.min) / BUCKETS_PER_RANGE).max(min_resolution.unwrap_or(DEFAULT_MIN_RESOLUTION))
    }
}

/// Everything that fixes a model's behaviour before its first record.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelParams {
    encoder: EncoderParams,
    spatial_pooler: SpatialPoolerParams,
    temporal_memory: BacktrackingTmParams,
    permanence_codes: Option<Arc<PermanenceCodes>>,
    description: Arc<str>,
}

impl ModelParams {
    /// The standard anomaly model for one metric, its value encoder having `resolution`.
    ///
    /// # Errors
    /// If `resolution` is not finite or not above 0.
    pub fn single_metric(resolution: f64) -> Result<Self, ParamsError> {
        let encoder = EncoderParams::time_of_day_and_value(resolution)?;
        let spatial_pooler = standard_spatial_pooler(encoder.width());
        let temporal_memory = standard_temporal_memory();
        let description = format!("{encoder:?} {spatial_pooler:?} {temporal_memory:?}").into();
        let permanence_codes = PermanenceCodes::of(&temporal_memory).map(Arc::new);
        Ok(Self { encoder, spatial_pooler, temporal_memory, permanence_codes, description })
    }

    /// The parameters that have this description; `None` if this program knows none that do.
    pub fn from_description(description: &str) -> Option<Self> {
        let after = description.rsplit_once("resolution: ")?.1;
        let resolution = after.split([',', ' ', '}']).next()?.parse().ok()?;
        Self::single_metric(resolution).ok().filter(|params| params.description() == description)
    }

    /// How records become bits.
    pub fn encoder(&self) -> &EncoderParams {
        &self.encoder
    }

    /// The spatial pooler's numbers.
    pub fn spatial_pooler(&self) -> &SpatialPoolerParams {
        &self.spatial_pooler
    }

    /// The temporal memory's numbers.
    pub fn temporal_memory(&self) -> &BacktrackingTmParams {
        &self.temporal_memory
    }

    /// The codes of the temporal memory's permanences, if they are few enough to have some.
    pub fn permanence_codes(&self) -> Option<&Arc<PermanenceCodes>> {
        self.permanence_codes.as_ref()
    }

    /// All parameters as text, for a model file's parameter section. Equal texts mean equal behaviour.
    pub fn description(&self) -> &str {
        &self.description
    }
}

/// NuPIC 1.0.5's spatial pooler of the single-metric anomaly model over `input_bits` bits.
pub fn standard_spatial_pooler(input_bits: usize) -> SpatialPoolerParams {
    SpatialPoolerParams {
        input_bits,
        columns: 2048,
        active_columns: 40,
        potential_share: 0.8,
        active_increment: 0.003,
        inactive_decrement: 0.0005,
        connected_permanence: 0.2,
        min_overlap_duty_share: 0.001,
        duty_cycle_period: 1000,
        seed: 1956,
    }
}

/// NuPIC 1.0.5's backtracking temporal memory of the single-metric anomaly model.
pub fn standard_temporal_memory() -> BacktrackingTmParams {
    BacktrackingTmParams {
        columns: 2048,
        cells_per_column: 32,
        activation_threshold: 13,
        min_threshold: 10,
        new_synapse_count: 20,
        max_segments_per_cell: 128,
        max_synapses_per_segment: 32,
        initial_permanence: 0.21,
        connected_permanence: 0.5,
        permanence_increment: 0.1,
        permanence_decrement: 0.1,
        permanence_max: 1.0,
        pam_length: 3,
        max_sequence_length: 32,
        max_infer_backtrack: 10,
        max_learn_backtrack: 5,
        seed: 1960,
    }
}

/// NuPIC 1.0.5's plain temporal memory (`tm_cpp`) with the numbers of NAB's `numentaTM` detector.
pub fn standard_plain_memory() -> TemporalMemoryParams {
    TemporalMemoryParams {
        columns: 2048,
        cells_per_column: 32,
        activation_threshold: 20,
        min_threshold: 13,
        new_synapse_count: 31,
        max_segments_per_cell: 128,
        max_synapses_per_segment: 128,
        initial_permanence: 0.24,
        connected_permanence: 0.5,
        permanence_increment: 0.04,
        permanence_decrement: 0.008,
        predicted_segment_decrement: 0.001,
        seed: 1960,
    }
}

/// Why parameters were refused.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamsError {
    /// Not a range.
    Range {
        /// Found.
        min: f64,
        /// Found.
        max: f64,
    },
    /// Not a resolution.
    Resolution {
        /// Found.
        found: f64,
    },
    /// Not a scalar encoder.
    ScalarEncoder {
        /// What was found and what was expected.
        reason: String,
    },
}

impl fmt::Display for ParamsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { min, max } if !min.is_finite() || !max.is_finite() => {
                write!(formatter, "min {min} and max {max}: expected finite numbers")
            }
            Self::Range { min, max } if min > max => {
                write!(formatter, "min {min} lies above max {max}: exchange them")
            }
            Self::Range { min, max } => {
                write!(formatter, "min {min} and max {max} are too far apart: narrow the range")
            }
            Self::Resolution { found } => {
                write!(formatter, "the resolution is {found}; give a finite number above 0")
            }
            Self::ScalarEncoder { reason } => formatter.write_str(reason),
        }
    }
}

impl std::error::Error for ParamsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolution_follows_the_reference() {
        let resolution = |min, max, least| ValueRange::new(min, max).map(|range| range.resolution(least));
        assert_eq!(resolution(-7829.8, 47034.8, None), Ok(422.035_384_615_384_66));
        // min == max counts as a range of 1.
        assert_eq!(resolution(5.0, 5.0, None), Ok(1.0 / 130.0));
        // The floor of 0.001, and one that was asked for.
        assert_eq!(resolution(0.0, 0.01, None), Ok(0.001));
        assert_eq!(resolution(0.0, 1.0, Some(0.5)), Ok(0.5));
        assert!(resolution(1.0, 0.0, None).is_err());
        assert!(resolution(f64::MIN, f64::MAX, None).is_err());
        assert!(resolution(f64::NAN, 1.0, None).is_err());
    }

    #[test]
    fn a_description_names_its_parameters() {
        for resolution in [0.001, 422.035_384_615_384_66, 1.0, 1e-7, 1e22] {
            let params = ModelParams::single_metric(resolution).expect("valid");
            assert_eq!(ModelParams::from_description(params.description()), Some(params.clone()));
            let other = params.description().replace("columns: 2048", "columns: 1024");
            assert_eq!(ModelParams::from_description(&other), None);
        }
        assert_eq!(ModelParams::from_description("resolution: "), None);
    }

    #[test]
    fn padding_adds_a_fifth_on_each_side() {
        let range = ValueRange::padded(8.0, 39197.0).expect("finite");
        assert_eq!(range, ValueRange { min: -7829.8, max: 47034.8 });
    }
}
