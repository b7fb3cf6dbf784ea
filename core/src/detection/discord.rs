//! Streaming discord (D): the last 32 values look like no 32 values of the day before.
//!
//! The distance to the most similar stretch that ended 32 to 281 records ago, kept as one running sum for each lag: a
//! record adds the newest difference and takes away the one that leaves. Every sum sees its additions in the order of the
//! records, whatever the width of vectors, so all instruction sets give the same bits.
//!
//! What leaves a running sum leaves its rounding error behind, which after a huge difference may be all there is. So the
//! smallest sum is summed anew before it is used, and one more in turn with each record; one that is off is replaced.
//!
//! Source: component D of our specification of the fused score, after Keogh's time series discords. Departures: values
//! are kept as `f64`, because our recordings were made so; running sums are checked as said.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::record_novelty::{RecordNovelty, SeenRange, Sides};
use super::saturating_share;

/// Values compared.
const WIDTH: usize = 32;
/// Lags: from a width, so that a stretch is not compared with itself, to this less one.
const LAGS: usize = 250;
const MAX_LAG: usize = WIDTH + LAGS - 1;
/// Values that the next record's difference at the longest lag reaches back to.
const HISTORY: usize = MAX_LAG + WIDTH;
const NOVELTY: RecordNovelty = RecordNovelty { first_record_idx: 150, warm_up_records: 50, sides: Sides::Up };
/// Novelty at which the component is one half.
const HALF: f64 = 0.1;
/// A running sum off by more than this share is replaced; rounding alone keeps far below.
const DRIFT_SHARE: f64 = 1e-9;
/// Sums compared at a time when the smallest is looked for: enough for two vectors of the widest kind.
const LANES: usize = 16;

/// The last values, and a running sum for each lag.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Discord {
    /// Oldest first; zeros before the first record.
    values: [f64; HISTORY],
    /// Squared differences over the last [`WIDTH`] values, longest lag first: at `idx` that of lag 281 - `idx`.
    sums: [f64; LAGS],
    range: SeenRange,
}

impl Discord {
    /// Takes in the next record's value; 0..=1. `magnitude` is the largest of all values so far.
    pub(super) fn take_in(&mut self, record_idx: u64, value: f64, magnitude: f64) -> f64 {
        let records = usize::try_from(record_idx).unwrap_or(usize::MAX);
        self.advance(records, value);
        // Sums of shorter lags are complete earlier.
        let first = (MAX_LAG + WIDTH - 1).saturating_sub(records);
        if first >= LAGS {
            return 0.0;
        }
        self.correct(first.max(records % LAGS));
        let mut smallest = self.smallest(first);
        while self.correct(smallest) {
            smallest = self.smallest(first);
        }
        #[expect(clippy::cast_precision_loss, reason = "32")]
        let distance = (self.sums[smallest].max(0.0) / WIDTH as f64).sqrt();
        saturating_share(NOVELTY.take_in(&mut self.range, record_idx, distance, magnitude), HALF)
    }

    /// Whether it can be the state of the component; to be asked of one read from a file.
    pub(super) fn is_possible(&self) -> bool {
        let is_distance = |&sum: &f64| sum.is_finite();
        self.values.iter().all(|value| value.abs() <= super::MAX_MAGNITUDE)
            && self.sums.iter().all(is_distance)
            && self.range.is_possible()
    }

    /// Brings the sums from the last record to this one, and the values.
    fn advance(&mut self, records: usize, value: f64) {
        // A lag has its first difference when as many records have been before, and its last leaves a width later.
        let first_added = MAX_LAG.saturating_sub(records).min(LAGS);
        let first_left = (MAX_LAG + WIDTH).saturating_sub(records).min(LAGS);
        let entering = &self.values[WIDTH..][..LAGS];
        for (sum, before) in self.sums[first_added..].iter_mut().zip(&entering[first_added..]) {
            *sum += (value - before) * (value - before);
        }
        let left = self.values[HISTORY - WIDTH];
        for (sum, before) in self.sums[first_left..].iter_mut().zip(&self.values[first_left..LAGS]) {
            *sum -= (left - before) * (left - before);
        }
        self.values.copy_within(1.., 0);
        self.values[HISTORY - 1] = value;
    }

