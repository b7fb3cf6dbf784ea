//! Birth and eviction of segments.
//!
//! Source: `getCellForNewSegment` of `Cells4.cpp` and the new-segment branch of `adaptSegment`.

use super::state::TmState;
use super::{BacktrackingTmParams, CELL_STRIDE, duty_cycle, postings};
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
    let entry = state.cell_entry_or_new(first_cell);
    let mut with_room = 0u32;
    for cell in 1..params.cells_per_column {
        let has_room = usize::from(state.cell_segment_counts[entry + cell]) < params.max_segments_per_cell;
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
    let start = segment * params.max_synapses_per_segment;
    let mut count = 0;
    for ordinal in Ones(picks) {
        state.segments.presynaptic_cells[start + count] = sources[ordinal];
        state.segments.permanences[start + count] = params.initial_permanence;
        count += 1;
        postings::add(state, usize::from(sources[ordinal]), id);
    }
    let iteration = state.scalars.iteration;
    let segments = &mut state.segments;
    segments.counts[segment] = u8::try_from(count).expect("at most 64 synapses");
    let is_connected = params.initial_permanence >= params.connected_permanence;
    segments.connected_counts[segment] = if is_connected { segments.counts[segment] } else { 0 };
    segments.learn_activity[segment] = 0;
    segments.positive_activations[segment] = 1;
    segments.total_activations[segment] = 1;
    segments.last_active_iterations[segment] = iteration;
    segments.duty_cycles[segment] = duty_cycle::of_new(iteration);
    segments.duty_cycle_iterations[segment] = iteration;
    state.scalars.synapse_count += u32::from(segments.counts[segment]);
}

fn open_slot(state: &mut TmState<'_>, cell: usize) -> u32 {
    let id = state.scalars.segment_count;
    let entry = state.cell_entry_or_new(cell);
    state.segments.cells[id as usize] = u16::try_from(cell).expect("at most 65,536 cells");
    state.segments.slots[id as usize] = state.cell_segment_counts[entry];
    state.cell_segment_counts[entry] += 1;
    state.scalars.segment_count += 1;
    id
}

/// Empties the segment of the column with the lowest duty cycle, the lowest cell and slot among equals.
fn evict_least_used(params: &BacktrackingTmParams, state: &mut TmState<'_>, column: usize) -> u32 {
    let iteration = state.scalars.iteration;
    let mut least: Option<(f32, u16, u8, u32)> = None;
    for id in 0..state.scalars.segment_count {
        let cell = state.segments.cells[id as usize];
        if usize::from(cell) / CELL_STRIDE != column {
            continue;
        }
        let duty = duty_cycle::update(&mut state.segments, id as usize, iteration, false);
        let candidate = (duty, cell, state.segments.slots[id as usize], id);
        if least.is_none_or(|least| candidate < least) {
            least = Some(candidate);
        }
    }
    let (_, _, _, id) = least.expect("a full column has segments");
    let start = id as usize * params.max_synapses_per_segment;
    for synapse in 0..usize::from(state.segments.counts[id as usize]) {
        let cell = usize::from(state.segments.presynaptic_cells[start + synapse]);
        postings::remove(state, cell, id);
    }
    state.scalars.synapse_count -= u32::from(state.segments.counts[id as usize]);
    state.segments.counts[id as usize] = 0;
    id
}
