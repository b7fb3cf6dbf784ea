//! The tables of the SQLite file and their version.
//!
//! Source: htmengine's four tables after its last migration, with their column names, defaults and keys.
//! Types: DATETIME is TEXT `YYYY-MM-DD HH:MM:SS` in UTC as MySQL shows it, DOUBLE is REAL; SQLite does not
//! enforce VARCHAR lengths, so CHECKs do.
//!
//! Departures:
//! - `metric.name` has a unique index: names are unique here, and the original scanned the table.
//! - `metric_data` is WITHOUT ROWID, so the rows of one metric lie together in the order models read them.
//! - `metric_data` has neither `timestamp_idx` nor `anomaly_score_idx`. Every read here names a metric and so
//!   walks the primary key; both indexes only help reads across all metrics, which the engine never does.
//!   Bench `repository`, median of five runs on 2 shared cores, dev profile, 1,000 rows a commit:
//!   at 1, 10 and 100 rows a metric, `timestamp_idx` took 4 %, 22 % and 45 % of the appends, a partial
//!   `anomaly_score_idx` 34 %, 27 % and 32 % of the completions (single runs scatter by a third).
//! - `elevated_idx` has only the rows whose detection score is elevated, a few in a hundred, by time: what was odd in a
//!   window is asked across all metrics.
//! - New tables: `score_progress` (how far each metric is scored without a gap, so that asking costs one look-up
//!   instead of a walk over all rows), `reject`, `change`, and those of alerts (`super::alert`).

use rusqlite::{Connection, TransactionBehavior};

use super::error::opening_error;
use crate::repository::RepositoryError;

/// Version of these tables, kept in `PRAGMA user_version`. 1 is the first; 2 has the columns of the detection score; 3 has
/// an index of elevated ones and the tables of alerts.
pub(super) const SCHEMA_VERSION: i64 = 3;

const CREATE_TABLES: &str = "
CREATE TABLE metric (
  uid VARCHAR(40) NOT NULL PRIMARY KEY CHECK (length(uid) BETWEEN 1 AND 40),
  datasource VARCHAR(100) CHECK (length(datasource) <= 100),
  name VARCHAR(255) CHECK (length(name) <= 255),
  description VARCHAR(200) CHECK (length(description) <= 200),
  server VARCHAR(100) CHECK (length(server) <= 100),
  location VARCHAR(200) CHECK (length(location) <= 200),
  parameters TEXT,
  status INTEGER DEFAULT 0 CHECK (status IN (0, 1, 2, 4, 8)),
  message TEXT,
  collector_error TEXT,
  last_timestamp TEXT DEFAULT NULL,
  poll_interval INTEGER DEFAULT 60,
  tag_name VARCHAR(200) CHECK (length(tag_name) <= 200),
  model_params TEXT,
  last_rowid INTEGER
);
CREATE INDEX datasource_idx ON metric (datasource);
CREATE INDEX location_idx ON metric (location);
CREATE INDEX server_idx ON metric (server);
CREATE UNIQUE INDEX name_idx ON metric (name);

CREATE TABLE metric_data (
  uid VARCHAR(40) NOT NULL DEFAULT '',
  rowid INTEGER NOT NULL DEFAULT 0,
  timestamp TEXT NOT NULL,
  metric_value REAL NOT NULL,
  raw_anomaly_score REAL DEFAULT NULL,
  anomaly_score REAL DEFAULT NULL,
  display_value INTEGER DEFAULT NULL,
  multi_step_best_predictions TEXT DEFAULT NULL,
  detection_score REAL DEFAULT NULL,
  alert_score REAL DEFAULT NULL,
  detection_components TEXT DEFAULT NULL,
  PRIMARY KEY (uid, rowid),
  CONSTRAINT metric_data_to_metric_fk FOREIGN KEY (uid) REFERENCES metric (uid)
    ON DELETE CASCADE ON UPDATE CASCADE
) WITHOUT ROWID;

CREATE TABLE lock (
  name VARCHAR(40) NOT NULL PRIMARY KEY CHECK (length(name) <= 40)
);
INSERT INTO lock (name) VALUES ('metrics');

CREATE TABLE instance_status_history (
  server VARCHAR(100) NOT NULL DEFAULT '' CHECK (length(server) <= 100),
  timestamp TEXT NOT NULL,
  status VARCHAR(32) NOT NULL DEFAULT '' CHECK (length(status) <= 32),
  PRIMARY KEY (server, timestamp)
) WITHOUT ROWID;

