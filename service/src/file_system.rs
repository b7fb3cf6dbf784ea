//! Files as a trait, so that model storage can be run against a simulated disk.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use htm_core::format::mapping::{BufferPool, PAGE, Region};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

/// Ending of the name under which a file is written until it is whole.
const UNFINISHED_SUFFIX: &str = ".new";

/// Most characters in the name of a shard, one of the folders that model files are spread over.
pub const MAX_SHARD_NAME_CHARS: usize = 2;

/// Files up to this size are read, larger ones mapped: reading copies every byte but never faults, mapping copies only
/// the pages that a step writes. A page that the disk cannot give ends the process where a file is mapped, so only files are
/// that were read or written whole before.
const READ_UP_TO_BYTES: u64 = 16 << 20;

/// Most that is written past the page cache at once, whole pages: nobody has reserved memory for a copy of a large model.
const MAX_DIRECT_WRITE_BYTES: usize = 4 << 20;
const _: () = assert!(MAX_DIRECT_WRITE_BYTES.is_multiple_of(PAGE));

/// Whether files go through the kernel's page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// They do: a file that was read or written lately is not read from the disk.
    PageCache,
    /// They do not, where the file system can: for many more files than memory, whose pages would only push out one
    /// another, at several times the processor time of the transfer itself.
    Direct,
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// The file's number in its file system: every replacement is another file.
    pub inode: u64,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written to, seconds and nanoseconds.
    pub modified: (i64, i64),
}

/// What model storage asks of a file system.
pub trait FileSystem: Send + Sync {
    /// The whole file, read into memory of `pool`, or mapped privately if its stamp is `known`: this process wrote it or
    /// has read it before.
    ///
    /// # Errors
    /// What the operating system said; `NotFound` if there is none.
    fn open(
        &self,
        path: &Path,
        known: Option<FileStamp>,
        pool: &Arc<BufferPool>,
        caching: Caching,
    ) -> io::Result<(Region, FileStamp)>;

    /// Puts the bytes of all `parts` at `path`, making its folder: afterwards, whatever happens in between, there is either the
    /// old file or the whole new one, and after success the new one survives a power failure. Space is reserved
    /// before anything is written. Returns the new file's stamp. `pool` lends memory if need be.
    ///
    /// # Errors
    /// What the operating system said; the old file is untouched then.
    fn replace(
        &self,
        path: &Path,
        parts: &[&[u8]],
        pool: &Arc<BufferPool>,
        caching: Caching,
    ) -> io::Result<FileStamp>;

    /// Files in the shards in `folder`, its folders with names of [`MAX_SHARD_NAME_CHARS`] at most, in the order of their
    /// names; none if there is no such folder. A shard that may not be read is left out, and the log says so.
    ///
    /// # Errors
    /// What the operating system said.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Moves a file within its folder.
    ///
    /// # Errors
    /// What the operating system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The stamp of the file at `path`.
    ///
    /// # Errors
    /// What the operating system said; `NotFound` if there is none.
    fn stamp(&self, path: &Path) -> io::Result<FileStamp>;

    /// Whether there is a file at `path`, as far as can be told.
    fn contains(&self, path: &Path) -> bool;

    /// Removes a file; there being none is no error.
    ///
    /// # Errors
    /// What the operating system said.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes what replacements that never ended left in the shards in `folder`; returns how many there were.
    /// Nobody else may be replacing files there.
    ///
    /// # Errors
    /// What the operating system said of the first one that it did not remove; all others are removed.
    fn remove_unfinished(&self, folder: &Path) -> io::Result<usize>;

    /// Bytes that can still be written below `folder`.
    ///
    /// # Errors
    /// What the operating system said.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

impl FileStamp {
    /// That of an open file.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from_metadata(&file.metadata()?))
    }

