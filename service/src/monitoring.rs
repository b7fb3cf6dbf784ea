//! The life of a metric: created by a sample, monitored and unmonitored on request, deleted.
//!
//! Storer, command line and HTTP all change metrics through these functions, each inside a transaction that
//! the caller holds. The engine hears of changes by other processes through `Transaction::announce`, which
//! [`monitor`], [`activate_if_ready`], [`unmonitor`] and [`delete`] call themselves. [`create_metric`] does not:
//! nobody has to act on a metric without a model.
//!
//! Transitions of the status, and nothing else may move it:
//!
//! | from | to | by |
//! |---|---|---|
//! | (none) | Unmonitored | [`create_metric`] |
//! | Unmonitored | `CreatePending` | [`monitor`] with a range, with complete parameters, or with enough rows to learn a range from |
//! | Unmonitored | `PendingData` | [`monitor`] without any of these |
//! | `PendingData` | `CreatePending` | [`activate_if_ready`], [`activate`], [`declare_range`] |
//! | `PendingData` | Error | [`activate_if_ready`], when no range can be had from rows or specification |
//! | `CreatePending` | Active, Error | the anomaly role, once the scheduler tells that the model exists or failed |
//! | Active | Error | the scheduler |
//! | any | Unmonitored | [`unmonitor`] |
//! | any | (none) | [`delete`] |
//!
//! Each start of a model has a new generation, so that scores of an earlier life are told apart.
//!
//! Source: htmengine's custom datasource adapter and `scalar_metric_utils`.
//! Departures: a waiting metric's range comes from its first 288 rows, or as many as asked for, not from whatever was
//! stored at that moment, so that it does not depend on how samples were batched, and by the rules of
//! [`crate::learned_range`], which also widen it when the metric outgrows it ([`widen_range`]); `minResolution` is honoured
//! then too (the original forgot it); unmonitoring asks nothing of a swapper, so a quick re-monitoring cannot hang.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use htm_core::ids::{ModelId, RowId};
use htm_core::params::ValueRange;

use crate::learned_range::{learned_range, outgrown, recent_rows};
use crate::model_params::{ModelSpec, ModelStart, SpecError};
use crate::repository::metric::{
    DATASOURCE_CUSTOM, MAX_DESCRIPTION_CHARS, MAX_SERVER_CHARS, Metric, MetricStatus,
};
use crate::repository::{Repository, RepositoryError, Transaction};

/// `poll_interval` of metrics made here, in seconds.
const POLL_INTERVAL_S: i64 = 300;

const ALL_STATUSES: [MetricStatus; 5] = [
    MetricStatus::Unmonitored,
    MetricStatus::Active,
    MetricStatus::CreatePending,
    MetricStatus::Error,
    MetricStatus::PendingData,
];

/// Where ids and generations come from.
pub trait RandomBytes: Send + Sync {
    /// 16 bytes that no other call, here or elsewhere, returned.
    fn random_bytes(&self) -> [u8; 16];
}

/// The operating system's randomness.
#[derive(Debug)]
pub struct SystemRandom {
    source: File,
}

impl SystemRandom {
    /// Opens `/dev/urandom`.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn open() -> io::Result<Self> {
        Ok(Self { source: File::open("/dev/urandom")? })
    }
}

impl RandomBytes for SystemRandom {
    fn random_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        (&self.source)
            .read_exact(&mut bytes)
            .expect("an open /dev/urandom never refuses or shortens a small read");
        bytes
    }
}

/// The metric with this name, made if there is none: unmonitored, no rows. Description and server are derived
/// from the name and cut to their columns' lengths; the name itself never is.
///
/// # Errors
/// [`RepositoryError::Rejected`] when the name is too long; otherwise from the database.
pub fn create_metric(
    tx: &mut dyn Transaction,
    name: &str,
    random: &dyn RandomBytes,
) -> Result<Metric, RepositoryError> {
    if let Some(metric) = tx.metric_by_name(name)? {
        return Ok(metric);
    }
    let metric = Metric {
        uid: ModelId::from_random_bytes(random.random_bytes()),
        datasource: Some(DATASOURCE_CUSTOM.to_owned()),
        name: name.to_owned(),
        description: Some(first_chars(&format!("Custom metric {name}"), MAX_DESCRIPTION_CHARS)),
        server: Some(first_chars(name, MAX_SERVER_CHARS)),
        location: Some(String::new()),
        parameters: None,
        status: MetricStatus::Unmonitored,
        message: None,
        poll_interval_s: POLL_INTERVAL_S,
        tag_name: None,
        model_params: None,
        last_rowid: RowId(0),
    };
    tx.insert_metric(&metric)?;
    Ok(metric)
}

