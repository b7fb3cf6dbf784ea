//! Where model files lie, and what happens to one that cannot be used.
//!
//! A model file is a cache: whatever is wrong with it, the model can be rebuilt from its rows. So a file that is
//! damaged or foreign is put aside under a name that says so, with the reason in a text beside it (the newest one per
//! model is kept), reported and counted, and the model starts from the first row.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use htm_core::format::checkpoint::{self, Trust};
use htm_core::format::header::Header;
use htm_core::format::mapping::BufferPool;
use htm_core::ids::{ModelId, RowId};
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::params::ModelParams;

use crate::file_system::{Caching, FileStamp, FileSystem, MAX_SHARD_NAME_CHARS};

/// Ending of a model file's name.
const MODEL_SUFFIX: &str = ".model";

/// The folder of model files.
pub struct ModelStore {
    files: Arc<dyn FileSystem>,
    folder: PathBuf,
    templates: Arc<Templates>,
    /// Memory that files are read into.
    pool: Arc<BufferPool>,
    put_aside_count: AtomicU64,
    /// Files that cannot be used and could be neither renamed nor removed, one a model at most: they are not opened again. The
    /// next process looks at such a file as at any other, and believes one of rows that a restored database no longer has if
    /// scores have passed it by then. That takes a model that could not be saved all the while, which is shown.
    unusable: Mutex<HashMap<ModelId, FileStamp>>,
    /// Page cache that files may count on.
    cache_bytes: u64,
    is_direct: AtomicBool,
}

/// A model that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The saved model, or a new one.
    pub model: Model,
    /// Which of the two.
    pub is_from_file: bool,
    /// Of the file it came from.
    pub stamp: Option<FileStamp>,
}

/// Where a model's file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRow {
    /// The last row that the saved model has stepped.
    pub row_id: RowId,
    generation: String,
    stamp: FileStamp,
}

impl ModelStore {
    /// Files under `folder`, in sub-folders of the first two characters of their id, so that no folder grows
    /// beyond what tools can list.
    pub fn new(files: Arc<dyn FileSystem>, folder: PathBuf) -> Self {
        Self {
            files,
            folder,
            templates: Arc::default(),
            pool: BufferPool::new(),
            put_aside_count: AtomicU64::new(0),
            unusable: Mutex::default(),
            cache_bytes: u64::MAX,
            is_direct: AtomicBool::new(false),
        }
    }

    /// Shares what all models have in common with other stores of this process, instead of drawing it anew.
    #[must_use]
    pub fn with_templates(self, templates: Arc<Templates>) -> Self {
        Self { templates, ..self }
    }

    /// Lets files go past the page cache once they are more than `cache_bytes` together.
    #[must_use]
    pub fn with_cache_bytes(mut self, cache_bytes: u64) -> Self {
        self.cache_bytes = cache_bytes;
        self.is_direct = AtomicBool::new(cache_bytes == 0);
        self
    }

    /// Notes how large all model files are together, roughly.
    pub fn note_total(&self, bytes: u64) {
        let was_direct = self.is_direct();
        // Back only when it is worth it, so that a total near the limit does not change the way all the time.
        let limit = if was_direct { self.cache_bytes / 8 * 7 } else { self.cache_bytes };
        self.is_direct.store(bytes > limit || self.cache_bytes == 0, Ordering::Relaxed);
        if self.is_direct() != was_direct {
            let (total, cache) = (bytes >> 20, self.cache_bytes >> 20);
            let way = if was_direct { "through" } else { "past" };
            tracing::info!(
                "model files of some {total} MiB go {way} the page cache, which has {cache} MiB for them"
            );
        }
    }

    /// Whether files go past the page cache now.
    pub fn is_direct(&self) -> bool {
        self.is_direct.load(Ordering::Relaxed)
    }

    fn caching(&self) -> Caching {
        if self.is_direct() { Caching::Direct } else { Caching::PageCache }
    }

    /// Removes what a crash left unfinished; returns how many files that were. Only before anything is saved.
    ///
    /// # Errors
    /// What the file system said.
    pub fn clean(&self) -> io::Result<usize> {
        self.files.remove_unfinished(&self.folder)
    }

