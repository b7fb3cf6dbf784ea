//! Which models are in memory, and which of them was used longest ago.
//!
//! A [`Slot`] is a model in memory with the reservation that covers it. While a model is stepped its slot is not here
//! but with the worker.
//!
//! Tried by thought only: least recently used is the worst order when many models come round in the same order every
//! five minutes, since each leaves just before it is wanted; but then nearly every record swaps in whatever the order
//! is, as memory is far smaller than all models together.

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

/// The models in memory.
#[derive(Debug, Default)]
pub(super) struct Residency {
    slots: HashMap<ModelId, (u64, Box<Slot>)>,
    by_use: BTreeMap<u64, ModelId>,
    last_use: u64,
}

impl Residency {
    /// Takes a model in as the one used last.
    pub(super) fn insert(&mut self, id: ModelId, slot: Box<Slot>) {
        self.last_use += 1;
        self.by_use.insert(self.last_use, id.clone());
        if let Some((use_number, _)) = self.slots.insert(id, (self.last_use, slot)) {
            self.by_use.remove(&use_number);
        }
    }

    /// Hands a model out.
    pub(super) fn remove(&mut self, id: &ModelId) -> Option<Box<Slot>> {
        let (use_number, slot) = self.slots.remove(id)?;
        self.by_use.remove(&use_number);
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

    /// All models, the one used longest ago first.
    pub(super) fn least_recently_used(&self) -> impl Iterator<Item = (&ModelId, &Slot)> {
        self.by_use.values().filter_map(|id| Some((id, self.get(id)?)))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
