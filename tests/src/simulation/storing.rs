//! The storer as a process runs it: lines that an earlier life kept in a file come first, and what an orderly stop cannot
//! store is kept there. Only where the data queue is in the process; a broker keeps its messages itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use htmengine::bus::Bus;
use htmengine::repository::RepositoryError;
use htmengine::storer::Storer;
use htmengine::storer::kept_lines::keep;

use super::canary::Canary;
use super::stage::Caller;

/// The role.
pub(super) struct Storing {
    caller: Caller,
    bus: Arc<dyn Bus>,
    storer: Storer,
    /// The file; `None` with a broker.
    kept: Option<PathBuf>,
}

impl Storing {
    pub(super) fn new(caller: &Caller, bus: Arc<dyn Bus>, storer: Storer, kept: Option<PathBuf>) -> Self {
        Self { caller: caller.clone(), bus, storer, kept }
    }

    /// One turn; says how it ended.
    pub(super) fn run_once(&mut self) -> Result<String, RepositoryError> {
        if let Some(path) = self.kept.as_ref().filter(|path| path.exists()) {
            // One attempt, since nobody waits.
            let are_stored = self.storer.store_kept(path, &AtomicBool::new(true), &AtomicBool::new(false))?;
            return Ok(if are_stored { "kept lines are stored" } else { "kept lines wait" }.to_owned());
        }
        self.storer.run_once(Duration::ZERO).map(|turn| format!("{turn:?}"))
    }

    /// The last thing in an orderly stop. With a broker a role is told to end when it holds nothing, which may never be while
    /// the database is away; without one, what could not be stored is kept. Returns how many lines that were.
    pub(super) fn finish(&mut self) -> Result<usize, RepositoryError> {
        let stop = AtomicBool::new(true);
        let Some(path) = self.kept.clone() else { return self.storer.run_until(&stop).map(|()| 0) };
        match self.storer.run_behind_kept(&path, &stop, &AtomicBool::new(false)) {
            Ok(()) | Err(RepositoryError::Transient { .. }) => {}
            Err(error) => return Err(error),
        }
        if self.caller.stage().canary() == Some(Canary::UnkeptLines) {
            return Ok(0);
        }
        let kept = keep(&path, &self.storer.in_hand(), self.bus.data());
        Ok(kept.expect("a folder of this run"))
    }
}
