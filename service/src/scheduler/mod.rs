//! The scheduler: feeds models the rows they have not stepped, many models at once.
//!
//! Flow: hints from the storer (and changes announced by a command line) make models *hungry*; each turn takes
//! some hungry models, steps them side by side on the worker threads (`runner.rs`), publishes their scores in row
//! order, saves those that are due and drops the least recently used ones when memory runs short.
//!
//! Invariants:
//! - A model is fed by row id from the repository, never from a message in hand; a lost hint costs time only.
//! - A model's file never stands beyond the last row whose scores are committed: a model that is due *settles*
//!   (is not stepped) until the anomaly role has committed its scores, then it is saved. So after a crash every row
//!   without scores is stepped again, and stepping gives the same scores again.
//! - One model's failure never stops another's.
//!
//! Departure from the original, which started a process for each model: models share this process.

pub mod model_store;
mod runner;
mod slot;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use htm_core::ids::ModelId;
use htm_core::model::workspace::Workspace;
use rayon::ThreadPool;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use self::model_store::ModelStore;
use self::runner::{Outcome, Runner, is_committed};
use self::slot::Slot;
use crate::bus::message::ScoreMessage;
use crate::bus::{Bus, BusError};
use crate::clock::Clock;
use crate::repository::metric::MetricStatus;
use crate::repository::{Repository, RepositoryError};

/// Rows stepped in one turn over all models, roughly; bounds how long a fresh hint waits.
const ROWS_PER_TURN: usize = 4096;
/// Share of one model in a turn.
const MIN_ROWS_PER_SHARE: usize = 16;
const MAX_ROWS_PER_SHARE: usize = 512;
/// Models stepped in one turn. They are in memory together, whatever the memory budget.
const MAX_MODELS_PER_TURN: usize = 64;
/// Hints taken in one turn.
const MAX_HINTS_PER_TURN: usize = 65_536;
/// How often announced changes are looked for.
const CHANGES_INTERVAL: Duration = Duration::from_millis(250);
/// Announced changes handled at once.
const MAX_CHANGES_PER_LOOK: usize = 10_000;
/// Longest wait for a hint.
const HINT_WAIT: Duration = Duration::from_millis(100);
/// Wait while every hungry model is settling or postponed.
const SETTLE_WAIT: Duration = Duration::from_millis(2);
/// Turns a model settles before it is stepped on regardless; it is saved another time then.
const MAX_SETTLE_TURNS: u64 = 2_500;
/// A failure that lasts is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after the database or the files were away.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What a scheduler works with.
pub struct SchedulerParts {
    /// Hints in, scores out.
    pub bus: Arc<dyn Bus>,
    /// Rows in.
    pub repository: Arc<dyn Repository>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Model files.
    pub store: ModelStore,
    /// Worker threads.
    pub workers: ThreadPool,
    /// Settings.
    pub options: SchedulerOptions,
}

/// Settings of a scheduler.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerOptions {
    /// A model is saved after so many rows.
    pub checkpoint_rows: i64,
    /// Models are dropped from memory, least recently used first, above this.
    pub memory_budget_bytes: usize,
}

/// What one turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchedulerTurn {
    /// Nothing to do.
    Idle,
    /// Some rows were stepped, or models saved.
    Worked {
        /// Rows stepped.
        rows: usize,
    },
    /// Something is away: pause, then call again.
    Postponed,
    /// The hint queue is closed and drained: nothing new will come (hungry models may remain).
    Closed,
}

/// The role.
pub struct Scheduler {
    parts: SchedulerParts,
    slots: HashMap<ModelId, Box<Slot>>,
    hungry: VecDeque<ModelId>,
    is_hungry: HashSet<ModelId>,
    settling: Vec<ModelId>,
    workspaces: Mutex<Vec<Workspace>>,
    turn: u64,
    last_change: i64,
    last_look: Option<Duration>,
    last_warning: Option<Duration>,
    hints_closed: bool,
}

