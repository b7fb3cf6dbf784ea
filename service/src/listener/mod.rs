//! Receives Graphite lines over TCP and UDP and hands them to the bus, unparsed but for a timestamp that means now.
//!
//! One thread polls all sockets: bytes -> [`connection::LineFramer`] -> [`batch::Batcher`] -> the bus's data queue,
//! where the storer picks them up. On a port of their own, [`pickle_framer::PickleFramer`] and [`pickle`] make the same lines
//! of pickled samples. [`bind`] reserves the ports, [`BoundListener::spawn`] starts the thread,
//! [`ListenerHandle::stop`] ends it in order.
//!
//! Invariants:
//! - Nothing is ever written to a client. When a client that has half-closed sees our end of stream, everything it
//!   sent has been handed to the bus; when that was not possible it sees a reset instead.
//! - When the bus is full nothing more is read, from anyone, until it has room: TCP senders are pushed back, UDP
//!   datagrams are dropped by the kernel, and counted. No line is dropped here except over-long ones (counted as rejected) and
//!   the unfinished line of a connection that broke, fell silent or was open at the stop (it may be cut short in
//!   the middle of a number; counted as [`crate::reject::RejectReason::Unfinished`]).
//! - Memory is bounded: what all connections have begun and not ended by [`ListenerOptions::max_unfinished_bytes`] and one
//!   read, a connection by [`connection::MAX_LINE_BYTES`] or [`pickle_framer::MAX_FRAME_BYTES`]; an idle one costs a few
//!   hundred bytes.
//! - What is begun must end within [`ListenerOptions::line_timeout`]; what is shed is counted with its reason.
//!
//! Source: htmengine's metric listener (never writes, LF lines, batches of 200, a lone line at once, last line
//! without LF kept). Departures: one thread instead of one per connection; limits on connections, silence and line
//! length; a datagram may hold many lines; bytes that are not UTF-8 cost only their own line, later in the storer.

pub mod allow_list;
pub mod batch;
pub mod connection;
mod connection_table;
pub mod counters;
mod drop_watch;
mod framer;
mod gate;
mod intake;
pub mod pickle;
pub mod pickle_framer;
mod poll_loop;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Interest, Poll, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use self::allow_list::Network;
use self::counters::ListenerCounters;
use self::intake::Intake;
use self::poll_loop::{PICKLE_TOKEN, PollLoop, Sockets, TCP_TOKEN, UDP_TOKEN, WAKER_TOKEN};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::live_setting::LiveSetting;
use crate::reject::RejectLedger;

/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Default of [`ListenerOptions::max_connections`].
pub const DEFAULT_MAX_CONNECTIONS: usize = 16_384;
/// Default of [`ListenerOptions::idle_timeout`].
///
/// Three times the interval of 5 minutes in which the original's metrics come: a sender that keeps its connection open
/// between two samples would otherwise lose the second one.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(900);
/// Default of [`ListenerOptions::line_timeout`].
pub const DEFAULT_LINE_TIMEOUT: Duration = Duration::from_secs(60);
/// Default of [`ListenerOptions::max_unfinished_bytes`]: 64 MiB, 4 KiB for each connection of the default limit.
pub const DEFAULT_MAX_UNFINISHED_BYTES: usize = 64 << 20;
/// Open files that the engine itself needs: database, model files being read and written, sockets of its own.
pub const OTHER_FILES: u64 = 256;
/// Connections the kernel holds for us before they are accepted.
const BACKLOG_CONNECTIONS: i32 = 1_024;
/// What we ask the kernel to hold of datagrams while the bus is full; it may grant less.
const UDP_RECEIVE_BUFFER_BYTES: usize = 4 * 1_024 * 1_024;

