//! The models that have rows to step, in two lanes: a *fresh* hint, which mostly means one row, and a *backlog*, which
//! takes many shares. Each turn takes from both, so that a fresh sample never waits for a backlog's end and neither
//! lane starves.
//!
//! Invariant: a model is in one lane at most, once. An entry taken out of order leaves its place behind, which is
//! skipped when its time comes.

use std::collections::{HashMap, VecDeque};

use htm_core::ids::ModelId;

/// Abandoned places kept before a lane is cleaned, beside as many as there are models.
const SPARE_PLACES: usize = 1024;

/// Where a model waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A hint came; probably few rows.
    Fresh,
    /// One share was not enough, or nobody knows how many rows there are.
    Backlog,
}

/// Both lanes.
#[derive(Debug, Default)]
pub(super) struct HungryModels {
    fresh: VecDeque<(ModelId, u64)>,
    backlog: VecDeque<(ModelId, u64)>,
    /// Lane and ticket of each model's valid entry.
    places: HashMap<ModelId, (Lane, u64)>,
    fresh_count: usize,
    last_ticket: u64,
}

impl HungryModels {
    /// Adds a model at the end of a lane unless it waits already.
    pub(super) fn push(&mut self, id: ModelId, lane: Lane) {
        if let Some(entry) = self.enter(id, lane) {
            self.lane(lane).push_back(entry);
        }
    }

    /// Puts a model back where it was taken from.
    pub(super) fn push_front(&mut self, id: ModelId, lane: Lane) {
        if let Some(entry) = self.enter(id, lane) {
            self.lane(lane).push_front(entry);
        }
    }

    /// Takes the first model of a lane.
    pub(super) fn pop(&mut self, lane: Lane) -> Option<ModelId> {
        while let Some((id, ticket)) = self.lane(lane).pop_front() {
            if self.places.get(&id) == Some(&(lane, ticket)) {
                self.remove(&id);
                return Some(id);
            }
        }
        None
    }

    /// Takes a model out, wherever it waits.
    pub(super) fn remove(&mut self, id: &ModelId) -> Option<Lane> {
        let (lane, _) = self.places.remove(id)?;
        self.fresh_count -= usize::from(lane == Lane::Fresh);
        Some(lane)
    }

    /// Whether a model waits.
    pub(super) fn contains(&self, id: &ModelId) -> bool {
        self.places.contains_key(id)
    }

    /// Models that wait in a lane.
    pub(super) fn len(&self, lane: Lane) -> usize {
        match lane {
            Lane::Fresh => self.fresh_count,
            Lane::Backlog => self.places.len() - self.fresh_count,
        }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn enter(&mut self, id: ModelId, lane: Lane) -> Option<(ModelId, u64)> {
        if self.places.contains_key(&id) {
            return None;
        }
        self.last_ticket += 1;
        self.places.insert(id.clone(), (lane, self.last_ticket));
        self.fresh_count += usize::from(lane == Lane::Fresh);
        self.clean(lane);
        Some((id, self.last_ticket))
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<(ModelId, u64)> {
        match lane {
            Lane::Fresh => &mut self.fresh,
            Lane::Backlog => &mut self.backlog,
        }
    }

    fn clean(&mut self, lane: Lane) {
        let most = 2 * self.len(lane) + SPARE_PLACES;
        if self.lane(lane).len() > most {
            let places = std::mem::take(&mut self.places);
            self.lane(lane).retain(|(id, ticket)| places.get(id) == Some(&(lane, *ticket)));
            self.places = places;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ModelId {
        ModelId::new(&format!("m{number}")).expect("a plain id")
    }

    #[test]
    fn keeps_order_and_each_model_once() {
        let mut hungry = HungryModels::default();
        for number in [1, 2, 1, 3] {
            hungry.push(id(number), Lane::Fresh);
        }
        hungry.push(id(2), Lane::Backlog);
        assert_eq!((hungry.len(Lane::Fresh), hungry.len(Lane::Backlog)), (3, 0));
        assert_eq!(hungry.remove(&id(2)), Some(Lane::Fresh));
        hungry.push(id(2), Lane::Backlog);
        let first = hungry.pop(Lane::Fresh).expect("one");
        assert_eq!(first, id(1));
        hungry.push_front(first, Lane::Fresh);
        let order: Vec<_> = std::iter::from_fn(|| hungry.pop(Lane::Fresh)).collect();
        assert_eq!(order, [id(1), id(3)]);
        assert!(hungry.contains(&id(2)) && hungry.pop(Lane::Backlog) == Some(id(2)) && hungry.is_empty());
    }

    #[test]
    fn abandoned_places_do_not_pile_up() {
        let mut hungry = HungryModels::default();
        for _ in 0..10 * SPARE_PLACES {
            hungry.push(id(0), Lane::Fresh);
            hungry.remove(&id(0));
        }
        assert!(hungry.fresh.len() <= SPARE_PLACES + 3, "{}", hungry.fresh.len());
    }
}
