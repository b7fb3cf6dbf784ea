//! `htmengine delete NAME`: removes a metric with everything stored of it.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::open_operations::OpenOperations;
use super::{CliError, OneMetric};
use crate::config::Settings;
use crate::repository::sqlite::OpenMode;

/// Delete a metric with its samples, scores and model; a new sample makes it anew
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    metric: OneMetric,
}

pub(super) fn run(args: &DeleteArgs) -> Result<(), CliError> {
    let args = &args.metric;
    let settings = Settings::load(&args.config)?;
    let operations = OpenOperations::open(&settings, OpenMode::ReadWrite)?;
    let metric = operations.delete_metric(&args.name)?;
    settings.remove_model_file(&metric.uid)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({"uid": metric.uid.as_str(), "deleted": true}))?;
    } else {
        writeln!(out, "{} and its {} samples are deleted", metric.name, metric.last_rowid)?;
    }
    Ok(())
}
