//! The embedded repository: one SQLite file in WAL mode.
//!
//! Where it stands: storer, anomaly and command line write through [`Repository::transact`]; everyone reads.
//! One writing connection stands behind a mutex, since SQLite has one write lock per file anyway; a bounded
//! number of reading ones works beside it and never waits for it. Other processes may open the same file.
//!
//! Files: [`schema`](self) has the tables, `connection` opens them, `read` has the SELECTs, `transaction` the
//! writes, `alert` both for episodes, `snapshot` one moment of
//! the file for a backup, `error` says what a result code means.
//!
//! Invariants: a transaction that returned `Ok` survives the end of this process in any form; see `connection`
//! for power failures. A transaction that failed changed nothing.
//!
//! Source: htmengine's repository functions.

mod alert;
mod connection;
mod error;
mod read;
mod schema;
pub mod snapshot;
mod transaction;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};
use rusqlite::{Connection, TransactionBehavior, params};

use self::connection::{BUSY_TIMEOUT, ReadPool};
use self::error::database_error;
use self::transaction::SqliteTransaction;
use super::elevated::{ElevatedQuery, ElevatedRow};
use super::metric::{Metric, MetricStatus};
use super::metric_data::{DataQuery, MetricRow};
use super::reject::RejectEntry;
use super::retry::{RETRY_BUDGET, repeated};
use super::{Repository, RepositoryError, StatusSum, TransactionWork};

/// What may be done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Read and write; make the file and its tables if there are none. For `htmengine serve`.
    ReadWriteCreate,
    /// Read and write a file that exists.
    ReadWrite,
    /// Only read a file that exists; an engine may be writing it.
    ReadOnly,
}

/// What a transaction does, also beyond what the trait offers.
type Work<'a> = dyn FnMut(&mut SqliteTransaction<'_>) -> Result<(), RepositoryError> + 'a;

/// A repository in one SQLite file.
#[derive(Debug)]
pub struct SqliteRepository {
    /// Before the writer, so that the writer's connection is the last to be closed: only a writer can fold the
    /// write-ahead log into the file and remove it.
    readers: ReadPool,
    /// `None` when opened for reading only.
    writer: Option<Mutex<Connection>>,
    path: String,
    retry_budget: Duration,
}