    fn from_metadata(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), size_bytes: metadata.len(), modified }
    }
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl FileSystem for DiskFiles {
    fn open(
        &self,
        path: &Path,
        known: Option<FileStamp>,
        pool: &Arc<BufferPool>,
        caching: Caching,
    ) -> io::Result<(Region, FileStamp)> {
        let (file, caching) = open_file(File::options().read(true), path, caching)?;
        let stamp = FileStamp::of(&file)?;
        let is_small = stamp.size_bytes <= READ_UP_TO_BYTES;
        let is_read = caching == Caching::Direct || is_small || known != Some(stamp);
        let region = if is_read { Region::read(&file, pool) } else { Region::map(&file) };
        Ok((region?, stamp))
    }

    fn replace(
        &self,
        path: &Path,
        parts: &[&[u8]],
        pool: &Arc<BufferPool>,
        caching: Caching,
    ) -> io::Result<FileStamp> {
        replace_synced(path, parts, (pool, caching), &sync)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        list_readable(folder, &files_in)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        Ok(FileStamp::from_metadata(&fs::metadata(path)?))
    }

    fn contains(&self, path: &Path) -> bool {
        path.exists()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn remove_unfinished(&self, folder: &Path) -> io::Result<usize> {
        let (mut removed, mut first_error) = (0, None);
        for file in self.list(folder)? {
            let name = file.file_name().unwrap_or_default();
            if name.as_encoded_bytes().ends_with(UNFINISHED_SUFFIX.as_bytes()) {
                match fs::remove_file(&file) {
                    Ok(()) => removed += 1,
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
        }
        first_error.map_or(Ok(removed), Err)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(folder)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

fn files_in(shard: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(shard)?.map(|file| Ok(file?.path())).collect()
}

/// [`FileSystem::list`] with its own `files_in`: root, whom tests mostly run as, is refused nothing. A disk of its own for the
/// models has a `lost+found` that only root may read.
fn list_readable(
    folder: &Path,
    files_in: &dyn Fn(&Path) -> io::Result<Vec<PathBuf>>,
) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let (mut files, mut refusing) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry?;
        if entry.file_name().len() > MAX_SHARD_NAME_CHARS || !entry.file_type()?.is_dir() {
            continue;
        }
        match files_in(&entry.path()) {
            Ok(found) => files.extend(found),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refusing.push(entry.path()),
            Err(error) => return Err(error),
        }
    }
    if let Some(first) = refusing.first() {
        tracing::warn!(
            "{} folders of models cannot be read, {} among them: permission denied; their files are left out; let the \
             engine's user read there",
            refusing.len(),
            first.display()
        );
    }
    files.sort_unstable();
    Ok(files)
}

/// What is to be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    /// The bytes of a file.
    Bytes,
    /// The names in a folder.
    Names,
}

/// Returns once it is on the disk, and not in the kernel's memory only.
fn sync(file: &File, what: Synced) -> io::Result<()> {
    match what {
        Synced::Bytes => file.sync_data(),
        Synced::Names => file.sync_all(),
    }
}

/// [`FileSystem::replace`] with its own `sync`: nothing but the order of these calls makes a file survive a power failure, and
/// a test can only look at that.
fn replace_synced(
    path: &Path,
    parts: &[&[u8]],
    (pool, caching): (&Arc<BufferPool>, Caching),
    sync: &dyn Fn(&File, Synced) -> io::Result<()>,
) -> io::Result<FileStamp> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let new = unfinished(path);
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        // The folder itself is a name in another one.
        sync(&File::open(folder.parent().unwrap_or(folder))?, Synced::Names)?;
    }
    let size = parts.iter().map(|part| part.len() as u64).sum();
    let written = (|| {
        let how = File::options().write(true).create(true).truncate(true).clone();
        let (mut file, caching) = open_file(&how, &new, caching)?;
        reserve(&file, size)?;
        match caching {
            Caching::PageCache => write_all(&mut file, parts)?,
            Caching::Direct => write_direct(&mut file, parts, pool, size)?,
        }
        sync(&file, Synced::Bytes)?;
        fs::rename(&new, path)?;
        FileStamp::of(&file)
    })();
    if written.is_err() {
        // What could not be finished only takes space.
        let _ = fs::remove_file(&new);
        return written;
    }
    sync(&File::open(folder)?, Synced::Names)?;
    written
}

/// Opens past the page cache if that is asked for and possible; says which it was.
fn open_file(how: &OpenOptions, path: &Path, caching: Caching) -> io::Result<(File, Caching)> {
    if caching == Caching::Direct {
        let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag of open");
        match how.clone().custom_flags(direct).open(path) {
            // Some file systems (tmpfs once) cannot.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            other => return other.map(|file| (file, Caching::Direct)),
        }
    }
    how.open(path).map(|file| (file, Caching::PageCache))
}

