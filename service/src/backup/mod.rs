//! Backups: a consistent copy of rows and models while the engine runs, and its way back.
//!
//! The rows are the truth and a model file is a cache of a fold over them, so a backup is right when no model file in it
//! stands beyond its rows. That is had by order: **model files first, rows after them**. A model is saved only once its
//! scores are committed, so whatever file is copied, the rows that it has learned, with their scores, are in every later
//! moment of the database. What the copied file has not seen is stepped again after the restore, to the same scores.
//!
//! One thing can part the two: old rows are deleted as far as the *newest* file no longer needs them, which the copied file
//! may. So each copied file is compared with the rows of the copied moment, and copied again, with a later moment, if rows
//! after it are gone. Files of models that their metric has given up stay behind.
//!
//! Invariants: the target is made under another name ([`UNFINISHED_SUFFIX`]), synced, and renamed when it is complete;
//! nothing that exists is written over; at most a piece of a file and a few pages of the database are in memory.
//!
//! Where rows lie in MySQL or MariaDB only the models are copied: a consistent copy of a database that other programs use as
//! well is for its own tools to make, after the models.
//!
//! `manifest.rs` is what a backup says of itself, `copying.rs` reads and writes files, `restore.rs` is the way back.
//!
//! Source: ours.

mod copying;
pub mod manifest;
mod restore;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use htm_core::format::header::{Header, MAX_HEAD_BYTES};
use htm_core::ids::{ModelId, RowId};

use self::copying::{copy, hash_file};
use self::manifest::{FORMAT_VERSION, FileEntry, Manifest, RowsKind, model_path};
use crate::backends::DATABASE_FILE;
use crate::machine;
use crate::model_params::ModelStart;
use crate::repository::metric::Metric;
use crate::repository::sqlite::snapshot::{SqliteSnapshot, structure_faults};
use crate::repository::{Repository, RepositoryError, StatusSum};
use crate::scheduler::model_store::path_within;
use crate::storer::kept_lines::KEPT_LINES_FILE;

pub use self::restore::restore;

/// Ends the name of a backup that is not complete.
pub const UNFINISHED_SUFFIX: &str = ".unfinished";
/// How often models are copied again whose rows were deleted meanwhile.
const MAX_ROUNDS: usize = 5;
/// Room that must be free besides the size of what is copied, in parts of that size.
const SPARE_PARTS: u64 = 20;

/// What is backed up.
pub struct Source<'a> {
    /// The engine's data folder.
    pub data_dir: &'a Path,
    /// Where its model files lie.
    pub models_dir: &'a Path,
    /// Where its rows lie, if not in the data folder.
    pub elsewhere: Option<&'a dyn Repository>,
}

/// Copies rows and models into the new folder `target`; `now` is noted as its time.
///
/// # Errors
/// [`BackupError`] says what is in the way, or failed; nothing is left then.
pub fn take(source: &Source<'_>, target: &Path, now: i64) -> Result<Manifest, BackupError> {
    check_target(source, target)?;
    let database = source.data_dir.join(DATABASE_FILE);
    if source.elsewhere.is_none() && !database.is_file() {
        return Err(BackupError::new(format!(
            "there is no {} to back up: no engine has run over {}; name its folder with --data-dir",
            database.display(),
            source.data_dir.display()
        )));
    }
    let models = model_files(source.models_dir)?;
    check_room(source, &models, target)?;
    let unfinished = Unfinished::make(target)?;
    let folder = &unfinished.path;
    let mut copied = Vec::new();
    for id in models {
        copied.extend(copy_model(source, folder, id)?);
    }
    let mut manifest = Manifest {
        format_version: FORMAT_VERSION,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at: now,
        rows_kind: if source.elsewhere.is_some() { RowsKind::Mysql } else { RowsKind::Sqlite },
        metrics: 0,
        stored_rows: 0,
        scored_rows: 0,
        files: Vec::new(),
    };
    // Before the rows, too: a line of it that is in both is told apart by its time.
    manifest.files.extend(copy_kept_lines(source, folder)?);
    let rows = settle(source, folder, &mut copied, &database)?;
    for sum in rows.status_sums()? {
        manifest.metrics += sum.metrics;
        manifest.stored_rows += sum.stored_rows;
        manifest.scored_rows += sum.scored_rows;
    }
    if let Rows::Moment(snapshot) = rows {
        let path = folder.join(DATABASE_FILE);
        snapshot.copy_to(&path)?;
        let (sha1, bytes) = hash_file(&path)?;
        manifest.files.push(FileEntry { path: DATABASE_FILE.to_owned(), bytes, sha1 });
    }
    manifest.files.extend(copied.into_iter().map(|model| model.entry));
    manifest.write(folder)?;
    unfinished.finish(target)?;
    Ok(manifest)
}

