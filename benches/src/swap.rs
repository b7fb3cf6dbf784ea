//! One record of a model that is not in memory: in, replay, step, out. The seam between the harness and the engine.
//!
//! Flow of [`Swapper::play`]: open the file, step the rows it has not seen (they are kept in memory), step the new row,
//! then either drop the model or, when that is due, write its file anew.
//!
//! Files are opened and replaced by the engine's own code, which also chooses between reading and mapping. What the
//! scheduler decides is decided in the same way in [`Costs::rows_per_checkpoint`], with one difference: costs are
//! measured in CPU time here, which is what is being minimized, on the wall there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use htm_core::encoder::Record;
use htm_core::format::checkpoint::{self, Trust};
use htm_core::format::mapping::{BufferPool, Region};
use htm_core::ids::RowId;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::model::{Model, Scores};
use htm_core::params::ModelParams;
use htmengine::file_system::{Caching, DiskFiles, FileStamp, FileSystem};

use crate::meter::{Span, Stopwatch};

/// The one generation that all models of the harness have.
pub const GENERATION: &str = "measurement";

/// Rows between two checkpoints at most.
const MAX_ROWS_PER_CHECKPOINT: f64 = 1000.0;
/// Weight of the newest measurement in a smoothed cost.
const NEWEST_WEIGHT: f64 = 0.125;

/// What a model's records have cost lately, CPU microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// One more row to replay.
    pub step_us: f64,
    /// Writing the file.
    pub checkpoint_us: f64,
}

impl Costs {
    /// How many rows apart checkpoints cost least. Every K rows one checkpoint C, and on average (K - 1) / 2 steps S
    /// replayed per record: C / K + S (K - 1) / 2 per record is least at K = sqrt(2 C / S).
    pub fn rows_per_checkpoint(&self) -> f64 {
        (2.0 * self.checkpoint_us / self.step_us.max(1.0)).sqrt().clamp(1.0, MAX_ROWS_PER_CHECKPOINT)
    }
}

/// A model that is not in memory, and the rows that its file has not seen.
#[derive(Debug)]
pub struct SwappedModel {
    path: PathBuf,
    params: Arc<ModelParams>,
    outstanding: Vec<(RowId, Record)>,
    costs: Costs,
}

/// What one record took.
#[derive(Debug, Clone)]
pub struct PlayedRecord {
    /// From the file to a model.
    pub open: Span,
    /// Stepping the rows that its file had not seen.
    pub replay: Span,
    /// How many these were.
    pub replayed_rows: usize,
    /// Stepping the new row.
    pub step: Span,
    /// What the model said of it.
    pub scores: Scores,
    /// Dropping the model, after a checkpoint if one was due.
    pub out: Span,
    /// Whether one was due.
    pub is_checkpoint: bool,
}

impl PlayedRecord {
    /// Everything together.
    pub fn whole(&self) -> Span {
        let parts = [self.open, self.replay, self.step, self.out];
        Span {
            wall_us: parts.iter().map(|span| span.wall_us).sum(),
            cpu_us: parts.iter().map(|span| span.cpu_us).sum(),
        }
    }
}

impl SwappedModel {
    /// A model whose file at `path` has not seen the rows `outstanding`.
    pub fn new(
        path: PathBuf,
        params: Arc<ModelParams>,
        outstanding: Vec<(RowId, Record)>,
        costs: Costs,
    ) -> Self {
        Self { path, params, outstanding, costs }
    }
}

/// How a file becomes memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// As the engine does while the page cache holds the files: by size.
    Cached,
    /// As the engine does with more files than the page cache holds: past it.
    Direct,
    /// Always mapped.
    Map,
    /// Always read.
    Read,
}

/// What one thread needs for swapping.
#[derive(Debug)]
pub struct Swapper<'a> {
    templates: &'a Templates,
    opening: Opening,
    pool: Arc<BufferPool>,
    workspace: Workspace,
}

impl<'a> Swapper<'a> {
    /// Buffers of one thread.
    pub fn new(templates: &'a Templates, opening: Opening) -> Self {
        let (pool, workspace) = (BufferPool::new(), Workspace::new());
        Self { templates, opening, pool, workspace }
    }

    fn caching(&self) -> Caching {
        if self.opening == Opening::Direct { Caching::Direct } else { Caching::PageCache }
    }

