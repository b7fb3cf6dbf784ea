//! Force: the real program under load, with its processes, its broker and its database killed, frozen and starved at
//! moments that a seed chooses, and its rows compared with a lone run at the end.
//!
//! A *phase* injects one kind of [`fault::Fault`] so often into one installation, [`embedded`] or of [`separate`] roles, and
//! ends with a [`tally::Tally`]. Each metric has samples and scores of its own, so that no row or score of another passes
//! for its own. A row that was *seen in the database* must be there after every fault, and its scores too.
//!
//! Whoever takes lines answers for them as long as its process lives, whatever happens to others: its sender must get rid of
//! all of them, and all are stored without being sent again. Only where that process itself is killed, what it had read and
//! not passed on is gone with it; the sender is one that keeps what it sent, and after its connection broke it asks what is
//! stored and goes on from there, as a relay with a spool does.
//!
//! What a seed cannot repeat is the moment within the program; that is what `simulation` is for.

pub mod embedded;
pub mod fault;
pub mod separate;
pub mod tally;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use htmengine::repository::Repository;

use crate::load::Load;
use crate::seeded_random::SeededRandom;
use crate::stored::{row_count, scored_count};

/// Bytes that the sender writes at once while the fault happens: a few lines, so that it meets some of them.
const BYTES_PER_WRITE: usize = 200;
/// Its pause between writes.
const WRITE_PAUSE: Duration = Duration::from_millis(2);
/// Pause between looks at how far the engine is.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Pause between looks at what is still to be stored.
const STORE_PAUSE: Duration = Duration::from_millis(10);
/// What was sent and is not stored is lost if for so long nothing else was stored either.
const STORE_LIMIT: Duration = Duration::from_secs(60);

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

    /// Sends what is missing of the first `rows` rows, up to the moment of the next fault: the sender waits after a share of
    /// the lines, and the moment is when a part of those is scored; the seed chooses both. However fast the machine is, some
    /// lines are still to come, and they come while the fault happens.
    fn send_until_fault(
        &self,
        random: &mut SeededRandom,
        repository: &dyn Repository,
        load: &Load,
        (rows, address): (usize, SocketAddr),
    ) -> Struck {
        let text = load.missing(repository, rows);
        let line_ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let first_lines = random.below(line_ends.len());
        let scored_lines = random.below(first_lines + 1);
        let first_bytes = first_lines.checked_sub(1).map_or(0, |last| line_ends[last]);
        let mut before = progress(repository, load);
        let goal = all_scored(&before) + i64::try_from(scored_lines).expect("a small number");
        let (go_on, wait) = mpsc::channel();
        let sender = thread::spawn(move || send(address, text.as_bytes().split_at(first_bytes), &wait));
        let until = Instant::now() + self.longest_wait;
        while all_scored(&before) < goal && Instant::now() < until {
            thread::sleep(LOOK_PAUSE);
            before = progress(repository, load);
        }
        // It may have given up already.
        let _ = go_on.send(());
        Struck { before, sender }
    }
}

/// The moment of a fault.
struct Struck {
    /// What the database had just before.
    before: Vec<(i64, i64)>,
    /// Sends the rest of the lines.
    sender: JoinHandle<io::Result<()>>,
}

impl Struck {
    /// After a fault that the process which takes lines lived through: how many of the first `rows` rows of each metric are
    /// not stored and never will be, all having been sent.
    ///
    /// # Panics
    /// If not all lines were taken.
    fn never_stored(self, repository: &dyn Repository, load: &Load, rows: usize) -> u64 {
        if let Err(error) = self.sent() {
            panic!("whoever takes lines lived through the fault and does not take them: {error}");
        }
        let missing = || -> u64 {
            let rows = i64::try_from(rows).expect("a small number");
            load.names().iter().map(|name| (rows - row_count(repository, name)).max(0).unsigned_abs()).sum()
        };
        let (mut least, mut since) = (missing(), Instant::now());
        while least > 0 && since.elapsed() < STORE_LIMIT {
            thread::sleep(STORE_PAUSE);
            let now = missing();
            if now < least {
                (least, since) = (now, Instant::now());
            }
        }
        least
    }

    /// Waits until the sender has sent all, or found nobody who takes it.
    fn sent(self) -> io::Result<()> {
        self.sender.join().expect("a sender does not panic")
    }
}

/// What the database has of each metric: rows, and scored rows.
fn progress(repository: &dyn Repository, load: &Load) -> Vec<(i64, i64)> {
    load.names().iter().map(|name| (row_count(repository, name), scored_count(repository, name))).collect()
}

fn all_scored(progress: &[(i64, i64)]) -> i64 {
    progress.iter().map(|(_, scored)| scored).sum()
}

/// Sends the first part at once and, when told to go on, the other bit by bit, as long as somebody takes it.
fn send(address: SocketAddr, (first, rest): (&[u8], &[u8]), go_on: &Receiver<()>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(first)?;
    // Whoever says so may be gone: then there is nothing to wait for.
    let _ = go_on.recv();
    for part in rest.chunks(BYTES_PER_WRITE) {
        stream.write_all(part)?;
        thread::sleep(WRITE_PAUSE);
    }
    Ok(())
}
