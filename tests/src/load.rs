//! Samples of several metrics whose scores are known beforehand, and whether an engine has them so.

use htm_core::encoder::Record;
use htmengine::repository::Repository;

use crate::lone_run::{LoneScores, assert_scored, assert_stored, padded_range, scores};
use crate::recording::series;
use crate::sender::lines;
use crate::stored::{monitor_all, row_count, rows, scored_count};
use crate::waiting::wait_until;

/// Metrics share their values with others, so that a few lone runs tell the scores of all.
const SERIES: [&str; 3] = ["speed_7578", "nyc_taxi", "art_daily_jumpsup"];

/// So many metrics with so many rows each.
pub struct Load {
    names: Vec<String>,
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

    /// As [`Load::new`], of the longest recording at three scales: up to 10,320 rows.
    pub fn long(metrics: usize, rows: usize) -> Self {
        let recorded: Vec<Record> =
            series("nyc_taxi").into_iter().map(|(_, record)| record).take(rows).collect();
        let series = [1.0, 0.5, 3.0].map(|scale| {
            let scaled = |record: &Record| Record { value: record.value * scale, ..*record };
            let samples: Vec<Record> = recorded.iter().map(scaled).collect();
            let scores = scores(&samples, padded_range(&samples));
            (samples, scores)
        });
        Self { names: names(metrics), series: series.into(), rows: recorded.len() }
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

fn names(metrics: usize) -> Vec<String> {
    (0..metrics).map(|number| format!("metric.{number}")).collect()
}
