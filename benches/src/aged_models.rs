//! Models that have seen many rows, built once and kept in a folder: `<series>-<variant>-<age>-<fingerprint>.model`.
//!
//! The fingerprint covers the series, the parameters and the format version; a file with another one is not found,
//! and one that does not open is built again. An older model is built from the oldest younger one there is. Beside
//! each file lies a `.json` with what its rows cost on the way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use htm_core::format::checkpoint::{self, Trust};
use htm_core::format::header::FORMAT_VERSION;
use htm_core::format::mapping::{BufferPool, Region};
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htmengine::file_system::{Caching, DiskFiles, FileSystem};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::meter::Stopwatch;
use crate::series_variant::{SeriesVariant, VariantId};
use crate::swap::GENERATION;

/// Ages at which costs are written down, besides those asked for.
const MARKS: [i64; 8] = [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000];
/// The cost at a mark is the mean over this part of the rows before it.
const WINDOW_PART: i64 = 10;
/// Rows between two looks at the progress bar.
const PROGRESS_ROWS: i64 = 100;

/// A model in the store.
#[derive(Debug, Clone)]
pub struct AgedModel {
    /// Whose rows it has seen.
    pub id: VariantId,
    /// Its file.
    pub path: PathBuf,
    /// Size of the file.
    pub file_bytes: u64,
    /// What its rows cost on the way.
    pub growth: Vec<GrowthMark>,
}

/// One model at one age.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GrowthMark {
    /// Rows seen.
    pub age: i64,
    /// CPU time of a row just before, the model staying in memory.
    pub step_us: f64,
    /// Segments of the temporal memory.
    pub segments: u32,
    /// Its synapses.
    pub synapses: u32,
}

/// A folder of aged models.
#[derive(Debug)]
pub struct AgedModels {
    folder: PathBuf,
    templates: Templates,
}

impl AgedModels {
    /// The models in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn in_folder(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)
            .map_err(|error| io::Error::other(format!("{}: {error}", folder.display())))?;
        Ok(Self { folder, templates: Templates::new() })
    }

    /// Models of `age` rows, one for each id; those not there are built, by `jobs` threads.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn of_age(
        &self,
        ids: &[VariantId],
        age: i64,
        jobs: usize,
        progress: &ProgressBar,
    ) -> io::Result<Vec<AgedModel>> {
        progress.set_length(ids.len() as u64 * age.unsigned_abs());
        let next = AtomicUsize::new(0);
        let built = Mutex::new(vec![None; ids.len()]);
        let work = || -> io::Result<()> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(id) = ids.get(index) else { return Ok(()) };
                let model = self.find_or_build(id, age, progress)?;
                built.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(model);
            }
        };
        std::thread::scope(|scope| -> io::Result<()> {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                thread.join().map_err(|_| io::Error::other("a thread ageing models failed"))??;
            }
            Ok(())
        })?;
        progress.finish_and_clear();
        let built = built.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(built.into_iter().flatten().collect())
    }

    fn find_or_build(&self, id: &VariantId, age: i64, progress: &ProgressBar) -> io::Result<AgedModel> {
        let series = id.read()?;
        let fingerprint = fingerprint(id, &series)?;
        let path = self.path(id, age, fingerprint);
        let found = self.load(&path, &series);
        let growth = if let Some((_, growth)) = found {
            progress.inc(age.unsigned_abs());
            growth
        } else {
            self.remove_others(id, age)?;
            let younger = self.youngers(id, age, fingerprint)?;
            let start = younger.iter().find_map(|path| self.load(path, &series));
            let start = start
                .unwrap_or_else(|| (Model::new(Arc::clone(series.params()), &self.templates), Vec::new()));
            build(start, &series, age, &path, progress)?
        };
        let file_bytes = fs::metadata(&path)?.len();
        Ok(AgedModel { id: id.clone(), path, file_bytes, growth })
    }

    fn path(&self, id: &VariantId, age: i64, fingerprint: u32) -> PathBuf {
        self.folder.join(format!("{}-{age}-{fingerprint:08x}.model", id.name()))
    }

    /// The model in a file that this program may have written at any time; `None` if it cannot be used.
    fn load(&self, path: &Path, series: &SeriesVariant) -> Option<(Model, Vec<GrowthMark>)> {
        let bytes = fs::read(path).ok()?;
        let growth = serde_json::from_slice(&fs::read(path.with_extension("json")).ok()?).ok()?;
        let region = Region::copy_of(&bytes);
        let model =
            checkpoint::open(region, series.params(), GENERATION, &self.templates, Trust::Nothing).ok()?;
        Some((model, growth))
    }

    /// Files of the same model at a lower age, the oldest first.
    fn youngers(&self, id: &VariantId, age: i64, fingerprint: u32) -> io::Result<Vec<PathBuf>> {
        let (prefix, suffix) = (format!("{}-", id.name()), format!("-{fingerprint:08x}.model"));
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let between = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&suffix));
            if let Some(younger) = between.and_then(|text| text.parse::<i64>().ok()).filter(|&y| y < age) {
                found.push((younger, entry.path()));
            }
        }
        found.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// Removes the same model of other fingerprints: they will not be asked for again.
    fn remove_others(&self, id: &VariantId, age: i64) -> io::Result<()> {
        let prefix = format!("{}-{age}-", id.name());
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                DiskFiles.remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn fingerprint(id: &VariantId, series: &SeriesVariant) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&fs::read(&id.file)?);
    hasher.update(series.params().description().as_bytes());
    hasher.update(&FORMAT_VERSION.to_le_bytes());
    Ok(hasher.finalize())
}

