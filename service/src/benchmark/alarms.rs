//! What people ask of alerts: how many of them are right, how many anomalies they find, how often they call in vain, and
//! how late.
//!
//! An anomaly is found if its window has an alert. Alerts outside windows form episodes: one more than 30 records after
//! the last begins a new one, for nobody is woken twice by the same. Precision is windows hit among windows hit and
//! false episodes; recall is windows hit among windows. The probation of the first rows (NAB's rule) counts for nothing,
//! nor does a window wholly inside it.
//!
//! Source: detection quality, section 4.

use htm_core::anomaly::nab_likelihood::probation_rows;

use super::real;
use super::window::Window;

/// Records without alert after which the next false alert is another episode.
const EPISODE_GAP_RECORDS: usize = 30;
/// Thresholds tried in a sweep, at most.
const MAX_LEVELS: usize = 80;
/// Largest share of the rows outside windows that may have alerts at the best threshold. An alert that never ends hits
/// every window and is one false episode: without a limit, it would be the best there is.
pub const MAX_ALERT_SHARE: f64 = 0.02;

/// A scored series with what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// One per row.
    pub scores: &'a [f64],
    /// Unix seconds, one per row.
    pub timestamps: &'a [i64],
    /// Labelled rows; where none is labelled in a window, delays count from the window's first row.
    pub labels: &'a [bool],
    /// In order, without overlap.
    pub windows: &'a [Window],
}

/// Counts at one threshold, of one series or many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Windows that could be hit.
    pub window_count: usize,
    /// Windows with an alert.
    pub hit_count: usize,
    /// Rows outside windows with an alert.
    pub false_alarm_rows: usize,
    /// Episodes of them.
    pub false_episodes: usize,
    /// Rows outside windows, after the probation.
    pub off_window_rows: usize,
    /// For every window hit: seconds from its first labelled row to its first alert; below 0 for an alert before.
    pub delays_s: Vec<i64>,
}

impl Tally {
    /// Of one series.
    pub fn of(judged: Judged<'_>, threshold: f64) -> Self {
        let probation = probation_rows(judged.scores.len());
        let mut tally = Self::default();
        let mut last_false_alarm = None;
        let mut windows = judged.windows.iter().peekable();
        for (row_idx, &score) in judged.scores.iter().enumerate().skip(probation) {
            while windows.peek().is_some_and(|window| window.last < row_idx) {
                windows.next();
            }
            if windows.peek().is_some_and(|window| window.contains(row_idx)) {
                continue;
            }
            tally.off_window_rows += 1;
            if score >= threshold {
                tally.false_alarm_rows += 1;
                let is_new = last_false_alarm.is_none_or(|last| row_idx - last > EPISODE_GAP_RECORDS);
                tally.false_episodes += usize::from(is_new);
                last_false_alarm = Some(row_idx);
            }
        }
        for window in judged.windows.iter().filter(|window| window.last >= probation) {
            tally.window_count += 1;
            let first_judged = window.first.max(probation);
            let mut judged_rows = first_judged..=window.last;
            if let Some(alert) = judged_rows.find(|&row_idx| judged.scores[row_idx] >= threshold) {
                tally.hit_count += 1;
                let onset = (window.first..=window.last)
                    .find(|&row_idx| judged.labels[row_idx])
                    .unwrap_or(window.first);
                tally.delays_s.push(judged.timestamps[alert] - judged.timestamps[onset]);
            }
        }
        tally
    }

    /// Of many series, each counted by itself.
    pub fn of_all<'a>(all: impl IntoIterator<Item = Judged<'a>>, threshold: f64) -> Self {
        all.into_iter().map(|judged| Self::of(judged, threshold)).fold(Self::default(), Self::plus)
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        self.window_count += other.window_count;
        self.hit_count += other.hit_count;
        self.false_alarm_rows += other.false_alarm_rows;
        self.false_episodes += other.false_episodes;
        self.off_window_rows += other.off_window_rows;
        self.delays_s.extend(other.delays_s);
        self
    }

    /// 0 to 1; `None` without any alert.
    pub fn precision(&self) -> Option<f64> {
        share(self.hit_count, self.hit_count + self.false_episodes)
    }

    /// 0 to 1; `None` without windows.
    pub fn recall(&self) -> Option<f64> {
        share(self.hit_count, self.window_count)
    }

    /// Harmonic mean of precision and recall; `None` without windows.
    pub fn f1(&self) -> Option<f64> {
        self.recall()?;
        share(2 * self.hit_count, self.window_count + self.hit_count + self.false_episodes)
    }

    /// False episodes in 10,000 records outside windows; `None` without such records.
    pub fn episodes_per_10k(&self) -> Option<f64> {
        share(self.false_episodes, self.off_window_rows).map(|share| share * 10_000.0)
    }

    /// The median of the delays, the earlier of two; `None` without hits.
    pub fn median_delay_s(&self) -> Option<i64> {
        let mut delays = self.delays_s.clone();
        delays.sort_unstable();
        let middle = delays.len().checked_sub(1)? / 2;
        delays.get(middle).copied()
    }
}

