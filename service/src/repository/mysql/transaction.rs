//! The statements of a write transaction.
//!
//! Every statement that touches a metric or its rows first takes the lock of the metric's row (FOR UPDATE), as the
//! original did where it stored rows, so writers of one metric come one after the other, ours and others'. Looking for
//! a name takes the original's operation lock first, row `metrics` of table `lock`.
//!
//! Rows are written many to a statement. The number of rows in one is a power of two, so that few texts of statements
//! exist and all stay prepared. Scores are written as INSERT ... ON DUPLICATE KEY UPDATE over rows that were found and
//! locked just before: the one form of a multi-row update in which every double goes straight into its column.
//!
//! Column lengths are checked before anything is written, and a value that is too long is refused, never cut; what
//! only the server can tell (its character sets, TEXT's 65,535 bytes) it refuses in strict mode.

use std::collections::HashSet;

use htm_core::ids::{ModelId, RowId};
use mysql_async::{Params, Value};

use super::evidence::Evidence;
use super::read::{self, RowLock};
use super::schema::Features;
use super::score_progress;
use super::session::Session;
use super::value::{Columns, datetime, text};
use crate::best_predictions::BestPredictions;
use crate::repository::column_limit::{check_finite_scores, check_finite_value, check_length, check_metric};
use crate::repository::metric::{MAX_SERVER_CHARS, Metric, MetricStatus};
use crate::repository::metric_data::{MetricRow, RowUpdate, StoredSample};
use crate::repository::{MAX_CHANGES, RepositoryError, Transaction};

/// Most rows in one statement. 1,000 gain nothing more.
const MAX_ROWS_PER_STATEMENT: usize = 512;
/// Longest text of a TEXT column, in bytes.
const MAX_TEXT_BYTES: usize = 65_535;
/// Highest row id that the original's INT column holds.
const MAX_ROW_ID: i64 = 2_147_483_647;

/// An open write transaction.
pub(super) struct MysqlTransaction<'a> {
    pub(super) session: &'a mut Session,
    pub(super) features: Features,
    /// Metrics whose row this transaction holds.
    locked: HashSet<ModelId>,
    has_operation_lock: bool,
    /// Names looked for, and not found, under the operation lock.
    absent_names: HashSet<String>,
    /// What tells that it was committed.
    pub(super) evidence: Option<Evidence>,
}

impl<'a> MysqlTransaction<'a> {
    /// Over a session that has begun one.
    pub(super) fn new(session: &'a mut Session, features: Features) -> Self {
        Self {
            session,
            features,
            locked: HashSet::new(),
            has_operation_lock: false,
            absent_names: HashSet::new(),
            evidence: None,
        }
    }

    /// Takes the metric's row lock; false if there is no such metric.
    fn lock_metric(&mut self, id: &ModelId) -> Result<bool, RepositoryError> {
        if self.locked.contains(id) {
            return Ok(true);
        }
        let sql = "SELECT uid FROM metric WHERE uid = ? FOR UPDATE";
        let row = self.session.first_row("locking a metric", sql, (id.as_str(),))?;
        let exists = match row {
            // The collation may not tell upper case from lower case.
            Some(row) => Columns::new(row).text()?.as_deref() == Some(id.as_str()),
            None => false,
        };
        if exists {
            self.locked.insert(id.clone());
        }
        Ok(exists)
    }

    /// Takes the operation lock `metrics`.
    fn lock_operation(&mut self) -> Result<(), RepositoryError> {
        if self.has_operation_lock {
            return Ok(());
        }
        let sql = "SELECT name FROM `lock` WHERE name = 'metrics' FOR UPDATE";
        self.session.first_row("locking the metrics", sql, ())?.ok_or_else(|| RepositoryError::Fatal {
            reason: "table `lock` has no row `metrics`, which guards the names of metrics; \
                     add it: INSERT INTO `lock` (name) VALUES ('metrics')"
                .to_owned(),
        })?;
        self.has_operation_lock = true;
        Ok(())
    }

    fn check_name_is_free(&mut self, name: &str) -> Result<(), RepositoryError> {
        if self.absent_names.remove(name) {
            return Ok(());
        }
        self.lock_operation()?;
        match read::metric_by_name(self.session, name)? {
            None => Ok(()),
            Some(holder) => Err(RepositoryError::Rejected {
                reason: format!("name `{name}` belongs to metric {}; expected a new name", holder.uid),
            }),
        }
    }