/// Whether a backup is complete and undamaged: manifest, checksums, and the database's own structure.
///
/// # Errors
/// [`BackupError`] names the first file that is not as it was written.
pub fn verify(folder: &Path) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(folder)?;
    manifest.check_files(folder)?;
    if manifest.rows_kind == RowsKind::Sqlite {
        let path = folder.join(DATABASE_FILE);
        if let Some(found) = structure_faults(&path)? {
            return Err(BackupError::new(format!(
                "{} was copied from a database that was damaged already: {found}; take an older backup",
                path.display()
            )));
        }
    }
    Ok(manifest)
}

/// A model file in the backup.
struct CopiedModel {
    id: ModelId,
    generation: String,
    position: RowId,
    entry: FileEntry,
}

/// The rows that the models are compared with.
enum Rows<'a> {
    Moment(SqliteSnapshot),
    Elsewhere(&'a dyn Repository),
}

impl Rows<'_> {
    fn metric(&self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        match self {
            Self::Moment(snapshot) => snapshot.metric(id),
            Self::Elsewhere(repository) => repository.metric(id),
        }
    }

    fn scored_up_to(&self, id: &ModelId) -> Result<RowId, RepositoryError> {
        match self {
            Self::Moment(snapshot) => snapshot.scored_up_to(id),
            Self::Elsewhere(repository) => repository.scored_up_to(id),
        }
    }

    fn next_row(&self, id: &ModelId, after: RowId) -> Result<Option<RowId>, RepositoryError> {
        match self {
            Self::Moment(snapshot) => snapshot.next_row(id, after),
            Self::Elsewhere(repository) => {
                Ok(repository.rows_after(id, after, 1)?.first().map(|row| row.row_id))
            }
        }
    }

    fn status_sums(&self) -> Result<Vec<StatusSum>, RepositoryError> {
        match self {
            Self::Moment(snapshot) => snapshot.status_sums(),
            Self::Elsewhere(repository) => repository.status_sums(0),
        }
    }

    fn fit(&self, model: &CopiedModel) -> Result<Fit, RepositoryError> {
        let Some(metric) = self.metric(&model.id)? else { return Ok(Fit::GivenUp) };
        let start = metric.model_params.as_deref().and_then(|text| ModelStart::from_json(text).ok());
        if start.is_none_or(|start| start.generation != model.generation) {
            return Ok(Fit::GivenUp);
        }
        if model.position > self.scored_up_to(&model.id)? {
            return Ok(Fit::Apart);
        }
        let goes_on = match self.next_row(&model.id, model.position)? {
            Some(next) => next.0 == model.position.0 + 1,
            None => metric.last_rowid == model.position,
        };
        Ok(if goes_on { Fit::Right } else { Fit::Apart })
    }
}

/// How a model file and the rows go together.
enum Fit {
    /// Its rows are there, and those it has not seen follow.
    Right,
    /// Its metric is gone, or has another model by now.
    GivenUp,
    /// Rows are missing between the two, on either side.
    Apart,
}

/// Takes a moment of the rows to which every copied model fits; those that do not are copied again, those given up go.
fn settle<'a>(
    source: &Source<'a>,
    folder: &Path,
    copied: &mut Vec<CopiedModel>,
    database: &Path,
) -> Result<Rows<'a>, BackupError> {
    let mut again = String::new();
    for _ in 0..MAX_ROUNDS {
        let rows = match source.elsewhere {
            Some(repository) => Rows::Elsewhere(repository),
            None => Rows::Moment(SqliteSnapshot::begin(database)?),
        };
        let (mut right, mut apart) = (Vec::with_capacity(copied.len()), Vec::new());
        for model in copied.drain(..) {
            match rows.fit(&model)? {
                Fit::Right => right.push(model),
                Fit::GivenUp => remove(&folder.join(&model.entry.path))?,
                Fit::Apart => apart.push(model.id),
            }
        }
        *copied = right;
        if apart.is_empty() {
            return Ok(rows);
        }
        again = apart.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        drop(rows);
        for id in apart {
            copied.extend(copy_model(source, folder, id)?);
        }
    }
    Err(BackupError::new(format!(
        "model files and rows do not come together (models {again}): rows are deleted faster than models are saved, or a \
         model file was changed by hand; run the backup again, or `htmengine rebuild` these metrics first"
    )))
}

/// Copies a model's file; `None` if there is none any more, or it is none that an engine of this version would open.
fn copy_model(source: &Source<'_>, folder: &Path, id: ModelId) -> Result<Option<CopiedModel>, BackupError> {
    let path = model_path(&id);
    let from = source.models_dir.join(path_within(&id));
    let to = folder.join(&path);
    let Some(file) = copy(&from, &to, MAX_HEAD_BYTES)? else { return Ok(None) };
    let file_bytes = usize::try_from(file.bytes).unwrap_or(usize::MAX);
    match Header::of_head(&file.head, file_bytes) {
        Ok(header) => Ok(Some(CopiedModel {
            id,
            generation: header.generation,
            position: header.last_stepped_row_id,
            entry: FileEntry { path, bytes: file.bytes, sha1: file.sha1 },
        })),
        Err(error) => {
            tracing::warn!(
                "{} is left out: {error}; its model is built again from its rows, as by the engine",
                from.display()
            );
            remove(&to)?;
            Ok(None)
        }
    }
}

