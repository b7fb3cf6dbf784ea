//! `htmengine collect-garbage`: deletes rows by age, as far as no model needs them.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::CliError;
use super::log::{LogFormat, start_log};
use super::serve::stop_signal;
use crate::clock::SystemClock;
use crate::config::{ConfigArgs, Settings};
use crate::garbage::{GarbageCollector, MAX_THRESHOLD_DAYS};
use crate::repository::sqlite::OpenMode;

/// Delete rows older than so many days; the engine may be running
///
/// Rows that a model would need to be built again from its file stay, as do those of metrics that wait for data. Without
/// --once it goes on, with a pass every --interval seconds, until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct CollectGarbageArgs {
    /// Older rows go
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_THRESHOLD_DAYS)))]
    threshold_days: u32,
    /// Take one pass and end
    #[arg(long)]
    once: bool,
    /// Seconds from the end of a pass to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    interval: u32,
    /// Print JSON
    #[arg(long, requires = "once")]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &CollectGarbageArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let _ = start_log(LogFormat::Text, &settings.log_filter(), None);
    let stop = stop_signal()?;
    let repository = settings.open_repository(OpenMode::ReadWrite)?;
    let collector = GarbageCollector {
        repository: repository.shared(),
        store: settings.model_store(),
        clock: Arc::new(SystemClock::new()),
        threshold_days: args.threshold_days,
    };
    if !args.once {
        collector.run(Duration::from_secs(args.interval.into()), &stop);
        return Ok(());
    }
    let rows = collector.run_once(&stop)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({ "deleted": rows }))?;
    } else {
        writeln!(out, "{rows} rows older than {} days were deleted", args.threshold_days)?;
    }
    Ok(())
}
