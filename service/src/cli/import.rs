//! `htmengine import FILE`: monitors metrics as an export says, with its data.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::CliError;
use super::open_operations::OpenOperations;
use crate::config::{ConfigArgs, Settings};
use crate::operations::metric_json::{error_json, monitored_json};
use crate::repository::sqlite::OpenMode;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Monitor what `htmengine export` printed, one metric or a list; its data are stored first where there are none
///
/// A metric that is monitored already is left as it is. Of a list, one that is refused does not stop the others; the end
/// says how many were.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file; '-' for standard input
    file: PathBuf,
    /// Print JSON, one line a metric
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ImportArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let exports = match read(args)? {
        Value::Array(exports) => exports,
        one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            vec![one]
        }
    };
    let operations = OpenOperations::open(&settings, OpenMode::ReadWriteCreate)?;
    let mut out = io::stdout().lock();
    let (count, mut refused) = (exports.len(), Vec::new());
    for export in exports {
        match operations.import(export) {
            Ok(monitored) if args.json => writeln!(out, "{}", monitored_json(&monitored))?,
            Ok(monitored) => writeln!(out, "{} has status {}", monitored.name, monitored.status.label())?,
            Err(error) => {
                if args.json {
                    writeln!(out, "{}", error_json(&error))?;
                }
                refused.push(error);
            }
        }
    }
    match (refused.len(), refused.first()) {
        (1, Some(error)) if count == 1 => Err(CliError::new(error.to_string())),
        (number, Some(first)) => Err(CliError::new(format!(
            "{number} of {count} metrics were not imported, the first because {first}"
        ))),
        (_, None) => Ok(()),
    }
}

fn read(args: &ImportArgs) -> Result<Value, CliError> {
    let shown = args.file.display();
    let failed =
        |error: &dyn std::fmt::Display| CliError::new(format!("{shown} cannot be imported: {error}"));
    let source: Box<dyn Read> = if args.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).map_err(|error| failed(&error))?)
    };
    let mut text = Vec::new();
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(&format!("it is longer than {MAX_FILE_BYTES} bytes; import it in parts")));
    }
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}
