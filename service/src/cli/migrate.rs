//! `htmengine migrate`: the tables of a MySQL or MariaDB database, made or brought up.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use super::CliError;
use crate::backends::{RepositoryChoice, start_runtime};
use crate::config::{ConfigArgs, Settings};
use crate::repository::mysql::MysqlSettings;
use crate::repository::mysql::migration::{MigrationTarget, migrate, offline_sql};

/// Make the tables of a MySQL or MariaDB database, or bring those of the original htmengine up; SQLite needs none of it
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only print the SQL that makes the tables in an empty database
    #[arg(long)]
    offline: bool,
    /// How far: the original's newest revision, or that with htmengine's own tables
    #[arg(long, value_enum, default_value_t = Target::Head)]
    to: Target,
}

/// Names of [`MigrationTarget`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The original's newest revision
    Original,
    /// With htmengine's own tables
    Head,
}

impl From<Target> for MigrationTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Original => Self::Original,
            Target::Head => Self::Head,
        }
    }
}

pub(super) fn run(args: &MigrateArgs) -> Result<(), CliError> {
    if args.offline {
        io::stdout().lock().write_all(offline_sql(args.to.into()).as_bytes())?;
        return Ok(());
    }
    match Settings::load(&args.config)?.repository_choice() {
        RepositoryChoice::Mysql(settings) => migrate_database(&settings, args.to.into()),
        RepositoryChoice::Sqlite => Err(CliError::new(
            "no MySQL database is named; expected --database mysql://user:password@host:port/database, or a \
             configuration that has one. An SQLite file needs no `migrate`: the engine brings it up when it starts",
        )),
    }
}

/// Migrates and tells what was done.
fn migrate_database(settings: &MysqlSettings, target: MigrationTarget) -> Result<(), CliError> {
    let runtime =
        start_runtime().map_err(|error| CliError::new(format!("threads cannot be started: {error}")))?;
    let done = migrate(settings, target, runtime.handle())?;
    let mut out = io::stdout().lock();
    for what in &done {
        writeln!(out, "done: {what}")?;
    }
    if done.is_empty() {
        writeln!(out, "nothing to do: the tables are there")?;
    }
    Ok(())
}
