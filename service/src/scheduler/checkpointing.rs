//! When models are saved: those that are due, those that somebody asked for, all at the end; and what happens when the
//! disk refuses, everything or a model alone.
//!
//! A model is due after a number of rows, and earlier if there are many: after a crash all that were in memory are stepped
//! again over the rows since their files, and fresh samples wait for that.
//!
//! Invariant: a file never stands beyond committed scores, so a model is saved only when [`is_committed`] says so.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use htm_core::ids::ModelId;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::Scheduler;
use super::checkpoint_desk::CheckpointAnswer;
use super::hungry::Lane;
use super::model_store::{SaveError, folder_of};
use super::outcome::Failure;
use super::pause::SaveBackOff;
use super::record::Record;
use super::residency::{Settling, Slot};
use super::runner::{is_committed, panic_text};
use crate::file_system::FileStamp;
use crate::repository::RepositoryError;
use crate::{profiling, self_metrics};

/// Models saved in one turn, a turn's shares and its saving each; bounds how long fresh samples wait for the disk.
const MAX_CHECKPOINTS_PER_TURN: usize = 16;
/// Settling models looked at in one turn.
const MAX_SETTLING_LOOKS: usize = 256;
/// Models that settle at once for the sake of a crash, so that what is saved early is spread over time.
const MAX_EARLY_SETTLING: usize = 4;
/// After so long without committed scores a model is dropped and its scores are published again.
const MAX_SETTLING: Duration = Duration::from_secs(30);
/// Models that could not be saved looked at in one turn.
const MAX_UNSAVED_LOOKS: usize = 256;

/// Models saved between two looks at the time.
const MODELS_PER_LOOK: usize = 256;

/// A request to save every model, being worked off.
#[derive(Debug, Default)]
pub(super) struct CheckpointRound {
    tickets: Vec<u64>,
    wanted: BTreeSet<ModelId>,
    answer: CheckpointAnswer,
}

impl CheckpointRound {
    /// Whether a model that was stepped is to be saved now; notes it as done if it has nothing to save.
    pub(super) fn wants(&mut self, id: &ModelId, unsaved_rows: i64, has_more: bool) -> bool {
        if unsaved_rows == 0 && !has_more {
            self.note_saved(id);
        }
        unsaved_rows > 0 && self.wanted.contains(id)
    }

    /// The model is no more, or its life ends.
    pub(super) fn give_up(&mut self, id: &ModelId) {
        self.wanted.remove(id);
    }

    fn note_saved(&mut self, id: &ModelId) {
        self.answer.saved += usize::from(self.wanted.remove(id));
    }

    /// The model is not saved in this round.
    pub(super) fn note_failed(&mut self, id: &ModelId, reason: &str) {
        if self.wanted.remove(id) {
            self.answer.failed += 1;
            self.answer.reason = Some(reason.to_owned());
        }
    }
}

/// The new file and how long it took; or the panic of a model whose state is broken.
type Saved = Result<Result<(FileStamp, Duration), SaveError>, String>;

impl Scheduler {
    /// Saves every model in memory that learned rows since it was saved. To be called when the anomaly role has
    /// committed all scores; a model with uncommitted scores is left as its file is, and stepped again next time, as
    /// is one that left memory with a few rows outstanding.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database. Models that could not be written are reported and skipped.
    pub fn save_all(&mut self) -> Result<usize, RepositoryError> {
        self.save_all_until(Duration::MAX)
    }

    /// As [`Self::save_all`], but begins with no further models after `until`, monotonic.
    ///
    /// # Errors
    /// As [`Self::save_all`].
    pub fn save_all_until(&mut self, until: Duration) -> Result<usize, RepositoryError> {
        let ids: Vec<ModelId> = self
            .residency
            .in_order_of_leaving()
            .filter(|(id, slot)| self.unsaved_rows(id, slot) > 0)
            .map(|(id, _)| id.clone())
            .collect();
        let mut saved = 0;
        for part in ids.chunks(MODELS_PER_LOOK) {
            if self.parts.clock.monotonic() >= until {
                break;
            }
            saved += self.save_committed(part)?.len();
        }
        self.show_figures();
        Ok(saved)
    }

