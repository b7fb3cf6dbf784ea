//! Sustained elevation (L): for an hour or two even the low values are higher than they ever were for so long.
//!
//! The lower quartile of the last residuals, so that lone spikes, which inflate every mean and range, cannot hide a
//! modest plateau later.
//!
//! Source: component L of our specification of the fused score.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::record_novelty::{RecordNovelty, SeenRange, Sides};
use super::sampling_interval::SamplingInterval;
use super::saturating_share;

/// Longest window.
const MAX_RECORDS: usize = 24;
/// Seconds, least and most records of each window.
const WINDOWS: [(u16, usize, usize); 2] = [(3600, 6, 12), (7200, 12, MAX_RECORDS)];
/// Records before the first full window that counts.
const SKIP_RECORDS: u64 = 100;
const WARM_UP_RECORDS: u64 = 50;
/// Novelty at which the component is one half.
const HALF: f64 = 0.1;

/// The last residuals, and the quartiles seen.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct SustainedElevation {
    /// Oldest first; zeros before the first record.
    residuals: [f64; MAX_RECORDS],
    /// One for each window.
    ranges: [SeenRange; 2],
}

impl SustainedElevation {
    /// Takes in the next record's residual; 0..=1. `magnitude` is the largest of all values so far.
    pub(super) fn take_in(
        &mut self,
        record_idx: u64,
        interval: &SamplingInterval,
        residual: f64,
        magnitude: f64,
    ) -> f64 {
        self.residuals.copy_within(1.., 0);
        self.residuals[MAX_RECORDS - 1] = residual;
        let mut highest = 0.0_f64;
        for ((horizon_s, least, most), range) in WINDOWS.into_iter().zip(&mut self.ranges) {
            let records = interval.records_in(horizon_s, least, most);
            let novelty = RecordNovelty {
                first_record_idx: SKIP_RECORDS + records as u64,
                warm_up_records: WARM_UP_RECORDS,
                sides: Sides::Up,
            };
            if record_idx >= novelty.first_record_idx {
                let quartile = lower_quartile(&self.residuals[MAX_RECORDS - records..]);
                highest = highest.max(novelty.take_in(range, record_idx, quartile, magnitude));
            }
        }
        saturating_share(highest, HALF)
    }

    /// Whether it can be the state of the component; to be asked of one read from a file.
    pub(super) fn is_possible(&self) -> bool {
        self.residuals.iter().all(|residual| residual.is_finite())
            && self.ranges.iter().all(SeenRange::is_possible)
    }
}

/// The lower quartile of 2 to 24 values, between two of them by linear interpolation.
fn lower_quartile(values: &[f64]) -> f64 {
    let mut room = [0.0; MAX_RECORDS];
    let sorted = &mut room[..values.len()];
    sorted.copy_from_slice(values);
    sorted.sort_unstable_by(f64::total_cmp);
    let intervals = values.len() - 1;
    let (below, quarters) = (intervals / 4, intervals % 4);
    #[expect(clippy::cast_precision_loss, reason = "at most 3")]
    let share = quarters as f64 / 4.0;
    sorted[below] + (sorted[below + 1] - sorted[below]) * share
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small fractions are exact")]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn quartiles_are_interpolated() {
        assert_eq!(lower_quartile(&[4.0, 1.0, 3.0, 2.0, 5.0]), 2.0);
        assert_eq!(lower_quartile(&[1.0, 2.0]), 1.25);
        assert_eq!(lower_quartile(&[8.0, 4.0, 2.0, 0.0]), 1.5);
    }

    #[test]
    fn a_plateau_counts_and_a_spike_does_not() {
        let interval = SamplingInterval::new_zeroed();
        let mut elevation = SustainedElevation::new_zeroed();
        let mut level = |record_idx: u64, residual| elevation.take_in(record_idx, &interval, residual, 1.0);
        for record_idx in 0..300 {
            let residual = if record_idx % 2 == 0 { -1.0 } else { 1.0 + f64::from(record_idx % 7 == 0) };
            assert_eq!(level(record_idx, if record_idx == 250 { 90.0 } else { residual }), 0.0);
        }
        let plateau: Vec<f64> = (300..330).map(|record_idx| level(record_idx, 1.5)).collect();
        assert_eq!(plateau[..5], [0.0; 5], "more than a quarter of the hour is still low");
        assert!(plateau.iter().any(|&component| component > 0.5), "{plateau:?}");
    }
}
