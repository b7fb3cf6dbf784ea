//! Lines gathered into messages, and the messages that the bus has no room for yet.
//!
//! The poll loop adds every framed line, closes the open batch at the end of each turn, and calls
//! [`Batcher::publish`]. While something is left unpublished the loop reads nothing, so that at most the lines of
//! one read chunk are held here.
//!
//! Invariant: lines leave in the order they were added; none is dropped.
//!
//! Source: htmengine's metric listener (200 lines to a message, a lone line goes at once). Departures: one batch
//! for all connections instead of one each, and a limit in bytes, because 1,024 waiting messages of 200 lines of
//! 64 KiB would be 13 GiB.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::bus::message::{DataMessage, SourceRun};
use crate::bus::{Queue, TryPublishError};

/// Most lines in one message.
pub const MAX_BATCH_LINES: usize = 200;
/// A batch is closed once its lines hold this many bytes; one line may take it past that.
pub const MAX_BATCH_BYTES: usize = 262_144;

/// How many of these lines, from the first on, go into one message: at least one, if there is one. The data queue is
/// bounded in messages, so whoever fills it keeps to this.
pub fn message_line_count(lines: &[Vec<u8>]) -> usize {
    let mut bytes = 0;
    let has_room = |line: &&Vec<u8>| {
        let has_room = bytes < MAX_BATCH_BYTES;
        bytes += line.len();
        has_room
    };
    lines.iter().take(MAX_BATCH_LINES).take_while(has_room).count()
}

/// What became of a [`Batcher::publish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publishing {
    /// The bus took every closed batch.
    Done,
    /// The bus is full; the rest is kept.
    Blocked,
    /// The bus is closed; the rest is kept but will never be taken.
    Closed,
}

/// Lines on their way from the sockets to the bus.
#[derive(Debug, Default)]
pub struct Batcher {
    open: DataMessage,
    open_bytes: usize,
    /// Full or closed by [`Batcher::close_open`], oldest first.
    closed: VecDeque<DataMessage>,
}

impl Batcher {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line of this sender to the open batch, which is closed when that fills it.
    pub fn add(&mut self, line: &[u8], source: IpAddr) {
        self.open.lines.push(line.to_vec());
        match self.open.sources.last_mut() {
            Some(run) if run.source == source => run.line_count += 1,
            _ => self.open.sources.push(SourceRun { source, line_count: 1 }),
        }
        self.open_bytes += line.len();
        if self.open.lines.len() >= MAX_BATCH_LINES || self.open_bytes >= MAX_BATCH_BYTES {
            self.close_open();
        }
    }

    /// Closes the open batch, full or not; nothing if it is empty.
    pub fn close_open(&mut self) {
        if !self.open.lines.is_empty() {
            self.open_bytes = 0;
            self.closed.push_back(std::mem::take(&mut self.open));
        }
    }

    /// Gives closed batches to `queue` until there are none or it takes no more. Never waits. Returns how many it
    /// took, and why it stopped.
    pub fn publish(&mut self, queue: &dyn Queue<DataMessage>) -> (u64, Publishing) {
        let mut taken_count = 0;
        while let Some(message) = self.closed.pop_front() {
            let (message, outcome) = match queue.try_publish(message) {
                Ok(()) => {
                    taken_count += 1;
                    continue;
                }
                Err(TryPublishError::Full(message)) => (message, Publishing::Blocked),
                Err(TryPublishError::Closed(message)) => (message, Publishing::Closed),
            };
            self.closed.push_front(message);
            return (taken_count, outcome);
        }
        (taken_count, Publishing::Done)
    }

    /// Lines not yet taken by the bus.
    pub fn line_count(&self) -> usize {
        self.open.lines.len() + self.closed.iter().map(|message| message.lines.len()).sum::<usize>()
    }

    /// The oldest of them.
    pub fn first_line(&self) -> Option<&[u8]> {
        self.closed.front().unwrap_or(&self.open).lines.first().map(Vec::as_slice)
    }

