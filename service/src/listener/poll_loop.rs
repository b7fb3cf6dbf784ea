//! The listener's thread: waits for sockets, reads them in turns, and stops in order.
//!
//! One turn: close silent connections, accept, retry what the bus had no room for, read UDP and each ready
//! connection a little, publish, close the connections whose clients are done. All sockets are non-blocking and
//! polled edge-triggered, so a socket with more to read is remembered as ready and gets its next share next turn.
//!
//! Invariants: nothing is read while the bus is full; no connection reads more than its share per turn, and no turn
//! more than its own limit; a finished connection closes only when the bus has taken everything; no error ends
//! the thread except a failing poll and a closed bus.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Poll, Token};
use socket2::SockRef;

use super::allow_list::Doorkeeper;
use super::connection_table::{Closed, ConnectionTable};
use super::counters::ListenerCounters;
use super::drop_watch::DropWatch;
use super::framer::{Patience, Protocol};
use super::gate::Gate;
use super::intake::Intake;
use super::{LOG_INTERVAL, ListenerOptions};
use crate::log_limiter::LogLimiter;
use crate::reject::RejectReason;

pub(super) const TCP_TOKEN: Token = Token(0);
pub(super) const UDP_TOKEN: Token = Token(1);
pub(super) const WAKER_TOKEN: Token = Token(2);
pub(super) const PICKLE_TOKEN: Token = Token(3);
pub(super) const FIRST_CONNECTION_TOKEN: usize = 4;

/// Read at once; also the largest datagram, which holds at most 65,535 bytes.
const READ_CHUNK_BYTES: usize = 65_536;
/// Share of one connection, and of UDP, in one turn.
const MAX_SHARE_BYTES: usize = 262_144;
/// Share of UDP in one turn, for small datagrams.
const MAX_DATAGRAMS_PER_TURN: usize = 1_024;
/// Read from all connections in one turn, so that UDP and accepting do not wait for thousands of shares.
const MAX_TURN_BYTES: usize = 4 * 1_024 * 1_024;
const MAX_ACCEPTS_PER_TURN: usize = 256;
const MAX_EVENTS: usize = 1_024;
/// Pause between attempts to publish while the bus is full.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);
/// Longest sleep; bounds the effect of a clock that jumps and of a lost wake-up.
const MAX_SLEEP: Duration = Duration::from_millis(500);
/// How long a stop goes on reading.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(1);
/// How much a stop reads.
const MAX_DRAIN_BYTES: usize = 64 * 1_024 * 1_024;
/// Turns of accepting in a stop: enough for the whole backlog.
const MAX_DRAIN_ACCEPT_TURNS: usize = 5;
/// Attempts of a stop to publish to a full bus; with the pause between them, one second.
const MAX_DRAIN_RETRIES: u32 = 200;

/// The sockets of a listener.
pub(super) struct Sockets {
    pub(super) tcp: TcpListener,
    pub(super) pickle: Option<TcpListener>,
    pub(super) udp: Option<UdpSocket>,
}

/// A socket that connections come from.
struct Acceptor {
    socket: TcpListener,
    gate: Gate,
    protocol: Protocol,
}

impl Acceptor {
    fn new(socket: TcpListener, protocol: Protocol) -> Self {
        Self { socket, gate: Gate::default(), protocol }
    }
}

pub(super) struct PollLoop {
    poll: Poll,
    /// That of lines, then that of pickles, if there is one.
    acceptors: Vec<Acceptor>,
    udp: Option<UdpSocket>,
    udp_gate: Gate,
    drop_watch: DropWatch,
    table: ConnectionTable,
    doorkeeper: Doorkeeper,
    options: ListenerOptions,
    chunk: Box<[u8]>,
    intake: Intake,
    is_stopping: Arc<AtomicBool>,
    accept_log: LogLimiter,
    limit_log: LogLimiter,
    udp_log: LogLimiter,
}

