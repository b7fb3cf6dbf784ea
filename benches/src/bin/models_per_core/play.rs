//! Rounds of one record per model, in a process of their own, so that memory and counters are those of the rounds.
//!
//! The program calls itself with `--play`, writes a [`PlayConfig`] to the child's standard input and reads a [`Played`]
//! from its output. Models are divided among the threads once. Those that are swapped start at all phases of their
//! cycle between two checkpoints, evenly, so that the first measured round is like the hundredth.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use htm_bench::memory_group;
use htm_bench::meter::{Reading, Span, Stopwatch, Usage, resident_bytes};
use htm_bench::model_copies::{forget_pages, path_of};
use htm_bench::quantiles::{Quantiles, mean, median};
use htm_bench::series_variant::{SeriesVariant, VariantId};
use htm_bench::swap::{Costs, Opening, PlayedRecord, SwappedModel, Swapper};
use htm_core::format::header::Header;
use htm_core::format::mapping::Region;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_kernels::random::Random;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::progress_bar;

/// Files read for the speed of the disk.
const COLD_FILES: usize = 100;
/// Successive multiples of this share, wrapped at 1, are spread evenly, however many there are.
const GOLDEN_SHARE: f64 = 0.618_034;

/// Where the models are between their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// In memory.
    Resident,
    /// In files, all of which the page cache holds.
    Cached,
    /// In files; memory and page cache together are limited.
    Limited,
    /// In files whose pages are dropped after each record.
    Forgotten,
}

impl Mode {
    /// For the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Cached => "swapped, page cache",
            Self::Limited => "swapped, memory limit",
            Self::Forgotten => "swapped, pages dropped",
        }
    }
}

/// What to play.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlayConfig {
    /// The distinct models; file `i` is one of `i % ids.len()`.
    pub(crate) ids: Vec<VariantId>,
    /// Beside each, step and checkpoint costs to begin with, microseconds.
    pub(crate) costs: Vec<(f64, f64)>,
    /// Where the files are.
    pub(crate) folder: PathBuf,
    /// How many of them are played.
    pub(crate) count: usize,
    /// Threads.
    pub(crate) jobs: usize,
    /// Rounds measured, after one that is not.
    pub(crate) rounds: u32,
    /// Where models are between their records.
    pub(crate) mode: Mode,
    /// Folder of the control group to join first.
    pub(crate) group: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Played {
    /// As asked for, or what was possible.
    pub(crate) mode: Mode,
    /// Models played.
    pub(crate) models: usize,
    /// Threads.
    pub(crate) jobs: usize,
    /// Records of the measured rounds.
    pub(crate) records: usize,
    /// What the measured rounds used.
    pub(crate) usage: Usage,
    /// CPU time of a record; in it, whatever the process did.
    pub(crate) cpu_us_per_record: f64,
    /// The phases of a record.
    pub(crate) phases: Vec<Phase>,
    /// Rows replayed.
    pub(crate) replayed_rows: usize,
    /// Checkpoints written.
    pub(crate) checkpoints: usize,
    /// By distinct model: CPU time of its records, mean; empty if everything is resident.
    pub(crate) model_cpu_us: Vec<f64>,
    /// The middle one of these.
    pub(crate) median_model_cpu_us: Option<f64>,
    /// Resident memory per model, if everything is resident.
    pub(crate) resident_bytes_per_model: Option<f64>,
    /// What the disk gave when files nobody had cached were read whole, by all threads.
    pub(crate) disk_bytes_per_s: Option<f64>,
    /// Most memory of the control group.
    pub(crate) peak_bytes: Option<u64>,
    /// What was different from what was asked for.
    pub(crate) note: Option<String>,
}

/// One phase of a record: times on the wall, and CPU time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// Its name.
    pub(crate) name: String,
    /// On the wall.
    pub(crate) wall: Quantiles,
    /// CPU time, mean; `None` where reading that clock would take too large a part of it.
    pub(crate) cpu_us: Option<f64>,
}

