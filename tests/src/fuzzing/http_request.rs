//! Bytes at the HTTP port, a request or not: the server answers with what is no fault of its own, or closes the connection,
//! and nothing in it panics.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::served;

/// Longest head of an answer that is looked at.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// An answer that has not begun by then is a hang.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Sends the bytes over a connection of their own and looks at the head of the answer.
///
/// # Panics
/// If the server is at fault.
pub fn check(bytes: &[u8]) {
    let mut stream = TcpStream::connect(served::address()).expect("it listens");
    stream.set_read_timeout(Some(MAX_WAIT)).expect("an open socket");
    // It may close while there is more.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut head = Vec::new();
    let mut part = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => head.extend_from_slice(&part[..count]),
            // The fuzzer's clock is a signal.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock,
                    "no answer to {}",
                    bytes.escape_ascii()
                );
                break;
            }
        }
    }
    if !head.is_empty() {
        let status = head.get(9..12).unwrap_or_default();
        let is_ours = head.starts_with(b"HTTP/1.") && !matches!(status, b"500" | b"502");
        assert!(is_ours, "{} is answered with {}", bytes.escape_ascii(), head.escape_ascii());
    }
    served::assert_well();
}
