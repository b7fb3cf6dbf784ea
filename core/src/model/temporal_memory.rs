//! The memory of one backtracking temporal memory, and its step.

use htm_kernels::backtracking_tm::pattern::PATTERN_STRIDE;
use htm_kernels::backtracking_tm::postings::PostingArena;
use htm_kernels::backtracking_tm::state::{NO_COLUMN_BLOCK, SegmentArrays, TmState};
use htm_kernels::backtracking_tm::{self, BacktrackingTmParams, CELL_STRIDE, TmScalars, max_new_segments};
use htm_kernels::word::words_for;

use super::workspace::Workspace;
use crate::array::Array;

/// Arrays grow by this part of what they hold: growing copies them, and room that is never used is never touched.
const GROWTH_PART: usize = 4;

/// A temporal memory: flat arrays that grow, addressed by index only.
#[derive(Debug, Clone)]
pub struct TemporalMemory {
    pub(crate) params: BacktrackingTmParams,
    pub(crate) scalars: TmScalars,
    pub(crate) infer_active: Array<u32>,
    pub(crate) infer_predicted: Array<u32>,
    pub(crate) learn_active: Array<u32>,
    pub(crate) learn_predicted: Array<u32>,
    pub(crate) learn_cells: Array<u16>,
    pub(crate) predicted_columns: Array<u64>,
    pub(crate) infer_history: Array<u16>,
    pub(crate) learn_history: Array<u16>,
    pub(crate) queue_segments: Array<u32>,
    pub(crate) queue_picks: Array<u64>,
    pub(crate) column_blocks: Array<u16>,
    pub(crate) cell_segment_counts: Array<u8>,
    pub(crate) posting_offsets: Array<u32>,
    pub(crate) posting_counts: Array<u32>,
    pub(crate) posting_classes: Array<u8>,
    pub(crate) segments: Segments,
    pub(crate) postings: Postings,
}

/// The segment arrays; all have the same number of segments' room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments {
    pub(crate) presynaptic_cells: Array<u16>,
    pub(crate) permanences: Array<f32>,
    pub(crate) counts: Array<u8>,
    pub(crate) connected_counts: Array<u8>,
    pub(crate) cells: Array<u16>,
    pub(crate) slots: Array<u8>,
    pub(crate) learn_activity: Array<u8>,
    pub(crate) positive_activations: Array<u32>,
    pub(crate) total_activations: Array<u32>,
    pub(crate) last_active_iterations: Array<u32>,
    pub(crate) duty_cycles: Array<f32>,
    pub(crate) duty_cycle_iterations: Array<u32>,
}

/// The posting lists' memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Postings {
    pub(crate) words: Array<u32>,
}

impl PostingArena for Postings {
    fn words(&self) -> &[u32] {
        &self.words
    }

    fn words_mut(&mut self) -> &mut [u32] {
        &mut self.words
    }

    fn grow(&mut self, len: usize) {
        const HEADROOM_WORDS: usize = 4096;
        self.words.grow(len + len / GROWTH_PART + HEADROOM_WORDS);
    }
}

impl TemporalMemory {
    /// A memory that has seen nothing.
    pub fn new(params: BacktrackingTmParams) -> Self {
        Self {
            scalars: TmScalars::new(&params),
            infer_active: Array::zeroed(params.columns),
            infer_predicted: Array::zeroed(params.columns),
            learn_active: Array::zeroed(params.columns),
            learn_predicted: Array::zeroed(params.columns),
            learn_cells: Array::zeroed(PATTERN_STRIDE),
            predicted_columns: Array::zeroed(words_for(params.columns)),
            infer_history: Array::zeroed(params.infer_history_len()),
            learn_history: Array::zeroed(params.learn_history_len()),
            queue_segments: Array::zeroed(params.columns),
            queue_picks: Array::zeroed(params.columns),
            column_blocks: Array::filled(params.columns, NO_COLUMN_BLOCK),
            cell_segment_counts: Array::empty(),
            posting_offsets: Array::empty(),
            posting_counts: Array::empty(),
            posting_classes: Array::empty(),
            segments: Segments::default(),
            postings: Postings::default(),
            params,
        }
    }

    /// Steps over `columns` (ascending), learning.
    ///
    /// # Panics
    /// As [`backtracking_tm::step`].
    pub fn compute(&mut self, workspace: &mut Workspace, columns: &[u16]) {
        workspace.active_columns.clear();
        workspace.active_columns.extend_from_slice(columns);
        self.step(workspace);
    }

    /// Forgets where in a sequence it is.
    pub fn reset(&mut self) {
        backtracking_tm::reset(&mut self.view());
    }

    pub(super) fn step(&mut self, workspace: &mut Workspace) {
        self.reserve();
        let capacity = self.segments.counts.len();
        let params = self.params;
        let (mut scratch, columns) = workspace.for_temporal_memory(params.columns, capacity);
        backtracking_tm::step(&params, &mut self.view(), &mut scratch, columns);
    }

