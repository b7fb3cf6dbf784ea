//! What a whole step of a model costs, encoder to likelihood, learning, over any files of the anomaly benchmark.
//!
//! `step_cost [--rows N] [--last M] [--isa NAME] FILE.csv...`: a new model per file steps all its rows, or N, the
//! file repeated with time moving on. Printed per file: rows; microseconds a record, mean over all rows and over
//! the last M, of processor time; median and 99th percentile over those last, of wall time; segments, synapses and
//! state bytes at the end. Last the mean of the means over the files. The means count what the scheduler gave this
//! thread, so that a shared machine spoils them less; the clock's some 30 ns a record are in all figures.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use htm_bench::series::Series;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_kernels::isa::Isa;

const HELP: &str = "usage: step_cost [--rows N] [--last M] [--isa NAME] FILE.csv...";

struct Options {
    rows: Option<usize>,
    last: usize,
    isa: Isa,
    files: Vec<PathBuf>,
}

/// What one file took.
struct Cost {
    rows: usize,
    mean_us: f64,
    last_mean_us: f64,
    median_us: f64,
    percentile_99_us: f64,
    segments: u32,
    synapses: u32,
    state_bytes: usize,
}

fn main() -> io::Result<()> {
    let options = options().ok_or_else(|| io::Error::other(HELP))?;
    let templates = Templates::new();
    let mut workspace = Workspace::new().with_isa(options.isa);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>10}  file ({})",
        "rows", "mean us", "last us", "p50", "p99", "segments", "synapses", "bytes", options.isa
    )?;
    let mut means = Vec::new();
    for file in &options.files {
        let cost = measure(file, &options, &templates, &mut workspace)?;
        let name = file.file_stem().unwrap_or_default().display();
        writeln!(
            out,
            "{:>7} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8} {:>9} {:>10}  {name}",
            cost.rows,
            cost.mean_us,
            cost.last_mean_us,
            cost.median_us,
            cost.percentile_99_us,
            cost.segments,
            cost.synapses,
            cost.state_bytes
        )?;
        means.push((cost.mean_us, cost.last_mean_us));
    }
    let mean = mean(means.iter().map(|(all, _)| *all));
    let last_mean = self::mean(means.iter().map(|(_, last)| *last));
    writeln!(out, "{:>7} {mean:>8.1} {last_mean:>8.1}  mean of {} files", "", means.len())
}

fn options() -> Option<Options> {
    let mut options = Options { rows: None, last: 1000, isa: Isa::chosen(), files: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rows" => options.rows = Some(arguments.next()?.parse().ok()?),
            "--last" => options.last = arguments.next()?.parse().ok()?,
            "--isa" => options.isa = Isa::from_name(&arguments.next()?).ok()?,
            file if !file.starts_with('-') => options.files.push(file.into()),
            _ => return None,
        }
    }
    (!options.files.is_empty()).then_some(options)
}

fn measure(
    file: &Path,
    options: &Options,
    templates: &Templates,
    workspace: &mut Workspace,
) -> io::Result<Cost> {
    let series = Series::read_file(file)?;
    let rows = options.rows.unwrap_or(series.records.len());
    let mut model = Model::new(series.params.clone(), templates);
    // Drawn here once, not in the first file's first record.
    templates.get(series.params.spatial_pooler());
    let last_from = rows.saturating_sub(options.last);
    let mut last = Vec::with_capacity(rows - last_from);
    let (start, mut before_last) = (cpu_us()?, 0.0);
    for ((row, row_id), record) in (1..).map(RowId).enumerate().zip(series.repeated(rows)) {
        if row == last_from {
            before_last = cpu_us()?;
        }
        let started = Instant::now();
        model.step(workspace, row_id, record).expect("the benchmark's rows are valid");
        if row >= last_from {
            last.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    let end = cpu_us()?;
    last.sort_unstable_by(f64::total_cmp);
    let scalars = model.memory().backtracking().expect("the standard memory").scalars();
    Ok(Cost {
        rows,
        mean_us: (end - start) / as_f64(rows),
        last_mean_us: (end - before_last) / as_f64(last.len()),
        median_us: last[last.len() / 2],
        percentile_99_us: last[last.len() * 99 / 100],
        segments: scalars.segment_count,
        synapses: scalars.synapse_count,
        state_bytes: model.memory_bytes(),
    })
}

/// Processor time of this thread; exact to a tick of the scheduler, some milliseconds.
fn cpu_us() -> io::Result<f64> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path)?;
    let nanoseconds = text.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    Ok(nanoseconds.ok_or_else(|| io::Error::other(format!("{path} does not begin with a number")))? / 1e3)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = as_f64(values.len());
    values.sum::<f64>() / count
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