/// Copies lines that an engine had taken in and could not store before it ended, if there are any.
fn copy_kept_lines(source: &Source<'_>, folder: &Path) -> Result<Option<FileEntry>, BackupError> {
    let copied = copy(&source.data_dir.join(KEPT_LINES_FILE), &folder.join(KEPT_LINES_FILE), 0)?;
    Ok(copied.map(|file| FileEntry { path: KEPT_LINES_FILE.to_owned(), bytes: file.bytes, sha1: file.sha1 }))
}

/// Ids of the models that have files.
fn model_files(models_dir: &Path) -> Result<Vec<ModelId>, BackupError> {
    let unreadable = |error: io::Error| failed("reading", models_dir, &error);
    let shards = match fs::read_dir(models_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unreadable)?,
    };
    let mut ids = Vec::new();
    for shard in shards {
        let shard = shard.map_err(unreadable)?;
        if !shard.file_type().map_err(unreadable)?.is_dir() {
            continue;
        }
        for file in fs::read_dir(shard.path()).map_err(unreadable)? {
            let file = file.map_err(unreadable)?;
            let name = file.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".model")).and_then(ModelId::new);
            ids.extend(id.filter(|id| file.path() == models_dir.join(path_within(id))));
        }
    }
    ids.sort();
    Ok(ids)
}

/// A backup never goes where something is, nor into what it copies.
fn check_target(source: &Source<'_>, target: &Path) -> Result<(), BackupError> {
    let shown = target.display();
    if !is_free(target)? {
        return Err(BackupError::new(format!(
            "{shown} exists and is not an empty folder; name a new one, a backup never writes over anything"
        )));
    }
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for folder in [source.data_dir, source.models_dir] {
        if absolute(target).starts_with(absolute(folder)) {
            return Err(BackupError::new(format!(
                "{shown} lies in {}, which is to be backed up; name a folder outside of it, best on another disk",
                folder.display()
            )));
        }
    }
    Ok(())
}

/// Whether there is nothing at `path`, or an empty folder.
fn is_free(path: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(failed("looking at", path, &error)),
    }
}

fn check_room(source: &Source<'_>, models: &[ModelId], target: &Path) -> Result<(), BackupError> {
    let size = |path: PathBuf| fs::metadata(path).map_or(0, |found| found.len());
    let of_model = |id: &ModelId| size(source.models_dir.join(path_within(id)));
    let mut needed: u64 = models.iter().map(of_model).sum();
    if source.elsewhere.is_none() {
        // What is in the log is written into the copy, too.
        needed += size(source.data_dir.join(DATABASE_FILE));
        needed += size(source.data_dir.join(format!("{DATABASE_FILE}-wal")));
    }
    require_room(target, needed)
}

/// Whether `bytes`, and a little, are free where `folder` is to be.
fn require_room(folder: &Path, bytes: u64) -> Result<(), BackupError> {
    let needed = bytes.saturating_add(bytes / SPARE_PARTS);
    let space = machine::disk_space(folder).map_err(|error| failed("asking for room in", folder, &error))?;
    if space.available >= needed {
        return Ok(());
    }
    Err(BackupError::new(format!(
        "{needed} bytes are needed for {}, {} are free there: free some space, or name a folder on another disk",
        folder.display(),
        space.available
    )))
}

/// The folder that becomes the backup; removed if it does not.
struct Unfinished {
    path: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    fn make(target: &Path) -> Result<Self, BackupError> {
        let named = target.file_name().ok_or_else(|| {
            BackupError::new(format!("{} has no name of its own; name the new folder", target.display()))
        })?;
        let mut name = OsString::from(named);
        name.push(UNFINISHED_SUFFIX);
        let path = target.with_file_name(name);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|error| failed("making", parent, &error))?;
        }
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path, is_finished: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::new(format!(
                "{} is there: another backup to this folder runs, or one was cut off; if none runs, remove it",
                path.display()
            ))),
            Err(error) => Err(failed("making", &path, &error)),
        }
    }

    /// Everything is on the disk before it gets its name.
    fn finish(mut self, target: &Path) -> Result<(), BackupError> {
        sync_disk_of(&self.path)?;
        fs::rename(&self.path, target).map_err(|error| failed("naming", target, &error))?;
        self.is_finished = true;
        let parent =
            target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_disk_of(parent)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!("{} could not be removed: {error}", self.path.display());
        }
    }
}

/// Waits until everything written to the file system of `folder` is on the disk: one call for any number of files.
fn sync_disk_of(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
    synced.map_err(|error| failed("syncing", folder, &error))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    fs::remove_file(path).map_err(|error| failed("removing", path, &error))
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> BackupError {
    BackupError::new(format!("{doing} {} failed: {error}", path.display()))
}

/// Why a backup was not taken, or is not used: found, expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupError {
    reason: String,
}

impl BackupError {
    fn new(reason: String) -> Self {
        Self { reason }
    }
}

impl From<RepositoryError> for BackupError {
    fn from(error: RepositoryError) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for BackupError {}
