//! A reader of live results over TCP that misses nothing, as long as its engine lives.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use htmengine::repository::Repository;

use crate::load::Load;
use crate::published::Published;
use crate::waiting::wait_until;

/// How long after a connection the engine surely keeps results for it: it looks for new readers every 50 ms, and does not say
/// when it has seen one. What is published before that does not come.
pub const SEEN_AFTER: Duration = Duration::from_secs(1);

/// The reader.
pub struct ResultsReader {
    lines: Receiver<String>,
}

impl ResultsReader {
    /// Keeps every line of what is published after it returned, until the engine ends.
    ///
    /// # Panics
    /// If nobody listens there.
    pub fn start(address: SocketAddr) -> Self {
        let reader = BufReader::new(TcpStream::connect(address).expect("live results"));
        thread::sleep(SEEN_AFTER);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    /// Whether every row in the database was published, with what it has there and, when it first was, in its order.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check(&self, load: &Load, repository: &dyn Repository) {
        let mut published = Published::default();
        wait_until("every row among the live results", || {
            while let Ok(line) = self.lines.recv_timeout(Duration::ZERO) {
                published.note(&serde_json::from_str(&line).expect("JSON"));
            }
            published.is_complete(load)
        });
        published.check(load, repository);
    }
}
