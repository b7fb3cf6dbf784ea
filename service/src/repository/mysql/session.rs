//! One connection as plain calls that wait, and the bounded pool it is lent from.
//!
//! Every caller is a thread of its own (a role, a rayon worker, a blocking thread of the HTTP server), so a statement
//! blocks it while the shared runtime does the talking. Statements are prepared and kept by the driver; values travel
//! in MySQL's binary form, so that a double arrives with the bits it left with.
//!
//! The session is set up explicitly, whatever the server's defaults: UTC, strict SQL mode, utf8mb4, READ COMMITTED.
//! READ COMMITTED suffices since a transaction locks a metric's row before it reads what depends on it, and it is the
//! one level at which such a read sees all that the previous holder of the lock committed.
//!
//! Invariants: at most `max_connections` are open; one that failed or was left inside a transaction is closed, never
//! lent again; when a connection breaks, the idle ones are closed too, since they lead to the same server.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::error::{LOCK_WAIT_TIMEOUT, code_of, database_error, ends_connection, ends_transaction};
use super::settings::MysqlSettings;
use crate::repository::RepositoryError;

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server waits for a lock before it fails a statement.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long one statement may take; clearing the scores of millions of rows takes minutes.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(600);
/// Silence after which the peer is asked whether it still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(10);
/// Prepared statements kept per connection; more than this room has texts of.
const MAX_PREPARED_STATEMENTS: usize = 128;
/// Refuses values that do not fit instead of changing them.
pub(super) const SQL_MODE: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION";

/// An open connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: Conn,
    runtime: Handle,
    is_in_transaction: bool,
    is_broken: bool,
    /// Set when the server or the connection ended the transaction on its own.
    transaction_failure: Option<RepositoryError>,
    /// Time the server waited for locks in vain.
    waited: Duration,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// [`RepositoryError::Transient`] if nobody answers, [`RepositoryError::Fatal`] if we are not let in.
    pub(super) fn connect(options: Opts, runtime: &Handle) -> Result<Self, RepositoryError> {
        let shown = format!("{}:{}", options.ip_or_hostname(), options.tcp_port());
        let connecting = async { timeout(CONNECT_TIMEOUT, Conn::new(options)).await };
        let doing = format!("connecting to {shown}");
        let Ok(connected) = runtime.block_on(connecting) else {
            let seconds = CONNECT_TIMEOUT.as_secs();
            let reason = format!(
                "{shown} did not answer within {seconds} s; is the server running? It is tried again"
            );
            return Err(RepositoryError::Transient { reason });
        };
        let connection = connected.map_err(|error| database_error(&doing, &error))?;
        Ok(Self {
            connection,
            runtime: runtime.clone(),
            is_in_transaction: false,
            is_broken: false,
            transaction_failure: None,
            waited: Duration::ZERO,
        })
    }

    /// Runs a prepared SELECT.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub(super) fn rows(
        &mut self,
        doing: &str,
        sql: &str,
        values: impl Into<Params>,
    ) -> Result<Vec<Row>, RepositoryError> {
        let values = values.into();
        let running = async { timeout(STATEMENT_TIMEOUT, self.connection.exec(sql, values)).await };
        let answer = self.runtime.block_on(running);
        self.told(doing, answer)
    }

    /// The first row of a prepared SELECT.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub(super) fn first_row(
        &mut self,
        doing: &str,
        sql: &str,
        values: impl Into<Params>,
    ) -> Result<Option<Row>, RepositoryError> {
        Ok(self.rows(doing, sql, values)?.into_iter().next())
    }

    /// Runs a prepared statement; returns how many rows it matched.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub(super) fn execute(
        &mut self,
        doing: &str,
        sql: &str,
        values: impl Into<Params>,
    ) -> Result<u64, RepositoryError> {
        let values = values.into();
        let running = async { timeout(STATEMENT_TIMEOUT, self.connection.exec_drop(sql, values)).await };
        let answer = self.runtime.block_on(running);
        self.told(doing, answer)?;
        Ok(self.connection.affected_rows())
    }

    /// Runs a statement as text: one that cannot be prepared, or is not worth it.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub(super) fn run(&mut self, doing: &str, sql: &str) -> Result<(), RepositoryError> {
        let running = async { timeout(STATEMENT_TIMEOUT, self.connection.query_drop(sql)).await };
        let answer = self.runtime.block_on(running);
        self.told(doing, answer)
    }

    /// The number given to the row that was inserted last.
    pub(super) fn last_insert_id(&self) -> i64 {
        i64::try_from(self.connection.last_insert_id().unwrap_or(0)).unwrap_or(i64::MAX)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub(super) fn begin(&mut self) -> Result<(), RepositoryError> {
        self.transaction_failure = None;
        self.waited = Duration::ZERO;
        self.run("beginning a transaction", "START TRANSACTION")?;
        self.is_in_transaction = true;
        Ok(())
    }

    /// Commits it.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database. If the connection broke ([`Session::is_broken`]), it may have been
    /// committed all the same.
    pub(super) fn commit(&mut self) -> Result<(), RepositoryError> {
        self.run("committing", "COMMIT")?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Gives the transaction up. If even that fails, the connection is closed, which has the same effect.
    pub(super) fn roll_back(&mut self) {
        if !self.is_broken && self.run("rolling back", "ROLLBACK").is_ok() {
            self.is_in_transaction = false;
        }
    }

    /// Why the transaction is lost, whatever its work returned.
    pub(super) fn transaction_failure(&self) -> Option<RepositoryError> {
        self.transaction_failure.clone()
    }

    /// Whether the connection can be used no more.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Time that the server waited for locks in vain since the transaction began.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    fn told<T>(
        &mut self,
        doing: &str,
        answer: Result<mysql_async::Result<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, RepositoryError> {
        let error = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => {
                self.is_broken |= ends_connection(&error);
                if code_of(&error) == Some(LOCK_WAIT_TIMEOUT) {
                    self.waited += LOCK_WAIT;
                }
                let told = database_error(doing, &error);
                if ends_transaction(&error) {
                    self.transaction_failure = Some(told.clone());
                }
                return Err(told);
            }
            Err(_) => format!("the database took over {} s for {doing}", STATEMENT_TIMEOUT.as_secs()),
        };
        self.is_broken = true;
        let told = RepositoryError::Transient { reason: format!("{error}; it is tried again") };
        self.transaction_failure = Some(told.clone());
        Err(told)
    }
}

