//! Birth and eviction of segments.
//!
//! Source: `getCellForNewSegment` of `Cells4.cpp` and the new-segment branch of `adaptSegment`.

use super::duty_cycle::Decay;
use super::state::{SegmentActivations, SegmentInfo, TmState};
use super::{BacktrackingTmParams, CELL_STRIDE, duty_cycle, postings};
use crate::permanence::Permanences;
use crate::word::Ones;

/// Where a new segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellForNewSegment {
    /// A new slot of this cell.
    WithRoom(usize),
    /// In place of this segment, which has just been emptied.
    Evicted(u32),
}

/// Chooses at random among the cells of the column that have room for a segment (never the start cell). If
/// none has, the column's least used segment is evicted, without a draw.
pub(super) fn cell_for_new_segment(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    column: usize,
) -> CellForNewSegment {
    let first_cell = column * CELL_STRIDE;
    let entry = state.list_entry_or_new(0, first_cell);
    let mut with_room = 0u32;
    for cell in 1..params.cells_per_column {
        let has_room =
            usize::from(state.posting_lists[entry + cell].segment_count) < params.max_segments_per_cell;
        with_room |= u32::from(has_room) << cell;
    }
    if with_room == 0 {
        return CellForNewSegment::Evicted(evict_least_used(params, state, column));
    }
    let choice = state.scalars.random.below(with_room.count_ones()) as usize;
    let cell = Ones(u64::from(with_room)).nth(choice).expect("the choice is below the number of candidates");
    CellForNewSegment::WithRoom(first_cell + cell)
}

/// Makes a segment with a synapse to each of the picked cells of `sources`.
pub(super) fn create(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    place: CellForNewSegment,
    sources: &[u16],
    picks: u64,
) {
    let id = match place {
        CellForNewSegment::WithRoom(cell) => open_slot(state, cell),
        CellForNewSegment::Evicted(segment) => segment,
    };
    let segment = id as usize;
    let start = segment * params.synapse_stride();
    let mut count = 0;
    for ordinal in Ones(picks) {
        state.segments.presynaptic_cells[start + count] = sources[ordinal];
        count += 1;
        postings::add(state, usize::from(sources[ordinal]), id);
    }
    let segments = &mut state.segments;
    match &mut segments.permanences {
        Permanences::Codes { codes, table } => codes[start..start + count].fill(table.initial()),
        Permanences::Values(values) => values[start..start + count].fill(params.initial_permanence),
    }
    let iteration = state.scalars.iteration;
    let count = u8::try_from(count).expect("at most 64 synapses");
    let is_connected = params.initial_permanence >= params.connected_permanence;
    segments.infos[segment] = SegmentInfo {
        duty_cycle: duty_cycle::of_new(iteration),
        duty_cycle_iteration: iteration,
        count,
        connected_count: if is_connected { count } else { 0 },
        ..segments.infos[segment]
    };
    segments.activations[segment] = SegmentActivations {
        positive_activations: 1,
        total_activations: 1,
        last_active_iteration: iteration,
    };
    state.scalars.synapse_count += u32::from(count);
}

fn open_slot(state: &mut TmState<'_>, cell: usize) -> u32 {
    let id = state.scalars.segment_count;
    let entry = state.list_entry_or_new(0, cell);
    let slot = &mut state.posting_lists[entry].segment_count;
    let cell = u16::try_from(cell).expect("at most 65,536 cells");
    state.segments.infos[id as usize] = SegmentInfo { cell, slot: *slot, ..SegmentInfo::default() };
    *slot += 1;
    state.scalars.segment_count += 1;
    id
}

/// Empties the segment of the column with the lowest duty cycle, the lowest cell and slot among equals.
fn evict_least_used(params: &BacktrackingTmParams, state: &mut TmState<'_>, column: usize) -> u32 {
    let decay = Decay::at(state.scalars.iteration);
    let mut least: Option<(f32, u16, u8, u32)> = None;
    for id in 0..state.scalars.segment_count {
        let cell = state.segments.infos[id as usize].cell;
        if usize::from(cell) / CELL_STRIDE != column {
            continue;
        }
        let duty = decay.update(&mut state.segments, id as usize, false);
        let candidate = (duty, cell, state.segments.infos[id as usize].slot, id);
        if least.is_none_or(|least| candidate < least) {
            least = Some(candidate);
        }
    }
    let (_, _, _, id) = least.expect("a full column has segments");
    let start = id as usize * params.synapse_stride();
    let count = usize::from(state.segments.infos[id as usize].count);
    for synapse in start..start + count {
        let cell = usize::from(state.segments.presynaptic_cells[synapse]);
        postings::remove(state, cell, id);
    }
    state.segments.presynaptic_cells[start..start + count].fill(0);
    match &mut state.segments.permanences {
        Permanences::Codes { codes, .. } => codes[start..start + count].fill(0),
        Permanences::Values(values) => values[start..start + count].fill(0.0),
    }
    state.scalars.synapse_count -= u32::try_from(count).expect("at most 64 synapses");
    state.segments.infos[id as usize].count = 0;
    id
}
