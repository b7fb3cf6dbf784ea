//! Rows of all metrics whose detection score is elevated: the few that lists of what was odd are made of.
//!
//! A database finds them by time without reading all the others: SQLite through an index of these rows alone, MySQL
//! through the original's index of times.

use htm_core::ids::{ModelId, RowId};

/// Detection scores from this on are elevated. Below [`htm_core::detection::ALERT_THRESHOLD`], so that what was nearly an
/// alert is seen too.
pub const ELEVATED_SCORE: f64 = 0.1;
/// Rows of one answer.
pub const MAX_ELEVATED_ROWS: usize = 200_000;

/// Which of them. All conditions must hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElevatedQuery {
    /// Not before this time (inclusive), unix seconds.
    pub since: i64,
    /// Not after this time (inclusive), unix seconds.
    pub until: i64,
    /// At least this detection score; lower than [`ELEVATED_SCORE`] counts as that.
    pub min_score: f64,
    /// At most so many, the newest; more than [`MAX_ELEVATED_ROWS`] counts as that.
    pub limit: usize,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ElevatedRow {
    /// Of this metric.
    pub metric: ModelId,
    /// Its row id.
    pub row_id: RowId,
    /// Unix seconds UTC.
    pub timestamp: i64,
    /// Fused detection score.
    pub score: f64,
    /// The score where it exceeds those before it, else 0.
    pub alert_score: f64,
}