    /// Models in memory that learned rows since they were saved.
    pub fn unsaved_model_count(&self) -> usize {
        self.residency.in_order_of_leaving().filter(|(id, slot)| self.unsaved_rows(id, slot) > 0).count()
    }

    /// Models that may be saved in this turn's shares.
    pub(super) fn checkpoints_allowed(&self) -> usize {
        self.back_off.allowed(MAX_CHECKPOINTS_PER_TURN, self.parts.clock.monotonic())
    }

    fn is_backing_off(&self) -> bool {
        self.checkpoints_allowed() == 0
    }

    /// Why no model can be saved now.
    fn disk_trouble(&self) -> Option<&str> {
        let reason = || self.unsavable.reason().unwrap_or("the disk refuses");
        self.is_backing_off().then(reason)
    }

    /// Rows that a model in memory has learned since its file.
    pub(super) fn unsaved_rows(&self, id: &ModelId, slot: &Slot) -> i64 {
        slot.position().0 - self.records.get(id).map_or(0, |record| record.saved.0)
    }

    /// Whether a model that has stepped all its rows is saved now for the sake of a crash.
    pub(super) fn is_saved_early(&self, record: &Record, unsaved_rows: i64) -> bool {
        // As of the last turn: models that are being stepped are not in their places now.
        let models = self.figures.resident_models;
        self.settling.len() < MAX_EARLY_SETTLING
            && !self.is_backing_off()
            && record.costs.is_saving_due(&self.typical, unsaved_rows, models, self.parts.workers.stepping())
    }

    /// Stops stepping a model until it is saved.
    pub(super) fn begin_settling(&mut self, id: &ModelId) {
        let now = self.parts.clock.monotonic();
        let own_trouble = self.records.get(id).and_then(|record| record.save_pause(now));
        let reason = own_trouble.or_else(|| self.disk_trouble()).map(str::to_owned);
        if let Some(reason) = reason {
            self.put_off(id, &reason);
            return;
        }
        let Some(slot) = self.residency.get_mut(id) else { return };
        if slot.settling.is_none() {
            let is_hungry = self.hungry.remove(id).is_some();
            slot.settling = Some(Settling { since: now, is_hungry });
            self.settling.push_back(id.clone());
        }
    }

    /// Steps a model on; returns whether it settled.
    fn end_settling(&mut self, id: &ModelId) -> bool {
        let settling = self.residency.get_mut(id).and_then(|slot| slot.settling.take());
        if settling.is_some_and(|settling| settling.is_hungry) {
            self.hungry.push(id.clone(), Lane::Backlog);
        }
        settling.is_some()
    }

    /// Saves a model another time.
    fn put_off(&mut self, id: &ModelId, reason: &str) {
        self.end_settling(id);
        self.unsaved.insert(id.clone());
        if let Some(round) = &mut self.round {
            round.note_failed(id, reason);
        }
    }

    /// Saves settling models whose scores are committed; returns how many.
    pub(super) fn save_settled(&mut self) -> Result<usize, RepositoryError> {
        let now = self.parts.clock.monotonic();
        let allowed = self.checkpoints_allowed();
        for id in self.next_unsaved(allowed.saturating_sub(self.settling.len()), now) {
            self.unsaved.remove(&id);
            self.begin_settling(&id);
        }
        let mut ready = Vec::new();
        for _ in 0..self.settling.len().min(MAX_SETTLING_LOOKS) {
            if ready.len() >= allowed {
                break;
            }
            let Some(id) = self.settling.pop_front() else { break };
            let (Some(slot), Some(record)) = (self.residency.get(&id), self.records.get_mut(&id)) else {
                continue;
            };
            let since = slot.settling.map_or(now, |settling| settling.since);
            match is_committed(&*self.parts.repository, &id, record, slot.position()) {
                Ok(true) => ready.push(id),
                Ok(false) if now > since + MAX_SETTLING => self.publish_again(&id),
                Ok(false) => self.settling.push_back(id),
                Err(error) => {
                    self.settling.push_back(id);
                    self.pass_over(error)?;
                    break;
                }
            }
        }
        let saved = self.save_committed(&ready)?;
        for id in &ready {
            if saved.contains(id) {
                self.end_settling(id);
            }
        }
        if let Some(reason) = self.disk_trouble().map(str::to_owned) {
            // Nobody is to stand still because the disk is full.
            for id in std::mem::take(&mut self.settling) {
                self.put_off(&id, &reason);
            }
        }
        Ok(saved.len())
    }

