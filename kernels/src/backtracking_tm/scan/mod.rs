//! The threshold scan: which segments have enough active synapses.
//!
//! Contract: of `counters`, one per segment and `first_id` the first's id, those that reach the threshold are appended
//! to `found` in order. [`After::Clear`] zeroes all counters on the way, which costs less than a pass of its own.
//!
//! Most blocks of counters hold none that reaches it, so the code for each instruction set is a test of a block, and
//! something reasonable for the rest.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use super::bank;
use super::state::Found;
use crate::isa::{Isa, IsaKind};

/// Entries that the buffers of [`Found`] need beyond the number of segments.
pub const SLACK: usize = 64;

/// What becomes of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// They stay.
    Keep,
    /// They become 0.
    Clear,
}

/// Finds the segments that reach `threshold`; `counters` are [`bank::BANK_COUNTERS`] a bank.
///
/// # Panics
/// If there are too few counters for `segment_count` segments, or too little room in `found`.
pub fn scan(
    isa: Isa,
    counters: &mut [u8],
    segment_count: usize,
    threshold: u8,
    after: After,
    found: &mut Found<'_>,
) {
    found.count = 0;
    let room = found.segments.len().min(found.activity.len());
    assert!(room >= segment_count + SLACK, "room for {room} found segments of {segment_count}");
    let banks = bank::chunks(counters);
    for ((first_id, count), counters) in
        bank::in_use(segment_count).zip(&mut banks[..bank::banks_for(segment_count)])
    {
        scan_bank(isa, Block { counters: &mut counters[..count], first_id, threshold, after }, found);
    }
}

/// What one bank is scanned for.
struct Block<'a> {
    counters: &'a mut [u8],
    first_id: u32,
    threshold: u8,
    after: After,
}

fn scan_bank(isa: Isa, block: Block<'_>, found: &mut Found<'_>) {
    let room = found.segments.len().min(found.activity.len());
    assert!(room >= found.count + block.counters.len() + SLACK, "room for {room} found segments");
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls code for an instruction set")]
        IsaKind::Avx512 => {
            // SAFETY: an `Isa` exists only where the machine has its features.
            unsafe { avx512::scan(block, found) }
        }
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls code for an instruction set")]
        IsaKind::Avx2 => {
            // SAFETY: an `Isa` exists only where the machine has its features.
            unsafe { avx2::scan(block, found) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        IsaKind::Avx2 | IsaKind::Avx512 => scalar::scan(block, found),
        IsaKind::Scalar => scalar::scan(block, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(counters: &[u8], threshold: u8, after: After) {
        let expected: Vec<(u32, u8)> =
            (7..).zip(counters.iter().copied()).filter(|(_, count)| *count >= threshold).collect();
        for isa in Isa::available() {
            let mut left = counters.to_vec();
            let (mut segments, mut activity) = (vec![0; left.len() + SLACK], vec![0; left.len() + SLACK]);
            let mut found = Found { segments: &mut segments, activity: &mut activity, count: 0 };
            scan_bank(isa, Block { counters: &mut left, first_id: 7, threshold, after }, &mut found);
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{isa}, {} counters", counters.len());
            let is_kept = after == After::Keep;
            assert!(
                if is_kept { left == counters } else { left.iter().all(|&c| c == 0) },
                "{isa}, {after:?}"
            );
        }
    }

    #[test]
    fn every_length_around_a_vector_is_scanned_alike() {
        for len in [0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000u32] {
            let counters: Vec<u8> = (0..len).map(|id| u8::try_from(id * 7 % 65).expect("small")).collect();
            for threshold in [0, 1, 13, 63, 64] {
                check(&counters, threshold, After::Keep);
                check(&counters, threshold, After::Clear);
            }
        }
    }

    proptest! {
        #[test]
        fn any_counters_are_scanned_alike(
            counters in proptest::collection::vec(any::<u8>(), 0..600),
            threshold in 0u8..=64,
        ) {
            check(&counters, threshold, After::Clear);
        }
    }

    #[test]
    fn ids_go_on_in_the_next_bank() {
        let segment_count = bank::BANK_SEGMENTS + 10;
        let mut counters = vec![0; 2 * bank::BANK_COUNTERS];
        for id in [0, 65_534, 65_535, 65_544] {
            counters[bank::counter_of(id)] = 20;
        }
        // The spare counter of a bank is not looked at.
        counters[bank::BANK_SEGMENTS] = 20;
        let (mut segments, mut activity) = (vec![0; segment_count + SLACK], vec![0; segment_count + SLACK]);
        let mut found = Found { segments: &mut segments, activity: &mut activity, count: 0 };
        scan(Isa::best(), &mut counters, segment_count, 13, After::Keep, &mut found);
        assert_eq!(found.segments(), [0, 65_534, 65_535, 65_544]);
    }
}
