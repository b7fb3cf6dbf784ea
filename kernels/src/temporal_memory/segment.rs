//! What happens to one segment: it is made, adapts, grows, or is destroyed.
//!
//! Source: `createSegment`, `adaptSegment`, `growSynapses`, `destroyMinPermanenceSynapses` of `TemporalMemory.cpp`,
//! `destroySegment` and `destroySynapse` of `Connections.cpp`. Permanences are `f32`, and every operation rounds.

use super::blocks::{NO_CLASS, block_len, smallest_class};
use super::state::{NO_SEGMENT, SegmentInfo, TemporalMemoryScratch, TemporalMemoryState, has};
use super::{PERMANENCE_EPSILON, TemporalMemoryParams, postings};
use crate::backtracking_tm::CELL_STRIDE;
use crate::backtracking_tm::state::CellSet;

/// A free slot that is the last of its chain.
const FREE: SegmentInfo = SegmentInfo {
    ordinal: 0,
    last_used_iteration: 0,
    synapse_start: 0,
    next_in_chain: NO_SEGMENT,
    cell: 0,
    synapse_count: 0,
    synapse_class: NO_CLASS,
    is_used: 0,
    zero: [0; 2],
};

/// Makes a segment without synapses on `cell`; if the cell is full, its least recently used one is destroyed.
pub(super) fn create(params: &TemporalMemoryParams, state: &mut TemporalMemoryState<'_>, cell: u16) -> u32 {
    while let Some(least) = least_recently_used_if_full(params, state, cell) {
        destroy(state, least);
    }
    let scalars = &mut *state.scalars;
    let segment = if scalars.free_slot == NO_SEGMENT {
        scalars.slot_count += 1;
        scalars.slot_count - 1
    } else {
        let segment = scalars.free_slot;
        scalars.free_slot = state.segments[segment as usize].next_in_chain;
        segment
    };
    let first = &mut state.column_segments[usize::from(cell) / CELL_STRIDE];
    state.segments[segment as usize] = SegmentInfo {
        ordinal: scalars.next_ordinal,
        last_used_iteration: scalars.iteration,
        next_in_chain: *first,
        cell,
        is_used: 1,
        ..FREE
    };
    *first = segment;
    scalars.next_ordinal += 1;
    scalars.segment_count += 1;
    segment
}

/// Of a cell that has as many segments as it may, the one that was not active for longest; of equals the oldest.
fn least_recently_used_if_full(
    params: &TemporalMemoryParams,
    state: &TemporalMemoryState<'_>,
    cell: u16,
) -> Option<u32> {
    let (mut count, mut steps, mut least) = (0, 0, None);
    let mut segment = state.column_segments[usize::from(cell) / CELL_STRIDE];
    while segment != NO_SEGMENT {
        let info = &state.segments[segment as usize];
        if info.cell == cell {
            count += 1;
            let key = (info.last_used_iteration, info.ordinal);
            if least.is_none_or(|(least, _)| key < least) {
                least = Some((key, segment));
            }
        }
        segment = info.next_in_chain;
        steps += 1;
        assert!(steps <= state.scalars.segment_count, "the segments around cell {cell} form a ring");
    }
    least.filter(|_| count >= params.max_segments_per_cell).map(|(_, segment)| segment)
}

/// Destroys a segment with its synapses.
fn destroy(state: &mut TemporalMemoryState<'_>, segment: u32) {
    let info = state.segments[segment as usize];
    let start = info.synapse_start as usize;
    for synapse in start..start + usize::from(info.synapse_count) {
        postings::remove(state, state.presynaptic_cells[synapse], segment);
    }
    state.scalars.synapse_count -= u32::from(info.synapse_count);
    if info.synapse_class != NO_CLASS {
        let blocks = &mut state.scalars.synapse_blocks;
        blocks.give(&mut *state.presynaptic_cells, info.synapse_class, info.synapse_start);
    }
    unchain(state, segment, info);
    let free = &mut state.scalars.free_slot;
    state.segments[segment as usize] = SegmentInfo { next_in_chain: *free, ..FREE };
    *free = segment;
    state.scalars.segment_count -= 1;
}

/// Takes a segment out of its column's chain.
fn unchain(state: &mut TemporalMemoryState<'_>, segment: u32, info: SegmentInfo) {
    let column = usize::from(info.cell) / CELL_STRIDE;
    if state.column_segments[column] == segment {
        state.column_segments[column] = info.next_in_chain;
        return;
    }
    let mut before = state.column_segments[column];
    for _ in 0..state.scalars.segment_count {
        let next = state.segments[before as usize].next_in_chain;
        if next == segment {
            state.segments[before as usize].next_in_chain = info.next_in_chain;
            return;
        }
        before = next;
    }
    panic!("segment {segment} is not among those of its column {column}");
}

/// Moves the permanences of synapses on cells of `active` by `increment`, the others by -`decrement`. Synapses that
/// reach 0 are destroyed, and the segment with its last one. Whether it is still there.
pub(super) fn adapt(
    state: &mut TemporalMemoryState<'_>,
    active: &CellSet,
    segment: u32,
    increment: f32,
    decrement: f32,
) -> bool {
    let SegmentInfo { synapse_start, synapse_count, .. } = state.segments[segment as usize];
    let (start, count) = (synapse_start as usize, usize::from(synapse_count));
    let cells = &state.presynaptic_cells[start..][..count];
    let mut is_any_gone = false;
    // Without branches: nobody can foresee which cells were active. `p + -d` is `p - d`.
    for (permanence, &cell) in state.permanences[start..][..count].iter_mut().zip(cells) {
        let change = if has(active, cell) { increment } else { -decrement };
        *permanence = (*permanence + change).clamp(0.0, 1.0);
        is_any_gone |= *permanence < PERMANENCE_EPSILON;
    }
    let kept = if is_any_gone { drop_gone(state, segment, start, count) } else { count };
    if kept == 0 {
        destroy(state, segment);
    }
    kept > 0
}

