//! Copying and reading files with their checksum, a piece at a time.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha1::{Digest, Sha1};

use super::{BackupError, failed};

/// What is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passed {
    /// Its SHA-1, in hexadecimal digits.
    pub(super) sha1: String,
    /// Its size.
    pub(super) bytes: u64,
    /// Its beginning, as far as asked for.
    pub(super) head: Vec<u8>,
}

/// SHA-1 and size of a file.
pub(super) fn hash_file(path: &Path) -> Result<(String, u64), BackupError> {
    let read = File::open(path).and_then(|file| pass(file, &mut io::sink(), 0));
    let read = read.map_err(|error| failed("reading", path, &error))?;
    Ok((read.sha1, read.bytes))
}

/// Copies `from` to the new file `to`, making its folder; not synced. `None` if there is no file `from`. What is copied is
/// one version of the file even if it is replaced meanwhile: the open one stays whole.
pub(super) fn copy(from: &Path, to: &Path, head_bytes: usize) -> Result<Option<Passed>, BackupError> {
    let source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", from, &error)),
    };
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| failed("making", folder, &error))?;
    let copied = File::create(to).and_then(|mut target| pass(source, &mut target, head_bytes));
    let copied = copied.map_err(|error| failed(&format!("copying {} to", from.display()), to, &error))?;
    Ok(Some(copied))
}

fn pass(mut from: impl Read, to: &mut impl Write, head_bytes: usize) -> io::Result<Passed> {
    let mut piece = vec![0; PIECE_BYTES];
    let (mut sum, mut bytes, mut head) = (Sha1::new(), 0, Vec::new());
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok(Passed { sha1: format!("{:x}", sum.finalize()), bytes, head }),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = &piece[..count];
        to.write_all(read)?;
        sum.update(read);
        head.extend_from_slice(&read[..count.min(head_bytes - head.len())]);
        bytes += count as u64;
    }
}
