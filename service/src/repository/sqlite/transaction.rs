//! The statements of a write transaction.
//!
//! The transaction began IMMEDIATE, so it holds the file's only write lock: what it reads stays as it is.
//! That also stands for the original's `metrics` operation lock and its row locks.
//!
//! Column lengths are checked before anything is written, and a value that is too long is refused, never cut.

use htm_core::ids::{ModelId, RowId};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::database_error;
use super::read;
use crate::best_predictions::BestPredictions;
use crate::repository::column_limit::{check_finite_scores, check_finite_value, check_length, check_metric};
use crate::repository::metric::{MAX_SERVER_CHARS, Metric, MetricStatus};
use crate::repository::metric_data::{MetricRow, RowUpdate, StoredSample};
use crate::repository::{MAX_CHANGES, RepositoryError, Transaction};
use crate::timestamp;

/// An open write transaction.
pub(super) struct SqliteTransaction<'a> {
    /// In a transaction for as long as this value lives.
    pub(super) connection: &'a Connection,
}

impl Transaction for SqliteTransaction<'_> {
    fn metric(&mut self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        read::metric(self.connection, id)
    }

    fn metric_by_name(&mut self, name: &str) -> Result<Option<Metric>, RepositoryError> {
        read::metric_by_name(self.connection, name)
    }

    fn insert_metric(&mut self, metric: &Metric) -> Result<(), RepositoryError> {
        check_metric(metric)?;
        let doing = "adding a metric";
        let mut statement = self
            .connection
            .prepare_cached(
                "INSERT INTO metric (uid, datasource, name, description, server, location, parameters, status,
                 message, poll_interval, tag_name, model_params, last_rowid)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )
            .map_err(|error| database_error(doing, &error))?;
        statement
            .execute(params![
                metric.uid.as_str(),
                metric.datasource,
                metric.name,
                metric.description,
                metric.server,
                metric.location,
                metric.parameters,
                metric.status.code(),
                metric.message,
                metric.poll_interval_s,
                metric.tag_name,
                metric.model_params,
                metric.last_rowid.0,
            ])
            .map_err(|error| database_error(doing, &error))?;
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
        let sql = "UPDATE metric SET status = ?2, message = ?3 WHERE uid = ?1";
        self.execute("setting a status", sql, params![id.as_str(), to.code(), message])?;
        Ok(true)
    }

    fn set_model(
        &mut self,
        id: &ModelId,
        parameters: Option<&str>,
        model_params: Option<&str>,
    ) -> Result<(), RepositoryError> {
        let sql = "UPDATE metric SET parameters = ?2, model_params = ?3 WHERE uid = ?1";
        self.execute("setting a model", sql, params![id.as_str(), parameters, model_params])?;
        Ok(())
    }

    fn set_server(&mut self, id: &ModelId, server: &str) -> Result<(), RepositoryError> {
        check_length("server", Some(server), MAX_SERVER_CHARS)?;
        let sql = "UPDATE metric SET server = ?2 WHERE uid = ?1";
        self.execute("setting a server", sql, params![id.as_str(), server])?;
        Ok(())
    }

    fn tail_timestamp(&mut self, id: &ModelId) -> Result<Option<i64>, RepositoryError> {
        read::tail_timestamp(self.connection, id)
    }

    fn append_rows(&mut self, id: &ModelId, samples: &[StoredSample]) -> Result<RowId, RepositoryError> {
        let doing = "appending rows";
        let mut row_id = self.reserve_row_ids(id, samples.len())?;
        let mut insert = self
            .connection
            .prepare_cached(
                "INSERT INTO metric_data (uid, rowid, timestamp, metric_value) VALUES (?1, ?2, ?3, ?4)",
            )
            .map_err(|error| database_error(doing, &error))?;
        for sample in samples {
            let time = storable(id, sample)?;
            row_id.0 += 1;
            insert
                .execute(params![id.as_str(), row_id.0, time, sample.value])
                .map_err(|error| database_error(doing, &error))?;
        }
        Ok(row_id)
    }

    fn complete_rows(&mut self, id: &ModelId, updates: &[RowUpdate]) -> Result<usize, RepositoryError> {
        let doing = "completing rows";
        let mut update = self
            .connection
            .prepare_cached(
                "UPDATE metric_data SET raw_anomaly_score = ?3, anomaly_score = ?4, display_value = ?5,
                 multi_step_best_predictions = ?6, detection_score = ?7, alert_score = ?8,
                 detection_components = ?9
                 WHERE uid = ?1 AND rowid = ?2",
            )
            .map_err(|error| database_error(doing, &error))?;
        let mut completed = 0;
        for row in updates {
            check_finite_scores(id, row)?;
            let values = params![
                id.as_str(),
                row.row_id.0,
                row.raw_anomaly_score,
                row.anomaly_score,
                row.display_value,
                BestPredictions::column_text(row.best_predictions.as_ref()),
                row.detection.score,
                row.detection.alert_score,
                row.detection.components_column(),
            ];
            completed += update.execute(values).map_err(|error| database_error(doing, &error))?;
        }
        // Nothing to note of a metric that is gone.
        if completed > 0 {
            self.advance_score_progress(id, updates, completed == updates.len())?;
        }
        Ok(completed)
    }

    fn rows_between(
        &mut self,
        id: &ModelId,
        first: RowId,
        last: RowId,
    ) -> Result<Vec<MetricRow>, RepositoryError> {
        read::rows_between(self.connection, id, first, last, usize::MAX)
    }

    fn clear_scores(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        // Only rows that have something to clear: an unscored million is not rewritten.
        let sql =
            "UPDATE metric_data SET raw_anomaly_score = NULL, anomaly_score = NULL, display_value = NULL,
                   multi_step_best_predictions = NULL, detection_score = NULL, alert_score = NULL,
                   detection_components = NULL
                   WHERE uid = ?1 AND (raw_anomaly_score IS NOT NULL OR anomaly_score IS NOT NULL
                   OR display_value IS NOT NULL OR multi_step_best_predictions IS NOT NULL
                   OR detection_score IS NOT NULL)";
        self.execute("clearing scores", sql, params![id.as_str()])?;
        self.execute("clearing scores", "DELETE FROM score_progress WHERE uid = ?1", params![id.as_str()])?;
        Ok(())
    }

    fn value_range(
        &mut self,
        id: &ModelId,
        up_to: Option<RowId>,
    ) -> Result<Option<(f64, f64)>, RepositoryError> {
        read::value_range(self.connection, id, up_to)
    }

    fn delete_metric(&mut self, id: &ModelId) -> Result<bool, RepositoryError> {
        self.forget_alerts(id)?;
        let sql = "DELETE FROM metric WHERE uid = ?1";
        Ok(self.execute("deleting a metric", sql, params![id.as_str()])? > 0)
    }

    fn announce(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        let doing = "announcing a change";
        self.execute(doing, "INSERT INTO change (uid) VALUES (?1)", params![id.as_str()])?;
        let oldest_kept = self.connection.last_insert_rowid() - MAX_CHANGES;
        self.execute(doing, "DELETE FROM change WHERE number <= ?1", params![oldest_kept])?;
        Ok(())
    }
}