impl SqliteRepository {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`], naming the path, when the file is missing (and `mode` does not create), is no
    /// database, belongs to another program or to a newer htmengine, or may not be read or written;
    /// [`RepositoryError::Transient`] when another process held it for more than 10 s.
    pub fn open(path: &Path, mode: OpenMode) -> Result<Self, RepositoryError> {
        let writer = match mode {
            OpenMode::ReadWriteCreate | OpenMode::ReadWrite => {
                Some(Mutex::new(connection::open_writer(path, mode)?))
            }
            OpenMode::ReadOnly => None,
        };
        let repository = Self {
            writer,
            readers: ReadPool::new(path),
            path: path.display().to_string(),
            retry_budget: RETRY_BUDGET,
        };
        // So that a wrong path or file is told at once and not at the first question.
        repository.newest_change()?;
        Ok(repository)
    }

    /// Runs `work` in a transaction, again and again while it fails transiently and the budget lasts.
    fn transact_here(&self, work: &mut Work<'_>) -> Result<(), RepositoryError> {
        repeated(self.retry_budget, || self.attempt(work))
    }

    /// One run of `work`. On failure also how long SQLite already waited.
    fn attempt(&self, work: &mut Work<'_>) -> Result<(), (RepositoryError, Duration)> {
        let Some(writer) = &self.writer else {
            let reason =
                format!("{} was opened for reading only; nothing can be changed through it", self.path);
            return Err((RepositoryError::Fatal { reason }, Duration::ZERO));
        };
        // A panic inside `work` rolled its transaction back, so the connection behind a poisoned lock is sound.
        let mut connection = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| {
                let is_busy = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
                let waited = if is_busy { BUSY_TIMEOUT } else { Duration::ZERO };
                (database_error("beginning a transaction", &error), waited)
            })?;
        work(&mut SqliteTransaction { connection: &transaction }).map_err(|error| (error, Duration::ZERO))?;
        transaction.commit().map_err(|error| (database_error("committing", &error), Duration::ZERO))
    }
}

impl Repository for SqliteRepository {
    fn transact(&self, work: &mut TransactionWork<'_>) -> Result<(), RepositoryError> {
        self.transact_here(&mut |transaction| work(transaction))
    }

    fn metric(&self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        self.readers.read(|connection| read::metric(connection, id))
    }

    fn metric_by_name(&self, name: &str) -> Result<Option<Metric>, RepositoryError> {
        self.readers.read(|connection| read::metric_by_name(connection, name))
    }

    fn metrics(&self, statuses: &[MetricStatus]) -> Result<Vec<Metric>, RepositoryError> {
        self.readers.read(|connection| read::metrics(connection, statuses))
    }

    fn metric_count(&self) -> Result<usize, RepositoryError> {
        self.readers.read(read::metric_count)
    }

    fn rows_after(
        &self,
        id: &ModelId,
        after: RowId,
        limit: usize,
    ) -> Result<Vec<MetricRow>, RepositoryError> {
        let first = RowId(after.0.saturating_add(1));
        self.readers.read(|connection| read::rows_between(connection, id, first, RowId(i64::MAX), limit))
    }

    fn data(&self, id: &ModelId, query: &DataQuery) -> Result<Vec<MetricRow>, RepositoryError> {
        self.readers.read(|connection| read::data(connection, id, query))
    }

    fn elevated_rows(&self, query: &ElevatedQuery) -> Result<Vec<ElevatedRow>, RepositoryError> {
        self.readers.read(|connection| read::elevated_rows(connection, query))
    }

    fn status_sums(&self, young_rows: i64) -> Result<Vec<StatusSum>, RepositoryError> {
        self.readers.read(|connection| read::status_sums(connection, young_rows))
    }

    fn newest_timestamp(&self) -> Result<Option<i64>, RepositoryError> {
        self.readers.read(read::newest_timestamp)
    }

    fn scored_up_to(&self, id: &ModelId) -> Result<RowId, RepositoryError> {
        self.readers.read(|connection| read::scored_up_to(connection, id))
    }

    fn add_rejects(&self, entries: &[RejectEntry]) -> Result<(), RepositoryError> {
        let Some(writer) = &self.writer else {
            let reason =
                format!("{} was opened for reading only; rejects cannot be counted in it", self.path);
            return Err(RepositoryError::Fatal { reason });
        };
        let mut connection = writer.lock().unwrap_or_else(PoisonError::into_inner);
        write_rejects(&mut connection, entries).map_err(|error| database_error("counting rejects", &error))
    }

    fn rejects(&self) -> Result<Vec<RejectEntry>, RepositoryError> {
        self.readers.read(read::rejects)
    }

    fn changes_after(&self, after: i64, limit: usize) -> Result<Vec<(i64, ModelId)>, RepositoryError> {
        self.readers.read(|connection| read::changes_after(connection, after, limit))
    }

    fn purge_rows(
        &self,
        seen: &Metric,
        before: i64,
        up_to: RowId,
        limit: usize,
    ) -> Result<usize, RepositoryError> {
        let mut purged = 0;
        self.transact_here(&mut |transaction| {
            purged = transaction.purge_rows(seen, before, up_to, limit)?;
            Ok(())
        })?;
        Ok(purged)
    }

    fn newest_change(&self) -> Result<i64, RepositoryError> {
        self.readers.read(read::newest_change)
    }
}

/// Not repeated on a transient failure: the caller keeps its ledger and comes again.
fn write_rejects(connection: &mut Connection, entries: &[RejectEntry]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for entry in entries {
        let count = i64::try_from(entry.count).unwrap_or(i64::MAX);
        let mut statement = transaction.prepare_cached(
            "INSERT INTO reject (reason, count, last_seen, example) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (reason) DO UPDATE SET count = count + excluded.count,
             last_seen = excluded.last_seen, example = excluded.example",
        )?;
        statement.execute(params![entry.reason.name(), count, entry.last_seen, entry.example])?;
    }
    transaction.commit()
}
