//! NAB's `numenta` detector: the likelihood of the model's raw scores, and 1 for a value far outside all seen before.
//!
//! Source: `numenta_detector.py` of NAB. It is told the length of the file, from which its learning period follows; that
//! is part of the detector as published.

use htm_core::anomaly::likelihood::log_likelihood;
use htm_core::anomaly::nab_likelihood::NabLikelihood;

use super::observation::Observation;

/// A value counts as far outside from this share of the range of values seen.
const SPATIAL_TOLERANCE: f64 = 0.05;

/// The detector's state.
#[derive(Debug, Clone)]
pub struct LikelihoodDetector {
    likelihood: NabLikelihood,
    min: f64,
    max: f64,
}

impl LikelihoodDetector {
    /// For a file of `file_rows` rows.
    pub fn for_file(file_rows: usize) -> Self {
        Self { likelihood: NabLikelihood::for_file(file_rows), min: f64::INFINITY, max: f64::NEG_INFINITY }
    }

    /// Score of the next record, 0 to 1.
    pub fn score(&mut self, observation: &Observation) -> f64 {
        let value = observation.value;
        // One value is no range yet; nor is the reference's before the first record.
        let has_range = self.min < self.max;
        let tolerance = (self.max - self.min) * SPATIAL_TOLERANCE;
        let is_outside = has_range && (value > self.max + tolerance || value < self.min - tolerance);
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
        let likelihood = self.likelihood.likelihood(value, observation.raw_score);
        if is_outside { 1.0 } else { log_likelihood(likelihood) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_far_outside_score_one_even_during_probation() {
        let mut detector = LikelihoodDetector::for_file(1000);
        let scores: Vec<f64> = [10.0, 10.0, 110.0, 115.0, 115.1, 121.0, 9.0]
            .into_iter()
            .map(|value| detector.score(&Observation { timestamp: 0, value, raw_score: 0.0 }))
            .collect();
        let is_one: Vec<bool> = scores.iter().map(|&score| score > 0.99).collect();
        assert_eq!(is_one, [false, false, false, false, false, true, false], "{scores:?}");
        assert!((scores[0] - 0.030_102_999_665_883_4).abs() < 1e-15);
    }
}
