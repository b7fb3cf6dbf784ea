//! Which models are in memory, and which of them leaves first.
//!
//! A [`Slot`] is a model in memory with the reservation that covers it. While a model is stepped its slot is not here
//! but with the worker.
//!
//! Metrics come round in the same order every few minutes. If the one used longest ago left first, each would leave just
//! before it is wanted, and every record would swap in as soon as memory is a little too small for all. So a model that
//! had to be swapped in is the first to leave again, unless it has more to step; one that was still here when it was
//! wanted stays. Of memory for a share of the models, that share is then found here. Every 32nd newcomer stays too, which
//! is how those that nobody wants any more lose their places.
//!
//! A lot that each drew for good says who leaves first, of newcomers as of those that stay, not the time of use: models that
//! leave in the order of use, or find no place any more when memory first fills, are neighbours in the round, and whoever
//! comes behind a row of absent ones waits until all of them were read. Of those that stay, the ones that were not used for
//! some rounds leave before the others, whatever their lot.
//!
//! Source: the bimodal insertion policy of Qureshi and others, "Adaptive Insertion Policies for High Performance Caching"
//! (2007), over a fixed order within an epoch instead of the order of use.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};
use htm_core::model::Model;

use super::memory_budget::Reservation;

/// A model in memory.
#[derive(Debug)]
pub(super) struct Slot {
    /// The model.
    pub(super) model: Model,
    /// Covers it.
    pub(super) reservation: Reservation,
    /// Whether it came from a file rather than from its first row.
    pub(super) is_from_file: bool,
    /// Set while it waits, unstepped, for its scores to be committed so that it can be saved.
    pub(super) settling: Option<Settling>,
}

/// A model that waits to be saved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    /// Since when.
    pub(super) since: Duration,
    /// Whether it has rows to step afterwards.
    pub(super) is_hungry: bool,
}

impl Slot {
    /// The row it stands at.
    pub(super) fn position(&self) -> RowId {
        self.model.last_stepped_row_id()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.model.memory_bytes()
    }
}

/// Of so many newcomers one stays.
const NEWCOMERS_TO_ONE_STAYING: u64 = 32;

/// A stretch of time in which as many models are used as there are in memory, so often.
const ROUNDS_PER_EPOCH: u64 = 4;

/// A model's place in the order of leaving. No two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// In which it was last used; `None` of newcomers, which leave before all others.
    epoch: Option<u64>,
    lot: u64,
    last_use: u64,
}

