//! One model's share of a turn: swap it in if it is not resident, step again what its file has not seen, step new rows,
//! hand out scores.
//!
//! Runs on a worker thread and touches nothing but its own model, the repository's rows and the model's file, so
//! a broken model costs only itself. A share is bounded by time and by memory as well as by rows. A panic while
//! opening or stepping is contained: a model that came from a file is put aside and rebuilt from its rows; one that fails even
//! then is put into error, once the scores of the rows before are committed.
//!
//! Rows whose scores were published are stepped again in silence: their scores are equal.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use htm_core::encoder::Record as Sample;
use htm_core::encoder::random_distributed_scalar::RandomDistributedScalarEncoder;
use htm_core::ids::{ModelId, RowId};
use htm_core::model::workspace::Workspace;

use super::commands::generation_of;
use super::costs::Costs;
use super::ending::Ending;
use super::memory_budget::{Reservation, with_headroom};
use super::model_store::{ModelStore, Opened, SaveError};
use super::outcome::{Failure, Outcome, Stepped, Wait};
use super::outstanding::{OutstandingRows, Row, RowMemory};
use super::rebuilt::RebuiltModels;
use super::record::{Record, SharedParams};
use super::residency::Slot;
use super::workers::Workers;
use crate::best_predictions::BestPredictions;
use crate::bus::message::{RowScore, ScoreMessage};
use crate::clock::Clock;
use crate::learned_range::{may_be_outgrown, outgrown, recent_rows};
use crate::model_params::ModelStart;
use crate::repository::metric::MetricStatus;
use crate::repository::metric_data::DataQuery;
use crate::repository::{Repository, RepositoryError};
use crate::row_detection::RowDetection;

/// How long one share steps rows; a row that has begun is finished.
const SHARE_TIME: Duration = Duration::from_millis(20);
/// Rows read in one share.
const MAX_ROWS_PER_SHARE: usize = 512;
/// Rows read in one share of a model whose speed is not known yet.
const FIRST_ROWS_PER_SHARE: usize = 64;

/// What a worker needs.
pub(super) struct Runner<'a> {
    pub(super) repository: &'a dyn Repository,
    pub(super) store: &'a ModelStore,
    pub(super) clock: &'a dyn Clock,
    pub(super) shared_params: &'a SharedParams,
    pub(super) row_memory: &'a std::sync::Arc<RowMemory>,
    pub(super) typical: Costs,
    pub(super) checkpoint_rows: i64,
    /// Checkpoints that this turn may still write.
    pub(super) checkpoints_left: &'a AtomicUsize,
    pub(super) rebuilt: &'a RebuiltModels,
    pub(super) workers: &'a Workers,
}

/// One model's turn.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: ModelId,
    /// `None` the first time.
    pub(super) record: Option<Box<Record>>,
    pub(super) seat: Seat,
    /// It is the only model in memory and may take more than the budget.
    pub(super) is_lone: bool,
}

/// A job's place in memory.
#[derive(Debug)]
pub(super) enum Seat {
    /// The model is there.
    Resident(Box<Slot>),
    /// There is room for it.
    Free(Reservation),
}

