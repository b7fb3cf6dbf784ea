//! The SELECT statements, shared by reading calls and transactions.
//!
//! A metric is found by name through `name_idx` where our migration made it; without it the table is scanned, as by
//! the original, once for each name that the storer does not remember. Whatever the column's collation takes for
//! equal is fetched, and compared exactly here. Only metrics of datasource `custom` are found by name: others, made
//! by other programs on the original's tables, may share one.

use htm_core::ids::{ModelId, RowId};
use mysql_async::{Row, Value};

use super::schema::Features;
use super::session::Session;
use super::value::{Columns, clamped_datetime};
use crate::best_predictions::BestPredictions;
use crate::reject::RejectReason;
use crate::repository::RepositoryError;
use crate::repository::elevated::{ELEVATED_SCORE, ElevatedQuery, ElevatedRow, MAX_ELEVATED_ROWS};
use crate::repository::metric::{DATASOURCE_CUSTOM, Metric, MetricStatus};
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::repository::reject::RejectEntry;
use crate::row_detection::RowDetection;

/// Every column of [`Metric`], in the order [`metric_from_row`] reads them.
macro_rules! select_metric {
    ($rest:literal) => {
        concat!(
            "SELECT uid, datasource, name, description, server, location, parameters, status, message, ",
            "poll_interval, tag_name, model_params, last_rowid FROM metric ",
            $rest
        )
    };
}

/// Every column of [`MetricRow`], in the order [`data_from_row`] reads them; up to those of the detection score.
const SELECT_DATA: &str = "SELECT rowid, timestamp, metric_value, raw_anomaly_score, anomaly_score, \
                           display_value, multi_step_best_predictions";
/// The rest of them.
const DETECTION_COLUMNS: &str = ", detection_score, alert_score, detection_components";

/// Whether a read takes the row's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowLock {
    /// No.
    None,
    /// For writing.
    Exclusive,
}

/// The metric with this id.
pub(super) fn metric(
    session: &mut Session,
    id: &ModelId,
    lock: RowLock,
) -> Result<Option<Metric>, RepositoryError> {
    let sql = match lock {
        RowLock::None => select_metric!("WHERE uid = ?"),
        RowLock::Exclusive => select_metric!("WHERE uid = ? FOR UPDATE"),
    };
    let row = session.first_row("reading a metric", sql, (id.as_str(),))?;
    let metric = row.map(metric_from_row).transpose()?;
    // The collation may not tell upper case from lower case.
    Ok(metric.filter(|metric| metric.uid == *id))
}

/// The metric with this name.
pub(super) fn metric_by_name(session: &mut Session, name: &str) -> Result<Option<Metric>, RepositoryError> {
    // A column of another character set is an error to compare with what it cannot hold, so the column is converted
    // then; only then, because no index serves that.
    let sql = if name.is_ascii() {
        select_metric!("WHERE name = ? AND datasource = ? ORDER BY uid")
    } else {
        select_metric!("WHERE CONVERT(name USING utf8mb4) = ? AND datasource = ? ORDER BY uid")
    };
    let rows = session.rows("reading a metric", sql, (name, DATASOURCE_CUSTOM))?;
    for row in rows {
        let metric = metric_from_row(row)?;
        if metric.name == name {
            return Ok(Some(metric));
        }
    }
    Ok(None)
}

/// Every metric whose status is in `statuses` (all if empty), by name. A row that is not a metric (edited by
/// hand) is logged and left out, so that it never hides the others.
pub(super) fn metrics(
    session: &mut Session,
    statuses: &[MetricStatus],
) -> Result<Vec<Metric>, RepositoryError> {
    let mut metrics = Vec::new();
    for row in session.rows("reading metrics", select_metric!(""), ())? {
        match metric_from_row(row) {
            Ok(metric) if statuses.is_empty() || statuses.contains(&metric.status) => metrics.push(metric),
            Ok(_) => {}
            Err(RepositoryError::Rejected { reason }) => tracing::warn!("left out: {reason}"),
            Err(error) => return Err(error),
        }
    }
    // Here, since the column's collation has an order of its own.
    metrics.sort_by(|one, other| (&one.name, &one.uid).cmp(&(&other.name, &other.uid)));
    Ok(metrics)
}

/// Up to `limit` rows with ids `first..=last`, in order.
pub(super) fn rows_between(
    session: &mut Session,
    features: Features,
    id: &ModelId,
    (first, last): (RowId, RowId),
    limit: usize,
) -> Result<Vec<MetricRow>, RepositoryError> {
    let query = DataQuery {
        first_row: Some(first),
        last_row: Some(last),
        limit: Some(limit),
        ..DataQuery::default()
    };
    data(session, features, id, &DataQuery { keep_oldest: true, ..query })
}

