//! The presynaptic index: for each column, who has a synapse on one of its cells.
//!
//! A posting is a slot and, in its lowest five bits, which of the column's cells. Counting active synapses walks the
//! lists of the active columns only, some 2 % of all synapses, and adds the cell's bit without a branch. Lists by column
//! rather than by cell read some postings of inactive cells, but their table is 32 times smaller, which matters because
//! most plain memories are small: a thousand segments after a year of half-hours.
//!
//! Order within a list is never observable, so removal moves the last posting into the gap.

use super::blocks::{NO_CLASS, block_len};
use super::state::TemporalMemoryState;
use crate::backtracking_tm::CELL_STRIDE;

/// Bits of a posting that hold the cell.
const CELL_BITS: u32 = CELL_STRIDE.trailing_zeros();

/// The posting of a synapse on `cell` of the segment in slot `segment`.
#[inline]
pub fn posting(segment: u32, cell: u16) -> u32 {
    (segment << CELL_BITS) | (u32::from(cell) % 32)
}

/// The slot that a posting names, and which of its column's cells.
#[inline]
pub fn slot_and_cell(posting: u32) -> (usize, u32) {
    ((posting >> CELL_BITS) as usize, posting % 32)
}

/// Adds a synapse on `cell`.
///
/// # Panics
/// If there is less room than [`super::room`] asks for.
pub fn add(state: &mut TemporalMemoryState<'_>, cell: u16, segment: u32) {
    let list = &mut state.posting_lists[usize::from(cell) / CELL_STRIDE];
    let count = list.count as usize;
    if count == block_len(list.class) {
        let blocks = &mut state.scalars.posting_blocks;
        let class = if list.class == NO_CLASS { 0 } else { list.class + 1 };
        let start = blocks.take(&*state.postings, class);
        if list.class != NO_CLASS {
            let old = list.start as usize;
            state.postings.copy_within(old..old + count, start as usize);
            blocks.give(&mut *state.postings, list.class, list.start);
        }
        (list.start, list.class) = (start, class);
    }
    state.postings[list.start as usize..][..block_len(list.class)][count] = posting(segment, cell);
    list.count += 1;
}

/// Removes a synapse on `cell`.
///
/// # Panics
/// If it is not there: index and segments disagree.
pub fn remove(state: &mut TemporalMemoryState<'_>, cell: u16, segment: u32) {
    let list = &mut state.posting_lists[usize::from(cell) / CELL_STRIDE];
    let postings = &mut state.postings[list.start as usize..][..list.count as usize];
    let wanted = posting(segment, cell);
    let position = position_of(postings, wanted).expect("every synapse has its posting");
    postings[position] = postings[postings.len() - 1];
    list.count -= 1;
}

/// Where `wanted` lies: first which block of postings, which compiles to vector compares, then where in it.
#[inline]
fn position_of(postings: &[u32], wanted: u32) -> Option<usize> {
    const BLOCK: usize = 16;
    let (blocks, rest) = postings.as_chunks::<BLOCK>();
    let hits = |block: &[u32; BLOCK]| block.iter().map(|&posting| u32::from(posting == wanted)).sum::<u32>();
    match blocks.iter().position(|block| hits(block) != 0) {
        Some(number) => {
            let position = blocks[number].iter().position(|&posting| posting == wanted)?;
            Some(number * BLOCK + position)
        }
        None => rest.iter().position(|&posting| posting == wanted).map(|at| blocks.len() * BLOCK + at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_posting_wherever_it_lies() {
        for len in [0u32, 1, 15, 16, 17, 32, 50] {
            let postings: Vec<u32> = (0..len).map(|id| id * 3).collect();
            for (position, &wanted) in postings.iter().enumerate() {
                assert_eq!(position_of(&postings, wanted), Some(position));
            }
            assert_eq!(position_of(&postings, 1), None);
        }
    }
}
