//! One moment of the rows, for as long as it is held: what a backup copies while an engine writes on.
//!
//! In WAL mode a read transaction sees the database as it was at its first read, and keeps no writer waiting. The price is
//! that the write-ahead log cannot begin anew until the transaction ends, so it grows by what is written meanwhile.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::error::{database_error, opening_error};
use super::{connection, read};
use crate::repository::metric::Metric;
use crate::repository::{RepositoryError, StatusSum};

/// Pages copied at once: a few MiB, so that the copy never has more of the database in hand.
const PAGES_PER_STEP: i32 = 1_024;
/// Pause before a step is tried again that found the file locked, which only a database that leaves WAL mode does.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
/// So many times; a minute.
const MAX_LOCKED_STEPS: u32 = 3_000;

/// The rows at one moment.
#[derive(Debug)]
pub struct SqliteSnapshot {
    connection: Connection,
    path: PathBuf,
}

impl SqliteSnapshot {
    /// The rows in `path` as they are now.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database; fatal, naming the path, if there is none of ours.
    pub fn begin(path: &Path) -> Result<Self, RepositoryError> {
        let connection = connection::open_reader(path)?;
        connection
            .execute_batch("BEGIN")
            .map_err(|error| database_error("beginning to read one moment", &error))?;
        // The transaction has its moment from its first read on.
        read::newest_change(&connection)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// The metric with this id.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub fn metric(&self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        read::metric(&self.connection, id)
    }

    /// See [`crate::repository::Repository::scored_up_to`].
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub fn scored_up_to(&self, id: &ModelId) -> Result<RowId, RepositoryError> {
        read::scored_up_to(&self.connection, id)
    }

    /// The first row after `after` that is there.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub fn next_row(&self, id: &ModelId, after: RowId) -> Result<Option<RowId>, RepositoryError> {
        let rows = read::rows_between(&self.connection, id, RowId(after.0 + 1), RowId(i64::MAX), 1)?;
        Ok(rows.first().map(|row| row.row_id))
    }

    /// See [`crate::repository::Repository::status_sums`].
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub fn status_sums(&self) -> Result<Vec<StatusSum>, RepositoryError> {
        read::status_sums(&self.connection, 0)
    }

    /// Writes the database of this moment to the new file `target`, without syncing it.
    ///
    /// # Errors
    /// [`RepositoryError`] from either file.
    pub fn copy_to(&self, target: &Path) -> Result<(), RepositoryError> {
        let doing = format!("copying {} to {}", self.path.display(), target.display());
        let failed = |error: rusqlite::Error| opening_error(&doing, &error);
        let flags = OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(target, flags).map_err(failed)?;
        // Whoever copies syncs all files together, and throws away what was not finished: neither journal nor syncs help.
        copy.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        copy.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(())).map_err(failed)?;
        let steps = Backup::new(&self.connection, &mut copy).map_err(failed)?;
        let mut locked_steps = 0;
        loop {
            match steps.step(PAGES_PER_STEP).map_err(failed)? {
                StepResult::Done => return Ok(()),
                StepResult::More => {}
                StepResult::Busy | StepResult::Locked | _ if locked_steps < MAX_LOCKED_STEPS => {
                    locked_steps += 1;
                    thread::sleep(LOCKED_PAUSE);
                }
                StepResult::Busy | StepResult::Locked | _ => {
                    let reason = format!("{doing} found the file locked for too long; try again");
                    return Err(RepositoryError::Transient { reason });
                }
            }
        }
    }
}

/// What SQLite finds wrong with the structure of a file that nobody writes; nothing in a sound one. Leaves no trace beside it.
///
/// # Errors
/// [`RepositoryError`] if it cannot be read at all.
pub fn structure_faults(path: &Path) -> Result<Option<String>, RepositoryError> {
    let doing = format!("checking {}", path.display());
    let failed = |error: rusqlite::Error| opening_error(&doing, &error);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = "file:".to_owned();
    for byte in absolute.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            // Writing to a string never fails.
            other => drop(write!(uri, "%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags).map_err(failed)?;
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    Ok((found != "ok").then_some(found))
}
