//! Reading the rows of one metric in bounded pages, however many there are.
//!
//! Each page is one question to the repository, so nobody holds a whole history in memory, and rows that come while it
//! is read are seen at its end.
//!
//! Source: htmengine's `getMetricData`.
//! Departure: all filters must hold together; the original let a row id win over times, and times over row ids.

use htm_core::ids::{ModelId, RowId};

use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::repository::{Repository, RepositoryError};

/// Rows read at once, unless told otherwise.
pub const PAGE_ROWS: usize = 5_000;

/// Which end comes first, and which is kept by a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowOrder {
    /// Row 1 first.
    #[default]
    OldestFirst,
    /// The newest row first.
    NewestFirst,
}

/// What is left to read.
#[derive(Debug, Clone)]
pub struct RowReader {
    id: ModelId,
    query: DataQuery,
    order: RowOrder,
    left: usize,
    page_rows: usize,
    is_done: bool,
}

impl RowReader {
    /// The rows of a metric that match `query`, in this order; of its limit and `keep_oldest` only the limit counts: the
    /// first so many in this order.
    pub fn new(id: ModelId, query: DataQuery, order: RowOrder) -> Self {
        let left = query.limit.unwrap_or(usize::MAX);
        Self { id, query, order, left, page_rows: PAGE_ROWS, is_done: false }
    }

    /// The same with so many rows at once.
    #[must_use]
    pub fn in_pages_of(self, page_rows: usize) -> Self {
        Self { page_rows, ..self }
    }

    /// The next rows, in order; empty at the end.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database; the same page may be asked for again.
    pub fn next_page(&mut self, repository: &dyn Repository) -> Result<Vec<MetricRow>, RepositoryError> {
        let limit = self.left.min(self.page_rows);
        if self.is_done || limit == 0 {
            return Ok(Vec::new());
        }
        let keep_oldest = self.order == RowOrder::OldestFirst;
        let query = DataQuery { limit: Some(limit), keep_oldest, ..self.query };
        let mut rows = repository.data(&self.id, &query)?;
        if !keep_oldest {
            rows.reverse();
        }
        self.left -= rows.len();
        self.is_done = rows.len() < limit;
        match rows.last() {
            Some(last) if keep_oldest => self.query.first_row = Some(RowId(last.row_id.0 + 1)),
            Some(last) => self.query.last_row = Some(RowId(last.row_id.0 - 1)),
            None => {}
        }
        Ok(rows)
    }
}
