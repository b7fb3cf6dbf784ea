//! The memory of one plain temporal memory (`tm_cpp` in the reference), and its step.
//!
//! All that a checkpoint must keep is in [`TemporalMemoryScalars`] and the arrays that [`ARRAYS`] lists; they are
//! written by [`PlainMemory::each_array`] and read by [`PlainMemory::from_arrays`].

use htm_kernels::MAX_COLUMNS;
use htm_kernels::backtracking_tm::state::CellSet;
use htm_kernels::temporal_memory::state::{
    NO_SEGMENT, PostingList, SegmentInfo, SegmentMatch, TemporalMemoryScratch, TemporalMemoryState,
};
use htm_kernels::temporal_memory::{self, TemporalMemoryParams, TemporalMemoryScalars, room};
use htm_kernels::word::words_for;

use super::workspace::Workspace;
use crate::array::{Array, Element};
use crate::format::FormatError;
use crate::format::section::ElementKind;

/// Arrays grow by this part of what they hold: growing copies them, and room that is never used is never touched.
const GROWTH_PART: usize = 4;

/// Least headroom when an array of segments grows.
const HEADROOM_SEGMENTS: usize = 64;

/// Least headroom when an array of synapses or postings grows.
const HEADROOM_SYNAPSES: usize = 4096;

/// The arrays of a plain memory by name, and what their elements are, in the order of [`PlainMemory::each_array`]. The
/// fields of records are documented in `htm_kernels::temporal_memory::state`.
pub const ARRAYS: [(&str, ElementKind); 10] = [
    ("active_cells", ElementKind::Unsigned(4)),
    ("winner_cells", ElementKind::Unsigned(4)),
    ("predicted_columns", ElementKind::Unsigned(8)),
    ("matches", ElementKind::Record(12)),
    ("column_segments", ElementKind::Unsigned(4)),
    ("segments", ElementKind::Record(32)),
    ("presynaptic_cells", ElementKind::Unsigned(2)),
    ("permanences", ElementKind::Float(4)),
    ("posting_lists", ElementKind::Record(12)),
    ("postings", ElementKind::Unsigned(4)),
];

const _: () = assert!(size_of::<SegmentMatch>() == 12);
const _: () = assert!(size_of::<SegmentInfo>() == 32);
const _: () = assert!(size_of::<PostingList>() == 12);
/// The record of single numbers, which is no array.
const _: () = assert!(size_of::<TemporalMemoryScalars>() == 536);

/// Is shown a memory's arrays.
pub trait ArrayVisitor<'a> {
    /// The next array of [`ARRAYS`]: its elements in use, and how many more it should have room for in a file.
    fn visit<T: Element>(&mut self, name: &'static str, used: &'a [T], headroom: usize);
}

/// Has the arrays of a memory that was saved.
pub trait ArraySource {
    /// The next array of [`ARRAYS`], of which `used` elements must be in use.
    ///
    /// # Errors
    /// If another number is, or its elements have another size.
    fn take<T: Element>(&mut self, name: &'static str, used: usize) -> Result<Array<T>, FormatError>;
}

/// A plain temporal memory: flat arrays that grow, addressed by index only.
#[derive(Debug, Clone)]
pub struct PlainMemory {
    pub(crate) params: TemporalMemoryParams,
    pub(crate) scalars: TemporalMemoryScalars,
    pub(crate) active_cells: Array<u32>,
    pub(crate) winner_cells: Array<u32>,
    pub(crate) predicted_columns: Array<u64>,
    pub(crate) matches: Array<SegmentMatch>,
    pub(crate) column_segments: Array<u32>,
    pub(crate) segments: Array<SegmentInfo>,
    pub(crate) presynaptic_cells: Array<u16>,
    pub(crate) permanences: Array<f32>,
    pub(crate) posting_lists: Array<PostingList>,
    pub(crate) postings: Array<u32>,
}

/// Buffers of one thread for stepping plain memories. They fit themselves to whatever memory they are used for.
#[derive(Debug, Default)]
pub struct PlainMemoryScratch {
    cells: Option<Box<ScratchCells>>,
    winner_list: Vec<u16>,
    candidates: Vec<u16>,
    counters: Vec<u16>,
}

#[derive(Debug)]
struct ScratchCells {
    active_before: CellSet,
    winners_before: CellSet,
    presynaptic: CellSet,
}

impl PlainMemory {
    /// A memory that has seen nothing.
    ///
    /// # Panics
    /// If there is an objection to the parameters.
    pub fn new(params: TemporalMemoryParams) -> Self {
        assert_eq!(params.objection(), None, "{params:?}");
        Self {
            scalars: TemporalMemoryScalars::new(&params),
            active_cells: Array::zeroed(params.columns),
            winner_cells: Array::zeroed(params.columns),
            predicted_columns: Array::zeroed(words_for(params.columns)),
            matches: Array::empty(),
            column_segments: Array::filled(params.columns, NO_SEGMENT),
            segments: Array::empty(),
            presynaptic_cells: Array::empty(),
            permanences: Array::empty(),
            posting_lists: Array::filled(params.columns, PostingList::EMPTY),
            postings: Array::empty(),
            params,
        }
    }

