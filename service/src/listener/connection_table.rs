//! All open connections: who has unread bytes, who is finished, who has been silent too long.
//!
//! The poll loop is the only user. A slot number is also the connection's poll token.
//!
//! Invariants:
//! - A slot is in the ready list exactly if its connection says so; a finished connection never is.
//! - At most one timer per slot, so that timers are bounded by the most connections ever open at once, not by how
//!   fast connections come and go. A timer that fires early looks at the last activity and arms itself again, so
//!   that receiving a byte costs no timer work.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::connection::{Connection, LineFramer};
use super::poll_loop::FIRST_CONNECTION_TOKEN;

pub(super) struct ConnectionTable {
    idle_timeout: Duration,
    slots: Vec<Slot>,
    free_slots: Vec<usize>,
    ready_slots: VecDeque<usize>,
    finished_slots: Vec<usize>,
    timers: BinaryHeap<Reverse<(Duration, usize)>>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    is_ready: bool,
    is_finished: bool,
    has_timer: bool,
}

/// How many connections were closed, and how many of them in the middle of a line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) connection_count: u64,
    pub(super) unfinished_line_count: u64,
}

impl ConnectionTable {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout,
            slots: Vec::new(),
            free_slots: Vec::new(),
            ready_slots: VecDeque::new(),
            finished_slots: Vec::new(),
            timers: BinaryHeap::new(),
        }
    }

    /// Open connections, finished ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free_slots.len()
    }

    /// Takes a connection in and starts watching it.
    pub(super) fn insert(
        &mut self,
        mut stream: TcpStream,
        registry: &Registry,
        now: Duration,
    ) -> io::Result<()> {
        let slot_idx = self.free_slots.last().copied().unwrap_or(self.slots.len());
        registry.register(&mut stream, Token(FIRST_CONNECTION_TOKEN + slot_idx), Interest::READABLE)?;
        if self.free_slots.pop().is_none() {
            self.slots.push(Slot::default());
        }
        let slot = &mut self.slots[slot_idx];
        slot.connection = Some(Connection { stream, framer: LineFramer::new(), last_activity: now });
        slot.is_finished = false;
        if !slot.has_timer {
            slot.has_timer = true;
            self.timers.push(Reverse((now + self.idle_timeout, slot_idx)));
        }
        Ok(())
    }

    pub(super) fn get_mut(&mut self, slot_idx: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot_idx)?.connection.as_mut()
    }

    /// The connection may have bytes to read.
    pub(super) fn mark_ready(&mut self, slot_idx: usize) {
        let Some(slot) = self.slots.get_mut(slot_idx) else { return };
        if slot.connection.is_some() && !slot.is_finished && !slot.is_ready {
            slot.is_ready = true;
            self.ready_slots.push_back(slot_idx);
        }
    }

    /// Every connection may have bytes to read.
    pub(super) fn mark_all_ready(&mut self) {
        for slot_idx in 0..self.slots.len() {
            self.mark_ready(slot_idx);
        }
    }

    pub(super) fn ready_count(&self) -> usize {
        self.ready_slots.len()
    }

    /// The connection that has waited longest to be read.
    pub(super) fn pop_ready(&mut self) -> Option<usize> {
        let slot_idx = self.ready_slots.pop_front()?;
        self.slots[slot_idx].is_ready = false;
        Some(slot_idx)
    }

    /// The client has sent its last byte; the connection stays open until [`ConnectionTable::close_finished`].
    /// Call it for a connection just popped.
    pub(super) fn finish(&mut self, slot_idx: usize) {
        self.slots[slot_idx].is_finished = true;
        self.finished_slots.push(slot_idx);
    }

    /// Closes every finished connection: their clients now see the end of our stream.
    pub(super) fn close_finished(&mut self) {
        while let Some(slot_idx) = self.finished_slots.pop() {
            self.remove(slot_idx);
        }
    }

    /// Closes a connection just popped, and says whether that cut a line.
    pub(super) fn remove(&mut self, slot_idx: usize) -> Closed {
        // Dropping the stream closes it, which also ends its registration.
        let Some(connection) = self.slots[slot_idx].connection.take() else { return Closed::default() };
        self.free_slots.push(slot_idx);
        Closed { connection_count: 1, unfinished_line_count: u64::from(connection.framer.has_partial()) }
    }

    /// When [`ConnectionTable::close_idle`] next has something to look at.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Closes the connections that have been silent for the timeout. Those that wait for us are not silent.
    pub(super) fn close_idle(&mut self, now: Duration) -> Closed {
        let mut closed = Closed::default();
        while let Some(&Reverse((at, slot_idx))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            let slot = &mut self.slots[slot_idx];
            let Some(connection) = &slot.connection else {
                slot.has_timer = false;
                continue;
            };
            let silent_since = if slot.is_ready || slot.is_finished { now } else { connection.last_activity };
            let next_at = silent_since + self.idle_timeout;
            if next_at > now {
                self.timers.push(Reverse((next_at, slot_idx)));
            } else {
                slot.has_timer = false;
                let one = self.remove(slot_idx);
                closed.connection_count += one.connection_count;
                closed.unfinished_line_count += one.unfinished_line_count;
            }
        }
        closed
    }

    /// Every open connection, for the last goodbye.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Connection> + '_ {
        self.slots.iter_mut().filter_map(|slot| slot.connection.take())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

    use std::net::{TcpListener, TcpStream as StdTcpStream};

    use mio::Poll;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    struct Fixture {
        poll: Poll,
        server: TcpListener,
        clients: Vec<StdTcpStream>,
        table: ConnectionTable,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                poll: Poll::new().unwrap(),
                server: TcpListener::bind("127.0.0.1:0").unwrap(),
                clients: Vec::new(),
                table: ConnectionTable::new(TIMEOUT),
            }
        }

        fn connect(&mut self, now_s: u64) {
            self.clients.push(StdTcpStream::connect(self.server.local_addr().unwrap()).unwrap());
            let stream = self.server.accept().unwrap().0;
            stream.set_nonblocking(true).unwrap();
            let stream = TcpStream::from_std(stream);
            self.table.insert(stream, self.poll.registry(), Duration::from_secs(now_s)).unwrap();
        }

        fn close_idle(&mut self, now_s: u64) -> u64 {
            self.table.close_idle(Duration::from_secs(now_s)).connection_count
        }
    }

    #[test]
    fn a_silent_connection_is_closed_after_the_timeout_and_not_before() {
        let mut fixture = Fixture::new();
        fixture.connect(0);
        fixture.connect(3);
        assert_eq!(fixture.close_idle(9), 0);
        assert_eq!(fixture.close_idle(10), 1);
        assert_eq!(fixture.table.next_timer(), Some(Duration::from_secs(13)));
        assert_eq!((fixture.close_idle(13), fixture.table.len()), (1, 0));
        assert_eq!(fixture.table.next_timer(), None);
    }

    #[test]
    fn activity_puts_the_timeout_off() {
        let mut fixture = Fixture::new();
        fixture.connect(0);
        fixture.table.get_mut(0).unwrap().last_activity = Duration::from_secs(4);
        assert_eq!((fixture.close_idle(10), fixture.close_idle(13), fixture.close_idle(14)), (0, 0, 1));
    }

    #[test]
    fn connections_that_wait_for_us_are_not_silent() {
        let mut fixture = Fixture::new();
        fixture.connect(0);
        fixture.connect(0);
        fixture.table.mark_ready(0);
        fixture.table.finish(1);
        assert_eq!((fixture.close_idle(100), fixture.table.len()), (0, 2));
    }

    #[test]
    fn timers_are_bounded_by_slots_not_by_churn() {
        let mut fixture = Fixture::new();
        for second in 0..50 {
            fixture.connect(second / 10);
            fixture.table.remove(0);
        }
        assert_eq!((fixture.table.len(), fixture.table.slots.len(), fixture.table.timers.len()), (0, 1, 1));
        fixture.connect(5);
        assert_eq!((fixture.close_idle(10), fixture.close_idle(14), fixture.close_idle(15)), (0, 0, 1));
    }

    #[test]
    fn an_unfinished_line_is_counted_when_its_connection_goes() {
        let mut fixture = Fixture::new();
        fixture.connect(0);
        fixture.table.get_mut(0).unwrap().framer.push(b"a 1", |_| ());
        let closed = fixture.table.close_idle(TIMEOUT);
        assert_eq!(closed, Closed { connection_count: 1, unfinished_line_count: 1 });
    }

    #[test]
    fn a_connection_is_listed_as_ready_once_and_never_when_finished() {
        let mut fixture = Fixture::new();
        fixture.connect(0);
        fixture.connect(0);
        for slot_idx in [1, 0, 1, 7] {
            fixture.table.mark_ready(slot_idx);
        }
        assert_eq!((fixture.table.pop_ready(), fixture.table.pop_ready()), (Some(1), Some(0)));
        fixture.table.finish(1);
        fixture.table.mark_all_ready();
        assert_eq!((fixture.table.pop_ready(), fixture.table.pop_ready()), (Some(0), None));
        fixture.table.close_finished();
        assert_eq!(fixture.table.len(), 1);
        fixture.connect(0);
        fixture.table.mark_ready(1);
        assert_eq!(
            fixture.table.pop_ready(),
            Some(1),
            "the slot of a finished connection serves the next one"
        );
    }
}
