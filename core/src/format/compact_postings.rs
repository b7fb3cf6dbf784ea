//! Posting lists put in order for a file: one after the other by bank, column and cell, without abandoned blocks.
//!
//! In memory, lists lie where there was room when they grew, and blocks that were outgrown wait for others. The cells
//! that are active together lie in the same columns, so lists in the order of columns are read from few pages. The
//! order of lists, and of postings within a list, can never be observed in scores.

use htm_kernels::backtracking_tm::TmScalars;
use htm_kernels::backtracking_tm::postings::{
    NO_BLOCK, NO_CLASS, PostingList, SIZE_CLASSES, block_len, smallest_class,
};
use htm_kernels::backtracking_tm::{CELL_STRIDE, state::NO_COLUMN_BLOCK};

use crate::model::temporal_memory::TemporalMemory;

/// Where each list will lie.
#[derive(Debug)]
pub(super) struct CompactPostings {
    lists: Vec<PostingList>,
    /// Blocks of 32 lists in file order.
    blocks: Vec<u16>,
    words: u32,
}

/// The arena is put in order when its lists would need this part less: doing so copies it.
const WORTHWHILE_PART: usize = 8;

impl CompactPostings {
    /// Lays out the lists of a memory anew, if so much of the arena is waste that it pays.
    ///
    /// # Panics
    /// If the memory's blocks and lists do not fit together.
    pub(super) fn of_scattered(memory: &TemporalMemory) -> Option<Self> {
        let lists = &memory.posting_lists[..memory.scalars.block_count as usize * CELL_STRIDE];
        let needed: usize = lists.iter().map(|list| words_needed(list.count)).sum();
        let used = memory.scalars.posting_words_used as usize;
        (needed + needed / WORTHWHILE_PART < used).then(|| Self::of(memory))
    }

    fn of(memory: &TemporalMemory) -> Self {
        let used = memory.scalars.block_count as usize * CELL_STRIDE;
        let mut lists = memory.posting_lists[..used].to_vec();
        let blocks: Vec<u16> =
            memory.column_blocks.iter().copied().filter(|&block| block != NO_COLUMN_BLOCK).collect();
        let mut words = 0;
        for &block in &blocks {
            for list in &mut lists[usize::from(block) * CELL_STRIDE..][..CELL_STRIDE] {
                if list.count == 0 {
                    (list.offset, list.class) = (0, NO_CLASS);
                    continue;
                }
                list.class = smallest_class(usize::from(list.count));
                list.offset = words;
                words += u32::try_from(block_len(list.class)).expect("at most 65,536 words");
            }
        }
        Self { lists, blocks, words }
    }

    /// The lists, at their new places.
    pub(super) fn lists(&self) -> &[PostingList] {
        &self.lists
    }

    /// Words of the new arena.
    pub(super) fn word_count(&self) -> usize {
        self.words as usize
    }

    /// The scalars that belong to it.
    pub(super) fn scalars(&self, memory: &TemporalMemory) -> TmScalars {
        TmScalars {
            posting_words_used: self.words,
            posting_free_blocks: [NO_BLOCK; SIZE_CLASSES],
            ..memory.scalars.clone()
        }
    }

    /// The new arena.
    ///
    /// # Panics
    /// If the memory has changed since.
    pub(super) fn words(&self, memory: &TemporalMemory) -> Vec<u16> {
        let mut arena = vec![0; self.word_count()];
        for &block in &self.blocks {
            let entries = usize::from(block) * CELL_STRIDE..(usize::from(block) + 1) * CELL_STRIDE;
            for (new, old) in self.lists[entries.clone()].iter().zip(&memory.posting_lists[entries]) {
                if new.count > 0 {
                    let postings = &memory.postings.words[old.offset as usize..][..usize::from(old.count)];
                    arena[new.offset as usize..][..postings.len()].copy_from_slice(postings);
                }
            }
        }
        arena
    }
}

fn words_needed(count: u16) -> usize {
    if count == 0 { 0 } else { block_len(smallest_class(usize::from(count))) }
}
