//! The scheduler: feeds models the rows they have not stepped, many models at once, far more than memory holds.
//!
//! Flow: hints from the storer (and changes announced by a command line) make models *hungry*; each turn takes
//! some hungry models, finds room for them (`admission.rs`), steps them side by side (`runner.rs`) on the worker threads
//! (`workers.rs`), publishes their scores in row order and saves those that are due (`checkpointing.rs`).
//!
//! What is kept of models: a `Record` of each that was ever stepped (`record.rs`), and the models themselves of those
//! that fit into memory (`residency.rs`). A model that leaves memory is dropped while stepping its outstanding rows
//! again is cheaper than saving it (`costs.rs`), else saved.
//!
//! Invariants:
//! - A model is fed by row id from the repository, never from a message in hand; a lost hint costs time only. Rows that
//!   this process has stepped before may come from its own memory: committed samples never change.
//! - A model's file never stands beyond the last row whose scores are committed: a model that is due *settles*
//!   (is not stepped) until the anomaly role has committed its scores, then it is saved. So after a crash every row
//!   without scores is stepped again, and stepping gives the same scores again.
//! - Models in memory never take more than the budget, but for a lone model that is larger.
//! - One model's failure never stops another's, nor its slowness for longer than a share.
//! - What became of a model is told on the queue of its scores, before them (`commands.rs`); hints are hints only, and
//!   what they missed is found by looking (`rescan.rs`).
//!
//! Departure from the original, which started a process for each model: models share this process.

pub mod checkpoint_desk;
pub mod figures;
pub mod model_store;
pub mod rescan;
pub mod workers;

mod admission;
mod checkpointing;
mod commands;
mod costs;
mod ending;
mod hungry;
mod memory_budget;
mod outcome;
mod outstanding;
mod pause;
mod rebuilt;
mod record;
mod residency;
mod resting;
mod runner;
mod unsavable;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use htm_core::ids::ModelId;
use htm_core::model::workspace::Workspace;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use self::checkpoint_desk::CheckpointDesk;
use self::checkpointing::CheckpointRound;
use self::costs::Costs;
use self::figures::SchedulerFigures;
use self::hungry::{HungryModels, Lane};
use self::memory_budget::MemoryBudget;
use self::model_store::ModelStore;
use self::outcome::{Outcome, Stepped};
use self::outstanding::{MAX_REMEMBERED_ROWS, RowMemory};
use self::pause::SaveBackOff;
use self::rebuilt::RebuiltModels;
use self::record::{Record, SharedParams};
use self::rescan::Rescan;
use self::residency::Residency;
use self::resting::RestingModels;
use self::runner::{Job, Runner};
use self::unsavable::UnsavableModels;
use self::workers::Workers;
use crate::bus::message::{ModelHint, ModelOutput, ScoreMessage};
use crate::bus::{Bus, BusError};
use crate::clock::Clock;
use crate::log_limiter::LogLimiter;
use crate::repository::{MAX_CHANGES, Repository, RepositoryError};
use crate::{profiling, self_metrics};

/// Hints taken in one turn.
const MAX_HINTS_PER_TURN: usize = 65_536;
/// How often announced changes are looked for.
const CHANGES_INTERVAL: Duration = Duration::from_millis(250);
/// Announced changes handled at once.
const MAX_CHANGES_PER_LOOK: usize = 10_000;
/// Longest wait for a hint.
const HINT_WAIT: Duration = Duration::from_millis(100);
/// Wait while models are settling, or none can be admitted.
const SETTLE_WAIT: Duration = Duration::from_millis(2);
/// Pause after the database or the files were away.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Weight of the newest model in the mean size of models.
const IMAGE_BYTES_WEIGHT: f64 = 1.0 / 256.0;

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
    /// Threads that read, step and save models.
    pub workers: Workers,
    /// Where checkpoints are asked for.
    pub desk: Arc<CheckpointDesk>,
    /// Where figures are shown.
    pub figures: Arc<Mutex<SchedulerFigures>>,
    /// Settings.
    pub options: SchedulerOptions,
}

