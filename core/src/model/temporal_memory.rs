//! The memory of one backtracking temporal memory, and its step.

use htm_kernels::backtracking_tm::pattern::{EMPTY, Pattern};
use htm_kernels::backtracking_tm::postings::PostingArena;
use htm_kernels::backtracking_tm::state::{NO_COLUMN_BLOCK, SegmentArrays, TmState};
use htm_kernels::backtracking_tm::{self, BacktrackingTmParams, CELL_STRIDE, TmScalars, max_new_segments};
use htm_kernels::word::words_for;

use super::workspace::Workspace;
use super::{grown, zeroed};

/// Arrays grow by this part of what they hold: growing copies them, and room that is never used is never touched.
const GROWTH_PART: usize = 4;

/// A temporal memory: flat arrays that grow, addressed by index only.
#[derive(Debug, Clone)]
pub struct TemporalMemory {
    params: BacktrackingTmParams,
    pub(crate) scalars: TmScalars,
    pub(crate) infer_active: Vec<u32>,
    pub(crate) infer_predicted: Vec<u32>,
    pub(crate) learn_active: Vec<u32>,
    pub(crate) learn_predicted: Vec<u32>,
    pub(crate) learn_cells: Pattern,
    pub(crate) predicted_columns: Vec<u64>,
    pub(crate) infer_history: Vec<u16>,
    pub(crate) learn_history: Vec<u16>,
    pub(crate) queue_segments: Vec<u32>,
    pub(crate) queue_picks: Vec<u64>,
    pub(crate) column_blocks: Vec<u16>,
    pub(crate) cell_segment_counts: Vec<u8>,
    pub(crate) posting_offsets: Vec<u32>,
    pub(crate) posting_counts: Vec<u32>,
    pub(crate) posting_classes: Vec<u8>,
    pub(crate) segments: Segments,
    pub(crate) postings: Postings,
}

/// The segment arrays; all have the same number of segments' room.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments {
    pub(crate) presynaptic_cells: Vec<u16>,
    pub(crate) permanences: Vec<f32>,
    pub(crate) counts: Vec<u8>,
    pub(crate) connected_counts: Vec<u8>,
    pub(crate) cells: Vec<u16>,
    pub(crate) slots: Vec<u8>,
    pub(crate) learn_activity: Vec<u8>,
    pub(crate) positive_activations: Vec<u32>,
    pub(crate) total_activations: Vec<u32>,
    pub(crate) last_active_iterations: Vec<u32>,
    pub(crate) duty_cycles: Vec<f32>,
    pub(crate) duty_cycle_iterations: Vec<u32>,
}

/// The posting lists' memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Postings {
    pub(crate) words: Vec<u32>,
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
        self.words = grown(&self.words, len + len / GROWTH_PART + HEADROOM_WORDS);
    }
}

impl TemporalMemory {
    /// A memory that has seen nothing.
    pub fn new(params: BacktrackingTmParams) -> Self {
        // Blocks are handed out densely, so the room of columns that never get one is never touched.
        let cells = params.columns * CELL_STRIDE;
        Self {
            scalars: TmScalars::new(&params),
            infer_active: zeroed(params.columns),
            infer_predicted: zeroed(params.columns),
            learn_active: zeroed(params.columns),
            learn_predicted: zeroed(params.columns),
            learn_cells: EMPTY,
            predicted_columns: zeroed(words_for(params.columns)),
            infer_history: zeroed(params.infer_history_len()),
            learn_history: zeroed(params.learn_history_len()),
            queue_segments: zeroed(params.columns),
            queue_picks: zeroed(params.columns),
            column_blocks: vec![NO_COLUMN_BLOCK; params.columns],
            cell_segment_counts: zeroed(cells),
            posting_offsets: zeroed(cells),
            posting_counts: zeroed(cells),
            posting_classes: zeroed(cells),
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
        self.reserve_segments();
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

    /// Bytes of memory held; of the room for column blocks only what is used.
    pub fn memory_bytes(&self) -> usize {
        const CELL_BYTES: usize = 2 * size_of::<u8>() + 2 * size_of::<u32>();
        let columns = self.params.columns;
        let per_segment = self.params.max_synapses_per_segment * 6 + 27;
        columns * (4 * size_of::<u32>() + size_of::<u32>() + size_of::<u64>() + size_of::<u16>())
            + self.scalars.block_count as usize * CELL_STRIDE * CELL_BYTES
            + self.segments.counts.len() * per_segment
            + self.postings.words.len() * size_of::<u32>()
    }

    fn reserve_segments(&mut self) {
        let needed = self.scalars.segment_count as usize + max_new_segments(&self.params);
        if needed > self.segments.counts.len() {
            self.segments.grow(&self.params, needed + needed / GROWTH_PART);
        }
    }
}

impl Segments {
    pub(crate) fn grow(&mut self, params: &BacktrackingTmParams, capacity: usize) {
        let synapses = capacity * params.max_synapses_per_segment;
        self.presynaptic_cells = grown(&self.presynaptic_cells, synapses);
        self.permanences = grown(&self.permanences, synapses);
        self.counts = grown(&self.counts, capacity);
        self.connected_counts = grown(&self.connected_counts, capacity);
        self.cells = grown(&self.cells, capacity);
        self.slots = grown(&self.slots, capacity);
        self.learn_activity = grown(&self.learn_activity, capacity);
        self.positive_activations = grown(&self.positive_activations, capacity);
        self.total_activations = grown(&self.total_activations, capacity);
        self.last_active_iterations = grown(&self.last_active_iterations, capacity);
        self.duty_cycles = grown(&self.duty_cycles, capacity);
        self.duty_cycle_iterations = grown(&self.duty_cycle_iterations, capacity);
    }
}