impl Runner<'_> {
    /// Takes one share.
    pub(super) fn run(&self, job: Job, workspace: &mut Workspace) -> Outcome {
        let Job { id, record, seat, is_lone } = job;
        let mut record = match record {
            Some(record) => record,
            None => match self.acquire(&id) {
                Ok(record) => record,
                Err(outcome) => return outcome,
            },
        };
        if record.ending.is_some() {
            return Outcome::Ending { record };
        }
        let (slot, was_swapped_in) = match seat {
            Seat::Resident(slot) => (slot, false),
            Seat::Free(reservation) => {
                let swap_in = || self.swap_in(&id, &mut record, reservation, is_lone);
                match catch_unwind(AssertUnwindSafe(swap_in)) {
                    Ok(Ok(Some(slot))) => (slot, true),
                    Ok(Ok(None)) => return Outcome::NoRoom { record },
                    Ok(Err(wait)) => return Outcome::Postponed { record: Some(record), slot: None, wait },
                    Err(panic) => return self.failed_to_open(&id, &record, &*panic),
                }
            }
        };
        Share {
            runner: self,
            id: &id,
            record,
            slot,
            is_lone,
            was_swapped_in,
            scores: Vec::new(),
            new_rows: 0,
            replayed_rows: 0,
            elapsed: Duration::ZERO,
            checkpoint: None,
        }
        .take(workspace)
    }

    /// What the database says of a model that this process has not stepped yet.
    fn acquire(&self, id: &ModelId) -> Result<Box<Record>, Outcome> {
        let postponed =
            |error: RepositoryError| Outcome::Postponed { record: None, slot: None, wait: error.into() };
        let seen_change = self.repository.newest_change().map_err(postponed)?;
        let metric = self.repository.metric(id).map_err(postponed)?;
        let metric = metric.ok_or(Outcome::Idle { is_gone: true })?;
        match metric.status {
            MetricStatus::Active | MetricStatus::CreatePending => {}
            // A metric that waits for data had a model at most before it was unmonitored.
            MetricStatus::Unmonitored | MetricStatus::PendingData => {
                return Err(Outcome::Idle { is_gone: true });
            }
            MetricStatus::Error => return Err(Outcome::Idle { is_gone: false }),
        }
        let is_defined = metric.status == MetricStatus::Active;
        let failed = |reason: String| {
            let generation = generation_of(&metric);
            let reached = RowId(0);
            Outcome::Failed(Failure { reason, may_rebuild: false, reached, generation, is_defined })
        };
        let text = metric.model_params.as_deref().ok_or_else(|| {
            failed("the metric has no model parameters; unmonitor it and monitor it again".to_owned())
        })?;
        let start = ModelStart::from_json(text).map_err(|error| failed(error.to_string()))?;
        let learned = start.range.zip(start.learned_up_to);
        let params = self.shared_params.share(start.params().map_err(|error| failed(error.to_string()))?);
        let committed = self.repository.scored_up_to(id).map_err(postponed)?;
        Ok(Box::new(Record {
            generation: start.generation.into(),
            is_defined,
            seen_change,
            params,
            saved: RowId(0),
            stamp: None,
            stepped: committed,
            published: committed,
            committed,
            learned,
            ending: None,
            outstanding: OutstandingRows::new(self.row_memory),
            costs: Costs::default(),
            image_bytes: None,
            is_first_interval: true,
            unsavable: None,
            is_oversize_reported: false,
        }))
    }

    /// Its file is to blame, unless it was just put aside for that.
    fn failed_to_open(&self, id: &ModelId, record: &Record, panic: &(dyn Any + Send)) -> Outcome {
        let reached = record.committed;
        Outcome::Failed(Failure {
            reason: format!("opening the model failed: {}", panic_text(panic)),
            may_rebuild: self.rebuilt.may_help(id, &record.generation, reached),
            reached,
            generation: record.generation.to_string(),
            is_defined: record.is_defined,
        })
    }

    /// The saved or a new model; `None` if it does not fit into its reservation, nor that into the budget.
    fn swap_in(
        &self,
        id: &ModelId,
        record: &mut Record,
        mut reservation: Reservation,
        is_lone: bool,
    ) -> Result<Option<Box<Slot>>, Wait> {
        // Of a model that was opened before, this is what its reservation was made for.
        if record.image_bytes.is_none()
            && let Some(bytes) = self.store.file_bytes(id)
        {
            record.image_bytes = Some(bytes);
            if !reserve(&mut reservation, bytes, is_lone) {
                return Ok(None);
            }
        }
        let Opened { model, is_from_file, stamp } = self.open(id, record)?;
        record.stamp = stamp;
        let bytes = model.memory_bytes();
        record.image_bytes = Some(bytes);
        if !reserve(&mut reservation, bytes, is_lone) {
            return Ok(None);
        }
        record.saved = model.last_stepped_row_id();
        Ok(Some(Box::new(Slot { model, reservation, is_from_file, settling: None })))
    }

    fn open(&self, id: &ModelId, record: &mut Record) -> Result<Opened, Wait> {
        let unreadable = |error| Wait {
            reason: format!(
                "{} cannot be read: {error}; check the disk and who may read the file, or remove it: the model is then \
                 made again from its rows",
                self.store.path(id).display()
            ),
            is_away: false,
        };
        let opened =
            self.store.open(id, &record.generation, &record.params, record.stamp).map_err(unreadable)?;
        let position = opened.model.last_stepped_row_id();
        if position > record.committed {
            record.committed = self.repository.scored_up_to(id)?;
        }
        if position <= record.committed {
            return Ok(opened);
        }
        // Older rows came back with a restored database: the file learned rows that no longer exist, and others may
        // have their ids by now.
        let committed = record.committed;
        self.store
            .put_aside(id, &format!("it stands at row {position}, scores are stored up to row {committed}"));
        Ok(self.store.new_model(&record.params))
    }

    /// Rows worth reading: what a share can step, and one to see that there are more.
    fn rows_per_share(&self, record: &Record) -> usize {
        let step = record.costs.step().or(self.typical.step());
        let Some(step) = step.filter(|step| !step.is_zero()) else { return FIRST_ROWS_PER_SHARE };
        let rows = SHARE_TIME.as_nanos() / step.as_nanos().max(1);
        usize::try_from(rows).unwrap_or(MAX_ROWS_PER_SHARE).clamp(1, MAX_ROWS_PER_SHARE)
    }
}