    /// Up to `most` of the models that could not be saved, in turn, so that those that fail again keep no other from being
    /// tried.
    fn next_unsaved(&mut self, most: usize, now: Duration) -> Vec<ModelId> {
        let mut chosen = Vec::new();
        if most == 0 || self.unsaved.is_empty() {
            return chosen;
        }
        let after = self.last_unsaved.as_ref();
        let later = self.unsaved.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let earlier = after.map(|id| self.unsaved.range((Bound::Unbounded, Bound::Included(id))));
        let mut last = None;
        for id in later.chain(earlier.into_iter().flatten()).take(MAX_UNSAVED_LOOKS) {
            last = Some(id.clone());
            if self.records.get(id).is_none_or(|record| record.save_pause(now).is_none()) {
                chosen.push(id.clone());
            }
            if chosen.len() == most {
                break;
            }
        }
        self.last_unsaved = last;
        chosen
    }

    /// Drops a model whose scores do not arrive in the database, to step it again and publish them once more.
    pub(super) fn publish_again(&mut self, id: &ModelId) {
        self.warn(&format!("the scores of model {id} are not committed; they are published again"));
        self.residency.remove(id);
        if let Some(record) = self.records.get_mut(id) {
            record.published = record.committed;
            // One whose life ends comes to that row once more.
            record.ending = None;
        }
        self.ending.remove(id);
        if let Some(round) = &mut self.round {
            round.note_failed(id, "its scores were not committed in time");
        }
        self.figures.dropped += 1;
        self.hungry.push(id.clone(), Lane::Backlog);
    }