impl PollLoop {
    pub(super) fn new(
        poll: Poll,
        sockets: Sockets,
        intake: Intake,
        options: ListenerOptions,
        is_stopping: Arc<AtomicBool>,
    ) -> Self {
        let Sockets { tcp, pickle, udp } = sockets;
        let pickle = pickle.map(|socket| Acceptor::new(socket, Protocol::Pickle));
        let acceptors = [Acceptor::new(tcp, Protocol::Plaintext)].into_iter().chain(pickle).collect();
        let patience = Patience { idle_timeout: options.idle_timeout, line_timeout: options.line_timeout };
        Self {
            poll,
            acceptors,
            udp,
            udp_gate: Gate::default(),
            drop_watch: DropWatch::default(),
            table: ConnectionTable::new(patience, options.max_unfinished_bytes),
            doorkeeper: Doorkeeper::new(options.allowed_networks.clone()),
            options,
            chunk: vec![0; READ_CHUNK_BYTES].into_boxed_slice(),
            intake,
            is_stopping,
            accept_log: LogLimiter::every(LOG_INTERVAL),
            limit_log: LogLimiter::every(LOG_INTERVAL),
            udp_log: LogLimiter::every(LOG_INTERVAL),
        }
    }

    /// Serves until it is told to stop, the bus is closed, or polling fails.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(MAX_EVENTS);
        while !self.is_stopping.load(Ordering::Acquire) {
            let sleep = self.sleep_time();
            if !self.wait(&mut events, sleep) {
                break;
            }
            self.turn();
            if self.intake.is_closed() {
                tracing::error!("the data queue was closed while the listener was running; it stops");
                break;
            }
        }
        self.drain(&mut events);
        self.close();
    }

    fn wait(&mut self, events: &mut Events, sleep: Duration) -> bool {
        match self.poll.poll(events, Some(sleep)) {
            Ok(()) => events.iter().for_each(|event| self.note(event)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "waiting for the listener's sockets failed; it stops");
                return false;
            }
        }
        true
    }

    fn note(&mut self, event: &Event) {
        match event.token() {
            TCP_TOKEN => self.mark_acceptor(0),
            PICKLE_TOKEN => self.mark_acceptor(1),
            UDP_TOKEN => self.udp_gate.mark_ready(),
            WAKER_TOKEN => {}
            // An event of a connection that has just gone may reach the next user of its slot: it reads nothing.
            Token(number) => self.table.mark_ready(number - FIRST_CONNECTION_TOKEN),
        }
    }

    fn mark_acceptor(&mut self, acceptor_idx: usize) {
        if let Some(acceptor) = self.acceptors.get_mut(acceptor_idx) {
            acceptor.gate.mark_ready();
        }
    }

    fn sleep_time(&self) -> Duration {
        let now = self.intake.now();
        if !self.intake.has_room() {
            return RETRY_INTERVAL;
        }
        if self.table.ready_count() > 0 {
            return Duration::ZERO;
        }
        let accepts = self.acceptors.iter().map(|acceptor| acceptor.gate.opens_at());
        let others = [self.udp_gate.opens_at(), self.table.next_timer()];
        let sleeps = accepts.chain(others).flatten().map(|at| at.saturating_sub(now));
        sleeps.min().map_or(MAX_SLEEP, |sleep| sleep.min(MAX_SLEEP))
    }

    fn turn(&mut self) {
        let now = self.intake.now();
        let closed = self.table.close_idle(now);
        ListenerCounters::add(&self.intake.counters.connections_idled_out, closed.connection_count);
        self.count_closed(closed);
        self.dismiss_disallowed();
        self.watch_drops(now);
        self.accept(now);
        self.intake.publish();
        self.read_udp(now);
        self.read_connections(now);
        self.publish();
    }

    /// Publishes everything, then lets go of clients that are done.
    fn publish(&mut self) {
        self.intake.publish_all();
        if self.intake.is_empty() {
            self.table.close_finished();
        }
        let open_count = self.table.len().try_into().unwrap_or(u64::MAX);
        self.intake.counters.connections_open.store(open_count, Ordering::Relaxed);
    }

    fn accept(&mut self, now: Duration) {
        for acceptor_idx in 0..self.acceptors.len() {
            if self.acceptors[acceptor_idx].gate.is_open(now) {
                self.accept_from(acceptor_idx, now);
            }
        }
    }

    fn accept_from(&mut self, acceptor_idx: usize, now: Duration) {
        for _ in 0..MAX_ACCEPTS_PER_TURN {
            let Acceptor { socket, protocol, .. } = &self.acceptors[acceptor_idx];
            let protocol = *protocol;
            let accepted = socket.accept().and_then(|(stream, peer)| {
                if !self.doorkeeper.admits(peer, &self.intake, now) {
                    return Ok(());
                }
                if self.table.len() < self.options.max_connections {
                    self.table.insert(stream, protocol, peer.ip(), self.poll.registry(), now)?;
                    ListenerCounters::add(&self.intake.counters.connections_accepted, 1);
                } else {
                    self.refuse(&peer.to_string(), now);
                }
                Ok(())
            });
            match accepted.map_err(|error| (accept_remedy(&error), error)) {
                Ok(()) | Err((AcceptRemedy::Next, _)) => {}
                Err((AcceptRemedy::Wait, _)) => {
                    self.acceptors[acceptor_idx].gate.mark_drained();
                    return;
                }
                Err((AcceptRemedy::Pause, error)) => {
                    self.acceptors[acceptor_idx].gate.pause(now);
                    if self.accept_log.pass(now).is_some() {
                        let open = self.table.len();
                        tracing::error!(%error, open, "connections cannot be accepted; raise `ulimit -n` if files ran out");
                    }
                    return;
                }
            }
        }
    }

    fn refuse(&mut self, peer: &str, now: Duration) {
        self.intake.reject_peer(RejectReason::TooManyConnections, peer);
        if self.limit_log.pass(now).is_some() {
            tracing::warn!(
                peer,
                limit = self.options.max_connections,
                "a connection was refused: too many are open"
            );
        }
    }

    /// Closes connections from networks that may not send any more.
    fn dismiss_disallowed(&mut self) {
        if !self.doorkeeper.has_new_list() {
            return;
        }
        let (closed, sources) = self.table.close_where(|source| !self.doorkeeper.allows(source));
        self.count_closed(closed);
        for source in &sources {
            self.intake.reject_peer(RejectReason::NetworkNotAllowed, &source.to_canonical().to_string());
        }
        if let Some(peer) = sources.first() {
            let count = sources.len();
            tracing::warn!(%peer, count, "connections were closed: `graphite_allow` has their networks no longer");
        }
    }

    fn watch_drops(&mut self, now: Duration) {
        if self.drop_watch.is_due(now) {
            self.count_drops(now);
        }
    }

    fn count_drops(&mut self, now: Duration) {
        let Some(socket) = &self.udp else { return };
        let dropped = self.drop_watch.look(socket, now);
        if dropped > 0 {
            let address = socket.local_addr().map_or_else(|_| "UDP".to_owned(), |it| format!("UDP {it}"));
            self.intake.reject_datagrams(dropped, &address);
            if self.udp_log.pass(now).is_some() {
                tracing::warn!(dropped, "datagrams came faster than they were read; the kernel dropped some");
            }
        }
    }

    fn read_udp(&mut self, now: Duration) -> usize {
        let mut read_bytes = 0;
        let Some(socket) = &self.udp else { return read_bytes };
        if !self.udp_gate.is_open(now) {
            return read_bytes;
        }
        for _ in 0..MAX_DATAGRAMS_PER_TURN {
            if !self.intake.has_room() || read_bytes >= MAX_SHARE_BYTES {
                break;
            }
            match socket.recv_from(&mut self.chunk) {
                Ok((size_bytes, peer)) => {
                    read_bytes += size_bytes;
                    if self.doorkeeper.admits(peer, &self.intake, now) {
                        self.intake.take_datagram(&self.chunk[..size_bytes], peer.ip());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.udp_gate.mark_drained();
                    break;
                }
                Err(error) => {
                    self.udp_gate.pause(now);
                    if self.udp_log.pass(now).is_some() {
                        tracing::warn!(%error, "a datagram could not be received");
                    }
                    break;
                }
            }
        }
        read_bytes
    }

    fn read_connections(&mut self, now: Duration) -> usize {
        let mut read_bytes = 0;
        for _ in 0..self.table.ready_count() {
            if !self.intake.has_room() || read_bytes >= MAX_TURN_BYTES {
                break;
            }
            let Some(slot_idx) = self.table.pop_ready() else { break };
            read_bytes += self.read_share(slot_idx, now);
            while let Some((closed, source)) = self.table.close_greediest() {
                // Counted once.
                self.count_closed(Closed { latest_cut: None, ..closed });
                self.intake.reject_unfinished(RejectReason::TooMuchUnfinished, 1, source);
            }
        }
        read_bytes
    }

    /// Reads one connection until it has no more, its share is used up, or the bus is full.
    fn read_share(&mut self, slot_idx: usize, now: Duration) -> usize {
        let (mut read_bytes, mut has_ended) = (0, false);
        let Some(connection) = self.table.get_mut(slot_idx) else { return read_bytes };
        while read_bytes < MAX_SHARE_BYTES && self.intake.has_room() {
            match connection.stream.read(&mut self.chunk) {
                Ok(0) => {
                    self.intake.take_end(&mut connection.framer, connection.source);
                    self.table.finish(slot_idx);
                    self.table.settle(slot_idx, true, now);
                    return read_bytes;
                }
                Ok(size_bytes) => {
                    read_bytes += size_bytes;
                    connection.last_activity = now;
                    let (framer, source) = (&mut connection.framer, connection.source);
                    let Ok(ended) = self.intake.take(framer, source, &self.chunk[..size_bytes]) else {
                        let closed = self.table.remove(slot_idx);
                        // What broke it is counted.
                        self.count_closed(Closed { latest_cut: None, ..closed });
                        return read_bytes;
                    };
                    has_ended |= ended;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.table.settle(slot_idx, has_ended, now);
                    return read_bytes;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "a connection broke");
                    let closed = self.table.remove(slot_idx);
                    self.count_closed(closed);
                    return read_bytes;
                }
            }
        }
        self.table.settle(slot_idx, has_ended, now);
        self.table.mark_ready(slot_idx);
        read_bytes
    }

    fn count_closed(&self, closed: Closed) {
        ListenerCounters::add(&self.intake.counters.unfinished_lines, closed.unfinished_line_count);
        if let Some(source) = closed.latest_late {
            self.intake.reject_unfinished(RejectReason::LineTimeout, closed.late_count, source);
        }
        if let Some(source) = closed.latest_cut {
            let count = closed.unfinished_line_count - closed.late_count;
            self.intake.reject_unfinished(RejectReason::Unfinished, count, source);
        }
    }

    /// Takes in what clients have sent so far. Bounded in bytes, in attempts, and in time if the clock moves.
    fn drain(&mut self, events: &mut Events) {
        let deadline = self.intake.now() + MAX_DRAIN_TIME;
        // Clients in the backlog believe that they are connected: their lines count as sent.
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.gate.mark_ready());
        if self.udp.is_some() {
            self.udp_gate.mark_ready();
        }
        for _ in 0..MAX_DRAIN_ACCEPT_TURNS {
            self.accept(self.intake.now());
        }
        self.table.mark_all_ready();
        let (mut read_bytes, mut retry_count) = (0, 0);
        loop {
            self.publish();
            if self.intake.is_closed() {
                return;
            }
            if !self.intake.has_room() {
                retry_count += 1;
                if retry_count > MAX_DRAIN_RETRIES || !self.wait(events, RETRY_INTERVAL) {
                    return;
                }
                continue;
            }
            let now = self.intake.now();
            let is_all_read = self.table.ready_count() == 0 && !self.udp_gate.is_open(now);
            if is_all_read || read_bytes >= MAX_DRAIN_BYTES || now >= deadline {
                return;
            }
            read_bytes += self.read_udp(now) + self.read_connections(now);
        }
    }

    fn close(mut self) {
        // The kernel's count goes with the socket.
        self.count_drops(self.intake.now());
        let lost_count = self.intake.waiting_line_count();
        if lost_count > 0 {
            tracing::error!(
                lost_count,
                "the data queue had no room at the stop; lines were lost and clients reset"
            );
            self.intake.reject_waiting();
        }
        let counters = &self.intake.counters;
        for connection in self.table.drain() {
            if connection.framer.has_partial() {
                ListenerCounters::add(&counters.unfinished_lines, 1);
                self.intake.reject_unfinished(RejectReason::Unfinished, 1, connection.source);
            }
            if lost_count > 0
                && let Err(error) = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO))
            {
                tracing::debug!(%error, "a connection is closed instead of reset");
            }
        }
        counters.connections_open.store(0, Ordering::Relaxed);
    }
}

/// What to do about a failed accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AcceptRemedy {
    /// Nobody waits: ask again when the poll facility says so.
    Wait,
    /// Only this connection is lost.
    Next,
    /// The system is short of something; asking at once would only burn the processor.
    Pause,
}

fn accept_remedy(error: &io::Error) -> AcceptRemedy {
    if error.kind() == ErrorKind::WouldBlock {
        AcceptRemedy::Wait
    } else if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) {
        AcceptRemedy::Next
    } else {
        AcceptRemedy::Pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_files_pauses_accepting() {
        // EMFILE and ENFILE on every Unix.
        for code in [24, 23] {
            assert_eq!(accept_remedy(&io::Error::from_raw_os_error(code)), AcceptRemedy::Pause);
        }
        assert_eq!(accept_remedy(&ErrorKind::ConnectionAborted.into()), AcceptRemedy::Next);
        assert_eq!(accept_remedy(&ErrorKind::WouldBlock.into()), AcceptRemedy::Wait);
    }
}
