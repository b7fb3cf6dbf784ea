//! The detectors by name, and one of them at work.
//!
//! A detector is given one [`Observation`] after the other and answers each with a score from 0 to 1. Adding one means a
//! variant in each of the two enums here.

use clap::ValueEnum;
use htm_core::detection::{self, ALERT_THRESHOLD};
use htm_core::encoder::Record;

use super::BenchmarkError;
use super::hourly_z_score::HourlyZScore;
use super::likelihood_detector::LikelihoodDetector;
use super::observation::Observation;
use super::random_cut_forest::RandomCutForest;
use super::range_rule::RangeRule;

/// Which detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DetectorKind {
    /// The engine's fused score, where it alerts
    Fused,
    /// NAB's `numenta` detector: likelihood of the model's raw scores, and a rule for values never seen
    Likelihood,
    /// The model's raw anomaly score
    Raw,
    /// Baseline: values outside all seen before
    RangeRule,
    /// Baseline: robust z-score among the values of the same hour of the day
    HourlyZScore,
    /// Baseline: random cut forest over the last 8 values
    RandomCutForest,
}

impl DetectorKind {
    /// The engine's own, whose threshold `htmengine evaluate --threshold` sets.
    pub const ENGINE: Self = Self::Fused;
    /// Those that `htmengine evaluate` compares, the engine's own first.
    pub const COMPARED: [Self; 5] =
        [Self::Fused, Self::Likelihood, Self::RangeRule, Self::HourlyZScore, Self::RandomCutForest];

    /// Its word on the command line and in file names; without underscore, at which NAB would cut it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fused => "fused",
            Self::Likelihood => "likelihood",
            Self::Raw => "raw",
            Self::RangeRule => "range-rule",
            Self::HourlyZScore => "hourly-z-score",
            Self::RandomCutForest => "random-cut-forest",
        }
    }

    /// Whether it looks at the model's raw scores.
    pub fn needs_model(self) -> bool {
        matches!(self, Self::Fused | Self::Likelihood | Self::Raw)
    }

    /// Scores from here on are alerts, unless somebody says otherwise.
    pub fn default_threshold(self) -> f64 {
        match self {
            Self::Fused => ALERT_THRESHOLD,
            // The threshold that is best on NAB for the published scores, carried over unchanged.
            Self::Likelihood => 0.543,
            // Nothing was predicted.
            Self::Raw => 1.0,
            // The usual limit of each, see its file.
            Self::RangeRule | Self::HourlyZScore | Self::RandomCutForest => 0.5,
        }
    }
}

/// A detector at work on one series.
pub enum Detector {
    /// As [`DetectorKind::Fused`].
    Fused(Box<detection::Detector>),
    /// As [`DetectorKind::Likelihood`].
    Likelihood(Box<LikelihoodDetector>),
    /// As [`DetectorKind::Raw`].
    Raw,
    /// As [`DetectorKind::RangeRule`].
    RangeRule(RangeRule),
    /// As [`DetectorKind::HourlyZScore`].
    HourlyZScore(HourlyZScore),
    /// As [`DetectorKind::RandomCutForest`].
    RandomCutForest(Box<RandomCutForest>),
}

impl Detector {
    /// A detector that has seen nothing. `file_rows` is for NAB's likelihood, which is told it; see
    /// [`LikelihoodDetector`].
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(kind: DetectorKind, file_rows: usize) -> Result<Self, BenchmarkError> {
        Ok(match kind {
            DetectorKind::Fused => Self::Fused(Box::default()),
            DetectorKind::Likelihood => Self::Likelihood(Box::new(LikelihoodDetector::for_file(file_rows))),
            DetectorKind::Raw => Self::Raw,
            DetectorKind::RangeRule => Self::RangeRule(RangeRule::default()),
            DetectorKind::HourlyZScore => Self::HourlyZScore(HourlyZScore::default()),
            DetectorKind::RandomCutForest => Self::RandomCutForest(Box::new(RandomCutForest::new()?)),
        })
    }

    /// Score of the next record, 0 (normal) to 1.
    ///
    /// # Errors
    /// If the detector cannot take the record.
    pub fn score(&mut self, observation: &Observation) -> Result<f64, BenchmarkError> {
        Ok(match self {
            Self::Fused(detector) => {
                let record = Record { timestamp: observation.timestamp, value: observation.value };
                detector.detect(record, observation.raw_score).alert_score
            }
            Self::Likelihood(detector) => detector.score(observation),
            Self::Raw => f64::from(observation.raw_score),
            Self::RangeRule(rule) => rule.score(observation),
            Self::HourlyZScore(detector) => detector.score(observation),
            Self::RandomCutForest(forest) => forest.score(observation)?,
        })
    }
}
