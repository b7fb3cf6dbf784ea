//! The display value: the anomaly score as a colour band for charts.
//!
//! 0 for no score, about 1,000 (green), 1,000,000 (yellow) or 1,000,000,000 (red) plus a logarithm of the score
//! that the integer column rounds away, except for a full 1.
//!
//! Source: `rescaleForDisplay` of htmengine's anomaly service.

use htm_core::anomaly::likelihood::log_likelihood;

const RED_FROM: f64 = 0.5;
const YELLOW_FROM: f64 = 0.4;

/// The display value of an active metric's `anomaly_score` (0..=1).
pub fn display_value(anomaly_score: f64) -> f64 {
    let magnitude = anomaly_score.abs();
    if magnitude <= 0.0 {
        return 0.0;
    }
    let scaled = if magnitude > 0.99999 { 1.0 } else { log_likelihood(magnitude) };
    let band = if scaled >= RED_FROM {
        1e9
    } else if scaled >= YELLOW_FROM {
        1e6
    } else {
        1e3
    };
    scaled + band
}

/// The display value as its integer column holds it.
pub fn stored_display_value(anomaly_score: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 1,000,000,001")]
    let rounded = display_value(anomaly_score).round() as i64;
    rounded
}

#[cfg(test)]
mod tests {
    use super::stored_display_value;

    #[test]
    fn bands_equal_the_original() {
        for (score, stored) in [
            (0.0, 0),
            (0.3, 1000),
            (0.9999, 1000),
            (0.999_900_1, 1_000_000),
            (0.99999, 1_000_000),
            (0.999_990_1, 1_000_000_001),
            (1.0, 1_000_000_001),
        ] {
            assert_eq!(stored_display_value(score), stored, "{score}");
        }
    }
}
