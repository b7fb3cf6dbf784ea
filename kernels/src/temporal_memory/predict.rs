//! Second half of a step: which segments the active cells make active or matching.
//!
//! Source: `activateDendrites` of `TemporalMemory.cpp`, `computeActivity` of `Connections.cpp`.

use super::TemporalMemoryParams;
use super::postings::slot_and_cell;
use super::state::{SegmentInfo, SegmentMatch, TemporalMemoryScratch, TemporalMemoryState, has};
use crate::word;

/// Finds the active and the matching segments, and from them the predicted columns.
pub(super) fn update(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
) {
    let slots = state.scalars.slot_count as usize;
    count(state, &mut scratch.counters[..slots]);
    state.predicted_columns.fill(0);
    let mut found = 0;
    let least = params.activation_threshold.min(params.min_threshold);
    for (segment, &counter) in (0u32..).zip(&scratch.counters[..slots]) {
        if usize::from(counter) < least {
            continue;
        }
        let is_active = usize::from(counter) >= params.activation_threshold
            && connected_count(params, state, segment) >= params.activation_threshold;
        let is_matching = usize::from(counter) >= params.min_threshold;
        if !is_active && !is_matching {
            continue;
        }
        let info = &mut state.segments[segment as usize];
        let entry = SegmentMatch {
            segment,
            cell: info.cell,
            potential_count: counter,
            is_active: is_active.into(),
            is_matching: is_matching.into(),
            zero: [0; 2],
        };
        if is_active {
            info.last_used_iteration = state.scalars.iteration;
            word::set(state.predicted_columns, entry.column());
        }
        state.matches[found] = entry;
        found += 1;
    }
    let segments = &*state.segments;
    state.matches[..found]
        .sort_unstable_by_key(|entry| (entry.cell, segments[entry.segment as usize].ordinal));
    state.scalars.match_count = u32::try_from(found).expect("no more than there are slots");
}

/// Counts the synapses of each slot on active cells.
///
/// # Panics
/// If there are fewer counters than slots.
pub fn count(state: &TemporalMemoryState<'_>, counters: &mut [u16]) {
    counters.fill(0);
    for (&cells, list) in state.active_cells.iter().zip(&*state.posting_lists) {
        if cells == 0 || list.count == 0 {
            continue;
        }
        for &posting in &state.postings[list.start as usize..][..list.count as usize] {
            let (slot, cell) = slot_and_cell(posting);
            let is_active = u16::from(cells >> cell & 1 == 1);
            counters[slot] = counters[slot].wrapping_add(is_active);
        }
    }
}

/// Connected synapses of a segment on active cells.
fn connected_count(params: &TemporalMemoryParams, state: &TemporalMemoryState<'_>, segment: u32) -> usize {
    let threshold = params.connected_threshold();
    let SegmentInfo { synapse_start, synapse_count, .. } = state.segments[segment as usize];
    let (start, count) = (synapse_start as usize, usize::from(synapse_count));
    let synapses = state.presynaptic_cells[start..][..count].iter().zip(&state.permanences[start..][..count]);
    synapses.filter(|&(&cell, &permanence)| permanence >= threshold && has(state.active_cells, cell)).count()
}