    /// The state as the kernels see it.
    pub fn view(&mut self) -> TmState<'_> {
        let Segments {
            presynaptic_cells,
            permanences,
            counts,
            connected_counts,
            cells,
            slots,
            learn_activity,
            positive_activations,
            total_activations,
            last_active_iterations,
            duty_cycles,
            duty_cycle_iterations,
        } = &mut self.segments;
        TmState {
            scalars: &mut self.scalars,
            infer_active: &mut self.infer_active,
            infer_predicted: &mut self.infer_predicted,
            learn_active: &mut self.learn_active,
            learn_predicted: &mut self.learn_predicted,
            learn_cells: &mut self.learn_cells,
            predicted_columns: &mut self.predicted_columns,
            infer_history: &mut self.infer_history,
            learn_history: &mut self.learn_history,
            queue_segments: &mut self.queue_segments,
            queue_picks: &mut self.queue_picks,
            column_blocks: &mut self.column_blocks,
            cell_segment_counts: &mut self.cell_segment_counts,
            posting_offsets: &mut self.posting_offsets,
            posting_counts: &mut self.posting_counts,
            posting_classes: &mut self.posting_classes,
            segments: SegmentArrays {
                presynaptic_cells,
                permanences,
                counts,
                connected_counts,
                cells,
                slots,
                learn_activity,
                positive_activations,
                total_activations,
                last_active_iterations,
                duty_cycles,
                duty_cycle_iterations,
            },
            postings: &mut self.postings,
        }
    }

    /// Bit set of the columns that the next step is expected to activate.
    pub fn predicted_columns(&self) -> &[u64] {
        &self.predicted_columns
    }

    /// Cells active in inference; one word of cells per column.
    pub fn infer_active(&self) -> &[u32] {
        &self.infer_active
    }

    /// Cells predicted in inference.
    pub fn infer_predicted(&self) -> &[u32] {
        &self.infer_predicted
    }

    /// Learning cells.
    pub fn learn_active(&self) -> &[u32] {
        &self.learn_active
    }

    /// Predicted learning cells.
    pub fn learn_predicted(&self) -> &[u32] {
        &self.learn_predicted
    }

    /// Single numbers.
    pub fn scalars(&self) -> &TmScalars {
        &self.scalars
    }

    /// Fixed numbers.
    pub fn params(&self) -> &BacktrackingTmParams {
        &self.params
    }

    /// Bytes of memory that are no section of a file.
    pub fn own_bytes(&self) -> usize {
        let cells = [&self.infer_active, &self.infer_predicted, &self.learn_active, &self.learn_predicted];
        cells.iter().map(|cells| cells.own_bytes()).sum::<usize>()
            + self.queue_segments.own_bytes()
            + self.queue_picks.own_bytes()
            + self.column_blocks.own_bytes()
            + self.cell_segment_counts.own_bytes()
            + self.posting_offsets.own_bytes()
            + self.posting_counts.own_bytes()
            + self.posting_classes.own_bytes()
            + self.segments.own_bytes()
            + self.postings.words.own_bytes()
    }

    fn reserve(&mut self) {
        let needed = self.scalars.segment_count as usize + max_new_segments(&self.params);
        if needed > self.segments.counts.len() {
            self.segments.grow(&self.params, needed + needed / GROWTH_PART);
        }
        let blocks = self.scalars.block_count as usize;
        if (blocks + 300).min(self.params.columns) * CELL_STRIDE > self.cell_segment_counts.len() {
            let cells = (blocks + 300 + blocks / GROWTH_PART).min(self.params.columns) * CELL_STRIDE;
            self.cell_segment_counts.grow(cells);
            self.posting_offsets.grow(cells);
            self.posting_counts.grow(cells);
            self.posting_classes.grow(cells);
        }
    }
}

impl Segments {
    pub(crate) fn grow(&mut self, params: &BacktrackingTmParams, capacity: usize) {
        let synapses = capacity * params.max_synapses_per_segment;
        self.presynaptic_cells.grow(synapses);
        self.permanences.grow(synapses);
        self.counts.grow(capacity);
        self.connected_counts.grow(capacity);
        self.cells.grow(capacity);
        self.slots.grow(capacity);
        self.learn_activity.grow(capacity);
        self.positive_activations.grow(capacity);
        self.total_activations.grow(capacity);
        self.last_active_iterations.grow(capacity);
        self.duty_cycles.grow(capacity);
        self.duty_cycle_iterations.grow(capacity);
    }

    fn own_bytes(&self) -> usize {
        self.presynaptic_cells.own_bytes() + self.permanences.own_bytes() + 27 * self.counts.own_bytes()
    }
}