/// One thread's part of what was measured.
#[derive(Debug, Default)]
struct Share {
    spans: [Vec<Span>; 6],
    replayed_rows: usize,
    /// By distinct model: CPU time and records.
    model_cpu: Vec<(f64, u32)>,
    /// CPU time that the harness took for forgetting pages.
    forgetting_cpu_us: f64,
}

const PHASES: [&str; 6] =
    ["swap in", "replay", "step", "swap out by dropping", "swap out by checkpoint", "whole record"];

/// A model that is stepped in memory.
struct ResidentModel {
    model: Model,
    distinct: usize,
}

/// A model that is swapped, and its row to play next.
struct WaitingModel {
    swapped: SwappedModel,
    path: PathBuf,
    next_row_id: i64,
    distinct: usize,
}

/// Plays what standard input says.
pub(crate) fn play_as_child() -> io::Result<()> {
    let config: PlayConfig = serde_json::from_reader(io::stdin().lock())?;
    if let Some(group) = &config.group {
        memory_group::join(group)?;
    }
    let series = config.ids.iter().map(VariantId::read).collect::<io::Result<Vec<_>>>()?;
    let played = if config.mode == Mode::Resident {
        play_resident(&config, &series)
    } else {
        play_swapped(&config, &series)
    };
    serde_json::to_writer(io::stdout().lock(), &played?)?;
    Ok(())
}

/// The numbers of a thread's models, in the order of every round.
fn order_of(config: &PlayConfig, thread: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (thread..config.count).step_by(config.jobs).collect();
    Random::new(1).shuffle(&mut order);
    order
}

fn play_resident(config: &PlayConfig, series: &[SeriesVariant]) -> io::Result<Played> {
    let templates = Templates::new();
    for series in series {
        templates.get(series.params().spatial_pooler());
    }
    let empty_bytes = resident_bytes()?;
    let swapper = Swapper::new(&templates, Opening::Read);
    let open = |index: usize| {
        let distinct = index % series.len();
        let model = swapper.open(&path_of(&config.folder, index), series[distinct].params())?;
        io::Result::Ok(ResidentModel { model, distinct })
    };
    let progress = progress_bar("records of resident models");
    progress.set_length(config.count as u64 * u64::from(config.rounds + 1));
    let mut threads = Vec::new();
    for thread in 0..config.jobs {
        let order = order_of(config, thread);
        threads.push(order.into_iter().map(open).collect::<io::Result<Vec<_>>>()?);
    }
    let play = |models: &mut Vec<ResidentModel>, rounds| step_rounds(models, series, rounds, &progress);
    in_threads(&mut threads, |models| play(models, 1))?;
    let resident_bytes = resident_bytes()?.saturating_sub(empty_bytes);
    let before = Reading::now()?;
    let shares = in_threads(&mut threads, |models| play(models, config.rounds))?;
    let usage = before.until(&Reading::now()?);
    progress.finish_and_clear();
    let mut played = summarize(config, usage, shares);
    played.resident_bytes_per_model = Some(as_f64(resident_bytes) / as_f64(config.count as u64));
    Ok(played)
}

fn step_rounds(
    models: &mut [ResidentModel],
    series: &[SeriesVariant],
    rounds: u32,
    progress: &ProgressBar,
) -> io::Result<Share> {
    let mut share = Share::default();
    let mut workspace = Workspace::new();
    for _ in 0..rounds {
        for ResidentModel { model, distinct } in &mut *models {
            let row_id = RowId(model.last_stepped_row_id().0 + 1);
            let record = series[*distinct].record(row_id);
            let started = Instant::now();
            model.step(&mut workspace, row_id, record).map_err(io::Error::other)?;
            let wall_us = started.elapsed().as_secs_f64() * 1e6;
            share.spans[2].push(Span { wall_us, cpu_us: 0.0 });
        }
        progress.inc(models.len() as u64);
    }
    Ok(share)
}

