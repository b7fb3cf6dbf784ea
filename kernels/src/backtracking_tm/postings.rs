//! The presynaptic index: for each cell, the segments that have a synapse on it.
//!
//! Counting active synapses walks the lists of the active cells, which is 20 to 50 times fewer memory reads than
//! a scan over all segments. Lists live in one arena of `u32` in blocks of a few sizes (8, 12, 16, 24, 32, ...);
//! a list that outgrows its block moves to the next size and leaves the block to others. Order within a list is
//! never observable, so removal swaps the last posting in.

use super::CELL_STRIDE;
use super::state::{NO_COLUMN_BLOCK, TmState};
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
    fn words(&self) -> &[u32];

    /// The arena, to write.
    fn words_mut(&mut self) -> &mut [u32];

    /// Makes the arena at least `len` words long, keeping its contents.
    fn grow(&mut self, len: usize);
}

/// Postings that a block of `class` holds.
pub const fn block_len(class: u8) -> usize {
    let base = 8 << (class / 2);
    if class % 2 == 1 { base + base / 2 } else { base }
}

/// The posting lists, to read.
#[derive(Debug, Clone, Copy)]
pub struct PostingLists<'a> {
    /// See [`TmState::column_blocks`]; likewise the rest.
    pub column_blocks: &'a [u16],
    /// Where each list starts.
    pub offsets: &'a [u32],
    /// How long it is.
    pub counts: &'a [u32],
    /// The arena.
    pub words: &'a [u32],
}

impl PostingLists<'_> {
    /// Counts each segment's synapses on active cells into `activity`, which is zeroed first. `active` is a cell set
    /// whose cells all lie in `columns`.
    ///
    /// # Panics
    /// If a list or a segment lies outside its array.
    pub fn count_active(&self, active: &[u32], columns: impl Iterator<Item = usize>, activity: &mut [u8]) {
        activity.fill(0);
        let mut batch = ListBatch { lists: [&[]; LISTS_PER_BATCH], count: 0 };
        for column in columns {
            let block = self.column_blocks[column];
            if block == NO_COLUMN_BLOCK {
                continue;
            }
            let first = usize::from(block) * CELL_STRIDE;
            for cell in Ones(u64::from(active[column])) {
                let count = self.counts[first + cell] as usize;
                if count == 0 {
                    continue;
                }
                let offset = self.offsets[first + cell] as usize;
                batch.push(&self.words[offset..offset + count], activity);
            }
        }
        batch.count_all(activity);
    }
}

/// Lists waiting to be counted together.
const LISTS_PER_BATCH: usize = 64;

/// Posting lists lie all over the arena, and most are not in a near cache. Touching the start of many of them before
/// counting any lets their cache misses overlap, where counting one list after the other would wait for each.
struct ListBatch<'a> {
    lists: [&'a [u32]; LISTS_PER_BATCH],
    count: usize,
}

impl<'a> ListBatch<'a> {
    fn push(&mut self, list: &'a [u32], activity: &mut [u8]) {
        if self.count == LISTS_PER_BATCH {
            self.count_all(activity);
        }
        self.lists[self.count] = list;
        self.count += 1;
    }

    fn count_all(&mut self, activity: &mut [u8]) {
        /// Postings in a cache line, and lines of a list that are touched; the hardware follows on its own then.
        const LINE: usize = 16;
        const LINES: usize = 4;
        let mut touched = 0;
        for list in &self.lists[..self.count] {
            touched = list.iter().step_by(LINE).take(LINES).fold(touched, |touched, &word| touched ^ word);
        }
        std::hint::black_box(touched);
        for list in &self.lists[..self.count] {
            // In eights, so that loads run ahead of the counters they lead to.
            let (eights, rest) = list.as_chunks::<8>();
            for segments in eights {
                for &segment in segments {
                    increment(activity, segment);
                }
            }
            for &segment in rest {
                increment(activity, segment);
            }
        }
        self.count = 0;
    }
}

#[inline]
fn increment(activity: &mut [u8], segment: u32) {
    let counter = &mut activity[segment as usize];
    *counter = counter.wrapping_add(1);
}

/// Writes the ids of the segments with at least `threshold` active synapses, ascending, and returns how many.
///
/// # Panics
/// If `found` is too short, or a threshold or an activity is above [`super::MAX_SYNAPSES_PER_SEGMENT`].
pub fn scan(activity: &[u8], threshold: u8, found: &mut [u32]) -> usize {
    assert!(usize::from(threshold) <= super::MAX_SYNAPSES_PER_SEGMENT, "threshold {threshold}");
    let mut count = 0;
    let mut first_id = 0u32;
    for block in activity.chunks(BLOCK) {
        // The maximum of 64 counters is a handful of vector instructions.
        if block.iter().fold(0, |most, &active| most.max(active)) >= threshold {
            let (words, rest) = block.as_chunks::<8>();
            for (word, id) in words.iter().zip((first_id..).step_by(8)) {
                for bit in Ones(reached(u64::from_le_bytes(*word), threshold)) {
                    found[count] = id + u32::try_from(bit / 8).expect("below 8");
                    count += 1;
                }
            }
            let rest_id = first_id + u32::try_from(words.len() * 8).expect("at most 64");
            for (id, _) in (rest_id..).zip(rest).filter(|(_, active)| **active >= threshold) {
                found[count] = id;
                count += 1;
            }
        }
        first_id = first_id.wrapping_add(64);
    }
    count
}

/// Counters looked at together.
const BLOCK: usize = 64;

/// The top bit of each of eight counters that reaches the threshold. Counters are at most 64, so that adding
/// `128 - threshold` to each carries into its own top bit and no further.
#[inline]
fn reached(counters: u64, threshold: u8) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    (counters + u64::from(128 - threshold) * EACH) & (128 * EACH)
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
        state.postings.words_mut().copy_within(old as usize..old as usize + count, new as usize);
        give_block(state, class, old);
        state.posting_offsets[entry] = new;
        state.posting_classes[entry] = class + 1;
    }
    let offset = state.posting_offsets[entry] as usize;
    state.postings.words_mut()[offset + count] = segment;
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
    let list = &mut state.postings.words_mut()[offset..offset + count];
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
    state.postings.words_mut()[start as usize] = next;
    state.scalars.posting_free_blocks[usize::from(class)] = start;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_finds_what_reaches_the_threshold() {
        for len in (0..140).chain([1000]) {
            let activity: Vec<u8> = (0..len).map(|id| u8::try_from(id * 7 % 65).expect("small")).collect();
            for threshold in [1, 13, 63, 64] {
                let mut found = vec![0; activity.len()];
                let count = scan(&activity, threshold, &mut found);
                let expected: Vec<u32> = (0..len).filter(|&id| activity[id as usize] >= threshold).collect();
                assert_eq!(found[..count], expected, "{len} segments, threshold {threshold}");
            }
        }
    }

    #[test]
    fn block_sizes_grow_by_a_half_and_a_third() {
        let sizes: Vec<usize> = (0..6).map(block_len).collect();
        assert_eq!(sizes, [8, 12, 16, 24, 32, 48]);
    }
}
