//! What a phase did, and what it found: the row of a table.

use std::collections::BTreeMap;
use std::fmt;

use htmengine::repository::Repository;

use super::fault::Fault;
use crate::load::Load;
use crate::stored::rows;

/// Counts of one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// What was injected.
    pub fault: Fault,
    /// How often.
    pub injected: usize,
    /// Rows on their way when it was: sent or stored and without committed scores.
    pub rows_at_risk: u64,
    /// Rows and scores that had been seen and were gone after a fault, and samples that were never stored.
    pub lost: u64,
    /// Rows that stand for no sample of their own.
    pub doubled: u64,
    /// Rows whose value or scores differ in a bit from those of a lone run, or that have none.
    pub inexact: u64,
}

impl Tally {
    /// Of a phase that begins.
    pub fn new(fault: Fault) -> Self {
        Self { fault, injected: 0, rows_at_risk: 0, lost: 0, doubled: 0, inexact: 0 }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.inexact == 0
    }

    /// The head of a table of these.
    pub const HEADING: &'static str = "fault            injected  rows at risk  lost  doubled  inexact";

    /// Notes one injection: what was in the database before and after it, of rows up to `sent` for each metric.
    pub(super) fn note(&mut self, before: &[(i64, i64)], after: &[(i64, i64)], sent: usize) {
        self.injected += 1;
        let sent = i64::try_from(sent).expect("a small number");
        for ((stored, scored), (stored_after, scored_after)) in before.iter().zip(after) {
            self.rows_at_risk += (sent - scored).max(0).unsigned_abs();
            self.lost += (stored - stored_after).max(0).unsigned_abs();
            self.lost += (scored - scored_after).max(0).unsigned_abs();
        }
    }

    /// Compares the rows of all metrics, all scored as far as they will be, with those of a lone run.
    pub(super) fn compare(&mut self, load: &Load, repository: &dyn Repository) {
        for (index, name) in load.names().iter().enumerate() {
            let (samples, scores) = load.of(index);
            let expected: BTreeMap<i64, _> = samples
                .iter()
                .zip(scores)
                .map(|(sample, scores)| (sample.timestamp, (sample, scores)))
                .collect();
            let mut seen = BTreeMap::new();
            for row in rows(repository, name) {
                let Some((sample, scores)) = expected.get(&row.timestamp) else {
                    self.doubled += 1;
                    continue;
                };
                *seen.entry(row.timestamp).or_insert(0_u64) += 1;
                let is_exact = row.value.to_bits() == sample.value.to_bits() && scores.are_of(&row);
                self.inexact += u64::from(!is_exact);
            }
            self.doubled += seen.values().map(|times| times - 1).sum::<u64>();
            self.lost += (expected.len() - seen.len()) as u64;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, injected, rows_at_risk, lost, doubled, inexact } = self;
        let name = fault.name();
        write!(
            formatter,
            "{name:<16} {injected:>8}  {rows_at_risk:>12}  {lost:>4}  {doubled:>7}  {inexact:>7}"
        )
    }
}

#[cfg(test)]
mod tests {
    use htm_core::ids::RowId;
    use htmengine::repository::metric_data::{RowUpdate, StoredSample};
    use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
    use htmengine::row_detection::RowDetection;
    use tempfile::TempDir;

    use super::*;
    use crate::lone_run::LoneScores;
    use crate::stored::metric;

    fn monitored(load: &Load) -> (TempDir, SqliteRepository) {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = SqliteRepository::open(&folder.path().join("rows"), OpenMode::ReadWriteCreate);
        let repository = repository.expect("opens");
        load.monitor(&repository);
        (folder, repository)
    }

    fn complete(repository: &dyn Repository, name: &str, scores: &[LoneScores]) {
        let update = |(row_id, scores): (i64, &LoneScores)| RowUpdate {
            row_id: RowId(row_id),
            raw_anomaly_score: scores.raw_anomaly_score,
            anomaly_score: scores.anomaly_score,
            display_value: 0,
            best_predictions: None,
            detection: RowDetection {
                score: scores.detection_score,
                alert_score: scores.alert_score,
                ..RowDetection::default()
            },
        };
        let updates: Vec<_> = (1..).zip(scores).map(update).collect();
        let uid = metric(repository, name).expect("made").uid;
        repository.transact(&mut |tx| tx.complete_rows(&uid, &updates).map(|_| ())).expect("scored");
    }

    #[test]
    fn what_was_seen_and_is_gone_is_lost() {
        let mut tally = Tally::new(Fault::KillEngine);
        tally.note(&[(10, 8), (5, 5)], &[(10, 8), (7, 6)], 12);
        assert_eq!((tally.injected, tally.rows_at_risk, tally.lost), (1, 4 + 7, 0));
        tally.note(&[(10, 8), (5, 5)], &[(9, 6), (7, 6)], 12);
        assert_eq!((tally.injected, tally.lost), (2, 1 + 2));
        assert!(!tally.is_clean());
    }

    #[test]
    fn rows_that_are_missing_foreign_or_unscored_are_found() {
        let load = Load::new(1, 5);
        let (_folder, repository) = monitored(&load);
        let uid = metric(&repository, &load.names()[0]).expect("made").uid;
        let (samples, _) = load.of(0);
        let later = samples.last().expect("some").timestamp + 1;
        let times = samples[..2].iter().map(|sample| sample.timestamp).chain([later]);
        let stored: Vec<_> =
            times.map(|timestamp| StoredSample { timestamp, value: samples[0].value }).collect();
        repository.transact(&mut |tx| tx.append_rows(&uid, &stored).map(|_| ())).expect("stored");
        let mut tally = Tally::new(Fault::KillEngine);
        tally.compare(&load, &repository);
        assert_eq!((tally.lost, tally.doubled, tally.inexact), (3, 1, 2));
    }

    #[test]
    fn scores_of_another_metric_and_every_kind_of_score_are_found() {
        let load = Load::long(2, 40);
        let (_folder, repository) = monitored(&load);
        let inexact = || {
            let mut tally = Tally::new(Fault::KillEngine);
            tally.compare(&load, &repository);
            assert_eq!((tally.lost, tally.doubled), (0, 0));
            tally.inexact
        };
        for (index, name) in load.names().iter().enumerate() {
            let (samples, scores) = load.of(index);
            let uid = metric(&repository, name).expect("made").uid;
            let rows: Vec<_> = samples
                .iter()
                .map(|sample| StoredSample { timestamp: sample.timestamp, value: sample.value })
                .collect();
            repository.transact(&mut |tx| tx.append_rows(&uid, &rows).map(|_| ())).expect("stored");
            complete(&repository, name, scores);
        }
        assert_eq!(inexact(), 0);
        let (first, own) = (&load.names()[0], load.of(0).1);
        let changes: [fn(&mut LoneScores); 4] = [
            |scores| scores.raw_anomaly_score += 0.25,
            |scores| scores.anomaly_score += 0.25,
            |scores| scores.detection_score += 0.25,
            |scores| scores.alert_score += 0.25,
        ];
        for change in changes {
            let mut scores = own.to_vec();
            change(&mut scores[20]);
            complete(&repository, first, &scores);
            assert_eq!(inexact(), 1);
        }
        complete(&repository, first, load.of(1).1);
        assert!(inexact() > 10, "{} rows have the scores of the other metric", inexact());
    }
}