/// Asks for a model of `metric`. Returns `CreatePending` when it can be made now, from the specification's complete
/// parameters or its range, or from the rows stored so far (all of them), else `PendingData`.
///
/// # Errors
/// [`MonitorError::AlreadyMonitored`] unless the metric is unmonitored, [`MonitorError::NotFound`] if it is gone,
/// [`MonitorError::Params`] for a bad specification or stored values too far apart.
pub fn monitor(
    tx: &mut dyn Transaction,
    metric: &Metric,
    spec: &ModelSpec,
    random: &dyn RandomBytes,
) -> Result<MetricStatus, MonitorError> {
    ask_for_model(tx, metric, spec, random, MetricStatus::Unmonitored)
}

/// Starts the model of a metric that waits for data, over a range that somebody now declares instead of the one
/// that would be estimated.
///
/// # Errors
/// As [`monitor`], but [`MonitorError::AlreadyMonitored`] unless the metric waits for data.
pub fn declare_range(
    tx: &mut dyn Transaction,
    metric: &Metric,
    spec: &ModelSpec,
    random: &dyn RandomBytes,
) -> Result<MetricStatus, MonitorError> {
    ask_for_model(tx, metric, spec, random, MetricStatus::PendingData)
}

fn ask_for_model(
    tx: &mut dyn Transaction,
    metric: &Metric,
    spec: &ModelSpec,
    random: &dyn RandomBytes,
    from: MetricStatus,
) -> Result<MetricStatus, MonitorError> {
    let id = &metric.uid;
    // Under the name it is stored by, whatever name or id the caller found it by.
    let spec = ModelSpec { metric_name: metric.name.clone(), ..spec.clone() };
    spec.validate()?;
    let start = start_now(tx, metric, &spec, random)?;
    let status = if start.is_some() { MetricStatus::CreatePending } else { MetricStatus::PendingData };
    if !tx.set_status(id, &[from], status, None)? {
        let found = tx.metric(id)?.ok_or_else(|| MonitorError::NotFound { what: id.to_string() })?;
        return Err(MonitorError::AlreadyMonitored {
            uid: found.uid,
            name: found.name,
            status: found.status,
        });
    }
    let model_params = start.as_ref().map(ModelStart::to_json);
    tx.set_model(id, Some(&spec.to_json()), model_params.as_deref())?;
    if let Some(resource) = &spec.resource {
        tx.set_server(id, resource)?;
    }
    tx.announce(id)?;
    Ok(status)
}

/// How the model starts, if it can be made at once.
fn start_now(
    tx: &mut dyn Transaction,
    metric: &Metric,
    spec: &ModelSpec,
    random: &dyn RandomBytes,
) -> Result<Option<ModelStart>, MonitorError> {
    if let Some(complete) = &spec.complete_model_params {
        return Ok(Some(ModelStart::complete(new_generation(random), complete.clone())));
    }
    if let Some(range) = spec.range {
        return Ok(Some(start_over(spec, range, random)));
    }
    if !has_rows(tx, metric, spec.rows_to_learn_from())? {
        return Ok(None);
    }
    let up_to = metric.last_rowid;
    let range = learned_range(&recent_values(tx, &metric.uid, up_to)?).map_err(SpecError::from)?;
    Ok(range.map(|range| start_over(spec, range, random).learned(up_to)))
}

/// Starts the model of a waiting metric once it has the rows to learn a range from; returns the status it has now.
/// To be called after rows were appended. `None` if the metric is gone.
///
/// # Errors
/// [`RepositoryError`] from the database. A metric whose model cannot be started moves to `Error` instead.
pub fn activate_if_ready(
    tx: &mut dyn Transaction,
    id: &ModelId,
    random: &dyn RandomBytes,
) -> Result<Option<MetricStatus>, RepositoryError> {
    let Some(metric) = tx.metric(id)? else { return Ok(None) };
    if metric.status != MetricStatus::PendingData {
        return Ok(Some(metric.status));
    }
    // One that cannot be read is told of once there are rows.
    let learning_rows = ModelSpec::stored_rows_to_learn_from(metric.parameters.as_deref());
    if !has_rows(tx, &metric, learning_rows)? {
        return Ok(Some(metric.status));
    }
    let mut up_to = RowId(learning_rows);
    let mut observed = recent_values(tx, id, up_to)?;
    if observed.is_empty() {
        // The first rows were deleted for their age while the metric waited.
        up_to = metric.last_rowid;
        observed = recent_values(tx, id, up_to)?;
    }
    let (status, message) = match start_of(&metric, (&observed, up_to), random) {
        Ok(start) => {
            tx.set_model(id, metric.parameters.as_deref(), Some(&start.to_json()))?;
            (MetricStatus::CreatePending, None)
        }
        Err(error) => (
            MetricStatus::Error,
            Some(format!("{error}; unmonitor the metric and monitor it with min and max")),
        ),
    };
    tx.set_status(id, &[MetricStatus::PendingData], status, message.as_deref())?;
    tx.announce(id)?;
    Ok(Some(status))
}

