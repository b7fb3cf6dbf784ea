//! Which hungry models a turn steps, and which models leave memory for them.
//!
//! Models are admitted in the order of their lanes; the first that finds no room closes admission for the turn, so that
//! a large model is not overtaken for ever by small ones. Room is made by models that may go, in
//! the order that `residency.rs` keeps: dropped while that is cheaper, else saved. One with many rows outstanding that
//! cannot be saved yet, for its scores are not committed, goes only if nobody else does, and not while it is hungry:
//! dropping it would throw away work that it must repeat.

use std::collections::HashSet;

use htm_core::ids::ModelId;

use super::Scheduler;
use super::hungry::Lane;
use super::memory_budget::with_headroom;
use super::residency::Slot;
use super::runner::{Job, Seat, is_committed};
use crate::repository::RepositoryError;

/// Fresh models stepped in one turn: mostly one row each.
const MAX_FRESH_PER_TURN: usize = 64;
/// Backlog shares in one turn for each worker that steps: they are long, and a fresh sample waits for them.
const BACKLOG_SHARES_PER_WORKER: usize = 2;
/// Score messages waiting to be committed above which backlogs wait for their turn: a fresh sample's score waits behind them.
const MAX_SCORES_AHEAD: usize = 16;
/// Every so often a turn is the backlog's: it fills its room from there first, so that fresh models never take all of it.
const BACKLOG_FIRST_EVERY: u64 = 4;
/// Models in memory looked at for leaving in one turn.
const MAX_LOOKS: usize = 1024;
/// Models found in one turn that leave only if nobody else does: each has cost a look at the database.
const MAX_DROPPED_LAST: usize = 128;
/// Turns in a row without room after which a model leaves whatever work is lost.
const MAX_STUCK_TURNS: u32 = 100;
/// Expected size of a model that was never opened.
const UNKNOWN_MODEL_BYTES: usize = 512 << 10;

/// How a model may leave memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    Drop,
    Save,
    /// Dropped if too few others leave.
    DropLast,
    Stay,
}

/// What candidates lack.
struct Shortage {
    bytes: usize,
    seats: usize,
}

impl Shortage {
    fn is_none(&self) -> bool {
        self.bytes == 0 && self.seats == 0
    }

    /// A model leaves.
    fn ease(&mut self, slot: Option<&Slot>) {
        self.bytes = self.bytes.saturating_sub(slot.map_or(0, |slot| slot.reservation.bytes()));
        self.seats = self.seats.saturating_sub(1);
    }
}

impl Scheduler {
    /// Takes this turn's models out of the lanes, with the room they need.
    pub(super) fn choose(&mut self) -> Result<Vec<Job>, RepositoryError> {
        let candidates = self.candidates();
        if candidates.is_empty() {
            self.stuck_turns = 0;
            return Ok(Vec::new());
        }
        self.make_room(&candidates)?;
        let mut jobs = Vec::new();
        let mut left = candidates.into_iter();
        for (id, lane) in left.by_ref() {
            let Some(job) = self.admit(&id, jobs.len()) else {
                self.put_back(std::iter::once((id, lane)).chain(left));
                break;
            };
            jobs.push(job);
        }
        if jobs.is_empty() {
            jobs = self.hungry_residents();
        }
        if jobs.is_empty() {
            jobs.extend(self.admit_lone());
        }
        self.stuck_turns = if jobs.is_empty() { self.stuck_turns.saturating_add(1) } else { 0 };
        Ok(jobs)
    }

    fn candidates(&mut self) -> Vec<(ModelId, Lane)> {
        self.is_ahead = self.parts.bus.scores().depth() > MAX_SCORES_AHEAD;
        let shares = BACKLOG_SHARES_PER_WORKER * self.parts.workers.stepping();
        let is_backlogs_turn = self.turn.is_multiple_of(BACKLOG_FIRST_EVERY);
        // Fresh samples without end may keep the scores far ahead for ever; backlogs do not wait for that to change.
        let may_step = !self.is_ahead || (is_backlogs_turn && self.hungry.len(Lane::Fresh) > 0);
        let backlog = if may_step { shares } else { 0 };
        let mut order = [(Lane::Fresh, MAX_FRESH_PER_TURN), (Lane::Backlog, backlog)];
        if is_backlogs_turn {
            order.reverse();
        }
        let mut candidates = Vec::new();
        for (lane, most) in order {
            candidates.extend(std::iter::from_fn(|| self.hungry.pop(lane)).take(most).map(|id| (id, lane)));
        }
        candidates
    }