    /// Advances `last_rowid` by `count` and returns the id before the first new row.
    fn reserve_row_ids(&mut self, id: &ModelId, count: usize) -> Result<RowId, RepositoryError> {
        let doing = "reserving row ids";
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let sql = "SELECT uid, last_rowid FROM metric WHERE uid = ? FOR UPDATE";
        let row = self.session.first_row(doing, sql, (id.as_str(),))?;
        let mut last = None;
        if let Some(row) = row {
            let mut columns = Columns::new(row);
            if columns.text()?.as_deref() == Some(id.as_str()) {
                // NULL in metrics that other programs made.
                last = Some(columns.integer()?.unwrap_or(0));
            }
        }
        let last = last.ok_or_else(|| RepositoryError::Rejected {
            reason: format!("metric {id} does not exist; expected to append {count} rows to it"),
        })?;
        self.locked.insert(id.clone());
        if last.saturating_add(count) > MAX_ROW_ID {
            return Err(RepositoryError::Rejected {
                reason: format!(
                    "metric {id} has row {last} and gets {count} more; expected at most row {MAX_ROW_ID}, which \
                     its column holds: delete the metric, or start a new one"
                ),
            });
        }
        let sql = "UPDATE metric SET last_rowid = ? WHERE uid = ?";
        self.session.execute(doing, sql, (last + count, id.as_str()))?;
        Ok(RowId(last))
    }

    /// Which of the rows of `updates` exist; locks them.
    fn existing_rows(
        &mut self,
        id: &ModelId,
        updates: &[RowUpdate],
    ) -> Result<HashSet<i64>, RepositoryError> {
        let ids = || updates.iter().map(|row| row.row_id.0);
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else { return Ok(HashSet::new()) };
        let count = i64::try_from(updates.len()).unwrap_or(i64::MAX);
        let is_dense = last.saturating_sub(first) < count;
        let (condition, rest): (String, Vec<Value>) = if is_dense {
            ("BETWEEN ? AND ?".to_owned(), vec![first.into(), last.into()])
        } else {
            (format!("IN ({})", repeated("?", updates.len())), ids().map(Value::from).collect())
        };
        let sql = format!("SELECT rowid FROM metric_data WHERE uid = ? AND rowid {condition} FOR UPDATE");
        let mut values = vec![Value::from(id.as_str())];
        values.extend(rest);
        let rows = self.session.rows("locking rows", &sql, values)?;
        rows.into_iter().map(|row| Columns::new(row).required(Columns::integer)).collect()
    }
}

