//! A temporal memory's state and scratch memory, borrowed from whoever owns them.
//!
//! State is what must survive between steps and across a restart; scratch is overwritten by every step and may
//! be shared by all models that one thread steps.

use super::pattern::{self, PATTERN_STRIDE};
use super::postings::{PostingArena, PostingLists};
use super::{BacktrackingTmParams, CELL_STRIDE, TmScalars};

/// Marks a column without a block in [`TmState::column_blocks`].
pub const NO_COLUMN_BLOCK: u16 = u16::MAX;

/// What survives a step. Cell sets are `columns` words of 32 cells.
pub struct TmState<'a> {
    /// Single numbers.
    pub scalars: &'a mut TmScalars,
    /// Cells active in inference at t.
    pub infer_active: &'a mut [u32],
    /// Cells predicted in inference at t, for t + 1.
    pub infer_predicted: &'a mut [u32],
    /// Learning cells at t, one per active column.
    pub learn_active: &'a mut [u32],
    /// Predicted learning cells at t, at most one per column.
    pub learn_predicted: &'a mut [u32],
    /// The cells of `learn_active`, as a pattern record of cell indices.
    pub learn_cells: &'a mut [u16],
    /// Bit set of the columns that own a segment with enough active synapses, connected or not: what the raw
    /// anomaly score compares the next step with.
    pub predicted_columns: &'a mut [u64],
    /// `max_infer_backtrack + 1` pattern records, oldest first.
    pub infer_history: &'a mut [u16],
    /// `max_learn_backtrack + 1` pattern records, oldest first.
    pub learn_history: &'a mut [u16],
    /// Queued updates: segment id; `columns` of them fit.
    pub queue_segments: &'a mut [u32],
    /// Queued updates: which of the cells that could grow a synapse were drawn, by ordinal.
    pub queue_picks: &'a mut [u64],
    /// `columns`: index of the column's block of 32 cells in the three arrays below, or [`NO_COLUMN_BLOCK`] for a
    /// column whose cells have neither segments nor postings. Most columns never get one.
    pub column_blocks: &'a mut [u16],
    /// `blocks x 32`: segments each cell has.
    pub cell_segment_counts: &'a mut [u8],
    /// `blocks x 32`: where each presynaptic cell's posting list starts in the arena.
    pub posting_offsets: &'a mut [u32],
    /// `blocks x 32`: its length.
    pub posting_counts: &'a mut [u32],
    /// `blocks x 32`: its size class, [`super::postings::NO_CLASS`] before the first posting.
    pub posting_classes: &'a mut [u8],
    /// The segments.
    pub segments: SegmentArrays<'a>,
    /// The posting lists.
    pub postings: &'a mut dyn PostingArena,
}

/// The segments as parallel arrays, indexed by segment id.
pub struct SegmentArrays<'a> {
    /// `capacity x max_synapses_per_segment`: presynaptic cells, ascending.
    pub presynaptic_cells: &'a mut [u16],
    /// Same shape: permanences.
    pub permanences: &'a mut [f32],
    /// Synapses on the segment.
    pub counts: &'a mut [u8],
    /// Those with a connected permanence.
    pub connected_counts: &'a mut [u8],
    /// The owning cell.
    pub cells: &'a mut [u16],
    /// Its place among the cell's segments.
    pub slots: &'a mut [u8],
    /// Synapses on `learn_active` cells when the last learning phase ended.
    pub learn_activity: &'a mut [u8],
    /// Times it correctly predicted.
    pub positive_activations: &'a mut [u32],
    /// Times it was chosen to predict or matched.
    pub total_activations: &'a mut [u32],
    /// Step of the last positive activation.
    pub last_active_iterations: &'a mut [u32],
    /// Moving share of steps with a positive activation.
    pub duty_cycles: &'a mut [f32],
    /// Step for which that share was computed.
    pub duty_cycle_iterations: &'a mut [u32],
}

/// What one step overwrites. Cell sets as in [`TmState`].
pub struct TmScratch<'a> {
    /// `infer_predicted` at t - 1.
    pub infer_predicted_before: &'a mut [u32],
    /// Copy of `infer_active` while inference backtracks.
    pub infer_active_backup: &'a mut [u32],
    /// `learn_active` at t - 1.
    pub learn_active_before: &'a mut [u32],
    /// Its cells, as a pattern record.
    pub learn_cells_before: &'a mut [u16],
    /// `learn_predicted` at t - 1.
    pub learn_predicted_before: &'a mut [u32],
    /// Per segment: synapses on `infer_active` cells.
    pub infer_activity: &'a mut [u8],
    /// Segment ids found by a threshold scan.
    pub found: &'a mut [u32],
    /// Per column: best segment found for it.
    pub best: BestMatches<'a>,
    /// Per column: prediction strength, summing to 1. Written only if asked for.
    pub confidence: &'a mut [f32],
    /// Whether to compute `confidence`, which needs the segments in order.
    pub wants_confidence: bool,
    /// Sort keys of `found` while confidences are summed.
    pub order: &'a mut [u64],
}

