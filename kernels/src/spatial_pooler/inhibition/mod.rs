//! Inhibition: the columns with the largest overlaps win; among equals the higher column index wins.
//!
//! The overlaps come as bit planes, so the winners are found by radix selection from the top plane down: columns
//! that have the bit are either all winners (if there is room for them) or the only ones still in question.
//!
//! Source: `inhibitColumnsGlobal_` of `SpatialPooler.cpp`, whose insertion before the first winner that is not
//! stronger gives the higher index precedence. There is no stimulus threshold: without any overlap the highest
//! columns win.
#![expect(clippy::inline_always, reason = "shared code must be compiled for its caller's instruction set")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use super::MAX_PLANES;
use crate::isa::{Isa, IsaKind};
use crate::word::words_for;
use crate::{MAX_ACTIVE_COLUMNS, MAX_COLUMNS};

/// Words of the widest region.
const MAX_ROW_WORDS: usize = words_for(MAX_COLUMNS);

/// Writes the winners' indices, ascending, into `winners`, as many as it holds.
///
/// `planes` is `MAX_PLANES x words_for(columns)` as [`super::overlap::count`] leaves it; those from `used_planes` on
/// are not read.
///
/// # Panics
/// If there are fewer columns than winners, or more than [`MAX_COLUMNS`] columns or [`MAX_ACTIVE_COLUMNS`] winners.
pub fn select(isa: Isa, planes: &[u64], used_planes: usize, columns: usize, winners: &mut [u16]) {
    assert!(winners.len() <= columns && columns <= MAX_COLUMNS, "{} of {columns} columns", winners.len());
    assert!(winners.len() <= MAX_ACTIVE_COLUMNS, "{} winners", winners.len());
    assert_eq!(planes.len(), MAX_PLANES * words_for(columns), "planes x row words");
    select_columns(isa, planes, used_planes, columns, winners);
}

#[expect(unsafe_code, reason = "the dispatch call")]
fn select_columns(isa: Isa, planes: &[u64], used_planes: usize, columns: usize, winners: &mut [u16]) {
    match isa.kind() {
        IsaKind::Scalar => scalar::select(planes, used_planes, columns, winners),
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx2 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx2::select(planes, used_planes, columns, winners) }
        }
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx512 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx512::select(planes, used_planes, columns, winners) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        IsaKind::Avx2 | IsaKind::Avx512 => unreachable!("{isa} exists on x86-64 only"),
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
        let strongest = overlaps.iter().copied().max().unwrap_or(0);
        let used_planes = (u32::BITS - strongest.leading_zeros()) as usize;
        let mut planes = vec![0; used_planes * row_words];
        for (column, overlap) in overlaps.iter().enumerate() {
            for plane in 0..used_planes {
                if overlap >> plane & 1 == 1 {
                    word::set(&mut planes[plane * row_words..][..row_words], column);
                }
            }
        }
        // What an earlier count left behind.
        planes.resize(MAX_PLANES * row_words, 0x5555_5555_5555_5555);
        for isa in Isa::available() {
            let mut winners = vec![0; count];
            select(isa, &planes, used_planes, overlaps.len(), &mut winners);
            assert_eq!(winners, naive(overlaps, count), "{isa}");
        }
    }

    #[test]
    fn without_overlap_the_highest_columns_win() {
        check(&[0; 2048], 40);
        check(&[0; 130], 63);
    }

    #[test]
    fn widths_at_the_edges_of_words_and_lanes_are_exact() {
        for columns in [0, 1, 2, 63, 64, 65, 255, 256, 257, 511, 512, 513, 2047, 2048] {
            let overlaps: Vec<u32> = (0..columns).map(|column| column * 7919 % 43).collect();
            for count in [0, 1, 2, 40, 63] {
                if count <= overlaps.len() {
                    check(&overlaps, count);
                    check(&vec![511; overlaps.len()], count);
                    check(&vec![4095; overlaps.len()], count);
                }
            }
        }
    }

    #[test]
    fn bits_beyond_the_columns_never_win() {
        for isa in Isa::available() {
            let mut winners = [0; 2];
            select(isa, &[u64::MAX; MAX_PLANES], MAX_PLANES, 3, &mut winners);
            assert_eq!(winners, [1, 2], "{isa}");
        }
    }

    proptest! {
        #[test]
        fn picks_what_a_sort_picks(overlaps in proptest::collection::vec(0u32..43, 64..2048), count in 1usize..=63) {
            check(&overlaps, count);
        }

        #[test]
        fn picks_what_a_sort_picks_among_large_overlaps(
            overlaps in proptest::collection::vec(0u32..4096, 64..300),
            count in 1usize..=63,
        ) {
            check(&overlaps, count);
        }

        #[test]
        fn breaks_ties_for_the_higher_column(overlaps in proptest::collection::vec(0u32..3, 64..200)) {
            check(&overlaps, 40);
        }
    }
}
