//! Episodes, deliveries and cursors in SQLite: both what is read and what is written.
//!
//! The row of `alert_cursor` under [`SCOPE_UID`], which no metric can have, holds the scope of the rules.

use htm_core::ids::{ModelId, RowId};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::SqliteRepository;
use super::error::database_error;
use super::transaction::SqliteTransaction;
use crate::repository::RepositoryError;
use crate::repository::alert::{
    AlertCursor, AlertDelivery, AlertEpisode, AlertReads, AlertWrites, DeliveryKind, DeliveryState,
    EpisodeQuery, MAX_ALERT_NAME_CHARS, MAX_ERROR_CHARS, Suppression,
};
use crate::repository::column_limit::check_length;

/// Stands where a metric's id would.
const SCOPE_UID: &str = "*";

/// Every column of [`AlertEpisode`], in the order [`episode_from_row`] reads them.
macro_rules! select_episode {
    ($rest:literal) => {
        concat!(
            "SELECT episode_key, rule, condition_name, severity, threshold, uid, metric, opened_at, began, ended, \
             row_id, peak_score, peak_at, peak_value, suppressed FROM alert_episode ",
            $rest
        )
    };
}

/// Every column of [`AlertDelivery`], in the order [`delivery_from_row`] reads them.
macro_rules! select_delivery {
    ($rest:literal) => {
        concat!(
            "SELECT episode_key, channel, kind, state, repeats, tries, due_since, next_at, last_error \
             FROM alert_delivery ",
            $rest
        )
    };
}

/// Writes every column of [`AlertDelivery`].
macro_rules! insert_delivery {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO alert_delivery (episode_key, channel, kind, state, repeats, tries, due_since, next_at, \
             last_error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ",
            $conflict
        )
    };
}

impl AlertReads for SqliteRepository {
    fn has_alert_tables(&self) -> bool {
        true
    }

    fn alert_scope(&self) -> Result<Option<String>, RepositoryError> {
        self.readers.read(|connection| {
            let sql = "SELECT state FROM alert_cursor WHERE uid = ?1";
            one(connection, sql, params![SCOPE_UID], |row| row.get(0))
        })
    }

    fn alert_cursor(&self, id: &ModelId) -> Result<Option<AlertCursor>, RepositoryError> {
        self.readers.read(|connection| {
            let sql = "SELECT row_id, began_at, state FROM alert_cursor WHERE uid = ?1";
            one(connection, sql, params![id.as_str()], |row| {
                let (row_id, began_at, state) = (RowId(row.get(0)?), row.get(1)?, row.get(2)?);
                Ok(AlertCursor { uid: id.clone(), row_id, began_at, state })
            })
        })
    }

    fn alert_episode(&self, key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
        self.readers.read(|connection| episode(connection, key))
    }

    fn alert_episodes(&self, query: &EpisodeQuery) -> Result<Vec<AlertEpisode>, RepositoryError> {
        let limit = i64::try_from(query.bounded_limit()).unwrap_or(i64::MAX);
        self.readers.read(|connection| {
            let sql = select_episode!(
                "WHERE (?1 IS NULL OR uid = ?1) AND (?2 IS NULL OR rule = ?2) AND (NOT ?3 OR ended IS NULL)
                 AND (?4 IS NULL OR ended IS NULL OR ended >= ?4) AND (?5 IS NULL OR began <= ?5)
                 ORDER BY opened_at DESC, began DESC, episode_key LIMIT ?6"
            );
            let uid = query.uid.as_ref().map(ModelId::as_str);
            let parameters = params![uid, query.rule, query.is_open, query.from, query.until, limit];
            all(connection, sql, parameters, episode_from_row)
        })
    }

    fn alert_deliveries(&self, key: &str) -> Result<Vec<AlertDelivery>, RepositoryError> {
        self.readers.read(|connection| {
            let sql = select_delivery!("WHERE episode_key = ?1 ORDER BY channel, kind");
            all(connection, sql, params![key], delivery_from_row)
        })
    }