impl Transaction for MysqlTransaction<'_> {
    fn metric(&mut self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        let metric = read::metric(self.session, id, RowLock::Exclusive)?;
        if metric.is_some() {
            self.locked.insert(id.clone());
        }
        Ok(metric)
    }

    fn metric_by_name(&mut self, name: &str) -> Result<Option<Metric>, RepositoryError> {
        self.lock_operation()?;
        // Locked by its id, not by its name: without an index on the name that would lock every row on the way.
        if let Some(found) = read::metric_by_name(self.session, name)?
            && let Some(metric) = self.metric(&found.uid)?
            && metric.name == name
        {
            return Ok(Some(metric));
        }
        self.absent_names.insert(name.to_owned());
        Ok(None)
    }

    fn insert_metric(&mut self, metric: &Metric) -> Result<(), RepositoryError> {
        check_metric(metric)?;
        self.check_name_is_free(&metric.name)?;
        let values: Vec<Value> = vec![
            metric.uid.as_str().into(),
            text(metric.datasource.as_deref()),
            metric.name.as_str().into(),
            text(metric.description.as_deref()),
            text(metric.server.as_deref()),
            text(metric.location.as_deref()),
            text(metric.parameters.as_deref()),
            metric.status.code().into(),
            text(metric.message.as_deref()),
            metric.poll_interval_s.into(),
            text(metric.tag_name.as_deref()),
            text(metric.model_params.as_deref()),
            metric.last_rowid.0.into(),
        ];
        let sql = "INSERT INTO metric (uid, datasource, name, description, server, location, parameters, status, \
                   message, poll_interval, tag_name, model_params, last_rowid) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        self.session.execute("adding a metric", sql, values)?;
        self.locked.insert(metric.uid.clone());
        Evidence::note(&mut self.evidence, Evidence::Inserted(metric.uid.clone()));
        Ok(())
    }

    fn set_status(
        &mut self,
        id: &ModelId,
        from: &[MetricStatus],
        to: MetricStatus,
        message: Option<&str>,
    ) -> Result<bool, RepositoryError> {
        let Some(metric) = self.metric(id)? else { return Ok(false) };
        if !from.contains(&metric.status) {
            return Ok(false);
        }
        check_text("message", message)?;
        let sql = "UPDATE metric SET status = ?, message = ? WHERE uid = ?";
        self.session.execute("setting a status", sql, (to.code(), text(message), id.as_str()))?;
        if metric.status != to {
            Evidence::note(&mut self.evidence, Evidence::Status { id: id.clone(), to });
        }
        Ok(true)
    }

    fn set_model(
        &mut self,
        id: &ModelId,
        parameters: Option<&str>,
        model_params: Option<&str>,
    ) -> Result<(), RepositoryError> {
        check_text("parameters", parameters)?;
        check_text("model_params", model_params)?;
        if self.lock_metric(id)? {
            let sql = "UPDATE metric SET parameters = ?, model_params = ? WHERE uid = ?";
            self.session.execute(
                "setting a model",
                sql,
                (text(parameters), text(model_params), id.as_str()),
            )?;
        }
        Ok(())
    }

    fn set_server(&mut self, id: &ModelId, server: &str) -> Result<(), RepositoryError> {
        check_length("server", Some(server), MAX_SERVER_CHARS)?;
        if self.lock_metric(id)? {
            let sql = "UPDATE metric SET server = ? WHERE uid = ?";
            self.session.execute("setting a server", sql, (server, id.as_str()))?;
        }
        Ok(())
    }

    fn tail_timestamp(&mut self, id: &ModelId) -> Result<Option<i64>, RepositoryError> {
        self.lock_metric(id)?;
        read::tail_timestamp(self.session, id)
    }

    fn append_rows(&mut self, id: &ModelId, samples: &[StoredSample]) -> Result<RowId, RepositoryError> {
        let mut row_id = self.reserve_row_ids(id, samples.len())?;
        let mut rest = samples;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rows_per_statement(rest.len()));
            rest = after;
            let mut values = Vec::with_capacity(chunk.len() * 4);
            for sample in chunk {
                check_finite_value(id, sample.value)?;
                row_id.0 += 1;
                values.push(Value::from(id.as_str()));
                values.push(row_id.0.into());
                values.push(datetime(id, sample.timestamp)?);
                values.push(Value::Double(sample.value));
            }
            let sql = format!(
                "INSERT INTO metric_data (uid, rowid, timestamp, metric_value) VALUES {}",
                repeated("(?, ?, ?, ?)", chunk.len())
            );
            self.session.execute("appending rows", &sql, Params::Positional(values))?;
        }
        if let Some(&sample) = samples.last() {
            Evidence::note(&mut self.evidence, Evidence::Appended { id: id.clone(), row_id, sample });
        }
        Ok(row_id)
    }

    fn complete_rows(&mut self, id: &ModelId, updates: &[RowUpdate]) -> Result<usize, RepositoryError> {
        for row in updates {
            check_finite_scores(id, row)?;
        }
        if !self.lock_metric(id)? {
            return Ok(0);
        }
        let mut completed = 0;
        let mut rest = updates;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rows_per_statement(rest.len()));
            rest = after;
            let existing = self.existing_rows(id, chunk)?;
            let found: Vec<&RowUpdate> =
                chunk.iter().filter(|row| existing.contains(&row.row_id.0)).collect();
            completed += found.len();
            // All of them, but for rows that were purged meanwhile.
            let mut found = found.as_slice();
            while !found.is_empty() {
                let (written, after) = found.split_at(rows_per_statement(found.len()));
                found = after;
                write_scores(self.session, self.features, id, written)?;
            }
        }
        if self.features.has_score_progress {
            score_progress::advance(self.session, id, updates, completed == updates.len())?;
        }
        Ok(completed)
    }

    fn rows_between(
        &mut self,
        id: &ModelId,
        first: RowId,
        last: RowId,
    ) -> Result<Vec<MetricRow>, RepositoryError> {
        self.lock_metric(id)?;
        read::rows_between(self.session, self.features, id, (first, last), usize::MAX)
    }

    fn clear_scores(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        if !self.lock_metric(id)? {
            return Ok(());
        }
        // Only rows that have something to clear: an unscored million is not rewritten.
        let (ours, is_ours) = if self.features.has_detection {
            (
                ", detection_score = NULL, alert_score = NULL, detection_components = NULL",
                " OR detection_score IS NOT NULL",
            )
        } else {
            ("", "")
        };
        let sql = format!(
            "UPDATE metric_data SET raw_anomaly_score = NULL, anomaly_score = NULL, display_value = NULL, \
             multi_step_best_predictions = NULL{ours} \
             WHERE uid = ? AND (raw_anomaly_score IS NOT NULL OR anomaly_score IS NOT NULL \
             OR display_value IS NOT NULL OR multi_step_best_predictions IS NOT NULL{is_ours})"
        );
        self.session.execute("clearing scores", &sql, (id.as_str(),))?;
        if self.features.has_score_progress {
            score_progress::forget(self.session, id)?;
        }
        Ok(())
    }

    fn value_range(
        &mut self,
        id: &ModelId,
        up_to: Option<RowId>,
    ) -> Result<Option<(f64, f64)>, RepositoryError> {
        self.lock_metric(id)?;
        read::value_range(self.session, id, up_to)
    }

    fn delete_metric(&mut self, id: &ModelId) -> Result<bool, RepositoryError> {
        if !self.lock_metric(id)? {
            return Ok(false);
        }
        self.forget_alerts(id)?;
        self.session.execute("deleting a metric", "DELETE FROM metric WHERE uid = ?", (id.as_str(),))?;
        self.locked.remove(id);
        Evidence::note(&mut self.evidence, Evidence::Deleted(id.clone()));
        Ok(true)
    }

    fn announce(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        if !self.features.has_change {
            return Ok(());
        }
        // Numbers are given before the commit; under this lock they also appear in their order, so that a reader that
        // has seen one has seen all before it. A cluster written through several of its servers has a lock on each: what is
        // passed over there is found by the scheduler's next look at all metrics.
        self.lock_operation()?;
        let doing = "announcing a change";
        self.session.execute(doing, "INSERT INTO `change` (uid) VALUES (?)", (id.as_str(),))?;
        let oldest_kept = self.session.last_insert_id() - MAX_CHANGES;
        self.session.execute(doing, "DELETE FROM `change` WHERE number <= ?", (oldest_kept,))?;
        Ok(())
    }
}

