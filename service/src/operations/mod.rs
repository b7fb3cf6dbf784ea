//! What people and programs may ask of metrics and models: the original's datasource adapter and repository functions.
//!
//! Command line and HTTP both come here, so that a rule holds on either way in; here each request becomes one
//! transaction over [`crate::monitoring`], and after its commit a hint to the scheduler where a bus is at hand.
//!
//! Files: `mod.rs` changes one metric; `transfer.rs` exports and imports; `listing.rs` reads across metrics
//! (`metric_filter.rs` says which), `overview.rs` is the engine at one glance; `anomalies.rs` ranks what was odd, `heat.rs`
//! draws it over time, `explain.rs` says why; `rows.rs` reads the rows of one metric, `chart.rs` draws them;
//! `alerts.rs` lists episodes and tries channels; `row_format.rs`, `metric_json.rs` and `metric_state.rs` show them; `samples.rs` hands samples over; `error.rs` names what
//! went wrong.
//!
//! Invariants: a request that is refused changed nothing; a metric is named by its id or by its name everywhere, and an
//! id wins.
//!
//! Source: htmengine's custom datasource adapter (behaviour 7.2, 7.3) and `repository/queries.py` (8).
//! Departures: a specification is checked before anything is made, so a bad one leaves no metric behind; a metric
//! that waits for data may be monitored once more with a declared range, which ends the waiting; `activate` honours
//! `minResolution`.

pub mod alerts;
pub mod anomalies;
pub mod chart;
pub mod error;
pub mod explain;
pub mod heat;
pub mod listing;
pub mod metric_filter;
pub mod metric_json;
pub mod metric_state;
pub mod overview;
pub mod row_format;
pub mod rows;
pub mod samples;
pub mod transfer;
pub mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use htm_core::ids::ModelId;

pub use self::error::OperationError;
use crate::alerts::AlertSettings;
use crate::bus::message::{ModelHint, ResultMessage};
use crate::bus::{Bus, Subscription};
use crate::clock::Clock;
use crate::live_setting::LiveSetting;
use crate::model_params::ModelSpec;
use crate::monitoring::{self, RandomBytes};
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::{Repository, RepositoryError, Transaction};
use crate::sample::canonical_name;
use crate::scheduler::model_store::ModelStore;

/// Where requests are carried out.
pub struct Operations {
    repository: Arc<dyn Repository>,
    bus: Option<Arc<dyn Bus>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomBytes>,
    /// Where model files lie, to look at them.
    model_store: Option<ModelStore>,
    alerts: LiveSetting<AlertSettings>,
    /// Metrics beyond which samples make no more; 0 for no limit.
    max_metrics: usize,
}

impl fmt::Debug for Operations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Operations").field("has_bus", &self.bus.is_some()).finish_non_exhaustive()
    }
}

/// A metric that was just monitored or activated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitored {
    /// Its id.
    pub uid: ModelId,
    /// Its name.
    pub name: String,
    /// `CreatePending` when its model is being made, `PendingData` while it waits for rows.
    pub status: MetricStatus,
}

impl Operations {
    /// Operations on this repository. `bus` is `None` where there is none, as for a command line beside an engine with a
    /// bus of its own: the engine then hears of changes from the table `change`.
    pub fn new(
        repository: Arc<dyn Repository>,
        bus: Option<Arc<dyn Bus>>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn RandomBytes>,
    ) -> Self {
        let alerts = LiveSetting::new(AlertSettings::default());
        Self { repository, bus, clock, random, model_store: None, alerts, max_metrics: 0 }
    }

    /// The same, where model files can be looked at.
    #[must_use]
    pub fn with_model_store(self, store: ModelStore) -> Self {
        Self { model_store: Some(store), ..self }
    }

    /// The same with these rules and channels of alerts.
    #[must_use]
    pub fn with_alerts(self, alerts: LiveSetting<AlertSettings>) -> Self {
        Self { alerts, ..self }
    }

    /// The same where samples make only so many metrics; 0 for no limit.
    #[must_use]
    pub fn with_max_metrics(self, max_metrics: usize) -> Self {
        Self { max_metrics, ..self }
    }