/// Connections to one database, opened when first needed.
#[derive(Debug)]
pub(super) struct SessionPool {
    options: Opts,
    runtime: Handle,
    max_connections: usize,
    state: Mutex<PoolState>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    idle: Vec<Session>,
    lent: usize,
}

impl SessionPool {
    /// An empty pool.
    pub(super) fn new(settings: &MysqlSettings, runtime: &Handle) -> Self {
        let set_up = vec![
            "SET NAMES utf8mb4".to_owned(),
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
            format!(
                "SET time_zone = '+00:00', sql_mode = '{SQL_MODE}', autocommit = 1, innodb_lock_wait_timeout = {}",
                LOCK_WAIT.as_secs()
            ),
        ];
        Self {
            options: options(settings, set_up),
            runtime: runtime.clone(),
            max_connections: settings.max_connections.max(1),
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs `work` on a connection, waiting for one if all are lent.
    ///
    /// # Errors
    /// What `work` returned, or why no connection could be opened, and the time lost in vain.
    pub(super) fn lend<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, RepositoryError>,
    ) -> Result<T, (RepositoryError, Duration)> {
        let mut loan = Loan { pool: self, session: self.take() };
        let session = match loan.session.take() {
            Some(session) => session,
            None => Session::connect(self.options.clone(), &self.runtime)
                .map_err(|error| (error, Duration::ZERO))?,
        };
        let session = loan.session.insert(session);
        session.waited = Duration::ZERO;
        work(session).map_err(|error| (error, session.waited()))
    }

    /// An idle connection, or `None` for leave to open one.
    fn take(&self) -> Option<Session> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let all_lent = |state: &mut PoolState| state.lent >= self.max_connections;
        let mut state = self.returned.wait_while(state, all_lent).unwrap_or_else(PoisonError::into_inner);
        state.lent += 1;
        state.idle.pop()
    }
}

impl Drop for SessionPool {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The driver says goodbye to the server on the runtime it finds itself in.
        let _inside = self.runtime.enter();
        state.idle.clear();
    }
}

/// Gives the place back whatever happens, and the connection if it is sound.
struct Loan<'a> {
    pool: &'a SessionPool,
    session: Option<Session>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lent -= 1;
        let mut closed = Vec::new();
        if let Some(session) = self.session.take() {
            if session.is_broken {
                closed.append(&mut state.idle);
            }
            if session.is_broken || session.is_in_transaction {
                closed.push(session);
            } else {
                state.idle.push(session);
            }
        }
        drop(state);
        self.pool.returned.notify_one();
        let _inside = self.pool.runtime.enter();
        drop(closed);
    }
}

/// The driver's options for a session that begins with the statements `set_up`, the last one first.
pub(super) fn options(settings: &MysqlSettings, set_up: Vec<String>) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(settings.host.clone())
        .tcp_port(settings.port)
        .user(Some(settings.user.clone()))
        .pass(Some(settings.password.clone()).filter(|password| !password.is_empty()))
        .db_name(Some(settings.database.clone()))
        .prefer_socket(false)
        .ssl_opts(settings.tls_options())
        .tcp_keepalive(Some(TCP_KEEPALIVE))
        .stmt_cache_size(MAX_PREPARED_STATEMENTS)
        // An UPDATE counts the rows it found, also those that had the new values already.
        .client_found_rows(true)
        .setup(set_up)
        .into()
}
