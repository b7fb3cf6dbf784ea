//! Time by metric: the largest detection score of each metric in each of some equal parts of a window.

use std::collections::HashMap;

use serde::Serialize;

use super::metric_filter::MetricFilter;
use super::metric_state::{MetricState, metric_state};
use super::{OperationError, Operations};
use crate::repository::elevated::{ELEVATED_SCORE, ElevatedQuery, MAX_ELEVATED_ROWS};

/// Parts of a window.
pub const MAX_HEAT_CELLS: usize = 500;
/// Metrics of one answer.
pub const MAX_HEAT_ROWS: usize = 500;

/// How metrics are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeatOrder {
    /// By name.
    Name,
    /// The largest score first, then by name.
    Score,
}

/// Which part of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatQuery {
    /// From this time, unix seconds.
    pub since: i64,
    /// Up to this time; later than `since`.
    pub until: i64,
    /// Parts of the window, 1 to [`MAX_HEAT_CELLS`].
    pub cells: usize,
    /// Of these metrics.
    pub filter: MetricFilter,
    /// In this order.
    pub order: HeatOrder,
    /// So many metrics are passed over.
    pub offset: usize,
    /// At most so many, up to [`MAX_HEAT_ROWS`].
    pub limit: usize,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeatRow {
    /// Its name.
    pub metric: String,
    /// Its id.
    pub uid: String,
    /// What it is doing.
    pub state: MetricState,
    /// The largest of all cells.
    pub max: Option<f64>,
    /// Largest detection score of each part; `None` where none was elevated.
    pub cells: Vec<Option<f64>>,
}

/// Part of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    /// Seconds of a part.
    pub cell_s: i64,
    /// Metrics altogether.
    pub total: usize,
    /// Metrics of this page.
    pub rows: Vec<HeatRow>,
    /// Whether older rows of the window were left out, being too many.
    pub is_truncated: bool,
}

impl Operations {
    /// A page of the picture.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for an empty window or a number of cells out of bounds, or from the database.
    pub fn heat(&self, query: &HeatQuery) -> Result<Heat, OperationError> {
        if query.until <= query.since {
            return Err(OperationError::invalid("the window is empty: `until` must be later than `from`"));
        }
        if !(1..=MAX_HEAT_CELLS).contains(&query.cells) {
            let found = query.cells;
            return Err(OperationError::invalid(format!("cells is {found}; expected 1 to {MAX_HEAT_CELLS}")));
        }
        let parts = i64::try_from(query.cells).unwrap_or(1);
        let cell_s = (query.until - query.since + parts - 1) / parts;
        let rows = self.repository().elevated_rows(&ElevatedQuery {
            since: query.since,
            until: query.until,
            min_score: ELEVATED_SCORE,
            limit: MAX_ELEVATED_ROWS,
        })?;
        let is_truncated = rows.len() == MAX_ELEVATED_ROWS;
        let mut scores: HashMap<_, Vec<Option<f64>>> = HashMap::new();
        for row in rows {
            let cell =
                usize::try_from((row.timestamp - query.since) / cell_s).unwrap_or(0).min(query.cells - 1);
            let row_cells = scores.entry(row.metric).or_insert_with(|| vec![None; query.cells]);
            row_cells[cell] = larger(row_cells[cell], Some(row.score));
        }
        let mut metrics = self.repository().metrics(&[])?;
        metrics.retain(|metric| query.filter.matches(metric));
        let total = metrics.len();
        let max_of = |cells: &[Option<f64>]| cells.iter().copied().fold(None, larger);
        let mut ranked: Vec<_> = metrics
            .into_iter()
            .map(|metric| (scores.get(&metric.uid).and_then(|cells| max_of(cells)), metric))
            .collect();
        if query.order == HeatOrder::Score {
            // Stable, so that equal ones stay in the order of their names.
            ranked.sort_by(|(one, _), (other, _)| other.unwrap_or(0.0).total_cmp(&one.unwrap_or(0.0)));
        }
        let page = ranked.into_iter().skip(query.offset).take(query.limit.min(MAX_HEAT_ROWS));
        let rows = page
            .map(|(max, metric)| {
                let found = scores.remove(&metric.uid);
                let found = found.unwrap_or_else(|| vec![None; query.cells]);
                let state = metric_state(&metric, None);
                HeatRow { uid: metric.uid.as_str().to_owned(), metric: metric.name, state, max, cells: found }
            })
            .collect();
        Ok(Heat { cell_s, total, rows, is_truncated })
    }
}

/// The larger of two scores; any is larger than none.
fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    if other > one { other } else { one }
}
