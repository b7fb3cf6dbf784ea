//! Episodes, deliveries and cursors in MySQL: both what is read and what is written.
//!
//! A database that was not brought up lacks the tables: reads find nothing, writes are refused with what to do.
//!
//! The row of `alert_cursor` under [`SCOPE_UID`], which no metric can have, holds the scope of the rules.

use htm_core::ids::{ModelId, RowId};
use mysql_async::{Params, Row, Value};

use super::MysqlRepository;
use super::session::Session;
use super::transaction::MysqlTransaction;
use super::value::{Columns, text};
use crate::repository::RepositoryError;
use crate::repository::alert::{
    AlertCursor, AlertDelivery, AlertEpisode, AlertReads, AlertWrites, DeliveryKind, DeliveryState,
    EpisodeQuery, MAX_ALERT_NAME_CHARS, MAX_ERROR_CHARS, Suppression,
};
use crate::repository::column_limit::check_length;

/// Stands where a metric's id would.
const SCOPE_UID: &str = "*";
/// Episodes that are deleted at once because there are too many.
const MAX_PURGED: usize = 1_000;

/// Every column of [`AlertEpisode`], in the order [`episode_from_row`] reads them.
macro_rules! select_episode {
    ($rest:literal) => {
        concat!(
            "SELECT episode_key, rule, condition_name, severity, threshold, uid, metric, opened_at, began, ended, ",
            "row_id, peak_score, peak_at, peak_value, suppressed FROM alert_episode ",
            $rest
        )
    };
}

/// Every column of [`AlertDelivery`], in the order [`delivery_from_row`] reads them.
macro_rules! select_delivery {
    ($rest:literal) => {
        concat!(
            "SELECT episode_key, channel, kind, state, repeats, tries, due_since, next_at, last_error ",
            "FROM alert_delivery ",
            $rest
        )
    };
}

/// Writes every column of [`AlertDelivery`].
macro_rules! insert_delivery {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO alert_delivery (episode_key, channel, kind, state, repeats, tries, due_since, next_at, ",
            "last_error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ",
            $conflict
        )
    };
}

impl MysqlRepository {
    fn read_alerts<T: Default>(
        &self,
        work: impl FnMut(&mut Session) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        if self.features.has_alerts { self.read(work) } else { Ok(T::default()) }
    }
}

impl AlertReads for MysqlRepository {
    fn has_alert_tables(&self) -> bool {
        self.features.has_alerts
    }

    fn alert_scope(&self) -> Result<Option<String>, RepositoryError> {
        self.read_alerts(|session| {
            let sql = "SELECT state FROM alert_cursor WHERE uid = ?";
            let row = session.first_row("reading alerts", sql, (SCOPE_UID,))?;
            Ok(row.map(|row| Columns::new(row).text()).transpose()?.flatten())
        })
    }

    fn alert_cursor(&self, id: &ModelId) -> Result<Option<AlertCursor>, RepositoryError> {
        self.read_alerts(|session| {
            let sql = "SELECT row_id, began_at, state FROM alert_cursor WHERE uid = ?";
            let row = session.first_row("reading alerts", sql, (id.as_str(),))?;
            let Some(mut columns) = row.map(Columns::new) else { return Ok(None) };
            Ok(Some(AlertCursor {
                uid: id.clone(),
                row_id: RowId(columns.required(Columns::integer)?),
                began_at: columns.required(Columns::integer)?,
                state: columns.required(Columns::text)?,
            }))
        })
    }

    fn alert_episode(&self, key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
        self.read_alerts(|session| episode(session, select_episode!("WHERE episode_key = ?"), key))
    }

    fn alert_episodes(&self, query: &EpisodeQuery) -> Result<Vec<AlertEpisode>, RepositoryError> {
        let mut sql = select_episode!("WHERE TRUE").to_owned();
        let mut values: Vec<Value> = Vec::new();
        let conditions = [
            (" AND uid = ?", query.uid.as_ref().map(|uid| uid.as_str().into())),
            (" AND rule = ?", query.rule.as_deref().map(Value::from)),
            (" AND (ended IS NULL OR ended >= ?)", query.from.map(Value::from)),
            (" AND began <= ?", query.until.map(Value::from)),
        ];
        for (condition, value) in conditions {
            if let Some(value) = value {
                sql.push_str(condition);
                values.push(value);
            }
        }
        if query.is_open {
            sql.push_str(" AND ended IS NULL");
        }
        sql.push_str(" ORDER BY opened_at DESC, began DESC, episode_key LIMIT ?");
        values.push(count(query.bounded_limit()));
        self.read_alerts(|session| {
            let rows = session.rows("reading alerts", &sql, Params::Positional(values.clone()))?;
            rows.into_iter().map(episode_from_row).collect()
        })
    }

    fn alert_deliveries(&self, key: &str) -> Result<Vec<AlertDelivery>, RepositoryError> {
        self.read_alerts(|session| {
            let sql = select_delivery!("WHERE episode_key = ? ORDER BY channel, kind");
            let rows = session.rows("reading alerts", sql, (key,))?;
            rows.into_iter().map(delivery_from_row).collect()
        })
    }

