//! The backtracking temporal memory (`cpp` in the reference): sequences of active columns are learned by
//! segments on cells, and every step predicts the columns of the next.
//!
//! One step over the active columns, in the reference's order:
//! 1. [`infer`]: activate the cells that the last step predicted (or burst), then predict. If the input does
//!    not fit, [`infer_backtrack`] looks for the oldest remembered pattern from which it does.
//! 2. [`learn`]: apply the segment updates queued by the last step, choose one learning cell per column, and
//!    queue updates for the segments that predict the next step. If the learned sequence broke off,
//!    [`learn_backtrack`] looks for a remembered pattern to start again from.
//!
//! Layout and invariants:
//! - A cell's index is `column * 32 + cell` whatever the number of cells per column, so that a cell set is one
//!   `u32` word per column. This keeps the order of cells, which is all the algorithm depends on.
//! - Segments are numbered densely in order of creation and never freed: an evicted one is at once overwritten.
//!   A segment's synapses are sorted by presynaptic cell.
//! - [`postings`] holds, for each presynaptic cell, the segments that have a synapse on it. Its order is never
//!   observable.
//! - A pattern of columns is a record of 64 `u16`: the count, then the columns ascending.
//! - A queued update names a segment and, as bits, which of the cells that could grow a synapse were drawn. The
//!   draws must happen when it is queued (they are part of the generator's sequence); which cells they mean is
//!   worked out only if it is applied.
//!
//! Source: `Cells4.cpp`, `Segment.cpp`, `Cell.cpp` of nupic.core, driven as `BacktrackingTMCPP` does. Left out
//! because the parameters here switch it off: pooling, global decay, maximum age, cell confidences, the boolean
//! output. Left out because it cannot happen: a column with two predicted learning cells, a segment that loses
//! its last synapse, a queued update that outlives the next step.

pub mod bank;
pub mod room;
pub mod state;

pub mod infer;
pub mod infer_backtrack;
pub mod learn;
pub mod learn_backtrack;
pub mod pattern;
pub mod postings;
pub mod segment;
pub mod segment_update;

pub mod activity;
pub mod adapt;
pub mod duty_cycle;
pub mod scan;
pub mod verify;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use self::postings::SIZE_CLASSES;
use self::state::{TmScratch, TmState};
use crate::random::Random;
use crate::{MAX_ACTIVE_COLUMNS, MAX_COLUMNS};

/// Cells of a column occupy one 32-bit word.
pub const CELL_STRIDE: usize = 32;

/// Most synapses on a segment.
pub const MAX_SYNAPSES_PER_SEGMENT: usize = 64;

/// Fixed numbers of a backtracking temporal memory. Names follow the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BacktrackingTmParams {
    /// Number of columns, at most [`MAX_COLUMNS`].
    pub columns: usize,
    /// Cells per column, 2..=32; cell 0 is the start cell and owns no segment.
    pub cells_per_column: usize,
    /// Active synapses from which a segment is active.
    pub activation_threshold: usize,
    /// Active synapses from which a segment matches when a column bursts; at most the activation threshold.
    pub min_threshold: usize,
    /// Synapses a segment should have on active cells after learning; at most `max_synapses_per_segment`.
    pub new_synapse_count: usize,
    /// Segments per cell, 1..=255; beyond it the least used one of the column is evicted.
    pub max_segments_per_cell: usize,
    /// Synapses per segment, at most [`MAX_SYNAPSES_PER_SEGMENT`].
    pub max_synapses_per_segment: usize,
    /// Permanence of a new synapse.
    pub initial_permanence: f32,
    /// Permanence from which a synapse is connected.
    pub connected_permanence: f32,
    /// Added to synapses on active cells.
    pub permanence_increment: f32,
    /// Taken from the others.
    pub permanence_decrement: f32,
    /// Upper bound of permanences.
    pub permanence_max: f32,
    /// Unpredicted steps after which the learning sequence is given up.
    pub pam_length: u32,
    /// Steps after which a learning sequence is started anew.
    pub max_sequence_length: u32,
    /// Patterns before the current one that inference may fall back to.
    pub max_infer_backtrack: usize,
    /// Patterns before the current one that learning may fall back to.
    pub max_learn_backtrack: usize,
    /// Seed of the learning draws.
    pub seed: u64,
}

impl BacktrackingTmParams {
    /// All cells of a column, as a word.
    pub fn column_mask(&self) -> u32 {
        u32::MAX >> (CELL_STRIDE - self.cells_per_column)
    }
}