impl Scheduler {
    /// A scheduler with no model in memory; every model with unscored rows is hungry.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn new(parts: SchedulerParts) -> Result<Self, RepositoryError> {
        let mut scheduler = Self {
            last_change: parts.repository.newest_change()?,
            parts,
            slots: HashMap::new(),
            hungry: VecDeque::new(),
            is_hungry: HashSet::new(),
            settling: Vec::new(),
            workspaces: Mutex::new(Vec::new()),
            turn: 0,
            last_look: None,
            last_warning: None,
            hints_closed: false,
        };
        let repository = Arc::clone(&scheduler.parts.repository);
        for metric in repository.metrics(&[MetricStatus::Active, MetricStatus::CreatePending])? {
            let is_new = metric.status == MetricStatus::CreatePending;
            if is_new || repository.scored_up_to(&metric.uid)? < metric.last_rowid {
                scheduler.push_hungry(metric.uid);
            }
        }
        Ok(scheduler)
    }

    /// Takes turns until `stop` is raised or the hint queue is closed and no model is hungry.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), RepositoryError> {
        while !stop.load(Ordering::Relaxed) {
            match self.run_once(HINT_WAIT)? {
                SchedulerTurn::Idle | SchedulerTurn::Worked { .. } => {}
                SchedulerTurn::Postponed => std::thread::sleep(RETRY_PAUSE),
                SchedulerTurn::Closed => return Ok(()),
            }
        }
        Ok(())
    }

    /// One turn; waits up to `wait` for a hint if no model is hungry.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database: stop the role.
    pub fn run_once(&mut self, wait: Duration) -> Result<SchedulerTurn, RepositoryError> {
        self.turn += 1;
        let is_waiting = self.hungry.is_empty() || self.hungry.iter().all(|id| self.is_settling(id));
        let wait = match (is_waiting, self.settling.is_empty()) {
            (false, _) => Duration::ZERO,
            (true, true) => wait,
            (true, false) => SETTLE_WAIT,
        };
        self.take_hints(wait);
        self.take_changes()?;
        let saved = self.save_settled()?;
        let jobs = self.choose();
        if jobs.is_empty() {
            self.evict()?;
            let is_done = self.hints_closed && self.hungry.is_empty() && self.settling.is_empty();
            return Ok(match (is_done, saved) {
                (true, _) => SchedulerTurn::Closed,
                (false, 0) => SchedulerTurn::Idle,
                (false, _) => SchedulerTurn::Worked { rows: 0 },
            });
        }
        let outcomes = self.step(jobs);
        let (rows, is_postponed) = self.settle(outcomes)?;
        self.evict()?;
        Ok(if is_postponed && rows == 0 { SchedulerTurn::Postponed } else { SchedulerTurn::Worked { rows } })
    }

    /// Saves every model that learned rows since it was saved. To be called when the anomaly role has committed
    /// all scores; a model with uncommitted scores is left as its file is, and stepped again next time.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database. Models that could not be written are reported and skipped.
    pub fn save_all(&mut self) -> Result<usize, RepositoryError> {
        let ids: Vec<ModelId> =
            self.slots.iter().filter(|(_, slot)| slot.unsaved_rows() > 0).map(|(id, _)| id.clone()).collect();
        self.save_committed(&ids).map(|saved| saved.len())
    }

    fn push_hungry(&mut self, id: ModelId) {
        if self.is_hungry.insert(id.clone()) {
            self.hungry.push_back(id);
        }
    }

    fn is_settling(&self, id: &ModelId) -> bool {
        self.slots.get(id).is_some_and(|slot| slot.settling_since_turn.is_some())
    }

    fn take_hints(&mut self, wait: Duration) {
        if self.hints_closed {
            if !wait.is_zero() {
                std::thread::sleep(wait.min(SETTLE_WAIT));
            }
            return;
        }
        match self.parts.bus.hints().receive(MAX_HINTS_PER_TURN, wait) {
            Ok(deliveries) => {
                let last = deliveries.last().map(|delivery| delivery.tag);
                for delivery in deliveries {
                    self.push_hungry(delivery.message.model_id);
                }
                if let Some(tag) = last
                    && let Err(error) = self.parts.bus.hints().acknowledge(tag)
                {
                    self.warn(&error.to_string());
                }
            }
            Err(BusError::Closed) => self.hints_closed = true,
            Err(error) => self.warn(&error.to_string()),
        }
    }

    /// Makes models hungry that another process announced: it may have created, monitored or deleted them.
    fn take_changes(&mut self) -> Result<(), RepositoryError> {
        let now = self.parts.clock.monotonic();
        if self.last_look.is_some_and(|last| now < last + CHANGES_INTERVAL) {
            return Ok(());
        }
        self.last_look = Some(now);
        match self.parts.repository.changes_after(self.last_change, MAX_CHANGES_PER_LOOK) {
            Ok(changes) => {
                for (number, id) in changes {
                    self.last_change = number;
                    // Scores of a model that was given up are never committed: waiting for them would be in vain.
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.settling_since_turn = None;
                        self.settling.retain(|settling| *settling != id);
                    }
                    self.push_hungry(id);
                }
                Ok(())
            }
            Err(error) => self.pass_over(error),
        }
    }

    /// Takes this turn's models out of the queue, with their slots.
    fn choose(&mut self) -> Vec<(ModelId, Option<Box<Slot>>)> {
        let mut jobs = Vec::new();
        for _ in 0..self.hungry.len() {
            if jobs.len() == MAX_MODELS_PER_TURN {
                break;
            }
            let Some(id) = self.hungry.pop_front() else { break };
            if self.is_settling(&id) {
                self.hungry.push_back(id);
                continue;
            }
            self.is_hungry.remove(&id);
            let slot = self.slots.remove(&id);
            jobs.push((id, slot));
        }
        jobs
    }

    fn step(&mut self, jobs: Vec<(ModelId, Option<Box<Slot>>)>) -> Vec<(ModelId, Outcome)> {
        let share = (ROWS_PER_TURN / jobs.len()).clamp(MIN_ROWS_PER_SHARE, MAX_ROWS_PER_SHARE);
        let runner =
            Runner { repository: &*self.parts.repository, store: &self.parts.store, rows_per_turn: share };
        let workspaces = &self.workspaces;
        self.parts.workers.install(|| {
            jobs.into_par_iter()
                .with_max_len(1)
                .map(|(id, slot)| {
                    let borrowed = workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let mut workspace = borrowed.unwrap_or_default();
                    let outcome = runner.run(&id, slot, &mut workspace);
                    workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
                    (id, outcome)
                })
                .collect()
        })
    }

    /// Puts slots back and publishes scores; returns the rows stepped and whether something was away.
    fn settle(&mut self, outcomes: Vec<(ModelId, Outcome)>) -> Result<(usize, bool), RepositoryError> {
        let (mut rows, mut is_postponed) = (0, false);
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Stepped { slot, scores, has_more } => {
                    rows += self.take_back(&id, slot, scores);
                    if has_more {
                        self.push_hungry(id);
                    }
                }
                Outcome::Idle { is_gone } => {
                    if is_gone && let Err(error) = self.parts.store.remove(&id) {
                        self.warn(&format!("the file of model {id} could not be removed: {error}"));
                    }
                }
                Outcome::Postponed { slot, reason } => {
                    is_postponed = true;
                    self.warn(&reason);
                    if let Some(slot) = slot {
                        self.slots.insert(id.clone(), slot);
                    }
                    self.push_hungry(id);
                }
                Outcome::Failed { reason, may_rebuild } => self.give_up(&id, &reason, may_rebuild)?,
            }
        }
        Ok((rows, is_postponed))
    }

    fn take_back(&mut self, id: &ModelId, mut slot: Box<Slot>, scores: Option<ScoreMessage>) -> usize {
        slot.last_used_turn = self.turn;
        let rows = scores.as_ref().map_or(0, |message| message.scores.len());
        if slot.unsaved_rows() >= self.parts.options.checkpoint_rows {
            slot.settling_since_turn = Some(self.turn);
            self.settling.push(id.clone());
        }
        self.slots.insert(id.clone(), slot);
        if let Some(message) = scores
            && let Err(error) = self.parts.bus.scores().publish(message)
        {
            // Unpublished scores are not committed, so the file stays behind them and they are stepped again.
            self.slots.remove(id);
            self.settling.retain(|settling| settling != id);
            self.warn(&error.to_string());
        }
        rows
    }

    /// A model that came from a file may only have a bad file: put it aside and start from the rows. Any other
    /// failure would repeat itself, so the metric goes into error and keeps its samples.
    fn give_up(&mut self, id: &ModelId, reason: &str, may_rebuild: bool) -> Result<(), RepositoryError> {
        if may_rebuild {
            if let Err(error) = self.parts.store.put_aside(id, reason) {
                self.warn(&format!("the file of model {id} could not be put aside: {error}"));
            }
            self.push_hungry(id.clone());
            return Ok(());
        }
        tracing::error!(model = %id, "the model failed and its metric is now in error: {reason}");
        let from = [MetricStatus::Active, MetricStatus::CreatePending];
        let set = self
            .parts
            .repository
            .transact(&mut |tx| tx.set_status(id, &from, MetricStatus::Error, Some(reason)).map(|_| ()));
        set.or_else(|error| self.pass_over(error))
    }

    /// Saves the settling models whose scores are committed.
    fn save_settled(&mut self) -> Result<usize, RepositoryError> {
        if self.settling.is_empty() {
            return Ok(0);
        }
        let settling = std::mem::take(&mut self.settling);
        let saved = self.save_committed(&settling)?;
        for id in settling {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let is_overdue =
                slot.settling_since_turn.is_some_and(|since| self.turn > since + MAX_SETTLE_TURNS);
            if saved.contains(&id) || is_overdue {
                slot.settling_since_turn = None;
            } else {
                self.settling.push(id);
            }
        }
        Ok(saved.len())
    }

    /// Saves those of the models whose scores are committed, side by side; returns the ones saved.
    fn save_committed(&mut self, ids: &[ModelId]) -> Result<HashSet<ModelId>, RepositoryError> {
        let mut ready_ids = Vec::new();
        for id in ids {
            let Some(slot) = self.slots.get(id) else { continue };
            match is_committed(&*self.parts.repository, id, slot.model.last_stepped_row_id()) {
                Ok(true) => ready_ids.push(id),
                Ok(false) => {}
                Err(error) => {
                    self.pass_over(error)?;
                    break;
                }
            }
        }
        let ready: Vec<(&ModelId, &Slot)> = ready_ids.iter().map(|id| (*id, &*self.slots[*id])).collect();
        let store = &self.parts.store;
        let results: Vec<_> = self.parts.workers.install(|| {
            let save = |(id, slot): (&ModelId, &Slot)| {
                let saved = store.save(id, &slot.generation, &slot.model);
                (id.clone(), saved)
            };
            ready.into_par_iter().with_max_len(1).map(save).collect()
        });
        let mut saved = HashSet::new();
        for (id, result) in results {
            match result {
                Ok(()) => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.saved_row_id = slot.model.last_stepped_row_id();
                    }
                    saved.insert(id);
                }
                Err(error) => self.warn(&format!("model {id} could not be saved: {error}")),
            }
        }
        Ok(saved)
    }

    /// Drops the least recently used models until the rest fits into the memory budget.
    fn evict(&mut self) -> Result<(), RepositoryError> {
        let mut total: usize = self.slots.values().map(|slot| slot.model.memory_bytes()).sum();
        if total <= self.parts.options.memory_budget_bytes {
            return Ok(());
        }
        let mut order: Vec<(u64, ModelId)> =
            self.slots.iter().map(|(id, slot)| (slot.last_used_turn, id.clone())).collect();
        order.sort();
        let mut chosen = Vec::new();
        for (_, id) in order {
            if total <= self.parts.options.memory_budget_bytes {
                break;
            }
            total -= self.slots[&id].model.memory_bytes();
            chosen.push(id);
        }
        let unsaved: Vec<ModelId> =
            chosen.iter().filter(|id| self.slots[*id].unsaved_rows() > 0).cloned().collect();
        let saved = self.save_committed(&unsaved)?;
        for id in chosen {
            if !unsaved.contains(&id) || saved.contains(&id) {
                self.slots.remove(&id);
                self.settling.retain(|settling| *settling != id);
            }
        }
        Ok(())
    }

    /// Lets a transient error pass, to be tried again; a fatal one ends the role.
    fn pass_over(&mut self, error: RepositoryError) -> Result<(), RepositoryError> {
        if matches!(error, RepositoryError::Fatal { .. }) {
            return Err(error);
        }
        self.warn(&error.to_string());
        Ok(())
    }

    fn warn(&mut self, reason: &str) {
        let now = self.parts.clock.monotonic();
        if self.last_warning.is_none_or(|last| now >= last + LOG_INTERVAL) {
            self.last_warning = Some(now);
            tracing::warn!("models wait: {reason}");
        }
    }
}