/// Steps a model to `age` and saves it at `path`.
fn build(
    start: (Model, Vec<GrowthMark>),
    series: &SeriesVariant,
    age: i64,
    path: &Path,
    progress: &ProgressBar,
) -> io::Result<Vec<GrowthMark>> {
    let (mut model, mut growth) = start;
    let mut workspace = Workspace::new();
    progress.inc(model.last_stepped_row_id().0.unsigned_abs());
    let mut ages: Vec<i64> = MARKS.into_iter().filter(|&mark| mark < age).chain([age]).collect();
    ages.retain(|&mark| mark > model.last_stepped_row_id().0);
    for mark in ages {
        let window_start = (mark - mark / WINDOW_PART).max(model.last_stepped_row_id().0);
        step_to(&mut model, &mut workspace, series, window_start, progress)?;
        let mut stopwatch = Stopwatch::start();
        step_to(&mut model, &mut workspace, series, mark, progress)?;
        let step_us =
            stopwatch.lap().cpu_us / i32::try_from(mark - window_start).map_or(f64::INFINITY, f64::from);
        let scalars = model.memory().backtracking().expect("the standard memory").scalars();
        growth.push(GrowthMark {
            age: mark,
            step_us,
            segments: scalars.segment_count,
            synapses: scalars.synapse_count,
        });
    }
    let mut image = Vec::new();
    checkpoint::write(&model, GENERATION, &mut image);
    std::fs::write(path.with_extension("json"), serde_json::to_vec_pretty(&growth)?)?;
    DiskFiles.replace(path, &[&image], &BufferPool::new(), Caching::PageCache)?;
    Ok(growth)
}

fn step_to(
    model: &mut Model,
    workspace: &mut Workspace,
    series: &SeriesVariant,
    age: i64,
    progress: &ProgressBar,
) -> io::Result<()> {
    for row_id in model.last_stepped_row_id().0 + 1..=age {
        let row_id = RowId(row_id);
        model.step(workspace, row_id, series.record(row_id)).map_err(io::Error::other)?;
        if row_id.0 % PROGRESS_ROWS == 0 {
            progress.inc(PROGRESS_ROWS.unsigned_abs());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::files;

    #[test]
    fn a_model_is_built_once_and_goes_on_from_a_younger_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let models = AgedModels::in_folder(folder.path().to_owned()).expect("made");
        let ids = VariantId::spread(&files(None).expect("bundled")[..2], 3);
        let of_age = |age| models.of_age(&ids, age, 2, &ProgressBar::hidden()).expect("built");
        let (young, older) = (of_age(60), of_age(100));
        assert_eq!(older.iter().map(|model| &model.id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
        assert_eq!(older[0].growth.iter().map(|mark| mark.age).collect::<Vec<_>>(), [60, 100]);
        let written =
            |model: &AgedModel| fs::metadata(&model.path).expect("a file").modified().expect("a time");
        let before: Vec<_> = young.iter().chain(&older).map(written).collect();
        let again: Vec<_> = of_age(60).iter().chain(&of_age(100)).map(written).collect();
        assert_eq!(before, again);
        fs::write(&young[0].path, b"damaged").expect("written");
        assert_eq!(of_age(60)[0].file_bytes, young[0].file_bytes);
    }
}
