//! The presynaptic index: for each cell, the segments that have a synapse on it.
//!
//! Counting active synapses walks the lists of the active cells (see [`super::activity`]), which is 20 to 50 times
//! fewer memory reads than a scan over all segments. Each bank of segments has its own lists of 16-bit numbers.
//! Lists live in one arena of `u16` in blocks of a few sizes (8, 12, 16, 24, 32, ...); a list that outgrows its
//! block moves to the next size and leaves the block to others. Order within a list is never observable, so
//! removal swaps the last posting in.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::state::{NO_COLUMN_BLOCK, TmState};
use super::{CELL_STRIDE, bank};

/// Number of block sizes: the largest holds 65,536 postings, more than a bank has segments.
pub const SIZE_CLASSES: usize = 27;

const SIZE_CLASSES_U8: u8 = 27;
const _: () = assert!(SIZE_CLASSES_U8 as usize == SIZE_CLASSES);

/// Marks the end of a list of free blocks.
pub const NO_BLOCK: u32 = u32::MAX;

/// Class of a cell that has no block yet.
pub const NO_CLASS: u8 = u8::MAX;

/// Where the postings of one cell lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PostingList {
    /// Its first word in the arena.
    pub offset: u32,
    /// Postings in it.
    pub count: u16,
    /// Size class of its block, [`NO_CLASS`] before the first posting.
    pub class: u8,
    /// Segments that the cell owns; kept in the first bank only.
    pub segment_count: u8,
}

/// The memory of the posting lists. It alone may have to grow in the middle of a step, because how much a
/// step adds depends on where it adds it; so the owner is asked.
pub trait PostingArena {
    /// The arena.
    fn words(&self) -> &[u16];

    /// The arena, to write.
    fn words_mut(&mut self) -> &mut [u16];

    /// Makes the arena at least `len` words long, keeping its contents.
    fn grow(&mut self, len: usize);
}

/// Postings that a block of `class` holds.
pub const fn block_len(class: u8) -> usize {
    let base = 8 << (class / 2);
    if class % 2 == 1 { base + base / 2 } else { base }
}

/// The class of the smallest block that holds `count` postings.
///
/// # Panics
/// If no block does.
pub fn smallest_class(count: usize) -> u8 {
    assert!(count <= block_len(SIZE_CLASSES_U8 - 1), "{count} postings");
    let Some(power) = (count.saturating_sub(1) / 8).checked_ilog2() else { return 0 };
    // More than 8 << power, and at most twice that.
    let even = u8::try_from(2 * power).expect("a logarithm is small");
    if count <= block_len(even + 1) { even + 1 } else { even + 2 }
}

/// The posting lists, to read.
#[derive(Debug, Clone, Copy)]
pub struct PostingLists<'a> {
    /// Columns of the region.
    pub columns: usize,
    /// See [`TmState::column_blocks`]; likewise the rest.
    pub column_blocks: &'a [u16],
    /// Where each list lies.
    pub lists: &'a [PostingList],
    /// The arena.
    pub words: &'a [u16],
}

impl<'a> PostingLists<'a> {
    /// Index of the first cell of `column` in the lists of a bank, if it has a block there.
    #[inline]
    pub fn first_entry(&self, bank: usize, column: usize) -> Option<usize> {
        match self.column_blocks[bank * self.columns + column] {
            NO_COLUMN_BLOCK => None,
            block => Some(usize::from(block) * CELL_STRIDE),
        }
    }

    /// Index of `cell` in the lists of a bank.
    #[inline]
    pub fn entry(&self, bank: usize, cell: usize) -> Option<usize> {
        self.first_entry(bank, cell / CELL_STRIDE).map(|first| first + cell % CELL_STRIDE)
    }

    /// The postings of a list.
    #[inline]
    pub fn postings(&self, entry: usize) -> &'a [u16] {
        let list = &self.lists[entry];
        if list.count == 0 {
            return &[];
        }
        &self.words[list.offset as usize..][..usize::from(list.count)]
    }
}

/// Adds `segment` to the list of `cell`.
///
/// # Panics
/// If the list would be longer than a bank has segments, or its block lies outside the arena.
pub fn add(state: &mut TmState<'_>, cell: usize, segment: u32) {
    let (bank, local) = bank::split(segment);
    let entry = state.list_entry_or_new(bank, cell);
    let list = state.posting_lists[entry];
    let count = usize::from(list.count);
    assert!(count < bank::BANK_SEGMENTS, "cell {cell} has {count} postings in bank {bank}");
    let mut list = list;
    if list.class == NO_CLASS {
        list.offset = take_block(state, 0);
        list.class = 0;
    } else if count == block_len(list.class) {
        let old = list.offset;
        list.offset = take_block(state, list.class + 1);
        state.postings.words_mut().copy_within(old as usize..old as usize + count, list.offset as usize);
        give_block(state, list.class, old);
        list.class += 1;
    }
    state.postings.words_mut()[list.offset as usize + count] = local;
    list.count += 1;
    state.posting_lists[entry] = list;
    if is_kept(state, cell) {
        let counter = &mut state.kept_activity[bank::counter_of(segment)];
        *counter = counter.wrapping_add(1);
    }
}

