//! All open connections: who has unread bytes, who is finished, who has been silent too long.
//!
//! The poll loop is the only user. A slot number is also the connection's poll token.
//!
//! Invariants:
//! - A slot is in the ready list exactly if its connection says so; a finished connection never is.
//! - At most one timer per slot, so that timers are bounded by the most connections ever open at once, not by how
//!   fast connections come and go. A timer that fires early looks at the last activity and arms itself again, so
//!   that receiving a byte costs no timer work.
//! - What is begun and not ended on all connections together stays within a budget: beyond it, whoever holds most goes.
//!   Senders of lines hold next to nothing between two of them, so it is never one of those.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::connection::Connection;
use super::framer::{Framer, Patience, Protocol};
use super::poll_loop::FIRST_CONNECTION_TOKEN;

pub(super) struct ConnectionTable {
    patience: Patience,
    max_held_bytes: usize,
    /// What all framers hold.
    held_bytes: usize,
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
    /// Of these connections, those that began something and did not end it in time, and one of them.
    pub(super) late_count: u64,
    pub(super) latest_late: Option<IpAddr>,
    /// Of those in the middle of a line and not late, one.
    pub(super) latest_cut: Option<IpAddr>,
}

impl Closed {
    /// The late one of `self` stays, if there is one.
    fn add(&mut self, other: Self) {
        self.connection_count += other.connection_count;
        self.unfinished_line_count += other.unfinished_line_count;
        self.late_count += other.late_count;
        self.latest_late = self.latest_late.or(other.latest_late);
        self.latest_cut = self.latest_cut.or(other.latest_cut);
    }
}

impl ConnectionTable {
    pub(super) fn new(patience: Patience, max_held_bytes: usize) -> Self {
        Self {
            patience,
            max_held_bytes,
            held_bytes: 0,
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
        protocol: Protocol,
        source: IpAddr,
        registry: &Registry,
        now: Duration,
    ) -> io::Result<()> {
        let slot_idx = self.free_slots.last().copied().unwrap_or(self.slots.len());
        registry.register(&mut stream, Token(FIRST_CONNECTION_TOKEN + slot_idx), Interest::READABLE)?;
        if self.free_slots.pop().is_none() {
            self.slots.push(Slot::default());
        }
        let slot = &mut self.slots[slot_idx];
        slot.connection = Some(Connection {
            stream,
            framer: Framer::new(protocol),
            source,
            last_activity: now,
            partial_since: None,
            held_bytes: 0,
        });
        slot.is_finished = false;
        if !slot.has_timer {
            slot.has_timer = true;
            self.timers.push(Reverse((now + self.look_interval(), slot_idx)));
        }
        Ok(())
    }

    /// A connection is looked at so often: what it begins just after a look is late at the one after the next.
    fn look_interval(&self) -> Duration {
        self.patience.idle_timeout.min(self.patience.line_timeout)
    }

    /// Takes note of what a read has left; `has_ended` says whether a line or frame ended in it.
    pub(super) fn settle(&mut self, slot_idx: usize, has_ended: bool, now: Duration) {
        let Some(connection) = self.slots.get_mut(slot_idx).and_then(|slot| slot.connection.as_mut()) else {
            return;
        };
        let held_bytes = connection.framer.held_bytes();
        self.held_bytes = self.held_bytes + held_bytes - connection.held_bytes;
        connection.held_bytes = held_bytes;
        let since = connection.partial_since.filter(|_| !has_ended).unwrap_or(now);
        connection.partial_since = connection.framer.has_partial().then_some(since);
    }

    /// Closes the connection that holds most, if all together hold too much; `None` if they do not.
    pub(super) fn close_greediest(&mut self) -> Option<(Closed, IpAddr)> {
        if self.held_bytes <= self.max_held_bytes {
            return None;
        }
        let held = |slot: &Slot| {
            slot.connection.as_ref().filter(|_| !slot.is_finished).map_or(0, |it| it.held_bytes)
        };
        let (slot_idx, slot) = self.slots.iter().enumerate().max_by_key(|(_, slot)| held(slot))?;
        let source = slot.connection.as_ref()?.source;
        // It may still be listed as ready; whoever comes into its slot is then read once in vain.
        Some((self.remove(slot_idx), source))
    }

    /// Closes the connections from all such sources, and says which those were.
    pub(super) fn close_where(&mut self, is_source_to_go: impl Fn(IpAddr) -> bool) -> (Closed, Vec<IpAddr>) {
        let (mut closed, mut sources) = (Closed::default(), Vec::new());
        for slot_idx in 0..self.slots.len() {
            let slot = &self.slots[slot_idx];
            let source = slot.connection.as_ref().filter(|_| !slot.is_finished).map(|it| it.source);
            if let Some(source) = source.filter(|source| is_source_to_go(*source)) {
                closed.add(self.remove(slot_idx));
                sources.push(source);
            }
        }
        (closed, sources)
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
        self.held_bytes -= connection.held_bytes;
        let is_cut = connection.framer.has_partial();
        Closed {
            connection_count: 1,
            unfinished_line_count: u64::from(is_cut),
            latest_cut: is_cut.then_some(connection.source),
            ..Closed::default()
        }
    }

    /// When [`ConnectionTable::close_idle`] next has something to look at.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Closes the connections that have been silent for the timeout, and those that have not ended what they began. Those
    /// that wait for us are neither.
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
            let is_waiting = slot.is_ready || slot.is_finished;
            let silent_since = if is_waiting { now } else { connection.last_activity };
            let partial_since = connection.partial_since.filter(|_| !is_waiting);
            let late_at = partial_since.map(|since| since + self.patience.line_timeout);
            let closes_at =
                late_at.into_iter().fold(silent_since + self.patience.idle_timeout, Duration::min);
            if closes_at > now {
                let next_at = closes_at.min(now + self.look_interval());
                self.timers.push(Reverse((next_at, slot_idx)));
            } else {
                let (is_late, source) = (late_at.is_some_and(|at| at <= now), connection.source);
                slot.has_timer = false;
                let one = self.remove(slot_idx);
                closed.add(Closed {
                    late_count: u64::from(is_late),
                    latest_late: is_late.then_some(source),
                    latest_cut: one.latest_cut.filter(|_| !is_late),
                    ..one
                });
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

    use std::net::{Ipv4Addr, TcpListener, TcpStream as StdTcpStream};

    use mio::Poll;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const PATIENCE: Patience = Patience { idle_timeout: TIMEOUT, line_timeout: Duration::from_secs(4) };
    const MAX_HELD_BYTES: usize = 10_000;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
                table: ConnectionTable::new(PATIENCE, MAX_HELD_BYTES),
            }
        }

