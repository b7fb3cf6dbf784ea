//! The parameters of a model: checked once, valid ever after.
//!
//! Any parameters within the limits of `limits` make a model; `description` writes them as text and reads them back.
//! [`ModelParams::single_metric`] is the standard set.
//!
//! Source: `getScalarMetricWithTimeOfDayAnomalyParams` of nupic and its `best_single_metric_anomaly_params_cpp.json`,
//! which is what htmengine and NAB's `numenta` detector use. Names in errors are those of nupic's JSON, which is where
//! users write them.

mod description;
mod limits;

use std::fmt;
use std::sync::Arc;

/// The numbers of a backtracking temporal memory, for those above this crate.
pub use htm_kernels::backtracking_tm::BacktrackingTmParams;
use htm_kernels::permanence::PermanenceCodes;
/// The numbers of a spatial pooler, likewise.
pub use htm_kernels::spatial_pooler::SpatialPoolerParams;
/// The numbers of a plain temporal memory, likewise.
pub use htm_kernels::temporal_memory::TemporalMemoryParams;

use crate::classifier::ClassifierParams;
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

    /// Whether `value` lies in it.
    pub fn contains(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    /// Input units per bucket: the range in [`BUCKETS_PER_RANGE`] parts, but at least `min_resolution`
    /// ([`DEFAULT_MIN_RESOLUTION`] if `None`). A range of equal ends counts as 1 wide.
    pub fn resolution(self, min_resolution: Option<f64>) -> f64 {
        let max = if self.max <= self.min { self.min + 1.0 } else { self.max };
        ((max - self.min) / BUCKETS_PER_RANGE).max(min_resolution.unwrap_or(DEFAULT_MIN_RESOLUTION))
    }
}

/// Which temporal memory a model has, and its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MemoryParams {
    /// `cpp` in the reference: sequences with backtracking.
    Backtracking(BacktrackingTmParams),
    /// `tm_cpp` in the reference: the plain memory.
    Plain(TemporalMemoryParams),
}

impl MemoryParams {
    /// The reference's name of the implementation.
    pub fn implementation(&self) -> &'static str {
        match self {
            Self::Backtracking(_) => "cpp",
            Self::Plain(_) => "tm_cpp",
        }
    }
}

/// Everything that fixes a model's behaviour before its first record.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelParams {
    encoder: EncoderParams,
    spatial_pooler: SpatialPoolerParams,
    memory: MemoryParams,
    classifier: Option<ClassifierParams>,
    permanence_codes: Option<Arc<PermanenceCodes>>,
    description: Arc<str>,
}

impl ModelParams {
    /// A model of these parts. The spatial pooler's `input_bits` is set to the encoder's width.
    ///
    /// # Errors
    /// [`ParamsError`] names the first number outside its limits.
    pub fn new(
        encoder: EncoderParams,
        spatial_pooler: SpatialPoolerParams,
        memory: MemoryParams,
        classifier: Option<ClassifierParams>,
    ) -> Result<Self, ParamsError> {
        let spatial_pooler = SpatialPoolerParams { input_bits: encoder.width(), ..spatial_pooler };
        limits::check(&encoder, &spatial_pooler, &memory, classifier.as_ref())?;
        let description = description::text(&encoder, &spatial_pooler, &memory, classifier.as_ref()).into();
        let permanence_codes = match &memory {
            MemoryParams::Backtracking(params) => PermanenceCodes::of(params).map(Arc::new),
            MemoryParams::Plain(_) => None,
        };
        Ok(Self { encoder, spatial_pooler, memory, classifier, permanence_codes, description })
    }

    /// The standard anomaly model for one metric, its value encoder having `resolution`.
    ///
    /// # Errors
    /// If `resolution` is not finite or not above 0.
    pub fn single_metric(resolution: f64) -> Result<Self, ParamsError> {
        let encoder = EncoderParams::time_of_day_and_value(resolution)?;
        let spatial_pooler = standard_spatial_pooler(encoder.width());
        Self::new(encoder, spatial_pooler, MemoryParams::Backtracking(standard_temporal_memory()), None)
    }

    /// The same with another temporal memory.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_memory(self, memory: MemoryParams) -> Result<Self, ParamsError> {
        Self::new(self.encoder, self.spatial_pooler, memory, self.classifier)
    }

    /// The same with a classifier.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_classifier(self, classifier: ClassifierParams) -> Result<Self, ParamsError> {
        Self::new(self.encoder, self.spatial_pooler, self.memory, Some(classifier))
    }

    /// The parameters that have this description; `None` if this program knows none that do.
    pub fn from_description(description: &str) -> Option<Self> {
        description::read(description).filter(|params| params.description() == description)
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
    pub fn memory(&self) -> &MemoryParams {
        &self.memory
    }

    /// The classifier's numbers, if there is one.
    pub fn classifier(&self) -> Option<&ClassifierParams> {
        self.classifier.as_ref()
    }

    /// The codes of the backtracking memory's permanences, if they are few enough to have some.
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
    /// A number outside its limits.
    OutOfRange {
        /// The parameter, as nupic's JSON names it.
        name: &'static str,
        /// Found.
        found: String,
        /// What would do.
        expected: String,
    },
}

impl ParamsError {
    pub(crate) fn out_of_range(
        name: &'static str,
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::OutOfRange { name, found: found.to_string(), expected: expected.into() }
    }
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
            Self::OutOfRange { name, found, expected } => {
                write!(formatter, "{name} is {found}; expected {expected}")
            }
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
    fn padding_adds_a_fifth_on_each_side() {
        let range = ValueRange::padded(8.0, 39197.0).expect("finite");
        assert_eq!(range, ValueRange { min: -7829.8, max: 47034.8 });
    }
}