    /// The saved model, or a new one if there is no usable file. A file with the stamp `known`, which this process
    /// wrote or has checked before, is believed; any other is compared with its checksums.
    ///
    /// # Errors
    /// If the file system cannot be read at all.
    pub fn open(
        &self,
        id: &ModelId,
        generation: &str,
        params: &Arc<ModelParams>,
        known: Option<FileStamp>,
    ) -> io::Result<Opened> {
        if self.is_unusable(id) {
            return Ok(self.new_model(params));
        }
        let (region, stamp) = match self.files.open(&self.path(id), known, &self.pool, self.caching()) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.new_model(params)),
            Err(error) => return Err(error),
        };
        let trust = if known == Some(stamp) { Trust::Known } else { Trust::Checksums };
        match checkpoint::open(region, params, generation, &self.templates, trust) {
            Ok(model) => Ok(Opened { model, is_from_file: true, stamp: Some(stamp) }),
            Err(error) => {
                self.put_aside(id, &error.to_string());
                Ok(self.new_model(params))
            }
        }
    }

    /// A model that has seen nothing, whatever file there is.
    pub fn new_model(&self, params: &Arc<ModelParams>) -> Opened {
        Opened { model: Model::new(Arc::clone(params), &self.templates), is_from_file: false, stamp: None }
    }

    /// Saves a model.
    ///
    /// # Errors
    /// [`SaveError`] says what, where, how much is needed and what to do; the previous file is untouched then.
    pub fn save(&self, id: &ModelId, generation: &str, model: &Model) -> Result<FileStamp, SaveError> {
        let path = self.path(id);
        let image = checkpoint::image(model, generation);
        let saved = self.files.replace(&path, &image.slices(), &self.pool, self.caching());
        saved.map_err(|error| self.save_error(&path, image.size_bytes(), &error))
    }

    /// The last row that the saved model of this generation has stepped; `None` without a whole file of it. Reads the whole
    /// file, but not one that is `known` from the call before.
    ///
    /// # Errors
    /// If the file system cannot be read.
    pub fn saved_row(
        &self,
        id: &ModelId,
        generation: &str,
        known: Option<SavedRow>,
    ) -> io::Result<Option<SavedRow>> {
        if let Some(known) = known
            && known.generation == generation
            && self.files.stamp(&self.path(id)).is_ok_and(|stamp| stamp == known.stamp)
        {
            return Ok(Some(known));
        }
        let (region, stamp) = match self.files.open(&self.path(id), None, &self.pool, self.caching()) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = Header::of(region.bytes()).ok().filter(|header| header.generation == generation);
        let whole = header.filter(|header| header.check_sections(region.bytes()).is_ok());
        Ok(whole.map(|header| SavedRow {
            generation: generation.to_owned(),
            stamp,
            row_id: header.last_stepped_row_id,
        }))
    }

    /// Every model that has a file.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(super) fn saved_models(&self) -> io::Result<Vec<ModelId>> {
        let id_of = |file: PathBuf| {
            let name = file.file_name()?.to_str()?;
            ModelId::new(name.strip_suffix(MODEL_SUFFIX)?)
        };
        Ok(self.files.list(&self.folder)?.into_iter().filter_map(id_of).collect())
    }

    /// Size of the model's file; `None` if there is none, or nobody can tell.
    pub(super) fn file_bytes(&self, id: &ModelId) -> Option<usize> {
        let stamp = self.files.stamp(&self.path(id)).ok()?;
        usize::try_from(stamp.size_bytes).ok()
    }

    /// Whether there is a file of this model.
    pub fn has_file(&self, id: &ModelId) -> bool {
        self.files.contains(&self.path(id))
    }

    /// Removes a model's file, if there is one.
    ///
    /// # Errors
    /// What the file system said.
    pub fn remove(&self, id: &ModelId) -> io::Result<()> {
        self.files.remove(&self.path(id))
    }

    /// Renames a file that cannot be used, if there is one, and writes the reason beside it. Where that is not possible it is
    /// removed; where not even that, it stays and is not opened: the next save replaces it.
    pub fn put_aside(&self, id: &ModelId, reason: &str) {
        let path = self.path(id);
        let aside = path.with_extension("model.unusable");
        tracing::warn!(
            model = %id,
            file = %path.display(),
            kept_as = %aside.display(),
            "the model file cannot be used: {reason}; the model is rebuilt from its rows"
        );
        match self.files.rename(&path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => self.discard(id, &path, &error),
            Ok(()) => self.write_reason(&path, reason),
        }
        self.put_aside_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a file out of use that could not be renamed.
    fn discard(&self, id: &ModelId, path: &Path, not_renamed: &io::Error) {
        let what = match self.files.remove(path) {
            Ok(()) => "it was removed instead".to_owned(),
            Err(error) => {
                if let Ok(stamp) = self.files.stamp(path) {
                    self.lock_unusable().insert(id.clone(), stamp);
                }
                format!(
                    "nor removed: {error}; it is not opened again before the model is saved; let the engine's user write there"
                )
            }
        };
        tracing::warn!("{} could not be renamed: {not_renamed}; {what}", path.display());
    }

    /// Whether the model's file is still one that could not be taken out of use.
    fn is_unusable(&self, id: &ModelId) -> bool {
        let mut unusable = self.lock_unusable();
        let Some(stamp) = unusable.get(id) else { return false };
        let is_same = self.files.stamp(&self.path(id)).is_ok_and(|found| found == *stamp);
        if !is_same {
            unusable.remove(id);
        }
        is_same
    }

    fn lock_unusable(&self) -> MutexGuard<'_, HashMap<ModelId, FileStamp>> {
        self.unusable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_reason(&self, path: &Path, reason: &str) {
        let note =
            format!("{} was put aside: {reason}.\nThe model was rebuilt from its rows.\n", path.display());
        let (beside, note) = (path.with_extension("model.reason.txt"), [note.as_bytes()]);
        if let Err(error) = self.files.replace(&beside, &note, &self.pool, Caching::PageCache) {
            tracing::warn!("the reason could not be written to {}: {error}", beside.display());
        }
    }

    /// Files put aside since the start.
    pub fn put_aside_count(&self) -> u64 {
        self.put_aside_count.load(Ordering::Relaxed)
    }

    /// Where the model's file lies.
    pub fn path(&self, id: &ModelId) -> PathBuf {
        self.folder.join(path_within(id))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the operating system has many ways to fail")]
    fn save_error(&self, path: &Path, needed: usize, error: &io::Error) -> SaveError {
        let folder = self.folder.display();
        let free = match self.files.free_bytes(&self.folder) {
            Ok(free) => format!("{free} bytes are free there"),
            Err(error) => format!("how much is free there is unknown ({error})"),
        };
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space",
            io::ErrorKind::ReadOnlyFilesystem => "mount the file system writable",
            io::ErrorKind::PermissionDenied => "let the engine's user write there",
            _ => "check the disk and the kernel's log",
        };
        SaveError {
            is_of_disk: matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
            ),
            reason: format!(
                "{} could not be written: {error}; {needed} bytes are needed in {folder}, {free}: {advice}; the old \
                 file is untouched, no score is lost, and it is tried again by itself",
                path.display()
            ),
        }
    }
}

/// Why a model was not saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveError {
    reason: String,
    is_of_disk: bool,
}

impl SaveError {
    /// Whether the disk refuses everything, not this file alone.
    pub fn is_of_disk(&self) -> bool {
        self.is_of_disk
    }
}

impl fmt::Display for SaveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for SaveError {}

/// Where the file of a model lies in the folder of models, with `/` between folders.
pub fn path_within(id: &ModelId) -> String {
    format!("{}/{id}{MODEL_SUFFIX}", folder_of(id))
}

/// The folder, one of those of models, in which a model's file lies.
pub(super) fn folder_of(id: &ModelId) -> &str {
    let text = id.as_str();
    text.get(..MAX_SHARD_NAME_CHARS).unwrap_or(text)
}