    /// Steps over `columns` (ascending, possibly none), learning.
    ///
    /// # Panics
    /// As [`temporal_memory::step`].
    pub fn compute(&mut self, workspace: &mut Workspace, columns: &[u16]) {
        workspace.active_columns.clear();
        workspace.active_columns.extend_from_slice(columns);
        self.step(workspace);
    }

    /// Forgets where in a sequence it is.
    pub fn reset(&mut self) {
        temporal_memory::reset(&mut self.view());
    }

    pub(super) fn step(&mut self, workspace: &mut Workspace) {
        let Workspace { active_columns, plain_memory, .. } = workspace;
        let params = self.params;
        let room = self.make_room(active_columns);
        let mut scratch = plain_memory.fit(room.winners, self.segments.len());
        temporal_memory::step(&params, &mut self.view(), &mut scratch, active_columns, room);
    }

    /// The state as the kernels see it.
    pub fn view(&mut self) -> TemporalMemoryState<'_> {
        TemporalMemoryState {
            scalars: &mut self.scalars,
            active_cells: &mut self.active_cells,
            winner_cells: &mut self.winner_cells,
            predicted_columns: &mut self.predicted_columns,
            matches: &mut self.matches,
            column_segments: &mut self.column_segments,
            segments: &mut self.segments,
            presynaptic_cells: &mut self.presynaptic_cells,
            permanences: &mut self.permanences,
            posting_lists: &mut self.posting_lists,
            postings: &mut self.postings,
        }
    }

    /// Fixed numbers.
    pub fn params(&self) -> &TemporalMemoryParams {
        &self.params
    }

    /// Single numbers.
    pub fn scalars(&self) -> &TemporalMemoryScalars {
        &self.scalars
    }

    /// Bit set of the columns that the next step is expected to activate.
    pub fn predicted_columns(&self) -> &[u64] {
        &self.predicted_columns
    }

    /// Active cells; one word of 32 cells per column.
    pub fn active_cells(&self) -> &[u32] {
        &self.active_cells
    }

    /// Winner cells, likewise.
    pub fn winner_cells(&self) -> &[u32] {
        &self.winner_cells
    }

    /// Active and matching segments, by cell and age.
    pub fn matches(&self) -> &[SegmentMatch] {
        &self.matches[..self.scalars.match_count as usize]
    }

