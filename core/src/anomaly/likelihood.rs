//! Anomaly likelihood: how improbable the recent average of raw scores is, under a normal distribution fitted to
//! the averages of the past.
//!
//! Source: `estimateAnomalyLikelihoods`, `updateAnomalyLikelihoods` and their helpers in nupic's
//! `anomaly_likelihood.py`. Probabilities here are of the tail, so small means odd; both users show `1 - tail`.
//! Averages far *below* the mean are odd too.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::complementary_error::erfc;
use super::moving_average::MovingAverage;
use super::score_window::ScoreWindow;
use super::statistics::{mean, variance};

/// Likelihoods kept for the filter.
const HISTORY: usize = 10;
/// Floors of the fitted distribution.
const MIN_MEAN: f64 = 0.03;
const MIN_VARIANCE: f64 = 0.0003;
/// Below this variance of its values a metric counts as flat: nothing is odd.
const FLAT_VARIANCE: f64 = 1.5e-5;
/// The reference divides by this literal, not by the square root of 2.
#[expect(clippy::approx_constant, reason = "the reference's literal is what its scores follow from")]
const ROOT_OF_TWO: f64 = 1.4142;
/// Of a run of tails at most this small only the first stays so small; the others become [`YELLOW`].
const RED: f64 = 1.0 - 0.99999;
const YELLOW: f64 = 1.0 - 0.999;

/// A normal distribution of averaged raw scores.
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Distribution {
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub variance: f64,
    /// Square root of the variance.
    pub stdev: f64,
}

impl Distribution {
    /// So wide that everything has a tail of about 0.5: used while too little is known.
    pub const NULL: Self = Self { mean: 0.5, variance: 1e6, stdev: 1e3 };

    fn of(averages: &[f64]) -> Self {
        let mean = mean(averages).max(MIN_MEAN);
        let variance = variance(averages).max(MIN_VARIANCE);
        Self { mean, variance, stdev: variance.sqrt() }
    }

    /// Probability of lying at least as far from the mean as `x`, on one side: 0.5 at the mean, towards 0.
    pub fn tail_probability(&self, x: f64) -> f64 {
        let x = if x < self.mean { 2.0 * self.mean - x } else { x };
        0.5 * erfc((x - self.mean) / self.stdev / ROOT_OF_TWO)
    }
}

/// What is known of a metric's raw scores, and where its averages stand.
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LikelihoodState {
    distribution: Distribution,
    average: MovingAverage,
    /// The last unfiltered tails, oldest first; only the first `history_count` count.
    history: [f64; HISTORY],
    history_count: u64,
}

impl LikelihoodState {
    /// Fits the distribution to all rows of the window after the first `skip_rows`, and replays the averages.
    /// `averages` is scratch.
    ///
    /// # Panics
    /// If the window is empty.
    pub fn estimate(window: &ScoreWindow, skip_rows: usize, averages: &mut Vec<f64>) -> Self {
        assert!(!window.is_empty(), "an estimate needs at least one row");
        let mut average = MovingAverage::default();
        averages.clear();
        averages.extend(window.raw_scores().map(|raw| average.push(f64::from(raw))));
        let first_of_history = averages.len().saturating_sub(HISTORY);
        let mut recent = [0.0; HISTORY];
        let history_count = averages.len() - first_of_history;
        recent[..history_count].copy_from_slice(&averages[first_of_history..]);
        let distribution = if window.len() <= skip_rows {
            Distribution::NULL
        } else {
            let fitted = Distribution::of(&averages[skip_rows..]);
            averages.clear();
            averages.extend(window.values().skip(skip_rows));
            if variance(averages) < FLAT_VARIANCE { Distribution::NULL } else { fitted }
        };
        let mut history = [0.0; HISTORY];
        for (tail, &averaged) in history.iter_mut().zip(&recent[..history_count]) {
            *tail = distribution.tail_probability(averaged);
        }
        Self { distribution, average, history, history_count: history_count as u64 }
    }

    /// Takes in one raw score and returns its filtered tail probability.
    #[expect(clippy::missing_panics_doc, reason = "the count is at most ten")]
    pub fn update(&mut self, raw_score: f32) -> f64 {
        let tail = self.distribution.tail_probability(self.average.push(f64::from(raw_score)));
        let mut count = usize::try_from(self.history_count).expect("at most ten").min(HISTORY);
        let is_run = count > 0 && tail <= RED && self.history[count - 1] <= RED;
        if count == HISTORY {
            self.history.copy_within(1.., 0);
            count -= 1;
        }
        self.history[count] = tail;
        self.history_count = count as u64 + 1;
        if is_run { YELLOW } else { tail }
    }

