//! Two halves of a corpus, and scores at thresholds that the other half chose.
//!
//! NAB chooses its threshold on the very files it scores. Here each half is scored at the threshold that is best on the
//! other, which no file of the half has helped to choose. Halves: within each category the series are put in the order
//! of the SHA-1 of their names, and dealt out in turn, on through the categories by name.

use sha1::{Digest, Sha1};

use super::nab_score::{JudgedSeries, best_score, normalised_points, score_at};
use super::profile::Profile;

/// Scores of a corpus at thresholds chosen on its other half.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossValidated {
    /// The threshold that the first half chose, and the second's.
    pub thresholds: [f64; 2],
    /// Of both halves together; `None` without windows.
    pub normalised: Option<f64>,
}

/// For each name, whether it belongs to the second half. A category is the part before the first `/`.
pub fn second_half(names: &[&str]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    let category =
        |name: &str| name.split_once('/').map_or(String::new(), |(category, _)| category.to_owned());
    order.sort_by_cached_key(|&index| (category(names[index]), Sha1::digest(names[index].as_bytes())));
    let mut is_second = vec![false; names.len()];
    for (turn, index) in order.into_iter().enumerate() {
        is_second[index] = turn % 2 == 1;
    }
    is_second
}

/// The score when each half's threshold is chosen on the other.
pub fn cross_validate(series: &[&JudgedSeries], profile: &Profile) -> CrossValidated {
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let is_second = second_half(&names);
    let half = |wanted: bool| -> Vec<&JudgedSeries> {
        series.iter().zip(&is_second).filter(|(_, is)| **is == wanted).map(|(series, _)| *series).collect()
    };
    let halves = [half(false), half(true)];
    let thresholds = [0, 1].map(|at| best_score(&halves[at], profile).outcome.threshold);
    let points: f64 =
        [0, 1].map(|at| score_at(&halves[at], profile, thresholds[1 - at]).outcome.points).iter().sum();
    CrossValidated { thresholds, normalised: normalised_points(series, profile, points) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::profile::nab_profiles;
    use crate::benchmark::window::Window;

    #[test]
    fn halves_are_dealt_out_within_categories() {
        let names: Vec<String> =
            ["b", "a"].into_iter().flat_map(|c| (0..5).map(move |at| format!("{c}/{at}.csv"))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let is_second = second_half(&names);
        let count = |part: &[bool]| part.iter().filter(|&&is_second| is_second).count();
        assert_eq!((count(&is_second[..5]), count(&is_second[5..])), (3, 2));
        let mut shuffled = names.clone();
        shuffled.reverse();
        let mut again = second_half(&shuffled);
        again.reverse();
        assert_eq!(is_second, again, "the order of the files does not matter");
    }

    #[test]
    fn a_half_is_scored_at_the_threshold_of_the_other() {
        let series = |name: &str, alert: f64| {
            let mut scores = vec![0.0; 100];
            scores[50] = alert;
            JudgedSeries::new(name, &scores, vec![Window { first: 50, last: 59 }])
        };
        // Alone, each half is perfect; the lower alert is missed at the higher threshold.
        let all = [series("a/0", 0.9), series("a/1", 0.4)];
        let found = cross_validate(&[&all[0], &all[1]], &nab_profiles()[0]);
        let mut thresholds = found.thresholds;
        thresholds.sort_by(f64::total_cmp);
        assert!((thresholds[0] - 0.4).abs() < 1e-12 && (thresholds[1] - 0.9).abs() < 1e-12);
        assert!(found.normalised.is_some_and(|points| (points - 50.0).abs() < 1e-9), "{found:?}");
    }
}
