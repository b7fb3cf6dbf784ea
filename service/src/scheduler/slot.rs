//! A slot: one model in memory, and how far it is behind or ahead of what is stored.

use htm_core::ids::RowId;
use htm_core::model::Model;

/// A resident model.
#[derive(Debug)]
pub(super) struct Slot {
    /// The model.
    pub(super) model: Model,
    /// Which life of the metric's model it is.
    pub(super) generation: String,
    /// Whether it came from a file rather than from its first row.
    pub(super) is_from_file: bool,
    /// The row its file stands at; 0 without a file.
    pub(super) saved_row_id: RowId,
    /// Turn in which it was last stepped.
    pub(super) last_used_turn: u64,
    /// Turn from which it waits, unstepped, for its scores to be committed so that it can be saved.
    pub(super) settling_since_turn: Option<u64>,
}

impl Slot {
    /// Rows learned since it was saved.
    pub(super) fn unsaved_rows(&self) -> i64 {
        self.model.last_stepped_row_id().0 - self.saved_row_id.0
    }
}
