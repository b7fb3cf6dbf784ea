//! Learning: one learning cell per active column, and updates for the segments that predict.
//!
//! Source: `updateLearningState`, `learnPhase1`, `learnPhase2`, `getBestMatchingCellT`,
//! `getBestMatchingCellT1`, `computeUpdate`, `chooseCellsToLearnFrom` of `Cells4.cpp`.
//!
//! The synapses of a bursting column's segments on the previous learning cells are counted again, as the reference
//! does it: keeping the counts of the previous phase 2 would make them part of the state.

use super::duty_cycle::Decay;
use super::pattern::{indices, remember};
use super::scan::{After, scan};
use super::segment::{CellForNewSegment, cell_for_new_segment, create};
use super::segment_update::{SegmentUpdate, adapt, apply_queued};
use super::state::{BestMatch, Found, TmScratch, TmState};
use super::{BacktrackingTmParams, CELL_STRIDE, activity, learn_backtrack};
use crate::isa::Isa;
use crate::random::Random;
use crate::word;

/// The whole of learning for one step.
pub fn update(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    columns: &[u16],
) {
    shift(state, scratch);
    remember(state.learn_history, &mut state.scalars.learn_history_count, columns);
    apply_queued(params, state, scratch, columns);
    let is_reset = state.scalars.reset_called != 0;
    state.scalars.pam = state.scalars.pam.saturating_sub(1);
    state.scalars.sequence_length += 1;
    if !is_reset && choose_cells(params, state, scratch, columns) {
        state.scalars.pam = params.pam_length;
    }
    let is_over = state.scalars.pam == 0 || state.scalars.sequence_length >= params.max_sequence_length;
    if is_reset || is_over {
        average_sequence_length(params, state);
        let length = if is_reset { 0 } else { learn_backtrack::run(params, state, scratch) };
        if length == 0 {
            state.activate_start_cells(columns);
            state.scalars.learn_history_count = 0;
        }
        state.scalars.pam = params.pam_length;
        state.scalars.sequence_length = length;
        state.scalars.queue_count = 0;
    }
    predict(params, state, scratch, Mode::Learn);
}

/// Whether a phase may change anything but the learning cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Draw, grow, adapt.
    Learn,
    /// Only look.
    ReadOnly,
}

/// The learning cells and predictions of t become those of t - 1.
pub(super) fn shift(state: &TmState<'_>, scratch: &mut TmScratch<'_>) {
    scratch.learn_active_before[..state.learn_active.len()].copy_from_slice(state.learn_active);
    scratch.learn_predicted_before.copy_from_slice(state.learn_predicted);
    scratch.learn_cells_before.copy_from_slice(state.learn_cells);
    for (&cell, ordinal) in indices(state.learn_cells).iter().zip(0..) {
        scratch.learn_ordinals[usize::from(cell) / CELL_STRIDE] = ordinal;
    }
}

/// Phase 1, read only: a column is understood if it had a predicted learning cell; others stay inactive. True
/// if fewer than half were not understood.
pub(super) fn follow_cells(state: &mut TmState<'_>, scratch: &TmScratch<'_>, columns: &[u16]) -> bool {
    state.learn_active.fill(0);
    state.learn_cells[0] = 0;
    let mut unpredicted_count = 0;
    for &column in columns {
        match predicted_cell(scratch, column) {
            Some(cell) => state.activate_learning_cell(cell),
            None => unpredicted_count += 1,
        }
    }
    unpredicted_count < columns.len() / 2
}

/// Phase 1: the learning cell of each column is its predicted one, else that of its best matching segment, which
/// is adapted at once, else a cell that gets a new segment. True as in [`follow_cells`].
pub(super) fn choose_cells(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    columns: &[u16],
) -> bool {
    state.learn_active.fill(0);
    state.learn_cells[0] = 0;
    let mut unpredicted_count = 0;
    for &column in columns {
        if let Some(cell) = predicted_cell(scratch, column) {
            state.activate_learning_cell(cell);
            continue;
        }
        if unpredicted_count == 0 {
            let min_threshold = u8::try_from(params.min_threshold).expect("at most 64");
            let cells =
                Counted { cells: indices(scratch.learn_cells_before), set: scratch.learn_active_before };
            count_and_scan(state, cells, scratch.isa, scratch.activity, min_threshold, &mut scratch.found);
            find_best(state, scratch);
        }
        unpredicted_count += 1;
        match scratch.best.of(usize::from(column)) {
            Some(best) => reinforce_match(params, state, scratch, best),
            None => start_segment(params, state, scratch, usize::from(column)),
        }
    }
    unpredicted_count < columns.len() / 2
}

/// Phase 2: each column's best segment over the learning cells predicts its cell, and its update is queued.
pub(super) fn predict(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    mode: Mode,
) {
    let cell_count = indices(state.learn_cells).len();
    let threshold = u8::try_from(params.activation_threshold).expect("at most 64");
    let cells = Counted { cells: indices(state.learn_cells), set: state.learn_active };
    count_and_scan(state, cells, scratch.isa, scratch.activity, threshold, &mut scratch.found);
    find_best(state, scratch);
    state.learn_predicted.fill(0);
    for column in word::ones(scratch.best.columns) {
        let Some(BestMatch { segment, active_count }) = scratch.best.of(column) else { continue };
        let cell = usize::from(state.segments.infos[segment as usize].cell);
        state.learn_predicted[column] |= 1 << (cell % CELL_STRIDE);
        if mode == Mode::ReadOnly {
            continue;
        }
        let picks = draw_picks(params, &mut state.scalars.random, cell_count, active_count);
        let position = state.scalars.queue_count as usize;
        state.queue_segments[position] = segment;
        state.queue_picks[position] = picks;
        state.scalars.queue_count += 1;
        state.segments.activations[segment as usize].total_activations += 1;
    }
}

