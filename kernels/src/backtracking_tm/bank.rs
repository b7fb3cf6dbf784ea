//! Banks of segments: the presynaptic index names segments by 16 bits, so it is kept per bank of 65,535.
//!
//! Segment ids are dense over all banks. Counters of active synapses are kept in chunks of 65,536 a bank, so that
//! no 16-bit index can lie outside one and counting needs no bounds checks; the last counter of a chunk is spare.
//! 65,535 and not 65,536 segments, so that the length of a posting list fits 16 bits, too.

/// Segments of a bank.
pub const BANK_SEGMENTS: usize = 65_535;

/// Counters of a bank.
pub const BANK_COUNTERS: usize = 1 << 16;

/// Counters of one bank.
pub type BankCounters = [u8; BANK_COUNTERS];

/// Banks that `segment_count` segments lie in; one even for none, because cells are described in the first.
pub const fn banks_for(segment_count: usize) -> usize {
    let banks = segment_count.div_ceil(BANK_SEGMENTS);
    if banks == 0 { 1 } else { banks }
}

/// Bank of a segment, and its number there.
#[expect(clippy::cast_possible_truncation, reason = "a remainder below 65,535")]
#[inline]
pub const fn split(segment: u32) -> (usize, u16) {
    (segment as usize / BANK_SEGMENTS, (segment as usize % BANK_SEGMENTS) as u16)
}

/// Where the counter of a segment lies.
#[inline]
pub const fn counter_of(segment: u32) -> usize {
    let (bank, local) = split(segment);
    bank * BANK_COUNTERS + local as usize
}

/// The chunks of counters, bank by bank.
///
/// # Panics
/// If the length is no multiple of [`BANK_COUNTERS`].
pub fn chunks(counters: &mut [u8]) -> &mut [BankCounters] {
    let (chunks, rest) = counters.as_chunks_mut();
    assert!(rest.is_empty(), "counters come in chunks of {BANK_COUNTERS}, {} are left over", rest.len());
    chunks
}

/// First id of each bank in use and the segments it has, given `segment_count` in all.
///
/// # Panics
/// If ids do not fit 32 bits.
pub fn in_use(segment_count: usize) -> impl Iterator<Item = (u32, usize)> {
    let firsts = (0..segment_count).step_by(BANK_SEGMENTS);
    firsts.map(move |first| {
        let first_id = u32::try_from(first).expect("segment ids fit 32 bits");
        (first_id, (segment_count - first).min(BANK_SEGMENTS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_counters_leave_one_spare() {
        assert_eq!(split(0), (0, 0));
        assert_eq!(split(65_534), (0, 65_534));
        assert_eq!(split(65_535), (1, 0));
        assert_eq!(counter_of(65_535), 65_536);
        assert_eq!([0, 1, 65_535, 65_536].map(banks_for), [1, 1, 1, 2]);
        assert_eq!(in_use(65_537).collect::<Vec<_>>(), [(0, 65_535), (65_535, 2)]);
        assert_eq!(in_use(0).count(), 0);
    }
}
