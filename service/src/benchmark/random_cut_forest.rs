//! Baseline: a robust random cut forest over the last eight values.
//!
//! The forest is the crate rcf3's, the maintained successor by the same author of krcf, which wraps a 2021 port of
//! Amazon's code; rcf3 has no unsafe code and takes a seed. 50 trees of 256 points and a shingle of 8 are the defaults of
//! Amazon's library for streams. Its scores have no fixed scale; Amazon's advice is to alert at three standard
//! deviations above their mean, here those of the scores seen before: z becomes z / (z + 3), 0.5 at the limit.
//!
//! Source: Guha, Mishra, Roy, Schrijvers, Robust Random Cut Forest Based Anomaly Detection on Streams (ICML 2016).

use rcf3::Forest;

use super::BenchmarkError;
use super::observation::Observation;
use super::real;

const TREES: usize = 50;
const POINTS_PER_TREE: usize = 256;
const SHINGLE_VALUES: usize = 8;
const SEED: u64 = 42;
/// Deviations above the mean that score one half.
const HALF_SCORE_Z: f64 = 3.0;
/// Forest scores before their deviation counts.
const WARM_UP_SCORES: usize = 100;

/// The forest, and mean and spread of its scores.
pub struct RandomCutForest {
    forest: Forest,
    score_count: usize,
    mean: f64,
    squares: f64,
}

impl RandomCutForest {
    /// A forest that has seen nothing.
    ///
    /// # Errors
    /// If the crate refuses our parameters.
    pub fn new() -> Result<Self, BenchmarkError> {
        let forest = Forest::builder(1)
            .shingle_size(SHINGLE_VALUES)
            .num_trees(TREES)
            .capacity(POINTS_PER_TREE)
            .seed(SEED)
            .build()
            .map_err(|error| BenchmarkError::new(format!("no random cut forest: {error}")))?;
        Ok(Self { forest, score_count: 0, mean: 0.0, squares: 0.0 })
    }

    /// Score of the next record, 0 to 1.
    ///
    /// # Errors
    /// If the forest cannot take the value.
    pub fn score(&mut self, observation: &Observation) -> Result<f64, BenchmarkError> {
        let refused = |error| BenchmarkError::new(format!("the random cut forest refused a value: {error}"));
        #[expect(clippy::cast_possible_truncation, reason = "the forest computes in f32; it is clamped")]
        let point = observation.value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        if !self.forest.is_ready() {
            self.forest.update(&[point]).map_err(refused)?;
            return Ok(0.0);
        }
        let forest_score = self.forest.update_and_score(&[point]).map_err(refused)?;
        Ok(self.rank(forest_score))
    }

    /// How far above the earlier scores this one is; it then becomes one of them.
    fn rank(&mut self, forest_score: f64) -> f64 {
        let mut score = 0.0;
        if self.score_count >= WARM_UP_SCORES {
            let deviation = (self.squares / real(self.score_count)).sqrt();
            if deviation > 0.0 {
                let z = ((forest_score - self.mean) / deviation).max(0.0);
                score = 1.0 - HALF_SCORE_Z / (z + HALF_SCORE_Z);
            }
        }
        self.score_count += 1;
        let before = forest_score - self.mean;
        self.mean += before / real(self.score_count);
        self.squares += before * (forest_score - self.mean);
        score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rhythm_scores_higher_than_the_rhythm() {
        let mut forest = RandomCutForest::new().expect("usable parameters");
        let mut score = |at: u32, value: f64| {
            let observation = Observation { timestamp: i64::from(at) * 300, value, raw_score: 0.0 };
            forest.score(&observation).expect("taken")
        };
        let rhythm = |at: u32| f64::from(at % 24) + f64::from(at * 7919 % 101) / 200.0;
        let usual: Vec<f64> = (0..1500).map(|at| score(at, rhythm(at))).collect();
        let odd = score(1500, 300.0);
        assert!(odd > 0.6, "{odd}");
        assert!(usual[600..].iter().filter(|&&score| score > 0.5).count() < 18, "at most 2 % false alarms");
    }

    #[test]
    fn the_same_values_score_the_same() {
        let scores = || {
            let mut forest = RandomCutForest::new().expect("usable parameters");
            let score = |at: u32| {
                let observation =
                    Observation { timestamp: 0, value: f64::from(at * 31 % 17), raw_score: 0.0 };
                forest.score(&observation).expect("taken").to_bits()
            };
            (0..400).map(score).collect::<Vec<_>>()
        };
        assert_eq!(scores(), scores());
    }
}
