//! What MySQL's error codes mean for a role: try again, drop this value, or stop.
//!
//! Source: the original's list of transient codes (client codes 2000 to 2055 are socket failures here, since this
//! client has no codes of its own; as a server's answer they come from a proxy that lost the server behind it).
//!
//! Departures: a server that is shutting down, has too many connections, or has its disk full is waited for, and so is
//! a connection or statement that an administrator killed; the original failed on them. A cluster in the middle of a
//! failover is waited for as well, over new connections, which find the new primary.

use std::ops::RangeInclusive;

use mysql_async::{DriverError, Error, IoError};

use crate::repository::RepositoryError;
use crate::tls;

/// Deadlock: the server has rolled the transaction back.
const DEADLOCK: u16 = 1213;
/// Lock wait timeout: the server has rolled the statement back.
pub(super) const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// Codes of the original's list that come from the server, and the ones of a server that is away for a moment: too many
/// connections, shutting down, no room on disk, no memory, killed, definition changed, aborted connection.
const TRANSIENT: [u16; 22] = [
    LOCK_WAIT_TIMEOUT,
    DEADLOCK,
    1412,
    1021,
    1037,
    1040,
    1041,
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
/// A server that only lets read, as one does that is a primary no longer.
const READ_ONLY: [u16; 3] = [1290, 1792, 1836];
/// A failover goes on, as Galera (1047), group replication (3101) and `ProxySQL` (9001) say it.
const FAILOVER: [u16; 3] = [1047, 3101, 9001];
/// Codes of a client, which a proxy hands on when it lost the server.
const CLIENT_CODES: RangeInclusive<u16> = 2000..=2055;
/// Values that a column cannot hold, keys that exist, parents that do not, statements that are too large, characters and
/// collations that the column's character set does not have (3988 for prepared statements since MySQL 8.0.22).
const REJECTED: [u16; 18] = [
    1048, 1062, 1153, 1169, 1264, 1265, 1267, 1270, 1271, 1292, 1300, 1301, 1366, 1406, 1451, 1452, 1690,
    3988,
];

/// Whether the connection can be used no more.
pub(super) fn ends_connection(error: &Error) -> bool {
    match error {
        Error::Server(server) => {
            CONNECTION_ENDS.contains(&server.code) || is_failover(server.code) || is_read_only(server.code)
        }
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => true,
    }
}

/// Whether what the transaction did so far is lost, whatever its work makes of it.
pub(super) fn ends_transaction(error: &Error) -> bool {
    match error {
        Error::Server(server) => is_transient(server.code),
        Error::Driver(_) | Error::Io(_) | Error::Other(_) | Error::Url(_) => true,
    }
}

fn is_transient(code: u16) -> bool {
    TRANSIENT.contains(&code) || is_failover(code) || is_read_only(code)
}

fn is_failover(code: u16) -> bool {
    FAILOVER.contains(&code) || CLIENT_CODES.contains(&code)
}

fn is_read_only(code: u16) -> bool {
    READ_ONLY.contains(&code)
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
    if is_transient(code) {
        let advice = match code {
            1021 | 1114 => "; the server's disk is full: free some space; it is tried again, nothing is lost",
            1040 | 1203 | 1226 => {
                "; allow more connections (max_connections) or use fewer; it is tried again"
            }
            1037 | 1041 => "; the server is short of memory; it is tried again",
            _ if is_read_only(code) => {
                "; the server only lets read: it is tried again over a new connection, for as long as it takes; if no \
                 failover goes on, name the server that takes writes, or let this one write (read_only)"
            }
            _ if is_failover(code) => "; it is tried again over a new connection",
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
        1665 => "; set the server's binlog_format to ROW or MIXED",
        _ => "",
    };
    RepositoryError::Fatal { reason: reason(advice) }
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn server_said(code: u16) -> Error {
        Error::Server(ServerError { code, message: String::new(), state: String::new() })
    }

    fn kind_of(code: u16) -> &'static str {
        match database_error("testing", &server_said(code)) {
            RepositoryError::Transient { .. } => "transient",
            RepositoryError::Rejected { .. } => "rejected",
            RepositoryError::Fatal { .. } => "fatal",
        }
    }

    #[test]
    fn sorts_codes_by_what_the_role_must_do() {
        for code in [1205, 1213, 1412, 1037, 1040, 1041, 1053, 1927] {
            assert_eq!(kind_of(code), "transient", "code {code}");
        }
        for code in [1062, 1264, 1366, 1406, 1452] {
            assert_eq!(kind_of(code), "rejected", "code {code}");
        }
        for code in [1045, 1049, 1146, 1054, 1999, 2056, 9999] {
            assert_eq!(kind_of(code), "fatal", "code {code}");
        }
    }

    /// A name with a character of four bytes ended the engine, at each start again, where a column has three.
    #[test]
    fn characters_that_a_column_lacks_cost_only_their_value() {
        for code in [3988, 1267, 1270, 1271, 1300] {
            assert_eq!(kind_of(code), "rejected", "code {code}");
            assert!(!ends_connection(&server_said(code)));
        }
    }

    /// The engine ended when a proxy lost its server, and in every failover of a cluster.
    #[test]
    fn a_failover_is_waited_for_over_new_connections() {
        for code in [2000, 2002, 2006, 2013, 2055, 9001, 1047, 3101, 1290, 1792, 1836] {
            assert_eq!(kind_of(code), "transient", "code {code}");
            let error = server_said(code);
            assert!(ends_connection(&error) && ends_transaction(&error), "code {code}");
        }
        for code in [1037, 1041] {
            assert!(!ends_connection(&server_said(code)), "code {code}");
        }
        let told = database_error("appending rows", &server_said(1290)).to_string();
        assert!(told.contains("only lets read") && told.contains("read_only"), "{told}");
    }

    #[test]
    fn a_broken_socket_is_transient_and_ends_the_connection() {
        let error = Error::Io(IoError::Io(std::io::ErrorKind::ConnectionReset.into()));
        assert!(ends_connection(&error) && ends_transaction(&error));
        assert!(matches!(database_error("testing", &error), RepositoryError::Transient { .. }));
    }
}
