//! The SELECT statements, shared by the reading pool and the transaction.

use htm_core::ids::{ModelId, RowId};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::error::database_error;
use crate::best_predictions::BestPredictions;
use crate::reject::RejectReason;
use crate::repository::elevated::{ELEVATED_SCORE, ElevatedQuery, ElevatedRow, MAX_ELEVATED_ROWS};
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::repository::reject::RejectEntry;
use crate::repository::{RepositoryError, StatusSum};
use crate::row_detection::RowDetection;
use crate::timestamp;

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

/// Every column of [`MetricRow`], in the order [`data_from_row`] reads them.
macro_rules! select_data {
    ($rest:literal) => {
        concat!(
            "SELECT rowid, timestamp, metric_value, raw_anomaly_score, anomaly_score, display_value, \
             multi_step_best_predictions, detection_score, alert_score, detection_components ",
            "FROM metric_data ",
            $rest
        )
    };
}

/// The rows of one metric that [`DataQuery`] describes.
macro_rules! select_matching {
    ($rest:literal) => {
        concat!(
            select_data!("WHERE uid = ?1 AND rowid BETWEEN ?2 AND ?3 "),
            "AND (?4 IS NULL OR timestamp >= ?4) AND (?5 IS NULL OR timestamp <= ?5) ",
            "AND (?6 IS NULL OR anomaly_score >= ?6) AND (NOT ?7 OR anomaly_score IS NOT NULL) ",
            $rest
        )
    };
}

/// The metric with this id.
pub(super) fn metric(connection: &Connection, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
    one_metric(connection, select_metric!("WHERE uid = ?1"), id.as_str())
}

/// The metric with this name.
pub(super) fn metric_by_name(connection: &Connection, name: &str) -> Result<Option<Metric>, RepositoryError> {
    one_metric(connection, select_metric!("WHERE name = ?1"), name)
}

/// Every metric whose status is in `statuses` (all if empty), by name. A row that is not a metric (edited by
/// hand) is logged and left out, so that it never hides the others.
pub(super) fn metrics(
    connection: &Connection,
    statuses: &[MetricStatus],
) -> Result<Vec<Metric>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading metrics", &error);
    let mut statement = connection.prepare_cached(select_metric!("ORDER BY name, uid")).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut metrics = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        match metric_from_row(row) {
            Ok(metric) if statuses.is_empty() || statuses.contains(&metric.status) => metrics.push(metric),
            Ok(_) => {}
            Err(RepositoryError::Rejected { reason }) => tracing::warn!("left out: {reason}"),
            Err(error) => return Err(error),
        }
    }
    Ok(metrics)
}

/// Up to `limit` rows with ids `first..=last`, in order.
pub(super) fn rows_between(
    connection: &Connection,
    id: &ModelId,
    first: RowId,
    last: RowId,
    limit: usize,
) -> Result<Vec<MetricRow>, RepositoryError> {
    let sql = select_data!("WHERE uid = ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid LIMIT ?4");
    data_rows(connection, id, sql, params![id.as_str(), first.0, last.0, sql_limit(Some(limit))])
}

/// Rows that match `query`, in row order.
pub(super) fn data(
    connection: &Connection,
    id: &ModelId,
    query: &DataQuery,
) -> Result<Vec<MetricRow>, RepositoryError> {
    // Backwards, so that the limit keeps the newest and stops the walk.
    let is_backwards = query.limit.is_some() && !query.keep_oldest;
    let sql = if is_backwards {
        select_matching!("ORDER BY rowid DESC LIMIT ?8")
    } else {
        select_matching!("ORDER BY rowid LIMIT ?8")
    };
    let bounds = [query.since, query.until].map(|time| time.map(clamped_text));
    let parameters = params![
        id.as_str(),
        query.first_row.map_or(i64::MIN, |row_id| row_id.0),
        query.last_row.map_or(i64::MAX, |row_id| row_id.0),
        bounds[0],
        bounds[1],
        query.min_anomaly_score,
        query.is_scored,
        sql_limit(query.limit),
    ];
    let mut rows = data_rows(connection, id, sql, parameters)?;
    if is_backwards {
        rows.reverse();
    }
    Ok(rows)
}

