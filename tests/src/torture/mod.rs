//! Force: the real program under load, with its processes, its broker and its database killed, frozen and starved at
//! moments that a seed chooses, and its rows compared with a lone run at the end.
//!
//! A *phase* injects one kind of [`fault::Fault`] so often into one installation, [`embedded`] or of [`separate`] roles, and
//! ends with a [`tally::Tally`]. The sender is one that keeps what it sent: after its connection broke, it asks what
//! is stored and goes on from there, as a relay with a spool does. So a row that the sender was never told about may be
//! sent again, but a row that was *seen in the database* must be there after every fault, and its scores too.
//!
//! What a seed cannot repeat is the moment within the program; that is what `simulation` is for.

pub mod embedded;
pub mod fault;
pub mod separate;
pub mod tally;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use htmengine::repository::Repository;

use crate::load::Load;
use crate::seeded_random::SeededRandom;
use crate::stored::{row_count, scored_count};

/// Bytes that the sender writes at once: a few lines, so that a load is still arriving when some of it is scored.
const BYTES_PER_WRITE: usize = 200;
/// Its pause between writes.
const WRITE_PAUSE: Duration = Duration::from_millis(2);
/// Pause between looks at how far the engine is.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// How much of a fault.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// Times it is injected.
    pub injections: usize,
    /// Metrics under load.
    pub metrics: usize,
    /// Rows of each metric sent between two injections.
    pub rows_between: usize,
    /// Longest time between the begin of a load and the fault.
    pub longest_wait: Duration,
    /// Chooses the moments.
    pub seed: u64,
}

impl Phase {
    /// Samples for all of it, and some to be sent when all is over.
    ///
    /// # Panics
    /// If the recording is too short for that.
    pub fn load(&self) -> Load {
        let rows = (self.injections + 1) * self.rows_between;
        let load = Load::long(self.metrics, rows);
        assert_eq!(
            load.rows(),
            rows,
            "rows for {} injections of {} rows",
            self.injections,
            self.rows_between
        );
        load
    }

    fn random(&self) -> SeededRandom {
        SeededRandom::new(self.seed)
    }

    /// Waits for the moment of the next fault: when a share of what is being sent, chosen by the seed, is scored. A
    /// machine that is fast is so hit in the middle of its work, too. Returns the progress at that moment.
    fn wait(&self, random: &mut SeededRandom, repository: &dyn Repository, load: &Load) -> Vec<(i64, i64)> {
        let until = Instant::now() + self.longest_wait;
        let share = random.below(self.metrics * self.rows_between);
        let mut now = progress(repository, load);
        let goal = all_scored(&now) + i64::try_from(share).expect("a small number");
        while all_scored(&now) < goal && Instant::now() < until {
            thread::sleep(LOOK_PAUSE);
            now = progress(repository, load);
        }
        now
    }
}

/// What the database has of each metric: rows, and scored rows.
fn progress(repository: &dyn Repository, load: &Load) -> Vec<(i64, i64)> {
    load.names().iter().map(|name| (row_count(repository, name), scored_count(repository, name))).collect()
}

fn all_scored(progress: &[(i64, i64)]) -> i64 {
    progress.iter().map(|(_, scored)| scored).sum()
}

/// Sends text as long as somebody takes it.
fn start_sending(address: SocketAddr, text: String) -> JoinHandle<()> {
    thread::spawn(move || {
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        for part in text.as_bytes().chunks(BYTES_PER_WRITE) {
            if stream.write_all(part).is_err() {
                return;
            }
            thread::sleep(WRITE_PAUSE);
        }
    })
}