impl SqliteTransaction<'_> {
    pub(super) fn execute(
        &self,
        doing: &str,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<usize, RepositoryError> {
        let failed = |error: rusqlite::Error| database_error(doing, &error);
        self.connection.prepare_cached(sql).map_err(failed)?.execute(parameters).map_err(failed)
    }

    /// See [`crate::repository::Repository::purge_rows`].
    pub(super) fn purge_rows(
        &self,
        seen: &Metric,
        before: i64,
        up_to: RowId,
        limit: usize,
    ) -> Result<usize, RepositoryError> {
        let id = &seen.uid;
        if !read::metric(self.connection, id)?.is_some_and(|now| now.has_same_model(seen)) {
            return Ok(0);
        }
        let times = read::first_times(self.connection, id, up_to, limit)?;
        // Rows come in the order of their times, so the first one that is not old ends the walk.
        let old = times.into_iter().take_while(|(_, time)| *time < before);
        let Some((last, _)) = old.last() else { return Ok(0) };
        let sql = "DELETE FROM metric_data WHERE uid = ?1 AND rowid <= ?2";
        let purged = self.execute("purging rows", sql, params![id.as_str(), last.0])?;
        // What is remembered may have stood before a gap that is gone.
        if let Some(progress) = read::score_progress(self.connection, id)?
            && progress < last
        {
            let progress = read::scored_without_gap_after(self.connection, id, progress)?;
            self.note_score_progress(id, progress)?;
        }
        Ok(purged)
    }

    /// Advances `last_rowid` by `count` and returns the id before the first new row.
    fn reserve_row_ids(&self, id: &ModelId, count: usize) -> Result<RowId, RepositoryError> {
        let failed = |error: rusqlite::Error| database_error("reserving row ids", &error);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let mut statement = self
            .connection
            .prepare_cached(
                "UPDATE metric SET last_rowid = coalesce(last_rowid, 0) + ?2 WHERE uid = ?1 RETURNING last_rowid",
            )
            .map_err(failed)?;
        let last: Option<i64> =
            statement.query_row(params![id.as_str(), count], |row| row.get(0)).optional().map_err(failed)?;
        last.map(|last| RowId(last - count)).ok_or_else(|| RepositoryError::Rejected {
            reason: format!("metric {id} does not exist; expected to append {count} rows to it"),
        })
    }

    /// Keeps `score_progress` at the last row before the first gap.
    fn advance_score_progress(
        &self,
        id: &ModelId,
        updates: &[RowUpdate],
        all_existed: bool,
    ) -> Result<(), RepositoryError> {
        let Some(highest) = updates.iter().map(|row| row.row_id).max() else { return Ok(()) };
        let before = read::score_progress(self.connection, id)?;
        if before.is_some_and(|before| highest <= before) {
            return Ok(());
        }
        let start = before.unwrap_or_default();
        // The usual case, rows in order right after the known ones, needs no walk over what was just written.
        let mut reached = start;
        for row in updates {
            if all_existed && row.row_id.0 == reached.0 + 1 {
                reached = row.row_id;
            }
        }
        // Rows in order end the walk here: nothing was scored ahead of them.
        let in_order = reached == highest && !read::is_scored(self.connection, id, RowId(highest.0 + 1))?;
        let progress =
            if in_order { reached } else { read::scored_without_gap_after(self.connection, id, reached)? };
        self.note_score_progress(id, progress)
    }

    fn note_score_progress(&self, id: &ModelId, progress: RowId) -> Result<(), RepositoryError> {
        let sql = "INSERT INTO score_progress (uid, scored_up_to) VALUES (?1, ?2)
                   ON CONFLICT (uid) DO UPDATE SET scored_up_to = excluded.scored_up_to";
        self.execute("noting the scoring progress", sql, params![id.as_str(), progress.0])?;
        Ok(())
    }
}

fn storable(id: &ModelId, sample: &StoredSample) -> Result<String, RepositoryError> {
    check_finite_value(id, sample.value)?;
    timestamp::format_seconds(sample.timestamp)
        .map_err(|error| RepositoryError::Rejected { reason: format!("a sample of metric {id}: {error}") })
}