fn play_swapped(config: &PlayConfig, series: &[SeriesVariant]) -> io::Result<Played> {
    let templates = Templates::new();
    let progress = progress_bar(config.mode.name());
    let rounds = u64::from(config.rounds) + 1;
    progress.set_length(config.count as u64 * rounds);
    let waiting = |index| waiting_model(config, series, index);
    // As the engine chooses: past a page cache that cannot hold the files.
    let opening = if config.mode == Mode::Limited { Opening::Direct } else { Opening::Cached };
    let mut threads = Vec::new();
    for thread in 0..config.jobs {
        let models = order_of(config, thread).into_iter().map(waiting).collect::<io::Result<Vec<_>>>()?;
        threads.push((models, Swapper::new(&templates, opening)));
    }
    let paths: Vec<PathBuf> = (0..config.count).map(|index| path_of(&config.folder, index)).collect();
    let mut disk_bytes_per_s = None;
    if config.mode == Mode::Cached {
        paths.iter().try_for_each(|path| fs::read(path).map(drop))?;
    } else {
        paths.iter().try_for_each(|path| forget_pages(path))?;
        disk_bytes_per_s = Some(cold_bytes_per_s(&paths, config.jobs)?);
    }
    let play = |(models, swapper): &mut (Vec<WaitingModel>, Swapper<'_>), rounds| {
        swap_rounds(models, swapper, series, rounds, config.mode, &progress)
    };
    in_threads(&mut threads, |thread| play(thread, 1))?;
    let before = Reading::now()?;
    let shares = in_threads(&mut threads, |thread| play(thread, config.rounds))?;
    let usage = before.until(&Reading::now()?);
    progress.finish_and_clear();
    let mut played = summarize(config, usage, shares);
    played.disk_bytes_per_s = disk_bytes_per_s;
    Ok(played)
}

/// A model with as many outstanding rows as make its phase; its file tells how far it has come.
fn waiting_model(config: &PlayConfig, series: &[SeriesVariant], index: usize) -> io::Result<WaitingModel> {
    let distinct = index % series.len();
    let path = path_of(&config.folder, index);
    let region = Region::map(&File::open(&path)?)?;
    let header = Header::of(region.bytes())
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    let (step_us, checkpoint_us) = config.costs[distinct];
    let costs = Costs { step_us, checkpoint_us };
    let phase = (as_f64(index as u64) * GOLDEN_SHARE).fract();
    #[expect(clippy::cast_possible_truncation, reason = "at most a thousand rows")]
    let outstanding_rows = (phase * costs.rows_per_checkpoint().ceil()) as i64;
    let saved = header.last_stepped_row_id.0;
    let rows = (saved + 1..=saved + outstanding_rows).map(RowId);
    let outstanding = rows.map(|row_id| (row_id, series[distinct].record(row_id))).collect();
    let params = series[distinct].params().clone();
    Ok(WaitingModel {
        swapped: SwappedModel::new(path.clone(), params, outstanding, costs),
        path,
        next_row_id: saved + outstanding_rows + 1,
        distinct,
    })
}

fn swap_rounds(
    models: &mut [WaitingModel],
    swapper: &mut Swapper<'_>,
    series: &[SeriesVariant],
    rounds: u32,
    mode: Mode,
    progress: &ProgressBar,
) -> io::Result<Share> {
    let mut share = Share { model_cpu: vec![(0.0, 0); series.len()], ..Share::default() };
    for _ in 0..rounds {
        for waiting in &mut *models {
            let row_id = RowId(waiting.next_row_id);
            let record = series[waiting.distinct].record(row_id);
            let played = swapper.play(&mut waiting.swapped, row_id, record)?;
            waiting.next_row_id += 1;
            share.add(waiting.distinct, &played);
            if mode == Mode::Forgotten {
                let mut stopwatch = Stopwatch::start();
                forget_pages(&waiting.path)?;
                share.forgetting_cpu_us += stopwatch.lap().cpu_us;
            }
            progress.inc(1);
        }
    }
    Ok(share)
}