/// Makes a reservation do for a model of `bytes` that is to be stepped; a lone one's always does.
fn reserve(reservation: &mut Reservation, bytes: usize, is_lone: bool) -> bool {
    let needed = with_headroom(bytes);
    if !reservation.try_cover(needed) {
        if !is_lone {
            return false;
        }
        reservation.cover(needed);
    }
    true
}

/// How far a share came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Through all rows given.
    Done,
    /// Time or memory ran out.
    Stopped,
}

/// A share being taken.
struct Share<'a> {
    runner: &'a Runner<'a>,
    id: &'a ModelId,
    record: Box<Record>,
    slot: Box<Slot>,
    is_lone: bool,
    was_swapped_in: bool,
    scores: Vec<RowScore>,
    new_rows: usize,
    replayed_rows: usize,
    elapsed: Duration,
    checkpoint: Option<Result<Duration, SaveError>>,
}

impl Share<'_> {
    fn take(mut self, workspace: &mut Workspace) -> Outcome {
        let after = self.slot.position();
        // Unwinding leaves a half-stepped model, which is dropped with the share.
        let stepped = catch_unwind(AssertUnwindSafe(|| self.step_all(workspace)));
        let has_more = match stepped {
            Ok(Ok(has_more)) => has_more,
            Ok(Err(ShareError::Refused(reason))) => return self.end(reason),
            Ok(Err(ShareError::Waits(wait))) => {
                // What it stepped so far stands, and its scores follow with the next share.
                if self.scores.is_empty() {
                    let (record, slot) = (Some(self.record), Some(self.slot));
                    return Outcome::Postponed { record, slot, wait };
                }
                true
            }
            Err(panic) => {
                let reason = format!("stepping rows after {after} failed: {}", panic_text(&*panic));
                let reached = self.slot.position();
                let may_rebuild = self.slot.is_from_file
                    && self.runner.rebuilt.may_help(self.id, &self.record.generation, reached);
                return if may_rebuild { self.failed(reason, true) } else { self.end(reason) };
            }
        };
        self.stepped(has_more)
    }

    /// The model fails for good; the scores of the rows before are handed out, and the rest waits for them.
    fn end(mut self, reason: String) -> Outcome {
        if self.scores.is_empty() && self.record.published <= self.record.committed {
            return self.failed(reason, false);
        }
        self.record.ending = Some(Ending::Failed(reason));
        self.stepped(false)
    }

    fn stepped(mut self, has_more: bool) -> Outcome {
        let bytes = self.slot.bytes();
        self.record.image_bytes = Some(bytes);
        self.slot.reservation.cover(bytes);
        let scores = (!self.scores.is_empty()).then(|| ScoreMessage {
            model_id: self.id.clone(),
            generation: self.record.generation.to_string(),
            scores: self.scores,
        });
        Outcome::Stepped(Box::new(Stepped {
            record: self.record,
            slot: self.slot,
            scores,
            has_more,
            was_swapped_in: self.was_swapped_in,
            new_rows: self.new_rows,
            replayed_rows: self.replayed_rows,
            elapsed: self.elapsed,
            checkpoint: self.checkpoint,
        }))
    }

    fn failed(self, reason: String, may_rebuild: bool) -> Outcome {
        let (generation, is_defined) = (self.record.generation.to_string(), self.record.is_defined);
        let reached = self.slot.position();
        Outcome::Failed(Failure { reason, may_rebuild, reached, generation, is_defined })
    }

    /// Steps outstanding and new rows; returns whether there may be more.
    fn step_all(&mut self, workspace: &mut Workspace) -> Result<bool, ShareError> {
        let position = self.slot.position();
        match self.record.outstanding.after(position) {
            Some([]) => {}
            Some(rows) => {
                let rows = rows.to_vec();
                if self.step_rows(&rows, workspace)? == End::Stopped {
                    return Ok(true);
                }
            }
            // The repository gives the outstanding rows together with the new ones.
            None => self.record.outstanding.start_after(position),
        }
        self.save_if_worth();
        let limit = self.runner.rows_per_share(&self.record);
        let rows = self
            .runner
            .repository
            .rows_after(self.id, self.slot.position(), limit)
            .map_err(|error| ShareError::Waits(error.into()))?;
        let is_full = rows.len() == limit;
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|row| Row { row_id: row.row_id, timestamp: row.timestamp, value: row.value })
            .collect();
        Ok(self.step_rows(&rows, workspace)? == End::Stopped || is_full)
    }

    fn step_rows(&mut self, rows: &[Row], workspace: &mut Workspace) -> Result<End, ShareError> {
        let _processor = self.runner.workers.take_processor();
        let started = self.runner.clock.monotonic();
        let deadline = started + SHARE_TIME.saturating_sub(self.elapsed);
        let (mut now, mut end) = (started, End::Done);
        let mut stepped = 0;
        for row in rows {
            let is_first = self.new_rows + self.replayed_rows == 0;
            if !is_first && (now >= deadline || !self.has_headroom()) {
                end = End::Stopped;
                break;
            }
            // Asked before, so that a row whose question the database did not answer is not stepped.
            let is_outgrown = self.is_outgrown_by(row)?;
            self.step_row(row, workspace)?;
            stepped += 1;
            now = self.runner.clock.monotonic();
            if is_outgrown {
                self.record.ending = Some(Ending::Outgrown(row.row_id));
                end = End::Stopped;
                break;
            }
        }
        let elapsed = now.saturating_sub(started);
        self.elapsed += elapsed;
        self.record.costs.add_steps(stepped, elapsed);
        Ok(end)
    }

    /// Whether the learned range is too small for the metric's rows up to this one; see [`crate::learned_range`].
    fn is_outgrown_by(&self, row: &Row) -> Result<bool, ShareError> {
        let Some((range, learned_up_to)) = self.record.learned else { return Ok(false) };
        if row.row_id <= learned_up_to || range.contains(row.value) {
            return Ok(false);
        }
        // A metric may stay outside for good without needing twice the range: its rows are not read for that.
        let seen = self.slot.model.encoder().random_distributed_scalars().next();
        if let Some((least, most)) = seen.and_then(RandomDistributedScalarEncoder::value_bounds)
            && !may_be_outgrown(range, (least.min(row.value), most.max(row.value)))
        {
            return Ok(false);
        }
        let (first, last) = recent_rows(row.row_id);
        let recent = DataQuery { first_row: Some(first), last_row: Some(last), ..DataQuery::default() };
        let rows = self.runner.repository.data(self.id, &recent);
        let rows = rows.map_err(|error| ShareError::Waits(error.into()))?;
        let values: Vec<f64> = rows.into_iter().map(|row| row.value).collect();
        // Values too far apart for any range: the model keeps the one it has.
        Ok(outgrown(range, &values).ok().flatten().is_some())
    }

    fn step_row(&mut self, row: &Row, workspace: &mut Workspace) -> Result<(), ShareError> {
        let sample = Sample { timestamp: row.timestamp, value: row.value };
        let score = self
            .slot
            .model
            .step(workspace, row.row_id, sample)
            .map_err(|error| ShareError::Refused(format!("row {}: {error}", row.row_id)))?;
        self.record.outstanding.add(*row);
        if row.row_id > self.record.stepped {
            self.record.stepped = row.row_id;
            self.new_rows += 1;
        } else {
            self.replayed_rows += 1;
        }
        if row.row_id > self.record.published {
            self.scores.push(RowScore {
                row_id: row.row_id,
                raw_anomaly_score: f64::from(score.raw_anomaly_score),
                anomaly_score: score.anomaly_score,
                detection: RowDetection {
                    open_predictions: Some(score.open_predictions),
                    ..score.detection.into()
                },
                best_predictions: (!score.best_predictions.is_empty())
                    .then(|| BestPredictions::new(score.best_predictions)),
            });
        }
        Ok(())
    }

    /// Whether one more row may be stepped within the budget; grows the reservation if need be.
    fn has_headroom(&mut self) -> bool {
        let needed = with_headroom(self.slot.bytes());
        let reservation = &mut self.slot.reservation;
        if needed <= reservation.bytes() || reservation.try_cover(needed) {
            return true;
        }
        if self.is_lone {
            reservation.cover(needed);
        }
        self.is_lone
    }

    /// Saves a model that was just swapped in and stepped again over so many rows that a checkpoint is cheaper than
    /// doing so again. Here all its scores have mostly been committed long since, which they never are right after
    /// new rows; so this is where most checkpoints of models that do not stay in memory are made.
    fn save_if_worth(&mut self) {
        let runner = self.runner;
        let unsaved = self.slot.position().0 - self.record.saved.0;
        let worth = self.record.rows_worth_a_checkpoint(self.id, &runner.typical, runner.checkpoint_rows);
        let is_pausing = self.record.save_pause(runner.clock.monotonic()).is_some();
        if !self.was_swapped_in || unsaved < worth || is_pausing {
            return;
        }
        if !is_committed(runner.repository, self.id, &mut self.record, self.slot.position()).unwrap_or(false)
        {
            return;
        }
        let left = runner
            .checkpoints_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            let saved = self.runner.save(self.id, &mut self.record, &self.slot);
            if let Err(error) = &saved {
                self.record.note_unsaved(error, runner.clock.monotonic());
            }
            self.checkpoint = Some(saved);
        }
    }
}

impl Runner<'_> {
    fn save(&self, id: &ModelId, record: &mut Record, slot: &Slot) -> Result<Duration, SaveError> {
        let started = self.clock.monotonic();
        let stamp = self.store.save(id, &record.generation, &slot.model)?;
        let elapsed = self.clock.monotonic().saturating_sub(started);
        record.costs.add_checkpoint(elapsed);
        record.note_saved(slot.position(), stamp);
        Ok(elapsed)
    }
}

/// Why a share ended early.
enum ShareError {
    /// The model refused a row: its metric goes into error.
    Refused(String),
    /// Rows cannot be read.
    Waits(Wait),
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

/// Whether every score of the model up to `row_id` is in the database, so that its file may stand there.
pub(super) fn is_committed(
    repository: &dyn Repository,
    id: &ModelId,
    record: &mut Record,
    row_id: RowId,
) -> Result<bool, RepositoryError> {
    if record.committed < row_id {
        record.committed = repository.scored_up_to(id)?;
    }
    Ok(record.committed >= row_id)
}
