//! A temporal memory's state and scratch memory, borrowed from whoever owns them.
//!
//! State is what must survive between steps and across a restart; scratch is overwritten by every step and may
//! be shared by all models that one thread steps.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::pattern::{self, PATTERN_STRIDE};
use super::postings::{NO_CLASS, PostingArena, PostingList, PostingLists};
use super::{BacktrackingTmParams, CELL_STRIDE, TmScalars};
use crate::MAX_COLUMNS;
use crate::isa::Isa;
use crate::permanence::Permanences;
use crate::prefetch::prefetch;

/// Marks a column without a block in [`TmState::column_blocks`].
pub const NO_COLUMN_BLOCK: u16 = u16::MAX;

/// A cell set of any region: one word of 32 cells a column, so that no 16-bit cell index lies outside.
pub type CellSet = [u32; MAX_COLUMNS];

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
    /// `banks x columns`, bank after bank: index of the column's block of 32 cells in `posting_lists`, or
    /// [`NO_COLUMN_BLOCK`] for a column none of whose cells is presynaptic to a segment of the bank (or, in the
    /// first bank, owns one). Most columns never get one.
    pub column_blocks: &'a mut [u16],
    /// `blocks x 32`: the posting list of each cell. All banks take their blocks from here.
    pub posting_lists: &'a mut [PostingList],
    /// The segments.
    pub segments: SegmentArrays<'a>,
    /// Empty, or per bank [`super::bank::BANK_COUNTERS`]: synapses on `infer_active` cells of each segment, kept from
    /// step to step while [`TmScalars::has_kept_activity`]. Worth its place in large memories, where most active
    /// cells stay active from one step to the next and counting the difference is cheaper than counting anew.
    pub kept_activity: &'a mut [u8],
    /// The posting lists.
    pub postings: &'a mut dyn PostingArena,
}

/// The segments as parallel arrays, indexed by segment id.
pub struct SegmentArrays<'a> {
    /// `capacity x synapse_stride`: presynaptic cells, ascending; 0 where there is no synapse.
    pub presynaptic_cells: &'a mut [u16],
    /// Same shape: permanences; 0 where there is no synapse.
    pub permanences: Permanences<'a>,
    /// What inference looks at.
    pub infos: &'a mut [SegmentInfo],
    /// How often it was active.
    pub activations: &'a mut [SegmentActivations],
}

impl SegmentArrays<'_> {
    /// Asks for what an update of `segment` reads.
    #[inline]
    pub(super) fn prefetch(&self, segment: u32, synapse_stride: usize) {
        let (segment, synapse) = (segment as usize, segment as usize * synapse_stride);
        prefetch(self.presynaptic_cells, synapse);
        match &self.permanences {
            Permanences::Codes { codes, .. } => prefetch(codes, synapse),
            Permanences::Values(values) => prefetch(values, synapse),
        }
        prefetch(self.infos, segment);
        prefetch(self.activations, segment);
    }
}

/// What inference looks at when a segment is found, in one record because in an old memory each is in no near cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SegmentInfo {
    /// Moving share of steps with a positive activation.
    pub duty_cycle: f32,
    /// Step for which that share was computed.
    pub duty_cycle_iteration: u32,
    /// The owning cell.
    pub cell: u16,
    /// Synapses on the segment.
    pub count: u8,
    /// Those with a connected permanence.
    pub connected_count: u8,
    /// Its place among the cell's segments.
    pub slot: u8,
    /// Always 0.
    pub zero: [u8; 3],
}

/// How often a segment was active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SegmentActivations {
    /// Times it correctly predicted.
    pub positive_activations: u32,
    /// Times it was chosen to predict or matched.
    pub total_activations: u32,
    /// Step of the last positive activation.
    pub last_active_iteration: u32,
}

/// What one step overwrites. Cell sets as in [`TmState`].
pub struct TmScratch<'a> {
    /// Which code the kernels run.
    pub isa: Isa,
    /// `infer_predicted` at t - 1.
    pub infer_predicted_before: &'a mut [u32],
    /// Copy of `infer_active` while inference backtracks.
    pub infer_active_backup: &'a mut [u32],
    /// The cells over which inference counted last.
    pub counted_cells: &'a mut CellSet,
    /// `learn_active` at t - 1.
    pub learn_active_before: &'a mut CellSet,
    /// Its cells, as a pattern record.
    pub learn_cells_before: &'a mut [u16],
    /// Per column: place of its cell in that record, where it has one.
    pub learn_ordinals: &'a mut [u8; MAX_COLUMNS],
    /// `learn_predicted` at t - 1.
    pub learn_predicted_before: &'a mut [u32],
    /// Per bank [`super::bank::BANK_COUNTERS`]: synapses on the cells counted over. All 0 between any two counts.
    pub activity: &'a mut [u8],
    /// Whether they are: a step that panicked leaves counts behind.
    pub is_activity_clear: &'a mut bool,
    /// What a threshold scan found.
    pub found: Found<'a>,
    /// Segments that have to be looked at synapse by synapse; as long as `found`.
    pub undecided: &'a mut [u32],
    /// Per column: best segment found for it.
    pub best: BestMatches<'a>,
    /// Per column: prediction strength, summing to 1. Written only if asked for.
    pub confidence: &'a mut [f32],
    /// Whether to compute `confidence`, which needs the segments in order.
    pub wants_confidence: bool,
    /// Sort keys of `found` while confidences are summed.
    pub order: &'a mut [u64],
}

