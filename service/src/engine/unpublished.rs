//! Lines that were taken in for a broker which had not confirmed them when the engine had to end: kept in the file of lines
//! that are not stored (`storer/kept_lines.rs`), and published first by the next engine that listens here.
//!
//! Clients have seen the end of their connection by then and believe that the lines arrived. What the broker has confirmed is
//! durable there; what it has not is with us alone, up to two windows of messages. It may have arrived all the same:
//! publishing it twice stores nothing twice.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::bus::message::DataMessage;
use crate::bus::{Queue, TryPublishError};
use crate::listener::batch::message_line_count;
use crate::storer::kept_lines::{KeptLines, append};

/// While the broker has no room or does not confirm, it is asked this often whether that is waited for.
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

/// What became of kept lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// There were none.
    Nothing,
    /// The broker has confirmed so many, and their file is removed.
    Lines(usize),
    /// Their file stays; the queue is closed and holds nothing of it.
    Interrupted,
}

/// Publishes the lines kept at `path`, and removes the file once the broker has confirmed them; until `is_over` says that it is
/// to be left. Nothing else may be published meanwhile.
///
/// # Errors
/// What the operating system said.
pub(super) fn publish(
    path: &Path,
    queue: &dyn Queue<DataMessage>,
    is_over: &dyn Fn() -> bool,
) -> io::Result<Published> {
    let Some(mut kept) = KeptLines::open(path)? else { return Ok(Published::Nothing) };
    let Some(count) = publish_all(&mut kept, queue, is_over)? else {
        // Whoever keeps what is left on the queue would add it to the file that it came from.
        drop(queue.take_back());
        return Ok(Published::Interrupted);
    };
    std::fs::remove_file(path)?;
    Ok(Published::Lines(count))
}

/// Until all is confirmed, and how many lines that were; `None` if `is_over` first.
fn publish_all(
    kept: &mut KeptLines,
    queue: &dyn Queue<DataMessage>,
    is_over: &dyn Fn() -> bool,
) -> io::Result<Option<usize>> {
    let mut count = 0;
    loop {
        let part = kept.next()?;
        if part.is_empty() {
            break;
        }
        let lines: Vec<Vec<u8>> = part.into_iter().flat_map(|delivery| delivery.message.lines).collect();
        let mut rest = lines.as_slice();
        while !rest.is_empty() {
            let (message, after) = rest.split_at(message_line_count(rest));
            if !publish_unless(queue, DataMessage::new(message.to_vec()), is_over) {
                return Ok(None);
            }
            rest = after;
        }
        count += lines.len();
    }
    while !queue.settle(STOP_CHECK_INTERVAL) {
        if is_over() {
            return Ok(None);
        }
    }
    Ok(Some(count))
}

/// Waits for room; `false` if the queue was closed or `is_over` first.
fn publish_unless(
    queue: &dyn Queue<DataMessage>,
    mut message: DataMessage,
    is_over: &dyn Fn() -> bool,
) -> bool {
    loop {
        message = match queue.try_publish(message) {
            Ok(()) => return true,
            Err(TryPublishError::Closed(_)) => return false,
            Err(TryPublishError::Full(message)) => message,
        };
        if is_over() {
            return false;
        }
        thread::sleep(STOP_CHECK_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::bus::{BusError, Delivery, DeliveryTag};
    use crate::storer::kept_lines::KEPT_LINES_FILE;

    /// Of a broker that confirms nothing.
    struct Window {
        room: usize,
        messages: Mutex<Vec<DataMessage>>,
    }

    impl Queue<DataMessage> for Window {
        fn publish(&self, _: DataMessage) -> Result<(), BusError> {
            unreachable!("it would wait without an end")
        }

        fn try_publish(&self, message: DataMessage) -> Result<(), TryPublishError<DataMessage>> {
            let mut messages = self.messages.lock().expect("no panic");
            if messages.len() >= self.room {
                return Err(TryPublishError::Full(message));
            }
            messages.push(message);
            Ok(())
        }

        fn receive(&self, _: usize, _: Duration) -> Result<Vec<Delivery<DataMessage>>, BusError> {
            Ok(Vec::new())
        }

        fn acknowledge(&self, _: DeliveryTag) -> Result<(), BusError> {
            Ok(())
        }

        fn close(&self) {}

        fn settle(&self, _: Duration) -> bool {
            self.messages.lock().expect("no panic").is_empty()
        }

        fn take_back(&self) -> Vec<DataMessage> {
            std::mem::take(&mut self.messages.lock().expect("no panic"))
        }

        fn depth(&self) -> usize {
            self.messages.lock().expect("no panic").len()
        }
    }

    /// What was on its way again was kept again, behind itself: at each start and stop while the broker was away.
    #[test]
    fn kept_lines_that_a_stop_leaves_unpublished_are_kept_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEPT_LINES_FILE);
        let lines = "m 1 2\n".repeat(500);
        std::fs::write(&path, &lines).expect("written");
        for room in [1, 100] {
            let window = Window { room, messages: Mutex::default() };
            let published = publish(&path, &window, &|| true).expect("readable");
            assert_eq!((published, window.depth()), (Published::Interrupted, 0), "room for {room}");
            assert_eq!(keep(&path, &window, Duration::ZERO).expect("nothing to keep"), 0);
            assert_eq!(std::fs::read_to_string(&path).expect("stays"), lines);
        }
    }
}