/// Rows that match `query`, in row order.
pub(super) fn data(
    session: &mut Session,
    features: Features,
    id: &ModelId,
    query: &DataQuery,
) -> Result<Vec<MetricRow>, RepositoryError> {
    let ours = if features.has_detection { DETECTION_COLUMNS } else { "" };
    let mut sql = format!("{SELECT_DATA}{ours} FROM metric_data WHERE uid = ?");
    let mut values: Vec<Value> = vec![id.as_str().into()];
    let conditions = [
        (" AND rowid >= ?", query.first_row.map(|row_id| row_id.0.into())),
        (" AND rowid <= ?", query.last_row.map(|row_id| row_id.0.into())),
        (" AND timestamp >= ?", query.since.map(clamped_datetime)),
        (" AND timestamp <= ?", query.until.map(clamped_datetime)),
        (" AND anomaly_score >= ?", query.min_anomaly_score.map(Value::Double)),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push(value);
        }
    }
    if query.is_scored {
        sql.push_str(" AND anomaly_score IS NOT NULL");
    }
    // Backwards, so that the limit keeps the newest and stops the walk.
    let is_backwards = query.limit.is_some() && !query.keep_oldest;
    sql.push_str(if is_backwards { " ORDER BY rowid DESC" } else { " ORDER BY rowid" });
    if let Some(limit) = query.limit {
        sql.push_str(" LIMIT ?");
        values.push(sql_limit(limit));
    }
    let rows = session.rows("reading rows", &sql, values)?;
    let mut rows: Vec<MetricRow> =
        rows.into_iter().map(|row| data_from_row(row, features)).collect::<Result<_, _>>()?;
    if is_backwards {
        rows.reverse();
    }
    Ok(rows)
}

/// See [`crate::repository::Repository::elevated_rows`].
pub(super) fn elevated_rows(
    session: &mut Session,
    features: Features,
    query: &ElevatedQuery,
) -> Result<Vec<ElevatedRow>, RepositoryError> {
    if !features.has_detection {
        return Ok(Vec::new());
    }
    let sql = "SELECT uid, rowid, timestamp, detection_score, COALESCE(alert_score, 0) FROM metric_data \
               WHERE timestamp BETWEEN ? AND ? AND detection_score >= ? ORDER BY timestamp DESC LIMIT ?";
    let (since, until) = (clamped_datetime(query.since), clamped_datetime(query.until));
    let least = query.min_score.max(ELEVATED_SCORE);
    let limit = sql_limit(query.limit.min(MAX_ELEVATED_ROWS));
    let mut found = Vec::new();
    for row in session.rows("reading rows with elevated scores", sql, (since, until, least, limit))? {
        let mut columns = Columns::new(row);
        // A row edited by hand.
        let Some(metric) = ModelId::new(&columns.required(Columns::text)?) else { continue };
        let row_id = RowId(columns.required(Columns::integer)?);
        let timestamp = columns.time()?;
        let score = columns.required(Columns::double)?;
        let alert_score = columns.required(Columns::double)?;
        found.push(ElevatedRow { metric, row_id, timestamp, score, alert_score });
    }
    Ok(found)
}

/// Id and time of the metric's first rows up to `up_to`, at most `limit`.
pub(super) fn first_times(
    session: &mut Session,
    id: &ModelId,
    up_to: RowId,
    limit: usize,
) -> Result<Vec<(RowId, i64)>, RepositoryError> {
    let sql = "SELECT rowid, timestamp FROM metric_data WHERE uid = ? AND rowid <= ? ORDER BY rowid LIMIT ?";
    let rows = session.rows("reading the oldest rows", sql, (id.as_str(), up_to.0, sql_limit(limit)))?;
    let times = rows.into_iter().map(Columns::new);
    times.map(|mut columns| Ok((RowId(columns.required(Columns::integer)?), columns.time()?))).collect()
}

/// Time of the metric's newest row.
pub(super) fn tail_timestamp(session: &mut Session, id: &ModelId) -> Result<Option<i64>, RepositoryError> {
    let sql = "SELECT timestamp FROM metric_data WHERE uid = ? ORDER BY rowid DESC LIMIT 1";
    let row = session.first_row("reading the newest row", sql, (id.as_str(),))?;
    row.map(|row| Columns::new(row).time()).transpose()
}

/// Smallest and largest value of the rows up to `up_to`.
pub(super) fn value_range(
    session: &mut Session,
    id: &ModelId,
    up_to: Option<RowId>,
) -> Result<Option<(f64, f64)>, RepositoryError> {
    let sql = "SELECT MIN(metric_value), MAX(metric_value) FROM metric_data WHERE uid = ? AND rowid <= ?";
    let last = up_to.map_or(i64::MAX, |row_id| row_id.0);
    let row = session.first_row("reading the value range", sql, (id.as_str(), last))?;
    let Some(mut columns) = row.map(Columns::new) else { return Ok(None) };
    Ok(columns.double()?.zip(columns.double()?))
}

