//! What `htmengine doctor` sees of the database: whether it answers, lets us in, has our tables, and lets us write them.
//!
//! Permissions are tried, not read: statements that touch no row, one for each right on each table.

use std::fs::File;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder};

use super::Report;
use super::reach::{ANSWER_LIMIT, reach, within};
use crate::backends::{DATABASE_FILE, RepositoryChoice, open_repository, start_runtime};
use crate::config::Settings;
use crate::config::layer::Setting;
use crate::repository::mysql::MysqlSettings;
use crate::repository::sqlite::OpenMode;

/// The original's tables that are read and written.
const TABLES: [&str; 3] = ["lock", "metric", "metric_data"];
/// Our own, which may be missing.
const OUR_TABLES: [&str; 3] = ["score_progress", "reject", "change"];
/// The server's code for a right that is missing.
const TABLE_ACCESS_DENIED: u16 = 1142;

impl Report {
    pub(super) fn look_at_database(&mut self, settings: &Settings) {
        match settings.repository_choice() {
            RepositoryChoice::Sqlite => self.look_at_sqlite(settings),
            RepositoryChoice::Mysql(mysql) => {
                let shown =
                    format!("mysql://{}@{}:{}/{}", mysql.user, mysql.host, mysql.port, mysql.database);
                if let Err(found) = reach(&mysql.host, mysql.port) {
                    let said = said_by(settings.said().database_host.as_ref());
                    self.problem(
                        "database",
                        format!(
                            "{found}: start MySQL or MariaDB, or correct the database's host and port{said}"
                        ),
                    );
                } else if self.opens(settings, &shown) {
                    self.look_at_tables(mysql);
                }
            }
        }
    }

    fn look_at_sqlite(&mut self, settings: &Settings) {
        let path = settings.data_dir().join(DATABASE_FILE);
        let shown = path.display();
        if !path.exists() {
            self.good(
                "database",
                format!("the database {shown} is not there yet; it is made at the first start"),
            );
            return;
        }
        if let Err(error) = File::options().write(true).open(&path) {
            let advice = "run this as the engine's user, or mount its disk writable";
            self.problem("database", format!("the database {shown} cannot be written: {error}; {advice}"));
            return;
        }
        match settings.open_repository(OpenMode::ReadOnly) {
            Ok(_) => self.good("database", format!("the database {shown} can be used")),
            Err(error) => self.problem("database", error.to_string()),
        }
    }

    /// Whether the repository itself is content: login, database, revision, tables.
    fn opens(&mut self, settings: &Settings, shown: &str) -> bool {
        let (choice, data_dir) = (settings.repository_choice(), settings.data_dir());
        let opened = within(ANSWER_LIMIT, move || {
            let runtime = start_runtime().map_err(|error| error.to_string())?;
            let opened = open_repository(&choice, &data_dir, OpenMode::ReadWrite, runtime.handle());
            opened.map(|_| ()).map_err(|error| error.to_string())
        });
        match opened {
            Some(Ok(())) => {
                self.good("database", format!("{shown} answers, lets us in, and has the tables"));
                true
            }
            Some(Err(reason)) => {
                self.problem("database", reason);
                false
            }
            None => {
                let seconds = ANSWER_LIMIT.as_secs();
                self.problem(
                    "database",
                    format!("{shown} accepted a connection but said nothing for {seconds} s: is it MySQL or MariaDB?"),
                );
                false
            }
        }
    }

    fn look_at_tables(&mut self, mysql: MysqlSettings) {
        let answer = within(ANSWER_LIMIT, move || {
            let runtime = start_runtime().map_err(|error| error.to_string())?;
            runtime.block_on(tables_and_rights(&mysql)).map_err(|error| error.to_string())
        });
        let seen = match answer {
            Some(Ok(seen)) => seen,
            Some(Err(error)) => {
                self.problem("database", format!("its tables cannot be looked at: {error}"));
                return;
            }
            None => {
                self.problem("database", "its tables are locked: see SHOW PROCESSLIST for who holds them");
                return;
            }
        };
        if seen.missing_rights.is_empty() {
            self.good("database", "all tables may be read and written");
        }
        for (table, rights) in seen.missing_rights {
            let rights = rights.join(", ");
            self.problem(
                "database",
                format!(
                    "the user may not {rights} on table {table}: GRANT {rights} on the database to this user"
                ),
            );
        }
        for reason in seen.failures {
            self.problem("database", reason);
        }
        if !seen.missing_tables.is_empty() {
            self.warn(
                "database",
                format!(
                    "htmengine's own tables are missing ({}): everything works, but slower, and rejected samples are \
                     only counted in the log; `htmengine migrate` makes them",
                    seen.missing_tables.join(", ")
                ),
            );
        }
    }
}

/// Where a value was said, to be appended.
pub(super) fn said_by<T>(setting: Option<&Setting<T>>) -> String {
    setting.map_or_else(String::new, |it| format!(" ({})", it.layer))
}

/// What there is and what is allowed.
#[derive(Debug, Default)]
struct Seen {
    missing_tables: Vec<&'static str>,
    /// By table.
    missing_rights: Vec<(String, Vec<&'static str>)>,
    failures: Vec<String>,
}

async fn tables_and_rights(settings: &MysqlSettings) -> Result<Seen, Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname(settings.host.as_str())
        .tcp_port(settings.port)
        .user(Some(settings.user.as_str()))
        .pass(Some(settings.password.as_str()))
        .db_name(Some(settings.database.as_str()))
        .ssl_opts(settings.tls_options())
        .prefer_socket(false);
    let mut connection = Conn::new(options).await?;
    let columns: Vec<(String, String)> = connection
        .query(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND ORDINAL_POSITION = 1",
        )
        .await?;
    let mut seen = Seen::default();
    for table in OUR_TABLES {
        if !columns.iter().any(|(name, _)| name == table) {
            seen.missing_tables.push(table);
        }
    }
    for (table, column) in &columns {
        if !TABLES.contains(&table.as_str()) && !OUR_TABLES.contains(&table.as_str()) {
            continue;
        }
        let mut missing = Vec::new();
        for (right, statement) in [
            ("SELECT", format!("SELECT 1 FROM `{table}` WHERE 1 = 0")),
            ("INSERT", format!("INSERT INTO `{table}` SELECT * FROM `{table}` WHERE 1 = 0")),
            ("UPDATE", format!("UPDATE `{table}` SET `{column}` = `{column}` WHERE 1 = 0")),
            ("DELETE", format!("DELETE FROM `{table}` WHERE 1 = 0")),
        ] {
            match connection.query_drop(statement).await {
                Ok(()) => {}
                Err(Error::Server(error)) if error.code == TABLE_ACCESS_DENIED => missing.push(right),
                Err(Error::Server(error)) => {
                    seen.failures.push(format!("{right} on table {table} fails: {}", error.message));
                }
                Err(error) => return Err(error),
            }
        }
        if !missing.is_empty() {
            seen.missing_rights.push((table.clone(), missing));
        }
    }
    connection.disconnect().await?;
    Ok(seen)
}
