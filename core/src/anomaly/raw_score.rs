//! The raw anomaly score: the share of active columns that the last step did not predict.
//!
//! Source: `computeRawAnomalyScore` of nupic's `anomaly.py`; the region stores it as an `f32`, so that is the
//! score.

use htm_kernels::word;

/// Score of `active_columns` against the bit set `predicted_columns`; 0 without active columns.
///
/// # Panics
/// If a column lies outside the bit set.
pub fn raw_anomaly_score(active_columns: &[u16], predicted_columns: &[u64]) -> f32 {
    if active_columns.is_empty() {
        return 0.0;
    }
    let unpredicted =
        active_columns.iter().filter(|&&column| !word::get(predicted_columns, usize::from(column))).count();
    #[expect(clippy::cast_precision_loss, reason = "at most 63 columns")]
    let share = unpredicted as f64 / active_columns.len() as f64;
    #[expect(clippy::cast_possible_truncation, reason = "the reference stores an f32")]
    let score = share as f32;
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "scores must be equal to the bit")]
    fn counts_the_unpredicted_share() {
        let predicted = [0b1011u64, 0];
        assert_eq!(raw_anomaly_score(&[0, 1, 3], &predicted), 0.0);
        assert_eq!(raw_anomaly_score(&[0, 2, 64, 65], &predicted), 0.75);
        assert_eq!(raw_anomaly_score(&[], &predicted), 0.0);
        let columns: Vec<u16> = (0..40).collect();
        let mut predicted = [u64::MAX];
        predicted[0] ^= 1;
        assert_eq!(f64::from(raw_anomaly_score(&columns, &predicted)), 0.025_000_000_372_529_03);
    }
}
