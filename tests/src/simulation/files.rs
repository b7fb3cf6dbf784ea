//! The simulated disk: whole files that are replaced by name, as a process sees them and as a power failure leaves them.
//!
//! It keeps the contract of [`FileSystem`]: after a kill there is the old file or the whole new one, perhaps with an
//! unfinished one beside it. A power failure is worse than that contract, as disks are: files come back cut off, damaged,
//! as they were before, or not at all. The engine may lose time by that, never a score.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use htm_core::format::header::Header;
use htm_core::format::mapping::{BufferPool, Region};
use htm_core::ids::ModelId;
use htmengine::file_system::{Caching, FileStamp, FileSystem};
use htmengine::model_params::ModelStart;

use super::canary::Canary;
use super::fault::Fault;
use super::stage::{Caller, Stage};
use super::tables::Tables;
use super::verdict::Violation;

/// What a disk says it has left.
const FREE_BYTES: u64 = 1 << 40;
/// Ending of a file that is being written.
const UNFINISHED: &str = "new";

/// What is on the disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: BTreeMap<PathBuf, StoredFile>,
    last_inode: u64,
}

#[derive(Debug, Clone)]
struct StoredFile {
    bytes: Arc<Vec<u8>>,
    stamp: FileStamp,
    /// What it replaced.
    earlier: Option<Arc<Vec<u8>>>,
}

impl Disk {
    fn put(&mut self, path: &Path, bytes: Arc<Vec<u8>>) -> FileStamp {
        self.last_inode += 1;
        let stamp = FileStamp { inode: self.last_inode, size_bytes: bytes.len() as u64, modified: (0, 0) };
        let earlier = self.files.get(path).map(|file| Arc::clone(&file.bytes));
        self.files.insert(path.to_owned(), StoredFile { bytes, stamp, earlier });
        stamp
    }

    /// The power fails: some files are not what they were.
    pub(super) fn fail(&mut self, stage: &Stage) {
        let paths: Vec<PathBuf> = self.files.keys().cloned().collect();
        for path in paths {
            let file = &self.files[&path];
            let mut bytes = file.bytes.to_vec();
            if stage.strikes(Fault::FileTorn) {
                bytes.truncate(stage.below(bytes.len() + 1));
            } else if stage.strikes(Fault::FileDamaged) {
                damage(&mut bytes, stage);
            } else if stage.strikes(Fault::FileOld) {
                bytes = file.earlier.as_ref().map(|earlier| earlier.to_vec()).unwrap_or_default();
            } else if stage.strikes(Fault::FileGone) {
                self.files.remove(&path);
                continue;
            } else {
                continue;
            }
            self.put(&path, Arc::new(bytes));
        }
    }
}

fn damage(bytes: &mut [u8], stage: &Stage) {
    if bytes.is_empty() {
        return;
    }
    let at = stage.below(bytes.len());
    bytes[at] ^= 1 << stage.below(8);
}

/// One process's files.
pub(super) struct SimulatedFiles {
    caller: Caller,
    disk: Arc<Mutex<Disk>>,
    tables: Arc<Mutex<Tables>>,
}

impl SimulatedFiles {
    pub(super) fn new(caller: Caller, disk: Arc<Mutex<Disk>>, tables: Arc<Mutex<Tables>>) -> Self {
        Self { caller, disk, tables }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A model's file never stands beyond the rows whose scores are committed: a crash would lose what is between.
    fn check_position(&self, path: &Path, bytes: &[u8]) {
        let Ok(header) = Header::of(bytes) else { return };
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(ModelId::new);
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(table) = id.and_then(|id| tables.metrics.get(&id)) else { return };
        // A file of a life that was given up meanwhile is never opened.
        let start = table.metric.model_params.as_deref().map(ModelStart::from_json);
        let is_current =
            start.is_some_and(|start| start.is_ok_and(|start| start.generation == header.generation));
        if is_current && header.last_stepped_row_id > table.scored_up_to {
            self.caller.stage().violate(Violation::FileAheadOfScores {
                metric: table.metric.name.clone(),
                file: header.last_stepped_row_id,
                scored: table.scored_up_to,
            });
        }
    }
}

impl FileSystem for SimulatedFiles {
    fn open(
        &self,
        path: &Path,
        _known: Option<FileStamp>,
        _pool: &Arc<BufferPool>,
        _caching: Caching,
    ) -> io::Result<(Region, FileStamp)> {
        self.caller.touch("file opened");
        let stage = self.caller.stage();
        if stage.strikes(Fault::FileUnreadable) {
            return Err(io::Error::other("simulated: the file cannot be read"));
        }
        let disk = self.lock();
        let file = disk.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        let (mut region, stamp) = (Region::copy_of(&file.bytes), file.stamp);
        drop(disk);
        if stage.canary() == Some(Canary::RottenFile) {
            // Behind the table of sections, so that the file opens.
            let len = region.bytes().len();
            for at in (len / 4..len).step_by(97) {
                region.bytes_mut()[at] ^= u8::from(stage.below(16) == 0);
            }
        }
        Ok((region, stamp))
    }

    fn replace(
        &self,
        path: &Path,
        parts: &[&[u8]],
        _pool: &Arc<BufferPool>,
        _caching: Caching,
    ) -> io::Result<FileStamp> {
        self.caller.touch("file written");
        let stage = self.caller.stage();
        if stage.outage(Fault::DiskFull).is_some() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let bytes = parts.concat();
        let unfinished = path.with_extension(UNFINISHED);
        self.lock().put(&unfinished, Arc::new(bytes[..bytes.len() / 2].to_vec()));
        self.caller.touch("file synced");
        self.lock().files.remove(&unfinished);
        if stage.strikes(Fault::WriteFailed) {
            return Err(io::Error::other("simulated: the file cannot be written"));
        }
        self.check_position(path, &bytes);
        let stamp = self.lock().put(path, Arc::new(bytes));
        self.caller.touch("file replaced");
        Ok(stamp)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.caller.touch("folder listed");
        Ok(self.lock().files.keys().filter(|path| path.starts_with(folder)).cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.caller.touch("file renamed");
        let mut disk = self.lock();
        let file = disk.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        self.caller.touch("file measured");
        let disk = self.lock();
        Ok(disk.files.get(path).ok_or(io::ErrorKind::NotFound)?.stamp)
    }

    fn contains(&self, path: &Path) -> bool {
        self.caller.touch("file looked for");
        self.lock().files.contains_key(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.caller.touch("file removed");
        self.lock().files.remove(path);
        Ok(())
    }

    fn remove_unfinished(&self, _folder: &Path) -> io::Result<usize> {
        self.caller.touch("folder cleaned");
        let mut disk = self.lock();
        let before = disk.files.len();
        let is_finished = |path: &Path| path.extension().is_none_or(|extension| extension != UNFINISHED);
        disk.files.retain(|path, _| is_finished(path));
        Ok(before - disk.files.len())
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        self.caller.check();
        Ok(FREE_BYTES)
    }
}