/// Removes `segment` from the list of `cell`.
///
/// # Panics
/// If it is not there: the index and the segments disagree.
pub fn remove(state: &mut TmState<'_>, cell: usize, segment: u32) {
    let (bank, local) = bank::split(segment);
    let entry = state.list_entry(bank, cell).expect("a presynaptic cell has a posting list");
    let list = &mut state.posting_lists[entry];
    let postings = &mut state.postings.words_mut()[list.offset as usize..][..usize::from(list.count)];
    let position = position_of(postings, local).expect("every synapse has its posting");
    postings[position] = postings[postings.len() - 1];
    list.count -= 1;
    if is_kept(state, cell) {
        let counter = &mut state.kept_activity[bank::counter_of(segment)];
        *counter = counter.wrapping_sub(1);
    }
}

/// Whether a synapse on `cell` is in the kept counts.
#[inline]
fn is_kept(state: &TmState<'_>, cell: usize) -> bool {
    state.scalars.has_kept_activity != 0
        && state.infer_active[cell / CELL_STRIDE] >> (cell % CELL_STRIDE) & 1 == 1
}

/// Where `wanted` lies: first which block of postings, which compiles to vector compares, then where in it.
#[inline]
fn position_of(postings: &[u16], wanted: u16) -> Option<usize> {
    const BLOCK: usize = 32;
    let (blocks, rest) = postings.as_chunks::<BLOCK>();
    let hits = |block: &[u16; BLOCK]| block.iter().map(|&word| u16::from(word == wanted)).sum::<u16>();
    match blocks.iter().position(|block| hits(block) != 0) {
        Some(number) => {
            let position = blocks[number].iter().position(|&word| word == wanted)?;
            Some(number * BLOCK + position)
        }
        None => rest.iter().position(|&word| word == wanted).map(|position| blocks.len() * BLOCK + position),
    }
}

fn take_block(state: &mut TmState<'_>, class: u8) -> u32 {
    let free = state.scalars.posting_free_blocks[usize::from(class)];
    if free != NO_BLOCK {
        state.scalars.posting_free_blocks[usize::from(class)] = next_free(state.postings.words(), free);
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

/// Leaves a block to others. Its first two words link it to the next free one, low half first.
fn give_block(state: &mut TmState<'_>, class: u8, start: u32) {
    let next = state.scalars.posting_free_blocks[usize::from(class)].to_le_bytes();
    let link = &mut state.postings.words_mut()[start as usize..][..2];
    link[0] = u16::from_le_bytes([next[0], next[1]]);
    link[1] = u16::from_le_bytes([next[2], next[3]]);
    state.scalars.posting_free_blocks[usize::from(class)] = start;
}

/// The block after a free one in the list of its class, [`NO_BLOCK`] after the last.
///
/// # Panics
/// If `free` lies outside the arena.
pub fn next_free(words: &[u16], free: u32) -> u32 {
    let link = &words[free as usize..][..2];
    u32::from(link[0]) | u32::from(link[1]) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_posting_wherever_it_lies() {
        for len in [0usize, 1, 31, 32, 33, 64, 100] {
            let postings: Vec<u16> = (0..len).map(|id| u16::try_from(id * 3).expect("small")).collect();
            for (position, &wanted) in postings.iter().enumerate() {
                assert_eq!(position_of(&postings, wanted), Some(position));
            }
            assert_eq!(position_of(&postings, 1), None);
        }
    }

    #[test]
    fn the_smallest_class_is_the_first_that_holds_the_postings() {
        for count in (0..5000).chain([65_534, 65_535, 65_536]) {
            let first = (0..SIZE_CLASSES_U8).find(|&class| block_len(class) >= count);
            assert_eq!(Some(smallest_class(count)), first, "{count}");
        }
    }

    #[test]
    fn block_sizes_grow_by_a_half_and_a_third() {
        let sizes: Vec<usize> = (0..6).map(block_len).collect();
        assert_eq!(sizes, [8, 12, 16, 24, 32, 48]);
        assert_eq!(block_len(u8::try_from(SIZE_CLASSES - 1).expect("few")), 65_536);
    }
}