    /// The repository, for reading.
    pub fn repository(&self) -> &dyn Repository {
        &*self.repository
    }

    /// Unix seconds now.
    pub fn now(&self) -> i64 {
        self.clock.unix_seconds()
    }

    /// Finished rows from now on; `None` where no bus is at hand.
    pub fn follow(&self) -> Option<Box<dyn Subscription<ResultMessage>>> {
        self.bus.as_ref().map(|bus| bus.results().subscribe())
    }

    /// Gives a metric another range: its model starts over with it, over all rows there are.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for a range that is none, [`OperationError::MetricNotMonitored`],
    /// [`OperationError::ObjectNotFound`], or from the database.
    pub fn change_range(&self, reference: &str, min: f64, max: f64) -> Result<Monitored, OperationError> {
        let metric = self.metric(reference)?;
        if metric.status == MetricStatus::Unmonitored {
            return Err(OperationError::MetricNotMonitored { uid: metric.uid, name: metric.name });
        }
        let asked = metric.parameters.as_deref();
        let mut spec = asked.map_or_else(|| Ok(ModelSpec::for_metric(&metric.name)), ModelSpec::from_json)?;
        spec.range = ModelSpec::range_of(Some(min), Some(max))?;
        spec.learning_rows = None;
        spec.validate()?;
        let monitored = monitoring::in_transaction(self.repository(), |tx| {
            monitoring::unmonitor(tx, &metric.uid)?;
            let metric = tx.metric(&metric.uid)?.ok_or_else(|| not_found(metric.uid.as_str()))?;
            self.monitor_in(tx, metric, &spec)
        })?;
        self.hint(&monitored.uid);
        Ok(monitored)
    }

