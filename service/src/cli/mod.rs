//! The command line: one file per verb.
//!
//! Results go to standard output, everything else to standard error. A reader that stops reading (`| head`) is no
//! error.

mod activate;
mod alert;
mod alerts;
mod backup;
mod checkpoint;
mod collect_garbage;
mod config;
mod create;
mod data;
mod delete;
mod demo;
mod doctor;
mod evaluate;
mod export;
mod import;
mod inspect;
mod instances;
mod key;
mod log;
mod metrics;
mod migrate;
mod monitor;
mod nab;
mod open_operations;
mod output;
mod queue_depths;
mod rebuild;
mod reload;
mod replay;
mod restore;
mod roles;
mod serve;
mod signals;
mod status;
mod traffic_demo;
mod unmonitor;
mod verify;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use htm_core::isa::Isa;

use crate::config::ConfigArgs;
use crate::model_params::ModelSpec;
use crate::operations::{self, OperationError};
use crate::repository::Repository;
use crate::repository::metric::Metric;

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
    #[command(alias = "metric_listener")]
    Listener(roles::ListenerArgs),
    #[command(alias = "metric_storer")]
    Storer(roles::StorerArgs),
    #[command(aliases = ["model_scheduler", "model_scheduler_service", "model_runner"])]
    Scheduler(roles::SchedulerArgs),
    #[command(alias = "anomaly_service")]
    Anomaly(roles::AnomalyArgs),
    Results(roles::ResultsArgs),
    Http(roles::HttpArgs),
    Demo(demo::DemoArgs),
    Replay(replay::ReplayArgs),
    Nab(nab::NabArgs),
    Evaluate(evaluate::EvaluateArgs),
    Metrics(metrics::MetricsArgs),
    Data(data::DataArgs),
    Signals(signals::SignalsArgs),
    Alerts(alerts::AlertsArgs),
    Alert(alert::AlertVerbArgs),
    Monitor(monitor::MonitorArgs),
    Unmonitor(unmonitor::UnmonitorArgs),
    Delete(delete::DeleteArgs),
    Create(create::CreateArgs),
    Activate(activate::ActivateArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Instances(instances::InstancesArgs),
    CollectGarbage(collect_garbage::CollectGarbageArgs),
    Status(status::StatusArgs),
    Checkpoint(checkpoint::CheckpointArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Rebuild(rebuild::RebuildArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Doctor(doctor::DoctorArgs),
    Config(config::ConfigVerbArgs),
    Key(key::KeyVerbArgs),
    Migrate(migrate::MigrateArgs),
    QueueDepths(queue_depths::QueueDepthsArgs),
}

/// The values a metric is expected to take.
#[derive(Debug, Args)]
struct RangeArgs {
    /// Smallest value to expect
    #[arg(long, allow_negative_numbers = true, value_name = "X")]
    min: Option<f64>,
    /// Largest value to expect
    #[arg(long, allow_negative_numbers = true, value_name = "Y")]
    max: Option<f64>,
    /// Differences below this do not matter [default: 0.001]
    #[arg(long, value_name = "R")]
    min_resolution: Option<f64>,
}

impl RangeArgs {
    /// As the specification of a model of this metric.
    fn spec(&self, metric_name: &str) -> Result<ModelSpec, CliError> {
        let spec = ModelSpec {
            range: ModelSpec::range_of(self.min, self.max)?,
            min_resolution: self.min_resolution,
            ..ModelSpec::for_metric(metric_name)
        };
        spec.validate()?;
        Ok(spec)
    }
}

/// One existing metric of an engine.
#[derive(Debug, Args)]
struct OneMetric {
    /// The metric, by name or id
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = Isa::from_env().map_err(CliError::from).and_then(|_| run(cli.verb));
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

fn run(verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Listener(args) => roles::listen(&args),
        Verb::Storer(args) => roles::store(&args),
        Verb::Scheduler(args) => roles::schedule(&args),
        Verb::Anomaly(args) => roles::complete(&args),
        Verb::Results(args) => roles::serve_results(&args),
        Verb::Http(args) => roles::serve_http(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Nab(args) => nab::run(&args),
        Verb::Evaluate(args) => evaluate::run(&args),
        Verb::Metrics(args) => metrics::run(&args),
        Verb::Data(args) => data::run(&args),
        Verb::Signals(args) => signals::run(&args),
        Verb::Alerts(args) => alerts::run(&args),
        Verb::Alert(args) => alert::run(&args),
        Verb::Monitor(args) => monitor::run(&args),
        Verb::Unmonitor(args) => unmonitor::run(&args),
        Verb::Delete(args) => delete::run(&args),
        Verb::Create(args) => create::run(&args),
        Verb::Activate(args) => activate::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Instances(args) => instances::run(&args),
        Verb::CollectGarbage(args) => collect_garbage::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Checkpoint(args) => checkpoint::run(&args),
        Verb::Backup(args) => backup::run(&args),
        Verb::Restore(args) => restore::run(&args),
        Verb::Rebuild(args) => rebuild::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Config(args) => config::run(&args),
        Verb::Key(args) => key::run(&args),
        Verb::Migrate(args) => migrate::run(&args),
        Verb::QueueDepths(args) => queue_depths::run(&args),
    }
}

/// The metric with this id or, if there is none, with this name.
fn find_metric(repository: &dyn Repository, name: &str) -> Result<Metric, CliError> {
    operations::find_metric(repository, name)?.ok_or_else(|| {
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

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        // Written straight to the output, it fails when the output does: a reader may be gone here, too.
        Self::from(io::Error::from(error))
    }
}

impl From<OperationError> for CliError {
    fn from(error: OperationError) -> Self {
        let advice = if matches!(error, OperationError::ObjectNotFound { .. }) {
            "; `htmengine metrics` lists those there are, and a metric appears with its first sample"
        } else {
            ""
        };
        Self::new(format!("{error}{advice}"))
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
    crate::backup::BackupError,
    crate::benchmark::BenchmarkError,
    crate::repository::RepositoryError,
    crate::engine::EngineError,
    crate::config::ConfigError,
    crate::monitoring::MonitorError,
    crate::model_params::SpecError,
    crate::timestamp::TimeError,
    htm_core::params::ParamsError,
    htm_core::isa::IsaError,
    crate::scheduler::model_store::SaveError,
);
