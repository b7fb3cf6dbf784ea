//! How much room a step may need, so that the owner of the memory can make it beforehand. Making room may mean to copy
//! a mapped section, so a memory that understands its input should need little: only the segments that will grow
//! synapses count.
//!
//! What a step creates, and where:
//! - A segment in each active column without a matching or active segment.
//! - Synapses on segments that grow: those, and the segments that predicted rightly and lack some. Each may move to a
//!   larger block once.
//! - As many postings in the columns of the last winner cells. A list may move through several sizes.
//!
//! Blocks that are free now or become so in the step are not counted on.

use super::TemporalMemoryParams;
use super::activate::Learners;
use super::blocks::{NO_CLASS, block_len, smallest_class};
use super::state::{TemporalMemoryScratch, TemporalMemoryState};

/// What a step may need beyond what the memory has in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// New slots.
    pub slots: usize,
    /// Elements for new blocks of synapses.
    pub synapses: usize,
    /// Elements for new blocks of postings.
    pub postings: usize,
    /// Winner cells of the last step, for scratch.
    pub winners: usize,
}

/// What a step over `columns` (ascending) may need.
///
/// # Panics
/// If one of the state's matches names no segment, or a segment has more synapses than any block holds.
pub fn for_step(params: &TemporalMemoryParams, state: &TemporalMemoryState<'_>, columns: &[u16]) -> Room {
    let winners: usize = state.winner_cells.iter().map(|cells| cells.count_ones() as usize).sum();
    let mut room = Room { winners, ..Room::default() };
    let new_synapses = params.new_synapse_count.min(winners).min(params.max_synapses_per_segment);
    if new_synapses == 0 {
        return room;
    }
    let mut growing = 0;
    let mut rest = &state.matches[..state.scalars.match_count as usize];
    for &column in columns {
        let column = usize::from(column);
        rest = &rest[rest.partition_point(|entry| entry.column() < column)..];
        let own;
        (own, rest) = rest.split_at(rest.partition_point(|entry| entry.column() == column));
        let Some(learners) = Learners::of(own) else {
            room.slots += 1;
            room.synapses += block_len(smallest_class(new_synapses));
            growing += 1;
            continue;
        };
        for (_, entry) in own.iter().enumerate().filter(|&(index, &entry)| learners.has(index, entry)) {
            let wanted = params.new_synapse_count.saturating_sub(entry.potential_count.into()).min(winners);
            if wanted > 0 {
                let info = &state.segments[entry.segment as usize];
                let count = usize::from(info.synapse_count) + wanted;
                let needed = block_len(smallest_class(count.min(params.max_synapses_per_segment)));
                room.synapses += if needed > block_len(info.synapse_class) { needed } else { 0 };
                growing += 1;
            }
        }
    }
    if growing > 0 {
        let lists = state.posting_lists.iter().zip(&*state.winner_cells).filter(|(_, cells)| **cells != 0);
        for (list, cells) in lists {
            let last = smallest_class(list.count as usize + growing * cells.count_ones() as usize);
            let first = if list.class == NO_CLASS { 0 } else { list.class + 1 };
            room.postings += (first..=last).map(block_len).sum::<usize>();
        }
    }
    room
}

/// Panics, with numbers, if the owner did not make this room.
pub(super) fn assert_made(
    params: &TemporalMemoryParams,
    state: &TemporalMemoryState<'_>,
    scratch: &TemporalMemoryScratch<'_>,
    room: Room,
) {
    let columns = params.columns;
    let sets = [state.active_cells.len(), state.winner_cells.len(), state.column_segments.len()];
    assert!(
        sets == [columns; 3] && state.posting_lists.len() == columns,
        "sets of {sets:?} columns, not {columns}"
    );
    let slots = state.scalars.slot_count as usize + room.slots;
    let capacity = state.segments.len().min(state.matches.len()).min(scratch.counters.len());
    assert!(capacity >= slots, "room for {capacity} segments, not {slots}");
    let synapses = state.scalars.synapse_blocks.used as usize + room.synapses;
    let capacity = state.presynaptic_cells.len().min(state.permanences.len());
    assert!(capacity >= synapses, "room for {capacity} synapses, not {synapses}");
    let postings = state.scalars.posting_blocks.used as usize + room.postings;
    assert!(state.postings.len() >= postings, "room for {} postings, not {postings}", state.postings.len());
    let winners = scratch.winner_list.len().min(scratch.candidates.len());
    assert!(winners >= room.winners, "room for {winners} winner cells, not {}", room.winners);
}
