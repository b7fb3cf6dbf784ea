//! Inference: which cells does the input activate, and what do they predict.
//!
//! Source: `updateInferenceState`, `inferPhase1`, `inferPhase2` of `Cells4.cpp`. Note the asymmetry kept from
//! there: a column's confidence (and so the raw anomaly score) counts every synapse of a segment, while a cell is
//! predicted only through connected ones.

use super::postings::scan;
use super::state::{TmScratch, TmState};
use super::{BacktrackingTmParams, CELL_STRIDE, duty_cycle, infer_backtrack, pattern};
use crate::word;

/// The whole of inference for one step.
pub fn update(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    columns: &[u16],
) {
    scratch.infer_predicted_before.copy_from_slice(state.infer_predicted);
    pattern::remember(state.infer_history, &mut state.scalars.infer_history_count, columns);
    let is_reset = state.scalars.reset_called != 0;
    let is_understood =
        activate(params, state, scratch, columns, is_reset) && predict(params, state, scratch, columns);
    if !is_understood {
        infer_backtrack::run(params, state, scratch);
    }
}

/// Phase 1: activates the predicted cells of each column, all its cells if none was predicted, or just the
/// start cells. True if at least half of the columns were predicted.
pub(super) fn activate(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &TmScratch<'_>,
    columns: &[u16],
    on_start_cells: bool,
) -> bool {
    state.infer_active.fill(0);
    if on_start_cells {
        for &column in columns {
            state.infer_active[usize::from(column)] = 1;
        }
        return true;
    }
    let mut predicted_count = 0;
    for &column in columns {
        let predicted = scratch.infer_predicted_before[usize::from(column)];
        predicted_count += usize::from(predicted != 0);
        state.infer_active[usize::from(column)] =
            if predicted == 0 { params.column_mask() } else { predicted };
    }
    2 * predicted_count >= columns.len()
}

/// Phase 2: predicts from the active cells, all of which lie in `columns`. True if at least half as many
/// columns are predicted as are usually active.
pub(super) fn predict(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    columns: &[u16],
) -> bool {
    let segment_count = state.scalars.segment_count as usize;
    let activity = &mut scratch.infer_activity[..segment_count];
    let active_columns = columns.iter().map(|&column| usize::from(column));
    state.posting_lists().count_active(state.infer_active, active_columns, activity);
    let threshold = u8::try_from(params.activation_threshold).expect("at most 64");
    let found_count = scan(activity, threshold, scratch.found);
    state.infer_predicted.fill(0);
    state.predicted_columns.fill(0);
    let iteration = state.scalars.iteration;
    let mut predicted_count = 0u32;
    for &segment in &scratch.found[..found_count] {
        let segment = segment as usize;
        duty_cycle::update(&mut state.segments, segment, iteration, false);
        let cell = usize::from(state.segments.cells[segment]);
        let column = cell / CELL_STRIDE;
        word::set(state.predicted_columns, column);
        let cells = state.infer_predicted[column];
        let bit = 1 << (cell % CELL_STRIDE);
        if cells & bit == 0 && is_connected_active(params, state, segment) {
            predicted_count += u32::from(cells == 0);
            state.infer_predicted[column] = cells | bit;
        }
    }
    if scratch.wants_confidence {
        sum_confidence(state, scratch, found_count);
    }
    f64::from(predicted_count) >= 0.5 * f64::from(state.scalars.density)
}

/// Whether enough connected synapses of the segment are on active cells.
fn is_connected_active(params: &BacktrackingTmParams, state: &TmState<'_>, segment: usize) -> bool {
    if usize::from(state.segments.connected_counts[segment]) < params.activation_threshold {
        return false;
    }
    let start = segment * params.max_synapses_per_segment;
    let range = start..start + usize::from(state.segments.counts[segment]);
    let mut active_count = 0;
    for (&cell, &permanence) in
        state.segments.presynaptic_cells[range.clone()].iter().zip(&state.segments.permanences[range])
    {
        let is_active = state.infer_active[usize::from(cell) / CELL_STRIDE] >> (cell % 32) & 1 == 1;
        #[expect(
            clippy::needless_bitwise_bool,
            reason = "half the cells are active: a branch would be guessed wrong"
        )]
        let is_counted = is_active & (permanence >= params.connected_permanence);
        active_count += usize::from(is_counted);
    }
    active_count >= params.activation_threshold
}

/// Sums duty cycles per column in `f32`, segments by cell and slot as the reference does, and normalises.
fn sum_confidence(state: &TmState<'_>, scratch: &mut TmScratch<'_>, found_count: usize) {
    scratch.confidence.fill(0.0);
    let order = &mut scratch.order[..found_count];
    for (key, &segment) in order.iter_mut().zip(&scratch.found[..found_count]) {
        let cell = u64::from(state.segments.cells[segment as usize]);
        let slot = u64::from(state.segments.slots[segment as usize]);
        *key = cell << 40 | slot << 32 | u64::from(segment);
    }
    order.sort_unstable();
    let mut total = 0.0f32;
    let mut rest = &*order;
    while let Some(&first) = rest.first() {
        let column = usize::try_from(first >> 45).expect("at most 2048 columns");
        let end = rest.partition_point(|&key| key >> 45 == first >> 45);
        let (own, others) = rest.split_at(end);
        let mut sum = 0.0f32;
        for &key in own {
            let segment = usize::try_from(key & 0xFFFF_FFFF).expect("32 bits");
            sum += state.segments.duty_cycles[segment];
        }
        scratch.confidence[column] = sum;
        total += sum;
        rest = others;
    }
    if total > 0.0 {
        for confidence in &mut *scratch.confidence {
            *confidence /= total;
        }
    }
}