/// Draws which cells a segment grows synapses to: bits over the ordinals of those of the `cell_count` learning
/// cells that are not on it yet (`active_count` are), so many that it then has `new_synapse_count` on them.
pub(super) fn draw_picks(
    params: &BacktrackingTmParams,
    random: &mut Random,
    cell_count: usize,
    active_count: usize,
) -> u64 {
    let pool = cell_count - active_count;
    let wanted = params.new_synapse_count.saturating_sub(active_count);
    let as_u32 = |count: usize| u32::try_from(count).expect("at most 64");
    if wanted == 0 || pool == 0 {
        0
    } else if pool <= wanted {
        u64::MAX >> (64 - pool)
    } else if wanted == 1 {
        1 << random.below(as_u32(pool))
    } else {
        // Selection sampling as in `Random::sample`, without a branch on each draw, which would be guessed wrong.
        let (mut picks, mut missing) = (0, as_u32(wanted));
        for (ordinal, rest) in (1..=as_u32(pool)).rev().enumerate() {
            if missing == 0 {
                break;
            }
            let is_taken = random.below(rest) < missing;
            picks |= u64::from(is_taken) << ordinal;
            missing -= u32::from(is_taken);
        }
        picks
    }
}

/// Learning cells to count over: their columns are not always the current pattern.
#[derive(Clone, Copy)]
struct Counted<'a> {
    cells: &'a [u16],
    set: &'a [u32],
}

/// Finds the segments with at least `threshold` synapses on the learning cells.
fn count_and_scan(
    state: &TmState<'_>,
    counted: Counted<'_>,
    isa: Isa,
    counters: &mut [u8],
    threshold: u8,
    found: &mut Found<'_>,
) {
    let segment_count = state.scalars.segment_count as usize;
    let columns = counted.cells.iter().map(|&cell| usize::from(cell) / CELL_STRIDE);
    activity::count(&state.posting_lists(), counted.set, &columns, segment_count, counters);
    scan(isa, counters, segment_count, threshold, After::Clear, found);
}

/// Finds each column's best among the segments found.
fn find_best(state: &TmState<'_>, scratch: &mut TmScratch<'_>) {
    scratch.best.clear();
    for (segment, activity) in scratch.found.iter() {
        scratch.best.offer(&state.segments, segment, activity);
    }
}

fn predicted_cell(scratch: &TmScratch<'_>, column: u16) -> Option<usize> {
    let cells = scratch.learn_predicted_before[usize::from(column)];
    (cells != 0).then(|| usize::from(column) * CELL_STRIDE + cells.trailing_zeros() as usize)
}

fn reinforce_match(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &TmScratch<'_>,
    best: BestMatch,
) {
    let BestMatch { segment, active_count } = best;
    let cell = usize::from(state.segments.infos[segment as usize].cell);
    state.activate_learning_cell(cell);
    let cell_count = indices(scratch.learn_cells_before).len();
    let picks = draw_picks(params, &mut state.scalars.random, cell_count, active_count);
    state.segments.activations[segment as usize].total_activations += 1;
    let decay = Decay::at(state.scalars.iteration);
    adapt(params, state, scratch, decay, SegmentUpdate { segment, picks });
}

fn start_segment(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &TmScratch<'_>,
    column: usize,
) {
    let place = cell_for_new_segment(params, state, column);
    let cell = match place {
        CellForNewSegment::WithRoom(cell) => cell,
        CellForNewSegment::Evicted(segment) => usize::from(state.segments.infos[segment as usize].cell),
    };
    state.activate_learning_cell(cell);
    let sources = indices(scratch.learn_cells_before);
    let picks = draw_picks(params, &mut state.scalars.random, sources.len(), 0);
    if picks != 0 {
        create(params, state, place, sources, picks);
    }
}

/// Source: `_updateAvgLearnedSeqLength`; the length is taken before the unpredicted steps if they ended it.
fn average_sequence_length(params: &BacktrackingTmParams, state: &mut TmState<'_>) {
    let scalars = &mut *state.scalars;
    let ended_early = scalars.pam == 0;
    let length = if ended_early {
        scalars.sequence_length.wrapping_sub(params.pam_length)
    } else {
        scalars.sequence_length
    };
    let alpha: f32 = if scalars.iteration < 100 { 0.5 } else { 0.1 };
    #[expect(clippy::cast_precision_loss, reason = "the reference converts to f32")]
    let share = alpha * length as f32;
    let average = (1.0 - f64::from(alpha)) * f64::from(scalars.average_sequence_length) + f64::from(share);
    #[expect(clippy::cast_possible_truncation, reason = "the reference rounds this f64 to an f32")]
    let average = average as f32;
    scalars.average_sequence_length = average;
}
