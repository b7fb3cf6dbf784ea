//! Live results as newline-delimited JSON over TCP: connect and read, one message of finished rows a line. Results of
//! commands are not shown here.
//!
//! Every reader has its own bounded buffer; one that is too slow loses the oldest messages and is told so by a
//! line `{"lost":N}`. Readers never slow the engine down, nor its stop. What they send is read and ignored.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::bus::message::ResultMessage;
use crate::bus::{Bus, BusError, Subscription};
use crate::log_limiter::LogLimiter;
use crate::results::message::to_json;

/// Readers served at once; more are turned away.
pub const MAX_READERS: usize = 64;
/// Files that the stream may have open: each reader is written to and looked after by one of its own.
pub const MAX_FILES: u64 = 2 * MAX_READERS as u64;
/// A reader that takes nothing for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long readers get for what waits for them when the stream stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a reader that are thrown away at once.
const MAX_IGNORED_BYTES: usize = 64 * 1_024;
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
    let mut readers: Vec<Reader> = Vec::new();
    let (since, mut warnings) = (Instant::now(), LogLimiter::default());
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        readers.retain(|reader| !reader.thread.is_finished());
        let begun = if readers.len() < MAX_READERS {
            Reader::start(stream, bus, stop).map_err(|error| error.to_string())
        } else {
            Err(format!("{MAX_READERS} are connected; close one"))
        };
        match begun {
            Ok(reader) => readers.push(reader),
            Err(reason) => {
                if let Some(repeats) = warnings.pass(since.elapsed()) {
                    tracing::warn!("a reader of results was turned away: {reason}{repeats}");
                }
            }
        }
    }
    let until = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < until && !readers.iter().all(|reader| reader.thread.is_finished()) {
        thread::sleep(ACCEPT_PAUSE);
    }
    for reader in readers {
        // Of one that left, this fails and does not matter. One that is still written to ends with it.
        let _ = reader.stream.shutdown(Shutdown::Both);
        let _ = reader.thread.join();
    }
}

/// One connection, and the thread that writes to it.
struct Reader {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(stream: TcpStream, bus: &Arc<dyn Bus>, stop: &Arc<AtomicBool>) -> io::Result<Self> {
        let (written, stop) = (stream.try_clone()?, Arc::clone(stop));
        let subscription = bus.results().subscribe();
        let thread = thread::Builder::new().name("results reader".to_owned()).spawn(move || {
            // The reader is gone or too slow; either way there is nobody to tell.
            let _ = send(&written, subscription, &stop);
            // The accepting thread has the connection, too.
            let _ = written.shutdown(Shutdown::Both);
        })?;
        Ok(Self { stream, thread })
    }
}

fn send(
    mut stream: &TcpStream,
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
                if has_left(stream) {
                    return Ok(());
                }
                continue;
            }
            Err(BusError::Lagged { lost }) => format!("{{\"lost\":{lost}}}"),
            Err(BusError::Closed) => return Ok(()),
            // The reader stays connected while the broker is away; what it missed is told when it is back.
            Err(BusError::Transient { .. } | BusError::Refused { .. }) => {
                if stop.load(Ordering::Relaxed) || has_left(stream) {
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

/// Whether the reader closed its side, so that its place can be given to another. What it sent before is in the way.
fn has_left(mut stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let mut ignored = vec![0; MAX_IGNORED_BYTES];
    let has_left = match stream.read(&mut ignored) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).is_err() || has_left
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;
    use crate::bus::memory::{MemoryBus, MemoryBusLimits};
    use crate::bus::message::{InferenceResults, ResultMetric};

    /// Connections until one is served.
    const MAX_TRIES: usize = 100;

    fn stream() -> (ResultStream, Arc<dyn Bus>) {
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        (ResultStream::serve(listener, Arc::clone(&bus)).expect("served"), bus)
    }

    fn connect(stream: &ResultStream) -> TcpStream {
        TcpStream::connect(stream.address()).expect("connected")
    }

    /// Of a metric with a long name.
    fn message(length: usize) -> ResultMessage {
        let metric = ResultMetric {
            uid: String::new(),
            name: "m".repeat(length),
            description: None,
            resource: None,
            location: None,
            datasource: "custom".to_owned(),
            spec: serde_json::Value::Null,
        };
        ResultMessage::Inference(InferenceResults { metric, results: Vec::new() })
    }

    #[test]
    fn a_place_is_free_again_when_its_reader_said_something_and_left() {
        let (stream, bus) = stream();
        for _ in 0..MAX_READERS {
            connect(&stream).write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
        }
        // Who is turned away reads an end; who is served, nothing for now.
        let is_served = |mut reader: &TcpStream| reader.read(&mut [0]).is_err();
        let served = (0..MAX_TRIES).find_map(|_| {
            thread::sleep(ACCEPT_PAUSE);
            let reader = connect(&stream);
            reader.set_read_timeout(Some(RECEIVE_WAIT)).expect("set");
            is_served(&reader).then_some(reader)
        });
        let served = served.expect("a place");
        bus.results().publish(message(1)).expect("published");
        served.set_read_timeout(Some(WRITE_TIMEOUT)).expect("set");
        let mut line = String::new();
        BufReader::new(served).read_line(&mut line).expect("a line");
        assert!(line.starts_with("{\"metric\""), "{line}");
    }

    #[test]
    fn a_slow_reader_does_not_keep_the_stream_from_its_end() {
        let (stream, bus) = stream();
        let reader = connect(&stream);
        let is_served = || matches!(reader.peek(&mut [0]), Ok(1..));
        reader.set_read_timeout(Some(RECEIVE_WAIT)).expect("set");
        while !is_served() {
            bus.results().publish(message(1)).expect("published");
        }
        for _ in 0..1_000 {
            bus.results().publish(message(100_000)).expect("published");
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            // Takes something often enough for no write to last too long.
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = (&reader).read(&mut [0; 4_096]);
                    thread::sleep(ACCEPT_PAUSE);
                }
            });
            bus.close();
            drop(stream);
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
