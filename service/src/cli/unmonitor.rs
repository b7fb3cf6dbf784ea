//! `htmengine unmonitor NAME`: gives up the model of a metric, keeps its samples.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::open_operations::OpenOperations;
use super::{CliError, OneMetric};
use crate::config::Settings;
use crate::repository::sqlite::OpenMode;

/// Stop the model of a metric: its scores are cleared, its samples stay
#[derive(Debug, Args)]
pub(super) struct UnmonitorArgs {
    #[command(flatten)]
    metric: OneMetric,
}

pub(super) fn run(args: &UnmonitorArgs) -> Result<(), CliError> {
    let args = &args.metric;
    let settings = Settings::load(&args.config)?;
    let operations = OpenOperations::open(&settings, OpenMode::ReadWrite)?;
    let metric = operations.unmonitor_metric(&args.name)?;
    settings.remove_model_file(&metric.uid)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({"uid": metric.uid.as_str(), "status": "unmonitored"}))?;
    } else {
        writeln!(out, "{} is no longer monitored; its {} samples are kept", metric.name, metric.last_rowid)?;
    }
    Ok(())
}
