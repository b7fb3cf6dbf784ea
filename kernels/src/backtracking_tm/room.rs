//! How much room a step may need, so that the owner of the memory can make it beforehand. Making room may mean to copy
//! a mapped section, so the answers are tight: an aged memory that understands its input needs none.
//!
//! What a step creates, and where:
//! - A segment in each active column without a predicted learning cell. If the learning sequence may be given up in
//!   this step, also one in each column of the remembered patterns after the first, which learning may run over.
//! - A block of posting lists for each column that lacks one in a bank: in the first bank for columns that get a
//!   segment, in every bank for columns of cells that get a synapse, which are learning cells of the last pattern
//!   or, when learning runs over remembered patterns, of those.

use super::pattern::{PATTERN_STRIDE, indices};
use super::state::{NO_COLUMN_BLOCK, TmScratch, TmState};
use super::{BacktrackingTmParams, CELL_STRIDE, bank, scan};
use crate::MAX_COLUMNS;
use crate::word::{self, words_for};

/// What a step may need beyond what the memory has in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// New segments.
    pub segments: usize,
    /// New blocks of posting lists.
    pub blocks: usize,
    /// Banks in all, those in use included.
    pub banks: usize,
}

/// What a step over `columns` may need. Banks for which there are no `column_blocks` yet count as empty.
///
/// # Panics
/// If a column, or one of the state's patterns, is out of range.
pub fn for_step(params: &BacktrackingTmParams, state: &TmState<'_>, columns: &[u16]) -> Room {
    if state.scalars.reset_called != 0 {
        // Only start cells are activated, and nothing is queued.
        return Room { banks: bank::banks_for(state.scalars.segment_count as usize), ..Room::default() };
    }
    let may_restart =
        state.scalars.pam <= 1 || state.scalars.sequence_length + 1 >= params.max_sequence_length;
    // The current pattern will be remembered, too, and the oldest forgotten if there are too many.
    let remembered = state.scalars.learn_history_count as usize;
    let first = remembered.min(usize::from(remembered > params.max_learn_backtrack));
    let patterns = state.learn_history.chunks_exact(PATTERN_STRIDE).take(remembered).skip(first).map(indices);
    let patterns = patterns.take(if may_restart { usize::MAX } else { 0 });
    let unpredicted = columns.iter().filter(|&&column| state.learn_predicted[usize::from(column)] == 0);
    let again = if may_restart { columns } else { &[] };
    let owners = unpredicted.chain(again).chain(patterns.clone().skip(1).flatten()).copied();
    let stride = u16::try_from(CELL_STRIDE).expect("32");
    let learning = indices(state.learn_cells).iter().map(|cell| cell / stride);
    let sources = learning.chain(patterns.flatten().copied());

    let segments = owners.clone().count();
    let banks = bank::banks_for(state.scalars.segment_count as usize + segments);
    let mut blocks = missing_blocks(params, state, 0, sources.clone().chain(owners));
    for bank in 1..banks {
        blocks += missing_blocks(params, state, bank, sources.clone());
    }
    Room { segments, blocks, banks }
}

/// How many of `columns` lack a block in a bank; they may come more than once.
fn missing_blocks(
    params: &BacktrackingTmParams,
    state: &TmState<'_>,
    bank: usize,
    columns: impl Iterator<Item = u16>,
) -> usize {
    let mut missing = [0u64; words_for(MAX_COLUMNS)];
    for column in columns.map(usize::from) {
        let block = state.column_blocks.get(bank * params.columns + column);
        if block.is_none_or(|&block| block == NO_COLUMN_BLOCK) {
            word::set(&mut missing, column);
        }
    }
    missing.iter().map(|word| word.count_ones() as usize).sum()
}

/// Panics, with numbers, if the owner did not make room.
pub(super) fn assert_for_step(
    params: &BacktrackingTmParams,
    state: &TmState<'_>,
    scratch: &TmScratch<'_>,
    columns: &[u16],
) {
    let room = for_step(params, state, columns);
    let used = state.scalars.segment_count as usize;
    let needed = used + room.segments;
    let segments = &state.segments;
    let arrays = [segments.infos.len(), segments.cells.len(), segments.duty_cycles.len()];
    let capacity = arrays.into_iter().fold(segments.duty_cycle_iterations.len(), usize::min);
    let synapses = segments.presynaptic_cells.len().min(segments.permanences.capacity());
    assert!(
        capacity >= needed && synapses >= needed * params.synapse_stride(),
        "{capacity} segments, not {needed}"
    );
    let blocks = state.scalars.block_count as usize + room.blocks;
    assert!(state.posting_lists.len() >= blocks * CELL_STRIDE, "{} lists", state.posting_lists.len());
    assert!(
        state.column_blocks.len() >= room.banks * params.columns,
        "{} column blocks",
        state.column_blocks.len()
    );
    let counters = room.banks * bank::BANK_COUNTERS;
    let kept = state.kept_activity.len();
    assert!(scratch.activity.len() >= counters && (kept == 0 || kept >= counters), "{kept} kept counters");
    let found = scratch.found.segments.len().min(scratch.found.activity.len()).min(scratch.undecided.len());
    assert!(found >= needed + scan::SLACK, "room for {found} found segments");
}
