//! Scratch memory for stepping models: one per thread, used for one model after the other. Nothing in it
//! survives a step, except what [`Workspace`] offers to look at right after one.

use htm_kernels::MAX_COLUMNS;
use htm_kernels::backtracking_tm::bank::{BANK_COUNTERS, banks_for};
use htm_kernels::backtracking_tm::pattern::{EMPTY, Pattern};
use htm_kernels::backtracking_tm::scan::SLACK;
use htm_kernels::backtracking_tm::state::{BestMatches, CellSet, Found, TmScratch};
use htm_kernels::isa::Isa;
use htm_kernels::spatial_pooler::MAX_PLANES;
use htm_kernels::spatial_pooler::learning::{Flip, max_flips};
use htm_kernels::word::words_for;

use super::plain_memory::PlainMemoryScratch;
use crate::params::ModelParams;
use crate::sdr::Sdr;

/// Buffers of one thread.
#[derive(Debug)]
pub struct Workspace {
    /// The encoded record.
    pub(crate) input: Sdr,
    /// Its active bits, ascending.
    pub(crate) active_inputs: Vec<u16>,
    /// The spatial pooler's winners, ascending.
    pub(crate) active_columns: Vec<u16>,
    pub(super) overlap_planes: Vec<u64>,
    pub(super) flips: Vec<Flip>,
    pub(crate) averages: Vec<f64>,
    /// Active cells of each active column, for a classifier.
    pub(crate) active_cells: Vec<u32>,
    /// A classifier's votes by bucket.
    pub(crate) votes: Vec<f32>,
    memory: TmBuffers,
    pub(super) plain_memory: PlainMemoryScratch,
    wants_confidence: bool,
    pub(super) isa: Isa,
}

#[derive(Debug)]
struct TmBuffers {
    infer_predicted_before: Vec<u32>,
    infer_active_backup: Vec<u32>,
    counted_cells: Box<CellSet>,
    learn_active_before: Box<CellSet>,
    learn_cells_before: Pattern,
    learn_ordinals: Box<[u8; MAX_COLUMNS]>,
    learn_predicted_before: Vec<u32>,
    activity: Vec<u8>,
    is_activity_clear: bool,
    found_segments: Vec<u32>,
    found_activity: Vec<u8>,
    undecided: Vec<u32>,
    best_columns: Vec<u64>,
    best_keys: Vec<u32>,
    best_segments: Vec<u32>,
    confidence: Vec<f32>,
    order: Vec<u64>,
}

impl Workspace {
    /// Buffers that fit themselves to whatever model they are used for.
    pub fn new() -> Self {
        let per_column = || vec![0u32; MAX_COLUMNS];
        Self {
            input: Sdr::new(0),
            active_inputs: Vec::new(),
            active_columns: Vec::new(),
            overlap_planes: Vec::new(),
            flips: Vec::new(),
            averages: Vec::new(),
            active_cells: Vec::new(),
            votes: Vec::new(),
            memory: TmBuffers {
                infer_predicted_before: per_column(),
                infer_active_backup: per_column(),
                counted_cells: Box::new([0; MAX_COLUMNS]),
                learn_active_before: Box::new([0; MAX_COLUMNS]),
                learn_cells_before: EMPTY,
                learn_ordinals: Box::new([0; MAX_COLUMNS]),
                learn_predicted_before: per_column(),
                activity: Vec::new(),
                is_activity_clear: true,
                found_segments: Vec::new(),
                found_activity: Vec::new(),
                undecided: Vec::new(),
                best_columns: vec![0; words_for(MAX_COLUMNS)],
                best_keys: per_column(),
                best_segments: per_column(),
                confidence: vec![0.0; MAX_COLUMNS],
                order: Vec::new(),
            },
            plain_memory: PlainMemoryScratch::default(),
            wants_confidence: false,
            isa: Isa::chosen(),
        }
    }

    /// Steps with this instruction set instead of the chosen one. Scores do not depend on it.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// The instruction set it steps with.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Also computes column confidences, which no score needs, for [`Self::confidence`].
    #[must_use]
    pub fn with_confidence(mut self) -> Self {
        self.wants_confidence = true;
        self
    }

    /// The active bits of the record stepped last.
    pub fn active_inputs(&self) -> &[u16] {
        &self.active_inputs
    }

    /// The active columns of the record stepped last.
    pub fn active_columns(&self) -> &[u16] {
        &self.active_columns
    }

    /// The column confidences after the record stepped last; zeros unless asked for.
    pub fn confidence(&self) -> &[f32] {
        &self.memory.confidence
    }

    pub(crate) fn fit(&mut self, params: &ModelParams) {
        if self.input.width() != params.encoder().width() {
            self.input = Sdr::new(params.encoder().width());
        }
        self.fit_spatial_pooler(params.spatial_pooler());
    }

    pub(crate) fn fit_spatial_pooler(&mut self, params: &htm_kernels::spatial_pooler::SpatialPoolerParams) {
        self.overlap_planes.resize(MAX_PLANES * params.row_words(), 0);
        if self.flips.len() < max_flips(params) {
            self.flips = super::zeroed(max_flips(params));
        }
        self.active_columns.resize(params.active_columns, 0);
    }

    pub(crate) fn list_active_inputs(&mut self) {
        self.active_inputs.clear();
        let as_u16 = |bit: usize| u16::try_from(bit).expect("encoders have at most 4095 bits");
        self.active_inputs.extend(self.input.active_bits().map(as_u16));
    }

    /// The temporal memory's scratch for `columns` columns and up to `segments` segments, and beside it the
    /// active columns.
    pub(super) fn for_temporal_memory(&mut self, columns: usize, segments: usize) -> (TmScratch<'_>, &[u16]) {
        let memory = &mut self.memory;
        let counters = banks_for(segments) * BANK_COUNTERS;
        if memory.activity.len() < counters {
            memory.activity = super::zeroed(counters);
            memory.is_activity_clear = true;
        }
        if memory.undecided.len() < segments + SLACK {
            memory.found_segments = super::zeroed(segments + SLACK);
            memory.found_activity = super::zeroed(segments + SLACK);
            memory.undecided = super::zeroed(segments + SLACK);
        }
        if self.wants_confidence && memory.order.len() < segments {
            memory.order = super::zeroed(segments);
        }
        let scratch = TmScratch {
            isa: self.isa,
            infer_predicted_before: &mut memory.infer_predicted_before[..columns],
            infer_active_backup: &mut memory.infer_active_backup[..columns],
            counted_cells: &mut memory.counted_cells,
            learn_active_before: &mut memory.learn_active_before,
            learn_cells_before: &mut memory.learn_cells_before,
            learn_ordinals: &mut memory.learn_ordinals,
            learn_predicted_before: &mut memory.learn_predicted_before[..columns],
            activity: &mut memory.activity,
            is_activity_clear: &mut memory.is_activity_clear,
            found: Found {
                segments: &mut memory.found_segments,
                activity: &mut memory.found_activity,
                count: 0,
            },
            undecided: &mut memory.undecided,
            best: BestMatches {
                columns: &mut memory.best_columns[..words_for(columns)],
                keys: &mut memory.best_keys[..columns],
                segments: &mut memory.best_segments[..columns],
            },
            confidence: &mut memory.confidence[..columns],
            wants_confidence: self.wants_confidence,
            order: &mut memory.order,
        };
        (scratch, &self.active_columns)
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}
