//! Baseline: alert on a value outside every value seen before.
//!
//! How far outside, as a share of the range seen, becomes e / (e + 0.05): 0.5 at 5 %, which is NAB's spatial rule.

use super::observation::Observation;

/// Overshoot, as a share of the range, that scores one half.
const HALF_SCORE_OVERSHOOT: f64 = 0.05;
/// Values before anything is scored.
const WARM_UP_RECORDS: usize = 50;

/// The range seen so far.
#[derive(Debug, Clone)]
pub struct RangeRule {
    seen_count: usize,
    min: f64,
    max: f64,
}

impl Default for RangeRule {
    fn default() -> Self {
        Self { seen_count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl RangeRule {
    /// Score of the next record, 0 to 1.
    pub fn score(&mut self, observation: &Observation) -> f64 {
        let value = observation.value;
        let mut score = 0.0;
        if self.seen_count >= WARM_UP_RECORDS && self.min < self.max {
            let overshoot = (value - self.max).max(self.min - value).max(0.0) / (self.max - self.min);
            // Beyond the largest number the share is 1, not a division of infinities.
            score = 1.0 - HALF_SCORE_OVERSHOOT / (overshoot + HALF_SCORE_OVERSHOOT);
        }
        self.seen_count += 1;
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
        score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overshoot_of_a_twentieth_scores_a_half() {
        let mut rule = RangeRule::default();
        let mut score = |value| rule.score(&Observation { timestamp: 0, value, raw_score: 0.0 });
        let warm_up: f64 = (0..50_u32).map(|at| score(f64::from(at % 2) * 100.0)).sum();
        let later = [score(100.0), score(105.0), score(105.0), score(-1e308)];
        let expected = [0.0, 0.5, 0.0, 1.0];
        assert!(warm_up.abs() < 1e-12);
        assert!(
            later.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9),
            "{later:?}"
        );
    }
}
