//! `htmengine signals NAME`: what is wrong with a metric that needs no model to see.

use std::io::{self, Write};

use clap::Args;

use super::open_operations::OpenOperations;
use super::output::{time_text, write_table};
use super::{CliError, OneMetric};
use crate::config::Settings;
use crate::repository::sqlite::OpenMode;
use crate::signals::SignalState;

/// Show what is wrong with a metric that needs no model to see
///
/// `no_data`: three usual intervals have passed without a sample. `flat_line`: 36 equal values and more, over twice as many as
/// ever in a row. `out_of_range`: the newest value lies outside the model's range. `saturated_encoder`: it lies beyond the
/// last bucket of the model's encoder, which cannot tell it from others there.
#[derive(Debug, Args)]
pub(super) struct SignalsArgs {
    #[command(flatten)]
    metric: OneMetric,
}

pub(super) fn run(args: &SignalsArgs) -> Result<(), CliError> {
    let args = &args.metric;
    let settings = Settings::load(&args.config)?;
    let operations = OpenOperations::open(&settings, OpenMode::ReadOnly)?;
    let signals = operations.signals(&args.name)?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &signals)?;
        writeln!(out)?;
        return Ok(());
    }
    let cells: Vec<Vec<String>> = signals
        .iter()
        .map(|signal| {
            let (state, since) = match signal.state {
                SignalState::Off => ("off", "-".to_owned()),
                SignalState::On { since } => ("on", time_text(since)),
                SignalState::Unknown => ("unknown", "-".to_owned()),
            };
            vec![signal.name.as_str().to_owned(), state.to_owned(), since]
        })
        .collect();
    Ok(write_table(&mut out, &["SIGNAL", "STATE", "SINCE (UTC)"], &cells)?)
}