    /// Whether it can be the state of a likelihood; to be asked of one read from a file.
    pub fn is_possible(&self) -> bool {
        let Distribution { mean, stdev, .. } = self.distribution;
        mean.is_finite() && stdev.is_finite() && stdev > 0.0 && self.average_total().is_finite()
    }

    /// The fitted distribution.
    pub fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// The average's running total.
    pub fn average_total(&self) -> f64 {
        self.average.total()
    }
}

/// The likelihood on a scale that spreads the last few nines: 0.5 gives 0.03, 0.99999 gives 0.5, 1 gives 1.
pub fn log_likelihood(likelihood: f64) -> f64 {
    (1.000_000_000_1 - likelihood).ln() / -23.025_850_847_200_09
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "scores must be equal to the bit")]
mod tests {
    use super::*;

    #[test]
    fn log_likelihood_equals_the_reference() {
        for (likelihood, expected) in [
            (0.5, 0.030_102_999_665_883_4),
            (0.0, -4.342_945_193_758_039e-12),
            (0.999, 0.299_999_996_735_065_55),
            (0.99999, 0.499_999_567_504_533_95),
            (1.0, 1.0),
        ] {
            assert_eq!(log_likelihood(likelihood), expected);
        }
    }

    #[test]
    fn tails_fold_about_the_mean() {
        let distribution = Distribution { mean: 0.5, variance: 0.01, stdev: 0.1 };
        assert_eq!(distribution.tail_probability(0.5), 0.5);
        assert_eq!(distribution.tail_probability(0.25), distribution.tail_probability(0.75));
        assert!(distribution.tail_probability(0.75) < 0.01);
    }

    fn window(rows: usize, value: impl Fn(usize) -> f64) -> ScoreWindow {
        let mut window = ScoreWindow::default();
        for row in 0..rows {
            window.push(value(row), if row % 3 == 0 { 0.25 } else { 0.0 });
        }
        window
    }

    #[test]
    fn a_flat_metric_gets_the_null_distribution() {
        let mut scratch = Vec::new();
        let wavy = |row: usize| if row.is_multiple_of(2) { 1.0 } else { 2.0 };
        let estimate = LikelihoodState::estimate(&window(400, wavy), 288, &mut scratch);
        assert_ne!(estimate.distribution(), Distribution::NULL);
        let flat = LikelihoodState::estimate(&window(400, |_| 7.0), 288, &mut scratch);
        assert_eq!(flat.distribution(), Distribution::NULL);
        // Population variance of +-d is d^2: the rule reads "below 1.5e-5".
        let ripple = |d: f64| move |row: usize| if row.is_multiple_of(2) { d } else { -d };
        let below = LikelihoodState::estimate(&window(400, ripple(0.003_8)), 288, &mut scratch);
        assert_eq!(below.distribution(), Distribution::NULL);
        let above = LikelihoodState::estimate(&window(400, ripple(0.003_9)), 288, &mut scratch);
        assert_ne!(above.distribution(), Distribution::NULL);
    }

    #[test]
    fn too_few_rows_get_the_null_distribution() {
        let mut scratch = Vec::new();
        let wavy = |row: usize| if row.is_multiple_of(2) { 1.0 } else { 2.0 };
        let estimate = LikelihoodState::estimate(&window(288, wavy), 288, &mut scratch);
        assert_eq!(estimate.distribution(), Distribution::NULL);
    }

    #[test]
    fn only_the_first_of_a_run_of_red_tails_stays_red() {
        let mut scratch = Vec::new();
        let wavy = |row: usize| if row.is_multiple_of(2) { 1.0 } else { 2.0 };
        let mut state = LikelihoodState::estimate(&window(400, wavy), 0, &mut scratch);
        let tails: Vec<f64> = (0..10).map(|_| state.update(1.0)).collect();
        let first_red = tails.iter().position(|&tail| tail <= RED).expect("ten full scores are odd");
        assert!(tails[first_red + 1..].iter().all(|&tail| tail == YELLOW));
    }
}
