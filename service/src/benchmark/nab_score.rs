//! NAB's figures for a corpus: the best threshold of a profile, and points from 0 (never alerts) to 100 (perfect).
//!
//! Source: `runner.py` of NAB: one threshold for the whole corpus, and normalisation between a detector that never
//! alerts and one that alerts at the first row of every window and nowhere else.

use htm_core::anomaly::nab_likelihood::probation_rows;

use super::profile::Profile;
use super::real;
use super::sweep::{Outcome, PlacedRow, Sweep, places};
use super::window::Window;

/// The scores of one series, ready to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedSeries {
    /// Path below NAB's `data`, such as `realTweets/Twitter_volume_AAPL.csv`.
    pub name: String,
    /// Windows of the series.
    pub windows: Vec<Window>,
    /// Its rows without those of the probation, which are not judged.
    pub rows: Vec<PlacedRow>,
}

impl JudgedSeries {
    /// `scores` has one for every row.
    pub fn new(name: &str, scores: &[f64], windows: Vec<Window>) -> Self {
        let probation = probation_rows(scores.len());
        let placed = scores.iter().zip(places(scores.len(), &windows));
        let rows = placed.skip(probation).map(|(&score, place)| PlacedRow { score, place }).collect();
        Self { name: name.to_owned(), windows, rows }
    }

    /// The part of the name before the first `/`.
    pub fn category(&self) -> &str {
        self.name.split_once('/').map_or("", |(category, _)| category)
    }
}

/// A corpus, or a part of it, at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NabScore {
    /// At the threshold.
    pub outcome: Outcome,
    /// 0 for silence, 100 for perfection, possibly far below 0; `None` without windows.
    pub normalised: Option<f64>,
    /// Windows that can be hit.
    pub window_count: usize,
}

/// The score at the threshold that is best for this profile on these very series.
pub fn best_score(series: &[&JudgedSeries], profile: &Profile) -> NabScore {
    let sweep = sweep_of(series);
    normalise(series, &sweep, profile, sweep.best(profile))
}

/// The score at a threshold chosen elsewhere.
pub fn score_at(series: &[&JudgedSeries], profile: &Profile, threshold: f64) -> NabScore {
    let sweep = sweep_of(series);
    normalise(series, &sweep, profile, sweep.at(threshold, profile))
}

/// Normalised points of these series together, whatever thresholds they came from.
pub fn normalised_points(series: &[&JudgedSeries], profile: &Profile, points: f64) -> Option<f64> {
    between(series, &sweep_of(series), profile, points)
}

fn sweep_of(series: &[&JudgedSeries]) -> Sweep {
    Sweep::of(series.iter().map(|series| &series.rows[..]))
}

fn normalise(series: &[&JudgedSeries], sweep: &Sweep, profile: &Profile, outcome: Outcome) -> NabScore {
    let normalised = between(series, sweep, profile, outcome.points);
    NabScore { outcome, normalised, window_count: sweep.window_count() }
}

fn between(series: &[&JudgedSeries], sweep: &Sweep, profile: &Profile, points: f64) -> Option<f64> {
    let silent = sweep.silent_points(profile);
    let window_count: usize = series.iter().map(|series| series.windows.len()).sum();
    let perfect = profile.hit * real(window_count);
    (perfect > silent).then(|| 100.0 * (points - silent) / (perfect - silent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::profile::nab_profiles;

    fn series(name: &str, alerts: &[usize], windows: &[(usize, usize)]) -> JudgedSeries {
        let scores: Vec<f64> =
            (0..100).map(|row_idx| f64::from(u8::from(alerts.contains(&row_idx)))).collect();
        let windows = windows.iter().map(|&(first, last)| Window { first, last }).collect();
        JudgedSeries::new(name, &scores, windows)
    }

    #[test]
    fn silence_is_0_and_perfection_100() {
        let windows = [(30, 39), (60, 69)];
        let (perfect, silent) = (series("a/x", &[30, 60], &windows), series("a/x", &[], &windows));
        for profile in nab_profiles() {
            let score = best_score(&[&perfect], &profile);
            assert!(score.normalised.is_some_and(|points| (points - 100.0).abs() < 1e-9), "{score:?}");
            assert_eq!((score.outcome.hit_count, score.window_count), (2, 2));
            let score = score_at(&[&silent], &profile, 0.5);
            assert!(score.normalised.is_some_and(|points| points.abs() < 1e-9), "{score:?}");
        }
        assert_eq!(perfect.category(), "a");
    }

    #[test]
    fn alerts_during_probation_are_not_judged() {
        let standard = &nab_profiles()[0];
        let score = score_at(&[&series("a/x", &[0, 14], &[])], standard, 0.5);
        assert_eq!((score.outcome.false_alarm_rows, score.normalised), (0, None));
        let score = score_at(&[&series("a/x", &[15], &[])], standard, 0.5);
        assert_eq!(score.outcome.false_alarm_rows, 1);
        assert!((score.outcome.points + 0.11).abs() < 1e-12);
    }
}