/// The best segment of each column in one scan. Better is: more active synapses, then the higher cell, then
/// the lower slot, which is what both of the reference's tie-breaks amount to.
pub struct BestMatches<'a> {
    /// Bit set of the columns that have one.
    pub columns: &'a mut [u64],
    /// Per column: comparison key of its best segment.
    pub keys: &'a mut [u32],
    /// Per column: that segment.
    pub segments: &'a mut [u32],
}

impl BestMatches<'_> {
    /// Forgets all columns.
    pub fn clear(&mut self) {
        self.columns.fill(0);
    }

    /// Takes `segment` as the best of its column if it is better than the one there.
    #[inline]
    pub fn offer(&mut self, segments: &SegmentArrays<'_>, segment: u32, activity: u8) {
        let cell = usize::from(segments.cells[segment as usize]);
        let slot = segments.slots[segment as usize];
        let column = cell / CELL_STRIDE;
        let cell_in_column = u32::from(segments.cells[segment as usize]) % 32;
        let key = u32::from(activity) << 16 | cell_in_column << 8 | u32::from(u8::MAX - slot);
        if !crate::word::get(self.columns, column) || key > self.keys[column] {
            crate::word::set(self.columns, column);
            self.keys[column] = key;
            self.segments[column] = segment;
        }
    }

    /// The best segment of `column`.
    #[inline]
    pub fn of(&self, column: usize) -> Option<u32> {
        crate::word::get(self.columns, column).then(|| self.segments[column])
    }
}

impl TmState<'_> {
    /// The posting lists, to read.
    pub fn posting_lists(&self) -> PostingLists<'_> {
        PostingLists {
            column_blocks: self.column_blocks,
            offsets: self.posting_offsets,
            counts: self.posting_counts,
            words: self.postings.words(),
        }
    }

    /// Index of `cell` in the arrays of column blocks, if its column has a block.
    #[inline]
    pub fn cell_entry(&self, cell: usize) -> Option<usize> {
        match self.column_blocks[cell / CELL_STRIDE] {
            NO_COLUMN_BLOCK => None,
            block => Some(usize::from(block) * CELL_STRIDE + cell % CELL_STRIDE),
        }
    }

    /// Same, giving the column a block if it has none.
    ///
    /// # Panics
    /// If `cell` is out of range.
    pub fn cell_entry_or_new(&mut self, cell: usize) -> usize {
        let column = cell / CELL_STRIDE;
        if self.column_blocks[column] == NO_COLUMN_BLOCK {
            let block = self.scalars.block_count;
            let range = block as usize * CELL_STRIDE..(block as usize + 1) * CELL_STRIDE;
            self.cell_segment_counts[range.clone()].fill(0);
            self.posting_counts[range.clone()].fill(0);
            self.posting_classes[range].fill(super::postings::NO_CLASS);
            self.column_blocks[column] = u16::try_from(block).expect("at most 2048 columns");
            self.scalars.block_count += 1;
        }
        usize::from(self.column_blocks[column]) * CELL_STRIDE + cell % CELL_STRIDE
    }

    /// Makes the start cells of `columns` the learning cells.
    pub fn activate_start_cells(&mut self, columns: &[u16]) {
        self.learn_active.fill(0);
        self.learn_cells[0] = 0;
        for &column in columns {
            self.activate_learning_cell(usize::from(column) * CELL_STRIDE);
        }
    }

    /// Adds one learning cell; cells must come in ascending order.
    ///
    /// # Panics
    /// If `cell` is out of range, or there are [`crate::MAX_ACTIVE_COLUMNS`] already.
    #[inline]
    pub fn activate_learning_cell(&mut self, cell: usize) {
        self.learn_active[cell / CELL_STRIDE] |= 1 << (cell % CELL_STRIDE);
        pattern::push(self.learn_cells, u16::try_from(cell).expect("at most 65,536 cells"));
    }
}

/// Shapes of the fixed-size parts, for whoever owns the memory.
impl BacktrackingTmParams {
    /// Length of the inference history.
    pub fn infer_history_len(&self) -> usize {
        (self.max_infer_backtrack + 1) * PATTERN_STRIDE
    }

    /// Length of the learning history.
    pub fn learn_history_len(&self) -> usize {
        (self.max_learn_backtrack + 1) * PATTERN_STRIDE
    }
}
