//! `htmengine monitor NAME`: starts a model for a metric.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::{CliError, RangeArgs};
use crate::config::{ConfigArgs, Settings};
use crate::monitoring::{self, MODEL_CREATION_ROWS, SystemRandom};
use crate::repository::metric::MetricStatus;
use crate::repository::sqlite::OpenMode;
use crate::sample::canonical_name;

/// Start a model for a metric; the metric is made if there is none
///
/// With --min and --max the model starts at once over that range. Without, the range is that of the rows stored so
/// far, or of the first 288 rows once there are so many. All rows stored so far are scored too. A metric that waits for
/// its range to be estimated can be given one.
#[derive(Debug, Args)]
pub(super) struct MonitorArgs {
    /// The metric
    name: String,
    #[command(flatten)]
    range: RangeArgs,
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
    let settings = Settings::load(&args.config)?;
    let repository = settings.open_repository(OpenMode::ReadWriteCreate)?;
    let random = SystemRandom::open()
        .map_err(|error| CliError::new(format!("/dev/urandom cannot be read: {error}")))?;
    let (uid, status) = monitoring::in_transaction(&*repository, |tx| {
        let metric = monitoring::create_metric(tx, &name, &random)?;
        // Metrics that are monitored by themselves wait for data first; a declared range ends the waiting.
        let is_waiting = metric.status == MetricStatus::PendingData && spec.range.is_some();
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