/// Starts the model of a metric that waits for data over the range of whatever rows there are, without waiting for
/// more; from any other status it changes nothing. Returns the status it has now, `None` without a single row.
///
/// # Errors
/// [`MonitorError::NotFound`] if there is no such metric, [`MonitorError::Params`] if its rows or its specification give
/// no range; nothing is changed then.
pub fn activate(
    tx: &mut dyn Transaction,
    id: &ModelId,
    random: &dyn RandomBytes,
) -> Result<Option<MetricStatus>, MonitorError> {
    let metric = tx.metric(id)?.ok_or_else(|| MonitorError::NotFound { what: id.to_string() })?;
    if metric.status != MetricStatus::PendingData {
        return Ok(Some(metric.status));
    }
    let observed = recent_values(tx, id, metric.last_rowid)?;
    if observed.is_empty() {
        return Ok(None);
    }
    let start = start_of(&metric, (&observed, metric.last_rowid), random)?;
    tx.set_model(id, metric.parameters.as_deref(), Some(&start.to_json()))?;
    tx.set_status(id, &[MetricStatus::PendingData], MetricStatus::CreatePending, None)?;
    tx.announce(id)?;
    Ok(Some(MetricStatus::CreatePending))
}

/// Starts the next life of an active metric's model, over a wider range, if the learned range of its life `generation` was
/// outgrown with row `up_to`. Scores stay. Returns whether it was.
///
/// # Errors
/// [`RepositoryError`] from the database.
pub fn widen_range(
    tx: &mut dyn Transaction,
    id: &ModelId,
    generation: &str,
    up_to: RowId,
) -> Result<bool, RepositoryError> {
    let Some(metric) = tx.metric(id)?.filter(|metric| metric.status == MetricStatus::Active) else {
        return Ok(false);
    };
    let start = metric.model_params.as_deref().map(ModelStart::from_json);
    let Some(Ok(start)) =
        start.filter(|start| start.as_ref().is_ok_and(|start| start.generation == generation))
    else {
        return Ok(false);
    };
    let (Some(range), Some(_)) = (start.range, start.learned_up_to) else { return Ok(false) };
    let Ok(Some(wider)) = outgrown(range, &recent_values(tx, id, up_to)?) else { return Ok(false) };
    let widened = start.widened(wider, up_to);
    tx.set_model(id, metric.parameters.as_deref(), Some(&widened.to_json()))?;
    tx.announce(id)?;
    Ok(true)
}

/// Gives up the model of a metric, from any status: specification, parameters, message and scores are cleared,
/// samples and row ids stay. Doing it twice is doing it once.
///
/// # Errors
/// [`MonitorError::NotFound`] if there is no such metric.
pub fn unmonitor(tx: &mut dyn Transaction, id: &ModelId) -> Result<(), MonitorError> {
    if !tx.set_status(id, &ALL_STATUSES, MetricStatus::Unmonitored, None)? {
        return Err(MonitorError::NotFound { what: id.to_string() });
    }
    tx.set_model(id, None, None)?;
    tx.clear_scores(id)?;
    tx.announce(id)?;
    Ok(())
}

/// Deletes a metric with all its rows, from any status.
///
/// # Errors
/// [`MonitorError::NotFound`] if there is no such metric.
pub fn delete(tx: &mut dyn Transaction, id: &ModelId) -> Result<(), MonitorError> {
    if !tx.delete_metric(id)? {
        return Err(MonitorError::NotFound { what: id.to_string() });
    }
    tx.announce(id)?;
    Ok(())
}

