//! Lines that were taken in for a broker which had not confirmed them when the engine had to end: kept in the file of lines
//! that are not stored (`storer/kept_lines.rs`), and published first by the next engine that listens here.
//!
//! Clients have seen the end of their connection by then and believe that the lines arrived. What the broker has confirmed is
//! durable there; what it has not is with us alone, up to two windows of messages. It may have arrived all the same:
//! publishing it twice stores nothing twice.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bus::message::DataMessage;
use crate::bus::{Queue, TryPublishError};
use crate::listener::batch::{MAX_BATCH_BYTES, MAX_BATCH_LINES};
use crate::storer::kept_lines::{KeptLines, append};

/// While the broker has no room or does not confirm, the stop signal is looked at this often.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Waits up to `limit` until the broker has confirmed all, and writes the lines of the rest behind what the file at `path`
/// has. Closes the queue unless all was confirmed. Returns how many lines were written.
///
/// # Errors
/// What the operating system said; then they are lost.
pub(super) fn keep(path: &Path, queue: &dyn Queue<DataMessage>, limit: Duration) -> io::Result<usize> {
    if queue.settle(limit) {
        return Ok(0);
    }
    let messages = queue.take_back();
    append(path, messages.iter().flat_map(|message| &message.lines))
}

/// Publishes the lines kept at `path`, and removes the file once the broker has confirmed them. Returns how many they were;
/// `None` if there are none, or `stop` was raised before: then the file stays.
///
/// # Errors
/// What the operating system said.
pub(super) fn publish(
    path: &Path,
    queue: &dyn Queue<DataMessage>,
    stop: &AtomicBool,
) -> io::Result<Option<usize>> {
    let Some(mut kept) = KeptLines::open(path)? else { return Ok(None) };
    let mut count = 0;
    loop {
        let part = kept.next()?;
        if part.is_empty() {
            break;
        }
        let mut lines = part.into_iter().flat_map(|delivery| delivery.message.lines).peekable();
        while lines.peek().is_some() {
            let message = next_message(&mut lines);
            count += message.lines.len();
            if !publish_unless(queue, message, stop) {
                return Ok(None);
            }
        }
    }
    while !queue.settle(STOP_CHECK_INTERVAL) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
    std::fs::remove_file(path)?;
    Ok(Some(count))
}

/// Bounded as those of the listener.
fn next_message(lines: &mut impl Iterator<Item = Vec<u8>>) -> DataMessage {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while taken.len() < MAX_BATCH_LINES && bytes < MAX_BATCH_BYTES {
        let Some(line) = lines.next() else { break };
        bytes += line.len();
        taken.push(line);
    }
    DataMessage::new(taken)
}

/// Waits for room; `false` if the queue was closed or `stop` raised first.
fn publish_unless(queue: &dyn Queue<DataMessage>, mut message: DataMessage, stop: &AtomicBool) -> bool {
    loop {
        message = match queue.try_publish(message) {
            Ok(()) => return true,
            Err(TryPublishError::Closed(_)) => return false,
            Err(TryPublishError::Full(message)) => message,
        };
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(STOP_CHECK_INTERVAL);
    }
}