/// Segments found by a threshold scan, ascending. Both arrays need [`super::scan::SLACK`] entries beyond the number of
/// segments.
pub struct Found<'a> {
    /// Segment ids.
    pub segments: &'a mut [u32],
    /// Active synapses of each.
    pub activity: &'a mut [u8],
    /// How many there are.
    pub count: usize,
}

impl Found<'_> {
    /// The ids found.
    #[inline]
    pub fn segments(&self) -> &[u32] {
        &self.segments[..self.count]
    }

    /// The ids found, each with its active synapses.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (u32, u8)> + '_ {
        self.segments[..self.count].iter().copied().zip(self.activity[..self.count].iter().copied())
    }
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

/// The best segment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BestMatch {
    /// Which.
    pub segment: u32,
    /// Its active synapses.
    pub active_count: usize,
}

impl BestMatches<'_> {
    /// Forgets all columns.
    pub fn clear(&mut self) {
        self.columns.fill(0);
    }

    /// Takes `segment` as the best of its column if it is better than the one there.
    #[inline]
    pub fn offer(&mut self, segments: &SegmentArrays<'_>, segment: u32, activity: u8) {
        let cell = usize::from(segments.infos[segment as usize].cell);
        let slot = segments.infos[segment as usize].slot;
        let column = cell / CELL_STRIDE;
        let cell_in_column = u32::from(segments.infos[segment as usize].cell) % 32;
        let key = u32::from(activity) << 16 | cell_in_column << 8 | u32::from(u8::MAX - slot);
        if !crate::word::get(self.columns, column) || key > self.keys[column] {
            crate::word::set(self.columns, column);
            self.keys[column] = key;
            self.segments[column] = segment;
        }
    }

    /// The best segment of `column`.
    #[inline]
    pub fn of(&self, column: usize) -> Option<BestMatch> {
        crate::word::get(self.columns, column).then(|| BestMatch {
            segment: self.segments[column],
            active_count: (self.keys[column] >> 16) as usize,
        })
    }
}

impl TmState<'_> {
    /// The posting lists, to read.
    pub fn posting_lists(&self) -> PostingLists<'_> {
        PostingLists {
            columns: self.infer_active.len(),
            column_blocks: self.column_blocks,
            lists: self.posting_lists,
            words: self.postings.words(),
        }
    }

    /// Index of `cell` in the lists of a bank, if its column has a block there.
    #[inline]
    pub fn list_entry(&self, bank: usize, cell: usize) -> Option<usize> {
        self.posting_lists().entry(bank, cell)
    }

    /// Same, giving the column a block if it has none.
    ///
    /// # Panics
    /// If `cell` is out of range, or there is no room for another block.
    pub fn list_entry_or_new(&mut self, bank: usize, cell: usize) -> usize {
        let place = bank * self.infer_active.len() + cell / CELL_STRIDE;
        if self.column_blocks[place] == NO_COLUMN_BLOCK {
            let block = self.scalars.block_count;
            let entries = block as usize * CELL_STRIDE..(block as usize + 1) * CELL_STRIDE;
            self.posting_lists[entries].fill(PostingList {
                offset: 0,
                count: 0,
                class: NO_CLASS,
                segment_count: 0,
            });
            let block = u16::try_from(block).ok().filter(|&block| block != NO_COLUMN_BLOCK);
            self.column_blocks[place] = block.expect("fewer than 65,535 blocks");
            self.scalars.block_count += 1;
        }
        usize::from(self.column_blocks[place]) * CELL_STRIDE + cell % CELL_STRIDE
    }

    /// Segments that `cell` owns.
    pub fn segments_of_cell(&self, cell: usize) -> u8 {
        self.list_entry(0, cell).map_or(0, |entry| self.posting_lists[entry].segment_count)
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
    /// Synapses there is room for on a segment: a cache line of presynaptic cells, or two.
    pub const fn synapse_stride(&self) -> usize {
        self.max_synapses_per_segment.next_multiple_of(SYNAPSE_CHUNK)
    }

    /// Length of the inference history.
    pub fn infer_history_len(&self) -> usize {
        (self.max_infer_backtrack + 1) * PATTERN_STRIDE
    }

    /// Length of the learning history.
    pub fn learn_history_len(&self) -> usize {
        (self.max_learn_backtrack + 1) * PATTERN_STRIDE
    }
}

/// Synapses that the vector kernels take at once.
pub const SYNAPSE_CHUNK: usize = 32;
