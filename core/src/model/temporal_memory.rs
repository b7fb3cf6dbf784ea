//! The memory of one backtracking temporal memory, and its step.

use std::sync::Arc;

use htm_kernels::backtracking_tm::bank::BANK_COUNTERS;
use htm_kernels::backtracking_tm::pattern::PATTERN_STRIDE;
use htm_kernels::backtracking_tm::postings::{PostingArena, PostingList};
use htm_kernels::backtracking_tm::state::{
    NO_COLUMN_BLOCK, SegmentActivations, SegmentArrays, SegmentInfo, TmState,
};
use htm_kernels::backtracking_tm::{self, BacktrackingTmParams, CELL_STRIDE, TmScalars, room};
use htm_kernels::permanence::{PermanenceCodes, Permanences};
use htm_kernels::word::words_for;

use super::workspace::Workspace;
use crate::array::Array;

/// Arrays grow by this part of what they hold: growing copies them, and room that is never used is never touched.
const GROWTH_PART: usize = 4;

/// Segments from which the counts of active synapses are kept from step to step.
const KEPT_ACTIVITY_FROM: u32 = 49_152;

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
    pub(crate) posting_lists: Array<PostingList>,
    pub(crate) segments: Segments,
    pub(crate) kept_activity: Array<u8>,
    pub(crate) postings: Postings,
}

/// The segment arrays; all have the same number of segments' room.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    pub(crate) presynaptic_cells: Array<u16>,
    pub(crate) permanences: StoredPermanences,
    pub(crate) infos: Array<SegmentInfo>,
    pub(crate) activations: Array<SegmentActivations>,
}

/// Permanences in the form that the parameters allow.
#[derive(Debug, Clone)]
pub(crate) enum StoredPermanences {
    Codes(Array<u8>, Arc<PermanenceCodes>),
    Values(Array<f32>),
}

impl StoredPermanences {
    fn grow(&mut self, len: usize) {
        match self {
            Self::Codes(codes, _) => codes.grow(len),
            Self::Values(values) => values.grow(len),
        }
    }

    fn own_bytes(&self) -> usize {
        match self {
            Self::Codes(codes, _) => codes.own_bytes(),
            Self::Values(values) => values.own_bytes(),
        }
    }

    fn view(&mut self) -> Permanences<'_> {
        match self {
            Self::Codes(codes, table) => Permanences::Codes { codes, table },
            Self::Values(values) => Permanences::Values(values),
        }
    }
}

/// The posting lists' memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Postings {
    pub(crate) words: Array<u16>,
}

impl PostingArena for Postings {
    fn words(&self) -> &[u16] {
        &self.words
    }

    fn words_mut(&mut self) -> &mut [u16] {
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
        Self::with_codes(params, PermanenceCodes::of(&params).map(Arc::new))
    }

    /// A memory that has seen nothing and keeps permanences as they are even where codes would do.
    pub fn without_codes(params: BacktrackingTmParams) -> Self {
        Self::with_codes(params, None)
    }

    /// A memory that has seen nothing and keeps permanences as these codes, or as they are.
    pub fn with_codes(params: BacktrackingTmParams, codes: Option<Arc<PermanenceCodes>>) -> Self {
        let permanences = match codes {
            Some(table) => StoredPermanences::Codes(Array::empty(), table),
            None => StoredPermanences::Values(Array::empty()),
        };
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
            posting_lists: Array::empty(),
            segments: Segments {
                presynaptic_cells: Array::empty(),
                permanences,
                infos: Array::empty(),
                activations: Array::empty(),
            },
            kept_activity: Array::empty(),
            postings: Postings::default(),
            params,
        }
    }

    /// Keeps the counts of active synapses from step to step, whatever the memory's size.
    #[must_use]
    pub fn with_kept_activity(mut self) -> Self {
        self.kept_activity = Array::zeroed(BANK_COUNTERS);
        self
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
        let room = self.make_room(&workspace.active_columns);
        let capacity = self.segments.infos.len();
        let params = self.params;
        let (mut scratch, columns) = workspace.for_temporal_memory(params.columns, capacity);
        backtracking_tm::step(&params, &mut self.view(), &mut scratch, columns, room);
    }

    /// The state as the kernels see it.
    pub fn view(&mut self) -> TmState<'_> {
        let Segments { presynaptic_cells, permanences, infos, activations } = &mut self.segments;
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
            posting_lists: &mut self.posting_lists,
            segments: SegmentArrays {
                presynaptic_cells,
                permanences: permanences.view(),
                infos,
                activations,
            },
            kept_activity: &mut self.kept_activity,
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
        let patterns = [&self.learn_cells, &self.infer_history, &self.learn_history];
        cells.iter().map(|cells| cells.own_bytes()).sum::<usize>()
            + patterns.iter().map(|patterns| patterns.own_bytes()).sum::<usize>()
            + self.predicted_columns.own_bytes()
            + self.queue_segments.own_bytes()
            + self.queue_picks.own_bytes()
            + self.column_blocks.own_bytes()
            + self.posting_lists.own_bytes()
            + self.segments.own_bytes()
            + self.kept_activity.own_bytes()
            + self.postings.words.own_bytes()
    }

    /// Makes room for what a step over `columns` may create.
    fn make_room(&mut self, columns: &[u16]) -> room::Room {
        const HEADROOM_SEGMENTS: usize = 64;
        const HEADROOM_BLOCKS: usize = 64;
        let params = self.params;
        let room = room::for_step(&params, &self.view(), columns);
        let segments = self.scalars.segment_count as usize + room.segments;
        if segments > self.segments.infos.len() {
            self.segments.grow(&params, segments + segments / GROWTH_PART + HEADROOM_SEGMENTS);
        }
        let lists = (self.scalars.block_count as usize + room.blocks) * CELL_STRIDE;
        if lists > self.posting_lists.len() {
            self.posting_lists.grow(lists + lists / GROWTH_PART + HEADROOM_BLOCKS * CELL_STRIDE);
        }
        let known = self.column_blocks.len();
        self.column_blocks.grow(room.banks * params.columns);
        self.column_blocks[known..].fill(NO_COLUMN_BLOCK);
        if self.scalars.segment_count >= KEPT_ACTIVITY_FROM || !self.kept_activity.is_empty() {
            self.kept_activity.grow(room.banks * BANK_COUNTERS);
        }
        room
    }
}

impl Segments {
    fn grow(&mut self, params: &BacktrackingTmParams, capacity: usize) {
        let synapses = capacity * params.synapse_stride();
        self.presynaptic_cells.grow(synapses);
        self.permanences.grow(synapses);
        self.infos.grow(capacity);
        self.activations.grow(capacity);
    }

    fn own_bytes(&self) -> usize {
        self.presynaptic_cells.own_bytes()
            + self.permanences.own_bytes()
            + self.infos.own_bytes()
            + self.activations.own_bytes()
    }
}
