//! NAB's sweep: what every threshold would be worth, and which is worth most.
//!
//! Each row has a [`Place`]: in a window it earns the more the earlier it is, outside it costs the more the farther it
//! lies behind a window. A threshold makes alerts of all rows at or above it; a window counts its best alert, or as
//! missed, and every alert outside counts. Going down through the scores, each threshold differs from the one before by
//! the rows it adds, so all of them cost one pass.
//!
//! Source: `sweeper.py` and `optimizer.py` of NAB. Of equally good thresholds the highest is taken, as there. Departure:
//! behind a window of one row, where NAB divides by zero, distances count as if it had two.

use super::profile::Profile;
use super::real;
use super::window::Window;

/// Where no score reaches: a threshold without alerts, as NAB starts.
pub const NO_ALERTS: f64 = 1.1;
/// Window widths behind a window from which on an alert costs everything.
const FAR_BEHIND: f64 = 3.0;

/// What an alert on a row is worth, before a profile's weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// In a window.
    Window {
        /// Which of the windows, from 0 on.
        window_idx: usize,
        /// 1 at the window's first row, falling to just above 0 at its last.
        reward: f64,
    },
    /// Outside all windows: from -1 up to 0 just behind a window.
    Outside {
        /// Not above 0.
        penalty: f64,
    },
}

/// A scored row in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacedRow {
    /// The detector's.
    pub score: f64,
    /// What an alert here is worth.
    pub place: Place,
}

/// What a threshold is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Rows at or above it are alerts.
    pub threshold: f64,
    /// NAB's raw score.
    pub points: f64,
    /// Windows with an alert.
    pub hit_count: usize,
    /// Alerts outside windows.
    pub false_alarm_rows: usize,
}

/// The places of all rows of a series; `windows` are in order and do not overlap.
pub fn places(row_count: usize, windows: &[Window]) -> Vec<Place> {
    let most = sigmoid(-1.0);
    let mut next = 0;
    (0..row_count)
        .map(|row_idx| {
            while windows.get(next).is_some_and(|window| window.last < row_idx) {
                next += 1;
            }
            match windows.get(next) {
                Some(window) if window.contains(row_idx) => {
                    let position = -real(window.last - row_idx + 1) / real(window.width());
                    Place::Window { window_idx: next, reward: sigmoid(position) / most }
                }
                _ => {
                    let before = next.checked_sub(1).and_then(|before| windows.get(before));
                    let distance = before.map_or(FAR_BEHIND, |window| {
                        real(row_idx - window.last) / real((window.width() - 1).max(1))
                    });
                    Place::Outside { penalty: sigmoid(distance) }
                }
            }
        })
        .collect()
}

/// 1 far before position 0, -1 far behind it.
fn sigmoid(position: f64) -> f64 {
    if position >= FAR_BEHIND { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// The scored rows of one or many series, highest score first.
#[derive(Debug, Clone)]
pub struct Sweep {
    rows: Vec<PlacedRow>,
    /// Of each window, whether any row of it is scored.
    has_rows: Vec<bool>,
}

impl Sweep {
    /// Of these series; windows are numbered on through all of them.
    pub fn of<'a>(series: impl IntoIterator<Item = &'a [PlacedRow]>) -> Self {
        let mut rows = Vec::new();
        let mut has_rows: Vec<bool> = Vec::new();
        for placed in series {
            let offset = has_rows.len();
            for row in placed {
                let place = match row.place {
                    Place::Outside { .. } => row.place,
                    Place::Window { window_idx, reward } => {
                        let window_idx = offset + window_idx;
                        has_rows.resize(has_rows.len().max(window_idx + 1), false);
                        has_rows[window_idx] = true;
                        Place::Window { window_idx, reward }
                    }
                };
                rows.push(PlacedRow { place, ..*row });
            }
        }
        rows.sort_by(|left, right| right.score.total_cmp(&left.score));
        Self { rows, has_rows }
    }

    /// Windows of which at least one row is scored.
    pub fn window_count(&self) -> usize {
        self.has_rows.iter().filter(|&&has_rows| has_rows).count()
    }

    /// Points of a detector that never alerts.
    pub fn silent_points(&self, profile: &Profile) -> f64 {
        -profile.miss * real(self.window_count())
    }

    /// The threshold worth most to this profile.
    pub fn best(&self, profile: &Profile) -> Outcome {
        let mut running = Running::new(self, profile);
        let mut best = running.outcome(NO_ALERTS);
        let mut rows = self.rows.iter().peekable();
        while let Some(row) = rows.next() {
            running.alert(row.place);
            let is_last_with_score = rows.peek().is_none_or(|next| next.score.total_cmp(&row.score).is_ne());
            if is_last_with_score {
                let outcome = running.outcome(row.score);
                if outcome.points > best.points {
                    best = outcome;
                }
            }
        }
        best
    }

    /// What this threshold is worth.
    pub fn at(&self, threshold: f64, profile: &Profile) -> Outcome {
        let mut running = Running::new(self, profile);
        for row in self.rows.iter().take_while(|row| row.score >= threshold) {
            running.alert(row.place);
        }
        running.outcome(threshold)
    }
}

/// The outcome while alerts are added.
struct Running<'a> {
    profile: &'a Profile,
    /// Points of each window; `None` as long as it is missed.
    windows: Vec<Option<f64>>,
    window_points: f64,
    hit_count: usize,
    false_alarm_points: f64,
    false_alarm_rows: usize,
}

