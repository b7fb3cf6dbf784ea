//! Posting lists as a file holds them: one after the other by bank, column and cell, without abandoned blocks.
//!
//! In memory, lists lie where there was room when they grew, and blocks that were outgrown wait for others. The cells
//! that are active together lie in the same columns, so lists in the order of columns are read from few pages. The
//! order of lists, and of postings within a list, can never be observed in scores.

use htm_kernels::backtracking_tm::TmScalars;
use htm_kernels::backtracking_tm::postings::{
    NO_BLOCK, NO_CLASS, PostingList, SIZE_CLASSES, block_len, smallest_class,
};
use htm_kernels::backtracking_tm::{CELL_STRIDE, state::NO_COLUMN_BLOCK};
use zerocopy::IntoBytes;

use crate::model::temporal_memory::TemporalMemory;

/// Where each list will lie.
#[derive(Debug)]
pub(super) struct CompactPostings {
    lists: Vec<PostingList>,
    /// Blocks of 32 lists in file order.
    blocks: Vec<u16>,
    words: u32,
}

impl CompactPostings {
    /// Lays out the lists of a memory.
    ///
    /// # Panics
    /// If the memory's blocks and lists do not fit together.
    pub(super) fn of(memory: &TemporalMemory) -> Self {
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
    pub(super) fn scalars(&self, scalars: &TmScalars) -> TmScalars {
        TmScalars {
            posting_words_used: self.words,
            posting_free_blocks: [NO_BLOCK; SIZE_CLASSES],
            ..scalars.clone()
        }
    }

    /// Appends the new arena to `file`.
    ///
    /// # Panics
    /// If the memory has changed since.
    pub(super) fn write_words(&self, memory: &TemporalMemory, file: &mut Vec<u8>) {
        let start = file.len();
        file.resize(start + self.word_count() * size_of::<u16>(), 0);
        let arena = &mut file[start..];
        for &block in &self.blocks {
            let entries = usize::from(block) * CELL_STRIDE..(usize::from(block) + 1) * CELL_STRIDE;
            for (new, old) in self.lists[entries.clone()].iter().zip(&memory.posting_lists[entries]) {
                if new.count == 0 {
                    continue;
                }
                let postings = &memory.postings.words[old.offset as usize..][..usize::from(old.count)];
                let place = &mut arena[new.offset as usize * size_of::<u16>()..];
                place[..size_of_val(postings)].copy_from_slice(postings.as_bytes());
            }
        }
    }
}
