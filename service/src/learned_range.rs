//! The value range of a metric that nobody declared one for: learned from its rows, without looking ahead, and learned
//! anew when the metric outgrows it.
//!
//! Rules, for people who read a chart:
//! - The spread of the rows is that from their smallest to their largest value. If that is more than
//!   [`OUTLIER_RATIO`] times the spread of the 98 % in the middle, a few are outliers and do not count.
//! - The range is the spread, widened by [`LEARNED_RANGE_PADDING`] of it on each side: what a day showed is exceeded later.
//! - A range is outgrown by a row outside of it, if the spread of all rows up to that one is more than
//!   [`OUTGROWN_FACTOR`] times the spread it was learned from. Single wild values never do that.
//!
//! A wider range makes a new model, which steps all stored rows; scores that were given stay. Only rows after those that
//! the range was learned from are looked at, and each relearning doubles the spread: there are few of them.
//!
//! Source: ours. htmengine widened what 288 rows showed by a fifth and kept that for good. The padding was chosen on half
//! of NAB and half of a set of cloud metrics; the figures are in `benches/record`.

use htm_core::ids::RowId;
use htm_core::params::{ParamsError, ValueRange};

/// Rows that are looked at, the newest: 30 days of 5-minute samples and a week.
pub const MAX_RANGE_ROWS: usize = 10_656;
/// Widening on each side, in spreads.
pub const LEARNED_RANGE_PADDING: f64 = 0.6;
/// How much wider than the middle 98 % of the rows a spread without outliers may be.
pub const OUTLIER_RATIO: f64 = 20.0;
/// How much wider than the spread it was learned from a range has to be needed before it is learned anew.
pub const OUTGROWN_FACTOR: f64 = 2.0;
/// One of so many rows, at either end, is left out of the middle.
const TAIL_SHARE: usize = 100;
/// What widths of ranges may be off, in magnitudes of their ends.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// The first and last of the rows that are looked at for a range up to this one.
pub fn recent_rows(up_to: RowId) -> (RowId, RowId) {
    let most = i64::try_from(MAX_RANGE_ROWS).unwrap_or(i64::MAX);
    (RowId(up_to.0.saturating_sub(most).saturating_add(1)), up_to)
}

/// The range that these values show; `None` of none. Equal values have a spread of 1.
///
/// # Errors
/// If they lie too far apart for a range.
pub fn learned_range(values: &[f64]) -> Result<Option<ValueRange>, ParamsError> {
    let Some((min, max)) = spread(values) else { return Ok(None) };
    let max = if max <= min { min + 1.0 } else { max };
    let padding = (max - min) * LEARNED_RANGE_PADDING;
    ValueRange::new(min - padding, max + padding).map(Some)
}

/// The range that these values need, if they have outgrown `range`, which was learned from the first of them.
///
/// # Errors
/// As [`learned_range`].
pub fn outgrown(range: ValueRange, values: &[f64]) -> Result<Option<ValueRange>, ParamsError> {
    let Some(wider) = learned_range(values)? else { return Ok(None) };
    let is_outgrown = wider.max - wider.min > OUTGROWN_FACTOR * (range.max - range.min);
    Ok(is_outgrown.then_some(wider))
}

/// Whether values from `min` to `max` can have outgrown `range`: told without looking at them, where it says no.
pub fn may_be_outgrown(range: ValueRange, (min, max): (f64, f64)) -> bool {
    // Equal values have a spread of 1.
    let widest = (max - min).max(1.0) * (1.0 + 2.0 * LEARNED_RANGE_PADDING);
    let magnitude =
        [min, max, range.min, range.max].into_iter().fold(widest, |most, end| most.max(end.abs()));
    widest + ROUNDING * magnitude > OUTGROWN_FACTOR * (range.max - range.min)
}

/// Smallest and largest value that count.
fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let tail = sorted.len() / TAIL_SHARE;
    let (low, high) = (sorted[tail], sorted[sorted.len() - 1 - tail]);
    let has_outliers = high > low && max - min > OUTLIER_RATIO * (high - low);
    Some(if has_outliers { (low, high) } else { (min, max) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(wild: f64) -> Vec<f64> {
        (0..288_u32).map(|row| if row == 100 { wild } else { f64::from(row % 11) }).collect()
    }

    #[test]
    fn a_range_is_the_spread_and_some_more() {
        assert_eq!(learned_range(&[]), Ok(None));
        assert_eq!(learned_range(&[0.0, 10.0]), Ok(Some(ValueRange { min: -6.0, max: 16.0 })));
        assert_eq!(learned_range(&[5.0; 9]), Ok(Some(ValueRange { min: 4.4, max: 6.6 })));
        assert!(learned_range(&[f64::MIN, f64::MAX]).is_err());
    }

    #[test]
    fn a_wild_value_counts_only_if_it_is_not_too_wild() {
        assert_eq!(learned_range(&day(200.0)), Ok(Some(ValueRange { min: -120.0, max: 320.0 })));
        assert_eq!(learned_range(&day(1e9)), Ok(Some(ValueRange { min: -6.0, max: 16.0 })));
    }

    proptest::proptest! {
        #[test]
        fn what_has_outgrown_a_range_may_have(
            first in proptest::collection::vec(-1e3..1e3, 2..40),
            then in proptest::collection::vec(-1e4..1e4, 1..40),
            scale in -6..7_i32,
            level in -1e6..1e6,
        ) {
            let scaled = |value: &f64| level + value * 10_f64.powi(scale);
            let first: Vec<f64> = first.iter().map(scaled).collect();
            let range = learned_range(&first).expect("a range").expect("values");
            let all: Vec<f64> = first.into_iter().chain(then.iter().map(scaled)).collect();
            let ends = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), &value| {
                (min.min(value), max.max(value))
            });
            let is_outgrown = outgrown(range, &all).expect("a range").is_some();
            proptest::prop_assert!(!is_outgrown || may_be_outgrown(range, ends));
        }
    }

    #[test]
    fn values_that_need_no_wider_range_are_told_without_looking() {
        let range = ValueRange { min: -6.0, max: 16.0 };
        assert!(!may_be_outgrown(range, (0.0, 19.0)) && may_be_outgrown(range, (0.0, 20.1)));
    }

    #[test]
    fn a_range_is_outgrown_by_a_new_level_and_not_by_a_wild_value() {
        let range = learned_range(&day(3.0)).expect("a range").expect("values");
        assert_eq!(range, ValueRange { min: -6.0, max: 16.0 });
        let with = |more: &[f64]| outgrown(range, &[&day(3.0), more].concat()).expect("a range");
        assert_eq!(with(&[19.0]), None, "not twice as wide");
        assert_eq!(with(&[25.0]), Some(ValueRange { min: -15.0, max: 40.0 }));
        assert_eq!(with(&[1e9]), None);
        assert_eq!(with(&[1e9; 2]), None);
        let many = with(&[1e4; 30]).expect("a new level is no outlier");
        assert!(many.max > 1e4);
    }
}
