//! Models in memory that could not be saved, and why: as long as there is one, the figures say so.
//!
//! One that leaves memory is no trouble any more: its file is as good as before, and its rows are stepped again.

use std::collections::BTreeMap;

use htm_core::ids::ModelId;

/// Models remembered, of those that fail. A forgotten one comes back when it fails the next time.
const MAX_REMEMBERED: usize = 256;

/// The models.
#[derive(Debug, Default)]
pub(super) struct UnsavableModels {
    reasons: BTreeMap<ModelId, String>,
    latest: Option<ModelId>,
}

impl UnsavableModels {
    /// It could not be saved.
    pub(super) fn note(&mut self, id: &ModelId, reason: String) {
        if self.reasons.len() >= MAX_REMEMBERED && !self.reasons.contains_key(id) {
            self.reasons.pop_first();
        }
        self.reasons.insert(id.clone(), reason);
        self.latest = Some(id.clone());
    }

    /// It was saved, or left memory.
    pub(super) fn forget(&mut self, id: &ModelId) {
        self.reasons.remove(id);
    }

    /// Why the one that failed last could not be saved, or any if that one is well.
    pub(super) fn reason(&self) -> Option<&str> {
        let latest = self.latest.as_ref().and_then(|id| self.reasons.get(id));
        latest.or_else(|| self.reasons.values().next()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_until_every_model_is_well() {
        let ids: Vec<ModelId> = (0..=MAX_REMEMBERED)
            .map(|number| ModelId::new(&format!("m{number:03}")).expect("plain"))
            .collect();
        let mut unsavable = UnsavableModels::default();
        assert_eq!(unsavable.reason(), None);
        unsavable.note(&ids[1], "one".to_owned());
        unsavable.note(&ids[0], "zero".to_owned());
        assert_eq!(unsavable.reason(), Some("zero"), "the latest");
        unsavable.forget(&ids[0]);
        assert_eq!(unsavable.reason(), Some("one"));
        unsavable.forget(&ids[1]);
        assert_eq!(unsavable.reason(), None);
        for id in &ids {
            unsavable.note(id, id.to_string());
        }
        assert_eq!(unsavable.reasons.len(), MAX_REMEMBERED);
        assert_eq!(unsavable.reason(), ids.last().map(ModelId::as_str));
    }
}
