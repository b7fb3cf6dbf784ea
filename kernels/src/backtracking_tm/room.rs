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
    let patterns = if may_restart { patterns_to_come(params, state) } else { &[] };
    let unpredicted =
        columns.iter().filter(|&&column| state.learn_predicted[usize::from(column)] == 0).count();
    let mut segments = unpredicted;
    if may_restart {
        segments += columns.len();
        segments +=
            patterns.chunks_exact(PATTERN_STRIDE).skip(1).map(|record| indices(record).len()).sum::<usize>();
    }
    let banks = bank::banks_for(state.scalars.segment_count as usize + segments);
    let mut blocks = 0;
    for bank in 0..banks {
        let mut missing = MissingBlocks::of_bank(params, state, bank);
        for &cell in indices(state.learn_cells) {
            missing.note(usize::from(cell) / CELL_STRIDE);
        }
        for record in patterns.chunks_exact(PATTERN_STRIDE) {
            missing.note_all(indices(record));
        }
        if bank == 0 {
            missing.note_all(columns);
        }
        blocks += missing.count;
    }
    Room { segments, blocks, banks }
}

/// The remembered patterns that learning may run over once it has remembered the current one, too: the oldest is
/// forgotten if there are too many.
fn patterns_to_come<'a>(params: &BacktrackingTmParams, state: &'a TmState<'_>) -> &'a [u16] {
    let remembered = state.scalars.learn_history_count as usize;
    let first = usize::from(remembered > params.max_learn_backtrack);
    &state.learn_history[first * PATTERN_STRIDE..remembered.max(first) * PATTERN_STRIDE]
}

/// The columns that lack a block in one bank, each counted once.
struct MissingBlocks<'a> {
    /// Of the bank; those beyond its end are missing.
    blocks: &'a [u16],
    columns: [u64; words_for(MAX_COLUMNS)],
    count: usize,
}

impl<'a> MissingBlocks<'a> {
    fn of_bank(params: &BacktrackingTmParams, state: &'a TmState<'_>, bank: usize) -> Self {
        let blocks = state.column_blocks.get(bank * params.columns..).unwrap_or(&[]);
        Self { blocks, columns: [0; words_for(MAX_COLUMNS)], count: 0 }
    }

    fn note(&mut self, column: usize) {
        let is_missing = self.blocks.get(column).is_none_or(|&block| block == NO_COLUMN_BLOCK);
        if is_missing && !word::get(&self.columns, column) {
            word::set(&mut self.columns, column);
            self.count += 1;
        }
    }

    fn note_all(&mut self, columns: &[u16]) {
        for &column in columns {
            self.note(usize::from(column));
        }
    }
}

/// Panics, with numbers, if the owner did not make this room.
pub(super) fn assert_made(
    params: &BacktrackingTmParams,
    state: &TmState<'_>,
    scratch: &TmScratch<'_>,
    room: Room,
) {
    let used = state.scalars.segment_count as usize;
    let needed = used + room.segments;
    let segments = &state.segments;
    let capacity = segments.infos.len().min(segments.activations.len());
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
