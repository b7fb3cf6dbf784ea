//! Opening connections to the SQLite file, and the bounded pool of reading ones.
//!
//! Durability: WAL with `synchronous = FULL`, so a commit is on the disk before it is reported. Either setting
//! survives kill -9, and with NORMAL a power failure would only lose the last commits, not damage the file. But
//! model files are synced when written, so after losing rows a model would have learned rows that no longer
//! exist, and would skip the ones that later take their ids. The price in the bench `repository` (median of
//! five runs, 2 shared cores, dev profile, ext4 on a virtual disk, 1,000 rows a commit, 10 rows a metric): 161,000
//! against 189,000 rows/s appended, 159,000 against 197,000 completed; single runs scatter by a third. A disk with
//! slow syncs pays more for each commit; the storer's turns then grow instead.
//!
//! Readers never wait for the writer in WAL mode; the pool only bounds how many read at once.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::opening_error;
use super::{OpenMode, schema};
use crate::repository::RepositoryError;

/// How long SQLite itself waits for another process's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read at the same time beside one for each processor, which models are stepped on: so that those who
/// ask never wait for those who step. More readers wait.
const SPARE_READERS: usize = 4;
/// How often opening a file is tried again that was open before, and the pause before the first time; it doubles.
const REOPENINGS: u32 = 4;
const REOPEN_PAUSE: Duration = Duration::from_millis(50);
/// Prepared statements kept per connection; more than this file has.
const MAX_PREPARED_STATEMENTS: usize = 64;
/// Page cache of the writing connection, in KiB.
const WRITER_CACHE_KIB: i64 = 65_536;
/// Page cache of each reading connection, in KiB.
const READER_CACHE_KIB: i64 = 8_192;
/// The log is copied into the database once it has this many pages (16 MiB). SQLite's own 1,000 pages
/// are less than one transaction over 1,000 metrics writes.
const CHECKPOINT_PAGES: i64 = 4_096;
/// The log file is cut to this after a checkpoint.
const MAX_IDLE_LOG_BYTES: i64 = 67_108_864;

/// Opens the file for writing, creating tables if `mode` allows it.
///
/// # Errors
/// [`RepositoryError::Fatal`] names the path and what to do.
pub(super) fn open_writer(path: &Path, mode: OpenMode) -> Result<Connection, RepositoryError> {
    let create = matches!(mode, OpenMode::ReadWriteCreate);
    if !create {
        require_file(path)?;
    }
    let flags = if create { OpenFlags::SQLITE_OPEN_CREATE } else { OpenFlags::empty() };
    let mut connection = connect(path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)?;
    let failed = |error: rusqlite::Error| with_path(path, opening_error("setting up the file", &error));
    // The first read of the file: anything but a database is refused here, before it is written to.
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if version > schema::SCHEMA_VERSION {
        schema::check_version(&connection, &path.display().to_string())?;
    }
    let journal: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(RepositoryError::Fatal {
            reason: format!(
                "{}: SQLite answered journal mode `{journal}`, expected `wal`; the file must lie on a local disk, \
                 not on a network share",
                path.display()
            ),
        });
    }
    connection.pragma_update(None, "synchronous", SYNCHRONOUS).map_err(failed)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", MAX_IDLE_LOG_BYTES).map_err(failed)?;
    if create {
        schema::create_if_empty(&mut connection)?;
    }
    schema::bring_up(&mut connection)?;
    schema::check_version(&connection, &path.display().to_string())?;
    Ok(connection)
}

/// See the head of this file.
const SYNCHRONOUS: &str = "FULL";

/// A bounded set of reading connections, opened when first needed.
#[derive(Debug)]
pub(super) struct ReadPool {
    path: PathBuf,
    /// Connections lent at most.
    limit: usize,
    state: Mutex<PoolState>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    idle: Vec<Connection>,
    lent: usize,
    was_open: bool,
}

impl ReadPool {
    /// An empty pool for this file.
    pub(super) fn new(path: &Path) -> Self {
        let limit = available_parallelism().map_or(1, NonZeroUsize::get) + SPARE_READERS;
        Self { path: path.to_owned(), limit, state: Mutex::default(), returned: Condvar::new() }
    }

