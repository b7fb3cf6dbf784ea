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
//! Source: the bimodal insertion policy of Qureshi and others, "Adaptive Insertion Policies for High Performance Caching"
//! (2007).

use std::collections::{BTreeMap, HashMap};
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

/// A model's place in the order of leaving: first newcomers, the newest of them before all; then those that stay, the one
/// used longest ago before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    stays: bool,
    order: i64,
}

/// The models in memory.
#[derive(Debug, Default)]
pub(super) struct Residency {
    slots: HashMap<ModelId, (Rank, Box<Slot>)>,
    by_rank: BTreeMap<Rank, ModelId>,
    last_use: i64,
    newcomers: u64,
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
        let rank = Rank { stays, order: if stays { self.last_use } else { -self.last_use } };
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

    /// Plays rounds over this many models, each wanted once a round in the same order; returns those found in memory in
    /// the last round.
    fn found_of(
        models: std::ops::Range<usize>,
        seats: usize,
        residency: &mut Residency,
        rounds: usize,
    ) -> usize {
        let (templates, budget) = (Templates::new(), MemoryBudget::new(usize::MAX));
        let params = Arc::new(ModelParams::single_metric(0.5).expect("usable"));
        let mut found = 0;
        for _ in 0..rounds {
            found = 0;
            for id in models.clone().map(id) {
                if let Some(slot) = residency.remove(&id) {
                    residency.insert(id, slot);
                    found += 1;
                    continue;
                }
                if residency.len() == seats {
                    let leaving = residency.in_order_of_leaving().next().map(|(id, _)| id.clone());
                    residency.remove(&leaving.expect("one"));
                }
                let model = Model::new(Arc::clone(&params), &templates);
                let reservation = budget.try_reserve(0).expect("no limit");
                let slot = Slot { model, reservation, is_from_file: false, settling: None };
                residency.insert_newcomer(id, Box::new(slot));
            }
        }
        found
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
}