/// Settings of a scheduler.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerOptions {
    /// A model is saved after so many rows at the latest; earlier where a crash would cost too much.
    pub checkpoint_rows: i64,
    /// Models leave memory, newcomers first, so as not to take more.
    pub memory_budget_bytes: usize,
    /// The same for their number.
    pub max_resident_models: usize,
    /// How often every metric is looked at, where changes may come without a word; `None` where they cannot.
    pub rescan_interval: Option<Duration>,
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
    records: HashMap<ModelId, Box<Record>>,
    residency: Residency,
    budget: Arc<MemoryBudget>,
    row_memory: Arc<RowMemory>,
    shared_params: SharedParams,
    typical: Costs,
    hungry: HungryModels,
    /// Waiting to be saved, in the order of their turn; their slots say since when.
    settling: VecDeque<ModelId>,
    /// Due, but saving failed or was not possible; they settle when it may work again.
    unsaved: BTreeSet<ModelId>,
    /// The last of them that was looked at: the next one is tried next.
    last_unsaved: Option<ModelId>,
    rebuilt: RebuiltModels,
    /// Waiting for something of their own.
    resting: RestingModels,
    /// Waiting for their scores to be committed, which are their last.
    ending: BTreeSet<ModelId>,
    round: Option<CheckpointRound>,
    back_off: SaveBackOff,
    /// Models that [`SchedulerFigures::checkpoint_trouble`] is about.
    unsavable: UnsavableModels,
    workspaces: Mutex<Vec<Workspace>>,
    figures: SchedulerFigures,
    mean_image_bytes: f64,
    turn: u64,
    /// Turns in a row in which hungry models found no room.
    stuck_turns: u32,
    /// Backlogs wait because the anomaly role does not keep up.
    is_ahead: bool,
    rescan: Rescan,
    /// Generations of models that were stepped here and whose metric was changed, until it is known what became of them.
    dismissed: HashMap<ModelId, String>,
    /// `None` until the first look at all metrics.
    last_change: Option<i64>,
    last_look: Option<Duration>,
    warnings: LogLimiter,
    save_warnings: LogLimiter,
    rest_warnings: LogLimiter,
    hints_closed: bool,
}

impl Scheduler {
    /// A scheduler with no model in memory; its first turn finds every model with unscored rows. What a crash left
    /// unfinished among the model files is removed.
    pub fn new(parts: SchedulerParts) -> Self {
        match parts.store.clean() {
            Ok(0) => {}
            Ok(removed) => tracing::info!("{removed} unfinished model files of an earlier run were removed"),
            Err(error) => tracing::warn!("unfinished model files could not be looked for: {error}"),
        }
        let options = parts.options;
        let mut scheduler = Self {
            rescan: Rescan::new(options.rescan_interval),
            dismissed: HashMap::new(),
            last_change: None,
            parts,
            records: HashMap::new(),
            residency: Residency::default(),
            budget: MemoryBudget::new(options.memory_budget_bytes),
            row_memory: RowMemory::new(MAX_REMEMBERED_ROWS),
            shared_params: SharedParams::default(),
            typical: Costs::default(),
            hungry: HungryModels::default(),
            settling: VecDeque::new(),
            unsaved: BTreeSet::new(),
            last_unsaved: None,
            rebuilt: RebuiltModels::default(),
            resting: RestingModels::default(),
            ending: BTreeSet::new(),
            round: None,
            back_off: SaveBackOff::default(),
            unsavable: UnsavableModels::default(),
            workspaces: Mutex::new(Vec::new()),
            figures: SchedulerFigures::default(),
            mean_image_bytes: 0.0,
            turn: 0,
            stuck_turns: 0,
            is_ahead: false,
            last_look: None,
            warnings: LogLimiter::default(),
            save_warnings: LogLimiter::default(),
            rest_warnings: LogLimiter::default(),
            hints_closed: false,
        };
        scheduler.show_figures();
        scheduler
    }

