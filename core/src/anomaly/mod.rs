//! From active and predicted columns to the anomaly score.
//!
//! [`raw_score`] is the share of active columns that were not predicted. [`likelihood`] asks how rare the recent
//! average of raw scores is under the scores seen before. Two procedures decide when that past is measured:
//! [`htmengine_likelihood`] is part of every model's step and fills the `anomaly_score` column;
//! [`nab_likelihood`] is NuPIC's own class as NAB uses it, for comparison and replay.
//!
//! Everything is `f64` and in the reference's order of operations, down to numpy's summation and Python's `erfc`.

pub mod complementary_error;
pub mod htmengine_likelihood;
pub mod likelihood;
pub mod moving_average;
pub mod nab_likelihood;
pub mod raw_score;
pub mod score_window;
pub mod statistics;
