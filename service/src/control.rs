//! How other processes look at a running engine and ask something of it: small files in its data folder.
//!
//! - `status.json`: figures, written whole every second and once more at the stop. A process that waits for its database or
//!   broker says so there.
//! - `requests/TOKEN.checkpoint`: somebody asks to save all models; `requests/TOKEN.answer` is what came of it. The asker
//!   chooses the token and removes the answer.
//!
//! Both are the scheduler's, whatever roles run in its process: figures are mostly about models.
//!
//! Whether an engine runs is told by the lock on its lock file, never by these files: a killed engine leaves them.
//! Files instead of tables: figures need no history, and asking must work on every repository.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::Bus;
use crate::clock::Clock;
use crate::engine::role::Role;
use crate::machine;
use crate::scheduler::checkpoint_desk::{CheckpointAnswer, CheckpointDesk};
use crate::scheduler::figures::SchedulerFigures;

/// The file of figures in a data folder.
pub const STATUS_FILE: &str = "status.json";
/// The folder of requests in a data folder.
pub const REQUESTS_FOLDER: &str = "requests";
/// How often requests are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often figures are written.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// Requests taken at one look.
const MAX_REQUESTS_PER_LOOK: usize = 64;
/// Requests waiting for their answer.
const MAX_WAITING: usize = 256;
const REQUEST_EXTENSION: &str = "checkpoint";
const ANSWER_EXTENSION: &str = "answer";

/// Figures of one engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EngineFigures {
    /// Process id.
    pub process_id: u32,
    /// When it started, unix seconds.
    pub started_at: i64,
    /// When these figures were taken, unix seconds.
    pub taken_at: i64,
    /// Whether it is not at work yet, and waits for database or broker.
    #[serde(default)]
    pub is_starting: bool,
    /// Whether these are the last figures of an engine that stopped in order.
    pub is_stopped: bool,
    /// Batches of lines waiting to be stored.
    pub data_queue: usize,
    /// Hints waiting for the scheduler.
    pub hints_queue: usize,
    /// Score messages waiting to be committed.
    pub scores_queue: usize,
    /// Page faults served from memory.
    pub minor_page_faults: u64,
    /// Page faults that waited for the disk.
    pub major_page_faults: u64,
    /// The models.
    #[serde(flatten)]
    pub models: SchedulerFigures,
}

/// The engine's side.
pub(crate) struct Control {
    pub(crate) data_dir: PathBuf,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) desk: Arc<CheckpointDesk>,
    pub(crate) figures: Arc<Mutex<SchedulerFigures>>,
    pub(crate) started_at: i64,
    /// Tokens of requests being worked off, with their tickets at the desk.
    pub(crate) waiting: Vec<(String, u64)>,
}

