//! Baseline: how far a value lies from the median of its hour of the day, in robust standard deviations.
//!
//! Each of the 24 UTC hours keeps its last 120 values, ten days of 5-minute samples. The deviation is that of the median
//! absolute deviation, scaled to a normal distribution; where more than half the values are equal, the mean absolute
//! deviation takes its place. z becomes z / (z + 3.5): 0.5 at 3.5, the usual limit.
//!
//! Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993), the modified z-score.

use super::observation::Observation;
use super::real;

const HOURS: usize = 24;
const SECONDS_PER_HOUR: i64 = 3600;
/// Values an hour keeps.
const KEPT_VALUES: usize = 120;
/// Values an hour needs before it scores.
const WARM_UP_VALUES: usize = 12;
/// The z-score that scores one half.
const HALF_SCORE_Z: f64 = 3.5;
/// Standard deviations of a normal distribution per median, and per mean, absolute deviation.
const SCALE_OF_MEDIAN: f64 = 1.4826;
const SCALE_OF_MEAN: f64 = 1.253_314;

/// The recent values of each hour.
#[derive(Debug, Clone)]
pub struct HourlyZScore {
    hours: Vec<RecentValues>,
    scratch: Vec<f64>,
}

#[derive(Debug, Clone, Default)]
struct RecentValues {
    values: Vec<f64>,
    oldest: usize,
}

impl Default for HourlyZScore {
    fn default() -> Self {
        Self { hours: vec![RecentValues::default(); HOURS], scratch: Vec::with_capacity(KEPT_VALUES) }
    }
}

impl HourlyZScore {
    /// Score of the next record, 0 to 1.
    pub fn score(&mut self, observation: &Observation) -> f64 {
        let hour = (observation.timestamp / SECONDS_PER_HOUR).rem_euclid(24);
        let hour = &mut self.hours[usize::try_from(hour).unwrap_or_default()];
        let mut score = 0.0;
        if hour.values.len() >= WARM_UP_VALUES {
            score = deviation_score(observation.value, &hour.values, &mut self.scratch);
        }
        hour.push(observation.value);
        score
    }
}

impl RecentValues {
    fn push(&mut self, value: f64) {
        if self.values.len() < KEPT_VALUES {
            self.values.push(value);
        } else {
            self.values[self.oldest] = value;
            self.oldest = (self.oldest + 1) % KEPT_VALUES;
        }
    }
}

fn deviation_score(value: f64, past: &[f64], scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    scratch.extend_from_slice(past);
    let median = median(scratch);
    for past in scratch.iter_mut() {
        *past = (*past - median).abs();
    }
    let mean_deviation = scratch.iter().sum::<f64>() / real(scratch.len());
    let median_deviation = self::median(scratch);
    let deviation = if median_deviation > 0.0 {
        SCALE_OF_MEDIAN * median_deviation
    } else {
        SCALE_OF_MEAN * mean_deviation
    };
    let distance = (value - median).abs();
    if deviation > 0.0 {
        let z = distance / deviation;
        1.0 - HALF_SCORE_Z / (z + HALF_SCORE_Z)
    } else {
        // A constant hour: any other value is infinitely many deviations away.
        f64::from(u8::from(distance > 0.0))
    }
}

/// The median; leaves the values in another order. There is at least one.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp);
    match lower {
        Some(lower) if values.len().is_multiple_of(2) => lower.midpoint(upper),
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&mut [4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-12);
        assert!((median(&mut [7.0]) - 7.0).abs() < 1e-12);
    }

    #[test]
    fn each_hour_has_its_own_normal() {
        let mut detector = HourlyZScore::default();
        let mut score = |hour: i64, value: f64| {
            detector.score(&Observation { timestamp: hour * SECONDS_PER_HOUR, value, raw_score: 0.0 })
        };
        for day in 0..20_u32 {
            let wobble = f64::from(day % 3);
            assert!(score(i64::from(day) * 24 + 3, 10.0 + wobble) < 0.5);
            assert!(score(i64::from(day) * 24 + 4, 1000.0) < 0.5);
        }
        // Median 11, median deviation 1: 3.5 deviations are 5.1891.
        assert!((score(3, 11.0 + 3.5 * 1.4826) - 0.5).abs() < 1e-9);
        assert!(score(3, 1000.0) > 0.99);
        assert!((score(4, 1000.1) - 1.0).abs() < 1e-12, "a constant hour");
        assert!(score(5, 1e9) < 1e-12, "an hour without a past");
        assert!(score(-21, 11.0) < 0.5, "hours before 1970 wrap");
    }

    #[test]
    fn an_hour_mostly_of_equal_values_uses_the_mean_deviation() {
        let mut past = vec![0.0; 15];
        past.push(16.0);
        let score = deviation_score(3.5 * SCALE_OF_MEAN, &past, &mut Vec::new());
        assert!((score - 0.5).abs() < 1e-9, "{score}");
    }
}