/// A model's lot, the same in every run.
fn lot(id: &ModelId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The models in memory.
#[derive(Debug, Default)]
pub(super) struct Residency {
    slots: HashMap<ModelId, (Rank, Box<Slot>)>,
    by_rank: BTreeMap<Rank, ModelId>,
    last_use: u64,
    newcomers: u64,
    epoch: u64,
    epoch_began_with: u64,
}

impl Residency {
    /// Takes a model in that was here when it was wanted, or will be wanted soon.
    pub(super) fn insert(&mut self, id: ModelId, slot: Box<Slot>) {
        self.place(id, slot, true);
    }

    /// Takes a model in that had to be swapped in.
    pub(super) fn insert_newcomer(&mut self, id: ModelId, slot: Box<Slot>) {
        self.newcomers += 1;
        self.place(id, slot, self.newcomers.is_multiple_of(NEWCOMERS_TO_ONE_STAYING));
    }

    fn place(&mut self, id: ModelId, slot: Box<Slot>, stays: bool) {
        self.last_use += 1;
        if self.last_use - self.epoch_began_with > ROUNDS_PER_EPOCH * self.slots.len() as u64 {
            self.epoch += 1;
            self.epoch_began_with = self.last_use;
        }
        let rank = Rank { epoch: stays.then_some(self.epoch), lot: lot(&id), last_use: self.last_use };
        self.by_rank.insert(rank, id.clone());
        if let Some((rank, _)) = self.slots.insert(id, (rank, slot)) {
            self.by_rank.remove(&rank);
        }
    }

    /// Hands a model out.
    pub(super) fn remove(&mut self, id: &ModelId) -> Option<Box<Slot>> {
        let (rank, slot) = self.slots.remove(id)?;
        self.by_rank.remove(&rank);
        Some(slot)
    }

    /// Looks at a model.
    pub(super) fn get(&self, id: &ModelId) -> Option<&Slot> {
        self.slots.get(id).map(|(_, slot)| &**slot)
    }

    /// Looks at a model.
    pub(super) fn get_mut(&mut self, id: &ModelId) -> Option<&mut Slot> {
        self.slots.get_mut(id).map(|(_, slot)| &mut **slot)
    }

    /// All models, those that leave first first.
    pub(super) fn in_order_of_leaving(&self) -> impl Iterator<Item = (&ModelId, &Slot)> {
        self.by_rank.values().filter_map(|id| Some((id, self.get(id)?)))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use htm_core::model::template::Templates;
    use htm_core::params::ModelParams;

    use super::super::memory_budget::MemoryBudget;
    use super::*;

    fn id(number: usize) -> ModelId {
        ModelId::new(&format!("m{number}")).expect("a plain id")
    }

    /// Plays rounds over these models, each wanted once a round in the same order, with `seats` for those in memory after so many
    /// records; returns for each whether it was found there in the last round.
    fn play(
        models: std::ops::Range<usize>,
        seats: impl Fn(usize) -> usize,
        residency: &mut Residency,
        rounds: usize,
    ) -> Vec<bool> {
        let (templates, budget) = (Templates::new(), MemoryBudget::new(usize::MAX));
        let params = Arc::new(ModelParams::single_metric(0.5).expect("usable"));
        let (mut found, mut records) = (Vec::new(), 0);
        for _ in 0..rounds {
            found.clear();
            for id in models.clone().map(id) {
                records += 1;
                let is_found = residency.get(&id).is_some();
                while residency.len() + usize::from(!is_found) > seats(records) {
                    let mut order = residency.in_order_of_leaving().map(|(id, _)| id.clone());
                    let leaving = order.find(|other| *other != id).expect("one");
                    drop(order);
                    residency.remove(&leaving);
                }
                found.push(is_found);
                if let Some(slot) = residency.remove(&id) {
                    residency.insert(id, slot);
                    continue;
                }
                let model = Model::new(Arc::clone(&params), &templates);
                let reservation = budget.try_reserve(0).expect("no limit");
                let slot = Slot { model, reservation, is_from_file: false, settling: None };
                residency.insert_newcomer(id, Box::new(slot));
            }
        }
        found
    }

    fn found_of(
        models: std::ops::Range<usize>,
        seats: usize,
        residency: &mut Residency,
        rounds: usize,
    ) -> usize {
        play(models, |_| seats, residency, rounds).into_iter().filter(|is_found| *is_found).count()
    }

    #[test]
    fn of_memory_for_half_of_the_models_half_are_found() {
        let found = found_of(0..80, 40, &mut Residency::default(), 4);
        assert!((36..=40).contains(&found), "{found}");
    }

    #[test]
    fn models_that_nobody_wants_any_more_lose_their_places() {
        let mut residency = Residency::default();
        found_of(0..40, 40, &mut residency, 2);
        let found = found_of(100..180, 40, &mut residency, 40);
        assert!(found >= 30, "{found}");
    }

    fn absent(part: &[bool]) -> usize {
        part.iter().filter(|is_found| !**is_found).count()
    }

    /// In the order of use, all of a twentieth of the round were absent.
    #[test]
    fn models_that_leave_lie_all_over_the_round() {
        let seats = |records| 400 - records / 133;
        let found = play(0..400, seats, &mut Residency::default(), 20);
        assert!((55..=70).contains(&absent(&found)), "{}", absent(&found));
        let fullest = found.chunks(20).map(absent).max();
        assert!(fullest <= Some(10), "{fullest:?} of 20");
    }

    /// With the newest newcomer leaving first, the last of the first round were absent ever after.
    #[test]
    fn models_that_came_too_late_for_a_place_lie_all_over_the_round() {
        let found = play(0..400, |_| 340, &mut Residency::default(), 3);
        assert!((60..=64).contains(&absent(&found)), "{}", absent(&found));
        let fullest = found.chunks(20).map(absent).max();
        assert!(fullest <= Some(10), "{fullest:?} of 20");
    }
}
