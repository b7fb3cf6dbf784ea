//! `htmengine verify`: whether model files are whole, undamaged and consistent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use htm_core::format::mapping::{BufferPool, Region};
use htm_core::format::verify;
use htm_core::model::template::Templates;
use serde_json::json;

use super::CliError;

/// Name ending of model files.
const MODEL_EXTENSION: &str = "model";

/// Check model files: checksums, and every invariant of the model inside
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A model file, or a folder that is searched for them
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,
    /// Also name the files that are right
    #[arg(long, short)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found, file by file.
#[derive(Debug, Default)]
struct Report {
    right: u64,
    right_bytes: u64,
    wrong: Vec<(PathBuf, String)>,
}

pub(super) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let unreadable =
        |error: io::Error| CliError::new(format!("{} cannot be read: {error}", args.path.display()));
    let mut paths = Vec::new();
    if fs::metadata(&args.path).map_err(unreadable)?.is_dir() {
        collect(&args.path, &mut paths).map_err(unreadable)?;
        paths.sort();
    } else {
        paths.push(args.path.clone());
    }
    let mut out = io::stdout().lock();
    let mut report = Report::default();
    let (templates, pool) = (Templates::new(), BufferPool::new());
    for path in paths {
        let checked = File::open(&path)
            .and_then(|file| Region::read(&file, &pool))
            .map_err(|error| error.to_string())
            .and_then(|region| {
                let size = region.bytes().len() as u64;
                verify::file(region, &templates).map(|model| (size, model)).map_err(|error| error.to_string())
            });
        match checked {
            Ok((size, model)) => {
                report.right += 1;
                report.right_bytes += size;
                if args.verbose && !args.json {
                    let row = model.last_stepped_row_id();
                    writeln!(out, "{}: right, {size} bytes, stands at row {row}", path.display())?;
                }
            }
            Err(reason) => {
                if !args.json {
                    writeln!(out, "{}: WRONG: {reason}", path.display())?;
                }
                report.wrong.push((path, reason));
            }
        }
    }
    write_report(&mut out, &report, args.json)?;
    if report.wrong.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!(
        "{} of {} model files cannot be used; the engine puts such files aside and builds the models again from \
         their rows, so nothing is lost (`htmengine rebuild NAME` does it at once)",
        report.wrong.len(),
        report.wrong.len() as u64 + report.right
    )))
}

fn write_report(out: &mut dyn Write, report: &Report, is_json: bool) -> Result<(), CliError> {
    if is_json {
        let wrong: Vec<_> = report
            .wrong
            .iter()
            .map(|(path, reason)| json!({ "file": path.display().to_string(), "reason": reason }))
            .collect();
        let all = json!({ "right": report.right, "right_bytes": report.right_bytes, "wrong": wrong });
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{} model files are right ({} bytes)", report.right, report.right_bytes)?;
    }
    Ok(())
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?;
        if kind.is_dir() {
            collect(&path, paths)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == MODEL_EXTENSION) {
            paths.push(path);
        }
    }
    Ok(())
}
