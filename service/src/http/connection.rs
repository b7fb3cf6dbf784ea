//! Connections with a bound on their number and on their silence, plain or with TLS.
//!
//! A handshake is part of the connection, which waits for it when it is first read: accepting goes on meanwhile. A
//! connection has its place from the first byte, so handshakes are bounded in number as connections are, and one that lasts
//! longer than [`HANDSHAKE_TIMEOUT`] gives its place up.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::live_setting::LiveSetting;

/// Connections served at once; more wait in the operating system's queue.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// A connection over which nothing moves for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after accepting failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Accepts connections while there is a place for them.
pub(super) struct BoundedListener {
    listener: TcpListener,
    tls: Option<LiveSetting<ServerConfig>>,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener, tls: Option<LiveSetting<ServerConfig>>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { listener, tls, places }
    }

    fn connection(&self, stream: TcpStream, place: OwnedSemaphorePermit) -> Connection {
        let (stream, patience) = match &self.tls {
            Some(tls) => {
                let accepting = TlsAcceptor::from(tls.get()).accept(stream);
                (Stream::Handshake(Box::new(accepting)), HANDSHAKE_TIMEOUT)
            }
            None => (Stream::Plain(stream), IDLE_TIMEOUT),
        };
        Connection { stream, silence: Box::pin(sleep(patience)), _place: place }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // Never closed; if it were, nobody could be served.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Answers are written whole; waiting to fill a packet only delays their ends.
                    let _ = stream.set_nodelay(true);
                    return (self.connection(stream, place), address);
                }
                Err(error) => {
                    tracing::debug!("an HTTP connection could not be accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What a connection is read from and written to.
enum Stream {
    Plain(TcpStream),
    Handshake(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What can be both.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// One connection, its place, and how long it has been silent.
pub(super) struct Connection {
    stream: Stream,
    silence: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Does `work` with the stream once there is one. Starts the silence anew when something moved; ends the connection
    /// when it lasted too long.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        work: impl FnOnce(Pin<&mut dyn Duplex>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let polled = match self.open(context) {
            Poll::Ready(Ok(stream)) => work(Pin::new(stream), context),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        match polled {
            Poll::Ready(moved) => {
                self.silence.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
                Poll::Ready(moved)
            }
            Poll::Pending if self.silence.as_mut().poll(context).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// The stream, when the handshake is over.
    fn open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut dyn Duplex>> {
        if let Stream::Handshake(accepting) = &mut self.stream {
            let agreed = ready!(Pin::new(accepting.as_mut()).poll(context));
            let stream =
                agreed.inspect_err(|error| tracing::debug!("a client did not agree on TLS: {error}"))?;
            self.stream = Stream::Tls(Box::new(stream));
            self.silence.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
        }
        match &mut self.stream {
            Stream::Plain(stream) => Poll::Ready(Ok(stream)),
            Stream::Tls(stream) => Poll::Ready(Ok(stream.as_mut())),
            Stream::Handshake(_) => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.watched(context, |stream, context| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watched(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watched(context, |stream, context| stream.poll_write_vectored(context, parts))
    }

    /// Both kinds take parts; asked once, before the handshake.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            // Nothing was written yet.
            Stream::Handshake(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            // Dropping it closes it.
            Stream::Handshake(_) => Poll::Ready(Ok(())),
        }
    }
}