impl Control {
    /// Looks after requests and figures until `stop` is raised.
    pub(crate) fn run(&mut self, stop: &AtomicBool) {
        let mut next_figures = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            self.take_requests();
            self.give_answers();
            let now = self.clock.monotonic();
            if now >= next_figures {
                next_figures = now + FIGURES_INTERVAL;
                self.write_figures(false);
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Writes the figures of this moment. Nobody needs them as much as the engine is needed: a failure is only logged.
    pub(crate) fn write_figures(&self, is_stopped: bool) {
        let figures = self.figures(is_stopped);
        if let Err(error) = write_json(&self.data_dir.join(STATUS_FILE), &figures) {
            tracing::debug!("{STATUS_FILE} could not be written: {error}");
        }
    }

    fn figures(&self, is_stopped: bool) -> EngineFigures {
        let faults = machine::page_faults();
        EngineFigures {
            process_id: std::process::id(),
            started_at: self.started_at,
            taken_at: self.clock.unix_seconds(),
            is_starting: false,
            is_stopped,
            data_queue: self.bus.data().depth(),
            hints_queue: self.bus.hints().depth(),
            scores_queue: self.bus.scores().depth(),
            minor_page_faults: faults.map_or(0, |faults| faults.minor),
            major_page_faults: faults.map_or(0, |faults| faults.major),
            models: self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn take_requests(&mut self) {
        let Ok(entries) = fs::read_dir(self.data_dir.join(REQUESTS_FOLDER)) else { return };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let requests = paths.filter(|path| path.extension().is_some_and(|it| it == REQUEST_EXTENSION));
        for path in requests.take(MAX_REQUESTS_PER_LOOK) {
            let token = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_token(stem));
            if let Some(token) = token
                && self.waiting.len() < MAX_WAITING
            {
                self.waiting.push((token.to_owned(), self.desk.ask()));
            }
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!("{} could not be removed: {error}", path.display());
            }
        }
    }

    fn give_answers(&mut self) {
        let folder = self.data_dir.join(REQUESTS_FOLDER);
        self.waiting.retain(|(token, ticket)| {
            let Some(answer) = self.desk.take_answer(*ticket) else { return true };
            let path = folder.join(format!("{token}.{ANSWER_EXTENSION}"));
            if let Err(error) = write_json(&path, &answer) {
                tracing::warn!("{} could not be written: {error}", path.display());
            }
            false
        });
    }
}

/// Removes what is left of an engine before, for whoever holds the scheduler's lock on `data_dir`, as soon as that is held:
/// those who ask from then on are answered once this process is at work, and those before wait no more.
pub(crate) fn remove_old_requests(data_dir: &Path) {
    let folder = data_dir.join(REQUESTS_FOLDER);
    if let Err(error) = fs::remove_dir_all(&folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{} could not be cleaned: {error}", folder.display());
    }
}

/// That this process starts, told in place of the figures of the process before it; these are put back when it is dropped
/// before [`StartNotice::replace`].
#[derive(Debug)]
pub(crate) struct StartNotice {
    path: PathBuf,
    before: Option<Vec<u8>>,
    is_replaced: bool,
}

impl StartNotice {
    /// For whoever holds the scheduler's lock on `data_dir`.
    pub(crate) fn write(data_dir: &Path, clock: &dyn Clock) -> Self {
        let path = data_dir.join(STATUS_FILE);
        let now = clock.unix_seconds();
        let figures = EngineFigures {
            process_id: std::process::id(),
            started_at: now,
            taken_at: now,
            is_starting: true,
            ..EngineFigures::default()
        };
        // A notice of a process that was killed while it waited says nothing of those before it.
        let is_notice =
            |bytes: &[u8]| serde_json::from_slice::<EngineFigures>(bytes).is_ok_and(|it| it.is_starting);
        let before = fs::read(&path).ok().filter(|bytes| !is_notice(bytes));
        if let Err(error) = write_json(&path, &figures) {
            tracing::debug!("{STATUS_FILE} could not be written: {error}");
        }
        Self { path, before, is_replaced: false }
    }

    /// The process is at work, and its figures take this one's place.
    pub(crate) fn replace(mut self) {
        self.is_replaced = true;
    }
}

impl Drop for StartNotice {
    fn drop(&mut self) {
        if self.is_replaced {
            return;
        }
        let put_back = match &self.before {
            Some(bytes) => write_whole(&self.path, bytes),
            None => fs::remove_file(&self.path),
        };
        if let Err(error) = put_back {
            tracing::debug!("{STATUS_FILE} could not be put back: {error}");
        }
    }
}

/// Whether an engine, or a scheduler alone, runs over this data folder.
///
/// # Errors
/// If its lock file can be neither opened nor found missing.
pub fn is_engine_running(data_dir: &Path) -> io::Result<bool> {
    Role::Scheduler.is_running(data_dir)
}

/// The latest figures of the engine over this data folder, if it ever ran.
///
/// # Errors
/// If they cannot be read.
pub fn read_figures(data_dir: &Path) -> io::Result<Option<EngineFigures>> {
    read_json(&data_dir.join(STATUS_FILE))
}

/// Asks the running engine to save all models.
///
/// # Errors
/// If the request cannot be written.
pub fn request_checkpoint(data_dir: &Path, token: &str) -> io::Result<()> {
    let folder = data_dir.join(REQUESTS_FOLDER);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{token}.{REQUEST_EXTENSION}")), b"")
}

/// The answer to a request, once, if it is there.
///
/// # Errors
/// If it cannot be read.
pub fn take_checkpoint_answer(data_dir: &Path, token: &str) -> io::Result<Option<CheckpointAnswer>> {
    let path = data_dir.join(REQUESTS_FOLDER).join(format!("{token}.{ANSWER_EXTENSION}"));
    let answer = read_json(&path)?;
    if answer.is_some() {
        fs::remove_file(&path)?;
    }
    Ok(answer)
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec_pretty(value)?)
}

/// Under another name first, so that nobody reads half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}
