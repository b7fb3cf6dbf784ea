//! How many models one core can serve: `models_per_core [--models N] [--age ROWS] [--memory-limit SIZE] ...`.
//!
//! Flow, for each age: build the distinct aged models (kept in a store), measure the parts of a swap alone, copy the
//! models to N files, then play rounds of one record per model, each in a child process of this program: everything
//! resident; swapped with all files in the page cache; swapped inside a control group whose memory limit is smaller
//! than the files. Every round goes through all models in the same shuffled order, for which a least recently used
//! cache is useless.
//!
//! Three limits are stated and never mixed: CPU seconds, bytes of memory, bytes to and from the disk.

mod options;
mod parts;
mod play;
mod report;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use htm_bench::aged_models::{AgedModel, AgedModels};
use htm_bench::memory_group::MemoryGroup;
use htm_bench::meter::available_memory_bytes;
use htm_bench::model_copies::ModelCopies;
use htm_bench::series;
use htm_bench::series_variant::VariantId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::options::Options;
use self::play::{Mode, PlayConfig, Played};
use self::report::{AgeReport, Report};

/// Without `--memory-limit`, the files are this many times larger than the limit.
const FILES_PER_LIMIT: u64 = 3;
/// Part of the available memory that models or page cache of a round without a limit may take.
const MEMORY_PART: u64 = 2;

/// Memory that a process of rounds needs besides models and their files' pages.
const LEAST_LIMIT_BYTES: u64 = 64 << 20;
/// A thread has at most this many copies of a model at once: its pages, its memory, its new file, and that one's pages.
const COPIES_PER_THREAD: u64 = 4;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.play { play::play_as_child() } else { run(&options) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let files = series::files(options.series.as_deref())?;
    let ids = VariantId::spread(&files, options.distinct.min(options.models));
    let store = AgedModels::in_folder(options.store.join("aged"))?;
    let mut ages = Vec::new();
    for &age in &options.age {
        let progress = progress_bar("rows of aged models");
        let models = store.of_age(&ids, age, options.jobs, &progress)?;
        ages.push(measure_age(options, age, &models)?);
    }
    let report = Report::new(options, files.len().min(ids.len()), ages);
    let mut out = io::stdout().lock();
    if options.json { writeln!(out, "{}", report.as_json()?) } else { report.write_table(&mut out) }
}

fn measure_age(options: &Options, age: i64, models: &[AgedModel]) -> io::Result<AgeReport> {
    let mean_bytes = models.iter().map(|model| model.file_bytes).sum::<u64>() / models.len() as u64;
    let file_bytes = mean_bytes * options.models as u64;
    let least = least_limit(models, options.jobs);
    let limit = options.memory_limit.unwrap_or((file_bytes / FILES_PER_LIMIT).max(least));
    if limit < least {
        return Err(io::Error::other(format!(
            "a memory limit of {} MiB is too small for {} thread(s) and these models: give at least {} MiB",
            limit >> 20,
            options.jobs,
            (least >> 20) + 1,
        )));
    }
    let parts = parts::measure(models, &options.store)?;
    let copies = ModelCopies::make(&options.store, models, options.models, &progress_bar("files copied"))?;
    let mut report = AgeReport::new(age, models, file_bytes, limit);
    let config = |mode, count, jobs| PlayConfig {
        ids: models.iter().map(|model| model.id.clone()).collect(),
        costs: parts.iter().map(|part| (part.step_us, part.checkpoint.cpu_us())).collect(),
        folder: copies.folder().to_owned(),
        count,
        jobs,
        rounds: options.rounds,
        mode,
        group: None,
    };
    let thread_counts = if options.jobs == 1 { vec![1] } else { vec![1, options.jobs] };
    for mode in [Mode::Resident, Mode::Cached] {
        // Large models would otherwise push out what is being measured.
        let fitting = available_memory_bytes()? / MEMORY_PART / mean_bytes;
        let count = options.models.min(usize::try_from(fitting).unwrap_or(usize::MAX)).max(options.jobs);
        for &jobs in &thread_counts {
            report.rounds.push(play_in_child(&config(mode, count, jobs))?);
        }
    }
    report.rounds.push(play_limited(config(Mode::Limited, options.models, options.jobs), limit)?);
    report.finish(parts, parts::measure_new(&models[0])?);
    if !options.keep {
        copies.remove()?;
    }
    Ok(report)
}

/// A process with less would be killed.
fn least_limit(models: &[AgedModel], jobs: usize) -> u64 {
    let largest = models.iter().map(|model| model.file_bytes).max().unwrap_or_default();
    LEAST_LIMIT_BYTES + largest * COPIES_PER_THREAD * jobs as u64
}

/// In a control group, or, where there can be none, with the pages of each file forgotten after use.
fn play_limited(mut config: PlayConfig, limit: u64) -> io::Result<Played> {
    match MemoryGroup::create(limit) {
        Ok(group) => {
            config.group = Some(group.folder().to_owned());
            let mut played = play_in_child(&config)?;
            played.peak_bytes = group.peak_bytes();
            Ok(played)
        }
        Err(error) => {
            config.mode = Mode::Forgotten;
            let mut played = play_in_child(&config)?;
            played.note = Some(format!("no control group ({error}): pages were forgotten file by file"));
            Ok(played)
        }
    }
}

fn play_in_child(config: &PlayConfig) -> io::Result<Played> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--play")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take().ok_or_else(|| io::Error::other("the child has no input"))?;
    serde_json::to_writer(input, config)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let message = format!("the rounds `{}` failed: {}", config.mode.name(), output.status);
        return Err(io::Error::other(message));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A progress bar on standard error, drawn only if that is a terminal.
fn progress_bar(unit: &'static str) -> ProgressBar {
    let target =
        if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = "{pos}/{len} {msg} [{wide_bar}] {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style).with_message(unit)
}

/// Text after the colon of the first such line in a file under `/proc`.
fn line_of(path: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map(|(_, value)| value.trim().to_owned())
}
