//! The grid that rows are put on: a metric's usual interval, and the cells of a window of time.
//!
//! Source: the window is cut as whisper's `fetch` does: the first cell is the one after `from`, the last the one that
//! `until` lies in.
//! Departure: whisper keeps coarser archives for old times; here a window of more than [`MAX_SERIES_POINTS`] cells gets
//! coarser cells, each made as when several rows meet in one cell.

use crate::repository::metric_data::MetricRow;

/// Newest rows that tell the interval.
pub(crate) const STEP_ROWS: usize = 25;
/// Step of a metric with fewer than two rows.
const DEFAULT_STEP_S: i64 = 60;
/// Most points of one series.
pub(crate) const MAX_SERIES_POINTS: usize = 100_000;

/// The median of the gaps between rows (of two the smaller), at least a second; `rows` in their order.
pub(crate) fn usual_step(rows: &[MetricRow]) -> i64 {
    let mut gaps: Vec<i64> =
        rows.windows(2).map(|pair| pair[1].timestamp.saturating_sub(pair[0].timestamp)).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len().saturating_sub(1) / 2).map_or(DEFAULT_STEP_S, |gap| (*gap).max(1))
}

/// Cells of one size side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Time of the first cell.
    pub(crate) start: i64,
    /// The time after the last cell.
    pub(crate) end: i64,
    /// Seconds of each.
    pub(crate) step: i64,
}

impl Grid {
    /// The cells of a window, of this size or, if they were too many, of the smallest multiple that is not.
    pub(crate) fn new(from: i64, until: i64, step: i64) -> Self {
        let first = Self::exact(from, until, step);
        let count = first.cell_count();
        if count <= MAX_SERIES_POINTS {
            return first;
        }
        let factor = count.div_ceil(MAX_SERIES_POINTS - 1);
        Self::exact(from, until, step.saturating_mul(i64::try_from(factor).unwrap_or(i64::MAX)))
    }

    fn exact(from: i64, until: i64, step: i64) -> Self {
        let after = |time: i64| time - time.rem_euclid(step) + step;
        let start = after(from);
        Self { start, end: after(until).max(start + step), step }
    }

    /// How many cells.
    pub(crate) fn cell_count(&self) -> usize {
        usize::try_from((self.end - self.start) / self.step).unwrap_or(usize::MAX)
    }

    /// The cell of a time, if it has one.
    pub(crate) fn cell(&self, time: i64) -> Option<usize> {
        let is_inside = (self.start..self.end).contains(&time);
        is_inside.then(|| usize::try_from((time - self.start) / self.step).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use htm_core::ids::RowId;

    use super::*;

    fn rows(times: &[i64]) -> Vec<MetricRow> {
        let row = |(row_id, timestamp): (i64, &i64)| MetricRow {
            row_id: RowId(row_id),
            timestamp: *timestamp,
            value: 0.0,
            raw_anomaly_score: None,
            anomaly_score: None,
            display_value: None,
            best_predictions: None,
            detection: None,
        };
        (1..).zip(times).map(row).collect()
    }

    #[test]
    fn the_step_is_the_usual_gap() {
        assert_eq!(usual_step(&rows(&[])), DEFAULT_STEP_S);
        assert_eq!(usual_step(&rows(&[5])), DEFAULT_STEP_S);
        assert_eq!(usual_step(&rows(&[0, 300, 600, 901, 5_000])), 300);
        assert_eq!(usual_step(&rows(&[0, 0])), 1);
    }

    #[test]
    fn cells_are_those_of_whisper() {
        let grid = Grid::new(60, 240, 60);
        assert_eq!((grid.start, grid.end, grid.cell_count()), (120, 300, 3));
        let grid = Grid::new(61, 239, 60);
        assert_eq!((grid.start, grid.end), (120, 240));
        let grid = Grid::new(61, 62, 60);
        assert_eq!((grid.start, grid.end), (120, 180));
        assert_eq!([119, 120, 179, 180].map(|time| grid.cell(time)), [None, Some(0), Some(0), None]);
        assert_eq!(Grid::new(-61, -1, 60), Grid { start: -60, end: 0, step: 60 });
    }

    #[test]
    fn a_long_window_gets_coarser_cells() {
        let grid = Grid::new(0, 1_443_197_361, 1);
        assert!(grid.cell_count() <= MAX_SERIES_POINTS, "{grid:?}");
        assert!(grid.cell_count() > MAX_SERIES_POINTS / 2, "{grid:?}");
        assert_eq!(grid.start, grid.step);
    }
}