    /// How many may read at the same time.
    #[cfg(test)]
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Runs `work` on a connection, waiting for one if as many as may be are lent.
    ///
    /// # Errors
    /// What `work` returned, or why no connection could be opened.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        let mut loan = Loan { pool: self, connection: self.take() };
        let connection = match loan.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        work(loan.connection.insert(connection))
    }

    /// A new connection. What fails for good with a file that was open before is tried a few times: a want of open files
    /// looks like that, if somebody closes one before it is asked for.
    fn open(&self) -> Result<Connection, RepositoryError> {
        let state = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = state().was_open;
        let connection = reopened(if was_open { REOPENINGS } else { 0 }, || open_reader(&self.path))?;
        state().was_open = true;
        Ok(connection)
    }

    /// An idle connection, or `None` for leave to open one.
    fn take(&self) -> Option<Connection> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let all_lent = |state: &mut PoolState| state.lent >= self.limit;
        let mut state = self.returned.wait_while(state, all_lent).unwrap_or_else(PoisonError::into_inner);
        state.lent += 1;
        state.idle.pop()
    }
}

/// Tries once, and again so many times while it fails for good. What passes by itself, callers try again.
fn reopened<T>(
    times: u32,
    mut open: impl FnMut() -> Result<T, RepositoryError>,
) -> Result<T, RepositoryError> {
    let mut pause = REOPEN_PAUSE;
    for _ in 0..times {
        match open() {
            Err(RepositoryError::Fatal { .. }) => thread::sleep(pause),
            done => return done,
        }
        pause *= 2;
    }
    open()
}

/// Gives the place back whatever happens, and the connection if there is one.
struct Loan<'a> {
    pool: &'a ReadPool,
    connection: Option<Connection>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lent -= 1;
        state.idle.extend(self.connection.take());
        drop(state);
        self.pool.returned.notify_one();
    }
}

/// Opens the file for reading only; it must exist and be ours.
///
/// # Errors
/// [`RepositoryError::Fatal`] names the path and what to do.
pub(super) fn open_reader(path: &Path) -> Result<Connection, RepositoryError> {
    require_file(path)?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)?;
    schema::check_version(&connection, &path.display().to_string())
        .map_err(|error| with_path(path, error))?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags, cache_kib: i64) -> Result<Connection, RepositoryError> {
    let failed = |error: rusqlite::Error| with_path(path, opening_error("opening the file", &error));
    // NO_MUTEX: a connection is used by one thread at a time, which the borrow checker sees to.
    let connection =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(MAX_PREPARED_STATEMENTS);
    // Else a statement may be planned anew whenever it is given other values: a seventh of the time of storing rows.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    // Negative means KiB, positive would mean pages.
    connection.pragma_update(None, "cache_size", -cache_kib).map_err(failed)?;
    Ok(connection)
}

fn require_file(path: &Path) -> Result<(), RepositoryError> {
    if path.is_file() {
        return Ok(());
    }
    let found = if path.exists() { "is not a file" } else { "does not exist" };
    Err(RepositoryError::Fatal {
        reason: format!(
            "the database {} {found}; expected the file of a running engine: check the path, or start \
             `htmengine serve`, which creates it",
            path.display()
        ),
    })
}

fn with_path(path: &Path, error: RepositoryError) -> RepositoryError {
    let name = |reason: String| {
        let path = path.display().to_string();
        if reason.contains(&path) { reason } else { format!("{path}: {reason}") }
    };
    match error {
        RepositoryError::Transient { reason } => RepositoryError::Transient { reason: name(reason) },
        RepositoryError::Rejected { reason } => RepositoryError::Rejected { reason: name(reason) },
        RepositoryError::Fatal { reason } => RepositoryError::Fatal { reason: name(reason) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_open_before_is_tried_a_few_times_before_its_fault_is_told() {
        let check = |times, faults, expected_tries, is_open| {
            let mut tries = 0;
            let opened = reopened(times, || {
                tries += 1;
                if tries > faults {
                    Ok(())
                } else {
                    Err(RepositoryError::Fatal { reason: "gone".to_owned() })
                }
            });
            assert_eq!((tries, opened.is_ok()), (expected_tries, is_open), "{times} {faults}");
        };
        check(REOPENINGS, 0, 1, true);
        check(REOPENINGS, 2, 3, true);
        check(REOPENINGS, 9, REOPENINGS + 1, false);
        check(0, 1, 1, false);
    }
}
