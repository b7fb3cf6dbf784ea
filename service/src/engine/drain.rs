//! Stopping an engine: in the order of a sample's walk, and in time.
//!
//! A stop has [`EngineOptions::drain`](super::EngineOptions). When that is over the roles end after the turn they are in; what
//! remains is told: scores that were not committed and models that were not saved are made again from the rows by the next
//! engine, and lines that were not stored, or that a broker has not confirmed, are kept for it in a file
//! (`storer/kept_lines.rs`). A role that does not even end its turn, because a database neither answers nor fails, is left
//! behind after [`TURN_PATIENCE`] and ends with the process.
//!
//! Invariant: before lines are kept, nothing is waited for without an end; threads beside the roles are told to stop at once,
//! and waited for last.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::role::Role;
use super::{Engine, EngineError, SCORES_DRAIN, unpublished};
use crate::alerts::role::AlertThreads;
use crate::repository::RepositoryError;
use crate::scheduler::Scheduler;
use crate::stoppable_thread::StoppableThread;
use crate::storer::kept_lines::{KEPT_LINES_FILE, LinesInHand, keep};

/// How long a stop waits for scores to be committed by another process, so that their models can be saved.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
const COMMIT_POLL: Duration = Duration::from_millis(100);
/// A role that waits for a broker that is away gets so long to end, before the bus is closed under it.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const STOP_POLL: Duration = Duration::from_millis(10);
/// What a role gets to end its turn when the time to drain is over.
const TURN_PATIENCE: Duration = Duration::from_secs(3);
/// What clients of database and broker get to end.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(2);

/// How a role ended.
type Ended = Result<(), RepositoryError>;

impl Engine {
    /// Drains and saves: every sample accepted is stored or waits at the broker, every score computed is committed or
    /// waits there, every model whose scores are committed is saved; as far as the time to drain goes. The rest is told.
    ///
    /// # Errors
    /// What ended a role, if one failed, or that one did not end.
    pub fn stop(mut self) -> Result<(), EngineError> {
        let until = self.clock.monotonic().saturating_add(self.options.drain);
        let mut scheduler = None;
        let drained = self.drain(until, &mut scheduler);
        let published = self.keep_unpublished(until);
        self.signals.stop_control.store(true, Ordering::Relaxed);
        let drained = drained.and(self.end_others(until));
        self.bus.close();
        drop(self.results.take());
        // Their clients end on the runtime, so they go before it.
        drop((scheduler, self.bus, self.repository));
        self.runtime.shutdown_timeout(RUNTIME_PATIENCE);
        drained.and(published)
    }

    fn drain(&mut self, until: Duration, kept: &mut Option<Scheduler>) -> Result<(), EngineError> {
        // First what gives the engine work.
        drop(self.http.take());
        for thread in self.garbage.iter().chain(&self.self_series) {
            thread.tell();
        }
        let threads = std::mem::take(&mut self.threads);
        let raise = |signal: &AtomicBool| signal.store(true, Ordering::Relaxed);
        if let Some(listener) = threads.listener {
            listener.stop();
        }
        if self.is_local {
            self.bus.data().close();
        }
        raise(&self.signals.stop_waiting);
        raise(&self.signals.finish_storer);
        let storer = self.join("storer", threads.storer, until);
        if self.is_local && self.options.roles.has(Role::Storer) {
            self.keep_lines(&threads.in_hand)?;
        }
        let storer = match storer?.unwrap_or(Ok(())) {
            // The lines were kept, and that was told.
            Err(RepositoryError::Transient { .. }) if self.is_local => Ok(()),
            ended => ended,
        };
        if self.is_local {
            self.bus.hints().close();
        }
        raise(&self.signals.stop_scheduler);
        let stepped: Ended = match self.join("scheduler", threads.scheduler, until)? {
            Some((scheduler, stepped)) => {
                *kept = Some(scheduler);
                stepped
            }
            None => Ok(()),
        };
        if self.is_local {
            self.bus.scores().close();
        }
        raise(&self.signals.finish_anomaly);
        let anomaly = self.join("anomaly", threads.anomaly, until)?.unwrap_or(Ok(()));
        self.alerts.iter().for_each(AlertThreads::tell);
        let saved = kept.as_mut().map_or(Ok(()), |scheduler| self.save(scheduler, until));
        raise(&self.signals.stop_control);
        if let Some(control) = self.join("control", threads.control, Duration::MAX)? {
            control.write_figures(true);
        }
        self.join("ledger", threads.ledger, Duration::MAX)?;
        storer.and(stepped).and(anomaly).and(saved).map_err(EngineError::from)
    }

    /// Last of all, as roles that can do without the broker must not wait for it, and however they ended.
    fn keep_unpublished(&self, until: Duration) -> Result<(), EngineError> {
        let left = until.saturating_sub(self.clock.monotonic());
        let data = self.bus.data();
        if self.is_local || !self.options.roles.has(Role::Listener) {
            // What came over HTTP was confirmed before it was answered, and the engine's own figures are made anew.
            data.settle(left);
            return Ok(());
        }
        let path = self.options.data_dir.join(KEPT_LINES_FILE);
        let kept = unpublished::keep(&path, data, left);
        told_kept(&path, kept, "did not reach the broker", "published")
    }

