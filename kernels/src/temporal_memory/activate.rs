//! First half of a step: which cells the active columns activate, and what their segments learn.
//!
//! Columns are visited in ascending order, the active ones and those with a segment that was active or matching; the
//! learning draws depend on it.
//!
//! Source: `activateCells` of `TemporalMemory.cpp`.

use std::ops::Range;

use super::TemporalMemoryParams;
use super::segment::{adapt, create, grow};
use super::state::{NO_SEGMENT, SegmentMatch, TemporalMemoryScratch, TemporalMemoryState};
use crate::backtracking_tm::CELL_STRIDE;
use crate::word::{self, Ones};

/// Activates cells in `columns` and lets segments learn.
pub(super) fn update(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    columns: &[u16],
) {
    remember(state, scratch);
    let end = state.scalars.match_count as usize;
    let mut next = 0;
    for &column in columns {
        let column = usize::from(column);
        let own = run(&state.matches[..end], next, column);
        punish(params, state, scratch, next..own.start);
        next = own.end;
        match Learners::of(&state.matches[own.clone()]) {
            Some(learners) => activate_known(params, state, scratch, own, learners),
            None => burst_anew(params, state, scratch, column),
        }
    }
    punish(params, state, scratch, next..end);
}

/// The entries of `column` among those from `first` on.
fn run(matches: &[SegmentMatch], first: usize, column: usize) -> Range<usize> {
    let start = first + matches[first..].partition_point(|entry| entry.column() < column);
    let len = matches[start..].iter().take_while(|entry| entry.column() == column).count();
    start..start + len
}

/// Moves the cells of the last step into scratch.
fn remember(state: &mut TemporalMemoryState<'_>, scratch: &mut TemporalMemoryScratch<'_>) {
    scratch.active_before.fill(0);
    scratch.winners_before.fill(0);
    scratch.presynaptic.fill(0);
    scratch.active_before[..state.active_cells.len()].copy_from_slice(state.active_cells);
    scratch.winners_before[..state.winner_cells.len()].copy_from_slice(state.winner_cells);
    scratch.winner_count = 0;
    for (column, &cells) in state.winner_cells.iter().enumerate() {
        for cell in Ones(cells.into()) {
            let cell = u16::try_from(column * CELL_STRIDE + cell).expect("at most 65,536 cells");
            scratch.winner_list[scratch.winner_count] = cell;
            scratch.winner_count += 1;
        }
    }
    state.active_cells.fill(0);
    state.winner_cells.fill(0);
}

/// Which of the active and matching segments of an active column learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learners {
    /// The active ones: the column was predicted.
    Active,
    /// The one at this index: no other matches better.
    Best(usize),
}

impl Learners {
    /// Of the segments of one column; `None` if there are none.
    pub(super) fn of(own: &[SegmentMatch]) -> Option<Self> {
        if own.iter().any(|entry| entry.is_active != 0) {
            return Some(Self::Active);
        }
        // The first of those with the most.
        let most = own.iter().map(|entry| entry.potential_count).max()?;
        own.iter().position(|entry| entry.potential_count == most).map(Self::Best)
    }

    /// Whether the segment at `index` is one of them.
    pub(super) fn has(self, index: usize, entry: SegmentMatch) -> bool {
        match self {
            Self::Active => entry.is_active != 0,
            Self::Best(best) => index == best,
        }
    }
}

/// Activates a column with active or matching segments: the cells of the active ones, without any all cells. The owners
/// of the segments that learn are winners.
fn activate_known(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    own: Range<usize>,
    learners: Learners,
) {
    let column = state.matches[own.start].column();
    for (index, place) in own.enumerate() {
        let entry = state.matches[place];
        if learners.has(index, entry) {
            state.winner_cells[column] |= 1 << (entry.cell % 32);
            reinforce(params, state, scratch, entry);
        }
    }
    state.active_cells[column] = match learners {
        Learners::Active => state.winner_cells[column],
        Learners::Best(_) => params.column_mask(),
    };
}

/// Activates all cells of a column without active or matching segments. The least used one is the winner and gets a
/// segment.
fn burst_anew(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    column: usize,
) {
    let winner = least_used_cell(params, state, column);
    let wanted = params.new_synapse_count.min(scratch.winner_count);
    if wanted > 0 {
        let cell = u16::try_from(column * CELL_STRIDE + winner).expect("at most 65,536 cells");
        let segment = create(params, state, cell);
        grow(params, state, scratch, segment, wanted);
    }
    state.active_cells[column] = params.column_mask();
    state.winner_cells[column] = 1 << winner;
}

/// Strengthens what predicted rightly, and adds synapses on winner cells.
fn reinforce(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    entry: SegmentMatch,
) {
    let (increment, decrement) = (params.permanence_increment, params.permanence_decrement);
    let is_alive = adapt(state, scratch.active_before, entry.segment, increment, decrement);
    let wanted = params.new_synapse_count.saturating_sub(entry.potential_count.into());
    if is_alive && wanted > 0 {
        grow(params, state, scratch, entry.segment, wanted);
    }
}

/// Weakens what predicted wrongly.
fn punish(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    range: Range<usize>,
) {
    if params.predicted_segment_decrement <= 0.0 {
        return;
    }
    for index in range {
        let entry = state.matches[index];
        if entry.is_matching != 0 {
            let increment = -params.predicted_segment_decrement;
            adapt(state, scratch.active_before, entry.segment, increment, 0.0);
        }
    }
}

/// Draws among the column's cells with the fewest segments, even if it is only one.
fn least_used_cell(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    column: usize,
) -> usize {
    let mut counts = [0u32; CELL_STRIDE];
    let mut segment = state.column_segments[column];
    let mut steps = 0;
    while segment != NO_SEGMENT {
        let info = &state.segments[segment as usize];
        counts[usize::from(info.cell) % CELL_STRIDE] += 1;
        segment = info.next_in_chain;
        steps += 1;
        assert!(steps <= state.scalars.segment_count, "the segments of column {column} form a ring");
    }
    let counts = &counts[..params.cells_per_column];
    let fewest = counts.iter().min().copied().unwrap_or(0);
    let candidates = counts.iter().rev().fold(0u32, |set, &count| set << 1 | u32::from(count == fewest));
    let choice = state.scalars.random.below(candidates.count_ones()) as usize;
    word::Ones(candidates.into()).nth(choice).expect("the choice is below the number of candidates")
}
