//! The engine at one glance: metrics by state, rows, queues, models, and what is wrong.
//!
//! Metrics and rows come from the repository. Queues and models are the scheduler's, which may be another process: they
//! come from the figures that it leaves in the data folder, as `htmengine status` reads them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::metric_state::PROBATION_ROWS;
use super::{OperationError, Operations};
use crate::control::{self, EngineFigures};
use crate::repository::metric::MetricStatus;
use crate::self_metrics::{self, Gauges};

/// Figures older than this are those of an engine that does not answer.
const FIGURES_AGE_S: i64 = 10;
/// Rates are taken over at least so long.
const RATE_SPAN: Duration = Duration::from_secs(5);
/// Rows without a score from which on the engine is behind.
const BEHIND_ROWS: i64 = 100_000;

/// Metrics by what they are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MetricCounts {
    /// All.
    pub total: usize,
    /// With a model.
    pub active: usize,
    /// Of these, whose model is still learning.
    pub learning: usize,
    /// Whose model is being made.
    pub create_pending: usize,
    /// That wait for rows.
    pub pending_data: usize,
    /// Whose model failed.
    pub error: usize,
    /// Without a model.
    pub unmonitored: usize,
}

/// Rows and how fast they come.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct RowFigures {
    /// Ever stored.
    pub stored_total: i64,
    /// Of these, scored.
    pub scored_total: i64,
    /// Rows of active metrics without a score.
    pub unscored: i64,
    /// Stored a second, lately; `None` at the first look.
    pub stored_per_s: Option<f64>,
    /// Scored a second, lately.
    pub scored_per_s: Option<f64>,
    /// Time of the newest row, unix seconds.
    pub newest_at: Option<i64>,
}

/// How the engine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ok` or `degraded`.
    pub status: &'static str,
    /// What is wrong, for people.
    pub problems: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// Of the program.
    pub version: &'static str,
    /// Unix seconds.
    pub now: i64,
    /// How it is.
    pub health: Health,
    /// Metrics.
    pub metrics: MetricCounts,
    /// Rows.
    pub rows: RowFigures,
    /// Figures of the scheduler's process; `None` if it leaves none here.
    pub engine: Option<EngineFigures>,
    /// Lines refused since the database was made.
    pub rejects_total: u64,
}

/// Where rates are remembered between two looks.
#[derive(Debug)]
pub struct Gauge {
    data_dir: PathBuf,
    looks: Mutex<Option<Look>>,
}

/// Totals at a time, and the rates known then.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    stored: i64,
    completed: i64,
    rates: Option<(f64, f64)>,
}

impl Gauge {
    /// Of the engine with this data folder.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), looks: Mutex::new(None) }
    }

    /// Figures of the scheduler's process; nobody needs them so much that an unreadable file is an error.
    pub fn figures(&self) -> Option<EngineFigures> {
        control::read_figures(&self.data_dir).ok().flatten()
    }

    /// Rows stored and scored a second since a look that is long enough ago.
    fn rates(&self, now: Duration, (stored, completed): (i64, i64)) -> Option<(f64, f64)> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = *looks else {
            *looks = Some(Look { at: now, stored, completed, rates: None });
            return None;
        };
        let passed = now.saturating_sub(last.at);
        if passed < RATE_SPAN {
            return last.rates;
        }
        let rate = |more: i64| u32::try_from(more).map_or(0.0, f64::from) / passed.as_secs_f64();
        let rates = Some((rate(stored - last.stored), rate(completed - last.completed)));
        *looks = Some(Look { at: now, stored, completed, rates });
        rates
    }
}