impl<'a> Running<'a> {
    fn new(sweep: &Sweep, profile: &'a Profile) -> Self {
        Self {
            profile,
            windows: vec![None; sweep.has_rows.len()],
            window_points: sweep.silent_points(profile),
            hit_count: 0,
            false_alarm_points: 0.0,
            false_alarm_rows: 0,
        }
    }

    fn alert(&mut self, place: Place) {
        match place {
            Place::Outside { penalty } => {
                self.false_alarm_points += penalty * self.profile.false_alarm;
                self.false_alarm_rows += 1;
            }
            Place::Window { window_idx, reward } => {
                let points = reward * self.profile.hit;
                let window = &mut self.windows[window_idx];
                let before = window.unwrap_or(-self.profile.miss);
                self.hit_count += usize::from(window.is_none());
                *window = Some(before.max(points));
                self.window_points += before.max(points) - before;
            }
        }
    }

    fn outcome(&self, threshold: f64) -> Outcome {
        Outcome {
            threshold,
            points: self.window_points + self.false_alarm_points,
            hit_count: self.hit_count,
            false_alarm_rows: self.false_alarm_rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::benchmark::profile::nab_profiles;

    fn placed(scores: &[f64], windows: &[Window]) -> Vec<PlacedRow> {
        let places = places(scores.len(), windows);
        scores.iter().zip(places).map(|(&score, place)| PlacedRow { score, place }).collect()
    }

    #[test]
    fn rewards_fall_and_penalties_grow() {
        let places = places(40, &[Window { first: 10, last: 14 }]);
        let of = |row_idx: usize| match places[row_idx] {
            Place::Window { reward, .. } => reward,
            Place::Outside { penalty } => penalty,
        };
        assert!((of(0) + 1.0).abs() < 1e-12 && (of(9) + 1.0).abs() < 1e-12, "before any window");
        assert!((of(10) - 1.0).abs() < 1e-12, "the very start");
        assert!(of(10) > of(11) && of(14) > 0.0 && of(14) < 0.5);
        assert!(of(15) < 0.0 && of(15) > -0.6 && of(16) < of(15));
        assert!((of(26) + 1.0).abs() < 1e-12, "three widths behind");
    }

    /// NAB's score, written as its paper says it: one threshold, one window, one row at a time.
    fn naive(scores: &[f64], windows: &[Window], profile: &Profile, threshold: f64) -> f64 {
        let is_alert = |row_idx: &usize| scores[*row_idx] >= threshold;
        let s = |y: f64| if y >= 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * y).exp()) - 1.0 };
        let mut points = 0.0;
        for window in windows {
            points += (window.first..=window.last).find(is_alert).map_or(-profile.miss, |first| {
                s(-real(window.last - first + 1) / real(window.width())) / s(-1.0) * profile.hit
            });
        }
        for row_idx in (0..scores.len()).filter(is_alert) {
            if windows.iter().all(|window| !window.contains(row_idx)) {
                let before = windows.iter().rfind(|window| window.last < row_idx);
                points += profile.false_alarm
                    * before.map_or(-1.0, |window| {
                        s(real(row_idx - window.last) / real((window.width() - 1).max(1)))
                    });
            }
        }
        points
    }

    proptest! {
        #[test]
        fn the_sweep_equals_the_definition(
            levels in prop::collection::vec(0_u8..8, 30..80),
            starts in prop::collection::btree_set(0_usize..6, 0..4),
            profile_idx in 0_usize..3,
        ) {
            let scores: Vec<f64> = levels.into_iter().map(|level| f64::from(level) / 8.0).collect();
            let windows: Vec<Window> =
                starts.into_iter().map(|at| Window { first: at * 5, last: at * 5 + at % 4 }).collect();
            let profile = &nab_profiles()[profile_idx];
            let rows = placed(&scores, &windows);
            let sweep = Sweep::of([&rows[..]]);
            let thresholds = (0..8).map(|level| f64::from(level) / 8.0).rev();
            let mut expected = (NO_ALERTS, naive(&scores, &windows, profile, NO_ALERTS));
            for threshold in thresholds {
                let points = naive(&scores, &windows, profile, threshold);
                prop_assert!((sweep.at(threshold, profile).points - points).abs() < 1e-9);
                if points > expected.1 + 1e-9 {
                    expected = (threshold, points);
                }
            }
            prop_assert!((sweep.best(profile).points - expected.1).abs() < 1e-8);
        }
    }

    #[test]
    fn series_are_swept_together() {
        let windows = [Window { first: 1, last: 2 }];
        let rows = placed(&[0.1, 0.9, 0.2], &windows);
        let sweep = Sweep::of([&rows[..], &rows[..]]);
        let standard = &nab_profiles()[0];
        assert_eq!(sweep.window_count(), 2);
        let best = sweep.best(standard);
        assert!((best.points - 2.0).abs() < 1e-12 && (best.threshold - 0.9).abs() < 1e-12, "{best:?}");
        assert_eq!((best.hit_count, best.false_alarm_rows), (2, 0));
        assert!((sweep.silent_points(standard) + 2.0).abs() < 1e-12);
    }
}