    /// Takes turns until `stop` is raised or the hint queue is closed and no model is hungry.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), RepositoryError> {
        tracing::debug!(target: profiling::TARGET, tag = profiling::SCHEDULER_STARTED, "scheduler started");
        while !stop.load(Ordering::Relaxed) {
            match self.run_once(HINT_WAIT)? {
                SchedulerTurn::Idle | SchedulerTurn::Worked { .. } => {}
                SchedulerTurn::Postponed => std::thread::sleep(RETRY_PAUSE),
                SchedulerTurn::Closed => break,
            }
        }
        tracing::debug!(target: profiling::TARGET, tag = profiling::SCHEDULER_STOPPED, "scheduler stopped");
        Ok(())
    }

    /// One turn; waits up to `wait` for a hint if no model is hungry.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database: stop the role.
    pub fn run_once(&mut self, wait: Duration) -> Result<SchedulerTurn, RepositoryError> {
        self.turn += 1;
        self.rescan_if_due()?;
        let must_wait = self.stuck_turns > 0 || (self.is_ahead && self.hungry.len(Lane::Fresh) == 0);
        let is_none_settling = self.settling.is_empty() && self.ending.is_empty();
        let wait = match (self.hungry.is_empty(), is_none_settling) {
            (true, true) => wait,
            (true, false) => SETTLE_WAIT,
            (false, _) if must_wait => SETTLE_WAIT,
            (false, _) => Duration::ZERO,
        };
        self.take_hints(wait);
        self.take_changes()?;
        self.take_checkpoint_requests();
        for id in self.resting.wake(self.parts.clock.monotonic()) {
            self.push_hungry(id, Lane::Backlog);
        }
        let saved = self.save_settled()?;
        self.end_lives()?;
        let jobs = self.choose()?;
        let has_jobs = !jobs.is_empty();
        let (rows, is_postponed) = if has_jobs {
            let outcomes = self.step(jobs);
            self.settle(outcomes)?
        } else {
            (0, false)
        };
        self.finish_checkpoint_round();
        self.show_figures();
        let is_done = self.hints_closed && self.hungry.is_empty() && self.settling.is_empty();
        Ok(match (has_jobs, saved) {
            (true, _) if is_postponed && rows == 0 => SchedulerTurn::Postponed,
            (false, _) if is_done => SchedulerTurn::Closed,
            (false, 0) => SchedulerTurn::Idle,
            (true | false, _) => SchedulerTurn::Worked { rows },
        })
    }

    /// Makes a model hungry; one that settles is so afterwards.
    fn push_hungry(&mut self, id: ModelId, lane: Lane) {
        if let Some(settling) = self.residency.get_mut(&id).and_then(|slot| slot.settling.as_mut()) {
            settling.is_hungry = true;
            return;
        }
        self.hungry.push(id, lane);
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
                for ModelHint { model_id, is_changed } in
                    deliveries.into_iter().map(|delivery| delivery.message)
                {
                    if is_changed {
                        self.dismiss(&model_id);
                    }
                    self.push_hungry(model_id, Lane::Fresh);
                }
                if let Some(tag) = last
                    && let Err(error) = self.parts.bus.hints().acknowledge(tag)
                {
                    self.miss_hints(&error);
                }
            }
            Err(BusError::Closed) => self.hints_closed = true,
            Err(error) => self.miss_hints(&error),
        }
    }

    /// The bus was away: what was on it may be gone.
    fn miss_hints(&mut self, error: &BusError) {
        self.warn(&error.to_string());
        self.rescan.ask(self.parts.clock.monotonic() + RETRY_PAUSE);
    }

    /// Forgets models that another process announced, and makes them hungry: it may have created, monitored, rebuilt or
    /// deleted them.
    fn take_changes(&mut self) -> Result<(), RepositoryError> {
        let now = self.parts.clock.monotonic();
        if self.last_look.is_some_and(|last| now < last + CHANGES_INTERVAL) {
            return Ok(());
        }
        self.last_look = Some(now);
        let Some(last_change) = self.last_change else { return Ok(()) };
        let changes = match self.parts.repository.changes_after(last_change, MAX_CHANGES_PER_LOOK) {
            Ok(changes) => changes,
            Err(error) => return self.pass_over(error),
        };
        let has_missed = match self.has_missed_changes(last_change, &changes) {
            Ok(has_missed) => has_missed,
            Err(error) => return self.pass_over(error),
        };
        if has_missed {
            let mut known: Vec<ModelId> = self.records.keys().cloned().collect();
            known.sort_unstable();
            for id in known {
                self.dismiss(&id);
                self.hungry.push(id, Lane::Backlog);
            }
            self.rescan.ask(now);
        }
        for (number, id) in changes {
            self.last_change = Some(number);
            // A model that this process itself started has mostly been stepped since.
            if self.records.get(&id).is_some_and(|record| record.seen_change < number) {
                self.dismiss(&id);
            }
            self.hungry.push(id, Lane::Fresh);
        }
        Ok(())
    }

    /// Whether changes before `changes`, the oldest after `last_change`, may have been deleted unseen: only the newest
    /// are kept. A gap alone says nothing: a number that a transaction was given before it was rolled back is not given again.
    fn has_missed_changes(
        &self,
        last_change: i64,
        changes: &[(i64, ModelId)],
    ) -> Result<bool, RepositoryError> {
        if changes.first().is_none_or(|(number, _)| *number <= last_change + 1) {
            return Ok(false);
        }
        // Asked after they were read, so that it covers whatever was deleted before.
        Ok(self.parts.repository.newest_change()? - MAX_CHANGES > last_change)
    }

    /// Drops all that is known of a model; its file and its rows stay. Scores of a model that was given up are never
    /// committed: waiting for them would be in vain.
    fn forget(&mut self, id: &ModelId) {
        self.records.remove(id);
        if self.residency.remove(id).is_some_and(|slot| slot.settling.is_some()) {
            self.settling.retain(|settling| settling != id);
        }
        self.unsaved.remove(id);
        self.resting.forget(id);
        self.ending.remove(id);
        self.unsavable.forget(id);
        if let Some(round) = &mut self.round {
            round.give_up(id);
        }
    }

    fn step(&mut self, jobs: Vec<Job>) -> Vec<(ModelId, Outcome)> {
        let checkpoints_left = AtomicUsize::new(self.checkpoints_allowed());
        let runner = Runner {
            repository: &*self.parts.repository,
            store: &self.parts.store,
            clock: &*self.parts.clock,
            shared_params: &self.shared_params,
            row_memory: &self.row_memory,
            typical: self.typical,
            checkpoint_rows: self.parts.options.checkpoint_rows,
            checkpoints_left: &checkpoints_left,
            rebuilt: &self.rebuilt,
            workers: &self.parts.workers,
        };
        let workspaces = &self.workspaces;
        self.parts.workers.install(|| {
            jobs.into_par_iter()
                .with_max_len(1)
                .map(|job| {
                    let id = job.id.clone();
                    let borrowed = workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let mut workspace = borrowed.unwrap_or_default();
                    let outcome = runner.run(job, &mut workspace);
                    workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
                    (id, outcome)
                })
                .collect()
        })
    }

    /// Puts models back and publishes scores; returns the rows stepped and whether something was away.
    fn settle(&mut self, outcomes: Vec<(ModelId, Outcome)>) -> Result<(usize, bool), RepositoryError> {
        let (mut rows, mut is_postponed) = (0, false);
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Stepped(stepped) => {
                    rows += stepped.new_rows + stepped.replayed_rows;
                    self.take_back(id, *stepped);
                }
                Outcome::NoRoom { record } => {
                    self.records.insert(id.clone(), record);
                    self.hungry.push_front(id, Lane::Fresh);
                }
                Outcome::Ending { record } => self.await_last_scores(id, record),
                Outcome::Idle { is_gone } => {
                    self.forget(&id);
                    is_postponed |= is_gone && self.remove_model(&id);
                }
                Outcome::Postponed { record, slot, wait } => {
                    is_postponed |= wait.is_away;
                    if let Some(record) = record {
                        self.records.insert(id.clone(), record);
                    }
                    if let Some(slot) = slot {
                        self.residency.insert(id.clone(), slot);
                    }
                    self.postpone(id, &wait);
                }
                Outcome::Failed(failure) => is_postponed |= self.give_up(&id, &failure)?,
            }
        }
        Ok((rows, is_postponed))
    }

    fn take_back(&mut self, id: ModelId, stepped: Stepped) {
        self.resting.forget(&id);
        let Stepped { mut record, slot, scores, has_more, .. } = stepped;
        self.figures.swaps_in += u64::from(stepped.was_swapped_in);
        self.figures.stepped_rows += stepped.new_rows as u64;
        self.figures.replayed_rows += stepped.replayed_rows as u64;
        if stepped.was_swapped_in {
            tracing::debug!(target: profiling::TARGET, tag = profiling::MODEL_STARTED, model = %id);
        }
        let (new_rows, elapsed) = (stepped.new_rows, stepped.elapsed);
        self_metrics::count_steps(new_rows, elapsed);
        tracing::debug!(target: profiling::TARGET, tag = profiling::SHARE_DONE, model = %id, new_rows, ?elapsed);
        self.typical.add_steps(stepped.new_rows + stepped.replayed_rows, stepped.elapsed);
        if let Some(bytes) = record.image_bytes {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let bytes = bytes as f64;
            let weight = if self.mean_image_bytes > 0.0 { IMAGE_BYTES_WEIGHT } else { 1.0 };
            self.mean_image_bytes += (bytes - self.mean_image_bytes) * weight;
        }
        if let Some(result) = stepped.checkpoint {
            self.note_checkpoint(&id, result.as_ref().copied());
        }
        if let Err(error) = self.publish(&id, &mut record, scores) {
            // Unpublished scores are stepped again from the file, and published then.
            self.warn(&error.to_string());
            record.ending = None;
            self.records.insert(id.clone(), record);
            self.hungry.push(id, Lane::Backlog);
            return;
        }
        if record.ending.is_some() {
            self.await_last_scores(id, record);
            return;
        }
        let unsaved_rows = slot.position().0 - record.saved.0;
        let due = record.rows_between_checkpoints(&id, self.parts.options.checkpoint_rows);
        let is_due = unsaved_rows >= due || (!has_more && self.is_saved_early(&record, unsaved_rows));
        self.records.insert(id.clone(), record);
        if stepped.was_swapped_in && !has_more {
            self.residency.insert_newcomer(id.clone(), slot);
        } else {
            self.residency.insert(id.clone(), slot);
        }
        let is_wanted = self.round.as_mut().is_some_and(|round| round.wants(&id, unsaved_rows, has_more));
        if is_wanted || is_due {
            self.begin_settling(&id);
        }
        if has_more {
            self.push_hungry(id, Lane::Backlog);
        }
    }

    /// Hands to the anomaly role that the model exists, if it is not told yet, and then its scores.
    fn publish(
        &mut self,
        id: &ModelId,
        record: &mut Record,
        scores: Option<ScoreMessage>,
    ) -> Result<(), BusError> {
        self.announce_model(id, record)?;
        let Some(message) = scores else { return Ok(()) };
        let last = message.scores.last().map(|score| score.row_id);
        self.parts.bus.scores().publish(ModelOutput::Scores(message))?;
        record.published = last.unwrap_or(record.published);
        Ok(())
    }

    fn show_figures(&mut self) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an estimate, not negative; floats saturate"
        )]
        let model_file_bytes = (self.mean_image_bytes * self.records.len() as f64) as u64;
        self.parts.store.note_total(model_file_bytes);
        self.figures = SchedulerFigures {
            resident_models: self.residency.len(),
            resident_bytes: self.budget.reserved(),
            peak_reserved_bytes: self.budget.peak(),
            memory_budget_bytes: self.budget.limit(),
            max_resident_models: self.parts.options.max_resident_models,
            known_models: self.records.len(),
            model_file_bytes,
            is_direct: self.parts.store.is_direct(),
            remembered_rows: self.row_memory.used(),
            quarantined: self.parts.store.put_aside_count(),
            fresh_models: self.hungry.len(Lane::Fresh),
            backlog_models: self.hungry.len(Lane::Backlog),
            settling_models: self.settling.len(),
            checkpoint_trouble: self.unsavable.reason().map(str::to_owned),
            ..std::mem::take(&mut self.figures)
        };
        let mut shown = self.parts.figures.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone_from(&self.figures);
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
        if let Some(repeats) = self.warnings.pass(self.parts.clock.monotonic()) {
            tracing::warn!("models wait: {reason}{repeats}");
        }
    }
}
