//! Lines that were taken in and could not be stored before the engine had to end: kept in a file of the data folder, stored
//! first by the next engine.
//!
//! Only where the data queue is in this process, and gone with it; a broker keeps its messages itself, but for those that it has
//! not confirmed (`engine/unpublished.rs`). The file is one line after the other, as they came: lines have no line ends in
//! them. Storing it twice stores nothing twice.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bus::message::DataMessage;
use crate::bus::{Delivery, DeliveryTag, Queue};

/// The file in a data folder.
pub const KEPT_LINES_FILE: &str = "unstored.lines";
/// Longest such file, over any number of ends: twice what the data queue holds.
pub const MAX_KEPT_BYTES: u64 = 512 << 20;
/// Lines stored from it at once.
const LINES_PER_PART: usize = 10_000;
/// Messages taken from the queue at once.
const MESSAGES_PER_TAKE: usize = 64;

/// The lines that a storer is about to store, for whoever must end without it. What is refused or stored is not among them.
#[derive(Debug, Clone, Default)]
pub struct LinesInHand {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Clone, Default)]
struct Held {
    lines: Arc<Vec<Vec<u8>>>,
    /// For each of them, whether it is still to be stored.
    is_waiting: Vec<bool>,
}

impl LinesInHand {
    /// In place of those before, `waiting` of `lines`, by their indices.
    pub(super) fn take(&self, lines: &Arc<Vec<Vec<u8>>>, waiting: impl Iterator<Item = usize>) {
        let mut held = Held { lines: Arc::clone(lines), is_waiting: vec![false; lines.len()] };
        waiting.for_each(|line_idx| held.is_waiting[line_idx] = true);
        *self.lock() = held;
    }

    /// These are stored or refused; of lines that are not in hand it says nothing.
    pub(super) fn let_go(&self, done: impl Iterator<Item = usize>) {
        let mut held = self.lock();
        for line_idx in done {
            if let Some(is_waiting) = held.is_waiting.get_mut(line_idx) {
                *is_waiting = false;
            }
        }
    }

    pub(super) fn clear(&self) {
        *self.lock() = Held::default();
    }

    fn held(&self) -> Held {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn waiting(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.lines.iter().zip(&self.is_waiting).filter(|(_, is_waiting)| **is_waiting).map(|(line, _)| line)
    }
}

/// Writes what is in hand and what waits on the closed `queue` behind what the file at `path` has; returns how many lines
/// that were. Afterwards they survive a power failure.
///
/// # Errors
/// What the operating system said; `FileTooLarge` beyond [`MAX_KEPT_BYTES`]. The file is as it was then.
pub fn keep(path: &Path, in_hand: &LinesInHand, queue: &dyn Queue<DataMessage>) -> io::Result<usize> {
    // The queue first: then nothing can be taken from it into the hand any more.
    let mut waiting = Vec::new();
    while let Ok(deliveries) = queue.receive(MESSAGES_PER_TAKE, std::time::Duration::ZERO)
        && !deliveries.is_empty()
    {
        waiting.extend(deliveries.into_iter().flat_map(|delivery| delivery.message.lines));
    }
    append(path, in_hand.held().waiting().chain(&waiting))
}

/// Writes `lines` behind what the file at `path` has; returns how many they were. Afterwards they survive a power failure.
///
/// # Errors
/// As [`keep`].
pub fn append<'a>(path: &Path, lines: impl Iterator<Item = &'a Vec<u8>>) -> io::Result<usize> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return Ok(0);
    }
    let new = unfinished(path);
    let written = (|| {
        // Also what an earlier end, that was interrupted, has left in the new file goes.
        let mut file = File::create(&new)?;
        match File::open(path) {
            Ok(mut old) => drop(io::copy(&mut old, &mut file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut bytes = file.metadata()?.len();
        let (mut out, mut count) = (BufWriter::new(file), 0);
        for line in lines {
            bytes += line.len() as u64 + 1;
            if bytes > MAX_KEPT_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            out.write_all(line)?;
            out.write_all(b"\n")?;
            count += 1;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(count)
    })();
    if written.is_err() {
        // What could not be finished only takes space.
        let _ = fs::remove_file(&new);
    }
    written
}

/// The lines kept at `path`, in parts.
pub struct KeptLines {
    reader: BufReader<File>,
}

impl KeptLines {
    /// `None` if there are none.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { reader: BufReader::new(file) })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next part, as if it came from the queue; none at the end.
    ///
    /// # Errors
    /// What the operating system said.
    #[expect(clippy::should_implement_trait, reason = "an error is no item")]
    pub fn next(&mut self) -> io::Result<Vec<Delivery<DataMessage>>> {
        let mut lines = Vec::new();
        while lines.len() < LINES_PER_PART {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            lines.push(line);
        }
        // Acknowledging this tag says nothing: no delivery has it.
        let tag = DeliveryTag(0);
        Ok(if lines.is_empty() {
            Vec::new()
        } else {
            vec![Delivery { tag, message: DataMessage::new(lines) }]
        })
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("lines.new")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::memory::MemoryQueue;

    #[test]
    fn what_is_in_hand_and_what_waits_is_kept_in_order_and_added_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEPT_LINES_FILE);
        let queue = MemoryQueue::new(1_000);
        let (in_hand, none) = (LinesInHand::default(), LinesInHand::default());
        assert_eq!(keep(&path, &in_hand, &queue).expect("nothing to keep"), 0);
        assert!(!path.exists());
        let lines = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        in_hand.take(&Arc::new(lines(&["a 1 1", "rubbish", "x 1 1", "b 2 2"])), [0, 2, 3].into_iter());
        in_hand.let_go([2].into_iter());
        for number in 0..70 {
            queue.publish(DataMessage::new(lines(&[&format!("c 1 {number}")]))).expect("open");
        }
        queue.close();
        assert_eq!(keep(&path, &in_hand, &queue).expect("kept"), 72);
        none.clear();
        assert_eq!(keep(&path, &none, &queue).expect("nothing more"), 0);
        assert_eq!(keep(&path, &in_hand, &queue).expect("kept again"), 2);
        let mut kept = KeptLines::open(&path).expect("readable").expect("there");
        let part = kept.next().expect("readable").pop().expect("a part").message.lines;
        assert_eq!(
            (part.len(), &*part[0], &*part[2], &*part[72]),
            (74, &b"a 1 1"[..], &b"c 1 0"[..], &b"a 1 1"[..])
        );
        assert!(kept.next().expect("readable").is_empty());
        assert!(!unfinished(&path).exists());
    }

    /// Without lines kept before, new ones were appended to the remains, and the first one to half a line.
    #[test]
    fn remains_of_an_interrupted_keep_are_not_added_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEPT_LINES_FILE);
        fs::write(unfinished(&path), "x 1 1\ny 2").expect("written");
        let (in_hand, queue) = (LinesInHand::default(), MemoryQueue::new(9));
        in_hand.take(&Arc::new(vec![b"a 1 1".to_vec()]), [0].into_iter());
        queue.close();
        assert_eq!(keep(&path, &in_hand, &queue).expect("kept"), 1);
        assert_eq!(fs::read_to_string(&path).expect("readable"), "a 1 1\n");
    }
}