    /// Saves those of the models whose scores are committed, side by side; returns the ones saved. The others that
    /// were tried are put off.
    pub(super) fn save_committed(&mut self, ids: &[ModelId]) -> Result<HashSet<ModelId>, RepositoryError> {
        // In order, here and below: what a seed did in a simulation it does again.
        let mut ready: BTreeMap<&ModelId, &Slot> = BTreeMap::new();
        let mut trouble = None;
        for id in ids {
            let (Some(slot), Some(record)) = (self.residency.get(id), self.records.get_mut(id)) else {
                continue;
            };
            match is_committed(&*self.parts.repository, id, record, slot.position()) {
                Ok(true) => drop(ready.insert(id, slot)),
                Ok(false) => {}
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
        }
        let (store, clock, records) = (&self.parts.store, &self.parts.clock, &self.records);
        let jobs: Vec<(&ModelId, &Slot)> = ready.into_iter().collect();
        let results: Vec<(ModelId, Saved)> = self.parts.workers.install(|| {
            let save = |(id, slot): (&ModelId, &Slot)| {
                let started = clock.monotonic();
                let save = || store.save(id, &records[id].generation, &slot.model);
                let result = catch_unwind(AssertUnwindSafe(save));
                let result = result.map_err(|panic| panic_text(&*panic).to_owned());
                let elapsed = clock.monotonic().saturating_sub(started);
                (id.clone(), result.map(|saved| saved.map(|stamp| (stamp, elapsed))))
            };
            jobs.into_par_iter().with_max_len(1).map(save).collect()
        });
        let mut saved = HashSet::new();
        for (id, result) in results {
            let result = match result {
                Ok(result) => result,
                Err(reason) => {
                    self.give_up_broken(&id, &reason)?;
                    continue;
                }
            };
            self.note_checkpoint(&id, result.as_ref().map(|(_, elapsed)| *elapsed));
            match result {
                Ok((stamp, elapsed)) => {
                    self_metrics::count_save(elapsed);
                    tracing::debug!(target: profiling::TARGET, tag = profiling::MODEL_SAVED, model = %id, ?elapsed);
                    self.note_saved(&id, stamp, elapsed);
                    saved.insert(id);
                }
                Err(error) => {
                    let now = self.parts.clock.monotonic();
                    if let Some(record) = self.records.get_mut(&id) {
                        record.note_unsaved(&error, now);
                    }
                    self.put_off(&id, &error.to_string());
                }
            }
        }
        trouble.map_or(Ok(()), |error| self.pass_over(error))?;
        Ok(saved)
    }

    /// A model that cannot even be saved was rotten in its file, or is so by a fault of ours.
    fn give_up_broken(&mut self, id: &ModelId, reason: &str) -> Result<(), RepositoryError> {
        let (Some(slot), Some(record)) = (self.residency.get(id), self.records.get(id)) else {
            return Ok(());
        };
        let reached = slot.position();
        let failure = Failure {
            reason: format!("saving the model at row {reached} failed: {reason}"),
            may_rebuild: slot.is_from_file && self.rebuilt.may_help(id, &record.generation, reached),
            reached,
            generation: record.generation.to_string(),
            is_defined: record.is_defined,
        };
        if let Some(round) = &mut self.round {
            round.note_failed(id, &failure.reason);
        }
        self.give_up(id, &failure).map(drop)
    }

    fn note_saved(&mut self, id: &ModelId, stamp: FileStamp, elapsed: Duration) {
        if let (Some(slot), Some(record)) = (self.residency.get(id), self.records.get_mut(id)) {
            record.costs.add_checkpoint(elapsed);
            record.note_saved(slot.position(), stamp);
        }
        self.unsaved.remove(id);
        if let Some(round) = &mut self.round {
            round.note_saved(id);
        }
    }

    /// Counts a checkpoint, and lets the next ones wait if the disk is to blame for a failure.
    pub(super) fn note_checkpoint(&mut self, id: &ModelId, result: Result<Duration, &SaveError>) {
        match result {
            Ok(elapsed) => {
                self.figures.checkpoints += 1;
                self.typical.add_checkpoint(elapsed);
                if self.back_off.note_success() {
                    tracing::info!("models can be saved again");
                }
                self.unsavable.forget(id);
            }
            Err(error) => {
                self.figures.failed_checkpoints += 1;
                let now = self.parts.clock.monotonic();
                self.back_off.note_failure(folder_of(id), error.is_of_disk(), now);
                let reason = error.to_string();
                if let Some(repeats) = self.save_warnings.pass(now) {
                    tracing::warn!(model = %id, "{reason}{repeats}");
                }
                self.unsavable.note(id, reason);
            }
        }
    }

    /// Begins to save every model with unsaved rows, if somebody asks for that. Models that are not in memory come in
    /// once more for it.
    pub(super) fn take_checkpoint_requests(&mut self) {
        if self.round.is_some() {
            return;
        }
        let tickets = self.parts.desk.take_requests();
        if tickets.is_empty() {
            return;
        }
        // Somebody may just have made room.
        self.back_off = SaveBackOff::default();
        self.records.values_mut().for_each(|record| record.end_save_pause());
        let wanted: BTreeSet<ModelId> = self
            .records
            .iter()
            .filter(|(id, record)| {
                let stepped = self.residency.get(id).map_or(record.stepped, Slot::position);
                record.ending.is_none() && stepped > record.saved
            })
            .map(|(id, _)| id.clone())
            .collect();
        let ids: Vec<ModelId> = wanted.iter().cloned().collect();
        self.round = Some(CheckpointRound { tickets, wanted, answer: CheckpointAnswer::default() });
        for id in ids {
            if self.residency.get(&id).is_some() {
                self.begin_settling(&id);
            } else {
                self.hungry.push(id, Lane::Backlog);
            }
        }
    }

    /// Answers the request once nothing is left to save.
    pub(super) fn finish_checkpoint_round(&mut self) {
        if let Some(round) = self.round.take_if(|round| round.wanted.is_empty()) {
            self.parts.desk.give_answer(&round.tickets, &round.answer);
        }
    }
}
