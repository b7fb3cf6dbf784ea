//! What MySQL's error codes mean for a role: try again, drop this value, or stop.
//!
//! Source: the original's list of transient codes (client codes 2002 to 2055 are socket failures here, since this
//! client has no codes of its own).
//!
//! Departures: a server that is shutting down, has too many connections, or has its disk full is waited for, and so is
//! a connection or statement that an administrator killed; the original failed on them.

use mysql_async::{DriverError, Error, IoError};

use crate::repository::RepositoryError;
use crate::tls;

/// Deadlock: the server has rolled the transaction back.
const DEADLOCK: u16 = 1213;
/// Lock wait timeout: the server has rolled the statement back.
pub(super) const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// Codes of the original's list that come from the server, and the ones of a server that is away for a moment: too many
/// connections, shutting down, no room on disk, killed, definition changed, aborted connection.
const TRANSIENT: [u16; 20] = [
    LOCK_WAIT_TIMEOUT,
    DEADLOCK,
    1412,
    1021,
    1040,
    1053,
    1077,
    1079,
    1114,
    1152,
    1158,
    1159,
    1160,
    1161,
    1184,
    1203,
    1226,
    1317,
    1615,
    1927,
];
/// Codes after which the connection is gone although the server answered.
const CONNECTION_ENDS: [u16; 6] = [1053, 1077, 1079, 1152, 1184, 1927];
/// Values that a column cannot hold, keys that exist, parents that do not, statements that are too large.
const REJECTED: [u16; 13] = [1048, 1062, 1153, 1169, 1264, 1265, 1292, 1301, 1366, 1406, 1451, 1452, 1690];

/// Whether the connection can be used no more.
pub(super) fn ends_connection(error: &Error) -> bool {
    match error {
        Error::Server(server) => CONNECTION_ENDS.contains(&server.code),
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => true,
    }
}

/// Whether what the transaction did so far is lost, whatever its work makes of it.
pub(super) fn ends_transaction(error: &Error) -> bool {
    match error {
        Error::Server(server) => TRANSIENT.contains(&server.code),
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => true,
    }
}

/// The server's code, if the server said anything.
pub(super) fn code_of(error: &Error) -> Option<u16> {
    match error {
        Error::Server(server) => Some(server.code),
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => None,
    }
}

/// Sorts `error`, met while `doing` something (a phrase such as `appending rows`).
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the driver's errors may grow; what we do not know is fatal"
)]
pub(super) fn database_error(doing: &str, error: &Error) -> RepositoryError {
    let reason = |advice: &str| format!("the database failed while {doing}: {error}{advice}");
    match error {
        Error::Server(server) => server_error(server.code, reason),
        Error::Io(IoError::Tls(_)) => {
            RepositoryError::Fatal { reason: reason("; check the server's certificate, or do without TLS") }
        }
        Error::Io(IoError::Io(error)) if tls::is_distrust(error) => RepositoryError::Fatal {
            reason: reason(
                "; TLS with the server failed: name its authority's certificate with ca=FILE in the database's address, \
                 and call the server by a name that its certificate has",
            ),
        },
        Error::Io(IoError::Io(_)) => {
            RepositoryError::Transient { reason: reason("; is the server running? It is tried again") }
        }
        Error::Driver(DriverError::ConnectionClosed | DriverError::PoolDisconnected) => {
            RepositoryError::Transient { reason: reason("; it is tried again") }
        }
        Error::Driver(DriverError::PacketTooLarge) => RepositoryError::Rejected {
            reason: reason("; the value is dropped, or raise max_allowed_packet"),
        },
        Error::Driver(DriverError::NoClientSslFlagFromServer) => RepositoryError::Fatal {
            reason: reason("; the server speaks no TLS: set it up there, or switch it off here"),
        },
        _ => RepositoryError::Fatal { reason: reason("; check that this is a MySQL or MariaDB server") },
    }
}

fn server_error(code: u16, reason: impl Fn(&str) -> String) -> RepositoryError {
    if TRANSIENT.contains(&code) {
        let advice = match code {
            1021 | 1114 => "; the server's disk is full: free some space; it is tried again, nothing is lost",
            1040 | 1203 | 1226 => {
                "; allow more connections (max_connections) or use fewer; it is tried again"
            }
            _ => "; it is tried again",
        };
        return RepositoryError::Transient { reason: reason(advice) };
    }
    if REJECTED.contains(&code) {
        return RepositoryError::Rejected { reason: reason("; this value is dropped") };
    }
    let advice = match code {
        1045 | 1698 => "; check user and password",
        1044 => "; check the database's name, and that this user may use it (GRANT)",
        1049 => "; create it (CREATE DATABASE) and run `htmengine migrate`, or check its name",
        1054 | 1146 => "; expected the tables of htmengine: run `htmengine migrate`",
        1142 | 1143 | 1227 | 1370 => "; give this user the right (GRANT)",
        1290 | 1792 | 1836 => "; the server only lets read: connect to the one that takes writes",
        1665 => "; set the server's binlog_format to ROW or MIXED",
        _ => "",
    };
    RepositoryError::Fatal { reason: reason(advice) }
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn kind_of(code: u16) -> &'static str {
        let error = Error::Server(ServerError { code, message: String::new(), state: String::new() });
        match database_error("testing", &error) {
            RepositoryError::Transient { .. } => "transient",
            RepositoryError::Rejected { .. } => "rejected",
            RepositoryError::Fatal { .. } => "fatal",
        }
    }

    #[test]
    fn sorts_codes_by_what_the_role_must_do() {
        for code in [1205, 1213, 1412, 1040, 1053, 1927] {
            assert_eq!(kind_of(code), "transient", "code {code}");
        }
        for code in [1062, 1264, 1366, 1406, 1452] {
            assert_eq!(kind_of(code), "rejected", "code {code}");
        }
        for code in [1045, 1049, 1146, 1054, 1290, 9999] {
            assert_eq!(kind_of(code), "fatal", "code {code}");
        }
    }

    #[test]
    fn a_broken_socket_is_transient_and_ends_the_connection() {
        let error = Error::Io(IoError::Io(std::io::ErrorKind::ConnectionReset.into()));
        assert!(ends_connection(&error) && ends_transaction(&error));
        assert!(matches!(database_error("testing", &error), RepositoryError::Transient { .. }));
    }
}
