//! How good are the scores? Detectors over labelled series, judged as the Numenta Anomaly Benchmark (NAB) does and by
//! windows hit and false alarms.
//!
//! Flow: [`series`] and [`nab_corpus`] read files; [`window`] turns labels into windows; [`scoring_run`] feeds a series
//! record by record to the [`detector`]s; [`sweep`], [`nab_score`] and [`halves`] compute NAB's figures, [`alarms`] those
//! that people ask for; [`plot`] draws. The verbs are `htmengine nab` and `htmengine evaluate` (`service/src/cli`).
//!
//! Invariants: a detector sees one record after the other and nothing else, so it cannot look ahead; labels reach only
//! those who judge. What is judged is pure: the same scores and windows give the same figures.
//!
//! This room leaves printing to the command line and knows neither bus nor repository.

pub mod series;

pub mod nab_corpus;

pub mod window;

pub mod observation;

pub mod value_range;

pub mod htm_stream;

pub mod detector;

pub mod likelihood_detector;

pub mod range_rule;

pub mod hourly_z_score;

pub mod random_cut_forest;

pub mod scoring_run;

pub mod profile;

pub mod sweep;

pub mod nab_score;

pub mod halves;

pub mod alarms;

pub mod plot;

use std::fmt;
use std::path::Path;

/// Why a benchmark could not be run: the file, the line where there is one, what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchmarkError {
    reason: String,
}

impl BenchmarkError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Something wrong with a file as a whole.
    pub(crate) fn of_file(path: &Path, reason: impl fmt::Display) -> Self {
        Self::new(format!("{}: {reason}", path.display()))
    }
}

impl fmt::Display for BenchmarkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for BenchmarkError {}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "rows of files, far fewer than 2^53")]
fn real(count: usize) -> f64 {
    count as f64
}
