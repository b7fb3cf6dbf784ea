//! Connections with a bound on their number and on their silence, plain or with TLS.
//!
//! A handshake is part of the connection, which waits for it when it is first read: accepting goes on meanwhile. A
//! connection has its place from the first byte, so handshakes are bounded in number as connections are, and one that lasts
//! longer than [`HANDSHAKE_TIMEOUT`] gives its place up.
//!
//! Bytes that trickle in are no silence; a request has to be there, and its answer begun, within [`REQUEST_LIMIT`] all the
//! same. Nor is an answer that a client leaves in the buffers of TLS a sign of life.

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
/// From the first byte of a request to the first byte of its answer. The gate's own limit begins with the head's end, so
/// this is mostly how long a head may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(75);
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
        Connection { stream, silence: Box::pin(sleep(patience)), asked_at: None, _place: place }
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
    /// When the first byte came since something was last answered.
    asked_at: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Does `work` with the stream once there is one. Ends the connection when that waits too long.
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
            Poll::Pending if self.silence.as_mut().poll(context).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(_) | Poll::Pending => polled,
        }
    }

    /// Starts the silence anew after a read or a write.
    fn moved(&mut self) {
        let now = Instant::now();
        let silent = now + IDLE_TIMEOUT;
        let until = self.asked_at.map_or(silent, |asked_at| silent.min(asked_at + REQUEST_LIMIT));
        self.silence.as_mut().reset(until);
    }

    /// As [`Self::watched`], for writes.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        work: impl FnOnce(Pin<&mut dyn Duplex>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.watched(context, work))?;
        self.asked_at = None;
        self.moved();
        Poll::Ready(Ok(written))
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
        let already = buffer.filled().len();
        ready!(self.watched(context, |stream, context| stream.poll_read(context, buffer)))?;
        if buffer.filled().len() > already {
            self.asked_at.get_or_insert_with(Instant::now);
            self.moved();
        }
        Poll::Ready(Ok(()))
    }
}

#[expect(clippy::redundant_closure_for_method_calls, reason = "a method's path fixes the stream's lifetime")]
impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(context, |stream, context| stream.poll_write_vectored(context, parts))
    }

    /// Both kinds take parts; asked once, before the handshake.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.stream, Stream::Handshake(_)) {
            // Nothing was written yet.
            return Poll::Ready(Ok(()));
        }
        self.watched(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.stream, Stream::Handshake(_)) {
            // Dropping it closes it.
            return Poll::Ready(Ok(()));
        }
        self.watched(context, |stream, context| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A connection as the server has it, and the client's side.
    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let mut listener = BoundedListener::new(listener, None);
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("connected");
        // The clock here runs ahead of acknowledgements that bytes would wait for.
        client.set_nodelay(true).expect("set");
        (listener.accept().await.0, client)
    }

    /// How long the connection lasts while `client` does something.
    async fn lasted(mut connection: Connection, client: impl Future<Output = ()>) -> Duration {
        let begun = Instant::now();
        let served = async {
            let mut byte = [0];
            while connection.read_exact(&mut byte).await.is_ok() {
                if byte == *b"!" {
                    connection.write_all(b"an answer").await.expect("written");
                }
            }
        };
        tokio::select! {
            () = served => begun.elapsed(),
            () = client => panic!("the client was done first"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_ends() {
        let (connection, _client) = pair().await;
        assert_eq!(lasted(connection, std::future::pending()).await.as_secs(), IDLE_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_is_not_waited_for() {
        let (connection, mut client) = pair().await;
        let trickle = async {
            loop {
                client.write_all(b"a").await.expect("sent");
                sleep(Duration::from_secs(20)).await;
            }
        };
        assert_eq!(lasted(connection, trickle).await.as_secs(), REQUEST_LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_answered_keep_a_connection_open() {
        let (connection, mut client) = pair().await;
        let requests = async {
            for _ in 0..10 {
                client.write_all(b"a").await.expect("sent");
                sleep(Duration::from_secs(20)).await;
                client.write_all(b"!").await.expect("sent");
                sleep(Duration::from_secs(20)).await;
            }
            std::future::pending::<()>().await;
        };
        let open = Duration::from_secs(10 * 40 - 20) + IDLE_TIMEOUT;
        assert_eq!(lasted(connection, requests).await.as_secs(), open.as_secs());
    }
}
