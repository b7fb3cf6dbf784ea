//! A disk that refuses some files, as the test says, and notes which were opened.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use htm_core::format::mapping::{BufferPool, Region};
use htmengine::file_system::{Caching, DiskFiles, FileStamp, FileSystem};

type Refusal = Box<dyn Fn(&Path) -> Option<io::ErrorKind> + Send + Sync>;

/// The operating system's files, but for those refused.
#[derive(Default)]
pub struct RefusingFiles {
    reading: Mutex<Option<Refusal>>,
    writing: Mutex<Option<Refusal>>,
    opened: Mutex<Vec<PathBuf>>,
}

impl RefusingFiles {
    /// Files are not read, and folders not listed, for which `why` has a reason.
    pub fn refuse_reading(&self, why: impl Fn(&Path) -> Option<io::ErrorKind> + Send + Sync + 'static) {
        *lock(&self.reading) = Some(Box::new(why));
    }

    /// Files are not written, renamed or removed for which `why` has a reason.
    pub fn refuse_writing(&self, why: impl Fn(&Path) -> Option<io::ErrorKind> + Send + Sync + 'static) {
        *lock(&self.writing) = Some(Box::new(why));
    }

    /// All is well again.
    pub fn refuse_nothing(&self) {
        *lock(&self.reading) = None;
        *lock(&self.writing) = None;
    }

    /// Files that were opened since the last call, in order.
    pub fn take_opened(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *lock(&self.opened))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(refusal: &Mutex<Option<Refusal>>, path: &Path) -> io::Result<()> {
    let kind = lock(refusal).as_ref().and_then(|why| why(path));
    kind.map_or(Ok(()), |kind| Err(kind.into()))
}

impl FileSystem for RefusingFiles {
    fn open(
        &self,
        path: &Path,
        known: Option<FileStamp>,
        pool: &Arc<BufferPool>,
        caching: Caching,
    ) -> io::Result<(Region, FileStamp)> {
        check(&self.reading, path)?;
        let opened = DiskFiles.open(path, known, pool, caching)?;
        lock(&self.opened).push(path.to_owned());
        Ok(opened)
    }

    fn replace(
        &self,
        path: &Path,
        parts: &[&[u8]],
        pool: &Arc<BufferPool>,
        caching: Caching,
    ) -> io::Result<FileStamp> {
        check(&self.writing, path)?;
        DiskFiles.replace(path, parts, pool, caching)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        check(&self.reading, folder)?;
        DiskFiles.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check(&self.writing, to)?;
        DiskFiles.rename(from, to)
    }

    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        DiskFiles.stamp(path)
    }

    fn contains(&self, path: &Path) -> bool {
        DiskFiles.contains(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        check(&self.writing, path)?;
        DiskFiles.remove(path)
    }

    fn remove_unfinished(&self, folder: &Path) -> io::Result<usize> {
        DiskFiles.remove_unfinished(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        DiskFiles.free_bytes(folder)
    }
}
