//! `htmengine create NAME`: makes a metric without a model.

use std::io::{self, Write};

use clap::Args;

use super::CliError;
use super::open_operations::OpenOperations;
use crate::config::{ConfigArgs, Settings};
use crate::operations::metric_json::metric_json;
use crate::repository::sqlite::OpenMode;

/// Make a metric that is not monitored; its first sample would make it too
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The metric
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &CreateArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let operations = OpenOperations::open(&settings, OpenMode::ReadWriteCreate)?;
    let metric = operations.create_metric(&args.name)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", metric_json(&metric))?;
    } else {
        writeln!(out, "{} is made with id {}", metric.name, metric.uid)?;
    }
    Ok(())
}