    /// Cells with an active segment, each once, ascending; a cell is column x 32 + cell.
    pub fn predictive_cells(&self) -> impl Iterator<Item = u16> + '_ {
        let mut cells = self.matches().iter().filter(|entry| entry.is_active != 0).map(|entry| entry.cell);
        let mut last = None;
        std::iter::from_fn(move || {
            last = cells.find(|&cell| last != Some(cell));
            last
        })
    }

    /// Bytes of memory that are no section of a file.
    pub fn own_bytes(&self) -> usize {
        self.active_cells.own_bytes()
            + self.winner_cells.own_bytes()
            + self.predicted_columns.own_bytes()
            + self.matches.own_bytes()
            + self.column_segments.own_bytes()
            + self.segments.own_bytes()
            + self.presynaptic_cells.own_bytes()
            + self.permanences.own_bytes()
            + self.posting_lists.own_bytes()
            + self.postings.own_bytes()
    }

    /// Shows `visitor` every array of [`ARRAYS`] in order.
    pub fn each_array<'a>(&'a self, visitor: &mut impl ArrayVisitor<'a>) {
        // A sixteenth more, and at least what a step of surprises creates; but a new memory must be small.
        let headroom = |used: usize, least: usize| if used == 0 { 0 } else { (used / 16).max(least) };
        let slots = self.scalars.slot_count as usize;
        let slot_room = headroom(slots, HEADROOM_SEGMENTS);
        let synapses = self.scalars.synapse_blocks.used as usize;
        let synapse_room = headroom(synapses, HEADROOM_SYNAPSES);
        let postings = self.scalars.posting_blocks.used as usize;
        let matches = self.scalars.match_count as usize;
        visitor.visit(ARRAYS[0].0, &self.active_cells[..], 0);
        visitor.visit(ARRAYS[1].0, &self.winner_cells[..], 0);
        visitor.visit(ARRAYS[2].0, &self.predicted_columns[..], 0);
        visitor.visit(ARRAYS[3].0, &self.matches[..matches], slots + slot_room - matches);
        visitor.visit(ARRAYS[4].0, &self.column_segments[..], 0);
        visitor.visit(ARRAYS[5].0, &self.segments[..slots], slot_room);
        visitor.visit(ARRAYS[6].0, &self.presynaptic_cells[..synapses], synapse_room);
        visitor.visit(ARRAYS[7].0, &self.permanences[..synapses], synapse_room);
        visitor.visit(ARRAYS[8].0, &self.posting_lists[..], 0);
        visitor.visit(ARRAYS[9].0, &self.postings[..postings], headroom(postings, HEADROOM_SYNAPSES));
    }

    /// Puts a saved memory together again.
    ///
    /// The arrays' shapes are checked, not what is in them: `format::verify` does that, and without it the kernels stay
    /// sound, but may panic.
    ///
    /// # Errors
    /// If an array has another length than the numbers say, or an element of another size.
    ///
    /// # Panics
    /// If there is an objection to the parameters.
    pub fn from_arrays(
        params: TemporalMemoryParams,
        scalars: TemporalMemoryScalars,
        source: &mut impl ArraySource,
    ) -> Result<Self, FormatError> {
        assert_eq!(params.objection(), None, "{params:?}");
        let (columns, slots) = (params.columns, scalars.slot_count as usize);
        let synapses = scalars.synapse_blocks.used as usize;
        Ok(Self {
            active_cells: source.take(ARRAYS[0].0, columns)?,
            winner_cells: source.take(ARRAYS[1].0, columns)?,
            predicted_columns: source.take(ARRAYS[2].0, words_for(columns))?,
            matches: source.take(ARRAYS[3].0, scalars.match_count as usize)?,
            column_segments: source.take(ARRAYS[4].0, columns)?,
            segments: source.take(ARRAYS[5].0, slots)?,
            presynaptic_cells: source.take(ARRAYS[6].0, synapses)?,
            permanences: source.take(ARRAYS[7].0, synapses)?,
            posting_lists: source.take(ARRAYS[8].0, columns)?,
            postings: source.take(ARRAYS[9].0, scalars.posting_blocks.used as usize)?,
            params,
            scalars,
        })
    }

    /// Makes room for what a step over `columns` may create.
    fn make_room(&mut self, columns: &[u16]) -> room::Room {
        let params = self.params;
        let room = room::for_step(&params, &self.view(), columns);
        let grown = |used: u32, more: usize, headroom: usize| {
            let needed = used as usize + more;
            (needed, needed + needed / GROWTH_PART + headroom)
        };
        let (needed, roomy) = grown(self.scalars.slot_count, room.slots, HEADROOM_SEGMENTS);
        if needed > self.segments.len().min(self.matches.len()) {
            self.segments.grow(roomy);
            self.matches.grow(roomy);
        }
        let (needed, roomy) = grown(self.scalars.synapse_blocks.used, room.synapses, HEADROOM_SYNAPSES);
        if needed > self.presynaptic_cells.len().min(self.permanences.len()) {
            self.presynaptic_cells.grow(roomy);
            self.permanences.grow(roomy);
        }
        let (needed, roomy) = grown(self.scalars.posting_blocks.used, room.postings, HEADROOM_SYNAPSES);
        if needed > self.postings.len() {
            self.postings.grow(roomy);
        }
        room
    }
}

impl PlainMemoryScratch {
    /// Scratch for a step after `winners` winner cells, with up to `slots` segments.
    fn fit(&mut self, winners: usize, slots: usize) -> TemporalMemoryScratch<'_> {
        for list in [&mut self.winner_list, &mut self.candidates] {
            if list.len() < winners {
                list.resize(winners, 0);
            }
        }
        if self.counters.len() < slots {
            self.counters = super::zeroed(slots);
        }
        let cells = self.cells.get_or_insert_with(|| {
            let none = [0; MAX_COLUMNS];
            Box::new(ScratchCells { active_before: none, winners_before: none, presynaptic: none })
        });
        TemporalMemoryScratch {
            active_before: &mut cells.active_before,
            winners_before: &mut cells.winners_before,
            winner_list: &mut self.winner_list,
            candidates: &mut self.candidates,
            presynaptic: &mut cells.presynaptic,
            counters: &mut self.counters,
            winner_count: 0,
        }
    }
}
