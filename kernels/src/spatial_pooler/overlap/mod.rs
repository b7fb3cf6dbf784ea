//! Overlap: how many connected synapses of each column are on active inputs.
//!
//! Idea: hold the counters of many columns vertically, one bit of each count per word ("planes"), and add the
//! active inputs' connected rows to them. Eight rows at a time go through a tree of full adders, so that most of
//! the work is done on the lowest three planes; only every eighth row's carry ripples further up. No column is
//! visited; 42 rows of 256 bytes are.
//!
//! The tree is written once, in `scalar.rs`, on arrays of 64-bit words; the other files compile it for wider
//! registers. A count over all 2048 columns by AND and popcount reads twelve times as much memory.
#![expect(clippy::inline_always, reason = "shared code must be compiled for its caller's instruction set")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use super::{ConnectedRows, MAX_INPUT_BITS, MAX_PLANES};
use crate::isa::{Isa, IsaKind};

/// Rows added in one go: as many as six planes can count.
const GROUP: usize = (1 << FEW_PLANES) - 1;

/// Planes that are enough for one group.
const FEW_PLANES: usize = 6;

/// Adds up the rows of `active_inputs` into `planes` (`MAX_PLANES x row_words`): bit `p` of the overlap of
/// column `c` is bit `c` of plane `p`. Returns how many planes may be non-zero; the rest is zeroed.
///
/// # Panics
/// If an input has no row, if there are more inputs than the planes can count, or if `planes` has another length.
pub fn count(isa: Isa, rows: ConnectedRows<'_>, active_inputs: &[u16], planes: &mut [u64]) -> usize {
    assert_eq!(planes.len(), MAX_PLANES * rows.row_words, "planes x row words");
    assert!(
        active_inputs.len() <= MAX_INPUT_BITS,
        "{} active inputs overflow the planes",
        active_inputs.len()
    );
    planes.fill(0);
    let is_one_group = active_inputs.len() <= GROUP;
    for group in active_inputs.chunks(GROUP) {
        // Finding a row costs as much as adding a few words of it, so each is found once.
        let mut found: [&[u64]; GROUP] = [&[]; GROUP];
        for (row, &input) in found.iter_mut().zip(group) {
            *row = rows.row(input);
        }
        let found = &found[..group.len()];
        if is_one_group {
            add_rows::<FEW_PLANES>(isa, found, rows.row_words, planes);
        } else {
            add_rows::<MAX_PLANES>(isa, found, rows.row_words, planes);
        }
    }
    (usize::BITS - active_inputs.len().leading_zeros()) as usize
}

/// The overlap of one column, read back from the planes.
///
/// # Panics
/// If there is no such column.
pub fn of_column(planes: &[u64], row_words: usize, column: usize) -> u32 {
    (0..MAX_PLANES)
        .map(|plane| u32::from(crate::word::get(&planes[plane * row_words..][..row_words], column)) << plane)
        .sum()
}

#[expect(unsafe_code, reason = "the dispatch call")]
fn add_rows<const PLANES: usize>(isa: Isa, rows: &[&[u64]], row_words: usize, planes: &mut [u64]) {
    match isa.kind() {
        IsaKind::Scalar => scalar::add_rows::<PLANES>(rows, row_words, planes),
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx2 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx2::add_rows::<PLANES>(rows, row_words, planes) }
        }
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx512 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx512::add_rows::<PLANES>(rows, row_words, planes) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        IsaKind::Avx2 | IsaKind::Avx512 => unreachable!("{isa} exists on x86-64 only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spatial_pooler::NO_SLOT;
    use crate::word;
    use proptest::prelude::*;

    /// Rows that all differ, every third of them private.
    fn check(columns: usize, seeds: &[u64], active: &[u16]) -> Result<(), TestCaseError> {
        let row_words = word::words_for(columns);
        let mix = |seed: u64, index: usize| (seed ^ index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let row = |seed: u64| (0..row_words).map(move |index| mix(seed, index).rotate_left(29));
        let template: Vec<u64> = seeds.iter().flat_map(|&seed| row(seed)).collect();
        let private: Vec<u64> = seeds.iter().flat_map(|&seed| row(!seed)).collect();
        let inputs = 0..u16::try_from(seeds.len()).expect("small");
        let slots: Vec<u16> = inputs.map(|input| if input % 3 == 0 { input } else { NO_SLOT }).collect();
        let rows = ConnectedRows { row_words, slots: &slots, private: &private, template: &template };
        for isa in Isa::available() {
            let mut planes = vec![u64::MAX; MAX_PLANES * row_words];
            let used = count(isa, rows, active, &mut planes);
            prop_assert!(planes[used * row_words..].iter().all(|&word| word == 0), "{}", isa);
            for column in 0..columns {
                let expected = active.iter().filter(|&&input| word::get(rows.row(input), column)).count();
                prop_assert_eq!(of_column(&planes, row_words, column) as usize, expected, "{}", isa);
            }
        }
        Ok(())
    }

    #[test]
    fn counts_at_the_edges_of_lanes_and_groups() {
        let seeds: Vec<u64> = (0..511).collect();
        let all: Vec<u16> = (0..511).collect();
        for columns in [0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513, 2048] {
            for active in [0, 1, 2, 7, 8, 9, 42, 62, 63, 64, 126, 127, 511] {
                if columns <= 65 || active <= 64 {
                    check(columns, &seeds, &all[..active]).expect("equal");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn counts_what_a_loop_counts(
            columns in 1usize..700,
            seeds in proptest::collection::vec(any::<u64>(), 90),
            active in proptest::collection::btree_set(0u16..90, 0..90),
        ) {
            check(columns, &seeds, &active.into_iter().collect::<Vec<u16>>())?;
        }
    }
}
