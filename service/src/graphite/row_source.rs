//! Series from rows: the only place of this room that reads the database for points.
//!
//! The rows of a metric are read once for all its fields, in pages, from the first row of the window on (`time_reader.rs`).
//!
//! Several rows in one cell become one point by the field's own consolidation; a cell without rows is a hole. The
//! prediction for a row is the one that an earlier row carries for so many steps ahead; the state is the metric's status of
//! now, for every cell up to now.

use std::collections::VecDeque;

use htm_core::ids::RowId;

use super::budget::Budget;
use super::catalog::{Catalog, CatalogMetric, SeriesName};
use super::consolidation::{Consolidation, float};
use super::evaluation::{SeriesSource, Window};
use super::field::Field;
use super::series::Series;
use super::step::{Grid, MAX_SERIES_POINTS, STEP_ROWS, usual_step};
use super::tag_expression::TagExpression;
use super::time_reader::TimeReader;
use crate::operations::OperationError;
use crate::repository::Repository;
use crate::repository::metric_data::{DataQuery, MetricRow};

/// How many rows before a row its prediction may have been made.
const MAX_PREDICTION_STEPS: u32 = 100;

/// A repository's rows under the names of a catalog.
pub(crate) struct RowSource<'a> {
    repository: &'a dyn Repository,
    catalog: &'a Catalog,
}

impl<'a> RowSource<'a> {
    pub(crate) fn new(repository: &'a dyn Repository, catalog: &'a Catalog) -> Self {
        Self { repository, catalog }
    }

    fn read(
        &self,
        names: Vec<SeriesName>,
        path: &str,
        window: &Window,
        budget: &mut Budget,
    ) -> Result<Vec<Series>, OperationError> {
        budget.series(names.len())?;
        let mut all = Vec::with_capacity(names.len());
        let mut left = names.into_iter().peekable();
        while let Some(first) = left.next() {
            // Fields of one metric mostly stand side by side, as they are sorted by name.
            let mut group = vec![first];
            while let Some(next) = left.next_if(|next| next.metric_idx == group[0].metric_idx) {
                group.push(next);
            }
            let metric = &self.catalog.metrics()[group[0].metric_idx];
            self.read_metric(metric, group, path, window, budget, &mut all)?;
        }
        Ok(all)
    }

    fn read_metric(
        &self,
        metric: &CatalogMetric,
        names: Vec<SeriesName>,
        path: &str,
        window: &Window,
        budget: &mut Budget,
        all: &mut Vec<Series>,
    ) -> Result<(), OperationError> {
        budget.rows(STEP_ROWS)?;
        let newest = DataQuery { limit: Some(STEP_ROWS), ..DataQuery::default() };
        let newest = self.repository.data(&metric.uid, &newest)?;
        let step = usual_step(&newest);
        let mut grid = Grid::new(window.from, window.until, step);
        if grid.step > step
            && let Some(oldest) = self.repository.rows_after(&metric.uid, RowId(0), 1)?.first()
        {
            // `from=0` means all there is, not the time since 1970.
            let from = window.from.max(oldest.timestamp - step).min(window.until);
            grid = Grid::new(from, window.until, step);
            if (window.from..grid.start).contains(&oldest.timestamp) {
                // The coarser cell that `from` now lies in has rows that were asked for.
                grid.start -= grid.step;
            }
        }
        budget.points(grid.cell_count().saturating_mul(names.len()))?;
        let mut columns: Vec<Column> = names.iter().map(|name| Column::new(name.field, grid)).collect();
        if names.iter().any(|name| name.field != Field::State) {
            let (guess, last) = newest.last().map_or((metric.last_row, metric.last_row), |row| {
                let rows_since = (row.timestamp - grid.start).max(0) / step;
                (RowId((row.row_id.0 - rows_since).max(0)), row.row_id)
            });
            let reader = TimeReader::from(self.repository, &metric.uid, grid.start, guess, last)?;
            fill(reader, grid, budget, &mut columns)?;
        }
        for (name, mut column) in names.into_iter().zip(columns) {
            if name.field == Field::State {
                column.fill_until(window.now, small_float(metric.status_code));
            }
            all.push(Series {
                name: name.name,
                path: path.to_owned(),
                tags: name.tags,
                start: grid.start,
                end: grid.end,
                step: grid.step,
                values: column.into_values(),
                consolidation: name.field.consolidation(),
            });
        }
        Ok(())
    }
}

