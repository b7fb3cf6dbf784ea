//! Many files of few models: each aged model copied until there are as many files as asked for.
//!
//! Copies differ by path only; that is all that a scheduler tells models apart by, and every copy has blocks and cached
//! pages of its own. Where the file system can share blocks between files, they are shared until written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use rustix::fs::{Advice, fadvise, ioctl_ficlone, statvfs, syncfs};

use crate::aged_models::AgedModel;

/// Files per sub-folder.
const FILES_PER_FOLDER: usize = 100;
/// Left free on the disk, for checkpoints on their way and everybody else.
const SPARE_BYTES: u64 = 1 << 30;

/// A folder of copies.
#[derive(Debug)]
pub struct ModelCopies {
    folder: PathBuf,
    count: usize,
}

impl ModelCopies {
    /// `count` copies of `models` in turn, in a folder named after them below `store`; those already there stay as they
    /// are. Copies of other models are removed.
    ///
    /// # Errors
    /// If the disk has no room for them, or fails.
    pub fn make(
        store: &Path,
        models: &[AgedModel],
        count: usize,
        progress: &ProgressBar,
    ) -> io::Result<Self> {
        let name = folder_name(models);
        fs::create_dir_all(store)?;
        for entry in fs::read_dir(store)? {
            let entry = entry?;
            let other = entry.file_name().to_string_lossy().into_owned();
            if other.starts_with("copies-") && other != name {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let copies = Self { folder: store.join(name), count };
        let missing = (0..count).filter(|&index| !copies.path(index).exists());
        let missing: Vec<usize> = missing.collect();
        copies.check_room(store, models, &missing)?;
        progress.set_length(missing.len() as u64);
        // Model by model, so that each is read once.
        for (number, model) in models.iter().enumerate() {
            let bytes = fs::read(&model.path)?;
            for &index in missing.iter().filter(|&&index| index % models.len() == number) {
                write_copy(&model.path, &bytes, &copies.path(index))?;
                progress.inc(1);
            }
        }
        syncfs(File::open(store)?)?;
        progress.finish_and_clear();
        Ok(copies)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of copy `index`.
    pub fn path(&self, index: usize) -> PathBuf {
        path_of(&self.folder, index)
    }

    /// Removes all copies.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.folder)
    }

    fn check_room(&self, store: &Path, models: &[AgedModel], missing: &[usize]) -> io::Result<()> {
        let sizes = missing.iter().map(|&index| models[index % models.len()].file_bytes);
        let needed = sizes.sum::<u64>();
        let disk = statvfs(store)?;
        let available = disk.f_bavail * disk.f_frsize;
        if needed == 0 || needed + SPARE_BYTES <= available {
            return Ok(());
        }
        let mib = |bytes: u64| bytes >> 20;
        let fitting = available.saturating_sub(SPARE_BYTES) * missing.len() as u64 / needed;
        Err(io::Error::other(format!(
            "{} model files need {} MiB more and {} MiB to spare, {} has {} MiB left: use --models {} or fewer, or \
             --store on a larger disk",
            self.count,
            mib(needed),
            mib(SPARE_BYTES),
            store.display(),
            mib(available),
            self.count - missing.len() + usize::try_from(fitting).unwrap_or(0),
        )))
    }
}

/// The file of copy `index` below `folder`.
pub fn path_of(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("{:04}", index / FILES_PER_FOLDER)).join(format!("{index:06}.model"))
}

/// Drops a file from the page cache, as far as it is on disk.
///
/// # Errors
/// What the operating system said.
pub fn forget_pages(path: &Path) -> io::Result<()> {
    Ok(fadvise(File::open(path)?, 0, None, Advice::DontNeed)?)
}

fn folder_name(models: &[AgedModel]) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for model in models {
        hasher.update(model.path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(&model.file_bytes.to_le_bytes());
    }
    format!("copies-{:08x}", hasher.finalize())
}

fn write_copy(from: &Path, bytes: &[u8], to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = to.with_extension("new");
    let mut file = File::create(&unfinished)?;
    if ioctl_ficlone(&file, File::open(from)?).is_err() {
        // One call, as a checkpoint is written, so that the page cache holds it in equally large pieces;
        // copy_file_range would bring it there page by page.
        file.write_all(bytes)?;
    }
    fs::rename(unfinished, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series_variant::VariantId;

    #[test]
    fn copies_take_turns_and_refuse_to_fill_the_disk() {
        let store = tempfile::tempdir().expect("a folder");
        let model = |name: &str, file_bytes| {
            let path = store.path().join(name);
            fs::write(&path, name).expect("written");
            let id = VariantId { file: PathBuf::from(name), variant: 0 };
            AgedModel { id, path, file_bytes, growth: Vec::new() }
        };
        let models = [model("one", 3), model("two", 3)];
        let make = |models: &[AgedModel], count| {
            ModelCopies::make(store.path(), models, count, &ProgressBar::hidden())
        };
        let copies = make(&models, 203).expect("made");
        assert_eq!(fs::read(copies.path(0)).expect("a file"), b"one");
        assert_eq!(fs::read(copies.path(201)).expect("a file"), b"two");
        forget_pages(&copies.path(201)).expect("forgotten");
        let folder = copies.folder().to_owned();
        let error = make(&[model("huge", 1 << 60)], 2).expect_err("no such disk").to_string();
        assert!(error.contains("--models 0") && error.contains("MiB left"), "{error}");
        assert!(!folder.exists(), "copies of other models make room");
    }
}