    /// Opens a model's file, trusting all but its header.
    ///
    /// # Errors
    /// If it is not there, or no model with these parameters.
    pub fn open(&self, path: &Path, params: &Arc<ModelParams>) -> io::Result<Model> {
        let error = |cause: &dyn std::fmt::Display| io::Error::other(format!("{}: {cause}", path.display()));
        let region = match self.opening {
            Opening::Cached | Opening::Direct => {
                // A file that the engine knows already.
                let known = File::open(path).and_then(|file| FileStamp::of(&file)).ok();
                DiskFiles.open(path, known, &self.pool, self.caching()).map(|(region, _)| region)
            }
            Opening::Map => File::open(path).and_then(|file| Region::map(&file)),
            Opening::Read => File::open(path).and_then(|file| Region::read(&file, &self.pool)),
        };
        let region = region.map_err(|cause| error(&cause))?;
        checkpoint::open(region, params, GENERATION, self.templates, Trust::Known)
            .map_err(|cause| error(&cause))
    }

    /// Steps one row of a model in memory.
    ///
    /// # Errors
    /// If the model refuses the row.
    pub fn step(&mut self, model: &mut Model, row_id: RowId, record: Record) -> io::Result<Scores> {
        model.step(&mut self.workspace, row_id, record).map_err(io::Error::other)
    }

    /// Plays one record.
    ///
    /// # Errors
    /// If the model cannot be opened or saved, or refuses a row.
    pub fn play(
        &mut self,
        swapped: &mut SwappedModel,
        row_id: RowId,
        record: Record,
    ) -> io::Result<PlayedRecord> {
        let mut stopwatch = Stopwatch::start();
        let mut model = self.open(&swapped.path, &swapped.params)?;
        let open = stopwatch.lap();
        for &(row_id, record) in &swapped.outstanding {
            self.step(&mut model, row_id, record)?;
        }
        let replay = stopwatch.lap();
        let replayed_rows = swapped.outstanding.len();
        let scores = self.step(&mut model, row_id, record)?;
        let step = stopwatch.lap();
        swapped.outstanding.push((row_id, record));
        if replayed_rows > 0 {
            // A first row pays for every page and line that it finds cold; replaying another one costs what a later
            // row does.
            smooth(&mut swapped.costs.step_us, step.cpu_us);
        }
        let outstanding = u32::try_from(swapped.outstanding.len()).map_or(f64::INFINITY, f64::from);
        let is_checkpoint = outstanding >= swapped.costs.rows_per_checkpoint();
        if is_checkpoint {
            let image = checkpoint::image(&model, GENERATION);
            DiskFiles.replace(&swapped.path, &image.slices(), &self.pool, self.caching())?;
            swapped.outstanding.clear();
        }
        drop(model);
        let out = stopwatch.lap();
        if is_checkpoint {
            smooth(&mut swapped.costs.checkpoint_us, out.cpu_us);
        }
        Ok(PlayedRecord { open, replay, replayed_rows, step, scores, out, is_checkpoint })
    }
}

fn smooth(cost: &mut f64, newest: f64) {
    *cost += (newest - *cost) * NEWEST_WEIGHT;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{NYC_TAXI, Series};

    #[test]
    fn the_interval_is_where_the_cost_per_record_is_least() {
        let costs = Costs { step_us: 50.0, checkpoint_us: 3600.0 };
        let interval = costs.rows_per_checkpoint();
        assert!((interval - 12.0).abs() < 1e-9);
        let per_record = |rows: f64| costs.checkpoint_us / rows + costs.step_us * (rows - 1.0) / 2.0;
        assert!(per_record(interval) < per_record(11.0) && per_record(interval) < per_record(13.0));
        assert!((Costs { step_us: 50.0, checkpoint_us: 0.0 }.rows_per_checkpoint() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_swapped_model_scores_as_one_that_stayed() {
        let folder = tempfile::tempdir().expect("a folder");
        let series = Series::read(NYC_TAXI);
        let templates = Templates::new();
        let mut stayed = Model::new(Arc::clone(&series.params), &templates);
        let mut workspace = Workspace::new();
        let path = folder.path().join("a.model");
        for opening in [Opening::Map, Opening::Read] {
            let mut image = Vec::new();
            checkpoint::write(&stayed, GENERATION, &mut image);
            std::fs::write(&path, &image).expect("written");
            let mut swapper = Swapper::new(&templates, opening);
            let costs = Costs { step_us: 1.0, checkpoint_us: 8.0 };
            let mut model = SwappedModel::new(path.clone(), Arc::clone(&series.params), Vec::new(), costs);
            let mut checkpoints = 0;
            let first = stayed.last_stepped_row_id().0 + 1;
            for (row_id, record) in (first..first + 60).map(RowId).zip(&series.records) {
                let played = swapper.play(&mut model, row_id, *record).expect("played");
                let expected = stayed.step(&mut workspace, row_id, *record).expect("valid");
                assert_eq!(played.scores, expected, "row {row_id}");
                checkpoints += i32::from(played.is_checkpoint);
            }
            assert!((1..60).contains(&checkpoints), "{checkpoints} checkpoints");
        }
    }
}
