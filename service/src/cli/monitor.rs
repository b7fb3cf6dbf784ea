//! `htmengine monitor NAME`: starts a model for a metric.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{CliError, RangeArgs};
use crate::config::{ConfigArgs, Settings};
use crate::model_params::MAX_SPEC_BYTES;
use crate::monitoring::{self, MODEL_CREATION_ROWS, SystemRandom};
use crate::repository::metric::MetricStatus;
use crate::repository::sqlite::OpenMode;
use crate::sample::canonical_name;

/// Start a model for a metric; the metric is made if there is none
///
/// With --min and --max the model starts at once over that range. Without, the range is that of the rows stored so
/// far, or of the first 288 rows once there are so many. All rows stored so far are scored too. A metric that waits for
/// its range to be estimated can be given one. With --params every parameter of the model is given, and it starts at
/// once.
#[derive(Debug, Args)]
pub(super) struct MonitorArgs {
    /// The metric
    name: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Also predict the next value
    #[arg(long)]
    enable_classifier: bool,
    /// Take all parameters of the model from this JSON file: an object as `completeModelParams` of a model specification
    #[arg(long, value_name = "FILE", conflicts_with_all = ["min", "max", "min_resolution", "enable_classifier"])]
    params: Option<PathBuf>,
    /// Group the metric under this name instead of its own
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &MonitorArgs) -> Result<(), CliError> {
    let name = canonical_name(&args.name)
        .map_err(|reason| CliError::new(format!("'{}' is no metric name: {}", args.name, reason.advice())))?;
    let mut spec = args.range.spec(&name)?;
    spec.resource.clone_from(&args.resource);
    spec.enable_classifier = args.enable_classifier;
    if let Some(path) = &args.params {
        spec.complete_model_params = Some(read_params(path)?);
        let refused = |error| CliError::new(format!("{} cannot be used: {error}", path.display()));
        spec.validate().map_err(refused)?;
    }
    let settings = Settings::load(&args.config)?;
    let repository = settings.open_repository(OpenMode::ReadWriteCreate)?;
    let random = SystemRandom::open()
        .map_err(|error| CliError::new(format!("/dev/urandom cannot be read: {error}")))?;
    let (uid, status) = monitoring::in_transaction(&*repository, |tx| {
        let metric = monitoring::create_metric(tx, &name, &random)?;
        // Metrics that are monitored by themselves wait for data first; a declared range ends the waiting.
        let is_declared = spec.range.is_some() || spec.complete_model_params.is_some();
        let is_waiting = metric.status == MetricStatus::PendingData && is_declared;
        let ask = if is_waiting { monitoring::declare_range } else { monitoring::monitor };
        let status = ask(tx, &metric, &spec, &random)?;
        Ok((metric.uid, status))
    })?;
    let mut out = io::stdout().lock();
    if args.json {
        let answer = json!({"uid": uid.as_str(), "status": status.label(), "status_code": status.code()});
        writeln!(out, "{answer}")?;
    } else if status == MetricStatus::PendingData {
        writeln!(out, "{name} is monitored; its model starts with row {MODEL_CREATION_ROWS}")?;
    } else {
        writeln!(out, "{name} is monitored; a running engine starts its model now")?;
    }
    Ok(())
}

/// An object from a file of at most [`MAX_SPEC_BYTES`].
fn read_params(path: &Path) -> Result<Map<String, Value>, CliError> {
    let shown = path.display();
    let unreadable = |error: io::Error| CliError::new(format!("{shown} cannot be read: {error}"));
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_SPEC_BYTES as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() > MAX_SPEC_BYTES {
        return Err(CliError::new(format!("{shown} is too large; expected at most {MAX_SPEC_BYTES} bytes")));
    }
    let object = serde_json::from_str(&text);
    object.map_err(|error| CliError::new(format!("{shown} is no JSON object of parameters: {error}")))
}
