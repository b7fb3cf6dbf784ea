//! The parts of a swap measured alone, model by model, one thread, files in the page cache.

use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::Arc;

use htm_bench::aged_models::AgedModel;
use htm_bench::meter::{Span, Stopwatch};
use htm_bench::quantiles::median;
use htm_bench::swap::{GENERATION, Opening, Swapper};
use htm_core::format::checkpoint;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

/// Openings measured per model and way.
const OPENINGS: usize = 15;
/// Records played and files written per model.
const REPEATS: usize = 5;
/// Rows stepped for the cost of one more row.
const ROWS: i64 = 20;
/// Rows stepped in one swap, replayed ones and the new one: about what an interval between checkpoints gives.
pub(crate) const SWAP_ROWS: i64 = 5;

/// What one model's parts cost: medians.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Parts {
    /// Series and variant.
    pub(crate) name: String,
    /// Size of its file.
    pub(crate) file_bytes: u64,
    /// Open, map, check the header, unmap: CPU.
    pub(crate) map_us: f64,
    /// Open, read, check the header, give the memory back: CPU.
    pub(crate) read_us: f64,
    /// The same as `map_us` with [`SWAP_ROWS`] rows stepped in between.
    pub(crate) map_and_steps_us: f64,
    /// The same as `read_us` with [`SWAP_ROWS`] rows stepped in between.
    pub(crate) read_and_steps_us: f64,
    /// One more row of a model in cache: CPU.
    pub(crate) step_us: f64,
    /// Writing the file.
    pub(crate) checkpoint: CheckpointParts,
}

/// What a checkpoint's steps take.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct CheckpointParts {
    /// The image in memory.
    pub(crate) put_together: Span,
    /// Into a new file, room for which is reserved first.
    pub(crate) write: Span,
    /// `fdatasync`.
    pub(crate) sync: Span,
    /// Giving it the old file's name, and syncing the folder.
    pub(crate) rename: Span,
}

impl CheckpointParts {
    /// CPU time of all steps.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.put_together.cpu_us + self.write.cpu_us + self.sync.cpu_us + self.rename.cpu_us
    }
}

/// What starting a model takes when another one has drawn the template.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct NewModel {
    /// Making it in memory: CPU, median.
    pub(crate) create_us: f64,
    /// Its file before the first row.
    pub(crate) file_bytes: u64,
    /// Its file after the first row.
    pub(crate) file_bytes_after_one_row: u64,
}

/// Measures every model; files are written below `store`.
pub(crate) fn measure(models: &[AgedModel], store: &Path) -> io::Result<Vec<Parts>> {
    let folder = tempfile::tempdir_in(store)?;
    let templates = Templates::new();
    models.iter().map(|model| measure_model(model, &templates, folder.path())).collect()
}

/// Measures starting a model.
pub(crate) fn measure_new(of: &AgedModel) -> io::Result<NewModel> {
    let series = of.id.read()?;
    let templates = Templates::new();
    templates.get(series.params().spatial_pooler());
    let mut times = Vec::new();
    let mut stopwatch = Stopwatch::start();
    for _ in 0..OPENINGS * REPEATS {
        stopwatch.lap();
        let model = Model::new(Arc::clone(series.params()), &templates);
        times.push(stopwatch.lap().cpu_us);
        drop(model);
    }
    let mut model = Model::new(Arc::clone(series.params()), &templates);
    let mut image = Vec::new();
    checkpoint::write(&model, GENERATION, &mut image);
    let file_bytes = image.len() as u64;
    let mut swapper = Swapper::new(&templates, Opening::Cached);
    swapper.step(&mut model, RowId(1), series.record(RowId(1)))?;
    checkpoint::write(&model, GENERATION, &mut image);
    Ok(NewModel { create_us: median(&mut times), file_bytes, file_bytes_after_one_row: image.len() as u64 })
}

