//! A plain temporal memory's state and scratch memory, borrowed from whoever owns them.
//!
//! State is what must survive between steps and across a restart; scratch is overwritten by every step and may be
//! shared by all models that one thread steps.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::TemporalMemoryScalars;
use crate::backtracking_tm::CELL_STRIDE;
use crate::backtracking_tm::state::CellSet;

/// Marks the end of a chain of segments.
pub const NO_SEGMENT: u32 = u32::MAX;

/// What survives a step. Cell sets are `columns` words of 32 cells.
pub struct TemporalMemoryState<'a> {
    /// Single numbers.
    pub scalars: &'a mut TemporalMemoryScalars,
    /// Active cells at t.
    pub active_cells: &'a mut [u32],
    /// Winner cells at t.
    pub winner_cells: &'a mut [u32],
    /// Bit set of the columns that own an active segment at t: what the raw anomaly score compares t + 1 with.
    pub predicted_columns: &'a mut [u64],
    /// Active and matching segments at t, by cell and ordinal; as long as `segments`.
    pub matches: &'a mut [SegmentMatch],
    /// Per column: one of its cells' segments, [`NO_SEGMENT`] for none; the others follow by
    /// [`SegmentInfo::next_in_chain`] in no particular order.
    pub column_segments: &'a mut [u32],
    /// The segments, by slot.
    pub segments: &'a mut [SegmentInfo],
    /// Presynaptic cells of all synapses, in blocks.
    pub presynaptic_cells: &'a mut [u16],
    /// Their permanences.
    pub permanences: &'a mut [f32],
    /// Per column: where its postings lie.
    pub posting_lists: &'a mut [PostingList],
    /// Postings of all columns, in blocks: see [`super::postings`].
    pub postings: &'a mut [u32],
}

/// A segment, or a free slot: all 0 but `next_in_chain` and `synapse_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SegmentInfo {
    /// Segments made before it.
    pub ordinal: u64,
    /// The last step in which it was active, or the step that made it.
    pub last_used_iteration: u64,
    /// Its first synapse.
    pub synapse_start: u32,
    /// The next segment of the column, or the next free slot.
    pub next_in_chain: u32,
    /// The owning cell.
    pub cell: u16,
    /// Synapses on the segment.
    pub synapse_count: u16,
    /// Size class of its block of synapses, [`super::blocks::NO_CLASS`] for none.
    pub synapse_class: u8,
    /// 1, or 0 for a free slot.
    pub is_used: u8,
    /// Always 0.
    pub zero: [u8; 2],
}

/// A segment that was found active or matching.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SegmentMatch {
    /// Which.
    pub segment: u32,
    /// Its cell.
    pub cell: u16,
    /// Its synapses on active cells, connected or not.
    pub potential_count: u16,
    /// Whether enough of its synapses were connected to active cells: 0 or 1.
    pub is_active: u8,
    /// Whether `potential_count` was enough: 0 or 1.
    pub is_matching: u8,
    /// Always 0.
    pub zero: [u8; 2],
}

impl SegmentMatch {
    /// Its column.
    #[inline]
    pub fn column(&self) -> usize {
        usize::from(self.cell) / CELL_STRIDE
    }
}

/// Where the postings of one column lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PostingList {
    /// The first.
    pub start: u32,
    /// How many.
    pub count: u32,
    /// Size class of its block, [`super::blocks::NO_CLASS`] before the first posting.
    pub class: u8,
    /// Always 0.
    pub zero: [u8; 3],
}

impl PostingList {
    /// A list without a block.
    pub const EMPTY: Self = Self { start: 0, count: 0, class: super::blocks::NO_CLASS, zero: [0; 3] };
}

/// What one step overwrites.
pub struct TemporalMemoryScratch<'a> {
    /// Active cells at t - 1.
    pub active_before: &'a mut CellSet,
    /// Winner cells at t - 1.
    pub winners_before: &'a mut CellSet,
    /// The same as an ascending list; as long as [`super::room::Room::winners`] says, or longer.
    pub winner_list: &'a mut [u16],
    /// Those of them that a segment may grow a synapse to; as long as `winner_list`.
    pub candidates: &'a mut [u16],
    /// Cells that the growing segment has a synapse on; empty between any two segments.
    pub presynaptic: &'a mut CellSet,
    /// Per slot: its synapses on active cells.
    pub counters: &'a mut [u16],
    /// Winner cells at t - 1 in `winner_list`.
    pub winner_count: usize,
}

/// Whether a set has a cell.
#[inline]
pub(super) fn has(cells: &[u32], cell: u16) -> bool {
    cells[usize::from(cell) / CELL_STRIDE] >> (cell % 32) & 1 == 1
}
