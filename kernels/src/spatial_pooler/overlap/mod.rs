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

/// Planes for up to 63 active inputs, as the standard model and its like have.
const FEW_PLANES: usize = 6;

/// Planes for up to 511 active inputs: more planes would be carried through, loaded and stored for nothing.
const MANY_PLANES: usize = 9;

/// Rows added in one go: as many as [`FEW_PLANES`] can count.
const GROUP: usize = (1 << FEW_PLANES) - 1;

/// Adds up the rows of `active_inputs` into `planes` (`MAX_PLANES x row_words`): bit `p` of the overlap of
/// column `c` is bit `c` of plane `p`. Returns how many planes that takes, one for each binary digit of the number of
/// active inputs; the planes after those hold nothing of this count and are not to be read.
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
    let used_planes = (usize::BITS - active_inputs.len().leading_zeros()) as usize;
    if used_planes <= FEW_PLANES {
        add_groups::<FEW_PLANES>(isa, rows, active_inputs, planes);
    } else if used_planes <= MANY_PLANES {
        add_groups::<MANY_PLANES>(isa, rows, active_inputs, planes);
    } else {
        add_groups::<MAX_PLANES>(isa, rows, active_inputs, planes);
    }
    used_planes
}

/// The overlap of one column, read back from `planes` (`used planes x row_words`).
///
/// # Panics
/// If there is no such column.
pub fn of_column(planes: &[u64], row_words: usize, column: usize) -> u32 {
    let bits = planes.chunks_exact(row_words).map(|plane| u32::from(crate::word::get(plane, column)));
    bits.zip(0..).map(|(bit, plane)| bit << plane).sum()
}

/// Clears the first `PLANES` planes and adds up the rows in them.
fn add_groups<const PLANES: usize>(
    isa: Isa,
    rows: ConnectedRows<'_>,
    active_inputs: &[u16],
    planes: &mut [u64],
) {
    let planes = &mut planes[..PLANES * rows.row_words];
    planes.fill(0);
    for group in active_inputs.chunks(GROUP) {
        // Finding a row costs as much as adding a few words of it, so each is found once.
        let mut found: [&[u64]; GROUP] = [&[]; GROUP];
        for (row, &input) in found.iter_mut().zip(group) {
            *row = rows.row(input);
        }
        add_rows::<PLANES>(isa, &found[..group.len()], rows.row_words, planes);
    }
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
            let planes = &planes[..used * row_words];
            for column in 0..columns {
                let expected = active.iter().filter(|&&input| word::get(rows.row(input), column)).count();
                prop_assert_eq!(of_column(planes, row_words, column) as usize, expected, "{}", isa);
            }
        }
        Ok(())
    }

    #[test]
    fn counts_at_the_edges_of_lanes_and_groups() {
        let seeds: Vec<u64> = (0..4095).collect();
        let all: Vec<u16> = (0..4095).collect();
        for columns in [0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513, 2048] {
            for active in
                [0, 1, 2, 7, 8, 9, 42, 62, 63, 64, 84, 126, 127, 510, 511, 512, 1023, 1024, 4094, 4095]
            {
                if columns <= 65 || active <= 64 || columns == 513 && active <= 512 {
                    check(columns, &seeds, &all[..active]).expect("equal");
                }
            }
        }
    }

    #[test]
    fn a_column_connected_to_every_input_is_counted_to_the_last() {
        let row_words = 9;
        let template = vec![u64::MAX; MAX_INPUT_BITS * row_words];
        let slots = vec![NO_SLOT; MAX_INPUT_BITS];
        let rows = ConnectedRows { row_words, slots: &slots, private: &[], template: &template };
        let all: Vec<u16> = (0..4095).collect();
        for active in [63, 64, 511, 512, MAX_INPUT_BITS] {
            for isa in Isa::available() {
                let mut planes = vec![u64::MAX; MAX_PLANES * row_words];
                let used = count(isa, rows, &all[..active], &mut planes);
                let overlap = |column| of_column(&planes[..used * row_words], row_words, column) as usize;
                assert!((0..9 * 64).all(|column| overlap(column) == active), "{active} on {isa}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "4096 active inputs overflow the planes")]
    fn more_active_inputs_than_the_planes_can_count_are_refused() {
        let rows = ConnectedRows { row_words: 1, slots: &[NO_SLOT], private: &[], template: &[1] };
        count(Isa::SCALAR, rows, &[0; 4096], &mut [0; MAX_PLANES]);
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

        #[test]
        fn counts_what_a_loop_counts_among_many_inputs(
            columns in 1usize..140,
            seed in any::<u64>(),
            (width, active) in (400..=MAX_INPUT_BITS).prop_flat_map(|width| (Just(width), 0..=width)),
        ) {
            let seeds: Vec<u64> = (0..width as u64).map(|input| seed.wrapping_add(input * input)).collect();
            // Some of the inputs, spread over all of them.
            let active = (0..active).map(|index| u16::try_from(index * width / active).expect("small"));
            check(columns, &seeds, &active.collect::<Vec<u16>>())?;
        }
    }
}
