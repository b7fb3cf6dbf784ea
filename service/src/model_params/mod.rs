//! The two JSON texts that a monitored metric carries in its row.
//!
//! Column `parameters` holds a [`ModelSpec`]: what somebody asked for. Column `model_params` holds a
//! [`ModelStart`]: what follows from it, fixed when the model is started. Monitoring writes both, the scheduler
//! reads the second, results show the `metricSpec` of the first.
//!
//! `complete` reads `completeModelParams`, `model_config` turns a `modelConfig` (anybody's, or our own of
//! `standard`) into the parameters of a model with the help of `encoders` and `regions`; `json_section` is how
//! they read JSON.
//!
//! Invariants: a value that was made here or read here is valid (finite numbers, both or neither end of the range,
//! `min <= max`), and floats survive writing and reading bit for bit. No parameter is passed over in silence: what has
//! no effect here is listed where it is read, and anything else is refused by name and value.
//!
//! Source: htmengine's `model_spec_schema.json`, `custom_metric_spec_schema.json` and the parameters its
//! `generateSwarmParams` took from NuPIC 1.0.5's `anomaly_params_random_encoder`.
//! Departures: unknown keys are refused by name (the original ignored them unless a caller validated); `min > max` is
//! refused; `model_params` has our own top-level key `htmengine`, which names the life of the model and the range it
//! was started with, and has no `anomalyLikelihoodParams`, since likelihood state lives in the model's image.

mod complete;
mod encoders;
mod json_section;
mod model_config;
mod regions;
mod spec;
mod standard;
mod start;

use std::fmt;

use htm_core::params::ParamsError;

pub use self::spec::{DEFAULT_LEARNING_ROWS, LEARNING_ROWS, ModelSpec};
pub use self::start::{ADOPTED_GENERATION, GENERATION_CHARS, ModelStart};

/// Longest text of a specification, in bytes: with what a start adds to it, it fits the original's text columns.
pub const MAX_SPEC_BYTES: usize = 60_000;

/// Why parameters were refused: what was found, what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    reason: String,
}

impl SpecError {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for SpecError {}

impl From<ParamsError> for SpecError {
    fn from(error: ParamsError) -> Self {
        Self::new(error.to_string())
    }
}

fn check_min_resolution(min_resolution: Option<f64>) -> Result<(), SpecError> {
    match min_resolution {
        Some(number) if !number.is_finite() || number < 0.0 => {
            Err(SpecError::new(format!("minResolution {number}: expected a finite number, 0 or above")))
        }
        _ => Ok(()),
    }
}
