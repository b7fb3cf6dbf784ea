//! `htmengine replay FILE`: a file of samples through the same core as the engine, and out as scores.
//!
//! `--stages` prints every stage of every record as hashes, in the layout of our recordings of NuPIC 1.0.5, so that
//! anyone can find the first stage in which another implementation differs.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use htm_core::anomaly::likelihood::log_likelihood;
use htm_core::anomaly::nab_likelihood::NabLikelihood;
use htm_core::encoder::Record;
use htm_core::float_text::repr;
use htm_core::ids::RowId;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::model::{Model, Scores};
use htm_core::params::{MemoryParams, ModelParams, ValueRange, standard_plain_memory};
use htm_core::trace::{STAGE_HEADING, Stages, stage_row};

use super::output::progress_bar;
use super::{CliError, RangeArgs};
use crate::timestamp::parse_time;

/// Rows of a file at most; 100 years of 5-minute samples are a tenth of it.
const MAX_ROWS: usize = 100_000_000;
/// Bad rows reported one by one; the rest is only counted.
const MAX_REPORTED_ROWS: usize = 10;

/// Score a file of samples, exactly as the engine would
///
/// The file has a heading and rows of `timestamp,value`; further columns are ignored. Without --min and --max the range
/// is the file's own, widened by 20 % on each side, as the Numenta Anomaly Benchmark does. Written are, for each row,
/// timestamp and value, the raw anomaly score, the likelihood and its logarithm (by NuPIC's class with the benchmark's
/// parameters), and the anomaly score (by htmengine's procedure).
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// CSV file with a heading and rows of timestamp,value
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
    /// Which temporal memory
    #[arg(long, value_enum, default_value_t = MemoryKind::Cpp)]
    temporal_memory: MemoryKind,
    /// Print hashes of every stage instead of scores
    #[arg(long)]
    stages: bool,
    /// Write here instead of to standard output
    #[arg(long, value_name = "OUT.csv")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MemoryKind {
    /// NuPIC's backtracking temporal memory, which htmengine uses
    Cpp,
    /// NuPIC's plain temporal memory
    #[value(name = "tm_cpp")]
    TmCpp,
}

/// One usable row of the file.
struct Row {
    timestamp: String,
    record: Record,
}

pub(super) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    let rows = read_rows(&args.file)?;
    let spec = args.range.spec("replay")?;
    let range = match spec.range {
        Some(range) => range,
        None => range_of(&rows)?,
    };
    let params = ModelParams::single_metric(range.resolution(spec.min_resolution))?;
    let params = match args.temporal_memory {
        MemoryKind::Cpp => params,
        MemoryKind::TmCpp => params.with_memory(MemoryParams::Plain(standard_plain_memory()))?,
    };
    let mut out: Box<dyn Write> = match &args.out {
        None => Box::new(BufWriter::new(io::stdout().lock())),
        Some(path) => Box::new(BufWriter::new(
            File::create(path)
                .map_err(|error| CliError::new(format!("{} cannot be written: {error}", path.display())))?,
        )),
    };
    // Progress beside output on the same terminal would only garble it.
    let is_shown = args.out.is_some() || !io::stdout().is_terminal();
    let model = Model::new(Arc::new(params), &Templates::new());
    replay(model, &rows, args.stages, is_shown, &mut *out)?;
    out.flush()?;
    Ok(())
}

fn replay(
    mut model: Model,
    rows: &[Row],
    stages: bool,
    is_shown: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let mut workspace = Workspace::new();
    if stages {
        workspace = workspace.with_confidence();
        writeln!(out, "{STAGE_HEADING}")?;
    } else {
        writeln!(out, "timestamp,value,raw_anomaly_score,likelihood,log_likelihood,anomaly_score")?;
    }
    let total = if is_shown { rows.len() as u64 } else { 0 };
    let progress = progress_bar(total, "records");
    let mut likelihood = NabLikelihood::for_file(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let row_id = RowId(i64::try_from(index + 1).expect("at most a hundred million rows"));
        let scores = model
            .step(&mut workspace, row_id, row.record)
            .map_err(|error| CliError::new(format!("record {index}: {error}")))?;
        let probability = likelihood.likelihood(row.record.value, scores.raw_anomaly_score);
        if stages {
            let stages = Stages::of(&model, &workspace);
            let value = row.record.value;
            writeln!(out, "{}", stage_row(index, &row.timestamp, value, &scores, probability, &stages))?;
        } else {
            write_scores(out, row, &scores, probability)?;
        }
        if is_shown {
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(())
}

fn write_scores(out: &mut dyn Write, row: &Row, scores: &Scores, likelihood: f64) -> io::Result<()> {
    writeln!(
        out,
        "{},{},{},{},{},{}",
        row.timestamp,
        repr(row.record.value),
        repr(f64::from(scores.raw_anomaly_score)),
        repr(likelihood),
        repr(log_likelihood(likelihood)),
        repr(scores.anomaly_score),
    )
}

/// Reads the file; rows that are no samples are reported and left out.
fn read_rows(path: &Path) -> Result<Vec<Row>, CliError> {
    let shown = path.display();
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(path)
        .map_err(|error| CliError::new(format!("{shown} cannot be read: {error}")))?;
    let mut rows = Vec::new();
    let mut bad_count = 0;
    for record in reader.records() {
        let record = record.map_err(|error| CliError::new(format!("{shown} cannot be read: {error}")))?;
        let line = record.position().map_or(0, csv::Position::line);
        match parse_row(&record) {
            Ok(row) => rows.push(row),
            Err(reason) => {
                bad_count += 1;
                if bad_count <= MAX_REPORTED_ROWS {
                    writeln!(io::stderr(), "warning: {shown}, line {line} is left out: {reason}")?;
                }
            }
        }
        if rows.len() > MAX_ROWS {
            return Err(CliError::new(format!("{shown} has more than {MAX_ROWS} rows; split it")));
        }
    }
    if bad_count > MAX_REPORTED_ROWS {
        writeln!(io::stderr(), "warning: {bad_count} lines of {shown} were left out in all")?;
    }
    if rows.is_empty() {
        return Err(CliError::new(format!(
            "{shown} has no usable rows; expected a heading and rows such as `2014-07-01 00:00:00,10844`"
        )));
    }
    Ok(rows)
}

fn parse_row(record: &csv::StringRecord) -> Result<Row, String> {
    let (Some(timestamp), Some(value)) = (record.get(0), record.get(1)) else {
        return Err(format!("it has {} column(s), expected timestamp,value", record.len()));
    };
    let number: f64 =
        value.trim().parse().map_err(|_| format!("the value is '{value}', expected a decimal number"))?;
    if !number.is_finite() {
        return Err(format!("the value is {value}, expected a finite number"));
    }
    let time = parse_time(timestamp.trim()).map_err(|error| error.to_string())?;
    Ok(Row { timestamp: timestamp.to_owned(), record: Record { timestamp: time, value: number } })
}

fn range_of(rows: &[Row]) -> Result<ValueRange, CliError> {
    let (min, max) = rows.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), row| {
        (min.min(row.record.value), max.max(row.record.value))
    });
    Ok(ValueRange::padded(min, max)?)
}
