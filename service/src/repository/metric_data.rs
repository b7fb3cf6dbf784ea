//! The `metric_data` table as values: one row per stored sample, completed later with its scores.

use htm_core::ids::RowId;

use crate::best_predictions::BestPredictions;
use crate::row_detection::RowDetection;

/// A sample that passed every check, about to become a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredSample {
    /// Unix seconds UTC.
    pub timestamp: i64,
    /// Finite.
    pub value: f64,
}

/// One row of `metric_data`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// From 1, consecutive within the metric.
    pub row_id: RowId,
    /// Unix seconds UTC.
    pub timestamp: i64,
    /// The sample.
    pub value: f64,
    /// `None` until stepped.
    pub raw_anomaly_score: Option<f64>,
    /// `None` until stepped.
    pub anomaly_score: Option<f64>,
    /// `None` until stepped.
    pub display_value: Option<i64>,
    /// `None` until stepped, and without a classifier.
    pub best_predictions: Option<BestPredictions>,
    /// `None` until stepped, in rows scored before there was such a score, and in a database without its columns.
    pub detection: Option<RowDetection>,
}

/// The scores that complete one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowUpdate {
    /// Which row.
    pub row_id: RowId,
    /// Raw anomaly score.
    pub raw_anomaly_score: f64,
    /// htmengine's anomaly score.
    pub anomaly_score: f64,
    /// htmengine's display value, rounded to an integer as its column is.
    pub display_value: i64,
    /// `None` without a classifier.
    pub best_predictions: Option<BestPredictions>,
    /// Fused detection score.
    pub detection: RowDetection,
}

/// Which rows to read. All conditions must hold.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DataQuery {
    /// Not before this time (inclusive), unix seconds.
    pub since: Option<i64>,
    /// Not after this time (inclusive), unix seconds.
    pub until: Option<i64>,
    /// Not before this row (inclusive).
    pub first_row: Option<RowId>,
    /// Not after this row (inclusive).
    pub last_row: Option<RowId>,
    /// Only rows with at least this anomaly score.
    pub min_anomaly_score: Option<f64>,
    /// Only rows that carry an anomaly score.
    pub is_scored: bool,
    /// At most so many; the newest ones are kept, unless `keep_oldest`.
    pub limit: Option<usize>,
    /// With a limit, the oldest rows are kept.
    pub keep_oldest: bool,
}
