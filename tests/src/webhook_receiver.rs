//! Somebody who is told by webhook: an HTTP server on loopback that keeps what it gets and answers as it is told to.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

/// How to answer one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// With this status.
    Status(u16),
    /// Not at all, and without closing the connection.
    Hang,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Path and query.
    pub path: String,
    /// Head without the request line, as it came.
    pub head: String,
    /// The body, which is JSON.
    pub body: Value,
}

/// The server; it ends with its process.
#[derive(Debug)]
pub struct WebhookReceiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    /// For the next requests; after that, 200.
    replies: VecDeque<Reply>,
    hanging: Vec<TcpStream>,
}

impl WebhookReceiver {
    /// Starts one that answers 200.
    ///
    /// # Panics
    /// If no port can be bound.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that breaks off is its own affair: the test sees what was received.
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state }
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next requests so, and later ones with 200.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state().replies.extend(replies);
    }

    /// Everything that came, in order.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// The bodies of everything that came, in order.
    pub fn bodies(&self) -> Vec<Value> {
        self.received().into_iter().map(|it| it.body).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut head = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = vec![0; length?];
        reader.read_exact(&mut body).ok()?;
        let body = serde_json::from_slice(&body).ok()?;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.received.push(Received { path, head, body });
        match state.replies.pop_front().unwrap_or(Reply::Status(200)) {
            Reply::Status(status) => {
                drop(state);
                let mut stream = stream;
                write!(stream, "HTTP/1.1 {status} Told\r\nContent-Length: 5\r\n\r\nheard").ok()?;
            }
            Reply::Hang => state.hanging.push(stream.try_clone().ok()?),
        }
    }
}