/// See [`crate::repository::Repository::elevated_rows`].
pub(super) fn elevated_rows(
    connection: &Connection,
    query: &ElevatedQuery,
) -> Result<Vec<ElevatedRow>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading rows with elevated scores", &error);
    // The number is the index's own: without it in the statement the index would not be used.
    let mut statement = connection
        .prepare_cached(
            "SELECT uid, rowid, timestamp, detection_score, coalesce(alert_score, 0) FROM metric_data
             WHERE detection_score >= 0.1 AND timestamp BETWEEN ?1 AND ?2 AND detection_score >= ?3
             ORDER BY timestamp DESC LIMIT ?4",
        )
        .map_err(failed)?;
    let (since, until) = (clamped_text(query.since), clamped_text(query.until));
    let limit = sql_limit(Some(query.limit.min(MAX_ELEVATED_ROWS)));
    let parameters = params![since, until, query.min_score.max(ELEVATED_SCORE), limit];
    let mut rows = statement.query(parameters).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let text = |at: usize| row.get_ref(at).and_then(|value| Ok(value.as_str()?)).map_err(failed);
        // A row edited by hand.
        let Some(metric) = ModelId::new(text(0)?) else { continue };
        let timestamp = stored_time(&metric, text(2)?)?;
        let row_id = RowId(row.get(1).map_err(failed)?);
        let (score, alert_score) = (row.get(3).map_err(failed)?, row.get(4).map_err(failed)?);
        found.push(ElevatedRow { metric, row_id, timestamp, score, alert_score });
    }
    Ok(found)
}

/// See [`crate::repository::Repository::metric_count`].
pub(super) fn metric_count(connection: &Connection) -> Result<usize, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("counting metrics", &error);
    let mut statement = connection.prepare_cached("SELECT count(*) FROM metric").map_err(failed)?;
    let count: i64 = statement.query_row([], |row| row.get(0)).map_err(failed)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// See [`crate::repository::Repository::status_sums`].
pub(super) fn status_sums(
    connection: &Connection,
    young_rows: i64,
) -> Result<Vec<StatusSum>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("counting metrics and rows", &error);
    let mut statement = connection
        .prepare_cached(
            "SELECT coalesce(metric.status, 0), count(*), sum(coalesce(scored_up_to, 0) < ?1),
                    sum(coalesce(last_rowid, 0)), sum(coalesce(scored_up_to, 0))
             FROM metric LEFT JOIN score_progress ON score_progress.uid = metric.uid GROUP BY 1 ORDER BY 1",
        )
        .map_err(failed)?;
    let mut rows = statement.query([young_rows]).map_err(failed)?;
    let mut sums = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let Some(status) = MetricStatus::from_code(row.get(0).map_err(failed)?) else { continue };
        let count = |at: usize| row.get::<_, i64>(at).map(|count| usize::try_from(count).unwrap_or(0));
        sums.push(StatusSum {
            status,
            metrics: count(1).map_err(failed)?,
            young_metrics: count(2).map_err(failed)?,
            stored_rows: row.get(3).map_err(failed)?,
            scored_rows: row.get(4).map_err(failed)?,
        });
    }
    Ok(sums)
}

/// See [`crate::repository::Repository::newest_timestamp`].
pub(super) fn newest_timestamp(connection: &Connection) -> Result<Option<i64>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("looking for the newest row", &error);
    let mut statement = connection
        .prepare_cached(
            "SELECT max((SELECT timestamp FROM metric_data WHERE metric_data.uid = metric.uid
                         ORDER BY metric_data.rowid DESC LIMIT 1)) FROM metric",
        )
        .map_err(failed)?;
    let text: Option<String> = statement.query_row([], |row| row.get(0)).map_err(failed)?;
    let bad = |error: timestamp::TimeError| RepositoryError::Rejected { reason: format!("a row: {error}") };
    text.map(|text| timestamp::parse_stored(&text)).transpose().map_err(bad)
}

/// Id and time of the metric's first rows up to `up_to`, at most `limit`.
pub(super) fn first_times(
    connection: &Connection,
    id: &ModelId,
    up_to: RowId,
    limit: usize,
) -> Result<Vec<(RowId, i64)>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading the oldest rows", &error);
    let mut statement = connection
        .prepare_cached(
            "SELECT rowid, timestamp FROM metric_data WHERE uid = ?1 AND rowid <= ?2 ORDER BY rowid LIMIT ?3",
        )
        .map_err(failed)?;
    let mut rows = statement.query(params![id.as_str(), up_to.0, sql_limit(Some(limit))]).map_err(failed)?;
    let mut times = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let text: String = row.get(1).map_err(failed)?;
        times.push((RowId(row.get(0).map_err(failed)?), stored_time(id, &text)?));
    }
    Ok(times)
}

