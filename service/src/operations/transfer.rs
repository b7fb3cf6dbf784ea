//! Taking a model's specification and recent data out of one engine and into another.
//!
//! The text is the stored specification with one more key, `data`: `[value, "YYYY-MM-DD HH:MM:SS"]` pairs in row order.
//!
//! Invariant: an import that is refused leaves nothing behind; metric, rows and model come in one transaction.
//!
//! Source: htmengine's `exportModel` and `importModel`.
//! Departures: exporting an unmonitored metric is refused by name (the original failed with a `TypeError`); times may also
//! be unix seconds; sizes are bounded.

use serde_json::{Map, Value, json};

use super::row_format::time_text;
use super::rows::{RowOrder, RowReader};
use super::{Monitored, OperationError, Operations, checked_name, not_found};
use crate::model_params::ModelSpec;
use crate::monitoring;
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::{DataQuery, StoredSample};
use crate::timestamp::parse_time;

/// How far back an export goes.
pub const EXPORT_DAYS: i64 = 14;
/// The newest rows that an export holds at most: one a minute for its days, twenty times over.
pub const MAX_EXPORT_ROWS: usize = 400_000;
/// Rows that an import may bring.
pub const MAX_IMPORT_ROWS: usize = 400_000;
const DAY_S: i64 = 86_400;
/// Rows appended by one statement.
const ROWS_PER_APPEND: usize = 10_000;

impl Operations {
    /// The specification of a metric's model with the data of its last [`EXPORT_DAYS`] days.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`], [`OperationError::MetricNotMonitored`], or from the database.
    pub fn export_model(&self, reference: &str) -> Result<Value, OperationError> {
        self.export(&self.metric(reference)?)
    }

    /// As [`Self::export_model`], of a metric at hand.
    ///
    /// # Errors
    /// As [`Self::export_model`].
    pub fn export(&self, metric: &Metric) -> Result<Value, OperationError> {
        let not_monitored =
            || OperationError::MetricNotMonitored { uid: metric.uid.clone(), name: metric.name.clone() };
        let parameters = metric.parameters.as_deref().ok_or_else(not_monitored)?;
        let mut spec: Map<String, Value> = serde_json::from_str(parameters).map_err(|error| {
            OperationError::invalid(format!(
                "the stored specification of `{}` cannot be read: {error}; unmonitor and monitor the metric",
                metric.name
            ))
        })?;
        spec.insert("data".to_owned(), self.recent_data(metric)?.into());
        Ok(spec.into())
    }

    fn recent_data(&self, metric: &Metric) -> Result<Vec<Value>, OperationError> {
        let since = Some(self.now() - EXPORT_DAYS * DAY_S);
        let query = DataQuery { since, limit: Some(MAX_EXPORT_ROWS), ..DataQuery::default() };
        let mut reader = RowReader::new(metric.uid.clone(), query, RowOrder::NewestFirst);
        let mut data = Vec::new();
        loop {
            let rows = reader.next_page(self.repository())?;
            if rows.is_empty() {
                data.reverse();
                return Ok(data);
            }
            data.extend(rows.iter().map(|row| json!([row.value, time_text(row.timestamp)])));
        }
    }

    /// Monitors a metric as an export says, made if there is none; its data are stored first if it has no rows. A metric
    /// that is monitored already is left as it is.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for a text that is no export; else as [`Operations::monitor_metric`].
    pub fn import_model(&self, text: &str) -> Result<Monitored, OperationError> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            OperationError::invalid(format!("the exported model cannot be read: {error}"))
        })?;
        self.import(value)
    }

    /// As [`Self::import_model`], of JSON at hand.
    ///
    /// # Errors
    /// As [`Self::import_model`].
    pub fn import(&self, mut value: Value) -> Result<Monitored, OperationError> {
        let data = value.as_object_mut().and_then(|spec| spec.remove("data")).unwrap_or_default();
        let samples = samples_of(data)?;
        let (uid, mut spec) = ModelSpec::from_json_with_uid(&value.to_string())?;
        if uid.is_none() {
            spec.metric_name = checked_name(&spec.metric_name)?;
        }
        let imported = monitoring::in_transaction(self.repository(), |tx| {
            let metric = match &uid {
                Some(uid) => tx.metric(uid)?.ok_or_else(|| not_found(uid.as_str()))?,
                None => monitoring::create_metric(tx, &spec.metric_name, &*self.random)?,
            };
            if metric.status != MetricStatus::Unmonitored {
                return Ok(Monitored { uid: metric.uid, name: metric.name, status: metric.status });
            }
            if tx.tail_timestamp(&metric.uid)?.is_none() {
                for samples in samples.chunks(ROWS_PER_APPEND) {
                    tx.append_rows(&metric.uid, samples)?;
                }
            }
            let metric = tx.metric(&metric.uid)?.ok_or_else(|| not_found(metric.uid.as_str()))?;
            self.monitor_in(tx, metric, &spec)
        })?;
        self.hint(&imported.uid);
        Ok(imported)
    }
}

fn samples_of(data: Value) -> Result<Vec<StoredSample>, OperationError> {
    let pairs = match data {
        Value::Null => return Ok(Vec::new()),
        Value::Array(pairs) if pairs.len() <= MAX_IMPORT_ROWS => pairs,
        Value::Array(pairs) => {
            return Err(OperationError::invalid(format!(
                "`data` has {} rows; at most {MAX_IMPORT_ROWS} can be imported: send the rest as samples",
                pairs.len()
            )));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(OperationError::invalid("`data` is no list; expected [[value, time], ...]"));
        }
    };
    pairs.iter().enumerate().map(|(index, pair)| sample_of(index, pair)).collect()
}

fn sample_of(index: usize, pair: &Value) -> Result<StoredSample, OperationError> {
    let bad = |what: &str| {
        OperationError::invalid(format!(
            "row {} of `data` is {pair}: {what}; expected [value, \"YYYY-MM-DD HH:MM:SS\"]",
            index + 1
        ))
    };
    let Some([value, time]) = pair.as_array().map(Vec::as_slice) else { return Err(bad("no pair")) };
    let value = value.as_f64().filter(|value| value.is_finite()).ok_or_else(|| bad("no value"))?;
    let timestamp = match (time.as_i64(), time.as_str()) {
        (Some(seconds), _) => parse_time(&seconds.to_string()),
        (None, Some(text)) => parse_time(text),
        (None, None) => return Err(bad("no time")),
    };
    let timestamp = timestamp.map_err(|error| bad(&error.to_string()))?;
    Ok(StoredSample { timestamp, value })
}