fn write_scores(
    session: &mut Session,
    features: Features,
    id: &ModelId,
    rows: &[&RowUpdate],
) -> Result<(), RepositoryError> {
    let mut columns =
        vec!["raw_anomaly_score", "anomaly_score", "display_value", "multi_step_best_predictions"];
    if features.has_detection {
        columns.extend(["detection_score", "alert_score", "detection_components"]);
    }
    let mut values = Vec::with_capacity(rows.len() * (2 + columns.len()));
    for row in rows {
        let predictions = BestPredictions::column_text(row.best_predictions.as_ref());
        check_text("multi_step_best_predictions", Some(&predictions))?;
        values.push(Value::from(id.as_str()));
        values.push(row.row_id.0.into());
        values.push(Value::Double(row.raw_anomaly_score));
        values.push(Value::Double(row.anomaly_score));
        values.push(row.display_value.into());
        values.push(predictions.into());
        if features.has_detection {
            values.push(Value::Double(row.detection.score));
            values.push(Value::Double(row.detection.alert_score));
            values.push(row.detection.components_column().into());
        }
    }
    let updates: Vec<String> = columns.iter().map(|column| format!("{column} = VALUES({column})")).collect();
    // The time and value are never stored: every row is there and locked.
    let row = format!("(?, ?, '1970-01-01 00:00:00', 0, {})", repeated("?", columns.len()));
    let sql = format!(
        "INSERT INTO metric_data (uid, rowid, timestamp, metric_value, {}) VALUES {} ON DUPLICATE KEY UPDATE {}",
        columns.join(", "),
        repeated(&row, rows.len()),
        updates.join(", ")
    );
    session.execute("completing rows", &sql, Params::Positional(values))?;
    Ok(())
}

/// The largest power of two that is at most `left` and [`MAX_ROWS_PER_STATEMENT`].
fn rows_per_statement(left: usize) -> usize {
    1 << left.clamp(1, MAX_ROWS_PER_STATEMENT).ilog2()
}

fn repeated(part: &str, count: usize) -> String {
    let mut text = String::with_capacity((part.len() + 2) * count);
    for number in 0..count {
        text.push_str(if number == 0 { "" } else { ", " });
        text.push_str(part);
    }
    text
}

fn check_text(column: &str, value: Option<&str>) -> Result<(), RepositoryError> {
    let bytes = value.map_or(0, str::len);
    if bytes <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(RepositoryError::Rejected {
        reason: format!("{column} has {bytes} bytes; expected at most {MAX_TEXT_BYTES}: shorten it"),
    })
}
