//! Record novelty: by how much of all that was ever seen a value lies beyond it.
//!
//! Four of the five components ask this of a series of their own: residuals, their quartiles, slow averages of raw
//! scores, discord distances. It has no scale and assumes no distribution; the range never shrinks, so a value is novel
//! once, and the chance of a false record falls with the number of records.
//!
//! Source: `rec(x; start, warm, sides)` of our specification of the fused score. Departures: a range no wider than
//! rounding makes it counts as none, and quotients beyond the largest number are that number.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Share of a series' magnitude below which differences are rounding: sums over an hour of samples stay a hundred times
/// below it.
const ROUNDING_SHARE: f64 = 1e-12;

/// Which values can be novel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    /// Those above all others.
    Up,
    /// Those above or below all others.
    Both,
}

/// When a series counts, and in which direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordNovelty {
    /// Index of the first record whose value enters the range.
    pub(super) first_record_idx: u64,
    /// Values that must be in the range before one can be novel.
    pub(super) warm_up_records: u64,
    /// Directions.
    pub(super) sides: Sides,
}

impl RecordNovelty {
    /// How far `value` lies beyond `range`, in widths of the range (0: inside), before it enters the range itself.
    ///
    /// Every record from the first one on must be told once. `magnitude` is that of the numbers which the value is a
    /// difference or an average of; it says how large rounding errors can be.
    pub(super) fn take_in(self, range: &mut SeenRange, record_idx: u64, value: f64, magnitude: f64) -> f64 {
        let Some(seen_records) = record_idx.checked_sub(self.first_record_idx) else { return 0.0 };
        if seen_records == 0 {
            *range = SeenRange { low: value, high: value };
            return 0.0;
        }
        let width = range.high - range.low;
        let mut excess = 0.0;
        if seen_records >= self.warm_up_records && width > magnitude * ROUNDING_SHARE {
            let below = if self.sides == Sides::Both { range.low - value } else { 0.0 };
            excess = ((value - range.high).max(below).max(0.0) / width).min(f64::MAX);
        }
        range.low = range.low.min(value);
        range.high = range.high.max(value);
        excess
    }
}

/// The lowest and highest value of a series so far; zeros before the first.
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct SeenRange {
    low: f64,
    high: f64,
}

impl SeenRange {
    /// Whether it can be a range; to be asked of one read from a file.
    pub(super) fn is_possible(&self) -> bool {
        self.low.is_finite() && self.high.is_finite() && self.low <= self.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn check(sides: Sides, magnitude: f64, values: &[f64], expected: &[f64]) {
        let novelty = RecordNovelty { first_record_idx: 1, warm_up_records: 2, sides };
        let mut range = SeenRange::new_zeroed();
        let found: Vec<f64> = (0..)
            .zip(values)
            .map(|(record_idx, &value)| novelty.take_in(&mut range, record_idx, value, magnitude))
            .collect();
        assert_eq!(found, expected);
        assert!(range.is_possible());
    }

    #[test]
    fn a_value_is_novel_once_and_before_it_widens_the_range() {
        let values = [99.0, 1.0, 3.0, 4.0, 4.0, 0.0, 6.0];
        check(Sides::Up, 1.0, &values, &[0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.5]);
        check(Sides::Both, 1.0, &values[..6], &[0.0, 0.0, 0.0, 0.5, 0.0, 1.0 / 3.0]);
    }

    #[test]
    fn rounding_makes_no_range() {
        check(Sides::Both, 5.0, &[0.0, 1e-15, 2e-15, 9e-15, 7.0], &[0.0; 5]);
        check(Sides::Up, 0.0, &[2.0; 5], &[0.0; 5]);
    }

    #[test]
    fn no_quotient_is_infinite() {
        check(Sides::Up, 0.0, &[0.0, 0.0, 5e-324, 1e100], &[0.0, 0.0, 0.0, f64::MAX]);
    }
}