    /// What was taken in and is not stored goes with this process unless it is kept.
    fn keep_lines(&self, in_hand: &LinesInHand) -> Result<(), EngineError> {
        let path = self.options.data_dir.join(KEPT_LINES_FILE);
        told_kept(&path, keep(&path, in_hand, self.bus.data()), "could not be stored", "stored")
    }

    /// Saves all models; those whose scores another process is still to commit are waited for a little, the others are
    /// stepped again next time.
    fn save(&self, scheduler: &mut Scheduler, until: Duration) -> Ended {
        scheduler.save_all_until(until)?;
        if !self.is_local && !self.options.roles.has(Role::Anomaly) {
            let until = until.min(self.clock.monotonic() + COMMIT_PATIENCE);
            while scheduler.unsaved_model_count() > 0 && self.clock.monotonic() < until {
                thread::sleep(COMMIT_POLL);
                scheduler.save_all_until(until)?;
            }
        }
        let (unsaved, scores) = (scheduler.unsaved_model_count(), self.bus.scores().depth());
        if self.clock.monotonic() >= until && unsaved + scores > 0 {
            tracing::warn!(
                "the time to drain is over: {unsaved} models are not saved and {scores} messages with scores not committed; \
                 their rows are stored, and stepped again at the next start, to the same scores"
            );
        }
        Ok(())
    }

    /// Waits for the end of a role that was told to end.
    fn join<T>(
        &self,
        name: &str,
        thread: Option<JoinHandle<T>>,
        until: Duration,
    ) -> Result<Option<T>, EngineError> {
        let Some(thread) = thread else { return Ok(None) };
        let mut patience =
            Some(self.clock.monotonic() + STOP_PATIENCE + SCORES_DRAIN).filter(|_| !self.is_local);
        while !thread.is_finished() {
            thread::sleep(STOP_POLL);
            let now = self.clock.monotonic();
            if patience.is_some_and(|patience| now >= patience) {
                patience = None;
                tracing::warn!(
                    "the {name} waits for a broker that is away; what it holds was not acknowledged and comes again"
                );
                self.bus.close();
            }
            if now >= until {
                self.give_up(&format_args!("the {name}"));
            }
            if now >= until.saturating_add(TURN_PATIENCE) {
                return Err(self.left_behind(name));
            }
        }
        joined(name, thread).map(Some)
    }

    /// Waits for the threads beside the roles. One that its database keeps is left behind.
    fn end_others(&mut self, until: Duration) -> Result<(), EngineError> {
        let alerts = self.alerts.take().map(AlertThreads::into_threads).unwrap_or_default();
        let others = self.garbage.take().into_iter().chain(self.self_series.take()).chain(alerts);
        let threads: Vec<JoinHandle<()>> = others.filter_map(StoppableThread::into_handle).collect();
        let until = until.saturating_add(TURN_PATIENCE);
        while !threads.iter().all(JoinHandle::is_finished) && self.clock.monotonic() < until {
            thread::sleep(STOP_POLL);
        }
        let mut ended = Ok(());
        for thread in threads {
            let name = format!("thread `{}`", thread.thread().name().unwrap_or("?"));
            let result =
                if thread.is_finished() { joined(&name, thread) } else { Err(self.left_behind(&name)) };
            ended = ended.and(result);
        }
        ended
    }

    fn left_behind(&self, name: &str) -> EngineError {
        EngineError {
            reason: format!(
                "the {name} did not end within {} s and is left behind: the database neither answers nor fails; what is \
                 stored is whole, and scored at the next start",
                (self.options.drain + TURN_PATIENCE).as_secs()
            ),
        }
    }

    fn give_up(&self, waiting_for: &dyn fmt::Display) {
        if !self.signals.give_up.swap(true, Ordering::Relaxed) {
            let seconds = self.options.drain.as_secs();
            tracing::warn!(
                "{seconds} s to drain are over while {waiting_for} works: stopping after this turn"
            );
        }
    }
}

/// Says what became of lines that `failed` in time, and will be `done`.
fn told_kept(path: &Path, kept: io::Result<usize>, failed: &str, done: &str) -> Result<(), EngineError> {
    let shown = path.display();
    match kept {
        Ok(0) => Ok(()),
        Ok(count) => {
            tracing::warn!(
                "{count} lines {failed} in time; they are kept in {shown} and {done} at the next start"
            );
            Ok(())
        }
        Err(error) => {
            let doing = format!("keeping lines that {failed} in {shown}, so that they are lost,");
            Err(EngineError::new(&doing, &error))
        }
    }
}

/// What an ended thread returned.
fn joined<T>(name: &str, thread: JoinHandle<T>) -> Result<T, EngineError> {
    thread.join().map_err(|_| EngineError {
        reason: format!("the {name} stopped with a panic (see the log); nothing stored is lost: start again"),
    })
}
