//! The command line: one file per verb.
//!
//! Results go to standard output, everything else to standard error. A reader that stops reading (`| head`) is no
//! error.

mod data;
mod delete;
mod demo;
mod metrics;
mod monitor;
mod output;
mod replay;
mod serve;
mod unmonitor;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::DEFAULT_DATA_DIR;
use crate::engine::DATABASE_FILE;
use crate::repository::metric::Metric;
use crate::repository::sqlite::{OpenMode, SqliteRepository};
use crate::repository::Repository;

pub use self::demo::EXPECTED_SCORES_HASH;

/// Watches many metrics for anomalies.
///
/// Send samples as Graphite lines (`name value unix_seconds`) to TCP or UDP port 2003. Every metric gets a model
/// that learns what is normal for it, and every sample a score: 0 is normal, above 0.99999 is worth waking up for.
#[derive(Debug, Parser)]
#[command(name = "htmengine", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Replay(replay::ReplayArgs),
    Metrics(metrics::MetricsArgs),
    Data(data::DataArgs),
    Monitor(monitor::MonitorArgs),
    Unmonitor(unmonitor::UnmonitorArgs),
    Delete(delete::DeleteArgs),
}

/// Which engine's data to look at.
#[derive(Debug, Args)]
struct DataDir {
    /// The engine's data folder; the engine may be running
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
}

impl DataDir {
    fn open(&self, mode: OpenMode) -> Result<SqliteRepository, CliError> {
        Ok(SqliteRepository::open(&self.data_dir.join(DATABASE_FILE), mode)?)
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Metrics(args) => metrics::run(&args),
        Verb::Data(args) => data::run(&args),
        Verb::Monitor(args) => monitor::run(&args),
        Verb::Unmonitor(args) => unmonitor::run(&args),
        Verb::Delete(args) => delete::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_reader_gone => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed too; there is nowhere left to say so.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The metric with this name.
fn find_metric(repository: &dyn Repository, name: &str) -> Result<Metric, CliError> {
    let canonical = crate::sample::canonical_name(name).map_or_else(|_| name.to_owned(), Into::into);
    let metric = repository.metric_by_name(&canonical)?;
    metric.ok_or_else(|| {
        CliError::new(format!(
            "there is no metric named '{name}'; `htmengine metrics` lists those there are, and a metric appears with \
             its first sample"
        ))
    })
}

/// Why a verb failed: found, expected, what to do.
#[derive(Debug)]
struct CliError {
    reason: String,
    /// Whoever read our output stopped reading.
    is_reader_gone: bool,
}

impl CliError {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_reader_gone: false }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let is_reader_gone = error.kind() == io::ErrorKind::BrokenPipe;
        Self { reason: format!("writing the output failed: {error}"), is_reader_gone }
    }
}

macro_rules! from_error {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })+
    };
}

from_error!(
    crate::repository::RepositoryError,
    crate::engine::EngineError,
    crate::config::ConfigError,
    crate::monitoring::MonitorError,
    crate::model_params::SpecError,
    crate::timestamp::TimeError,
    htm_core::params::ParamsError,
    serde_json::Error,
);