    /// Whether the bus has taken every line.
    pub fn is_empty(&self) -> bool {
        self.open.lines.is_empty() && self.closed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::bus::memory::MemoryQueue;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn drained(queue: &MemoryQueue<DataMessage>) -> Vec<Vec<Vec<u8>>> {
        let deliveries = queue.receive(usize::MAX, Duration::ZERO).expect("open");
        deliveries.into_iter().map(|delivery| delivery.message.lines).collect()
    }

    #[test]
    fn a_batch_closes_at_its_line_limit() {
        let (mut batcher, queue) = (Batcher::new(), MemoryQueue::new(9));
        for number in 0..=2 * MAX_BATCH_LINES {
            batcher.add(number.to_string().as_bytes(), HERE);
        }
        assert_eq!(batcher.publish(&queue), (2, Publishing::Done));
        assert_eq!((batcher.line_count(), batcher.is_empty()), (1, false));
        batcher.close_open();
        assert_eq!(batcher.publish(&queue), (1, Publishing::Done));
        assert!(batcher.is_empty());
        let messages = drained(&queue);
        assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_BATCH_LINES, MAX_BATCH_LINES, 1]);
        let expected: Vec<_> =
            (0..=2 * MAX_BATCH_LINES).map(|number| number.to_string().into_bytes()).collect();
        assert_eq!(messages.concat(), expected);
    }

    #[test]
    fn a_batch_closes_at_its_byte_limit() {
        let (mut batcher, queue) = (Batcher::new(), MemoryQueue::new(9));
        for _ in 0..5 {
            batcher.add(&vec![b'x'; MAX_BATCH_BYTES / 4], HERE);
        }
        assert_eq!(batcher.publish(&queue), (1, Publishing::Done));
        assert_eq!(drained(&queue)[0].len(), 4);
        for _ in 0..3 {
            batcher.add(&vec![b'x'; MAX_BATCH_BYTES / 4], HERE);
        }
        assert_eq!(batcher.publish(&queue), (1, Publishing::Done), "the count starts again with each batch");
    }

    #[test]
    fn an_empty_batch_is_not_a_message() {
        let (mut batcher, queue) = (Batcher::new(), MemoryQueue::new(9));
        batcher.close_open();
        assert_eq!(batcher.publish(&queue), (0, Publishing::Done));
        assert_eq!(queue.depth(), 0);
    }

    #[test]
    fn what_a_full_or_closed_bus_refuses_is_kept_in_order() {
        let (mut batcher, queue) = (Batcher::new(), MemoryQueue::new(1));
        for line in [b"a", b"b", b"c"] {
            batcher.add(line, HERE);
            batcher.close_open();
        }
        assert_eq!(batcher.publish(&queue), (1, Publishing::Blocked));
        assert_eq!(batcher.publish(&queue), (0, Publishing::Blocked));
        assert_eq!(drained(&queue), [[b"a"]]);
        assert_eq!(batcher.publish(&queue), (1, Publishing::Blocked));
        queue.close();
        assert_eq!(batcher.publish(&queue), (0, Publishing::Closed));
        assert_eq!(batcher.line_count(), 1);
        assert_eq!(drained(&queue), [[b"b"]]);
    }

    #[test]
    fn each_message_says_who_sent_which_lines() {
        let (mut batcher, queue) = (Batcher::new(), MemoryQueue::new(9));
        let there = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        for source in [HERE, HERE, there, HERE] {
            batcher.add(b"a 1 2", source);
        }
        batcher.close_open();
        batcher.add(b"b 1 2", there);
        batcher.close_open();
        batcher.publish(&queue);
        let deliveries = queue.receive(9, Duration::ZERO).expect("open");
        let runs: Vec<Vec<(IpAddr, usize)>> = deliveries
            .iter()
            .map(|it| it.message.sources.iter().map(|run| (run.source, run.line_count)).collect())
            .collect();
        assert_eq!(runs, [vec![(HERE, 2), (there, 1), (HERE, 1)], vec![(there, 1)]]);
    }
}