/// What a listener allows its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    /// Open TCP connections. One more is accepted and closed at once, so that its sender notices, and counted as
    /// [`crate::reject::RejectReason::TooManyConnections`].
    pub max_connections: usize,
    /// A connection that has sent nothing for so long is closed.
    pub idle_timeout: Duration,
    /// A connection that has begun a line or a frame and not ended it for so long is closed, at the latest after twice
    /// that, and counted as [`crate::reject::RejectReason::LineTimeout`].
    pub line_timeout: Duration,
    /// What all connections together may have begun and not ended. Beyond it, the connection that holds most is closed and
    /// counted as [`crate::reject::RejectReason::TooMuchUnfinished`].
    pub max_unfinished_bytes: usize,
    /// Networks that may send; empty for everybody. Others are counted as
    /// [`crate::reject::RejectReason::NetworkNotAllowed`].
    pub allowed_networks: LiveSetting<Vec<Network>>,
}

impl ListenerOptions {
    /// Lowers the limit on connections to what so many open files leave beside those that others need: without a file even
    /// the database cannot be read. Returns what was asked for, if that was more.
    pub fn fit_files(&mut self, max_open_files: Option<u64>, other_files: u64) -> Option<usize> {
        let left = max_open_files?.saturating_sub(other_files).max(1);
        let fitting = usize::try_from(left).unwrap_or(usize::MAX);
        let asked = self.max_connections;
        self.max_connections = asked.min(fitting);
        (asked > fitting).then_some(asked)
    }
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            line_timeout: DEFAULT_LINE_TIMEOUT,
            max_unfinished_bytes: DEFAULT_MAX_UNFINISHED_BYTES,
            allowed_networks: LiveSetting::default(),
        }
    }
}

/// Why a listener could not be set up. Fatal: the role cannot start.
#[derive(Debug)]
pub enum ListenerError {
    /// The operating system refused the address.
    Bind {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// As it was configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The poll facility or its registration failed.
    Poll {
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for ListenerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { protocol, address, source } => {
                let (problem, remedy) = bind_advice(source);
                write!(
                    formatter,
                    "cannot listen on {protocol} {address}: {problem}; {remedy} (system: {source})"
                )
            }
            Self::Poll { source } => write!(
                formatter,
                "cannot watch the listener's sockets: {source}; raise the limit of open files (`ulimit -n`)"
            ),
        }
    }
}

impl std::error::Error for ListenerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Poll { source } => Some(source),
        }
    }
}

fn bind_advice(error: &io::Error) -> (&'static str, &'static str) {
    if error.kind() == io::ErrorKind::AddrInUse {
        ("address already in use", "stop the program that uses it, or configure another port")
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        ("no such address on this machine", "configure one of its own addresses, or 0.0.0.0 for all")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        ("permission denied", "ports below 1,024 need privileges; configure a higher one")
    } else {
        ("the system refused", "check the configured address")
    }
}

