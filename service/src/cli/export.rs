//! `htmengine export NAME`: a model's specification with its recent data, as JSON.

use std::io::{self, Write};

use clap::Args;
use serde_json::Value;

use super::CliError;
use super::open_operations::OpenOperations;
use crate::config::{ConfigArgs, Settings};
use crate::operations::listing::MONITORED;
use crate::repository::sqlite::OpenMode;

/// Print the specification of a metric's model with the data of the last 14 days, for `htmengine import`
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The metric
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<String>,
    /// Every monitored metric, as a list
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let operations = OpenOperations::open(&settings, OpenMode::ReadOnly)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if let Some(name) = &args.name {
        writeln!(out, "{}", operations.export_model(name)?)?;
        return Ok(out.flush()?);
    }
    // One by one: all of them together may be much.
    write!(out, "[")?;
    for (index, metric) in operations.repository().metrics(&MONITORED)?.iter().enumerate() {
        let exported: Value = operations.export(metric)?;
        write!(out, "{}{exported}", if index == 0 { "\n" } else { ",\n" })?;
    }
    writeln!(out, "\n]")?;
    Ok(out.flush()?)
}
