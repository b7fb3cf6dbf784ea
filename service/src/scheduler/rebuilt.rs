//! Which models were rebuilt from their rows because they failed, and how far they had come.
//!
//! A model that came from a file may have failed because of what was in it. If the next one fails no further on, the file was
//! not to blame: without this a model that always fails at the same row would be rebuilt for ever, should it be saved and
//! leave memory before it comes to that row.

use std::collections::{HashMap, VecDeque};

use htm_core::ids::{ModelId, RowId};

/// Models remembered; those rebuilt longest ago are forgotten first.
const MAX_REMEMBERED: usize = 4_096;

/// The models.
#[derive(Debug, Default)]
pub(super) struct RebuiltModels {
    /// Which life of each, and the last row before it failed.
    reached: HashMap<ModelId, (String, RowId)>,
    in_order: VecDeque<ModelId>,
}

impl RebuiltModels {
    /// Whether rebuilding may help a model of this life that failed after row `reached`.
    pub(super) fn may_help(&self, id: &ModelId, generation: &str, reached: RowId) -> bool {
        let last = self.reached.get(id);
        last.is_none_or(|(life, before)| life != generation || reached > *before)
    }

    /// It is being rebuilt.
    pub(super) fn note(&mut self, id: &ModelId, generation: &str, reached: RowId) {
        if self.reached.insert(id.clone(), (generation.to_owned(), reached)).is_none() {
            self.in_order.push_back(id.clone());
        }
        if self.in_order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.reached.remove(&oldest);
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
    fn a_life_is_rebuilt_again_only_if_it_came_further() {
        let mut rebuilt = RebuiltModels::default();
        assert!(rebuilt.may_help(&id(0), "a", RowId(7)));
        rebuilt.note(&id(0), "a", RowId(7));
        assert!(!rebuilt.may_help(&id(0), "a", RowId(7)) && !rebuilt.may_help(&id(0), "a", RowId(6)));
        assert!(rebuilt.may_help(&id(0), "a", RowId(8)), "some other row");
        assert!(rebuilt.may_help(&id(0), "b", RowId(7)), "another life");
        assert!(rebuilt.may_help(&id(1), "a", RowId(7)), "another model");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut rebuilt = RebuiltModels::default();
        for number in 0..=MAX_REMEMBERED {
            rebuilt.note(&id(number), "a", RowId(7));
        }
        assert_eq!(rebuilt.reached.len(), MAX_REMEMBERED);
        assert!(rebuilt.may_help(&id(0), "a", RowId(7)));
        assert!(!rebuilt.may_help(&id(MAX_REMEMBERED), "a", RowId(7)));
    }
}
