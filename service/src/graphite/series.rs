//! A series of points at a fixed step: what every function takes and gives.
//!
//! Point `i` stands for the time from `start + i * step` on, for `step` seconds.
//!
//! Invariant: `step` is at least 1.
//!
//! Source: graphite-web's `TimeSeries` and its `normalize`.
//! Departures: series of different starts are brought together by their times, not by the numbers of their points; a
//! common step that would be more than [`MAX_COMMON_STEPS`] times the largest gives way to the largest, since our steps are
//! measured, and two metrics at 59 and 61 seconds have no useful common multiple.

use std::collections::BTreeMap;

use super::consolidation::Consolidation;
use crate::sample::canonical_name;

/// How many of the largest step a common step may be.
const MAX_COMMON_STEPS: i64 = 10;

/// Tags by name; `name` is one of them.
pub(crate) type Tags = BTreeMap<String, String>;

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// What it is called, functions included.
    pub(crate) name: String,
    /// What it was asked for as.
    pub(crate) path: String,
    /// Its tags, and marks of the functions it went through.
    pub(crate) tags: Tags,
    /// Time of the first point, unix seconds.
    pub(crate) start: i64,
    /// The time after the last point.
    pub(crate) end: i64,
    /// Seconds from one point to the next.
    pub(crate) step: i64,
    /// The points.
    pub(crate) values: Vec<Option<f64>>,
    /// How several points become one.
    pub(crate) consolidation: Consolidation,
}

impl Series {
    /// Wraps its name into that of a function, and is asked for as that from now on.
    pub(crate) fn rename(&mut self, name: String) {
        self.path.clone_from(&name);
        self.name = name;
    }

    /// Marks what was done to it.
    pub(crate) fn mark(&mut self, tag: &str, value: impl Into<String>) {
        self.tags.insert(tag.to_owned(), value.into());
    }

    /// The points with their times, as far as they are not after the end.
    pub(crate) fn points(&self) -> impl Iterator<Item = (i64, Option<f64>)> + '_ {
        let times = std::iter::successors(Some(self.start), |time| time.checked_add(self.step));
        times.take_while(|time| *time <= self.end).zip(self.values.iter().copied())
    }

    /// One point for each `points_per_value` of them; the last one may stand for fewer.
    pub(crate) fn consolidate(&mut self, points_per_value: usize) {
        let size = points_per_value.max(1);
        if size > 1 {
            self.values = self.values.chunks(size).map(|points| self.consolidation.of(points)).collect();
            self.step = self.step.saturating_mul(i64::try_from(size).unwrap_or(i64::MAX));
        }
    }
}

/// Tags of a series called `name`, which may have tags of its own after `;`.
pub(crate) fn tags_of(name: &str) -> Tags {
    let mut parts = name.split(';');
    let series = parts.next().unwrap_or_default();
    let tags = parts.filter_map(|tag| tag.split_once('='));
    let mut tags: Tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    tags.insert("name".to_owned(), series.trim_start_matches('~').to_owned());
    tags
}

/// A name with its tags in their one order, if it has any and can be read.
pub(crate) fn canonical(name: &str) -> String {
    canonical_name(name).map_or_else(|_| name.to_owned(), Into::into)
}

/// Series brought to one start, one end and one step.
#[derive(Debug, PartialEq)]
pub(crate) struct Aligned {
    /// Time of the first row.
    pub(crate) start: i64,
    /// The time after the last row.
    pub(crate) end: i64,
    /// Seconds from one row to the next.
    pub(crate) step: i64,
    /// One point of each series, in their order, for each time.
    pub(crate) rows: Vec<Vec<Option<f64>>>,
}

