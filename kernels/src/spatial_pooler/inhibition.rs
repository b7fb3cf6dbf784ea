//! Inhibition: the columns with the largest overlaps win; among equals the higher column index wins.
//!
//! The overlaps come as bit planes, so the winners are found by radix selection from the top plane down: columns
//! that have the bit are either all winners (if there is room for them) or the only ones still in question.
//!
//! Source: `inhibitColumnsGlobal_` of `SpatialPooler.cpp`, whose insertion before the first winner that is not
//! stronger gives the higher index precedence. There is no stimulus threshold: without any overlap the highest
//! columns win.

use super::MAX_PLANES;
use crate::MAX_COLUMNS;
use crate::word::{Ones, words_for};

/// Writes the winners' indices, ascending, into `winners`, as many as it holds.
///
/// `planes` is `MAX_PLANES x words_for(columns)` as [`super::overlap::count`] leaves it.
///
/// # Panics
/// If there are fewer columns than winners, or more than [`MAX_COLUMNS`].
pub fn select(planes: &[u64], used_planes: usize, columns: usize, winners: &mut [u16]) {
    const WORDS: usize = words_for(MAX_COLUMNS);
    assert!(winners.len() <= columns && columns <= MAX_COLUMNS, "{} of {columns} columns", winners.len());
    let row_words = words_for(columns);
    assert_eq!(planes.len(), MAX_PLANES * row_words, "planes x row words");
    let mut chosen = [0u64; WORDS];
    let mut undecided = [0u64; WORDS];
    for (index, word) in undecided[..row_words].iter_mut().enumerate() {
        let rest = columns - index * 64;
        *word = if rest >= 64 { u64::MAX } else { (1 << rest) - 1 };
    }
    let mut wanted = winners.len();
    for plane in planes.chunks_exact(row_words).take(used_planes).rev() {
        let stronger: usize = plane.iter().zip(&undecided).map(|(p, u)| (p & u).count_ones() as usize).sum();
        let is_taken = stronger <= wanted;
        for index in 0..row_words {
            let with_bit = undecided[index] & plane[index];
            if is_taken {
                chosen[index] |= with_bit;
                undecided[index] ^= with_bit;
            } else {
                undecided[index] = with_bit;
            }
        }
        if is_taken {
            wanted -= stronger;
        }
    }
    take_highest(&mut chosen[..row_words], &undecided[..row_words], wanted);
    let mut next = winners.iter_mut();
    for (index, &word) in chosen[..row_words].iter().enumerate() {
        for bit in Ones(word) {
            let winner = next.next().expect("exactly as many bits were chosen as there are winners");
            *winner = u16::try_from(index * 64 + bit).expect("at most 2048 columns");
        }
    }
}

/// Moves the `wanted` highest of the equal columns to the chosen ones.
fn take_highest(chosen: &mut [u64], equals: &[u64], mut wanted: usize) {
    for index in (0..equals.len()).rev() {
        let mut word = equals[index];
        while wanted > 0 && word != 0 {
            let top = 1 << word.ilog2();
            chosen[index] |= top;
            word ^= top;
            wanted -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word;
    use proptest::prelude::*;

    fn naive(overlaps: &[u32], count: usize) -> Vec<u16> {
        let mut order: Vec<usize> = (0..overlaps.len()).collect();
        order.sort_by_key(|&column| std::cmp::Reverse((overlaps[column], column)));
        let mut winners: Vec<u16> =
            order[..count].iter().map(|&column| u16::try_from(column).expect("small")).collect();
        winners.sort_unstable();
        winners
    }

    fn check(overlaps: &[u32], count: usize) {
        let row_words = words_for(overlaps.len());
        let mut planes = vec![0; MAX_PLANES * row_words];
        for (column, overlap) in overlaps.iter().enumerate() {
            for plane in 0..MAX_PLANES {
                if overlap >> plane & 1 == 1 {
                    word::set(&mut planes[plane * row_words..][..row_words], column);
                }
            }
        }
        let mut winners = vec![0; count];
        select(&planes, MAX_PLANES, overlaps.len(), &mut winners);
        assert_eq!(winners, naive(overlaps, count));
    }

    #[test]
    fn without_overlap_the_highest_columns_win() {
        check(&[0; 2048], 40);
        check(&[0; 130], 63);
    }

    proptest! {
        #[test]
        fn picks_what_a_sort_picks(overlaps in proptest::collection::vec(0u32..43, 64..2048), count in 1usize..=63) {
            check(&overlaps, count);
        }

        #[test]
        fn breaks_ties_for_the_higher_column(overlaps in proptest::collection::vec(0u32..3, 64..200)) {
            check(&overlaps, 40);
        }
    }
}
