//! Inference: which cells does the input activate, and what do they predict.
//!
//! Source: `updateInferenceState`, `inferPhase1`, `inferPhase2` of `Cells4.cpp`. Note the asymmetry kept from
//! there: a column's confidence (and so the raw anomaly score) counts every synapse of a segment, while a cell is
//! predicted only through connected ones.

use super::duty_cycle::Decay;
use super::scan::{After, scan};
use super::state::{TmScratch, TmState};
use super::verify::{self, Question};
use super::{BacktrackingTmParams, CELL_STRIDE, activity, infer_backtrack, pattern};
use crate::prefetch::prefetch;
use crate::word;

/// The whole of inference for one step.
pub fn update(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    columns: &[u16],
) {
    scratch.infer_predicted_before.copy_from_slice(state.infer_predicted);
    if !state.kept_activity.is_empty() {
        scratch.counted_cells[..state.infer_active.len()].copy_from_slice(state.infer_active);
    }
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
    count_active(state, scratch, columns);
    let segment_count = state.scalars.segment_count as usize;
    let threshold = u8::try_from(params.activation_threshold).expect("at most 64");
    if state.kept_activity.is_empty() {
        scan(scratch.isa, scratch.activity, segment_count, threshold, After::Clear, &mut scratch.found);
    } else {
        scan(scratch.isa, state.kept_activity, segment_count, threshold, After::Keep, &mut scratch.found);
    }
    mark_predicted(params, state, scratch);
    if scratch.wants_confidence {
        sum_confidence(state, scratch);
    }
    let predicted_count = state.infer_predicted.iter().map(|&cells| u32::from(cells != 0)).sum::<u32>();
    f64::from(predicted_count) >= 0.5 * f64::from(state.scalars.density)
}

/// Counts the synapses of each segment on active cells: into the scratch counters, or by bringing the kept ones up
/// to date.
fn count_active(state: &mut TmState<'_>, scratch: &mut TmScratch<'_>, columns: &[u16]) {
    let segment_count = state.scalars.segment_count as usize;
    let kept = std::mem::take(&mut state.kept_activity);
    let lists = state.posting_lists();
    if kept.is_empty() {
        let columns = columns.iter().map(|&column| usize::from(column));
        activity::count(&lists, state.infer_active, &columns, segment_count, scratch.activity);
    } else {
        let before = &scratch.counted_cells[..state.infer_active.len()];
        let before = (state.scalars.has_kept_activity != 0).then_some(before);
        activity::recount(&lists, before, state.infer_active, segment_count, kept);
        state.scalars.has_kept_activity = 1;
        scratch.counted_cells[..state.infer_active.len()].copy_from_slice(state.infer_active);
    }
    state.kept_activity = kept;
}

/// Segments whose memory is asked for before it is their turn. In an old memory thousands are found a step, most of
/// them in no near cache.
const LOOK_AHEAD: usize = 24;

/// Predicts the columns of the segments found, and the cells of those of them that are active. Their duty cycles are
/// asked for on the way.
///
/// Most need no look at their synapses: with fewer connected synapses than the threshold a segment cannot be active,
/// and if the active ones outnumber the unconnected ones by the threshold it must be.
fn mark_predicted(params: &BacktrackingTmParams, state: &mut TmState<'_>, scratch: &mut TmScratch<'_>) {
    state.infer_predicted.fill(0);
    state.predicted_columns.fill(0);
    let threshold = params.activation_threshold;
    let mut undecided_count = 0;
    let decay = Decay::at(state.scalars.iteration);
    let found = scratch.found.segments();
    for (position, (segment, active_count)) in scratch.found.iter().enumerate() {
        if let Some(&ahead) = found.get(position + LOOK_AHEAD) {
            prefetch(state.segments.infos, ahead as usize);
        }
        decay.update(&mut state.segments, segment as usize, false);
        let cell = usize::from(state.segments.infos[segment as usize].cell);
        let column = cell / CELL_STRIDE;
        word::set(state.predicted_columns, column);
        let info = &state.segments.infos[segment as usize];
        let (count, connected_count) = (usize::from(info.count), usize::from(info.connected_count));
        let may_be = connected_count >= threshold;
        let must_be = usize::from(active_count) + connected_count >= threshold + count;
        state.infer_predicted[column] |= (u32::from(may_be) & u32::from(must_be)) << (cell % CELL_STRIDE);
        // Appended without a branch, which would be guessed wrong.
        scratch.undecided[undecided_count] = segment;
        undecided_count += usize::from(may_be) & usize::from(!must_be);
    }
    let active = if let Ok(active) = (&*state.infer_active).try_into() {
        active
    } else {
        // A smaller region.
        scratch.counted_cells[..state.infer_active.len()].copy_from_slice(state.infer_active);
        &*scratch.counted_cells
    };
    // Many cells of an old memory have several segments, of which one is enough.
    let mut open_count = 0;
    for position in 0..undecided_count {
        let segment = scratch.undecided[position];
        let cell = usize::from(state.segments.infos[segment as usize].cell);
        scratch.undecided[open_count] = segment;
        let is_open = state.infer_predicted[cell / CELL_STRIDE] >> (cell % CELL_STRIDE) & 1 == 0;
        open_count += usize::from(is_open);
    }
    let question = Question {
        active,
        threshold: u32::try_from(threshold).expect("at most 64"),
        synapse_stride: params.synapse_stride(),
        connected_permanence: params.connected_permanence,
    };
    let undecided = &scratch.undecided[..open_count];
    verify::predict(scratch.isa, &question, &state.segments, undecided, state.infer_predicted);
}

/// Sums duty cycles per column in `f32`, segments by cell and slot as the reference does, and normalises.
fn sum_confidence(state: &TmState<'_>, scratch: &mut TmScratch<'_>) {
    scratch.confidence.fill(0.0);
    let order = &mut scratch.order[..scratch.found.count];
    for (key, &segment) in order.iter_mut().zip(scratch.found.segments()) {
        let cell = u64::from(state.segments.infos[segment as usize].cell);
        let slot = u64::from(state.segments.infos[segment as usize].slot);
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
            sum += state.segments.infos[segment].duty_cycle;
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
