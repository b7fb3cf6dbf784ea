//! Learning: one learning cell per active column, and updates for the segments that predict.
//!
//! Source: `updateLearningState`, `learnPhase1`, `learnPhase2`, `getBestMatchingCellT`,
//! `getBestMatchingCellT1`, `computeUpdate`, `chooseCellsToLearnFrom` of `Cells4.cpp`.
//!
//! Departure: the reference recounts the synapses of a bursting column's segments on the previous learning cells;
//! here that count is still there from the previous phase 2. It is the same: a segment changed since then belongs
//! to a column that had a predicted learning cell, and such a column does not burst.

use super::pattern::{indices, remember};
use super::postings::{PostingLists, scan};
use super::segment::{CellForNewSegment, cell_for_new_segment, create};
use super::segment_update::{SegmentUpdate, adapt, apply_queued};
use super::state::{TmScratch, TmState};
use super::{BacktrackingTmParams, CELL_STRIDE, learn_backtrack};
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
    scratch.learn_active_before.copy_from_slice(state.learn_active);
    scratch.learn_predicted_before.copy_from_slice(state.learn_predicted);
    scratch.learn_cells_before.copy_from_slice(state.learn_cells);
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
            find_best(state, scratch, min_threshold);
        }
        unpredicted_count += 1;
        match scratch.best.of(usize::from(column)) {
            Some(segment) => reinforce_match(params, state, scratch, segment),
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
    count_learn_activity(state);
    find_best(state, scratch, u8::try_from(params.activation_threshold).expect("at most 64"));
    state.learn_predicted.fill(0);
    for column in word::ones(scratch.best.columns) {
        let segment = scratch.best.segments[column];
        let cell = usize::from(state.segments.cells[segment as usize]);
        state.learn_predicted[column] |= 1 << (cell % CELL_STRIDE);
        if mode == Mode::ReadOnly {
            continue;
        }
        let active_count = usize::from(state.segments.learn_activity[segment as usize]);
        let picks = draw_picks(params, &mut state.scalars.random, cell_count, active_count);
        let position = state.scalars.queue_count as usize;
        state.queue_segments[position] = segment;
        state.queue_picks[position] = picks;
        state.scalars.queue_count += 1;
        state.segments.total_activations[segment as usize] += 1;
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
        let mut picks = 0;
        random.sample(as_u32(pool), as_u32(wanted), |ordinal| picks |= 1 << ordinal);
        picks
    }
}

/// Counts each segment's synapses on the learning cells. Their columns are not always the current pattern, so they are
/// taken from the cells.
fn count_learn_activity(state: &mut TmState<'_>) {
    let segment_count = state.scalars.segment_count as usize;
    let lists = PostingLists {
        column_blocks: state.column_blocks,
        offsets: state.posting_offsets,
        counts: state.posting_counts,
        words: state.postings.words(),
    };
    let columns = indices(state.learn_cells).iter().map(|&cell| usize::from(cell) / CELL_STRIDE);
    lists.count_active(state.learn_active, columns, &mut state.segments.learn_activity[..segment_count]);
}

/// Finds each column's best segment by its count of learning cells.
fn find_best(state: &TmState<'_>, scratch: &mut TmScratch<'_>, threshold: u8) {
    let activity = &state.segments.learn_activity[..state.scalars.segment_count as usize];
    let found_count = scan(activity, threshold, scratch.found);
    scratch.best.clear();
    for &segment in &scratch.found[..found_count] {
        scratch.best.offer(&state.segments, segment, activity[segment as usize]);
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
    segment: u32,
) {
    let cell = usize::from(state.segments.cells[segment as usize]);
    state.activate_learning_cell(cell);
    let active_count = usize::from(state.segments.learn_activity[segment as usize]);
    let cell_count = indices(scratch.learn_cells_before).len();
    let picks = draw_picks(params, &mut state.scalars.random, cell_count, active_count);
    state.segments.total_activations[segment as usize] += 1;
    adapt(params, state, scratch, SegmentUpdate { segment, picks });
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
        CellForNewSegment::Evicted(segment) => usize::from(state.segments.cells[segment as usize]),
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