    /// Time that never goes back, for spans.
    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The metric with this id or, if there is none, with this name.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`], or from the database.
    pub fn metric(&self, reference: &str) -> Result<Metric, OperationError> {
        find_metric(self.repository(), reference)?.ok_or_else(|| not_found(reference))
    }

    /// Makes an unmonitored metric.
    ///
    /// # Errors
    /// [`OperationError::MetricAlreadyExists`], [`OperationError::InvalidArgument`] for a bad name, or from the database.
    pub fn create_metric(&self, name: &str) -> Result<Metric, OperationError> {
        let name = checked_name(name)?;
        monitoring::in_transaction(self.repository(), |tx| {
            if let Some(found) = tx.metric_by_name(&name)? {
                return Err(OperationError::MetricAlreadyExists { uid: found.uid, name: found.name });
            }
            Ok(monitoring::create_metric(tx, &name, &*self.random)?)
        })
    }

    /// Deletes a metric with its rows and its model, from any status; returns what it was.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`], or from the database.
    pub fn delete_metric(&self, reference: &str) -> Result<Metric, OperationError> {
        let metric = self.metric(reference)?;
        monitoring::in_transaction(self.repository(), |tx| monitoring::delete(tx, &metric.uid))?;
        self.hint(&metric.uid);
        Ok(metric)
    }

    /// Starts a model as a specification (JSON) says; a metric named there is made if there is none.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for a bad specification, [`OperationError::ObjectNotFound`] for an unknown
    /// `metricSpec.uid`, [`OperationError::MetricAlreadyMonitored`], or from the database.
    pub fn monitor_metric(&self, spec_json: &str) -> Result<Monitored, OperationError> {
        let (uid, spec) = ModelSpec::from_json_with_uid(spec_json)?;
        self.monitor(uid.as_ref(), spec)
    }

    /// As [`Self::monitor_metric`], for a specification that was read before. With `uid` the name in `spec` means
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::monitor_metric`].
    pub fn monitor(&self, uid: Option<&ModelId>, mut spec: ModelSpec) -> Result<Monitored, OperationError> {
        if uid.is_none() {
            spec.metric_name = checked_name(&spec.metric_name)?;
        }
        let monitored = monitoring::in_transaction(self.repository(), |tx| {
            let metric = match uid {
                Some(uid) => tx.metric(uid)?.ok_or_else(|| not_found(uid.as_str()))?,
                None => monitoring::create_metric(tx, &spec.metric_name, &*self.random)?,
            };
            self.monitor_in(tx, metric, &spec)
        })?;
        self.hint(&monitored.uid);
        Ok(monitored)
    }

    /// Starts the model of a metric that waits for data over the rows it has; one whose model exists or is being made
    /// is left as it is.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`]; [`OperationError::MetricStatisticsNotReady`] without a row;
    /// [`OperationError::MetricNotMonitored`]; [`OperationError::MetricStatusChanged`] for one in error; or from the
    /// database.
    pub fn activate_model(&self, reference: &str) -> Result<Monitored, OperationError> {
        let metric = self.metric(reference)?;
        let Metric { uid, name, .. } = metric;
        let status = monitoring::in_transaction(self.repository(), |tx| {
            match monitoring::activate(tx, &uid, &*self.random)? {
                None => {
                    Err(OperationError::MetricStatisticsNotReady { uid: uid.clone(), name: name.clone() })
                }
                Some(MetricStatus::Unmonitored) => {
                    Err(OperationError::MetricNotMonitored { uid: uid.clone(), name: name.clone() })
                }
                Some(status @ MetricStatus::Error) => {
                    Err(OperationError::MetricStatusChanged { uid: uid.clone(), name: name.clone(), status })
                }
                Some(status) => Ok(status),
            }
        })?;
        self.hint(&uid);
        Ok(Monitored { uid, name, status })
    }

    /// Gives up the model of a metric: scores, specification and parameters go, samples stay. Doing it twice is doing it
    /// once. Returns the metric as it was before.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`], or from the database.
    pub fn unmonitor_metric(&self, reference: &str) -> Result<Metric, OperationError> {
        let metric = self.metric(reference)?;
        monitoring::in_transaction(self.repository(), |tx| monitoring::unmonitor(tx, &metric.uid))?;
        self.hint(&metric.uid);
        Ok(metric)
    }

    fn monitor_in(
        &self,
        tx: &mut dyn Transaction,
        metric: Metric,
        spec: &ModelSpec,
    ) -> Result<Monitored, OperationError> {
        // Metrics that are monitored by themselves wait for data first; a declared range ends the waiting.
        let is_declared = spec.range.is_some() || spec.complete_model_params.is_some();
        let is_waiting = metric.status == MetricStatus::PendingData && is_declared;
        let ask = if is_waiting { monitoring::declare_range } else { monitoring::monitor };
        let status = ask(tx, &metric, spec, &*self.random)?;
        Ok(Monitored { uid: metric.uid, name: metric.name, status })
    }

    /// Tells the scheduler of a changed metric. Losing it costs time only: the change is in the database.
    fn hint(&self, id: &ModelId) {
        let Some(bus) = &self.bus else { return };
        let hint = ModelHint { model_id: id.clone(), is_changed: true };
        if let Err(error) = bus.hints().publish(hint) {
            tracing::warn!(model = %id, "the scheduler was not told of a changed metric: {error}");
        }
    }
}

/// The metric with this id or, if there is none, with this name. An id wins: nobody chooses those, while whoever may send
/// samples could name a metric like another's id.
///
/// # Errors
/// What the database said.
pub fn find_metric(repository: &dyn Repository, reference: &str) -> Result<Option<Metric>, RepositoryError> {
    let by_id = ModelId::new(reference).map(|id| repository.metric(&id)).transpose()?;
    if let Some(metric) = by_id.flatten() {
        return Ok(Some(metric));
    }
    let name = canonical_name(reference).map_or_else(|_| reference.to_owned(), Into::into);
    repository.metric_by_name(&name)
}

/// A metric name as it is stored.
fn checked_name(name: &str) -> Result<String, OperationError> {
    canonical_name(name).map(Into::into).map_err(|reason| {
        OperationError::invalid(format!("`{}` is no metric name: {}", name.escape_debug(), reason.advice()))
    })
}

fn not_found(reference: &str) -> OperationError {
    OperationError::ObjectNotFound {
        reason: format!("there is no metric named '{}', nor one with this id", reference.escape_debug()),
    }
}
