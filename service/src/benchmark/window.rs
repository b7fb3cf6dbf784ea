//! Windows: the stretches of rows in which an alert is right.
//!
//! NAB ships windows as pairs of timestamps ([`windows_of_limits`]); from point labels they are built the way NAB builds
//! them ([`windows_of_labels`]): a tenth of the series is shared among its label groups, each share is centred on its
//! group, and windows that touch become one. Departure: a window is never shorter than its group, lest an alert on a
//! labelled point count as false.
//!
//! Source: `labeler.py` and `sweeper.py` of NAB; detection quality, section 4.

use super::real;

/// Share of a series that its windows cover together.
const WINDOW_SHARE: f64 = 0.1;

/// Rows `first..=last` of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub first: usize,
    /// Last row, not before the first.
    pub last: usize,
}

impl Window {
    /// Rows covered, 1 or more.
    pub fn width(self) -> usize {
        self.last - self.first + 1
    }

    /// Whether the row lies in it.
    pub fn contains(self, row_idx: usize) -> bool {
        (self.first..=self.last).contains(&row_idx)
    }
}

/// Windows given by the times of their first and last row, in order of time.
///
/// `timestamps` are the unix seconds of the rows.
///
/// # Errors
/// The window for which there are no such rows, counted from 0.
pub fn windows_of_limits(timestamps: &[i64], limits: &[(i64, i64)]) -> Result<Vec<Window>, usize> {
    let mut from = 0;
    let mut windows = Vec::with_capacity(limits.len());
    for (index, &(first_time, last_time)) in limits.iter().enumerate() {
        let row_at = |time: i64, from: usize| {
            timestamps.iter().skip(from).position(|&found| found == time).map(|offset| from + offset)
        };
        let first = row_at(first_time, from).ok_or(index)?;
        let last = row_at(last_time, first).ok_or(index)?;
        windows.push(Window { first, last });
        from = last + 1;
    }
    Ok(windows)
}

/// Windows around the groups of labelled rows.
pub fn windows_of_labels(labels: &[bool]) -> Vec<Window> {
    let groups = label_groups(labels);
    if groups.is_empty() {
        return Vec::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=a tenth of the rows")]
    let half_width = (WINDOW_SHARE * real(labels.len()) / real(groups.len()) / 2.0) as usize;
    let mut windows: Vec<Window> = Vec::with_capacity(groups.len());
    for group in groups {
        let centre = group.first.midpoint(group.last);
        let first = group.first.min(centre.saturating_sub(half_width));
        let last = group.last.max((centre + half_width).min(labels.len() - 1));
        match windows.last_mut() {
            Some(before) if first <= before.last + 1 => before.last = before.last.max(last),
            _ => windows.push(Window { first, last }),
        }
    }
    windows
}

/// Runs of labelled rows.
fn label_groups(labels: &[bool]) -> Vec<Window> {
    let mut groups: Vec<Window> = Vec::new();
    for row_idx in
        labels.iter().enumerate().filter_map(|(row_idx, &is_labelled)| is_labelled.then_some(row_idx))
    {
        match groups.last_mut() {
            Some(group) if group.last + 1 == row_idx => group.last = row_idx,
            _ => groups.push(Window { first: row_idx, last: row_idx }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(first: usize, last: usize) -> Window {
        Window { first, last }
    }

    #[test]
    fn limits_name_the_first_row_with_their_time() {
        let timestamps = [0, 10, 10, 20, 30, 30, 40];
        assert_eq!(
            windows_of_limits(&timestamps, &[(10, 20), (30, 30)]),
            Ok(vec![window(1, 3), window(4, 4)])
        );
        assert_eq!(windows_of_limits(&timestamps, &[(10, 20), (20, 30)]), Err(1));
        assert_eq!(windows_of_limits(&timestamps, &[(10, 50)]), Err(0));
        assert_eq!(windows_of_limits(&timestamps, &[]), Ok(Vec::new()));
    }

    #[track_caller]
    fn check(row_count: usize, labelled: &[usize], expected: &[(usize, usize)]) {
        let labels: Vec<bool> = (0..row_count).map(|row_idx| labelled.contains(&row_idx)).collect();
        let expected: Vec<Window> = expected.iter().map(|&(first, last)| window(first, last)).collect();
        assert_eq!(windows_of_labels(&labels), expected);
    }

    #[test]
    fn windows_share_a_tenth_and_are_centred() {
        check(1000, &[500], &[(450, 550)]);
        check(1000, &[200, 700, 701, 702], &[(175, 225), (676, 726)]);
        check(1000, &[], &[]);
    }

    #[test]
    fn windows_are_cut_at_the_ends_merged_and_never_shorter_than_their_labels() {
        check(100, &[1, 98], &[(0, 3), (96, 99)]);
        check(100, &[50, 54], &[(48, 56)]);
        check(100, &[50, 55], &[(48, 57)]);
        check(100, &[50, 60], &[(48, 52), (58, 62)]);
        check(10, &[2, 3, 4, 5, 6], &[(2, 6)]);
    }
}
