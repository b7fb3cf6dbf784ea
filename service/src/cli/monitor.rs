//! `htmengine monitor NAME`: starts a model for a metric.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::{CliError, DataDir};
use crate::model_params::ModelSpec;
use crate::monitoring::{self, MODEL_CREATION_ROWS, SystemRandom};
use crate::repository::metric::MetricStatus;
use crate::repository::sqlite::OpenMode;
use crate::sample::canonical_name;

/// Start a model for a metric; the metric is made if there is none
///
/// With --min and --max the model starts at once over that range. Without, the range is that of the rows stored so
/// far, or of the first 288 rows once there are so many. All rows stored so far are scored too.
#[derive(Debug, Args)]
pub(super) struct MonitorArgs {
    /// The metric
    name: String,
    /// Smallest value to expect
    #[arg(long, allow_negative_numbers = true, value_name = "X")]
    min: Option<f64>,
    /// Largest value to expect
    #[arg(long, allow_negative_numbers = true, value_name = "Y")]
    max: Option<f64>,
    /// Differences below this do not matter [default: 0.001]
    #[arg(long, value_name = "R")]
    min_resolution: Option<f64>,
    /// Group the metric under this name instead of its own
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data_dir: DataDir,
}

pub(super) fn run(args: &MonitorArgs) -> Result<(), CliError> {
    let name = canonical_name(&args.name)
        .map_err(|reason| CliError::new(format!("'{}' is no metric name: {}", args.name, reason.advice())))?;
    let mut spec = ModelSpec::for_metric(&name);
    spec.range = ModelSpec::range_of(args.min, args.max)?;
    spec.min_resolution = args.min_resolution;
    spec.resource.clone_from(&args.resource);
    spec.validate()?;
    let repository = args.data_dir.open(OpenMode::ReadWriteCreate)?;
    let random =
        SystemRandom::open().map_err(|error| CliError::new(format!("/dev/urandom cannot be read: {error}")))?;
    let (uid, status) = monitoring::in_transaction(&repository, |tx| {
        let metric = monitoring::create_metric(tx, &name, &random)?;
        let status = monitoring::monitor(tx, &metric, &spec, &random)?;
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