/// Writes all parts past the page cache: through one piece of aligned memory, whole pages, cut to size afterwards.
fn write_direct(file: &mut File, parts: &[&[u8]], pool: &Arc<BufferPool>, size: u64) -> io::Result<()> {
    let len = usize::try_from(size).map_err(io::Error::other)?;
    let mut region = Region::reused(len.next_multiple_of(PAGE).min(MAX_DIRECT_WRITE_BYTES), pool);
    let mut filled = 0;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let place = &mut region.bytes_mut()[filled..];
            let (now, later) = rest.split_at(rest.len().min(place.len()));
            place[..now.len()].copy_from_slice(now);
            (rest, filled) = (later, filled + now.len());
            if filled == region.bytes().len() {
                file.write_all(region.bytes())?;
                filled = 0;
            }
        }
    }
    let last = filled.next_multiple_of(PAGE);
    region.bytes_mut()[filled..last].fill(0);
    file.write_all(&region.bytes()[..last])?;
    file.set_len(size)
}

/// Writes all parts with as few calls as the operating system takes.
fn write_all(file: &mut File, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reserves room, so that a disk that fills up is told before a byte is written.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // Some file systems (NFS, ZFS) cannot; writing then tells.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => Ok(other?),
    }
}

/// Another name in each process: an engine and a command line may write the same file.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}{UNFINISHED_SUFFIX}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> io::Result<Vec<u8>> {
        let opened = DiskFiles.open(path, None, &BufferPool::new(), Caching::PageCache);
        opened.map(|(region, _)| region.bytes().to_vec())
    }

    fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<FileStamp> {
        DiskFiles.replace(path, parts, &BufferPool::new(), Caching::PageCache)
    }

    #[test]
    fn files_past_the_page_cache_are_the_same_files() {
        // Not below /tmp, which may be a file system that cannot.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
        let path = folder.path().join("b.model");
        let pool = BufferPool::new();
        for len in [0, 1, 511, 4095, 4096, 4097, 100_000, 4 << 20, (8 << 20) + 1] {
            let bytes: Vec<u8> = (0..len).map(|index: u32| (index % 251).to_le_bytes()[0]).collect();
            let (first, second) = bytes.split_at(bytes.len() / 3);
            let stamp = DiskFiles.replace(&path, &[first, second], &pool, Caching::Direct).expect("written");
            assert_eq!(stamp.size_bytes, u64::from(len));
            assert!(read(&path).expect("read") == bytes, "{len}");
            let (region, found) = DiskFiles.open(&path, None, &pool, Caching::Direct).expect("opened");
            assert!((region.bytes(), found) == (&*bytes, stamp), "{len}");
        }
    }

    #[test]
    fn replaces_whole_files_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a").join("b.model");
        let first = replace(&path, &[b"one"]).expect("written");
        let second = replace(&path, &[b"t", b"", b"wo"]).expect("written");
        assert_ne!(first, second);
        let (_, found) = DiskFiles.open(&path, None, &BufferPool::new(), Caching::PageCache).expect("opened");
        assert_eq!(found, second);
        assert_eq!(read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(folder.path().join("a")).expect("a folder").count(), 1);
        DiskFiles.remove(&path).expect("removed");
        DiskFiles.remove(&path).expect("removing nothing is fine");
        assert_eq!(read(&path).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }

    /// Whatever is left out of these calls or comes too late, no killed process and no test of a whole engine would notice.
    #[test]
    fn bytes_are_on_the_disk_before_they_have_their_name_and_names_before_it_is_told() {
        for caching in [Caching::PageCache, Caching::Direct] {
            let top = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
            let folder = top.path().join("a");
            let path = folder.join("b.model");
            let number = |file: &File| FileStamp::of(file).expect("a stamp").inode;
            let number_of = |path: &Path| number(&File::open(path).expect("is there"));
            let replace_seen = |bytes: &[u8]| {
                let seen = std::cell::RefCell::new(Vec::new());
                let stamp = replace_synced(&path, &[bytes], (&BufferPool::new(), caching), &|file, what| {
                    sync(file, what)?;
                    seen.borrow_mut().push((what, number(file), fs::read(&path).ok()));
                    Ok(())
                });
                (stamp.expect("written").inode, seen.into_inner())
            };
            let (first, seen) = replace_seen(b"one");
            let is_first = (Synced::Bytes, first, None);
            let is_named = (Synced::Names, number_of(&folder), Some(b"one".to_vec()));
            let is_made = (Synced::Names, number_of(top.path()), None);
            assert_eq!(seen, [is_made, is_first, is_named]);
            let (second, seen) = replace_seen(b"two");
            let is_second = (Synced::Bytes, second, Some(b"one".to_vec()));
            let is_named = (Synced::Names, number_of(&folder), Some(b"two".to_vec()));
            assert_eq!(seen, [is_second, is_named]);
        }
    }

    #[test]
    fn a_file_that_is_not_on_the_disk_replaces_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("b.model");
        replace(&path, &[b"one"]).expect("written");
        let refuse = |_: &File, _: Synced| Err(io::Error::other("made up"));
        let refused = replace_synced(&path, &[b"two"], (&BufferPool::new(), Caching::PageCache), &refuse);
        assert!(refused.is_err());
        assert_eq!(read(&path).expect("read"), b"one");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    /// A mapping takes exactly the file's size, what was read into whole pages more.
    #[test]
    fn a_large_file_is_mapped_only_if_it_was_read_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("b.model");
        let size = READ_UP_TO_BYTES + 1;
        File::create(&path).and_then(|file| file.set_len(size)).expect("made");
        let size = usize::try_from(size).expect("small");
        let pool = BufferPool::new();
        let open = |known| DiskFiles.open(&path, known, &pool, Caching::PageCache).expect("opened");
        let (read, stamp) = open(None);
        assert!(read.memory_bytes() > size);
        assert_eq!(open(Some(stamp)).0.memory_bytes(), size);
        let other = FileStamp { inode: stamp.inode + 1, ..stamp };
        assert!(open(Some(other)).0.memory_bytes() > size, "another file of that name");
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("b.model");
        replace(&path, &[b"one"]).expect("written");
        // A folder in the way of the unfinished file.
        fs::create_dir(unfinished(&path)).expect("made");
        assert!(replace(&path, &[b"two"]).is_err());
        assert_eq!(read(&path).expect("read"), b"one");
    }

    #[test]
    fn what_a_crash_left_unfinished_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ab").join("abc.model");
        replace(&path, &[b"one"]).expect("written");
        fs::write(unfinished(&path), b"tw").expect("written");
        assert_eq!(DiskFiles.list(folder.path()).expect("listed").len(), 2);
        assert_eq!(DiskFiles.remove_unfinished(folder.path()).expect("removed"), 1);
        assert_eq!(DiskFiles.list(folder.path()).expect("listed"), std::slice::from_ref(&path));
        assert_eq!(DiskFiles.remove_unfinished(folder.path()).expect("removed"), 0);
        assert_eq!(read(&path).expect("read"), b"one");
        assert_eq!(DiskFiles.remove_unfinished(&folder.path().join("none")).expect("no folder"), 0);
    }

    /// Such a folder made the whole listing fail, and with it all that is done by listing.
    #[test]
    fn a_folder_that_cannot_be_read_hides_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["ab/one", "cd/two", "lost+found/three", "ef"] {
            replace(&folder.path().join(name), &[b"one"]).expect("written");
        }
        let refusing = |refused: &'static str, kind: io::ErrorKind| {
            list_readable(folder.path(), &move |shard| {
                assert!(!shard.ends_with("lost+found"), "it is no folder of models");
                if shard.ends_with(refused) { Err(kind.into()) } else { files_in(shard) }
            })
        };
        let left = refusing("ab", io::ErrorKind::PermissionDenied).expect("listed");
        assert_eq!(left, [folder.path().join("cd/two")]);
        assert_eq!(refusing("none", io::ErrorKind::PermissionDenied).expect("listed").len(), 2);
        assert!(refusing("ab", io::ErrorKind::Other).is_err(), "a bad disk is told of");
    }

    #[test]
    fn an_unfinished_file_that_cannot_be_removed_keeps_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("ab/1.new"), folder.path().join("ab/2.new"));
        fs::create_dir_all(&first).expect("a folder in its place");
        fs::write(&second, b"tw").expect("written");
        assert!(DiskFiles.remove_unfinished(folder.path()).is_err());
        assert!(first.exists() && !second.exists());
    }

    #[test]
    fn more_than_the_disk_holds_is_refused_before_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = File::create(folder.path().join("x")).expect("made");
        let error = reserve(&file, 1 << 60).expect_err("more than any disk");
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::FileTooLarge];
        assert!(kinds.contains(&error.kind()), "{error}");
        assert!(DiskFiles.free_bytes(folder.path()).expect("a disk") < 1 << 60);
    }
}