/// The reject ledger, most frequent first. Reasons of a newer program are left out.
pub(super) fn rejects(session: &mut Session) -> Result<Vec<RejectEntry>, RepositoryError> {
    let sql = "SELECT reason, `count`, last_seen, example FROM reject ORDER BY `count` DESC, reason";
    let mut entries = Vec::new();
    for row in session.rows("reading the reject ledger", sql, ())? {
        let mut columns = Columns::new(row);
        let reason = RejectReason::from_name(&columns.required(Columns::text)?);
        let count = u64::try_from(columns.required(Columns::integer)?).unwrap_or(0);
        let last_seen = columns.required(Columns::integer)?;
        let example = columns.required(Columns::text)?;
        entries.extend(reason.map(|reason| RejectEntry { reason, count, last_seen, example }));
    }
    Ok(entries)
}

/// Announced changes after number `after`, oldest first.
pub(super) fn changes_after(
    session: &mut Session,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, ModelId)>, RepositoryError> {
    let sql = "SELECT number, uid FROM `change` WHERE number > ? ORDER BY number LIMIT ?";
    let mut changes = Vec::new();
    for row in session.rows("reading announced changes", sql, (after, sql_limit(limit)))? {
        let mut columns = Columns::new(row);
        let number = columns.required(Columns::integer)?;
        changes.extend(ModelId::new(&columns.required(Columns::text)?).map(|id| (number, id)));
    }
    Ok(changes)
}

/// The number of the newest announced change.
pub(super) fn newest_change(session: &mut Session) -> Result<i64, RepositoryError> {
    let sql = "SELECT MAX(number) FROM `change`";
    let row = session.first_row("reading the newest change", sql, ())?;
    Ok(row.map(|row| Columns::new(row).integer()).transpose()?.flatten().unwrap_or(0))
}

/// See [`crate::repository::Repository::metric_count`].
pub(super) fn metric_count(session: &mut Session) -> Result<usize, RepositoryError> {
    let row = session.first_row("counting metrics", "SELECT COUNT(*) FROM metric", ())?;
    let count = row.map(|row| Columns::new(row).integer()).transpose()?.flatten().unwrap_or(0);
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn metric_from_row(row: Row) -> Result<Metric, RepositoryError> {
    let mut columns = Columns::new(row);
    let uid = columns.required(Columns::text)?;
    let bad = |what: String| RepositoryError::Rejected {
        reason: format!("metric `{uid}` has {what}; correct its row in table `metric` or delete it"),
    };
    let id = ModelId::new(&uid)
        .ok_or_else(|| bad("a uid that is not 1 to 40 letters, digits, `-` or `_`".to_owned()))?;
    let datasource = columns.text()?;
    let name = columns.text()?.ok_or_else(|| bad("no name".to_owned()))?;
    let [description, server, location, parameters] =
        [columns.text()?, columns.text()?, columns.text()?, columns.text()?];
    let status_code = columns.integer()?.unwrap_or(0);
    let status = MetricStatus::from_code(status_code)
        .ok_or_else(|| bad(format!("status {status_code}, expected 0, 1, 2, 4 or 8")))?;
    Ok(Metric {
        uid: id,
        datasource,
        name,
        description,
        server,
        location,
        parameters,
        status,
        message: columns.text()?,
        poll_interval_s: columns.integer()?.unwrap_or(60),
        tag_name: columns.text()?,
        model_params: columns.text()?,
        last_rowid: RowId(columns.integer()?.unwrap_or(0)),
    })
}

fn data_from_row(row: Row, features: Features) -> Result<MetricRow, RepositoryError> {
    let mut columns = Columns::new(row);
    let mut found = MetricRow {
        row_id: RowId(columns.required(Columns::integer)?),
        timestamp: columns.time()?,
        value: columns.required(Columns::double)?,
        raw_anomaly_score: columns.double()?,
        anomaly_score: columns.double()?,
        display_value: columns.integer()?,
        best_predictions: BestPredictions::from_column(columns.text()?.as_deref()),
        detection: None,
    };
    if features.has_detection {
        let (score, alert_score) = (columns.double()?, columns.double()?);
        found.detection = RowDetection::from_columns(score, alert_score, columns.text()?.as_deref());
    }
    Ok(found)
}

fn sql_limit(limit: usize) -> Value {
    Value::UInt(u64::try_from(limit).unwrap_or(u64::MAX))
}
