//! Questions across metrics: lists, groups, counts and figures.
//!
//! Source: htmengine's `repository/queries.py`.
//! Departures: a group's message names each metric once (the original doubled the first); ids by display value come as
//! a list in that order (the original returned an unordered map); row counts follow from row ids, which are consecutive.

use std::collections::BTreeMap;
use std::fs;
use std::time::UNIX_EPOCH;

use htm_core::ids::ModelId;
use serde::Serialize;
use serde_json::{Value, json};

use super::metric_filter::{MetricFilter, tags_of};
use super::metric_json::{metric_json, parsed};
use super::metric_state::{learning, metric_state};
use super::row_format::row_json;
use super::{OperationError, Operations};
use crate::model_params::{ModelSpec, ModelStart};
use crate::monitoring;
use crate::repository::RepositoryError;
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::signals::{self, Signal};

/// Seconds in an hour.
const HOUR_S: i64 = 3_600;
/// Longest period of [`Operations::ids_by_display_value`]: a year.
pub const MAX_PERIOD_HOURS: i64 = 8_784;
/// Statuses of metrics that are monitored.
pub const MONITORED: [MetricStatus; 4] =
    [MetricStatus::Active, MetricStatus::CreatePending, MetricStatus::Error, MetricStatus::PendingData];

/// A status by its number or its name, with blanks or underscores between words.
pub fn status_from_text(text: &str) -> Option<MetricStatus> {
    if let Ok(code) = text.parse() {
        return MetricStatus::from_code(code);
    }
    let label = text.replace('_', " ");
    let all = MONITORED.into_iter().chain([MetricStatus::Unmonitored]);
    all.into_iter().find(|status| status.label() == label)
}

/// Which metrics to list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricQuery {
    /// These.
    pub filter: MetricFilter,
    /// Only those whose name comes after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPage {
    /// By name.
    pub metrics: Vec<Metric>,
    /// Metrics on all pages.
    pub total: usize,
    /// Whether there are more after these.
    pub has_more: bool,
}

/// The monitored metrics of one server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instance {
    /// The server.
    pub server: String,
    /// Of its first metric.
    pub location: Option<String>,
    /// Name of its first metric up to the second `/`.
    pub namespace: String,
    /// Tag name of its first metric.
    pub name: Option<String>,
    /// Specification of its first metric.
    pub parameters: Value,
    /// The statuses of its metrics, or-ed.
    pub status: i64,
    /// What its metrics say of their errors, one a line.
    pub message: Option<String>,
}

/// How many rows a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Stored.
    pub rows: i64,
    /// With a raw anomaly score, counted without a gap from the first.
    pub scored: i64,
}