    /// Index of a smallest sum from `first` on.
    fn smallest(&self, first: usize) -> usize {
        let (chunks, rest) = self.sums[first..].as_chunks::<LANES>();
        let mut lanes = [f64::INFINITY; LANES];
        for chunk in chunks {
            for (lane, &sum) in lanes.iter_mut().zip(chunk) {
                *lane = if sum < *lane { sum } else { *lane };
            }
        }
        let smallest = lanes.iter().chain(rest).fold(f64::INFINITY, |smallest, &sum| smallest.min(sum));
        let at = self.sums[first..].iter().position(|&sum| sum <= smallest);
        first + at.unwrap_or(0)
    }

    /// Sums the distance at `idx` anew; returns whether the running sum was off and has been replaced.
    fn correct(&mut self, idx: usize) -> bool {
        let (before, now) = (&self.values[idx..][..WIDTH], &self.values[HISTORY - WIDTH..]);
        let anew =
            before.iter().zip(now).fold(0.0, |sum, (before, now)| sum + (now - before) * (now - before));
        let is_off = (anew - self.sums[idx]).abs() > DRIFT_SHARE * anew.max(self.sums[idx]);
        if is_off {
            self.sums[idx] = anew;
        }
        is_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    /// The distance by its definition.
    fn distance(values: &[f64]) -> f64 {
        let newest = values.len() - 1;
        let stretch = |end: usize| &values[end + 1 - WIDTH..=end];
        let lags = (WIDTH..=MAX_LAG).filter(|lag| newest + 1 >= lag + WIDTH);
        let sums = lags.map(|lag| {
            let differences = stretch(newest).iter().zip(stretch(newest - lag));
            differences.map(|(now, before)| (now - before) * (now - before)).sum::<f64>()
        });
        (sums.fold(f64::INFINITY, f64::min) / 32.0).sqrt()
    }

    fn check(values: &[f64]) {
        let mut discord = Discord::new_zeroed();
        for (record_idx, &value) in values.iter().enumerate() {
            discord.take_in(record_idx as u64, value, 1.0);
            if record_idx + 1 >= 2 * WIDTH {
                let first = (MAX_LAG + WIDTH - 1).saturating_sub(record_idx);
                let expected = distance(&values[..=record_idx]);
                let found = (discord.sums[discord.smallest(first)].max(0.0) / 32.0).sqrt();
                let error = (found - expected).abs();
                assert!(error <= 1e-6 * expected, "record {record_idx}: {found} instead of {expected}");
            }
        }
        assert!(discord.is_possible());
    }

    #[test]
    fn a_huge_value_leaves_nothing_behind() {
        // Small integers among halves and a spike whose square has no digits left for them.
        let mut values: Vec<f64> = (0..1500).map(|record| f64::from(record * record % 17) / 2.0).collect();
        values[100] = 1e12;
        values[700] = -3e20;
        let mut discord = Discord::new_zeroed();
        for (record_idx, &value) in values.iter().enumerate() {
            discord.take_in(record_idx as u64, value, 1.0);
        }
        let last = discord.smallest(0);
        let mut checked = discord;
        assert!(!checked.correct(last), "the smallest sum is right");
        assert!((0..LAGS).all(|idx| !checked.correct(idx)), "all sums are");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_running_sums_are_the_distance(values in proptest::collection::vec(-100.0..100.0_f64, 0..500)) {
            check(&values);
        }
    }

    #[test]
    fn a_repeated_shape_is_no_discord_and_a_new_one_is() {
        let wave = |record: u32| f64::from(record % 40).mul_add(0.1, f64::from(record * 7 % 5) * 0.01);
        let mut discord = Discord::new_zeroed();
        let mut component = |record: u32, value| discord.take_in(record.into(), value, 4.0);
        for record in 0..1000 {
            assert!(component(record, wave(record)) < 0.7, "record {record}");
        }
        let odd = (1000..1032).map(|record| component(record, 4.0 - wave(record))).fold(0.0, f64::max);
        assert!(odd > 0.9, "{odd}");
    }
}