    fn due_alert_deliveries(
        &self,
        channel: &str,
        now: i64,
        limit: usize,
    ) -> Result<Vec<AlertDelivery>, RepositoryError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers.read(|connection| {
            let sql = select_delivery!(
                "WHERE channel = ?1 AND next_at IS NOT NULL AND next_at <= ?2
                 ORDER BY next_at, episode_key, kind LIMIT ?3"
            );
            all(connection, sql, params![channel, now, limit], delivery_from_row)
        })
    }
}

impl AlertWrites for SqliteTransaction<'_> {
    fn put_alert_scope(&mut self, scope: Option<&str>) -> Result<(), RepositoryError> {
        let doing = "keeping what alerts are about";
        self.execute(doing, "DELETE FROM alert_cursor WHERE uid = ?1", params![SCOPE_UID])?;
        if let Some(scope) = scope {
            let sql = "INSERT INTO alert_cursor (uid, row_id, began_at, state) VALUES (?1, 0, 0, ?2)";
            self.execute(doing, sql, params![SCOPE_UID, scope])?;
        }
        Ok(())
    }

    fn put_alert_cursor(&mut self, cursor: &AlertCursor) -> Result<(), RepositoryError> {
        let sql = "INSERT INTO alert_cursor (uid, row_id, began_at, state)
                   SELECT uid, ?2, ?3, ?4 FROM metric WHERE uid = ?1
                   ON CONFLICT (uid) DO UPDATE SET row_id = excluded.row_id, began_at = excluded.began_at,
                   state = excluded.state";
        let values = params![cursor.uid.as_str(), cursor.row_id.0, cursor.began_at, cursor.state];
        self.execute("keeping how far alerts have come", sql, values)?;
        Ok(())
    }

    fn alert_episode(&mut self, key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
        episode(self.connection, key)
    }

    fn put_alert_episode(&mut self, episode: &AlertEpisode) -> Result<(), RepositoryError> {
        check_length("rule", Some(&episode.rule), MAX_ALERT_NAME_CHARS)?;
        check_length("severity", Some(&episode.severity), MAX_ALERT_NAME_CHARS)?;
        let sql = "INSERT INTO alert_episode (episode_key, rule, condition_name, severity, threshold, uid, metric,
                   opened_at, began, ended, row_id, peak_score, peak_at, peak_value, suppressed)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
                   ON CONFLICT (episode_key) DO UPDATE SET rule = excluded.rule,
                   condition_name = excluded.condition_name, severity = excluded.severity,
                   threshold = excluded.threshold, metric = excluded.metric, opened_at = excluded.opened_at,
                   began = excluded.began, ended = excluded.ended, row_id = excluded.row_id,
                   peak_score = excluded.peak_score, peak_at = excluded.peak_at, peak_value = excluded.peak_value,
                   suppressed = excluded.suppressed";
        let values = params![
            episode.key,
            episode.rule,
            episode.condition,
            episode.severity,
            episode.threshold,
            episode.uid.as_str(),
            episode.metric,
            episode.opened_at,
            episode.from,
            episode.until,
            episode.row_id.map(|row_id| row_id.0),
            episode.peak_score,
            episode.peak_at,
            episode.peak_value,
            episode.suppressed.map(Suppression::as_str),
        ];
        self.execute("keeping an episode", sql, values)?;
        Ok(())
    }

    fn add_alert_delivery(&mut self, delivery: &AlertDelivery) -> Result<(), RepositoryError> {
        self.write_delivery(delivery, insert_delivery!("ON CONFLICT (episode_key, channel, kind) DO NOTHING"))
    }

    fn put_alert_delivery(&mut self, delivery: &AlertDelivery) -> Result<(), RepositoryError> {
        let sql = insert_delivery!(
            "ON CONFLICT (episode_key, channel, kind) DO UPDATE SET state = excluded.state,
             repeats = excluded.repeats, tries = excluded.tries, due_since = excluded.due_since,
             next_at = excluded.next_at, last_error = excluded.last_error"
        );
        self.write_delivery(delivery, sql)
    }

    fn purge_alerts(&mut self, before: i64, kept: usize) -> Result<usize, RepositoryError> {
        let doing = "purging old episodes";
        let kept = i64::try_from(kept).unwrap_or(i64::MAX);
        let sql = "DELETE FROM alert_episode WHERE ended IS NOT NULL AND (opened_at < ?1 OR episode_key IN (
                   SELECT episode_key FROM alert_episode WHERE ended IS NOT NULL
                   ORDER BY opened_at DESC, began DESC, episode_key LIMIT -1 OFFSET ?2))";
        let purged = self.execute(doing, sql, params![before, kept])?;
        let sql = "DELETE FROM alert_cursor WHERE uid <> ?1 AND uid NOT IN (SELECT uid FROM metric)";
        self.execute(doing, sql, params![SCOPE_UID])?;
        Ok(purged)
    }
}

