//! Mean, middle and tail of measured times.

use serde::{Deserialize, Serialize};

/// What is told of many times, all in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many.
    pub count: usize,
    /// Their mean.
    pub mean_us: f64,
    /// Half are not longer.
    pub p50_us: f64,
    /// 99 of a hundred are not longer.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Quantiles {
    /// Of these times; zeros if there are none.
    pub fn of(times_us: &mut [f64]) -> Self {
        times_us.sort_by(f64::total_cmp);
        let Some(&max_us) = times_us.last() else { return Self::default() };
        let at = |percent: usize| times_us[(times_us.len() * percent / 100).min(times_us.len() - 1)];
        Self { count: times_us.len(), mean_us: mean(times_us), p50_us: at(50), p99_us: at(99), max_us }
    }
}

/// The mean; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 times are measured")]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The middle value, the upper one of two; 0 of nothing.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_hundredth() {
        let mut times: Vec<f64> = (0..200).rev().map(f64::from).collect();
        let quantiles = Quantiles::of(&mut times);
        let expected = Quantiles { count: 200, mean_us: 99.5, p50_us: 100.0, p99_us: 198.0, max_us: 199.0 };
        assert_eq!(quantiles, expected);
        assert_eq!(Quantiles::of(&mut []), Quantiles::default());
    }
}
