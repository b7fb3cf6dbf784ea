//! What a backup says of itself: `manifest.json`, and the checksum of that beside it.
//!
//! Checksums are SHA-1: they find damage, not forgery. `sha1sum --check manifest.json.sha1` reads the one of the manifest.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use htm_core::ids::ModelId;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::copying::hash_file;
use super::{BackupError, failed};
use crate::backends::DATABASE_FILE;
use crate::engine::MODELS_FOLDER;
use crate::scheduler::model_store::path_within;
use crate::storer::kept_lines::KEPT_LINES_FILE;

/// The version of the layout of a backup that this program writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;
/// The manifest in a backup.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Its checksum.
const MANIFEST_CHECKSUM_FILE: &str = "manifest.json.sha1";
/// Longest manifest that is read: over a million files.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// Where the rows of a backed up engine are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowsKind {
    /// In the backup.
    Sqlite,
    /// In a MySQL or MariaDB database, which its own tools back up.
    Mysql,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format_version: u32,
    /// The program that wrote it.
    pub engine_version: String,
    /// When it was begun, unix seconds.
    pub taken_at: i64,
    /// Where the rows are.
    pub rows_kind: RowsKind,
    /// How many metrics there are.
    pub metrics: usize,
    /// Rows that these metrics ever stored, deleted ones too.
    pub stored_rows: i64,
    /// Of these, scored ones.
    pub scored_rows: i64,
    /// Every file but the manifest.
    pub files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Within the backup, with `/` between folders.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-1, in hexadecimal digits.
    pub sha1: String,
}

impl Manifest {
    /// How many files of models there are.
    pub fn model_files(&self) -> usize {
        self.files.iter().filter(|file| file.path.starts_with(MODELS_FOLDER)).count()
    }

    /// Size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Size of the files of models.
    pub fn model_bytes(&self) -> u64 {
        let of_models = self.files.iter().filter(|file| file.path.starts_with(MODELS_FOLDER));
        of_models.map(|file| file.bytes).sum()
    }

    /// Writes it into the folder of a backup.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| BackupError::new(format!("the manifest cannot be written: {error}")))?;
        text.push(b'\n');
        let sum = format!("{:x}  {MANIFEST_FILE}\n", Sha1::digest(&text));
        for (name, bytes) in [(MANIFEST_FILE, &*text), (MANIFEST_CHECKSUM_FILE, sum.as_bytes())] {
            let path = folder.join(name);
            let written = File::create_new(&path).and_then(|mut file| file.write_all(bytes));
            written.map_err(|error| failed("writing", &path, &error))?;
        }
        Ok(())
    }

    /// Reads that of a backup.
    pub(super) fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(MANIFEST_FILE);
        if !path.is_file() {
            return Err(BackupError::new(format!(
                "{} is no complete backup: it has no {MANIFEST_FILE}; expected a folder that `htmengine backup` finished",
                folder.display()
            )));
        }
        let (sum, bytes) = hash_file(&path)?;
        let said_path = folder.join(MANIFEST_CHECKSUM_FILE);
        let said = read_bounded(&said_path, 1024)?;
        if bytes > MAX_MANIFEST_BYTES || !said.starts_with(sum.as_bytes()) {
            return Err(damaged(
                &path,
                &format!("its SHA-1 is {sum}, {MANIFEST_CHECKSUM_FILE} has another one"),
            ));
        }
        let text = read_bounded(&path, MAX_MANIFEST_BYTES)?;
        let version = serde_json::from_slice::<VersionOnly>(&text);
        let version = version.map_err(|error| damaged(&path, &error.to_string()))?.format_version;
        if version != FORMAT_VERSION {
            return Err(BackupError::new(format!(
                "{} has format version {version}, this htmengine reads version {FORMAT_VERSION}: restore it with the \
                 version that wrote it",
                path.display()
            )));
        }
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(&path, &error.to_string()))?;
        for file in &manifest.files {
            if !is_ours(&file.path) {
                return Err(damaged(
                    &path,
                    &format!("it names the file {:?}, which no backup has", file.path),
                ));
            }
        }
        Ok(manifest)
    }

    /// Compares every file with what is said of it.
    pub(super) fn check_files(&self, folder: &Path) -> Result<(), BackupError> {
        for file in &self.files {
            let path = folder.join(&file.path);
            let (sha1, bytes) = hash_file(&path)?;
            file.compare(&path, &sha1, bytes)?;
        }
        Ok(())
    }
}