    /// Back to the front of their lanes, in their order.
    fn put_back(&mut self, candidates: impl Iterator<Item = (ModelId, Lane)>) {
        for (id, lane) in candidates.collect::<Vec<_>>().into_iter().rev() {
            self.hungry.push_front(id, lane);
        }
    }

    /// Bytes a model needs in order to be stepped, beside what is reserved for it already.
    fn needed_bytes(&self, id: &ModelId) -> usize {
        if let Some(slot) = self.residency.get(id) {
            return with_headroom(slot.bytes()).saturating_sub(slot.reservation.bytes());
        }
        let known = self.records.get(id).and_then(|record| record.image_bytes);
        with_headroom(known.unwrap_or(UNKNOWN_MODEL_BYTES))
    }

    fn admit(&mut self, id: &ModelId, admitted: usize) -> Option<Job> {
        let seat = if let Some(mut slot) = self.residency.remove(id) {
            if !slot.reservation.try_cover(with_headroom(slot.bytes())) {
                self.residency.insert(id.clone(), slot);
                return None;
            }
            Seat::Resident(slot)
        } else {
            if self.residency.len() + admitted >= self.parts.options.max_resident_models.max(1) {
                return None;
            }
            Seat::Free(self.budget.try_reserve(self.needed_bytes(id))?)
        };
        Some(Job { id: id.clone(), record: self.records.remove(id), seat, is_lone: false })
    }

    /// Sends models away until `candidates` fit, as far as that is possible.
    fn make_room(&mut self, candidates: &[(ModelId, Lane)]) -> Result<(), RepositoryError> {
        let needed: usize = candidates.iter().map(|(id, _)| self.needed_bytes(id)).sum();
        let newcomers = candidates.iter().filter(|(id, _)| self.residency.get(id).is_none()).count();
        let free = self.budget.limit().saturating_sub(self.budget.reserved());
        let max_resident = self.parts.options.max_resident_models.max(1);
        let mut shortage = Shortage {
            bytes: needed.saturating_sub(free),
            seats: (self.residency.len() + newcomers).saturating_sub(max_resident),
        };
        if shortage.is_none() {
            return Ok(());
        }
        let staying: HashSet<&ModelId> = candidates.iter().map(|(id, _)| id).collect();
        let order: Vec<ModelId> = self
            .residency
            .in_order_of_leaving()
            .map(|(id, _)| id)
            .filter(|id| !staying.contains(id))
            .take(MAX_LOOKS)
            .cloned()
            .collect();
        let mut checkpoints_left = self.checkpoints_allowed();
        let (mut drops, mut to_save, mut drops_last) = (Vec::new(), Vec::new(), Vec::new());
        for id in order {
            if shortage.is_none() || drops_last.len() == MAX_DROPPED_LAST {
                break;
            }
            match self.parting(&id, checkpoints_left)? {
                Parting::Drop => {
                    shortage.ease(self.residency.get(&id));
                    drops.push(id);
                }
                Parting::Save => {
                    shortage.ease(self.residency.get(&id));
                    checkpoints_left -= 1;
                    to_save.push(id);
                }
                Parting::DropLast => drops_last.push(id),
                Parting::Stay => {}
            }
        }
        for id in drops_last {
            if shortage.is_none() {
                break;
            }
            shortage.ease(self.residency.get(&id));
            drops.push(id);
        }
        let saved = self.save_committed(&to_save)?;
        for id in drops {
            self.send_away(&id);
        }
        for id in to_save {
            // One that could not be saved goes the next time, dropped then.
            if saved.contains(&id) {
                self.send_away(&id);
            }
        }
        Ok(())
    }