/// See [`crate::repository::Repository::scored_up_to`].
pub(super) fn scored_up_to(connection: &Connection, id: &ModelId) -> Result<RowId, RepositoryError> {
    match score_progress(connection, id)? {
        Some(progress) => Ok(progress),
        // A metric that was never scored here, or one imported with its scores: walk to the first gap.
        None => scored_without_gap_after(connection, id, RowId(0)),
    }
}

/// The remembered progress, if there is any.
pub(super) fn score_progress(
    connection: &Connection,
    id: &ModelId,
) -> Result<Option<RowId>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading the scoring progress", &error);
    let mut statement = connection
        .prepare_cached("SELECT scored_up_to FROM score_progress WHERE uid = ?1")
        .map_err(failed)?;
    statement.query_row([id.as_str()], |row| row.get(0).map(RowId)).optional().map_err(failed)
}

/// Whether this row exists and carries a raw score.
pub(super) fn is_scored(
    connection: &Connection,
    id: &ModelId,
    row_id: RowId,
) -> Result<bool, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("looking for a scored row", &error);
    let mut statement = connection
        .prepare_cached("SELECT raw_anomaly_score IS NOT NULL FROM metric_data WHERE uid = ?1 AND rowid = ?2")
        .map_err(failed)?;
    let is_scored: Option<bool> =
        statement.query_row(params![id.as_str(), row_id.0], |row| row.get(0)).optional().map_err(failed)?;
    Ok(is_scored == Some(true))
}

/// The last row after `after` such that it and every row between carry a raw score; `after` if there is none.
pub(super) fn scored_without_gap_after(
    connection: &Connection,
    id: &ModelId,
    after: RowId,
) -> Result<RowId, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("looking for unscored rows", &error);
    // One statement, so that both halves see the same rows: unscored ones stored between two would count as scored.
    let mut last_before_gap = connection
        .prepare_cached(
            "SELECT max(rowid) FROM metric_data WHERE uid = ?1 AND rowid > ?2 AND rowid < coalesce(
                 (SELECT rowid FROM metric_data WHERE uid = ?1 AND rowid > ?2 AND raw_anomaly_score IS NULL
                  ORDER BY rowid LIMIT 1), ?3)",
        )
        .map_err(failed)?;
    let last: Option<i64> = last_before_gap
        .query_row(params![id.as_str(), after.0, i64::MAX], |row| row.get(0))
        .map_err(failed)?;
    Ok(last.map_or(after, RowId))
}

/// Time of the metric's newest row.
pub(super) fn tail_timestamp(connection: &Connection, id: &ModelId) -> Result<Option<i64>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading the newest row", &error);
    let mut statement = connection
        .prepare_cached("SELECT timestamp FROM metric_data WHERE uid = ?1 ORDER BY rowid DESC LIMIT 1")
        .map_err(failed)?;
    let text: Option<String> =
        statement.query_row([id.as_str()], |row| row.get(0)).optional().map_err(failed)?;
    text.map(|text| stored_time(id, &text)).transpose()
}

/// Smallest and largest value of the rows up to `up_to`.
pub(super) fn value_range(
    connection: &Connection,
    id: &ModelId,
    up_to: Option<RowId>,
) -> Result<Option<(f64, f64)>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading the value range", &error);
    let mut statement = connection
        .prepare_cached(
            "SELECT min(metric_value), max(metric_value) FROM metric_data WHERE uid = ?1 AND rowid <= ?2",
        )
        .map_err(failed)?;
    let last = up_to.map_or(i64::MAX, |row_id| row_id.0);
    let range: (Option<f64>, Option<f64>) = statement
        .query_row(params![id.as_str(), last], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(failed)?;
    Ok(range.0.zip(range.1))
}

/// The reject ledger, most frequent first. Reasons of a newer program are left out.
pub(super) fn rejects(connection: &Connection) -> Result<Vec<RejectEntry>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading the reject ledger", &error);
    let mut statement = connection
        .prepare_cached("SELECT reason, count, last_seen, example FROM reject ORDER BY count DESC, reason")
        .map_err(failed)?;
    let rows = statement
        .query_map([], |row| {
            let reason = RejectReason::from_name(&row.get::<_, String>(0)?);
            let count = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            let (last_seen, example) = (row.get(2)?, row.get(3)?);
            Ok(reason.map(|reason| RejectEntry { reason, count, last_seen, example }))
        })
        .map_err(failed)?;
    rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(failed)
}

