//! A client: samples as Graphite lines over TCP.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use htm_core::encoder::Record;
use htm_core::float_text::repr;

use crate::waiting::MAX_WAIT;

/// `name value timestamp` and a newline for each sample.
///
/// # Panics
/// Never.
pub fn lines(name: &str, samples: &[Record]) -> String {
    samples.iter().fold(String::new(), |mut text, sample| {
        writeln!(text, "{name} {} {}", repr(sample.value), sample.timestamp).expect("a string takes all");
        text
    })
}

/// An open connection.
///
/// # Panics
/// If nobody listens.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_nodelay(true).expect("an open socket");
    stream.set_read_timeout(Some(MAX_WAIT)).expect("an open socket");
    stream
}

/// Sends `bytes` over a connection of their own, and waits until the engine has taken them in.
///
/// # Panics
/// If the engine resets the connection or answers anything.
#[track_caller]
pub fn send(address: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("sent");
    finish(stream);
}

/// Sends a series in parts of these sizes, each over a connection of its own.
///
/// # Panics
/// As [`send`]; also if the parts are longer than the series.
#[track_caller]
pub fn send_in_parts(address: SocketAddr, name: &str, samples: &[Record], sizes: &[usize]) {
    let mut rest = samples;
    for &size in sizes {
        let (part, after) = rest.split_at(size);
        send(address, lines(name, part).as_bytes());
        rest = after;
    }
}

/// Ends a connection, and waits until the engine has taken in everything sent over it.
///
/// # Panics
/// If the engine resets the connection or answers anything.
#[track_caller]
pub fn finish(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("an open socket");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closed in order");
    assert!(answer.is_empty(), "a listener never answers");
}
