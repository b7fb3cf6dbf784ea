//! An HTTP client: one request over a connection of its own.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use serde_json::Value;

use crate::sender::connect;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// Body, put together from its chunks.
    pub bytes: Vec<u8>,
    /// The same as text; what is no UTF-8 is replaced.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends one request and reads the whole answer.
///
/// # Panics
/// If there is no server, or what it says is no HTTP.
#[track_caller]
pub fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    request_with(address, method, path, &[], body)
}

/// As [`request`], with further headers.
///
/// # Panics
/// As [`request`].
#[track_caller]
pub fn request_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    exchange(&mut connect(address), &address.to_string(), method, path, headers, body)
}

/// As [`request_with`], over a connection that is there, to the host that the request is to name.
///
/// # Panics
/// If what the server says is no HTTP.
#[track_caller]
pub fn exchange(
    stream: &mut (impl Read + Write),
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let more: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let more = more.concat();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // A server that refuses a large body answers and closes before it has read it all.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let read = read_answer(stream, &mut answer);
    assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
    parse(&answer)
}

/// Reads until the length that the head says is there, or the connection ends: not every server closes it when asked to.
fn read_answer(stream: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 16 * 1024];
    while whole_length(answer).is_none_or(|length| answer.len() < length) {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            // The fuzzer's clock is a signal.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes of head and body together; `None` while that is not known.
fn whole_length(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    Some(end + length.trim().parse::<usize>().ok()?)
}

/// A GET.
///
/// # Panics
/// As [`request`].
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, "")
}

/// A POST of a form, as browsers and Grafana send it.
///
/// # Panics
/// As [`request`].
#[track_caller]
pub fn post_form(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Answer {
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    request_with(address, "POST", path, &headers, &form(fields))
}

/// Fields as a form or a query: everything but letters and digits escaped.
pub fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| -> String {
        let byte = |byte: u8| {
            let is_plain = byte.is_ascii_alphanumeric();
            if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        };
        text.bytes().map(byte).collect()
    };
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = str::from_utf8(&answer[..end]).expect("a head of text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = &answer[end + 4..];
    let body = if is_chunked { from_chunks(body) } else { body.to_vec() };
    let text = String::from_utf8_lossy(&body).into_owned();
    Answer { status: status.expect("a status line"), headers, bytes: body, body: text }
}

fn from_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.expect("a chunk's size");
        if size == 0 {
            return body;
        }
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