impl Share {
    fn add(&mut self, distinct: usize, played: &PlayedRecord) {
        self.spans[0].push(played.open);
        self.spans[1].push(played.replay);
        self.spans[2].push(played.step);
        self.spans[3 + usize::from(played.is_checkpoint)].push(played.out);
        self.spans[5].push(played.whole());
        self.replayed_rows += played.replayed_rows;
        self.model_cpu[distinct].0 += played.whole().cpu_us;
        self.model_cpu[distinct].1 += 1;
    }
}

/// Runs `work` on every thread's part, and waits for all.
fn in_threads<T: Send>(
    parts: &mut [T],
    work: impl Fn(&mut T) -> io::Result<Share> + Sync,
) -> io::Result<Vec<Share>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts.iter_mut().map(|part| scope.spawn(move || work(part))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, io::Result<Share>>| {
            thread.join().map_err(|_| io::Error::other("a thread of the rounds failed"))?
        };
        threads.into_iter().map(join).collect()
    })
}

/// Speed of reading some of the files whole, none of them being in the page cache before or after.
fn cold_bytes_per_s(paths: &[PathBuf], jobs: usize) -> io::Result<f64> {
    let chosen: Vec<&PathBuf> = paths.iter().step_by(paths.len().div_ceil(COLD_FILES)).collect();
    let mut parts: Vec<_> = (0..jobs).map(|job| chosen.iter().skip(job).step_by(jobs)).collect();
    let before = Reading::now()?;
    in_threads(&mut parts, |part| {
        part.try_for_each(|path| fs::read(path).map(drop))?;
        Ok(Share::default())
    })?;
    let usage = before.until(&Reading::now()?);
    chosen.iter().try_for_each(|path| forget_pages(path))?;
    Ok(as_f64(usage.read_bytes) / usage.wall_s)
}

fn summarize(config: &PlayConfig, mut usage: Usage, shares: Vec<Share>) -> Played {
    let mut all = Share { model_cpu: vec![(0.0, 0); config.ids.len()], ..Share::default() };
    for share in shares {
        all.replayed_rows += share.replayed_rows;
        all.forgetting_cpu_us += share.forgetting_cpu_us;
        for (spans, more) in all.spans.iter_mut().zip(share.spans) {
            spans.extend(more);
        }
        for (sum, more) in all.model_cpu.iter_mut().zip(share.model_cpu) {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
    }
    usage.without_cpu_s(all.forgetting_cpu_us / 1e6);
    let records = all.spans[2].len();
    let phase_of = |(name, spans): (&str, &Vec<Span>)| {
        let cpu: Vec<f64> = spans.iter().map(|span| span.cpu_us).collect();
        let mut wall: Vec<f64> = spans.iter().map(|span| span.wall_us).collect();
        let cpu_us = (config.mode != Mode::Resident).then(|| mean(&cpu));
        Phase { name: name.to_owned(), wall: Quantiles::of(&mut wall), cpu_us }
    };
    let phases = PHASES.into_iter().zip(&all.spans).filter(|(_, spans)| !spans.is_empty());
    let measured = all.model_cpu.iter().filter(|(_, records)| *records > 0);
    let model_cpu_us: Vec<f64> = measured.map(|(sum, records)| sum / f64::from(*records)).collect();
    Played {
        mode: config.mode,
        models: config.count,
        jobs: config.jobs,
        records,
        usage,
        cpu_us_per_record: usage.cpu_s * 1e6 / as_f64(records as u64),
        phases: phases.map(phase_of).collect(),
        replayed_rows: all.replayed_rows,
        checkpoints: all.spans[4].len(),
        median_model_cpu_us: (!model_cpu_us.is_empty()).then(|| median(&mut model_cpu_us.clone())),
        model_cpu_us,
        resident_bytes_per_model: None,
        disk_bytes_per_s: None,
        peak_bytes: None,
        note: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