        fn connect(&mut self, now_s: u64) {
            self.clients.push(StdTcpStream::connect(self.server.local_addr().unwrap()).unwrap());
            let stream = self.server.accept().unwrap().0;
            stream.set_nonblocking(true).unwrap();
            let stream = TcpStream::from_std(stream);
            let (registry, now) = (self.poll.registry(), Duration::from_secs(now_s));
            self.table.insert(stream, Protocol::Plaintext, HERE, registry, now).unwrap();
        }

        /// A client sends so many bytes, which are read at once.
        fn receive(&mut self, slot_idx: usize, bytes: &[u8], now_s: u64) {
            let connection = self.table.get_mut(slot_idx).unwrap();
            connection.last_activity = Duration::from_secs(now_s);
            let Framer::Lines(framer) = &mut connection.framer else { panic!("lines") };
            let has_ended = framer.push(bytes, |_| ());
            self.table.settle(slot_idx, has_ended, Duration::from_secs(now_s));
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
        assert_eq!((fixture.close_idle(12), fixture.close_idle(13), fixture.table.len()), (0, 1, 0));
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
        fixture.receive(0, b"a 1", 1);
        let closed = fixture.table.close_idle(TIMEOUT);
        // Late, so that it is not counted again as cut.
        let expected = Closed {
            connection_count: 1,
            unfinished_line_count: 1,
            late_count: 1,
            latest_late: Some(HERE),
            latest_cut: None,
        };
        assert_eq!(closed, expected);
        fixture.connect(0);
        fixture.receive(0, b"a 1", 1);
        assert_eq!(fixture.table.remove(0).latest_cut, Some(HERE));
    }

    #[test]
    fn a_line_must_end_in_time_however_busy_its_connection_is() {
        let mut fixture = Fixture::new();
        fixture.connect(0);
        fixture.connect(0);
        for second in 1..=5 {
            fixture.receive(0, b"x", second);
            // The other one ends a line each time, and begins the next.
            fixture.receive(1, b"x\nx", second);
            assert_eq!(fixture.close_idle(second), u64::from(second == 5), "{second}");
        }
        assert_eq!((fixture.close_idle(8), fixture.close_idle(9)), (0, 1), "begun at 5");
    }

    #[test]
    fn whoever_holds_most_goes_when_all_hold_too_much() {
        let mut fixture = Fixture::new();
        for (slot_idx, length) in [100, 8_000, 100, 300].into_iter().enumerate() {
            fixture.connect(0);
            fixture.receive(slot_idx, &vec![b'x'; length], 0);
        }
        assert_eq!(fixture.table.close_greediest(), None);
        fixture.receive(2, &vec![b'x'; 2_000], 0);
        let (closed, source) = fixture.table.close_greediest().unwrap();
        assert_eq!((closed.connection_count, closed.unfinished_line_count, source), (1, 1, HERE));
        assert!(fixture.table.get_mut(1).is_none(), "the one with 8,000 bytes");
        assert_eq!((fixture.table.close_greediest(), fixture.table.len()), (None, 3));
        for slot_idx in [0, 2, 3] {
            fixture.table.remove(slot_idx);
        }
        assert_eq!(fixture.table.held_bytes, 0);
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
