//! What SQLite's result codes mean for a role: try again, drop this value, or stop.
//!
//! Departure: the original retried a fixed list of MySQL client codes; a full disk stopped its storer. Here a
//! full disk and a failed read or write are transient, since an operator can end them without losing a sample. So is a
//! want of open files, which senders can cause, and which SQLite tells like a file that may not be opened.

use rusqlite::ErrorCode;

use crate::machine;
use crate::repository::RepositoryError;

/// Sorts `error`, met while `doing` something (a phrase such as `appending rows`) over a connection that has read the file:
/// what cannot be opened any more can be opened again. Whether files were wanting then cannot be asked afterwards.
pub(super) fn database_error(doing: &str, error: &rusqlite::Error) -> RepositoryError {
    sorted(doing, error, || true)
}

/// The same of a connection that is being opened, where the path or somebody's rights may be wrong.
pub(super) fn opening_error(doing: &str, error: &rusqlite::Error) -> RepositoryError {
    sorted(doing, error, machine::is_out_of_files)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "both enums may grow; what we do not know is fatal")]
fn sorted(doing: &str, error: &rusqlite::Error, is_out_of_files: fn() -> bool) -> RepositoryError {
    let reason = |advice: &str| format!("the database failed while {doing}: {error}{advice}");
    let Some(code) = error.sqlite_error_code() else {
        return match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => RepositoryError::Rejected {
                reason: reason("; a stored value has another form than its column; correct it by hand"),
            },
            _ => RepositoryError::Fatal { reason: reason("; this is a defect, please report it") },
        };
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            RepositoryError::Transient {
                reason: reason("; another process holds the file; it is tried again"),
            }
        }
        ErrorCode::DiskFull => RepositoryError::Transient {
            reason: reason("; the disk is full: free some space; it is tried again, nothing is lost"),
        },
        ErrorCode::SystemIoFailure => RepositoryError::Transient {
            reason: reason("; the disk could not be read or written: check it; it is tried again"),
        },
        ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::OperationAborted
        | ErrorCode::SchemaChanged => RepositoryError::Transient { reason: reason("; it is tried again") },
        ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => {
            RepositoryError::Rejected { reason: reason("; this value is dropped") }
        }
        ErrorCode::DatabaseCorrupt => RepositoryError::Fatal {
            reason: reason(
                "; the file is damaged: stop the engine, copy the file, then try `sqlite3 FILE .recover`",
            ),
        },
        ErrorCode::NotADatabase => {
            RepositoryError::Fatal { reason: reason("; expected an SQLite database: check the path") }
        }
        ErrorCode::CannotOpen if is_out_of_files() => RepositoryError::Transient {
            reason: reason(
                "; as a rule no more files can be opened: raise the limit (`ulimit -n`), or lower max_connections; it is tried again",
            ),
        },
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => RepositoryError::Fatal {
            reason: reason("; check that this user may read and write the file and its folder"),
        },
        _ => RepositoryError::Fatal { reason: reason("") },
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn sorts_result_codes_by_what_the_role_must_do() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, "transient"),
            (ffi::SQLITE_BUSY_SNAPSHOT, "transient"),
            (ffi::SQLITE_LOCKED, "transient"),
            (ffi::SQLITE_FULL, "transient"),
            (ffi::SQLITE_IOERR_WRITE, "transient"),
            (ffi::SQLITE_CONSTRAINT_CHECK, "rejected"),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, "rejected"),
            (ffi::SQLITE_TOOBIG, "rejected"),
            (ffi::SQLITE_CORRUPT, "fatal"),
            (ffi::SQLITE_NOTADB, "fatal"),
            (ffi::SQLITE_READONLY, "fatal"),
            (ffi::SQLITE_CANTOPEN, "transient"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let found = match database_error("testing", &error) {
                RepositoryError::Transient { .. } => "transient",
                RepositoryError::Rejected { .. } => "rejected",
                RepositoryError::Fatal { .. } => "fatal",
            };
            assert_eq!(found, kind, "code {code}");
        }
    }

    /// Connections that took all files ended the engine, even when one was closed before anybody asked why.
    #[test]
    fn a_want_of_open_files_passes_and_a_want_of_rights_does_not() {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), None);
        let told = database_error("reading rows", &error);
        assert!(
            matches!(&told, RepositoryError::Transient { reason } if reason.contains("ulimit -n")),
            "{told}"
        );
        assert!(matches!(sorted("opening the file", &error, || true), RepositoryError::Transient { .. }));
        assert!(matches!(sorted("opening the file", &error, || false), RepositoryError::Fatal { .. }));
    }

    #[test]
    fn a_full_disk_is_named_with_what_to_do() {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
        let text = database_error("appending rows", &error).to_string();
        assert!(text.contains("appending rows") && text.contains("free some space"), "{text}");
    }
}
