//! Live results as newline-delimited JSON over TCP: connect and read, one message of finished rows a line. Results of
//! commands are not shown here.
//!
//! Every reader has its own bounded buffer; one that is too slow loses the oldest messages and is told so by a
//! line `{"lost":N}`. Readers never slow the engine down. What they send is ignored.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::bus::message::ResultMessage;
use crate::bus::{Bus, BusError, Subscription};
use crate::results::message::to_json;

/// Readers served at once; more are turned away.
pub const MAX_READERS: usize = 64;
/// A reader that takes nothing for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RECEIVE_WAIT: Duration = Duration::from_millis(250);

/// The stream's thread; dropping it stops the stream.
pub struct ResultStream {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ResultStream {
    /// Serves the bus's results on `listener`.
    ///
    /// # Errors
    /// If the listener cannot be made non-blocking or no thread can be started.
    pub fn serve(listener: TcpListener, bus: Arc<dyn Bus>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("results".to_owned())
            .spawn(move || accept(&listener, &bus, &stopped))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ResultStream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, bus: &Arc<dyn Bus>, stop: &Arc<AtomicBool>) {
    let readers = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        threads.retain(|thread| !thread.is_finished());
        if readers.load(Ordering::Relaxed) >= MAX_READERS {
            tracing::warn!("a reader of results was turned away: {MAX_READERS} are connected");
            continue;
        }
        let subscription = bus.results().subscribe();
        let (count, stop) = (Arc::clone(&readers), Arc::clone(stop));
        count.fetch_add(1, Ordering::Relaxed);
        let reader = thread::Builder::new().name("results reader".to_owned()).spawn(move || {
            // The reader is gone or too slow; either way there is nobody to tell.
            let _ = send(stream, subscription, &stop);
            count.fetch_sub(1, Ordering::Relaxed);
        });
        match reader {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                readers.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!("a reader of results was turned away: {error}");
            }
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn send(
    mut stream: TcpStream,
    mut subscription: Box<dyn Subscription<ResultMessage>>,
    stop: &AtomicBool,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    loop {
        let line = match subscription.receive(RECEIVE_WAIT) {
            Ok(Some(message @ ResultMessage::Inference(_))) => to_json(&message),
            Ok(Some(ResultMessage::Command(_))) => continue,
            Ok(None) if stop.load(Ordering::Relaxed) => return Ok(()),
            Ok(None) => {
                if has_left(&stream) {
                    return Ok(());
                }
                continue;
            }
            Err(BusError::Lagged { lost }) => format!("{{\"lost\":{lost}}}"),
            Err(BusError::Closed) => return Ok(()),
            // The reader stays connected while the broker is away; what it missed is told when it is back.
            Err(BusError::Transient { .. } | BusError::Refused { .. }) => {
                if stop.load(Ordering::Relaxed) || has_left(&stream) {
                    return Ok(());
                }
                thread::sleep(RETRY_PAUSE);
                continue;
            }
        };
        stream.write_all(line.as_bytes())?;
        stream.write_all(b"\n")?;
    }
}

/// Whether the reader closed its side, so that its place can be given to another.
fn has_left(stream: &TcpStream) -> bool {
    let mut byte = [0];
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let has_left = match stream.peek(&mut byte) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).is_err() || has_left
}
