//! Looking at, and changing, what an engine has stored: in this process or in another.

use htm_core::params::ValueRange;
use htmengine::model_params::ModelSpec;
use htmengine::monitoring::{self, SystemRandom};
use htmengine::reject::RejectReason;
use htmengine::repository::Repository;
use htmengine::repository::metric::{Metric, MetricStatus};
use htmengine::repository::metric_data::{DataQuery, MetricRow};

use crate::waiting::{wait_for, wait_until};

/// Monitors `names`, made if missing, over `range` or over what their first rows will show; in one transaction.
///
/// # Panics
/// If that is refused.
pub fn monitor_all(repository: &dyn Repository, names: &[&str], range: Option<ValueRange>) {
    let random = SystemRandom::open().expect("/dev/urandom");
    monitoring::in_transaction::<_, monitoring::MonitorError>(repository, |tx| {
        for name in names {
            let metric = monitoring::create_metric(tx, name, &random)?;
            let spec = ModelSpec { range, ..ModelSpec::for_metric(name) };
            monitoring::monitor(tx, &metric, &spec, &random)?;
        }
        Ok(())
    })
    .expect("monitored");
}

/// Monitors one metric; see [`monitor_all`].
///
/// # Panics
/// If that is refused.
pub fn monitor(repository: &dyn Repository, name: &str, range: Option<ValueRange>) {
    monitor_all(repository, &[name], range);
}

/// The metric, if there is one.
///
/// # Panics
/// If the database cannot be read.
pub fn metric(repository: &dyn Repository, name: &str) -> Option<Metric> {
    repository.metric_by_name(name).expect("a readable database")
}

/// Its status, if there is such a metric.
///
/// # Panics
/// If the database cannot be read.
pub fn status(repository: &dyn Repository, name: &str) -> Option<MetricStatus> {
    metric(repository, name).map(|metric| metric.status)
}

/// All its rows; none if there is no such metric.
///
/// # Panics
/// If the database cannot be read.
pub fn rows(repository: &dyn Repository, name: &str) -> Vec<MetricRow> {
    metric(repository, name).map_or_else(Vec::new, |metric| {
        repository.data(&metric.uid, &DataQuery::default()).expect("a readable database")
    })
}

/// How many rows it has.
///
/// # Panics
/// If the database cannot be read.
pub fn row_count(repository: &dyn Repository, name: &str) -> i64 {
    metric(repository, name).map_or(0, |metric| metric.last_rowid.0)
}

/// How many rows it has, counted without a gap from the first, that carry scores.
///
/// # Panics
/// If the database cannot be read.
pub fn scored_count(repository: &dyn Repository, name: &str) -> i64 {
    metric(repository, name)
        .map_or(0, |metric| repository.scored_up_to(&metric.uid).expect("a readable database").0)
}

/// Waits until it has `count` rows, and returns all its rows.
///
/// # Panics
/// If it never has.
#[track_caller]
pub fn wait_for_rows(repository: &dyn Repository, name: &str, count: usize) -> Vec<MetricRow> {
    let count = i64::try_from(count).expect("a small number");
    wait_until(&format!("{count} rows of {name}"), || row_count(repository, name) >= count);
    rows(repository, name)
}

/// Waits until `count` of its rows are scored, and returns all its rows.
///
/// # Panics
/// If they never are.
#[track_caller]
pub fn wait_for_scores(repository: &dyn Repository, name: &str, count: usize) -> Vec<MetricRow> {
    let count = i64::try_from(count).expect("a small number");
    wait_until(&format!("{count} scored rows of {name}"), || scored_count(repository, name) >= count);
    rows(repository, name)
}

/// Waits until `count` samples were refused for this reason, and returns the count and the latest example.
///
/// # Panics
/// If they never are.
#[track_caller]
pub fn wait_for_rejects(repository: &dyn Repository, reason: RejectReason, count: u64) -> (u64, String) {
    wait_for(&format!("{count} samples refused as {}", reason.name()), || {
        let rejects = repository.rejects().expect("a readable database");
        let entry = rejects.into_iter().find(|entry| entry.reason == reason)?;
        (entry.count >= count).then_some((entry.count, entry.example))
    })
}