/// Runs `work` in a transaction of `repository` and hands out what it returned; nothing is changed on an error.
///
/// # Errors
/// What `work` returned, or what the database said.
pub fn in_transaction<T, E>(
    repository: &dyn Repository,
    mut work: impl FnMut(&mut dyn Transaction) -> Result<T, E>,
) -> Result<T, E>
where
    E: From<RepositoryError> + fmt::Display,
    RepositoryError: TryFrom<E, Error = E>,
{
    let mut answer = None;
    let committed = repository.transact(&mut |tx| match work(tx) {
        Ok(value) => {
            answer = Some(Ok(value));
            Ok(())
        }
        Err(error) => match RepositoryError::try_from(error) {
            Ok(error) => {
                answer = None;
                Err(error)
            }
            Err(error) => {
                // Any error rolls back; this one tells the repository nothing but that.
                let reason = error.to_string();
                answer = Some(Err(error));
                Err(RepositoryError::Rejected { reason })
            }
        },
    });
    match (committed, answer) {
        (Ok(()), Some(Ok(value))) => Ok(value),
        (_, Some(Err(error))) => Err(error),
        (Err(error), _) => Err(error.into()),
        (Ok(()), None) => Err(E::from(RepositoryError::Fatal {
            reason: "the repository reported a commit without running the work; please report this"
                .to_owned(),
        })),
    }
}

/// Why the life cycle was not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MonitorError {
    /// There is no such metric.
    NotFound {
        /// Its id or name, as the caller gave it.
        what: String,
    },
    /// It is monitored already.
    AlreadyMonitored {
        /// Its id.
        uid: ModelId,
        /// Its name.
        name: String,
        /// Its status.
        status: MetricStatus,
    },
    /// The specification, or the range it leads to, cannot be used.
    Params(SpecError),
    /// The database failed.
    Repository(RepositoryError),
}

impl From<RepositoryError> for MonitorError {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(error)
    }
}

impl TryFrom<MonitorError> for RepositoryError {
    type Error = MonitorError;

    /// The database's own failure, or the error as it was.
    fn try_from(error: MonitorError) -> Result<Self, MonitorError> {
        match error {
            MonitorError::Repository(error) => Ok(error),
            MonitorError::NotFound { .. }
            | MonitorError::AlreadyMonitored { .. }
            | MonitorError::Params(_) => Err(error),
        }
    }
}

impl From<SpecError> for MonitorError {
    fn from(error: SpecError) -> Self {
        Self::Params(error)
    }
}

impl fmt::Display for MonitorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { what } => write!(formatter, "there is no metric `{what}`"),
            Self::AlreadyMonitored { uid, name, status } => write!(
                formatter,
                "metric `{name}` ({uid}) is monitored already, its status is {}; unmonitor it first",
                status.label()
            ),
            Self::Params(error) => error.fmt(formatter),
            Self::Repository(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for MonitorError {}

fn new_generation(random: &dyn RandomBytes) -> String {
    ModelId::from_random_bytes(random.random_bytes()).to_string()
}

/// Counts stored rows, not row ids: old rows may have been deleted.
fn has_rows(tx: &mut dyn Transaction, metric: &Metric, wanted: i64) -> Result<bool, RepositoryError> {
    let last = metric.last_rowid;
    if last.0 < wanted {
        return Ok(false);
    }
    let rows = tx.rows_between(&metric.uid, RowId(last.0 - wanted + 1), last)?;
    Ok(i64::try_from(rows.len()).is_ok_and(|count| count >= wanted))
}

fn start_of(
    metric: &Metric,
    (observed, up_to): (&[f64], RowId),
    random: &dyn RandomBytes,
) -> Result<ModelStart, SpecError> {
    let spec = ModelSpec::from_json(metric.parameters.as_deref().unwrap_or_default())?;
    if let Some(complete) = spec.complete_model_params {
        return Ok(ModelStart::complete(new_generation(random), complete));
    }
    if let Some(range) = spec.range {
        return Ok(start_over(&spec, range, random));
    }
    let range = learned_range(observed)?.unwrap_or(ValueRange { min: 0.0, max: 1.0 });
    Ok(start_over(&spec, range, random).learned(up_to))
}

fn start_over(spec: &ModelSpec, range: ValueRange, random: &dyn RandomBytes) -> ModelStart {
    let start = ModelStart::new(new_generation(random), range, spec.min_resolution);
    start.with_classifier(spec.enable_classifier)
}

/// The values of the metric's rows up to `up_to`, as far as a range is learned from them.
fn recent_values(tx: &mut dyn Transaction, id: &ModelId, up_to: RowId) -> Result<Vec<f64>, RepositoryError> {
    let (first, last) = recent_rows(up_to);
    let rows = tx.rows_between(id, first, last)?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

fn first_chars(text: &str, count: usize) -> String {
    text.chars().take(count).collect()
}