/// The few single numbers of a temporal memory's state.
#[derive(Debug, Clone, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TmScalars {
    /// Learning steps so far.
    pub iteration: u32,
    /// Moving average of the number of active columns.
    pub density: f32,
    /// Unpredicted steps the learning sequence may still survive.
    pub pam: u32,
    /// Length of the current learning sequence.
    pub sequence_length: u32,
    /// Moving average of it; diagnostic only.
    pub average_sequence_length: f32,
    /// 1 between a reset and the next step.
    pub reset_called: u32,
    /// Segments in use; their ids are `0..segment_count`.
    pub segment_count: u32,
    /// Synapses in use.
    pub synapse_count: u32,
    /// Column blocks in use (see [`state::TmState::column_blocks`]).
    pub block_count: u32,
    /// Patterns in the inference history.
    pub infer_history_count: u32,
    /// Patterns in the learning history.
    pub learn_history_count: u32,
    /// Queued segment updates.
    pub queue_count: u32,
    /// Words of the postings arena handed out so far.
    pub posting_words_used: u32,
    /// First free block of each size class, [`postings::NO_BLOCK`] for none.
    pub posting_free_blocks: [u32; SIZE_CLASSES],
    /// 1 if [`state::TmState::kept_activity`] is counted over `infer_active`.
    pub has_kept_activity: u32,
    /// The learning draws.
    pub random: Random,
}

impl TmScalars {
    /// The numbers of a memory that has seen nothing.
    pub fn new(params: &BacktrackingTmParams) -> Self {
        Self {
            iteration: 0,
            density: 0.0,
            pam: params.pam_length,
            sequence_length: 0,
            average_sequence_length: 0.0,
            reset_called: 0,
            segment_count: 0,
            synapse_count: 0,
            block_count: 0,
            infer_history_count: 0,
            learn_history_count: 0,
            queue_count: 0,
            posting_words_used: 0,
            posting_free_blocks: [postings::NO_BLOCK; SIZE_CLASSES],
            has_kept_activity: 0,
            random: Random::new(params.seed),
        }
    }
}

/// Steps the memory over `columns`, learning.
///
/// Afterwards `state.predicted_columns` says which columns the next step is expected to activate, and, if
/// `scratch.wants_confidence`, `scratch.confidence` how strongly.
///
/// # Panics
/// If `columns` is empty, not ascending, has more than [`MAX_ACTIVE_COLUMNS`] or an unknown column, or if there
/// is less room for segments, blocks or counters than [`room`] asks for.
pub fn step(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    columns: &[u16],
    room: room::Room,
) {
    check_pattern(params, columns);
    room::assert_made(params, state, scratch, room);
    if !*scratch.is_activity_clear {
        scratch.activity.fill(0);
    }
    *scratch.is_activity_clear = false;
    if state.kept_activity.is_empty() {
        state.scalars.has_kept_activity = 0;
    }
    state.scalars.iteration += 1;
    duty_cycle::update_all_at_tier(state);
    #[expect(clippy::cast_precision_loss, reason = "at most 63 columns")]
    let count = columns.len() as f32;
    let density = state.scalars.density;
    // Exactly 0.0 means "no step yet"; the average of non-empty patterns never returns to it.
    state.scalars.density =
        if density.to_bits() == 0 { count } else { 0.99 * density + (1.0 - 0.99) * count };
    infer::update(params, state, scratch, columns);
    learn::update(params, state, scratch, columns);
    state.scalars.reset_called = 0;
    *scratch.is_activity_clear = true;
}

/// Forgets where in a sequence the memory is, not what it learned: the next step starts a new sequence.
pub fn reset(state: &mut TmState<'_>) {
    state.infer_active.fill(0);
    state.infer_predicted.fill(0);
    state.learn_active.fill(0);
    state.learn_predicted.fill(0);
    state.learn_cells[0] = 0;
    state.predicted_columns.fill(0);
    state.scalars.queue_count = 0;
    state.scalars.infer_history_count = 0;
    state.scalars.learn_history_count = 0;
    state.scalars.reset_called = 1;
    state.scalars.has_kept_activity = 0;
}

fn check_pattern(params: &BacktrackingTmParams, columns: &[u16]) {
    assert!(
        !columns.is_empty() && columns.len() <= MAX_ACTIVE_COLUMNS,
        "{} active columns, expected 1..={MAX_ACTIVE_COLUMNS}",
        columns.len()
    );
    assert!(columns.is_sorted_by(|a, b| a < b), "active columns must be ascending");
    let last = usize::from(columns[columns.len() - 1]);
    assert!(last < params.columns && params.columns <= MAX_COLUMNS, "column {last} of {}", params.columns);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::BacktrackingTmParams;

    /// The parameters of the single-metric anomaly model.
    pub(crate) fn standard_params() -> BacktrackingTmParams {
        BacktrackingTmParams {
            columns: 2048,
            cells_per_column: 32,
            activation_threshold: 13,
            min_threshold: 10,
            new_synapse_count: 20,
            max_segments_per_cell: 128,
            max_synapses_per_segment: 32,
            initial_permanence: 0.21,
            connected_permanence: 0.5,
            permanence_increment: 0.1,
            permanence_decrement: 0.1,
            permanence_max: 1.0,
            pam_length: 3,
            max_sequence_length: 32,
            max_infer_backtrack: 10,
            max_learn_backtrack: 5,
            seed: 1960,
        }
    }
}