CREATE TABLE score_progress (
  uid VARCHAR(40) NOT NULL PRIMARY KEY REFERENCES metric (uid) ON DELETE CASCADE ON UPDATE CASCADE,
  scored_up_to INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE reject (
  reason TEXT NOT NULL PRIMARY KEY,
  count INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  example TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE change (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  uid VARCHAR(40) NOT NULL
);
";

/// What version 2 lacks, and every new file.
const FROM_VERSION_2: &str = "
CREATE INDEX elevated_idx ON metric_data (timestamp, detection_score, alert_score) WHERE detection_score >= 0.1;

CREATE TABLE alert_cursor (
  uid VARCHAR(40) NOT NULL PRIMARY KEY,
  row_id INTEGER NOT NULL,
  began_at INTEGER NOT NULL,
  state TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE alert_episode (
  episode_key VARCHAR(40) NOT NULL PRIMARY KEY,
  rule VARCHAR(100) NOT NULL,
  condition_name VARCHAR(40) NOT NULL,
  severity VARCHAR(100) NOT NULL,
  threshold REAL DEFAULT NULL,
  uid VARCHAR(40) NOT NULL,
  metric VARCHAR(255) NOT NULL,
  opened_at INTEGER NOT NULL,
  began INTEGER NOT NULL,
  ended INTEGER DEFAULT NULL,
  row_id INTEGER DEFAULT NULL,
  peak_score REAL DEFAULT NULL,
  peak_at INTEGER NOT NULL,
  peak_value REAL DEFAULT NULL,
  suppressed VARCHAR(20) DEFAULT NULL
) WITHOUT ROWID;
CREATE INDEX alert_opened_idx ON alert_episode (opened_at);
CREATE INDEX alert_uid_idx ON alert_episode (uid);

CREATE TABLE alert_delivery (
  episode_key VARCHAR(40) NOT NULL REFERENCES alert_episode (episode_key) ON DELETE CASCADE,
  channel VARCHAR(100) NOT NULL,
  kind VARCHAR(10) NOT NULL,
  state VARCHAR(10) NOT NULL,
  repeats INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  due_since INTEGER NOT NULL,
  next_at INTEGER DEFAULT NULL,
  last_error TEXT DEFAULT NULL,
  PRIMARY KEY (episode_key, channel, kind)
) WITHOUT ROWID;
CREATE INDEX alert_due_idx ON alert_delivery (channel, next_at);
";

/// What version 1 lacks besides.
const FROM_VERSION_1: &str = "
ALTER TABLE metric_data ADD COLUMN detection_score REAL DEFAULT NULL;
ALTER TABLE metric_data ADD COLUMN alert_score REAL DEFAULT NULL;
ALTER TABLE metric_data ADD COLUMN detection_components TEXT DEFAULT NULL;
";

/// Brings the tables of an older version up; does nothing to others.
///
/// # Errors
/// [`RepositoryError`] from the database.
pub(super) fn bring_up(connection: &mut Connection) -> Result<(), RepositoryError> {
    let failed = |error: rusqlite::Error| opening_error("bringing the tables up", &error);
    if !(1..SCHEMA_VERSION).contains(&stored_version(connection)?) {
        return Ok(());
    }
    // Looked at again under the write lock: another process may be doing so at this moment.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found = stored_version(&transaction)?;
    if found == 1 {
        transaction.execute_batch(FROM_VERSION_1).map_err(failed)?;
    }
    if (1..=2).contains(&found) {
        transaction.execute_batch(FROM_VERSION_2).map_err(failed)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Creates the tables in an empty file; does nothing when they exist.
///
/// # Errors
/// What [`check_version`] says of a file that is not ours; [`RepositoryError`] from the database.
pub(super) fn create_if_empty(connection: &mut Connection) -> Result<(), RepositoryError> {
    let failed = |error: rusqlite::Error| opening_error("creating the tables", &error);
    // Looked at again under the write lock: another process may be creating them at this moment.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if stored_version(&transaction)? == 0 && table_count(&transaction)? == 0 {
        transaction.execute_batch(CREATE_TABLES).map_err(failed)?;
        transaction.execute_batch(FROM_VERSION_2).map_err(failed)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Whether the file holds our tables in the version this program knows.
///
/// # Errors
/// [`RepositoryError::Fatal`] for a newer version or for tables of another program.
pub(super) fn check_version(connection: &Connection, path: &str) -> Result<(), RepositoryError> {
    let found = stored_version(connection)?;
    if found > SCHEMA_VERSION {
        return Err(RepositoryError::Fatal {
            reason: format!(
                "{path} has schema version {found}, written by a newer htmengine; this one knows version \
                 {SCHEMA_VERSION}: install the newer htmengine, or use another file"
            ),
        });
    }
    if (1..SCHEMA_VERSION).contains(&found) {
        return Err(RepositoryError::Fatal {
            reason: format!(
                "{path} has schema version {found}, written by an older htmengine, and is only read here; expected \
                 version {SCHEMA_VERSION}: start `htmengine serve` once, which brings it up"
            ),
        });
    }
    if found < SCHEMA_VERSION {
        let tables = table_count(connection)?;
        return Err(RepositoryError::Fatal {
            reason: format!(
                "{path} is an SQLite file with schema version {found} and {tables} tables, not made by htmengine; \
                 expected version {SCHEMA_VERSION}: name another file, and `htmengine serve` will create it"
            ),
        });
    }
    Ok(())
}

fn stored_version(connection: &Connection) -> Result<i64, RepositoryError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| opening_error("reading the schema version", &error))
}

fn table_count(connection: &Connection) -> Result<i64, RepositoryError> {
    connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .map_err(|error| opening_error("counting the tables", &error))
}
