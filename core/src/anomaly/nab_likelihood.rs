//! NuPIC's `AnomalyLikelihood` class with the parameters NAB gives it: the likelihood column of a replay.
//!
//! The first rows (the learning period plus the estimation samples) score 0.5; from then on the past is
//! measured every 100 rows, the current row excluded.
//!
//! Source: class `AnomalyLikelihood` of nupic's `anomaly_likelihood.py`; parameters from NAB's
//! `numenta_detector.py`. Departure: a file so short that there is no past at the first estimate scores 0.5,
//! where the reference fails.

use super::likelihood::LikelihoodState;
use super::score_window::{ScoreWindow, WINDOW_ROWS};

const REESTIMATION_ROWS: usize = 100;
/// NAB's probation: this share of a file, but at most that of 5,000 rows.
const PROBATION_SHARE: f64 = 0.15;
const PROBATION_BASE_ROWS: f64 = 5000.0;

/// Rows at the start of a file of `file_rows` rows that NAB gives detectors to learn in and does not score, 0 to 750.
pub fn probation_rows(file_rows: usize) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "files have fewer than 2^53 rows")]
    let share = (PROBATION_SHARE * file_rows as f64).floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=750")]
    let rows = share.min(PROBATION_SHARE * PROBATION_BASE_ROWS) as usize;
    rows
}

/// The class's state.
#[derive(Debug, Clone)]
pub struct NabLikelihood {
    learning_rows: usize,
    probation_rows: usize,
    iteration: usize,
    window: ScoreWindow,
    state: Option<LikelihoodState>,
    scratch: Vec<f64>,
}

impl NabLikelihood {
    /// For a file of `file_rows` rows.
    pub fn for_file(file_rows: usize) -> Self {
        let probation_rows = probation_rows(file_rows);
        Self {
            learning_rows: probation_rows / 2,
            probation_rows,
            iteration: 0,
            window: ScoreWindow::default(),
            state: None,
            scratch: Vec::new(),
        }
    }

    /// The likelihood of one row: near 1 is odd.
    #[expect(clippy::missing_panics_doc, reason = "the state is always estimated before it is used")]
    pub fn likelihood(&mut self, value: f64, raw_score: f32) -> f64 {
        let mut likelihood = 0.5;
        if self.iteration >= self.probation_rows && !self.window.is_empty() {
            if self.state.is_none() || self.iteration.is_multiple_of(REESTIMATION_ROWS) {
                // As rows fall out of the window there is less left to skip.
                let shifted = self.iteration.saturating_sub(WINDOW_ROWS);
                let skip_rows = self.iteration.min(self.learning_rows.saturating_sub(shifted));
                self.state = Some(LikelihoodState::estimate(&self.window, skip_rows, &mut self.scratch));
            }
            let state = self.state.as_mut().expect("estimated above");
            likelihood = 1.0 - state.update(raw_score);
        }
        self.window.push(value, raw_score);
        self.iteration += 1;
        likelihood
    }

    /// What is known of the past, once it has been measured.
    pub fn state(&self) -> Option<&LikelihoodState> {
        self.state.as_ref()
    }
}
