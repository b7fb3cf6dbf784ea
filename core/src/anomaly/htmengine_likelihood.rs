//! htmengine's own likelihood procedure: the anomaly score of the `anomaly_score` column.
//!
//! The first 99 rows score 0. From the 100th on the past is measured every 24 rows (of the last 8,640, without
//! the first 288 of that window); between two measurements rows are scored one by one.
//!
//! The original's scores depend on how rows happened to be batched. A model's step uses batches of one row, so
//! that replay gives the same scores; [`HtmengineLikelihood::score_batch`] keeps the whole procedure because the
//! original's recordings of larger batches check it.
//!
//! Source: `AnomalyLikelihoodHelper` of htmengine. Departures: the rows looked back on are part of the state
//! instead of being read from the database; rules that only deleted rows could trigger are left out.

use super::likelihood::LikelihoodState;
use super::score_window::ScoreWindow;

/// Rows before the first measurement.
pub const MIN_ROWS: u64 = 100;
/// Rows between measurements.
pub const REFRESH_ROWS: i64 = 24;
/// Rows at the start of the window that are not measured.
pub const SKIP_ROWS: usize = 288;
/// Above this score the past is measured again at once (within a batch), but ...
const GREEDY_SCORE: f64 = 0.99;
/// ... not before this many rows after the last time.
const GREEDY_ROWS: i64 = 3;

/// One row to score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredRow {
    /// Row number within the metric, from 1, consecutive.
    pub row_id: i64,
    /// The sample.
    pub value: f64,
    /// Its raw anomaly score.
    pub raw_score: f32,
}

/// The procedure's state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HtmengineLikelihood {
    window: ScoreWindow,
    row_count: u64,
    measured: Option<Measured>,
}

/// The last measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// What it found, carried on since.
    pub state: LikelihoodState,
    /// The row it was made at.
    pub row_id: i64,
}

impl HtmengineLikelihood {
    /// Puts a saved state together again.
    pub fn from_parts(window: ScoreWindow, row_count: u64, measured: Option<Measured>) -> Self {
        Self { window, row_count, measured }
    }

    /// Scores one row as a batch of its own. `scratch` is reused memory.
    pub fn score(&mut self, row: ScoredRow, scratch: &mut Vec<f64>) -> f64 {
        let mut score = [0.0];
        self.score_batch(&[row], &mut score, scratch);
        score[0]
    }

    /// Scores a batch of consecutive rows into `scores` and returns whether the past was measured.
    ///
    /// # Panics
    /// If there are fewer scores than rows.
    pub fn score_batch(&mut self, rows: &[ScoredRow], scores: &mut [f64], scratch: &mut Vec<f64>) -> bool {
        assert!(scores.len() >= rows.len(), "{} scores for {} rows", scores.len(), rows.len());
        let tenth = i64::try_from(rows.len() / 10).unwrap_or(i64::MAX);
        let refresh_rows = REFRESH_ROWS.max(tenth);
        let mut done = 0;
        let mut has_measured = false;
        if self.measured.is_none() {
            let wanted = usize::try_from(MIN_ROWS.saturating_sub(self.row_count)).unwrap_or(usize::MAX);
            done = wanted.min(rows.len());
            for (row, score) in rows[..done].iter().zip(&mut *scores) {
                self.take_in(*row);
                *score = 0.0;
            }
            if self.row_count < MIN_ROWS {
                return false;
            }
            has_measured = true;
            self.measure(rows.get(done.wrapping_sub(1)).map_or(0, |row| row.row_id), scratch);
        }
        while done < rows.len() {
            let measured = self.measured.as_mut().expect("measured above");
            let end = measured.row_id + refresh_rows;
            let mut run = 0;
            let mut state = measured.state;
            let measured_at = measured.row_id;
            while let Some(row) = rows.get(done + run).filter(|row| row.row_id <= end) {
                let score = 1.0 - state.update(row.raw_score);
                scores[done + run] = score;
                run += 1;
                self.take_in(*row);
                if score > GREEDY_SCORE && measured_at + GREEDY_ROWS < row.row_id {
                    break;
                }
            }
            self.measured = Some(Measured { state, row_id: measured_at });
            done += run;
            let last_row_id = if done == 0 { rows[0].row_id - 1 } else { rows[done - 1].row_id };
            if done < rows.len() || last_row_id >= end {
                has_measured = true;
                self.measure(last_row_id, scratch);
            }
        }
        has_measured
    }

    /// The rows looked back on.
    pub fn window(&self) -> &ScoreWindow {
        &self.window
    }

    /// Rows taken in so far.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// The last measurement.
    pub fn measured(&self) -> Option<&Measured> {
        self.measured.as_ref()
    }

    fn take_in(&mut self, row: ScoredRow) {
        self.window.push(row.value, row.raw_score);
        self.row_count += 1;
    }

    fn measure(&mut self, row_id: i64, scratch: &mut Vec<f64>) {
        let state = LikelihoodState::estimate(&self.window, SKIP_ROWS, scratch);
        self.measured = Some(Measured { state, row_id });
    }
}