/// Puts the rows of a grid into its columns.
fn fill(
    mut reader: TimeReader<'_>,
    grid: Grid,
    budget: &mut Budget,
    columns: &mut [Column],
) -> Result<(), OperationError> {
    let wants_predictions = columns.iter().any(|column| column.field == Field::Expected);
    let mut predictions = Predictions::default();
    if wants_predictions {
        for row in reader.rows_before(MAX_PREDICTION_STEPS)? {
            predictions.remember(&row);
        }
    }
    loop {
        let rows = reader.next_page(grid.end, grid.cell_count())?;
        budget.rows(rows.len())?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            let expected = if wants_predictions { predictions.of(row.row_id) } else { None };
            if wants_predictions {
                predictions.remember(row);
            }
            for column in columns.iter_mut() {
                let value = if column.field == Field::Expected { expected } else { column.field.of_row(row) };
                column.put(row.timestamp, value);
            }
        }
    }
}

impl SeriesSource for RowSource<'_> {
    fn by_path(
        &self,
        path: &str,
        window: &Window,
        budget: &mut Budget,
    ) -> Result<Vec<Series>, OperationError> {
        self.read(self.catalog.series(path)?, path, window, budget)
    }

    fn by_tags(
        &self,
        expressions: &[TagExpression],
        path: &str,
        window: &Window,
        budget: &mut Budget,
    ) -> Result<Vec<Series>, OperationError> {
        self.read(self.catalog.tagged(expressions)?, path, window, budget)
    }
}

/// Predictions that wait for their rows.
#[derive(Debug, Default)]
struct Predictions {
    /// Ascending by row: all rows predict the same number of steps ahead.
    waiting: VecDeque<(RowId, f64)>,
}

impl Predictions {
    /// Keeps what a row says of the nearest row to come.
    fn remember(&mut self, row: &MetricRow) {
        let nearest = row.best_predictions.as_ref().and_then(|predictions| predictions.iter().next());
        if let Some((steps, Some(value))) = nearest
            && steps <= MAX_PREDICTION_STEPS
        {
            self.waiting.push_back((RowId(row.row_id.0 + i64::from(steps)), value));
        }
    }

    /// What was said of this row.
    fn of(&mut self, row: RowId) -> Option<f64> {
        while let Some(&(target, value)) = self.waiting.front() {
            if target > row {
                return None;
            }
            self.waiting.pop_front();
            if target == row {
                return Some(value);
            }
        }
        None
    }
}

/// The points of one field while rows come in.
struct Column {
    field: Field,
    grid: Grid,
    values: Vec<Option<f64>>,
    /// Rows of each cell, where their mean is wanted.
    counts: Vec<u32>,
}

impl Column {
    fn new(field: Field, grid: Grid) -> Self {
        let count = grid.cell_count().min(MAX_SERIES_POINTS + 1);
        let needs_counts = field.consolidation() == Consolidation::Average;
        Self { field, grid, values: vec![None; count], counts: vec![0; if needs_counts { count } else { 0 }] }
    }

    fn put(&mut self, time: i64, value: Option<f64>) {
        let (Some(value), Some(cell)) = (value.filter(|value| value.is_finite()), self.grid.cell(time))
        else {
            return;
        };
        let Some(point) = self.values.get_mut(cell) else { return };
        if let Some(count) = self.counts.get_mut(cell) {
            *count += 1;
            *point = Some(point.map_or(value, |sum| sum + value));
        } else {
            *point = Some(point.map_or(value, |found| found.max(value)));
        }
    }

    /// One value for every cell that begins by then.
    fn fill_until(&mut self, now: i64, value: f64) {
        let mut time = self.grid.start;
        for point in &mut self.values {
            *point = (time <= now).then_some(value);
            time += self.grid.step;
        }
    }

    fn into_values(mut self) -> Vec<Option<f64>> {
        for (point, count) in self.values.iter_mut().zip(&self.counts) {
            if *count > 1 {
                *point = point.map(|sum| sum / float(usize::try_from(*count).unwrap_or(1)));
            }
        }
        self.values
    }
}

/// A status code as a float.
#[expect(clippy::cast_precision_loss, reason = "status codes are below 10")]
fn small_float(code: i64) -> f64 {
    code as f64
}
