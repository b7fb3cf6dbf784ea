//! How many records an hour or two of this metric are.
//!
//! The windows of two components are times, but counted in records, so that a step costs the same whatever the clock
//! does. The median of the first gaps decides once; until then, and if most of those gaps are 0, the windows are those
//! of a fast metric.
//!
//! Source: the clipped record counts of our specification of the fused score. Departures: gaps back in time count as 0
//! and longer ones than the longest horizon as that, which changes no count and lets a gap fit 16 bits.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Gaps that the median is taken of.
const GAPS: usize = 99;
/// Longest horizon asked for, in seconds: longer gaps give the same counts.
const MAX_GAP_S: u16 = 7200;

/// The first gaps between timestamps, and their median.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct SamplingInterval {
    /// Of the last record, unix seconds.
    last_timestamp: i64,
    /// The first ones, in order; seconds.
    gaps_s: [u16; GAPS],
    /// Their median, seconds; 0 until it is known.
    interval_s: u16,
}

impl SamplingInterval {
    /// Takes in the next record's timestamp.
    pub(super) fn take_in(&mut self, record_idx: u64, timestamp: i64) {
        let gap_idx = usize::try_from(record_idx).unwrap_or(usize::MAX).wrapping_sub(1);
        if let Some(gap_s) = self.gaps_s.get_mut(gap_idx) {
            let clipped = timestamp.saturating_sub(self.last_timestamp).clamp(0, MAX_GAP_S.into());
            *gap_s = u16::try_from(clipped).unwrap_or(MAX_GAP_S);
            if gap_idx == GAPS - 1 {
                let mut gaps_s = self.gaps_s;
                self.interval_s = *gaps_s.select_nth_unstable(GAPS / 2).1;
            }
        }
        self.last_timestamp = timestamp;
    }

    /// Records that `horizon_s` seconds are, at least `least` and at most `most`.
    pub(super) fn records_in(&self, horizon_s: u16, least: usize, most: usize) -> usize {
        if self.interval_s == 0 {
            return most;
        }
        usize::from(horizon_s.div_ceil(self.interval_s)).clamp(least, most)
    }

    /// Whether it can be the state of an interval; to be asked of one read from a file.
    pub(super) fn is_possible(&self) -> bool {
        self.interval_s <= MAX_GAP_S && self.gaps_s.iter().all(|&gap_s| gap_s <= MAX_GAP_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn windows(timestamps: impl IntoIterator<Item = i64>) -> [usize; 3] {
        let mut interval = SamplingInterval::new_zeroed();
        for (record_idx, timestamp) in (0..).zip(timestamps) {
            interval.take_in(record_idx, timestamp);
        }
        assert!(interval.is_possible());
        [(3600, 3, 10), (3600, 6, 12), (7200, 12, 24)].map(|(h, low, high)| interval.records_in(h, low, high))
    }

    #[test]
    fn windows_are_times_in_records() {
        let every = |step_s: i64| (0..200).map(move |record| 1_400_000_000 + record * step_s);
        assert_eq!(windows(every(300)), [10, 12, 24]);
        assert_eq!(windows(every(1800)), [3, 6, 12]);
        assert_eq!(windows(every(700)), [6, 6, 12]);
        assert_eq!(windows(every(86_400)), [3, 6, 12]);
        assert_eq!(windows(every(3600).take(99)), [10, 12, 24], "98 gaps");
        assert_eq!(windows(every(3600).take(100)), [3, 6, 12], "99 gaps");
    }

    #[test]
    fn broken_clocks_give_the_windows_of_a_fast_metric() {
        assert_eq!(windows(std::iter::repeat_n(5, 200)), [10, 12, 24]);
        assert_eq!(windows((0..200).rev().map(|record| record * 3600)), [10, 12, 24]);
        assert_eq!(
            windows((0..200).map(|record| if record % 2 == 0 { i64::MIN } else { i64::MAX })),
            [3, 6, 12]
        );
    }
}