fn measure_model(model: &AgedModel, templates: &Templates, folder: &Path) -> io::Result<Parts> {
    let series = model.id.read()?;
    let path = folder.join("a.model");
    let image = fs::read(&model.path)?;
    fs::write(&path, &image)?;
    let mut of_opening = [(0.0, 0.0); 2];
    let mut step_us = 0.0;
    for (opening, of_opening) in [Opening::Map, Opening::Read].into_iter().zip(&mut of_opening) {
        let mut swapper = Swapper::new(templates, opening);
        let first = swapper.open(&path, series.params())?.last_stepped_row_id().0 + 1;
        let mut times = Vec::new();
        let mut stopwatch = Stopwatch::start();
        for _ in 0..OPENINGS {
            stopwatch.lap();
            drop(swapper.open(&path, series.params())?);
            times.push(stopwatch.lap().cpu_us);
        }
        of_opening.0 = median(&mut times);
        // The workspace fits itself to the model once, not with every record.
        let mut opened = swapper.open(&path, series.params())?;
        let mut steps = Vec::new();
        for row_id in (first..first + ROWS).map(RowId) {
            stopwatch.lap();
            swapper.step(&mut opened, row_id, series.record(row_id))?;
            steps.push(stopwatch.lap().cpu_us);
        }
        drop(opened);
        // The mean, not the median: bursts are part of what a row costs.
        step_us = htm_bench::quantiles::mean(&steps[1..]);
        times.clear();
        for _ in 0..REPEATS {
            stopwatch.lap();
            let mut opened = swapper.open(&path, series.params())?;
            for row_id in (first..first + SWAP_ROWS).map(RowId) {
                swapper.step(&mut opened, row_id, series.record(row_id))?;
            }
            drop(opened);
            times.push(stopwatch.lap().cpu_us);
        }
        of_opening.1 = median(&mut times);
    }
    let [(map_us, map_and_steps_us), (read_us, read_and_steps_us)] = of_opening;
    let opened = Swapper::new(templates, Opening::Read).open(&path, series.params())?;
    Ok(Parts {
        name: model.id.name(),
        file_bytes: model.file_bytes,
        map_us,
        read_us,
        map_and_steps_us,
        read_and_steps_us,
        step_us,
        checkpoint: measure_checkpoint(&opened, &path)?,
    })
}

fn measure_checkpoint(model: &Model, path: &Path) -> io::Result<CheckpointParts> {
    let size = checkpoint::image(model, GENERATION).size_bytes() as u64;
    let new = path.with_extension("new");
    let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let mut spans: [Vec<Span>; 4] = Default::default();
    // The engine reserves room before it writes, where the file system can.
    let reserve = fallocate(File::create(&new)?, FallocateFlags::empty(), 0, size).is_ok();
    let mut stopwatch = Stopwatch::start();
    for _ in 0..REPEATS {
        stopwatch.lap();
        let image = checkpoint::image(model, GENERATION);
        let parts = image.slices();
        spans[0].push(stopwatch.lap());
        let mut file = File::create(&new)?;
        reserve.then(|| fallocate(&file, FallocateFlags::empty(), 0, size)).transpose()?;
        let mut slices: Vec<IoSlice<'_>> = parts.into_iter().map(IoSlice::new).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = file.write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        spans[1].push(stopwatch.lap());
        file.sync_data()?;
        spans[2].push(stopwatch.lap());
        drop(file);
        fs::rename(&new, path)?;
        folder.sync_all()?;
        spans[3].push(stopwatch.lap());
    }
    let [put_together, write, sync, rename] = spans.map(|spans| middle(&spans));
    Ok(CheckpointParts { put_together, write, sync, rename })
}

/// Medians of both clocks.
fn middle(spans: &[Span]) -> Span {
    let of = |time: fn(&Span) -> f64| median(&mut spans.iter().map(time).collect::<Vec<_>>());
    Span { wall_us: of(|span| span.wall_us), cpu_us: of(|span| span.cpu_us) }
}