    fn parting(&mut self, id: &ModelId, checkpoints_left: usize) -> Result<Parting, RepositoryError> {
        let (Some(slot), Some(record)) = (self.residency.get(id), self.records.get_mut(id)) else {
            return Ok(Parting::Drop);
        };
        if slot.settling.is_some() {
            return Ok(Parting::Stay);
        }
        let unsaved = slot.position().0 - record.saved.0;
        let worth = record.rows_worth_a_checkpoint(id, &self.typical, self.parts.options.checkpoint_rows);
        if unsaved < worth {
            return Ok(Parting::Drop);
        }
        let if_unsavable = if self.hungry.contains(id) { Parting::Stay } else { Parting::DropLast };
        match is_committed(&*self.parts.repository, id, record, slot.position()) {
            Ok(true) if record.save_pause(self.parts.clock.monotonic()).is_some() => Ok(if_unsavable),
            Ok(true) if checkpoints_left > 0 => Ok(Parting::Save),
            // This turn's are used up; the next turn has more, unless the disk is in trouble.
            Ok(true) if !self.back_off.is_in_trouble() => Ok(Parting::Stay),
            Ok(_) => Ok(if_unsavable),
            Err(error) => self.pass_over(error).map(|()| Parting::Stay),
        }
    }

    /// A model leaves memory; its record stays.
    fn send_away(&mut self, id: &ModelId) {
        let Some(slot) = self.residency.remove(id) else { return };
        self.figures.swaps_out += 1;
        if self.unsaved_rows(id, &slot) > 0 {
            self.figures.dropped += 1;
        }
        self.unsaved.remove(id);
        self.unsavable.forget(id);
    }

    /// While nobody can be admitted, those that are in memory already go on.
    fn hungry_residents(&mut self) -> Vec<Job> {
        let ids: Vec<ModelId> = self
            .residency
            .in_order_of_leaving()
            .map(|(id, _)| id)
            .filter(|id| self.hungry.contains(id))
            .take(MAX_FRESH_PER_TURN)
            .cloned()
            .collect();
        let mut jobs = Vec::new();
        for id in ids {
            if let Some(job) = self.admit(&id, jobs.len()) {
                self.hungry.remove(&id);
                jobs.push(job);
            }
        }
        jobs
    }

    /// A model that has memory to itself and needs more than the budget, which must be stepped all the same: the one
    /// that is there, if it is hungry, else the first that waits. If others will not leave for long, the first of them
    /// goes whatever work is lost.
    fn admit_lone(&mut self) -> Option<Job> {
        let first_two = self.residency.in_order_of_leaving().take(2);
        let first_two: Vec<(ModelId, bool)> =
            first_two.map(|(id, slot)| (id.clone(), slot.settling.is_some())).collect();
        let id = match first_two.as_slice() {
            [] => {
                let lane = if self.hungry.len(Lane::Fresh) > 0 { Lane::Fresh } else { Lane::Backlog };
                self.hungry.pop(lane)?
            }
            [(only, false)] if self.hungry.contains(only) => {
                self.hungry.remove(only);
                only.clone()
            }
            _ => {
                self.free_stuck_memory();
                return None;
            }
        };
        let bytes = self.needed_bytes(&id);
        let seat = match self.residency.remove(&id) {
            Some(mut slot) => {
                let covered = with_headroom(slot.bytes());
                slot.reservation.cover(covered);
                Seat::Resident(slot)
            }
            None => Seat::Free(self.budget.reserve_beyond_limit(bytes)),
        };
        let mut record = self.records.remove(&id);
        if let Some(record) = record.as_mut().filter(|record| !record.is_oversize_reported) {
            record.is_oversize_reported = true;
            tracing::warn!(
                model = %id,
                "the model needs {bytes} bytes, more than the memory budget of {} bytes: it is stepped alone; \
                 raise memory_budget_mib",
                self.budget.limit()
            );
        }
        Some(Job { id, record, seat, is_lone: true })
    }

    fn free_stuck_memory(&mut self) {
        if self.stuck_turns < MAX_STUCK_TURNS {
            return;
        }
        let mut movable = self.residency.in_order_of_leaving().filter(|(_, slot)| slot.settling.is_none());
        let oldest = movable.next().map(|(id, _)| id.clone());
        drop(movable);
        if let Some(oldest) = oldest {
            self.send_away(&oldest);
        }
    }
}