impl Operations {
    /// The engine at one glance.
    ///
    /// # Errors
    /// From the database.
    pub fn overview(&self, gauge: &Gauge) -> Result<Overview, OperationError> {
        let now = self.now();
        let (metrics, mut rows) = self.counts()?;
        let rates = gauge.rates(self.monotonic(), (rows.stored_total, rows.scored_total));
        rows.stored_per_s = rates.map(|(stored, _)| stored);
        rows.scored_per_s = rates.map(|(_, scored)| scored);
        rows.newest_at = self.repository().newest_timestamp()?;
        let engine = gauge.figures();
        let rejects_total = self.repository().rejects()?.iter().map(|entry| entry.count).sum();
        let mut problems = problems(now, &metrics, &rows, engine.as_ref());
        problems.extend(limit_problem(metrics.total, self.max_metrics));
        let status = if problems.is_empty() { "ok" } else { "degraded" };
        let health = Health { status, problems };
        let version = env!("CARGO_PKG_VERSION");
        Ok(Overview { version, now, health, metrics, rows, engine, rejects_total })
    }

    /// The engine's own figures as text, in Prometheus' format; see [`self_metrics`].
    ///
    /// # Errors
    /// From the database.
    pub fn figures_text(&self, gauge: &Gauge) -> Result<String, OperationError> {
        let (metrics, rows) = self.counts()?;
        let engine = gauge.figures();
        let max_metrics = self.max_metrics;
        let engine = engine.as_ref();
        Ok(self_metrics::written(&Gauges { metrics: &metrics, max_metrics, rows: &rows, engine }))
    }

    /// Metrics and rows.
    ///
    /// # Errors
    /// From the database.
    pub fn counts(&self) -> Result<(MetricCounts, RowFigures), OperationError> {
        let (mut metrics, mut rows) = (MetricCounts::default(), RowFigures::default());
        for sum in self.repository().status_sums(PROBATION_ROWS)? {
            metrics.total += sum.metrics;
            rows.stored_total += sum.stored_rows;
            rows.scored_total += sum.scored_rows;
            match sum.status {
                MetricStatus::Unmonitored => metrics.unmonitored += sum.metrics,
                MetricStatus::CreatePending => metrics.create_pending += sum.metrics,
                MetricStatus::Error => metrics.error += sum.metrics,
                MetricStatus::PendingData => metrics.pending_data += sum.metrics,
                MetricStatus::Active => {
                    metrics.active += sum.metrics;
                    metrics.learning += sum.young_metrics;
                    rows.unscored += (sum.stored_rows - sum.scored_rows).max(0);
                }
            }
        }
        Ok((metrics, rows))
    }
}

fn problems(
    now: i64,
    metrics: &MetricCounts,
    rows: &RowFigures,
    engine: Option<&EngineFigures>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(engine) = engine {
        if engine.is_stopped {
            problems.push("the engine that scores was stopped; start it again".to_owned());
        } else if now - engine.taken_at > FIGURES_AGE_S {
            let age = now - engine.taken_at;
            problems.push(format!("the engine that scores has not been heard of for {age} s; see its log"));
        }
        if let Some(trouble) = &engine.models.checkpoint_trouble {
            problems.push(format!("models cannot be saved: {trouble}"));
        }
    }
    if rows.unscored > BEHIND_ROWS {
        problems.push(format!("{} rows wait for their scores", rows.unscored));
    }
    if metrics.error > 0 {
        problems.push(format!("{} metrics are in error; their pages say why", metrics.error));
    }
    problems
}

/// That there is no room for new metrics.
fn limit_problem(metrics: usize, max_metrics: usize) -> Option<String> {
    (max_metrics > 0 && metrics >= max_metrics).then(|| {
        format!(
            "there are {metrics} metrics and max_metrics is {max_metrics}: samples of new names are refused, known \
             metrics go on; delete some metrics, or raise max_metrics"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_taken_over_a_while() {
        let gauge = Gauge::new(Path::new("nowhere"));
        let second = Duration::from_secs;
        assert_eq!(gauge.rates(second(100), (1_000, 900)), None);
        assert_eq!(gauge.rates(second(101), (2_000, 1_900)), None, "too soon");
        assert_eq!(gauge.rates(second(110), (2_000, 1_400)), Some((100.0, 50.0)));
        assert_eq!(gauge.rates(second(111), (9_000, 9_000)), Some((100.0, 50.0)), "too soon again");
        assert_eq!(
            gauge.rates(second(120), (1_000, 1_400)),
            Some((0.0, 0.0)),
            "rows were deleted with their metric"
        );
    }
}
