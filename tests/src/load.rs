//! Samples of several metrics whose scores are known beforehand, and whether an engine has them so.

use htm_core::encoder::Record;
use htmengine::repository::Repository;

use crate::lone_run::{LoneScores, assert_scored, assert_stored, padded_range, scores};
use crate::recording::series;
use crate::sender::lines;
use crate::stored::{monitor_all, row_count, rows, scored_count};
use crate::waiting::wait_until;

/// Of a load with many metrics: they share their values with others, so that a few lone runs tell the scores of all.
const SERIES: [&str; 3] = ["speed_7578", "nyc_taxi", "art_daily_jumpsup"];
/// The longest recording, and how far apart the places in it lie at which metrics begin: no divisor of its length, so that
/// each has a place of its own.
const LONGEST: &str = "nyc_taxi";
const ROWS_APART: usize = 997;

/// So many metrics with so many rows each.
pub struct Load {
    names: Vec<String>,
    /// What metrics take by turns.
    series: Vec<(Vec<Record>, Vec<LoneScores>)>,
    rows: usize,
}

impl Load {
    /// The first `rows` rows of recordings, and their scores over a declared range.
    pub fn new(metrics: usize, rows: usize) -> Self {
        let series = SERIES.map(|name| {
            let samples: Vec<Record> =
                series(name).into_iter().map(|(_, record)| record).take(rows).collect();
            let scores = scores(&samples, padded_range(&samples));
            (samples, scores)
        });
        Self { names: names(metrics), series: series.into(), rows }
    }

    /// As [`Load::new`], of the longest recording: up to 10,320 rows, and each metric begins at a place of its own, so that a
    /// score of another metric, or of another model, is no score of its own.
    pub fn long(metrics: usize, rows: usize) -> Self {
        let recorded: Vec<Record> = series(LONGEST).into_iter().map(|(_, record)| record).collect();
        let rows = rows.min(recorded.len());
        let series = (0..metrics)
            .map(|metric| {
                let samples = from_place(&recorded, metric * ROWS_APART % recorded.len(), rows);
                let scores = scores(&samples, padded_range(&samples));
                (samples, scores)
            })
            .collect();
        Self { names: names(metrics), series, rows }
    }

    /// Rows of each metric.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Samples of the metric with this index, and their scores.
    pub fn of(&self, index: usize) -> (&[Record], &[LoneScores]) {
        let (samples, scores) = &self.series[index % self.series.len()];
        (samples, scores)
    }

    /// The metrics.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Monitors all.
    ///
    /// # Panics
    /// If that is refused.
    pub fn monitor(&self, repository: &dyn Repository) {
        for (index, name) in self.names.iter().enumerate() {
            monitor_all(repository, &[name], Some(padded_range(self.of(index).0)));
        }
    }

    /// Every row of every metric, by turns.
    pub fn all(&self) -> String {
        self.text(self.rows, &vec![0; self.names.len()])
    }

    /// What is not stored yet of the first `rows` rows of each metric.
    ///
    /// # Panics
    /// If the database cannot be read.
    pub fn missing(&self, repository: &dyn Repository, rows: usize) -> String {
        let stored = |name: &String| usize::try_from(row_count(repository, name)).expect("not negative");
        self.text(rows, &self.names.iter().map(stored).collect::<Vec<_>>())
    }

    fn text(&self, rows: usize, stored: &[usize]) -> String {
        let mut text = String::new();
        for row in 0..rows.min(self.rows) {
            for (index, name) in self.names.iter().enumerate().filter(|(index, _)| stored[*index] <= row) {
                text.push_str(&lines(name, &self.of(index).0[row..=row]));
            }
        }
        text
    }

    /// Scored rows of all metrics together.
    ///
    /// # Panics
    /// If the database cannot be read.
    pub fn scored(&self, repository: &dyn Repository) -> i64 {
        self.names.iter().map(|name| scored_count(repository, name)).sum()
    }

    /// Waits until every row is scored, for as long as ever more are: models that were killed again and again may have much to
    /// step again.
    ///
    /// # Panics
    /// If they never are.
    pub fn wait_for_scores(&self, repository: &dyn Repository) {
        let all = i64::try_from(self.rows * self.names.len()).expect("a small number");
        let mut scored = self.scored(repository);
        while scored < all {
            let before = scored;
            wait_until(&format!("more than {before} scores of {all}"), || {
                scored = self.scored(repository);
                scored > before
            });
        }
    }

    /// Whether the database has every sample once, with the scores of a lone run.
    ///
    /// # Panics
    /// At the first difference.
    #[track_caller]
    pub fn check(&self, repository: &dyn Repository) {
        for (index, name) in self.names.iter().enumerate() {
            let (samples, scores) = self.of(index);
            let rows = rows(repository, name);
            assert_stored(name, &rows, samples);
            assert_scored(name, &rows, scores);
        }
    }
}

/// A recording from `place` on, `rows` of it, going round: after its end it begins again, later by its length.
fn from_place(recorded: &[Record], place: usize, rows: usize) -> Vec<Record> {
    let length_s = recorded[recorded.len() - 1].timestamp - recorded[0].timestamp
        + (recorded[1].timestamp - recorded[0].timestamp);
    let again = recorded.iter().map(|record| Record { timestamp: record.timestamp + length_s, ..*record });
    recorded.iter().copied().chain(again).skip(place).take(rows).collect()
}

fn names(metrics: usize) -> Vec<String> {
    (0..metrics).map(|number| format!("metric.{number}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_of_a_long_load_has_samples_and_scores_of_its_own() {
        let load = Load::long(12, 60);
        let bits = |metric: usize| -> Vec<u64> {
            load.of(metric).1.iter().map(|scores| scores.raw_anomaly_score.to_bits()).collect()
        };
        for metric in 0..load.names().len() {
            let (samples, _) = load.of(metric);
            assert_eq!(samples.len(), 60);
            assert!(samples.is_sorted_by(|before, after| after.timestamp - before.timestamp == 1_800));
            assert!((0..metric).all(|other| bits(other) != bits(metric)), "metric {metric}");
        }
    }

    #[test]
    fn a_recording_goes_round_in_even_steps() {
        let recorded: Vec<Record> = (0..5).map(|row| Record { timestamp: row * 300, value: 1.0 }).collect();
        let times: Vec<i64> = from_place(&recorded, 3, 5).iter().map(|record| record.timestamp).collect();
        assert_eq!(times, [900, 1_200, 1_500, 1_800, 2_100]);
    }
}
