//! The reference: one synapse after the other.

use super::ChunkChange;
use crate::backtracking_tm::state::{CellSet, SYNAPSE_CHUNK};
use crate::permanence::{PermanenceCodes, REMOVED};
use crate::word::Ones;

pub(super) fn change(
    cells: &[u16; SYNAPSE_CHUNK],
    codes: &mut [u8; SYNAPSE_CHUNK],
    used: u32,
    active: &CellSet,
    table: &PermanenceCodes,
) -> ChunkChange {
    let mut change = ChunkChange::default();
    // Looked up, because half the cells are active: a branch would be guessed wrong.
    let tables = [table.decremented(), table.incremented()];
    for synapse in Ones(u64::from(used)) {
        let cell = usize::from(cells[synapse]);
        let is_active = active[cell / 32] >> (cell % 32) & 1;
        let code = tables[is_active as usize][usize::from(codes[synapse])];
        codes[synapse] = code;
        let is_removed = code == REMOVED;
        change.active |= is_active << synapse;
        change.removed |= u32::from(is_removed) << synapse;
        change.connected |= u32::from(!is_removed & (code >= table.connected_from())) << synapse;
    }
    change
}
