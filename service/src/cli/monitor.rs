//! `htmengine monitor NAME`: starts a model for a metric.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use htm_core::ids::ModelId;
use serde_json::{Map, Value, json};

use super::open_operations::OpenOperations;
use super::{CliError, RangeArgs};
use crate::config::{ConfigArgs, Settings};
use crate::model_params::{DEFAULT_LEARNING_ROWS, MAX_SPEC_BYTES};
use crate::operations::Monitored;
use crate::repository::metric::MetricStatus;
use crate::repository::sqlite::OpenMode;

/// Start a model for a metric; the metric is made if there is none
///
/// With --min and --max the model starts at once over that range. Without, the range is that of the rows stored so
/// far, or of the first 288 rows once there are so many. All rows stored so far are scored too. A metric that waits for
/// its range to be estimated can be given one. With --params every parameter of the model is given, and it starts at
/// once.
#[derive(Debug, Args)]
pub(super) struct MonitorArgs {
    /// The metric, by name or id
    #[arg(required_unless_present = "spec")]
    name: Option<String>,
    #[command(flatten)]
    range: RangeArgs,
    /// Without --min and --max: learn the range from so many rows instead of 288
    #[arg(long, value_name = "N", conflicts_with_all = ["min", "max"])]
    learning_rows: Option<u32>,
    /// Also predict the next value
    #[arg(long)]
    enable_classifier: bool,
    /// Take all parameters of the model from this JSON file: an object as `completeModelParams` of a model specification
    #[arg(long, value_name = "FILE", conflicts_with_all = ["min", "max", "min_resolution", "learning_rows", "enable_classifier"])]
    params: Option<PathBuf>,
    /// Take everything from this model specification (JSON), which also names the metric
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "min", "max", "min_resolution", "learning_rows", "resource", "enable_classifier", "params"])]
    spec: Option<PathBuf>,
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
    let settings = Settings::load(&args.config)?;
    let Monitored { uid, name, status } = match (&args.spec, &args.name) {
        (Some(file), _) => {
            let spec = read_spec(file)?;
            OpenOperations::open(&settings, OpenMode::ReadWriteCreate)?.monitor_metric(&spec)?
        }
        (None, name) => {
            let name = name.as_deref().unwrap_or_default();
            // Judged before anything is opened or made.
            let mut spec = args.range.spec(name)?;
            spec.resource.clone_from(&args.resource);
            spec.enable_classifier = args.enable_classifier;
            spec.learning_rows = args.learning_rows;
            spec.validate()?;
            if let Some(path) = &args.params {
                spec.complete_model_params = Some(read_params(path)?);
                let refused = |error| CliError::new(format!("{} cannot be used: {error}", path.display()));
                spec.validate().map_err(refused)?;
            }
            let operations = OpenOperations::open(&settings, OpenMode::ReadWriteCreate)?;
            let uid = ModelId::new(name).filter(|_| is_only_an_id(&operations, name));
            operations.monitor(uid.as_ref(), spec)?
        }
    };
    let mut out = io::stdout().lock();
    if args.json {
        let answer = json!({"uid": uid.as_str(), "status": status.label(), "status_code": status.code()});
        writeln!(out, "{answer}")?;
    } else if status == MetricStatus::PendingData {
        let rows = args.learning_rows.unwrap_or(DEFAULT_LEARNING_ROWS);
        writeln!(out, "{name} is monitored; its model starts with row {rows}")?;
    } else {
        writeln!(out, "{name} is monitored; a running engine starts its model now")?;
    }
    Ok(())
}

/// An object from a file.
fn read_params(path: &Path) -> Result<Map<String, Value>, CliError> {
    let object = serde_json::from_str(&read_spec(path)?);
    object.map_err(|error| {
        CliError::new(format!("{} is no JSON object of parameters: {error}", path.display()))
    })
}

/// Whether no metric has this name, but one has it as its id.
fn is_only_an_id(operations: &OpenOperations, name: &str) -> bool {
    operations.metric(name).is_ok_and(|metric| metric.name != name && metric.uid.as_str() == name)
}

fn read_spec(path: &Path) -> Result<String, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::new(format!("{} cannot be read: {error}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(MAX_SPEC_BYTES as u64 + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if text.len() > MAX_SPEC_BYTES {
        return Err(failed(&format!("it is longer than {MAX_SPEC_BYTES} bytes")));
    }
    Ok(text)
}