    fn due_alert_deliveries(
        &self,
        channel: &str,
        now: i64,
        limit: usize,
    ) -> Result<Vec<AlertDelivery>, RepositoryError> {
        self.read_alerts(|session| {
            let sql = select_delivery!(
                "WHERE channel = ? AND next_at IS NOT NULL AND next_at <= ? ORDER BY next_at, episode_key, kind LIMIT ?"
            );
            let rows = session.rows("reading alerts", sql, (channel, now, count(limit)))?;
            rows.into_iter().map(delivery_from_row).collect()
        })
    }
}

impl AlertWrites for MysqlTransaction<'_> {
    fn put_alert_scope(&mut self, scope: Option<&str>) -> Result<(), RepositoryError> {
        self.check_alerts()?;
        let doing = "keeping what alerts are about";
        self.session.execute(doing, "DELETE FROM alert_cursor WHERE uid = ?", (SCOPE_UID,))?;
        if let Some(scope) = scope {
            let sql = "INSERT INTO alert_cursor (uid, row_id, began_at, state) VALUES (?, 0, 0, ?)";
            self.session.execute(doing, sql, (SCOPE_UID, scope))?;
        }
        Ok(())
    }

    fn put_alert_cursor(&mut self, cursor: &AlertCursor) -> Result<(), RepositoryError> {
        self.check_alerts()?;
        let sql = "INSERT INTO alert_cursor (uid, row_id, began_at, state) \
                   SELECT uid, ?, ?, ? FROM metric WHERE uid = ? \
                   ON DUPLICATE KEY UPDATE row_id = VALUES(row_id), began_at = VALUES(began_at), state = VALUES(state)";
        let values = (cursor.row_id.0, cursor.began_at, cursor.state.as_str(), cursor.uid.as_str());
        self.session.execute("keeping how far alerts have come", sql, values)?;
        Ok(())
    }

    fn alert_episode(&mut self, key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
        if !self.features.has_alerts {
            return Ok(None);
        }
        episode(self.session, select_episode!("WHERE episode_key = ? FOR UPDATE"), key)
    }

    fn put_alert_episode(&mut self, episode: &AlertEpisode) -> Result<(), RepositoryError> {
        self.check_alerts()?;
        check_length("rule", Some(&episode.rule), MAX_ALERT_NAME_CHARS)?;
        check_length("severity", Some(&episode.severity), MAX_ALERT_NAME_CHARS)?;
        let sql = "INSERT INTO alert_episode (episode_key, rule, condition_name, severity, threshold, uid, metric, \
                   opened_at, began, ended, row_id, peak_score, peak_at, peak_value, suppressed) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                   ON DUPLICATE KEY UPDATE rule = VALUES(rule), condition_name = VALUES(condition_name), \
                   severity = VALUES(severity), threshold = VALUES(threshold), metric = VALUES(metric), \
                   opened_at = VALUES(opened_at), began = VALUES(began), ended = VALUES(ended), \
                   row_id = VALUES(row_id), peak_score = VALUES(peak_score), peak_at = VALUES(peak_at), \
                   peak_value = VALUES(peak_value), suppressed = VALUES(suppressed)";
        let values: Vec<Value> = vec![
            episode.key.as_str().into(),
            episode.rule.as_str().into(),
            episode.condition.as_str().into(),
            episode.severity.as_str().into(),
            episode.threshold.into(),
            episode.uid.as_str().into(),
            episode.metric.as_str().into(),
            episode.opened_at.into(),
            episode.from.into(),
            episode.until.into(),
            episode.row_id.map(|row_id| row_id.0).into(),
            episode.peak_score.into(),
            episode.peak_at.into(),
            episode.peak_value.into(),
            text(episode.suppressed.map(Suppression::as_str)),
        ];
        self.session.execute("keeping an episode", sql, Params::Positional(values))?;
        Ok(())
    }

    fn add_alert_delivery(&mut self, delivery: &AlertDelivery) -> Result<(), RepositoryError> {
        self.write_delivery(delivery, insert_delivery!("ON DUPLICATE KEY UPDATE state = state"))
    }

    fn put_alert_delivery(&mut self, delivery: &AlertDelivery) -> Result<(), RepositoryError> {
        let sql = insert_delivery!(
            "ON DUPLICATE KEY UPDATE state = VALUES(state), repeats = VALUES(repeats), tries = VALUES(tries), \
             due_since = VALUES(due_since), next_at = VALUES(next_at), last_error = VALUES(last_error)"
        );
        self.write_delivery(delivery, sql)
    }

    fn purge_alerts(&mut self, before: i64, kept: usize) -> Result<usize, RepositoryError> {
        if !self.features.has_alerts {
            return Ok(0);
        }
        let doing = "purging old episodes";
        let sql = "DELETE FROM alert_episode WHERE ended IS NOT NULL AND opened_at < ?";
        let mut purged = self.session.execute(doing, sql, (before,))?;
        let sql = "SELECT episode_key FROM alert_episode WHERE ended IS NOT NULL \
                   ORDER BY opened_at DESC, began DESC, episode_key LIMIT ? OFFSET ?";
        for row in self.session.rows(doing, sql, (count(MAX_PURGED), count(kept)))? {
            let key = Columns::new(row).required(Columns::text)?;
            let sql = "DELETE FROM alert_episode WHERE episode_key = ?";
            purged += self.session.execute(doing, sql, (key,))?;
        }
        let sql = "DELETE FROM alert_cursor WHERE uid <> ? AND uid NOT IN (SELECT uid FROM metric)";
        self.session.execute(doing, sql, (SCOPE_UID,))?;
        Ok(usize::try_from(purged).unwrap_or(usize::MAX))
    }
}

