//! The presynaptic index: for each cell, the segments that have a synapse on it.
//!
//! Counting active synapses walks the lists of the active cells, which is 20 to 50 times fewer memory reads than
//! a scan over all segments. Lists live in one arena of `u32` in blocks of a few sizes (8, 12, 16, 24, 32, ...);
//! a list that outgrows its block moves to the next size and leaves the block to others. Order within a list is
//! never observable, so removal swaps the last posting in.

use super::CELL_STRIDE;
use super::state::TmState;
use crate::word::Ones;

/// Number of block sizes: the largest holds 8 * 2^19 postings, one per possible segment of a model.
pub const SIZE_CLASSES: usize = 40;

/// Marks the end of a list of free blocks.
pub const NO_BLOCK: u32 = u32::MAX;

/// Class of a cell that has no block yet.
pub const NO_CLASS: u8 = u8::MAX;

/// The memory of the posting lists. It alone may have to grow in the middle of a step, because how much a
/// step adds depends on where it adds it; so the owner is asked.
pub trait PostingArena {
    /// The arena.
    fn words(&mut self) -> &mut [u32];

    /// Makes the arena at least `len` words long, keeping its contents.
    fn grow(&mut self, len: usize);
}

/// Postings that a block of `class` holds.
pub const fn block_len(class: u8) -> usize {
    let base = 8 << (class / 2);
    if class % 2 == 1 { base + base / 2 } else { base }
}

/// Adds 1 to the activity of every segment with a synapse on an active cell, for each of them.
///
/// `active` is a cell set whose active cells all lie in `columns`.
pub fn count_active(state: &mut TmState<'_>, active: CellSet<'_>, columns: &[u16], activity: &mut [u8]) {
    activity.fill(0);
    for &column in columns {
        let cells = match active {
            CellSet::InferActive => state.infer_active[usize::from(column)],
            CellSet::Words(words) => words[usize::from(column)],
        };
        let Some(entry) = state.cell_entry(usize::from(column) * CELL_STRIDE) else { continue };
        for cell in Ones(u64::from(cells)) {
            let count = state.posting_counts[entry + cell] as usize;
            if count == 0 {
                continue;
            }
            let offset = state.posting_offsets[entry + cell] as usize;
            for &segment in &state.postings.words()[offset..offset + count] {
                let counter = &mut activity[segment as usize];
                *counter = counter.wrapping_add(1);
            }
        }
    }
}

/// Which cells [`count_active`] counts.
#[derive(Debug, Clone, Copy)]
pub enum CellSet<'a> {
    /// The state's own inference cells.
    InferActive,
    /// These.
    Words(&'a [u32]),
}

/// Writes the ids of the segments with at least `threshold` active synapses, ascending, and returns how many.
pub fn scan(activity: &[u8], threshold: u8, found: &mut [u32]) -> usize {
    const BLOCK: usize = 64;
    let mut count = 0;
    let mut first_id = 0u32;
    for block in activity.chunks(BLOCK) {
        // The maximum of 64 counters is a handful of vector instructions; few blocks pass.
        if block.iter().fold(0, |most, &active| most.max(active)) >= threshold {
            for (id, &active) in (first_id..).zip(block) {
                if active >= threshold {
                    found[count] = id;
                    count += 1;
                }
            }
        }
        first_id = first_id.wrapping_add(64);
    }
    count
}

/// Adds `segment` to the list of `cell`.
///
/// # Panics
/// If the list would outgrow the largest block.
pub fn add(state: &mut TmState<'_>, cell: usize, segment: u32) {
    let entry = state.cell_entry_or_new(cell);
    let count = state.posting_counts[entry] as usize;
    let class = state.posting_classes[entry];
    if class == NO_CLASS {
        state.posting_offsets[entry] = take_block(state, 0);
        state.posting_classes[entry] = 0;
    } else if count == block_len(class) {
        assert!(usize::from(class) + 1 < SIZE_CLASSES, "a cell may have at most {count} postings");
        let old = state.posting_offsets[entry];
        let new = take_block(state, class + 1);
        state.postings.words().copy_within(old as usize..old as usize + count, new as usize);
        give_block(state, class, old);
        state.posting_offsets[entry] = new;
        state.posting_classes[entry] = class + 1;
    }
    let offset = state.posting_offsets[entry] as usize;
    state.postings.words()[offset + count] = segment;
    state.posting_counts[entry] += 1;
}

/// Removes `segment` from the list of `cell`.
///
/// # Panics
/// If it is not there: the index and the segments disagree.
pub fn remove(state: &mut TmState<'_>, cell: usize, segment: u32) {
    let entry = state.cell_entry(cell).expect("a presynaptic cell has a posting list");
    let offset = state.posting_offsets[entry] as usize;
    let count = state.posting_counts[entry] as usize;
    let list = &mut state.postings.words()[offset..offset + count];
    let position =
        list.iter().position(|&posting| posting == segment).expect("every synapse has its posting");
    list[position] = list[count - 1];
    state.posting_counts[entry] -= 1;
}

fn take_block(state: &mut TmState<'_>, class: u8) -> u32 {
    let free = state.scalars.posting_free_blocks[usize::from(class)];
    if free != NO_BLOCK {
        state.scalars.posting_free_blocks[usize::from(class)] = state.postings.words()[free as usize];
        return free;
    }
    let start = state.scalars.posting_words_used;
    let end = start as usize + block_len(class);
    if end > state.postings.words().len() {
        state.postings.grow(end);
    }
    state.scalars.posting_words_used = u32::try_from(end).expect("an arena of at most 2^32 words");
    start
}

fn give_block(state: &mut TmState<'_>, class: u8, start: u32) {
    let next = state.scalars.posting_free_blocks[usize::from(class)];
    state.postings.words()[start as usize] = next;
    state.scalars.posting_free_blocks[usize::from(class)] = start;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_finds_what_reaches_the_threshold() {
        let activity: Vec<u8> = (0..1000u32).map(|id| u8::try_from(id * 7 % 33).expect("small")).collect();
        let mut found = vec![0; 1000];
        let count = scan(&activity, 13, &mut found);
        let expected: Vec<u32> = (0..1000).filter(|&id| activity[id as usize] >= 13).collect();
        assert_eq!(found[..count], expected);
    }

    #[test]
    fn block_sizes_grow_by_a_half_and_a_third() {
        let sizes: Vec<usize> = (0..6).map(block_len).collect();
        assert_eq!(sizes, [8, 12, 16, 24, 32, 48]);
    }
}
