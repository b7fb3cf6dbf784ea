//! Drops samples that are not newer than the one before them.
//!
//! A model learns time in order, so a metric's rows must ascend. The storer scrubs the samples of one metric
//! against the time of its newest row, read in the same transaction that appends, so that two storers cannot
//! both accept; it counts what is dropped only after the commit.
//!
//! Source: htmengine's `_scrubDataSamples`.
//! Departures: times are whole seconds, as they are stored (the original compared microseconds it then cut, and
//! stored two rows of one second); the newest row is always read, not remembered, so that a failed commit cannot
//! make a retry see its own samples as duplicates.

use crate::reject::RejectReason;
use crate::repository::metric_data::StoredSample;

/// A parsed sample and the line it came from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LineSample {
    /// What would be stored.
    pub(super) sample: StoredSample,
    /// Which line of the batch.
    pub(super) line_idx: usize,
}

/// What is left, and what was dropped for which reason.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scrubbed {
    /// Strictly ascending in time.
    pub(super) accepted: Vec<StoredSample>,
    /// Line and reason.
    pub(super) refused: Vec<(usize, RejectReason)>,
}

/// Keeps each sample that is newer than `tail` (unix seconds of the newest row, `None` without rows) and than
/// every sample kept before it.
pub(super) fn scrub(tail: Option<i64>, samples: &[LineSample]) -> Scrubbed {
    let mut newest = tail;
    let mut scrubbed = Scrubbed::default();
    for LineSample { sample, line_idx } in samples {
        match newest {
            Some(newest) if sample.timestamp < newest => {
                scrubbed.refused.push((*line_idx, RejectReason::LateSample));
            }
            Some(newest) if sample.timestamp == newest => {
                scrubbed.refused.push((*line_idx, RejectReason::DuplicateSample));
            }
            _ => {
                newest = Some(sample.timestamp);
                scrubbed.accepted.push(*sample);
            }
        }
    }
    scrubbed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RejectReason::{DuplicateSample, LateSample};
    use super::*;

    fn check(tail: Option<i64>, times: &[i64], accepted: &[i64], refused: &[(usize, RejectReason)]) {
        let samples: Vec<LineSample> = (0..)
            .zip(times)
            .map(|(line_idx, &timestamp)| LineSample {
                sample: StoredSample { timestamp, value: 1.0 },
                line_idx,
            })
            .collect();
        let found = scrub(tail, &samples);
        assert_eq!(found.accepted.iter().map(|sample| sample.timestamp).collect::<Vec<_>>(), accepted);
        assert_eq!(found.refused, refused);
    }

    #[test]
    fn keeps_ascending_samples() {
        check(None, &[], &[], &[]);
        check(None, &[5, 6, 7], &[5, 6, 7], &[]);
        check(Some(4), &[5, 6, 7], &[5, 6, 7], &[]);
        check(None, &[-3, 0], &[-3, 0], &[]);
    }

    #[test]
    fn drops_samples_not_newer_than_the_tail() {
        check(Some(6), &[5, 6, 7], &[7], &[(0, LateSample), (1, DuplicateSample)]);
    }

    #[test]
    fn drops_samples_out_of_order_within_the_batch() {
        check(
            None,
            &[5, 5, 4, 6, 5, 6],
            &[5, 6],
            &[(1, DuplicateSample), (2, LateSample), (4, LateSample), (5, DuplicateSample)],
        );
    }

    proptest! {
        #[test]
        fn what_is_kept_ascends_and_nothing_is_unaccounted_for(
            tail in prop::option::of(0_i64..50),
            times in prop::collection::vec(0_i64..50, 0..40),
        ) {
            let samples: Vec<LineSample> = (0..)
                .zip(&times)
                .map(|(line_idx, &timestamp)| LineSample { sample: StoredSample { timestamp, value: 0.0 }, line_idx })
                .collect();
            let found = scrub(tail, &samples);
            let kept: Vec<i64> = tail.into_iter().chain(found.accepted.iter().map(|kept| kept.timestamp)).collect();
            prop_assert!(kept.is_sorted_by(|before, after| before < after));
            prop_assert_eq!(found.accepted.len() + found.refused.len(), times.len());
            // The newest of all is always there: either it was stored before, or it is kept.
            prop_assert_eq!(kept.last(), tail.iter().chain(&times).max());
        }
    }
}
