//! What became of the samples, and of memory and latency while they came.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::time::Duration;

use htm_bench::quantiles::{mean, median};
use htm_tests::lone_run::scores;
use htm_tests::stored::rows;
use htmengine::repository::Repository;

use crate::inventory::Inventory;
use crate::load::Load;
use crate::moment::Moment;

/// Samples that are not where they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    sent: usize,
    rows: Inventory,
    compared_metrics: usize,
    compared: usize,
    inexact: usize,
    /// What the engine counted as refused, of samples that are all good.
    refused: u64,
}

/// Reads every row of every metric, and compares the scores of some.
pub(crate) fn lost(repository: &dyn Repository, load: &Load) -> io::Result<Lost> {
    let metrics = load.compared();
    Ok(Lost {
        sent: load.rounds() * load.names().len(),
        rows: Inventory::take(repository, load)?,
        compared_metrics: metrics.len(),
        compared: load.rounds() * metrics.len(),
        inexact: metrics.iter().map(|metric| inexact_rows(repository, load, *metric)).sum(),
        refused: refused(repository)?,
    })
}

fn refused(repository: &dyn Repository) -> io::Result<u64> {
    let entries = repository.rejects().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(entries.iter().map(|entry| entry.count).sum())
}

fn inexact_rows(repository: &dyn Repository, load: &Load, metric: usize) -> usize {
    let found = rows(repository, &load.names()[metric]);
    let expected = scores(&load.samples(metric), load.range(metric));
    let is_exact = |index: usize| found.get(index).is_some_and(|row| expected[index].are_of(row));
    (0..expected.len()).filter(|index| !is_exact(*index)).count()
}

impl Lost {
    pub(crate) fn is_none(&self) -> bool {
        self.rows == Inventory::default() && self.inexact == 0 && self.refused == 0
    }
}

impl Display for Lost {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { sent, rows, compared_metrics, compared, inexact, refused } = self;
        let Inventory { not_stored, doubled, wrong, not_scored } = rows;
        writeln!(
            formatter,
            "sent {sent}; not stored {not_stored}, doubled {doubled}, wrong {wrong}, not scored {not_scored}, refused {refused}"
        )?;
        writeln!(
            formatter,
            "compared with models alone: {compared} rows of {compared_metrics} metrics, inexact {inexact}"
        )
    }
}

/// How an engine went on after it was killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    /// Since samples began to come.
    pub(crate) killed_at: Duration,
    /// When it had announced its ports again.
    pub(crate) started_at: Duration,
    /// Samples sent in a second: while more rows than that wait, the engine is behind.
    pub(crate) rate: u32,
}

impl Recovery {
    /// In words, from a run's moments.
    pub(crate) fn text(self, moments: &[Moment]) -> String {
        let killed_s = self.killed_at.as_secs_f64();
        let after = || moments.iter().filter(|moment| moment.elapsed_s > killed_s);
        let most = after().map(|moment| moment.unscored).fold(0.0, f64::max);
        let caught_up = after().find(|moment| moment.unscored < f64::from(self.rate));
        let caught_up = caught_up.map_or_else(
            || "never".to_owned(),
            |moment| format!("{:.0} s after the kill", moment.elapsed_s - killed_s),
        );
        format!(
            "killed after {killed_s:.0} s, served again {:.2} s later; then up to {most:.0} rows waited, and fewer than come \
             in a second at last {caught_up}\n",
            self.started_at.saturating_sub(self.killed_at).as_secs_f64(),
        )
    }
}

/// The second and the last quarter of a run.
pub(crate) struct Trends {
    lines: Vec<(&'static str, [f64; 3])>,
    /// Moments in which no probe came back: in the two quarters, in the whole run, and of how many.
    unanswered: [usize; 4],
}

impl Trends {
    /// Of a run's moments.
    pub(crate) fn of(moments: &[Moment]) -> Self {
        let end_s = moments.last().map_or(0.0, |moment| moment.elapsed_s);
        let in_quarter = |quarter: f64| {
            let within = move |moment: &&Moment| {
                (end_s * quarter / 4.0..end_s * (quarter + 1.0) / 4.0).contains(&moment.elapsed_s)
            };
            moments.iter().filter(within)
        };
        let lines = FIGURES.map(|(name, figure)| {
            let all: Vec<f64> =
                (1..4).flat_map(|quarter| in_quarter(f64::from(quarter))).filter_map(figure).collect();
            let middle = |quarter| median(&mut in_quarter(quarter).filter_map(figure).collect::<Vec<_>>());
            (name, [middle(1.0), middle(3.0), spread(&all)])
        });
        let is_unanswered = |moment: &&Moment| moment.probes == 0;
        let unanswered = [
            in_quarter(1.0).filter(is_unanswered).count(),
            in_quarter(3.0).filter(is_unanswered).count(),
            moments.iter().filter(is_unanswered).count(),
            moments.len(),
        ];
        Self { lines: lines.into(), unanswered }
    }
}

/// Half of the distance between the least and the greatest, as a share of the mean.
fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (greatest - least) / 2.0 / mean(values)
}

/// `None` of a moment that has none.
type Figure = fn(&Moment) -> Option<f64>;

const FIGURES: [(&str, Figure); 8] = [
    ("resident memory, MiB", |moment| Some(moment.resident_mib)),
    ("of it anonymous, MiB", |moment| Some(moment.anonymous_mib)),
    ("models' memory, MiB", |moment| Some(moment.models_mib)),
    ("latency p50, ms", |moment| (moment.probes > 0).then_some(moment.p50_ms)),
    ("latency p99, ms", |moment| (moment.probes > 0).then_some(moment.p99_ms)),
    ("rows that wait", |moment| Some(moment.unscored)),
    ("processors busy", |moment| Some(moment.cores)),
    ("processors stolen", |moment| Some(moment.stolen_cores)),
];

impl Display for Trends {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<24} second quarter  last quarter  ratio  spread", "medians")?;
        for (name, [second, last, spread]) in &self.lines {
            let (ratio, spread) = (last / second, spread * 100.0);
            writeln!(formatter, "{name:<24} {second:>14.1} {last:>13.1} {ratio:>6.2} {spread:>5.1} %")?;
        }
        let [second, last, unanswered, moments] = self.unanswered;
        writeln!(
            formatter,
            "moments without a probe's answer: {second} in the second quarter, {last} in the last, {unanswered} of all \
             {moments}; latencies are of the others"
        )
    }
}