/// Announced changes after number `after`, oldest first.
pub(super) fn changes_after(
    connection: &Connection,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, ModelId)>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading announced changes", &error);
    let mut statement = connection
        .prepare_cached("SELECT number, uid FROM change WHERE number > ?1 ORDER BY number LIMIT ?2")
        .map_err(failed)?;
    let rows = statement
        .query_map(params![after, sql_limit(Some(limit))], |row| {
            Ok(ModelId::new(&row.get::<_, String>(1)?).zip(row.get(0).ok()))
        })
        .map_err(failed)?;
    let changes: Vec<Option<(ModelId, i64)>> = rows.collect::<Result<_, _>>().map_err(failed)?;
    Ok(changes.into_iter().flatten().map(|(id, number)| (number, id)).collect())
}

/// The number of the newest announced change.
pub(super) fn newest_change(connection: &Connection) -> Result<i64, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading the newest change", &error);
    let mut statement =
        connection.prepare_cached("SELECT coalesce(max(number), 0) FROM change").map_err(failed)?;
    statement.query_row([], |row| row.get(0)).map_err(failed)
}

fn one_metric(connection: &Connection, sql: &str, key: &str) -> Result<Option<Metric>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading a metric", &error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query([key]).map_err(failed)?;
    rows.next().map_err(failed)?.map(metric_from_row).transpose()
}

fn metric_from_row(row: &Row<'_>) -> Result<Metric, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading a metric", &error);
    let uid: String = row.get(0).map_err(failed)?;
    let bad = |what: String| RepositoryError::Rejected {
        reason: format!("metric `{uid}` has {what}; correct its row in table `metric` or delete it"),
    };
    let name: Option<String> = row.get(2).map_err(failed)?;
    let status: Option<i64> = row.get(7).map_err(failed)?;
    let status_code = status.unwrap_or(0);
    Ok(Metric {
        uid: ModelId::new(&uid)
            .ok_or_else(|| bad("a uid that is not 1 to 40 letters, digits, `-` or `_`".to_owned()))?,
        datasource: row.get(1).map_err(failed)?,
        name: name.ok_or_else(|| bad("no name".to_owned()))?,
        description: row.get(3).map_err(failed)?,
        server: row.get(4).map_err(failed)?,
        location: row.get(5).map_err(failed)?,
        parameters: row.get(6).map_err(failed)?,
        status: MetricStatus::from_code(status_code)
            .ok_or_else(|| bad(format!("status {status_code}, expected 0, 1, 2, 4 or 8")))?,
        message: row.get(8).map_err(failed)?,
        poll_interval_s: row.get::<_, Option<i64>>(9).map_err(failed)?.unwrap_or(60),
        tag_name: row.get(10).map_err(failed)?,
        model_params: row.get(11).map_err(failed)?,
        last_rowid: RowId(row.get::<_, Option<i64>>(12).map_err(failed)?.unwrap_or(0)),
    })
}

fn data_rows(
    connection: &Connection,
    id: &ModelId,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<MetricRow>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading rows", &error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(parameters).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(data_from_row(id, row)?);
    }
    Ok(found)
}

fn data_from_row(id: &ModelId, row: &Row<'_>) -> Result<MetricRow, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading a row", &error);
    let text = row.get_ref(1).map_err(failed)?.as_str().map_err(|error| failed(error.into()))?;
    Ok(MetricRow {
        row_id: RowId(row.get(0).map_err(failed)?),
        timestamp: stored_time(id, text)?,
        value: row.get(2).map_err(failed)?,
        raw_anomaly_score: row.get(3).map_err(failed)?,
        anomaly_score: row.get(4).map_err(failed)?,
        display_value: row.get(5).map_err(failed)?,
        best_predictions: BestPredictions::from_column(
            row.get_ref(6).map_err(failed)?.as_str_or_null().map_err(|error| failed(error.into()))?,
        ),
        detection: RowDetection::from_columns(
            row.get(7).map_err(failed)?,
            row.get(8).map_err(failed)?,
            row.get_ref(9).map_err(failed)?.as_str_or_null().map_err(|error| failed(error.into()))?,
        ),
    })
}

fn stored_time(id: &ModelId, text: &str) -> Result<i64, RepositoryError> {
    timestamp::parse_stored(text)
        .map_err(|error| RepositoryError::Rejected { reason: format!("a row of metric {id}: {error}") })
}

fn clamped_text(unix_seconds: i64) -> String {
    let inside = unix_seconds.clamp(timestamp::MIN_UNIX_SECONDS, timestamp::MAX_UNIX_SECONDS);
    timestamp::format_seconds(inside).unwrap_or_default()
}

/// -1 means no limit to SQLite.
fn sql_limit(limit: Option<usize>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}
