//! What a metric is doing, in one word, and how far its model has learned.
//!
//! Five statuses are stored; people also want to know whether a model is still learning, since its scores mean little
//! until then.

use htm_core::anomaly::htmengine_likelihood::{MIN_ROWS, SKIP_ROWS};
use serde::Serialize;

use crate::repository::metric::{Metric, MetricStatus};

/// Scored rows from which on the anomaly score says something: before, it is one half whatever comes.
pub const PROBATION_ROWS: i64 = 388;
const _: () = assert!(MIN_ROWS == 100 && SKIP_ROWS == 288);

/// What a metric is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricState {
    /// Its samples are stored, and that is all.
    Unmonitored,
    /// It waits for rows to learn its range from.
    Waiting,
    /// Its model is being made.
    Creating,
    /// Its model learns; scores mean little yet.
    Learning,
    /// Its model scores.
    Active,
    /// Its model failed.
    Error,
}

/// How far a metric is on its way to scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Learning {
    /// Rows it has.
    pub rows: i64,
    /// Rows it needs.
    pub of: i64,
}

/// The state of a metric whose rows are scored up to `scored_rows`; where that is not known, no row is taken to be
/// missing.
pub fn metric_state(metric: &Metric, scored_rows: Option<i64>) -> MetricState {
    match metric.status {
        MetricStatus::Unmonitored => MetricState::Unmonitored,
        MetricStatus::PendingData => MetricState::Waiting,
        MetricStatus::CreatePending => MetricState::Creating,
        MetricStatus::Error => MetricState::Error,
        MetricStatus::Active if scored_rows.unwrap_or(metric.last_rowid.0) < PROBATION_ROWS => {
            MetricState::Learning
        }
        MetricStatus::Active => MetricState::Active,
    }
}

/// How far it is; `None` once there is nothing to wait for.
pub fn learning(metric: &Metric, scored_rows: i64, learning_rows: i64) -> Option<Learning> {
    match metric_state(metric, Some(scored_rows)) {
        MetricState::Waiting => Some(Learning { rows: metric.last_rowid.0, of: learning_rows }),
        MetricState::Learning => Some(Learning { rows: scored_rows, of: PROBATION_ROWS }),
        MetricState::Unmonitored | MetricState::Creating | MetricState::Active | MetricState::Error => None,
    }
}
