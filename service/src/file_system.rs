//! Files as a trait, so that model storage can be run against a simulated disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What model storage asks of a file system.
pub trait FileSystem: Send + Sync {
    /// The whole file.
    ///
    /// # Errors
    /// What the operating system said; `NotFound` if there is none.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Puts `bytes` at `path`, making its folder: afterwards, whatever happens in between, there is either the
    /// old file or the whole new one, and after success the new one survives a power failure.
    ///
    /// # Errors
    /// What the operating system said; the old file is untouched then.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Moves a file within its folder.
    ///
    /// # Errors
    /// What the operating system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; there being none is no error.
    ///
    /// # Errors
    /// What the operating system said.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl FileSystem for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let new = unfinished(path);
        fs::create_dir_all(folder)?;
        let written = (|| {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&new, path)
        })();
        if let Err(error) = written {
            // What could not be finished only takes space.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        File::open(folder)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Name under which a file is written until it is whole. A crash may leave one behind; the next write of the
/// same file replaces it.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a").join("b.model");
        DiskFiles.replace(&path, b"one").expect("written");
        DiskFiles.replace(&path, b"two").expect("written");
        assert_eq!(DiskFiles.read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(folder.path().join("a")).expect("a folder").count(), 1);
        DiskFiles.remove(&path).expect("removed");
        DiskFiles.remove(&path).expect("removing nothing is fine");
        assert_eq!(DiskFiles.read(&path).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("b.model");
        DiskFiles.replace(&path, b"one").expect("written");
        // A folder in the way of the unfinished file.
        fs::create_dir(unfinished(&path)).expect("made");
        assert!(DiskFiles.replace(&path, b"two").is_err());
        assert_eq!(DiskFiles.read(&path).expect("read"), b"one");
    }
}