impl MysqlTransaction<'_> {
    fn write_delivery(&mut self, delivery: &AlertDelivery, sql: &str) -> Result<(), RepositoryError> {
        self.check_alerts()?;
        check_length("channel", Some(&delivery.channel), MAX_ALERT_NAME_CHARS)?;
        check_length("last_error", delivery.last_error.as_deref(), MAX_ERROR_CHARS)?;
        let values: Vec<Value> = vec![
            delivery.key.as_str().into(),
            delivery.channel.as_str().into(),
            delivery.kind.as_str().into(),
            delivery.state.as_str().into(),
            delivery.repeats.into(),
            delivery.tries.into(),
            delivery.due_since.into(),
            delivery.next_at.into(),
            text(delivery.last_error.as_deref()),
        ];
        self.session.execute("keeping a delivery", sql, Params::Positional(values))?;
        Ok(())
    }

    /// For a metric that is about to be deleted: its open episodes end where they peaked.
    pub(super) fn forget_alerts(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        if !self.features.has_alerts {
            return Ok(());
        }
        let doing = "closing the episodes of a deleted metric";
        let sql = "UPDATE alert_episode SET ended = peak_at WHERE uid = ? AND ended IS NULL";
        self.session.execute(doing, sql, (id.as_str(),))?;
        self.session.execute(doing, "DELETE FROM alert_cursor WHERE uid = ?", (id.as_str(),))?;
        Ok(())
    }

    fn check_alerts(&self) -> Result<(), RepositoryError> {
        if self.features.has_alerts {
            return Ok(());
        }
        Err(RepositoryError::Rejected {
            reason: "the database lacks the tables of alerts: run `htmengine migrate`".to_owned(),
        })
    }
}

fn episode(session: &mut Session, sql: &str, key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
    session.first_row("reading alerts", sql, (key,))?.map(episode_from_row).transpose()
}

fn episode_from_row(row: Row) -> Result<AlertEpisode, RepositoryError> {
    let mut columns = Columns::new(row);
    let key = columns.required(Columns::text)?;
    let [rule, condition, severity] = [
        columns.required(Columns::text)?,
        columns.required(Columns::text)?,
        columns.required(Columns::text)?,
    ];
    let threshold = columns.double()?;
    let uid = columns.required(Columns::text)?;
    Ok(AlertEpisode {
        uid: ModelId::new(&uid).ok_or_else(|| unknown(&key, "uid", &uid))?,
        key,
        rule,
        condition,
        severity,
        threshold,
        metric: columns.required(Columns::text)?,
        opened_at: columns.required(Columns::integer)?,
        from: columns.required(Columns::integer)?,
        until: columns.integer()?,
        row_id: columns.integer()?.map(RowId),
        peak_score: columns.double()?,
        peak_at: columns.required(Columns::integer)?,
        peak_value: columns.double()?,
        suppressed: columns.text()?.as_deref().and_then(Suppression::from_text),
    })
}

fn delivery_from_row(row: Row) -> Result<AlertDelivery, RepositoryError> {
    let mut columns = Columns::new(row);
    let [key, channel, kind, state] = [
        columns.required(Columns::text)?,
        columns.required(Columns::text)?,
        columns.required(Columns::text)?,
        columns.required(Columns::text)?,
    ];
    let kind = DeliveryKind::from_text(&kind).ok_or_else(|| unknown(&key, "kind", &kind))?;
    let state = DeliveryState::from_text(&state).ok_or_else(|| unknown(&key, "state", &state))?;
    let small = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(AlertDelivery {
        key,
        channel,
        kind,
        state,
        repeats: small(columns.required(Columns::integer)?),
        tries: small(columns.required(Columns::integer)?),
        due_since: columns.required(Columns::integer)?,
        next_at: columns.integer()?,
        last_error: columns.text()?,
    })
}

fn unknown(key: &str, column: &str, found: &str) -> RepositoryError {
    RepositoryError::Rejected {
        reason: format!("episode `{key}` has the {column} `{found}`, which is none; delete its row"),
    }
}

fn count(limit: usize) -> Value {
    Value::UInt(u64::try_from(limit).unwrap_or(u64::MAX))
}