/// Destroys the synapses whose permanence has reached 0; the others move up in order. How many are left.
fn drop_gone(state: &mut TemporalMemoryState<'_>, segment: u32, start: usize, count: usize) -> usize {
    let mut kept = 0;
    for synapse in start..start + count {
        let (cell, permanence) = (state.presynaptic_cells[synapse], state.permanences[synapse]);
        if permanence < PERMANENCE_EPSILON {
            postings::remove(state, cell, segment);
        } else {
            state.presynaptic_cells[start + kept] = cell;
            state.permanences[start + kept] = permanence;
            kept += 1;
        }
    }
    set_synapse_count(state, segment, kept);
    kept
}

/// Adds up to `wanted` synapses on winner cells of the last step that the segment has none on, drawn at random. If they
/// are too many for a segment, its weakest synapses on other cells are destroyed first.
pub(super) fn grow(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    segment: u32,
    wanted: usize,
) {
    let mut candidate_count = list_candidates(state, scratch, segment);
    let wanted = wanted.min(candidate_count);
    let count = usize::from(state.segments[segment as usize].synapse_count);
    let surplus = (count + wanted).saturating_sub(params.max_synapses_per_segment);
    for _ in 0..surplus {
        if !destroy_weakest(state, scratch.winners_before, segment) {
            break;
        }
    }
    let count = usize::from(state.segments[segment as usize].synapse_count);
    let grown = wanted.min(params.max_synapses_per_segment.saturating_sub(count));
    let start = make_block(state, segment, count + grown);
    for synapse in start + count..start + count + grown {
        let limit = u32::try_from(candidate_count).expect("at most 65,536 cells");
        let choice = state.scalars.random.below(limit) as usize;
        let cell = scratch.candidates[choice];
        scratch.candidates.copy_within(choice + 1..candidate_count, choice);
        candidate_count -= 1;
        state.presynaptic_cells[synapse] = cell;
        state.permanences[synapse] = params.initial_permanence;
        postings::add(state, cell, segment);
    }
    set_synapse_count(state, segment, count + grown);
}

/// The winner cells of the last step that the segment has no synapse on, ascending; how many they are.
fn list_candidates(
    state: &TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    segment: u32,
) -> usize {
    let SegmentInfo { synapse_start, synapse_count, .. } = state.segments[segment as usize];
    let cells = &state.presynaptic_cells[synapse_start as usize..][..usize::from(synapse_count)];
    for &cell in cells {
        scratch.presynaptic[usize::from(cell) / CELL_STRIDE] |= 1 << (cell % 32);
    }
    let mut count = 0;
    for &cell in &scratch.winner_list[..scratch.winner_count] {
        if !has(&*scratch.presynaptic, cell) {
            scratch.candidates[count] = cell;
            count += 1;
        }
    }
    for &cell in cells {
        scratch.presynaptic[usize::from(cell) / CELL_STRIDE] = 0;
    }
    count
}

/// Destroys the first of the weakest synapses on cells that are not in `winners`; whether there was one. Weaker is what
/// is so by more than [`PERMANENCE_EPSILON`].
fn destroy_weakest(state: &mut TemporalMemoryState<'_>, winners: &CellSet, segment: u32) -> bool {
    let SegmentInfo { synapse_start, synapse_count, .. } = state.segments[segment as usize];
    let (start, count) = (synapse_start as usize, usize::from(synapse_count));
    let mut weakest = None;
    let mut least = f32::MAX;
    for synapse in start..start + count {
        let permanence = state.permanences[synapse];
        if !has(winners, state.presynaptic_cells[synapse]) && permanence < least - PERMANENCE_EPSILON {
            (weakest, least) = (Some(synapse), permanence);
        }
    }
    let Some(synapse) = weakest else { return false };
    postings::remove(state, state.presynaptic_cells[synapse], segment);
    state.presynaptic_cells.copy_within(synapse + 1..start + count, synapse);
    state.permanences.copy_within(synapse + 1..start + count, synapse);
    set_synapse_count(state, segment, count - 1);
    true
}

/// Gives the segment a block for `count` synapses if its own is too small; where its synapses begin.
fn make_block(state: &mut TemporalMemoryState<'_>, segment: u32, count: usize) -> usize {
    let info = &mut state.segments[segment as usize];
    if count > block_len(info.synapse_class) {
        let class = smallest_class(count);
        let blocks = &mut state.scalars.synapse_blocks;
        let start = blocks.take(&*state.presynaptic_cells, class);
        if info.synapse_class != NO_CLASS {
            let old = info.synapse_start as usize;
            let used = old..old + usize::from(info.synapse_count);
            state.presynaptic_cells.copy_within(used.clone(), start as usize);
            state.permanences.copy_within(used, start as usize);
            blocks.give(&mut *state.presynaptic_cells, info.synapse_class, info.synapse_start);
        }
        (info.synapse_start, info.synapse_class) = (start, class);
    }
    info.synapse_start as usize
}

fn set_synapse_count(state: &mut TemporalMemoryState<'_>, segment: u32, count: usize) {
    let info = &mut state.segments[segment as usize];
    let count = u16::try_from(count).expect("at most 1024 synapses");
    let total = &mut state.scalars.synapse_count;
    *total = *total - u32::from(info.synapse_count) + u32::from(count);
    info.synapse_count = count;
}
