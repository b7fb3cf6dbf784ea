//! The rows of a metric from a time on, in pages.
//!
//! A metric's rows ascend in time, and the database keeps no index of times: the first row is found by looking, near where a
//! steady sender's would be at first, and by halving what is left after that.
//!
//! Invariant: whatever the guess, the first row read is the first one that is not before the time.

use htm_core::ids::{ModelId, RowId};

use crate::operations::rows::PAGE_ROWS;
use crate::repository::metric_data::MetricRow;
use crate::repository::{Repository, RepositoryError};

/// Looks near a guess before halving what is left.
const MAX_STRIDES: u32 = 6;
/// How much further each look goes than the one before.
const STRIDE_GROWTH: i64 = 4;

/// The rows of a metric from a time on, in pages.
pub(crate) struct TimeReader<'a> {
    repository: &'a dyn Repository,
    id: &'a ModelId,
    /// The row before the next one.
    after: RowId,
    is_done: bool,
}

impl<'a> TimeReader<'a> {
    /// Begins with the first row that is not before `time`; `guess` is where it may be, `newest` the metric's last row.
    ///
    /// # Errors
    /// From the database.
    pub(crate) fn from(
        repository: &'a dyn Repository,
        id: &'a ModelId,
        time: i64,
        guess: RowId,
        newest: RowId,
    ) -> Result<Self, RepositoryError> {
        // All rows up to `before` are older than `time`; the first one after `later` is not, or there is none.
        let (mut before, mut later) = (0, newest.0);
        // Near the guess first, in growing strides: rows of a steady sender are found in a few looks.
        let (mut probe, mut stride, mut strides) = (guess.0, 1_i64, MAX_STRIDES);
        while before < later {
            let middle =
                if strides > 0 { probe.clamp(before, later - 1) } else { before + (later - before) / 2 };
            strides = strides.saturating_sub(1);
            match repository.rows_after(id, RowId(middle), 1)?.first() {
                // Rows at the beginning may have been deleted, so the next one may lie further on.
                Some(row) if row.timestamp < time => {
                    before = row.row_id.0.max(middle + 1);
                    probe = before.saturating_add(stride);
                }
                Some(_) | None => {
                    later = middle;
                    probe = later.saturating_sub(stride);
                }
            }
            stride = stride.saturating_mul(STRIDE_GROWTH);
        }
        Ok(Self { repository, id, after: RowId(before), is_done: false })
    }

    /// The last rows before the first one, at most so many.
    ///
    /// # Errors
    /// From the database.
    pub(crate) fn rows_before(&self, count: u32) -> Result<Vec<MetricRow>, RepositoryError> {
        let first = RowId(self.after.0 - i64::from(count));
        if self.after.0 <= 0 {
            return Ok(Vec::new());
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut rows = self.repository.rows_after(self.id, first, count)?;
        rows.retain(|row| row.row_id <= self.after);
        Ok(rows)
    }

    /// The next rows before `end`; empty when there are no more. About `expected` rows are asked for at once.
    ///
    /// # Errors
    /// From the database.
    pub(crate) fn next_page(&mut self, end: i64, expected: usize) -> Result<Vec<MetricRow>, RepositoryError> {
        if self.is_done {
            return Ok(Vec::new());
        }
        let limit = expected.saturating_add(1).min(PAGE_ROWS);
        let mut rows = self.repository.rows_after(self.id, self.after, limit)?;
        self.is_done = rows.len() < limit;
        if let Some(last) = rows.last() {
            self.after = last.row_id;
            if last.timestamp >= end {
                self.is_done = true;
                rows.retain(|row| row.timestamp < end);
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::monitoring::{self, SystemRandom};
    use crate::operations::OperationError;
    use crate::repository::metric_data::StoredSample;
    use crate::repository::sqlite::{OpenMode, SqliteRepository};

    const ROWS: i64 = 200;
    const PURGED: i64 = 30;

    /// A metric whose sender was not steady, and whose first rows are gone.
    fn fixture(folder: &tempfile::TempDir) -> (SqliteRepository, ModelId, Vec<MetricRow>) {
        let path = folder.path().join("engine.db");
        let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates");
        let random = SystemRandom::open().expect("random bytes");
        let samples: Vec<StoredSample> = (0..ROWS)
            .map(|row| StoredSample { timestamp: row * 60 + (row / 50) * 5_000, value: 0.0 })
            .collect();
        let id = monitoring::in_transaction::<_, OperationError>(&repository, |tx| {
            let metric = monitoring::create_metric(tx, "a", &random)?;
            tx.append_rows(&metric.uid, &samples)?;
            Ok(metric.uid)
        });
        let id = id.expect("stored");
        let metric = repository.metric(&id).expect("reads").expect("stored");
        repository.purge_rows(&metric, i64::MAX, RowId(PURGED), 1_000).expect("purged");
        let rows = repository.rows_after(&id, RowId(0), 1_000).expect("reads");
        assert_eq!(rows.first().map(|row| row.row_id), Some(RowId(PURGED + 1)));
        (repository, id, rows)
    }

    #[test]
    fn the_first_row_is_found_whatever_the_guess() {
        let folder = tempfile::tempdir().expect("a folder");
        let (repository, id, rows) = fixture(&folder);
        let times =
            rows.iter().flat_map(|row| [row.timestamp - 1, row.timestamp, row.timestamp + 1]).step_by(7);
        for time in times.chain([-5, 0, i64::from(i32::MAX)]) {
            let expected: Vec<i64> =
                rows.iter().filter(|row| row.timestamp >= time).map(|row| row.row_id.0).collect();
            for guess in [0, 1, PURGED, 77, ROWS, 5_000] {
                let reader = TimeReader::from(&repository, &id, time, RowId(guess), RowId(ROWS));
                let mut reader = reader.expect("found");
                let before = reader.rows_before(3).expect("reads");
                assert!(before.iter().all(|row| row.timestamp < time), "{time} {guess}");
                let mut found = Vec::new();
                loop {
                    let page = reader.next_page(i64::MAX, 40).expect("reads");
                    if page.is_empty() {
                        break;
                    }
                    found.extend(page.iter().map(|row| row.row_id.0));
                }
                assert_eq!(found, expected, "{time} {guess}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn pages_hold_the_rows_of_their_time(from in -100_i64..30_000, length in 1_i64..10_000, expected in 0_usize..60) {
            let folder = tempfile::tempdir().expect("a folder");
            let (repository, id, rows) = fixture(&folder);
            let inside = rows.iter().filter(|row| (from..from + length).contains(&row.timestamp));
            let inside: Vec<i64> = inside.map(|row| row.row_id.0).collect();
            let mut reader =
                TimeReader::from(&repository, &id, from, RowId(0), RowId(ROWS)).expect("found");
            let mut found = Vec::new();
            loop {
                let page = reader.next_page(from + length, expected).expect("reads");
                if page.is_empty() {
                    break;
                }
                found.extend(page.iter().map(|row| row.row_id.0));
            }
            prop_assert_eq!(found, inside);
        }
    }
}