impl FileEntry {
    /// Whether what was read is what was written.
    pub(super) fn compare(&self, path: &Path, sha1: &str, bytes: u64) -> Result<(), BackupError> {
        if bytes != self.bytes {
            return Err(damaged(path, &format!("it has {bytes} bytes, expected {}", self.bytes)));
        }
        if sha1 != self.sha1 {
            return Err(damaged(path, &format!("its SHA-1 is {sha1}, expected {}", self.sha1)));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    format_version: u32,
}

/// Whether a backup has such a file: nothing else is ever written by a restore, and nothing outside of its folders.
fn is_ours(path: &str) -> bool {
    if path == DATABASE_FILE || path == KEPT_LINES_FILE {
        return true;
    }
    let id = path.rsplit('/').next().and_then(|name| name.strip_suffix(".model")).and_then(ModelId::new);
    id.is_some_and(|id| path == model_path(&id))
}

/// Where a model's file lies in a backup.
pub(super) fn model_path(id: &ModelId) -> String {
    format!("{MODELS_FOLDER}/{}", path_within(id))
}

fn read_bounded(path: &PathBuf, limit: u64) -> Result<Vec<u8>, BackupError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| failed("reading", path, &error))?;
    Ok(bytes)
}

fn damaged(path: &Path, found: &str) -> BackupError {
    BackupError::new(format!(
        "{} is damaged: {found}; nothing of this backup is used: take another one, or copy that file anew from where it \
         is whole",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_backup_are_ever_written() {
        for path in ["htmengine.sqlite", "unstored.lines", "models/ab/abc.model", "models/a/a.model"] {
            assert!(is_ours(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../htmengine.sqlite",
            "models/../../x/x.model",
            "models/ab/xyz.model",
            "models/ab/abc.model/..",
            "models/ab/abc",
            "models/ab/ab c.model",
            "models//ab/abc.model",
            "other/ab/abc.model",
            "status.json",
        ] {
            assert!(!is_ours(path), "{path}");
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_refused_when_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            engine_version: "1.2.3".to_owned(),
            taken_at: 7,
            rows_kind: RowsKind::Sqlite,
            metrics: 1,
            stored_rows: 5,
            scored_rows: 4,
            files: vec![FileEntry {
                path: DATABASE_FILE.to_owned(),
                bytes: 3,
                sha1: format!("{:x}", Sha1::digest(b"abc")),
            }],
        };
        manifest.write(folder.path()).expect("written");
        assert_eq!(Manifest::read(folder.path()), Ok(manifest.clone()));
        fs::write(folder.path().join(DATABASE_FILE), b"abc").expect("written");
        assert_eq!(manifest.check_files(folder.path()), Ok(()));
        fs::write(folder.path().join(DATABASE_FILE), b"abd").expect("written");
        let error = manifest.check_files(folder.path()).expect_err("damaged").to_string();
        assert!(error.contains("htmengine.sqlite is damaged"), "{error}");
        let path = folder.path().join(MANIFEST_FILE);
        let changed = fs::read_to_string(&path).expect("text").replace("\"metrics\": 1", "\"metrics\": 2");
        fs::write(&path, changed).expect("written");
        let error = Manifest::read(folder.path()).expect_err("damaged").to_string();
        assert!(error.contains("manifest.json is damaged"), "{error}");
        fs::remove_file(&path).expect("removed");
        let error = Manifest::read(folder.path()).expect_err("gone").to_string();
        assert!(error.contains("is no complete backup"), "{error}");
    }
}
