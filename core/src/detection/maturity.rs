//! The maturity ramp: how much the components of a metric this young are believed.
//!
//! Calendar time since the first record, whatever the number of records: people and machines repeat themselves by days.
//!
//! Source: the maturity of our specification of the fused score. Departure: the ramp starts at the earliest timestamp
//! seen, which is the first one's unless the clock goes backwards, so that one sample from the future costs nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Maturity of a metric's first records.
pub(super) const LEAST: f64 = 0.3;
/// After so many days a metric is mature.
const RAMP_DAYS: f64 = 5.0;
const DAY_S: f64 = 86_400.0;

/// When the metric began.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Maturity {
    /// Unix seconds.
    earliest_timestamp: i64,
}

impl Maturity {
    /// Takes in the next record's timestamp.
    pub(super) fn take_in(&mut self, record_idx: u64, timestamp: i64) {
        let is_earliest = record_idx == 0 || timestamp < self.earliest_timestamp;
        self.earliest_timestamp = if is_earliest { timestamp } else { self.earliest_timestamp };
    }

    /// Maturity at `timestamp`: [`LEAST`] to 1.
    pub(super) fn at(self, timestamp: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 seconds it is 1 in any case")]
        let age_s = timestamp.saturating_sub(self.earliest_timestamp) as f64;
        (age_s / DAY_S / RAMP_DAYS).clamp(LEAST, 1.0)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small fractions are exact")]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn a_metric_matures_in_five_days_from_its_earliest_sample() {
        let mut maturity = Maturity::new_zeroed();
        maturity.take_in(0, 9_000_000_000);
        maturity.take_in(1, 86_400);
        for (timestamp, expected) in
            [(86_400, 0.3), (86_400 * 5, 0.8), (86_400 * 6, 1.0), (i64::MAX, 1.0), (i64::MIN, 0.3)]
        {
            assert_eq!(maturity.at(timestamp), expected, "{timestamp}");
        }
    }
}
