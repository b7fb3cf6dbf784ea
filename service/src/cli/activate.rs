//! `htmengine activate NAME`: starts the model of a metric that waits for rows.

use std::io::{self, Write};

use clap::Args;

use super::open_operations::OpenOperations;
use super::{CliError, OneMetric};
use crate::config::Settings;
use crate::operations::metric_json::monitored_json;
use crate::repository::sqlite::OpenMode;

/// Start the model of a metric that waits for data, over the range of the rows it has
#[derive(Debug, Args)]
pub(super) struct ActivateArgs {
    #[command(flatten)]
    metric: OneMetric,
}

pub(super) fn run(args: &ActivateArgs) -> Result<(), CliError> {
    let args = &args.metric;
    let settings = Settings::load(&args.config)?;
    let operations = OpenOperations::open(&settings, OpenMode::ReadWrite)?;
    let monitored = operations.activate_model(&args.name)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", monitored_json(&monitored))?;
    } else {
        writeln!(out, "{} has status {}", monitored.name, monitored.status.label())?;
    }
    Ok(())
}
