//! `htmengine instances`: monitored metrics grouped by server.

use std::io::{self, Write};

use clap::Args;

use super::CliError;
use super::open_operations::OpenOperations;
use super::output::write_table;
use crate::config::{ConfigArgs, Settings};
use crate::operations::listing::MONITORED;
use crate::repository::sqlite::OpenMode;

/// List servers ("resources") with the statuses of their monitored metrics
#[derive(Debug, Args)]
pub(super) struct InstancesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &InstancesArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let instances = OpenOperations::open(&settings, OpenMode::ReadOnly)?.instances()?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &instances)?;
        return Ok(writeln!(out)?);
    }
    if instances.is_empty() {
        return Ok(writeln!(out, "nothing is monitored")?);
    }
    let rows: Vec<Vec<String>> = instances
        .into_iter()
        .map(|instance| {
            let message = instance.message.unwrap_or_default().replace('\n', "; ");
            vec![instance.server, statuses(instance.status), message]
        })
        .collect();
    Ok(write_table(&mut out, &["SERVER", "STATUSES", "NOTE"], &rows)?)
}

/// The words of or-ed statuses.
fn statuses(code: i64) -> String {
    let labels: Vec<&str> =
        MONITORED.iter().filter(|status| code & status.code() != 0).map(|status| status.label()).collect();
    labels.join(", ")
}
