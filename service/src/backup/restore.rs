//! The way back: a data folder made of a backup.
//!
//! While files are copied a marker ([`RESTORE_MARKER`]) lies in the data folder, so that no engine starts over half of it,
//! and all locks of an engine are held.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::copying::copy;
use super::manifest::{Manifest, RowsKind};
use super::{BackupError, failed, require_room, sync_disk_of};
use crate::engine::MODELS_FOLDER;
use crate::engine::lock::{self, RESTORE_MARKER};
use crate::engine::role::Role;
use crate::machine;

/// Fills the empty folders `data_dir` and `models_dir` from the backup in `folder`, for rows that lie as `rows_kind` says.
///
/// # Errors
/// [`BackupError`] names what is damaged, in the way or failed; before anything is written, if it can be known before.
pub fn restore(
    folder: &Path,
    data_dir: &Path,
    models_dir: &Path,
    rows_kind: RowsKind,
) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(folder)?;
    check_kind(&manifest, rows_kind)?;
    check_empty(data_dir, models_dir)?;
    manifest.check_files(folder)?;
    check_room(&manifest, data_dir, models_dir)?;
    let _locks = lock::lock(data_dir, &Role::ALL).map_err(|error| BackupError::new(error.to_string()))?;
    // Once more, as nobody else comes now.
    check_empty(data_dir, models_dir)?;
    let marker = data_dir.join(RESTORE_MARKER);
    File::create_new(&marker).map_err(|error| failed("making", &marker, &error))?;
    sync_disk_of(data_dir)?;
    fs::create_dir_all(models_dir).map_err(|error| failed("making", models_dir, &error))?;
    for file in &manifest.files {
        let (from, within) = (folder.join(&file.path), Path::new(&file.path));
        let to = match within.strip_prefix(MODELS_FOLDER) {
            Ok(of_models) => models_dir.join(of_models),
            Err(_) => data_dir.join(within),
        };
        let copied = copy(&from, &to, 0)?;
        let copied = copied.ok_or_else(|| BackupError::new(format!("{} is gone", from.display())))?;
        file.compare(&from, &copied.sha1, copied.bytes)?;
    }
    sync_disk_of(data_dir)?;
    sync_disk_of(models_dir)?;
    fs::remove_file(&marker).map_err(|error| failed("removing", &marker, &error))?;
    sync_disk_of(data_dir)?;
    Ok(manifest)
}

fn check_kind(manifest: &Manifest, rows_kind: RowsKind) -> Result<(), BackupError> {
    let (found, advice) = match (manifest.rows_kind, rows_kind) {
        (RowsKind::Sqlite, RowsKind::Mysql) => (
            "has its rows in SQLite, and the settings name a MySQL database",
            "restore it without that setting (--database sqlite)",
        ),
        (RowsKind::Mysql, RowsKind::Sqlite) => (
            "has no rows: they lay in a MySQL database, and the settings name none",
            "restore that with `mysql`, and name it with --database here",
        ),
        (RowsKind::Sqlite, RowsKind::Sqlite) | (RowsKind::Mysql, RowsKind::Mysql) => return Ok(()),
    };
    Err(BackupError::new(format!("this backup {found}; {advice}")))
}

/// Models may have a disk of their own.
fn check_room(manifest: &Manifest, data_dir: &Path, models_dir: &Path) -> Result<(), BackupError> {
    let device = |folder: &Path| {
        let space = machine::disk_space(folder);
        space.map(|space| space.device).map_err(|error| failed("asking for room in", folder, &error))
    };
    if device(data_dir)? == device(models_dir)? {
        return require_room(data_dir, manifest.bytes());
    }
    let of_models = manifest.model_bytes();
    require_room(models_dir, of_models)?;
    require_room(data_dir, manifest.bytes() - of_models)
}

/// Nothing is written over. Lock files, which every engine leaves, are no data.
fn check_empty(data_dir: &Path, models_dir: &Path) -> Result<(), BackupError> {
    let is_lock = |name: &std::ffi::OsStr| Role::ALL.iter().any(|role| name == role.lock_file());
    for folder in [data_dir, models_dir] {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|error| failed("reading", folder, &error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed("reading", folder, &error))?;
            // The original's layout has the data folder in the one of the models.
            let is_data_dir = folder == models_dir && entry.path() == data_dir;
            if is_data_dir || is_lock(&entry.file_name()) {
                continue;
            }
            if entry.path() == data_dir.join(RESTORE_MARKER) {
                return Err(BackupError::new(lock::cut_off_restore(data_dir)));
            }
            return Err(BackupError::new(format!(
                "{} is not empty: it has {}; a restore writes over nothing: stop the engine that uses it, move the folder \
                 away, or name another one with --data-dir",
                folder.display(),
                entry.file_name().to_string_lossy()
            )));
        }
    }
    Ok(())
}