/// Reserves the ports; port 0 takes any free one. Clients may connect from now on, and are served after
/// [`BoundListener::spawn`].
///
/// # Errors
/// [`ListenerError`] names the address, what is wrong with it and what to do.
pub fn bind(tcp: SocketAddr, udp: Option<SocketAddr>) -> Result<BoundListener, ListenerError> {
    let tcp_socket =
        bind_tcp(tcp).map_err(|source| ListenerError::Bind { protocol: "TCP", address: tcp, source })?;
    let udp_socket = match udp {
        None => None,
        Some(address) => Some(bind_udp(address).map_err(|source| ListenerError::Bind {
            protocol: "UDP",
            address,
            source,
        })?),
    };
    BoundListener::new(tcp_socket, udp_socket).map_err(|source| ListenerError::Poll { source })
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old process's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_CONNECTIONS)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    // No SO_REUSEADDR: for UDP it would let two listeners share a port and steal each other's datagrams.
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER_BYTES) {
        tracing::debug!(%error, "the UDP receive buffer keeps the system's size");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Ports that are reserved and not served yet.
pub struct BoundListener {
    poll: Poll,
    waker: Arc<Waker>,
    sockets: Sockets,
    tcp_address: SocketAddr,
    udp_address: Option<SocketAddr>,
    pickle_address: Option<SocketAddr>,
}

impl BoundListener {
    fn new(tcp: TcpListener, udp: Option<UdpSocket>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER_TOKEN)?);
        let tcp_address = tcp.local_addr()?;
        let mut tcp = mio::net::TcpListener::from_std(tcp);
        poll.registry().register(&mut tcp, TCP_TOKEN, Interest::READABLE)?;
        let udp_address = udp.as_ref().map(UdpSocket::local_addr).transpose()?;
        let mut udp = udp.map(mio::net::UdpSocket::from_std);
        if let Some(socket) = &mut udp {
            poll.registry().register(socket, UDP_TOKEN, Interest::READABLE)?;
        }
        let sockets = Sockets { tcp, pickle: None, udp };
        Ok(Self { poll, waker, sockets, tcp_address, udp_address, pickle_address: None })
    }

    /// Reserves a port for pickled samples too.
    ///
    /// # Errors
    /// As [`bind`].
    pub fn with_pickle(mut self, address: SocketAddr) -> Result<Self, ListenerError> {
        let bound =
            bind_tcp(address).map_err(|source| ListenerError::Bind { protocol: "TCP", address, source })?;
        let failed = |source| ListenerError::Poll { source };
        self.pickle_address = Some(bound.local_addr().map_err(failed)?);
        let mut socket = mio::net::TcpListener::from_std(bound);
        self.poll.registry().register(&mut socket, PICKLE_TOKEN, Interest::READABLE).map_err(failed)?;
        self.sockets.pickle = Some(socket);
        Ok(self)
    }

    /// Where TCP clients connect.
    pub fn tcp_address(&self) -> SocketAddr {
        self.tcp_address
    }

    /// Where datagrams go, if UDP was asked for.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.udp_address
    }

    /// Where frames of pickled samples go, if they were asked for.
    pub fn pickle_address(&self) -> Option<SocketAddr> {
        self.pickle_address
    }

    /// Starts serving on a thread of its own. Lines go to [`Bus::data`], over-long lines and refused connections
    /// to `ledger`.
    ///
    /// # Panics
    /// If the operating system refuses a new thread, as [`std::thread::spawn`] does.
    pub fn spawn(
        self,
        bus: Arc<dyn Bus>,
        ledger: Arc<RejectLedger>,
        clock: Arc<dyn Clock>,
        options: ListenerOptions,
    ) -> ListenerHandle {
        let counters = Arc::new(ListenerCounters::default());
        let is_stopping = Arc::new(AtomicBool::new(false));
        let intake = Intake::new(bus, ledger, clock, Arc::clone(&counters));
        let poll_loop = PollLoop::new(self.poll, self.sockets, intake, options, Arc::clone(&is_stopping));
        let thread = thread::Builder::new()
            .name("listener".to_owned())
            .spawn(move || poll_loop.run())
            .unwrap_or_else(|error| panic!("the listener's thread could not be started: {error}"));
        ListenerHandle { waker: self.waker, is_stopping, counters, thread: Some(thread) }
    }
}

/// A running listener. Dropping it stops it as [`ListenerHandle::stop`] does.
pub struct ListenerHandle {
    waker: Arc<Waker>,
    is_stopping: Arc<AtomicBool>,
    counters: Arc<ListenerCounters>,
    thread: Option<JoinHandle<()>>,
}

impl ListenerHandle {
    /// Stops accepting, reads what the sockets already hold (for at most a second and 64 MiB), publishes it (waiting
    /// at most another second for room) and closes every connection. Lines that find no room are counted as
    /// [`crate::reject::RejectReason::LostAtStop`] and logged, and all connections are then reset instead of closed.
    pub fn stop(self) {
        drop(self);
    }

    /// What was received so far; stays readable after the stop.
    pub fn counters(&self) -> &Arc<ListenerCounters> {
        &self.counters
    }

    /// Whether the thread has ended without being asked to: the data queue was closed, or polling failed.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for ListenerHandle {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            // The loop looks at the flag at least twice a second all the same.
            tracing::warn!(%error, "the listener could not be woken; it stops a little later");
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(
                "the listener's thread panicked; this is a defect, please report it with the log"
            );
        }
    }
}
