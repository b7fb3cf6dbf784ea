//! Every row of every metric, held against what was sent. Read by pages, so that millions of rows need the memory of one page
//! and of one metric's marks.
//!
//! Each kind of mistake has a count of its own, and none makes up for another: a sample that has no row is missing even if
//! another has two.

use std::collections::HashMap;
use std::io;
use std::ops::AddAssign;

use htm_core::ids::RowId;
use htmengine::repository::metric_data::MetricRow;
use htmengine::repository::{Repository, RepositoryError};

use crate::load::Load;

/// Rows that are read at once.
const PAGE_ROWS: usize = 4_096;

/// Mistakes by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// Samples without a row.
    pub(crate) not_stored: u64,
    /// Rows with the time of a row before them.
    pub(crate) doubled: u64,
    /// Rows that stand for a sample and are not as it was sent: the value is another, the row id is not the one after that
    /// before, or an earlier sample has come later. Also rows of times and metrics that nobody sent.
    pub(crate) wrong: u64,
    /// Rows that lack a score.
    pub(crate) not_scored: u64,
}

impl AddAssign for Inventory {
    fn add_assign(&mut self, other: Self) {
        self.not_stored += other.not_stored;
        self.doubled += other.doubled;
        self.wrong += other.wrong;
        self.not_scored += other.not_scored;
    }
}

impl Inventory {
    /// Reads all rows.
    pub(crate) fn take(repository: &dyn Repository, load: &Load) -> io::Result<Self> {
        let failed = |error: RepositoryError| io::Error::other(error);
        let mut metrics: HashMap<String, _> = repository
            .metrics(&[])
            .map_err(failed)?
            .into_iter()
            .map(|metric| (metric.name.clone(), metric))
            .collect();
        let mut inventory = Self::default();
        for (index, name) in load.names().iter().enumerate() {
            let mut marks = Marks::new(load, index);
            if let Some(metric) = metrics.remove(name) {
                let mut after = RowId(0);
                loop {
                    let page = repository.rows_after(&metric.uid, after, PAGE_ROWS).map_err(failed)?;
                    for row in &page {
                        marks.note(row);
                    }
                    match page.last() {
                        Some(last) if page.len() == PAGE_ROWS => after = last.row_id,
                        _ => break,
                    }
                }
            }
            inventory += marks.end();
        }
        inventory.wrong += metrics.values().map(|metric| metric.last_rowid.0.unsigned_abs()).sum::<u64>();
        Ok(inventory)
    }
}

/// What one metric's rows have shown, read in their order.
struct Marks<'a> {
    load: &'a Load,
    metric: usize,
    is_stored: Vec<bool>,
    last_row_id: RowId,
    newest_round: Option<usize>,
    found: Inventory,
}

impl<'a> Marks<'a> {
    fn new(load: &'a Load, metric: usize) -> Self {
        let is_stored = vec![false; load.rounds()];
        let (last_row_id, newest_round) = (RowId(0), None);
        Self { load, metric, is_stored, last_row_id, newest_round, found: Inventory::default() }
    }

    fn note(&mut self, row: &MetricRow) {
        let is_next = row.row_id.0 == self.last_row_id.0 + 1;
        self.last_row_id = row.row_id;
        let is_scored =
            row.raw_anomaly_score.is_some() && row.anomaly_score.is_some() && row.detection.is_some();
        self.found.not_scored += u64::from(!is_scored);
        let Some(round) = self.load.round_at(self.metric, row.timestamp) else {
            self.found.wrong += 1;
            return;
        };
        if self.is_stored[round] {
            self.found.doubled += 1;
            return;
        }
        self.is_stored[round] = true;
        let is_newer = self.newest_round < Some(round);
        self.newest_round = self.newest_round.max(Some(round));
        let sent = self.load.sample(self.metric, round).value;
        let is_right = is_next && is_newer && row.value.to_bits() == sent.to_bits();
        self.found.wrong += u64::from(!is_right);
    }

    fn end(self) -> Inventory {
        let not_stored = self.is_stored.iter().filter(|is_stored| !**is_stored).count() as u64;
        Inventory { not_stored, ..self.found }
    }
}

#[cfg(test)]
mod tests {
    use htmengine::row_detection::RowDetection;

    use super::*;

    const ROUNDS: usize = 6;

    /// What is found of a lively metric whose rows were changed so.
    fn found(change: impl FnOnce(&mut Vec<MetricRow>)) -> Inventory {
        let load = Load::new(41, ROUNDS);
        let row = |(row_id, sample): (i64, htm_core::encoder::Record)| MetricRow {
            row_id: RowId(row_id),
            timestamp: sample.timestamp,
            value: sample.value,
            raw_anomaly_score: Some(0.0),
            anomaly_score: Some(0.0),
            display_value: Some(0),
            best_predictions: None,
            detection: Some(RowDetection::default()),
        };
        let mut rows: Vec<MetricRow> = (1..).zip(load.samples(40)).map(row).collect();
        change(&mut rows);
        let mut marks = Marks::new(&load, 40);
        for row in &rows {
            marks.note(row);
        }
        marks.end()
    }

    #[test]
    fn rows_as_they_were_sent_are_right() {
        assert_eq!(found(|_| {}), Inventory::default());
    }

    #[test]
    fn what_is_lost_and_what_is_doubled_do_not_cancel() {
        let swapped = found(|rows| rows[3].timestamp = rows[2].timestamp);
        assert_eq!(swapped, Inventory { not_stored: 1, doubled: 1, ..Inventory::default() });
        let lost = found(|rows| rows.truncate(4));
        assert_eq!(lost, Inventory { not_stored: 2, ..Inventory::default() });
        assert_eq!(found(Vec::clear), Inventory { not_stored: 6, ..Inventory::default() });
    }

    #[test]
    fn rows_that_are_not_as_they_were_sent_are_wrong() {
        let wrong = Inventory { wrong: 1, ..Inventory::default() };
        assert_eq!(found(|rows| rows[2].value += 1.0), wrong, "another value");
        assert_eq!(found(|rows| rows[5].row_id.0 += 1), wrong, "a gap in the row ids");
        let out_of_order = found(|rows| {
            let [first, second] = [(rows[2].timestamp, rows[2].value), (rows[3].timestamp, rows[3].value)];
            (rows[2].timestamp, rows[2].value) = second;
            (rows[3].timestamp, rows[3].value) = first;
        });
        assert_eq!(out_of_order, wrong, "an earlier sample later");
        let foreign = found(|rows| rows[2].timestamp += 1);
        assert_eq!(foreign, Inventory { not_stored: 1, wrong: 1, ..Inventory::default() });
    }

    #[test]
    fn each_missing_score_is_found() {
        let not_scored = Inventory { not_scored: 1, ..Inventory::default() };
        assert_eq!(found(|rows| rows[2].raw_anomaly_score = None), not_scored);
        assert_eq!(found(|rows| rows[2].anomaly_score = None), not_scored);
        assert_eq!(found(|rows| rows[2].detection = None), not_scored);
    }
}