/// Brings series together: to the common multiple of their steps, from the first start to the last end. `None` without
/// series.
pub(crate) fn align(series: &[Series]) -> Option<Aligned> {
    let start = series.iter().map(|series| series.start).min()?;
    let end = series.iter().map(|series| series.end).max()?;
    let step = common_step(series.iter().map(|series| series.step))?;
    let end = end - (end - start).rem_euclid(step);
    // Of series with one start and one step, rows are the points by their numbers, whatever the end says.
    let row_of = |time: i64| usize::try_from((time - start).div_euclid(step)).ok();
    let row_count = series.iter().filter_map(|series| {
        let last = series.start + series.step * (i64::try_from(series.values.len()).ok()? - 1);
        row_of(last).filter(|_| !series.values.is_empty()).map(|row| row + 1)
    });
    let mut rows = vec![vec![None; series.len()]; row_count.max().unwrap_or(0)];
    for (column, series) in series.iter().enumerate() {
        let mut group: Vec<Option<f64>> = Vec::new();
        let mut row = None;
        let mut time = series.start;
        for value in &series.values {
            let next = row_of(time);
            if next != row {
                put(&mut rows, row, column, series.consolidation, &mut group);
                row = next;
            }
            group.push(*value);
            time += series.step;
        }
        put(&mut rows, row, column, series.consolidation, &mut group);
    }
    Some(Aligned { start, end, step, rows })
}

fn put(
    rows: &mut [Vec<Option<f64>>],
    row: Option<usize>,
    column: usize,
    consolidation: Consolidation,
    group: &mut Vec<Option<f64>>,
) {
    let place = row.and_then(|row| rows.get_mut(row)).and_then(|row| row.get_mut(column));
    if let Some(place) = place {
        *place = match group.as_slice() {
            [one] => *one,
            several => consolidation.of(several),
        };
    }
    group.clear();
}

fn common_step(steps: impl Iterator<Item = i64>) -> Option<i64> {
    let (mut common, mut largest): (Option<i64>, i64) = (Some(1), 0);
    for step in steps {
        largest = largest.max(step);
        common = common.and_then(|common| (common / greatest_divisor(common, step)).checked_mul(step));
    }
    let bound = largest.saturating_mul(MAX_COMMON_STEPS);
    (largest > 0).then(|| common.filter(|common| *common <= bound).unwrap_or(largest))
}

fn greatest_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn series(name: &str, start: i64, step: i64, values: &[Option<f64>]) -> Series {
        let count = i64::try_from(values.len()).expect("few");
        Series {
            name: name.to_owned(),
            path: name.to_owned(),
            tags: tags_of(name),
            start,
            end: start + count * step,
            step,
            values: values.to_vec(),
            consolidation: Consolidation::Average,
        }
    }

    #[test]
    fn points_have_their_times_and_stop_at_the_end() {
        let mut one = series("a", 60, 60, &[Some(1.0), None, Some(3.0)]);
        assert_eq!(one.points().collect::<Vec<_>>(), [(60, Some(1.0)), (120, None), (180, Some(3.0))]);
        one.end = 100;
        assert_eq!(one.points().count(), 1);
        one.end = 240;
        one.consolidate(2);
        assert_eq!((one.step, one.values), (120, vec![Some(1.0), Some(3.0)]));
    }

    #[test]
    fn series_meet_at_the_common_multiple_of_their_steps() {
        let fine = series("a", 60, 60, &[Some(1.0), Some(3.0), Some(5.0), Some(7.0)]);
        let coarse = series("b", 120, 120, &[Some(10.0), Some(20.0)]);
        let aligned = align(&[fine, coarse]).expect("two series");
        assert_eq!((aligned.start, aligned.end, aligned.step), (60, 300, 120));
        assert_eq!(aligned.rows, [[Some(2.0), Some(10.0)], [Some(6.0), Some(20.0)]]);
        assert_eq!(align(&[]), None);
    }

    #[test]
    fn odd_steps_give_way_to_the_largest() {
        assert_eq!(common_step([60, 300, 20].into_iter()), Some(300));
        assert_eq!(common_step([61, 59].into_iter()), Some(61));
        assert_eq!(common_step([4, 6].into_iter()), Some(12));
        assert_eq!(common_step([i64::MAX, i64::MAX - 1].into_iter()), Some(i64::MAX));
    }

    #[test]
    fn tags_follow_from_the_name() {
        let tags = tags_of("cpu;host=a;dc=b");
        assert_eq!(
            tags.into_iter().map(|(key, value)| key + "=" + &value).collect::<Vec<_>>(),
            ["dc=b", "host=a", "name=cpu"]
        );
        assert_eq!(tags_of("a.b").len(), 1);
    }
}