impl SqliteTransaction<'_> {
    fn write_delivery(&self, delivery: &AlertDelivery, sql: &str) -> Result<(), RepositoryError> {
        check_length("channel", Some(&delivery.channel), MAX_ALERT_NAME_CHARS)?;
        check_length("last_error", delivery.last_error.as_deref(), MAX_ERROR_CHARS)?;
        let values = params![
            delivery.key,
            delivery.channel,
            delivery.kind.as_str(),
            delivery.state.as_str(),
            delivery.repeats,
            delivery.tries,
            delivery.due_since,
            delivery.next_at,
            delivery.last_error,
        ];
        self.execute("keeping a delivery", sql, values)?;
        Ok(())
    }

    /// For a metric that is about to be deleted: its open episodes end where they peaked.
    pub(super) fn forget_alerts(&self, id: &ModelId) -> Result<(), RepositoryError> {
        let doing = "closing the episodes of a deleted metric";
        let sql = "UPDATE alert_episode SET ended = peak_at WHERE uid = ?1 AND ended IS NULL";
        self.execute(doing, sql, params![id.as_str()])?;
        self.execute(doing, "DELETE FROM alert_cursor WHERE uid = ?1", params![id.as_str()])?;
        Ok(())
    }
}

fn episode(connection: &Connection, key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
    one(connection, select_episode!("WHERE episode_key = ?1"), params![key], episode_from_row)
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading alerts", &error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.query_row(parameters, read).optional().map_err(failed)
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, RepositoryError> {
    let failed = |error: rusqlite::Error| database_error("reading alerts", &error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let rows = statement.query_map(parameters, read).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

fn episode_from_row(row: &Row<'_>) -> rusqlite::Result<AlertEpisode> {
    Ok(AlertEpisode {
        key: row.get(0)?,
        rule: row.get(1)?,
        condition: row.get(2)?,
        severity: row.get(3)?,
        threshold: row.get(4)?,
        uid: word(row, 5, ModelId::new)?,
        metric: row.get(6)?,
        opened_at: row.get(7)?,
        from: row.get(8)?,
        until: row.get(9)?,
        row_id: row.get::<_, Option<i64>>(10)?.map(RowId),
        peak_score: row.get(11)?,
        peak_at: row.get(12)?,
        peak_value: row.get(13)?,
        suppressed: row.get::<_, Option<String>>(14)?.as_deref().and_then(Suppression::from_text),
    })
}

fn delivery_from_row(row: &Row<'_>) -> rusqlite::Result<AlertDelivery> {
    Ok(AlertDelivery {
        key: row.get(0)?,
        channel: row.get(1)?,
        kind: word(row, 2, DeliveryKind::from_text)?,
        state: word(row, 3, DeliveryState::from_text)?,
        repeats: row.get(4)?,
        tries: row.get(5)?,
        due_since: row.get(6)?,
        next_at: row.get(7)?,
        last_error: row.get(8)?,
    })
}

/// A column of one of a few words.
fn word<T>(row: &Row<'_>, column: usize, read: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    read(&text).ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(column, format!("`{text}`"), rusqlite::types::Type::Text)
    })
}