/// Smallest and largest stored value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MetricStats {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Operations {
    /// Metrics by name.
    ///
    /// # Errors
    /// From the database.
    pub fn metrics(&self, query: &MetricQuery) -> Result<MetricPage, OperationError> {
        let mut metrics = self.repository().metrics(&query.filter.statuses)?;
        metrics.retain(|metric| query.filter.matches(metric));
        let total = metrics.len();
        if let Some(after) = &query.after {
            metrics.retain(|metric| metric.name.as_str() > after.as_str());
        }
        let has_more = query.limit.is_some_and(|limit| metrics.len() > limit);
        metrics.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(MetricPage { metrics, total, has_more })
    }

    /// A metric with what it is doing, as JSON: its columns, `tags`, `state`, `learning` and `newest_row`.
    ///
    /// # Errors
    /// From the database.
    pub fn described(&self, metric: &Metric) -> Result<Value, OperationError> {
        let scored_rows = self.repository().scored_up_to(&metric.uid)?.0;
        let newest = self.newest_row(&metric.uid)?;
        let mut value = metric_json(metric);
        let learning_rows = ModelSpec::stored_rows_to_learn_from(metric.parameters.as_deref());
        value["tags"] = json!(tags_of(&metric.name));
        value["state"] = json!(metric_state(metric, Some(scored_rows)));
        value["learning"] = json!(learning(metric, scored_rows, learning_rows));
        value["newest_row"] = newest.as_ref().map_or(Value::Null, row_json);
        Ok(value)
    }

    /// A metric's model as JSON: which life it is, rows scored, and its file as it was last saved; `None` without one.
    ///
    /// # Errors
    /// From the database.
    pub fn model(&self, metric: &Metric) -> Result<Option<Value>, OperationError> {
        let Some(start) = metric.model_params.as_deref().and_then(|text| ModelStart::from_json(text).ok())
        else {
            return Ok(None);
        };
        let scored = self.repository().scored_up_to(&metric.uid)?;
        let query = DataQuery { first_row: Some(scored), last_row: Some(scored), ..DataQuery::default() };
        let last = self.repository().data(&metric.uid, &query)?.pop();
        let file = self.model_store.as_ref().and_then(|store| fs::metadata(store.path(&metric.uid)).ok());
        let saved_at = file.as_ref().and_then(|file| file.modified().ok());
        let saved_at = saved_at.and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs()));
        Ok(Some(json!({
            "generation": start.generation,
            "scored_rows": scored.0,
            "last_scored_at": last.map(|row| row.timestamp),
            "file_bytes": file.map(|file| file.len()),
            "file_saved_at": saved_at,
        })))
    }

    /// The range that a metric's model was started over, and whether it was learned; `None` without one.
    pub fn range(metric: &Metric) -> Option<Value> {
        let start = metric.model_params.as_deref().and_then(|text| ModelStart::from_json(text).ok())?;
        let range = start.range?;
        Some(json!({"min": range.min, "max": range.max, "learned": start.learned_up_to.is_some()}))
    }

    /// Monitored metrics grouped by server, by server.
    ///
    /// # Errors
    /// From the database.
    pub fn instances(&self) -> Result<Vec<Instance>, OperationError> {
        let mut by_server: BTreeMap<String, Instance> = BTreeMap::new();
        for metric in self.repository().metrics(&MONITORED)? {
            let server = metric.server.clone().unwrap_or_default();
            match by_server.get_mut(&server) {
                None => {
                    by_server.insert(server, instance_of(metric));
                }
                Some(instance) => {
                    instance.status |= metric.status.code();
                    instance.message = match (instance.message.take(), metric.message) {
                        (Some(said), Some(more)) => Some(format!("{said}\n{more}")),
                        (said, more) => said.or(more),
                    };
                }
            }
        }
        Ok(by_server.into_values().collect())
    }

    /// Smallest and largest value of all rows of a metric.
    ///
    /// # Errors
    /// [`OperationError::MetricStatisticsNotReady`] without rows, [`OperationError::ObjectNotFound`], or from the
    /// database.
    pub fn metric_stats(&self, reference: &str) -> Result<MetricStats, OperationError> {
        let Metric { uid, name, .. } = self.metric(reference)?;
        let range = monitoring::in_transaction::<_, OperationError>(self.repository(), |tx| {
            Ok(tx.value_range(&uid, None)?)
        })?;
        let (min, max) = range.ok_or(OperationError::MetricStatisticsNotReady { uid, name })?;
        Ok(MetricStats { min, max })
    }

    /// What is wrong with a metric that needs no model to see.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`], or from the database.
    pub fn signals(&self, reference: &str) -> Result<[Signal; 4], OperationError> {
        let metric = self.metric(reference)?;
        let (_, signals) = signals::of_metric(self.repository(), &metric, self.now())?;
        Ok(signals)
    }

    /// Rows of a metric, and how many are scored.
    ///
    /// # Errors
    /// From the database.
    pub fn row_counts(&self, metric: &Metric) -> Result<RowCounts, OperationError> {
        let Some(first) = self.end_row(&metric.uid, true)? else {
            return Ok(RowCounts { rows: 0, scored: 0 });
        };
        let before_first = first.row_id.0 - 1;
        let scored = self.repository().scored_up_to(&metric.uid)?.0;
        Ok(RowCounts { rows: metric.last_rowid.0 - before_first, scored: (scored - before_first).max(0) })
    }

    /// The newest row of a metric.
    ///
    /// # Errors
    /// From the database.
    pub fn newest_row(&self, id: &ModelId) -> Result<Option<MetricRow>, OperationError> {
        Ok(self.end_row(id, false)?)
    }

    /// Metrics by how anomalous they were lately, most first: the sum over blocks of a twenty-fourth of `period_hours` of
    /// the largest display value of each block. The period ends with the newest row of all.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for a period outside 1 to [`MAX_PERIOD_HOURS`], or from the database.
    pub fn ids_by_display_value(&self, period_hours: i64) -> Result<Vec<(ModelId, i64)>, OperationError> {
        if !(1..=MAX_PERIOD_HOURS).contains(&period_hours) {
            return Err(OperationError::invalid(format!(
                "period {period_hours} hours: expected 1 to {MAX_PERIOD_HOURS}"
            )));
        }
        let metrics = self.repository().metrics(&[])?;
        let mut newest = None;
        for metric in &metrics {
            newest = newest.max(self.end_row(&metric.uid, false)?.map(|row| row.timestamp));
        }
        let Some(newest) = newest else { return Ok(Vec::new()) };
        let since = newest - period_hours * HOUR_S + 1;
        let block_s = period_hours * HOUR_S / 24;
        let mut sums = Vec::new();
        for metric in metrics {
            if let Some(sum) = self.display_sum(&metric.uid, since, block_s)? {
                sums.push((metric.uid, sum));
            }
        }
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        Ok(sums)
    }

    fn display_sum(&self, id: &ModelId, since: i64, block_s: i64) -> Result<Option<i64>, RepositoryError> {
        let query = DataQuery { since: Some(since), ..DataQuery::default() };
        let mut reader = super::rows::RowReader::new(id.clone(), query, super::rows::RowOrder::OldestFirst);
        let mut largest: BTreeMap<i64, i64> = BTreeMap::new();
        loop {
            let rows = reader.next_page(self.repository())?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let block = largest.entry(row.timestamp.div_euclid(block_s)).or_default();
                *block = (*block).max(row.display_value.unwrap_or(0));
            }
        }
        Ok((!largest.is_empty()).then(|| largest.values().sum()))
    }

    /// The oldest or the newest row.
    fn end_row(&self, id: &ModelId, keep_oldest: bool) -> Result<Option<MetricRow>, RepositoryError> {
        let query = DataQuery { limit: Some(1), keep_oldest, ..DataQuery::default() };
        Ok(self.repository().data(id, &query)?.pop())
    }
}

fn instance_of(metric: Metric) -> Instance {
    let namespace_bytes = metric.name.match_indices('/').nth(1).map_or(metric.name.len(), |(at, _)| at);
    Instance {
        server: metric.server.unwrap_or_default(),
        location: metric.location,
        namespace: metric.name[..namespace_bytes].to_owned(),
        name: metric.tag_name,
        parameters: parsed(metric.parameters.as_deref()),
        status: metric.status.code(),
        message: metric.message,
    }
}
