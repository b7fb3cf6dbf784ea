//! Time-of-day residual (T): a value further from what this hour usually brings than any before.
//!
//! A profile of 24 hours of the day, UTC; daylight saving shifts it for the ten days that a bin remembers. A bin learns
//! when its hour is left, the whole visit at once, so that a metric's speed does not matter. Its residuals also feed the
//! sustained elevation.
//!
//! Source: component T of our specification of the fused score. Where that is silent our recordings decided: the running
//! mean takes in the value before the residual is formed, with a rate of at least one over the records so far.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::record_novelty::{RecordNovelty, SeenRange, Sides};

/// Hours of the day.
const BINS: usize = 24;
const BIN_S: i64 = 3600;
const DAY_S: i64 = 86_400;
/// Visits, so days, over which a bin's mean is taken.
const VISITS: u32 = 10;
/// Records over which the running mean is taken, which stands in for bins not yet left.
const RUNNING_RECORDS: f64 = 500.0;
const NOVELTY: RecordNovelty =
    RecordNovelty { first_record_idx: 50, warm_up_records: 50, sides: Sides::Both };
/// Novelty at which the component is 1.
const FULL: f64 = 0.05;

/// The profile and the residuals seen.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct TimeOfDay {
    running_mean: f64,
    /// Of the values since the current bin was entered.
    visit_sum: f64,
    visit_records: u64,
    /// The last record's bin.
    bin: u64,
    bin_means: [f64; BINS],
    /// Visits that each mean has taken in, counted up to [`VISITS`].
    bin_visits: [u32; BINS],
    range: SeenRange,
}

/// What the component says of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct HourlyResidual {
    /// Value minus what is usual, in the value's units.
    pub(super) residual: f64,
    /// 0..=1.
    pub(super) component: f64,
}

impl TimeOfDay {
    /// Takes in the next record. `magnitude` is the largest of all values so far.
    pub(super) fn take_in(
        &mut self,
        record_idx: u64,
        timestamp: i64,
        value: f64,
        magnitude: f64,
    ) -> HourlyResidual {
        let bin = (timestamp.rem_euclid(DAY_S) / BIN_S).unsigned_abs();
        self.running_mean +=
            (1.0 / RUNNING_RECORDS).max(1.0 / count(record_idx + 1)) * (value - self.running_mean);
        if record_idx > 0 && bin != self.bin {
            self.leave_bin();
        }
        self.bin = bin;
        let bin_idx = index(bin);
        let usual = if self.bin_visits[bin_idx] > 0 { self.bin_means[bin_idx] } else { self.running_mean };
        let residual = value - usual;
        self.visit_sum += value;
        self.visit_records += 1;
        let novelty = NOVELTY.take_in(&mut self.range, record_idx, residual, magnitude);
        HourlyResidual { residual, component: (novelty / FULL).min(1.0) }
    }

    fn leave_bin(&mut self) {
        let bin_idx = index(self.bin);
        let (mean, visits) = (&mut self.bin_means[bin_idx], &mut self.bin_visits[bin_idx]);
        *visits = (*visits + 1).min(VISITS);
        let rate = (1.0 / f64::from(VISITS)).max(1.0 / f64::from(*visits));
        *mean += rate * (self.visit_sum / count(self.visit_records) - *mean);
        (self.visit_sum, self.visit_records) = (0.0, 0);
    }

    /// Whether it can be the state of the component; to be asked of one read from a file.
    pub(super) fn is_possible(&self) -> bool {
        let are_finite =
            [self.running_mean, self.visit_sum].iter().chain(&self.bin_means).all(|x| x.is_finite());
        let are_counts = self.bin < BINS as u64 && self.bin_visits.iter().all(|&visits| visits <= VISITS);
        are_finite && are_counts && self.range.is_possible()
    }
}

/// A bin as an index; a bin that there is not, as a forged file may have, becomes the last.
fn index(bin: u64) -> usize {
    usize::try_from(bin).map_or(BINS - 1, |bin| bin.min(BINS - 1))
}

fn count(records: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 records")]
    let count = records as f64;
    count
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small integers are exact")]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    const HOUR: i64 = 3600;

    #[test]
    fn a_bin_learns_a_visit_when_it_is_left() {
        let mut profile = TimeOfDay::new_zeroed();
        let mut residual =
            |record_idx, timestamp, value| profile.take_in(record_idx, timestamp, value, value).residual;
        assert_eq!(residual(0, -HOUR, 4.0), 0.0);
        assert_eq!(residual(1, -HOUR + 60, 8.0), 2.0, "the running mean is 6");
        assert_eq!(residual(2, 0, 6.0), 0.0, "hour 0, and hour 23 before it");
        assert_eq!(residual(3, 23 * HOUR, 7.0), 1.0, "hour 23 usually brings 6");
        assert_eq!(residual(4, 24 * HOUR, 7.0), 1.0, "hour 0 brought 6");
        assert_eq!(residual(5, 47 * HOUR, 8.0), 1.5, "6 and 7 on two visits");
        assert!(profile.is_possible());
    }

    #[test]
    fn any_timestamp_has_an_hour() {
        let mut profile = TimeOfDay::new_zeroed();
        for (record_idx, timestamp) in (0..).zip([i64::MIN, i64::MAX, -1, 0, i64::MIN, i64::MIN]) {
            assert!(profile.take_in(record_idx, timestamp, 1.0, 1.0).residual.abs() < 1e-15);
        }
        assert!(profile.is_possible());
    }
}
