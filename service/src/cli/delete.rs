//! `htmengine delete NAME`: removes a metric with everything stored of it.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::{CliError, OneMetric, find_metric};
use crate::config::Settings;
use crate::monitoring;
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
    let repository = settings.open_repository(OpenMode::ReadWrite)?;
    let metric = find_metric(&*repository, &args.name)?;
    monitoring::in_transaction(&*repository, |tx| monitoring::delete(tx, &metric.uid))?;
    settings.remove_model_file(&metric.uid)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({"uid": metric.uid.as_str(), "deleted": true}))?;
    } else {
        writeln!(out, "{} and its {} samples are deleted", metric.name, metric.last_rowid)?;
    }
    Ok(())
}