/// Tallies at thresholds from the highest score down, at most 80 of them: the ranks at which the scores are
/// cut grow by a constant factor, as the interesting thresholds let little through.
pub fn sweep_levels(all: &[Judged<'_>]) -> Vec<(f64, Tally)> {
    let mut scores: Vec<f64> = all
        .iter()
        .flat_map(|judged| judged.scores.iter().skip(probation_rows(judged.scores.len())))
        .copied()
        .filter(|&score| score > 0.0)
        .collect();
    scores.sort_by(|left, right| right.total_cmp(left));
    let mut thresholds: Vec<f64> = Vec::new();
    let steps = real(MAX_LEVELS - 1);
    for level in 0..MAX_LEVELS {
        let share = real(level) / steps;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1..=the number of scores"
        )]
        let rank = real(scores.len()).powf(share).round() as usize;
        if let Some(&threshold) = rank.checked_sub(1).and_then(|rank| scores.get(rank)) {
            thresholds.push(threshold);
        }
    }
    thresholds.dedup_by(|left, right| left.total_cmp(right).is_eq());
    thresholds
        .into_iter()
        .map(|threshold| (threshold, Tally::of_all(all.iter().copied(), threshold)))
        .collect()
}

/// The level with the best F1 of those within [`MAX_ALERT_SHARE`]; of equal ones the highest threshold.
pub fn best_level(levels: &[(f64, Tally)]) -> Option<&(f64, Tally)> {
    let f1 = |level: &(f64, Tally)| level.1.f1().unwrap_or(0.0);
    let is_selective =
        |tally: &Tally| real(tally.false_alarm_rows) <= MAX_ALERT_SHARE * real(tally.off_window_rows);
    levels
        .iter()
        .rev()
        .filter(|level| is_selective(&level.1))
        .max_by(|left, right| f1(left).total_cmp(&f1(right)))
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| real(part) / real(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 rows a minute apart; the probation is 150 rows.
    fn check(alerts: &[usize], labelled: &[usize], windows: &[(usize, usize)], threshold: f64) -> Tally {
        let scores: Vec<f64> = (0..1000).map(|row| if alerts.contains(&row) { 0.5 } else { 0.1 }).collect();
        let timestamps: Vec<i64> = (0..1000).map(|row| row * 60).collect();
        let labels: Vec<bool> = (0..1000).map(|row| labelled.contains(&row)).collect();
        let windows: Vec<Window> = windows.iter().map(|&(first, last)| Window { first, last }).collect();
        let judged = Judged { scores: &scores, timestamps: &timestamps, labels: &labels, windows: &windows };
        Tally::of_all([judged], threshold)
    }

    #[test]
    fn hits_misses_and_episodes_are_counted() {
        let alerts = [10, 149, 200, 230, 260, 291, 402, 405, 950];
        let tally = check(&alerts, &[403, 404], &[(100, 140), (400, 410), (600, 650), (940, 960)], 0.5);
        assert_eq!((tally.window_count, tally.hit_count), (3, 2));
        assert_eq!((tally.false_alarm_rows, tally.false_episodes), (4, 2));
        assert_eq!(tally.off_window_rows, 850 - 11 - 51 - 21);
        // Alert one row before the label; and, in a window without labelled row, ten rows after its start.
        assert_eq!(tally.delays_s, [-60, 600]);
        assert_eq!(tally.median_delay_s(), Some(-60));
        assert_eq!((tally.precision(), tally.recall()), (Some(0.5), Some(2.0 / 3.0)));
        assert!(tally.f1().is_some_and(|f1| (f1 - 4.0 / 7.0).abs() < 1e-12));
        let rate = 2.0 / real(tally.off_window_rows) * 10_000.0;
        assert!(tally.episodes_per_10k().is_some_and(|found| (found - rate).abs() < 1e-9));
    }

    #[test]
    fn without_windows_or_alerts_there_are_no_figures() {
        let tally = check(&[], &[], &[], 0.5);
        assert_eq!(
            (tally.precision(), tally.recall(), tally.f1(), tally.median_delay_s()),
            (None, None, None, None)
        );
        assert_eq!(tally.episodes_per_10k(), Some(0.0));
        let missed = check(&[], &[500], &[(490, 510)], 0.5);
        assert_eq!((missed.recall(), missed.f1()), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn the_sweep_finds_the_threshold_with_the_best_f1() {
        let scores: Vec<f64> = (0..1000_u32)
            .map(|row| match row {
                500 => 0.9,
                700 => 0.4,
                _ => f64::from(row % 10) / 100.0,
            })
            .collect();
        let timestamps = vec![0; 1000];
        let labels: Vec<bool> = (0..1000).map(|row| row == 500 || row == 700).collect();
        let windows = [Window { first: 490, last: 510 }, Window { first: 690, last: 710 }];
        let judged = Judged { scores: &scores, timestamps: &timestamps, labels: &labels, windows: &windows };
        let levels = sweep_levels(&[judged]);
        assert!(levels.len() <= MAX_LEVELS && levels.is_sorted_by(|left, right| left.0 > right.0));
        let (threshold, tally) = best_level(&levels).expect("levels");
        assert!((threshold - 0.4).abs() < 1e-12 && tally.f1() == Some(1.0), "{threshold} {tally:?}");
    }

    #[test]
    fn an_alert_that_never_ends_is_not_the_best() {
        let levels = [(0.5, Tally { false_alarm_rows: 20, ..check(&[], &[500], &[(490, 510)], 0.5) })];
        assert!(best_level(&levels).is_none());
        let endless = check(&[], &[500], &[(490, 510)], 0.1);
        assert_eq!((endless.recall(), endless.false_episodes), (Some(1.0), 1));
        assert!(best_level(&[(0.1, endless)]).is_none());
    }
}
