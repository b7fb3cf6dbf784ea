//! The last raw anomaly scores, which two components average over different times.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Records kept.
pub(super) const RECORDS: usize = 80;

/// The last raw anomaly scores.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct RecentScores {
    /// Oldest first; zeros before the first record.
    raw_scores: [f32; RECORDS],
}

impl RecentScores {
    /// Takes in the next record's raw anomaly score, 0..=1.
    pub(super) fn take_in(&mut self, raw_score: f32) {
        self.raw_scores.copy_within(1.., 0);
        self.raw_scores[RECORDS - 1] = raw_score;
    }

    /// Mean of the last `records`, at most [`RECORDS`] of them; meaningless before there have been as many. Summed anew
    /// each time, oldest first, so that nothing drifts.
    pub(super) fn mean_of_last(&self, records: usize) -> f64 {
        let last = &self.raw_scores[RECORDS - records.clamp(1, RECORDS)..];
        #[expect(clippy::cast_precision_loss, reason = "at most 80")]
        let count = last.len() as f64;
        last.iter().fold(0.0, |sum, &raw_score| sum + f64::from(raw_score)) / count
    }

    /// Whether they can be raw scores; to be asked of some read from a file.
    pub(super) fn is_possible(&self) -> bool {
        self.raw_scores.iter().all(|raw_score| (0.0..=1.0).contains(raw_score))
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small fractions are exact")]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn averages_the_newest() {
        let mut recent = RecentScores::new_zeroed();
        for record in 0..200_u8 {
            recent.take_in(f32::from(record % 2));
        }
        recent.take_in(1.0);
        assert_eq!(recent.mean_of_last(1), 1.0);
        assert_eq!(recent.mean_of_last(4), 0.75);
        assert_eq!(recent.mean_of_last(RECORDS), 0.5125);
        assert!(recent.is_possible());
    }
}
