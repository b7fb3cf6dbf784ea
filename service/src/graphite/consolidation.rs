//! How several points become one: for an aggregate over series, a coarser step, a rank.
//!
//! Source: graphite-web's `functions/aggfuncs`, `functions/safe` and the consolidation of its `TimeSeries`; sums go from the
//! first value to the last, as there.
//! Departure: a result that is not finite is no value.

use crate::operations::OperationError;

/// A function of several points, of which some may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consolidation {
    /// Mean of what is there.
    Average,
    /// Mean with 0 for what is missing.
    AverageZero,
    /// Sum.
    Sum,
    /// Largest.
    Max,
    /// Smallest.
    Min,
    /// First that is there.
    First,
    /// Last that is there.
    Last,
    /// The middle one, or the mean of the middle two.
    Median,
    /// How many are there.
    Count,
    /// Largest less smallest.
    Range,
    /// Product; nothing if one is missing.
    Multiply,
    /// The first less all others.
    Diff,
    /// Standard deviation of all there are.
    Deviation,
}

/// Names of the aggregates, as targets write them.
pub(crate) const AGGREGATES: [(&str, Consolidation); 16] = [
    ("average", Consolidation::Average),
    ("avg", Consolidation::Average),
    ("avg_zero", Consolidation::AverageZero),
    ("count", Consolidation::Count),
    ("current", Consolidation::Last),
    ("diff", Consolidation::Diff),
    ("last", Consolidation::Last),
    ("max", Consolidation::Max),
    ("median", Consolidation::Median),
    ("min", Consolidation::Min),
    ("multiply", Consolidation::Multiply),
    ("range", Consolidation::Range),
    ("rangeOf", Consolidation::Range),
    ("stddev", Consolidation::Deviation),
    ("sum", Consolidation::Sum),
    ("total", Consolidation::Sum),
];

/// Names for `consolidateBy`.
pub(crate) const CONSOLIDATIONS: [(&str, Consolidation); 8] = [
    ("average", Consolidation::Average),
    ("avg", Consolidation::Average),
    ("avg_zero", Consolidation::AverageZero),
    ("first", Consolidation::First),
    ("last", Consolidation::Last),
    ("max", Consolidation::Max),
    ("min", Consolidation::Min),
    ("sum", Consolidation::Sum),
];

impl Consolidation {
    /// The aggregate with this name; `Series` at its end means nothing.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] names all there are.
    pub(crate) fn aggregate(name: &str) -> Result<Self, OperationError> {
        named(name.strip_suffix("Series").unwrap_or(name), &AGGREGATES, "aggregation")
    }

    /// The function of `consolidateBy` with this name.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] names all there are.
    pub(crate) fn from_name(name: &str) -> Result<Self, OperationError> {
        named(name, &CONSOLIDATIONS, "consolidation")
    }

    /// What targets call it.
    pub(crate) fn name(self) -> &'static str {
        let all = CONSOLIDATIONS.iter().chain(&AGGREGATES);
        all.into_iter().find(|(_, function)| *function == self).map_or("average", |(name, _)| name)
    }

    /// One point for these; `None` where there is nothing to say.
    pub(crate) fn of(self, points: &[Option<f64>]) -> Option<f64> {
        let present = || points.iter().copied().flatten();
        let count = present().count();
        if count == 0 {
            return (self == Self::Count).then_some(0.0);
        }
        let result = match self {
            Self::Average => sum(present()) / float(count),
            Self::AverageZero => sum(present()) / float(points.len()),
            Self::Sum => sum(present()),
            Self::Max => present().fold(f64::NEG_INFINITY, f64::max),
            Self::Min => present().fold(f64::INFINITY, f64::min),
            Self::First => present().next()?,
            Self::Last => present().next_back()?,
            Self::Median => median(present().collect()),
            Self::Count => float(count),
            Self::Range => Self::Max.of(points)? - Self::Min.of(points)?,
            Self::Multiply if count < points.len() => return None,
            Self::Multiply => present().product(),
            Self::Diff => {
                let mut rest = present();
                let first = rest.next()?;
                rest.fold(first, |difference, value| difference - value)
            }
            Self::Deviation => {
                let mean = sum(present()) / float(count);
                let squares = present().map(|value| (value - mean) * (value - mean));
                (sum(squares) / float(count)).sqrt()
            }
        };
        result.is_finite().then_some(result)
    }
}

fn named(
    name: &str,
    known: &[(&'static str, Consolidation)],
    kind: &str,
) -> Result<Consolidation, OperationError> {
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, function)| *function).ok_or_else(|| {
        let all: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let shown: String = name.chars().take(60).collect();
        OperationError::invalid(format!(
            "`{}` is no {kind} function; expected one of {}",
            shown.escape_debug(),
            all.join(", ")
        ))
    })
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// A count of points as a float.
#[expect(clippy::cast_precision_loss, reason = "points are far fewer than 2^53")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAPPY: [Option<f64>; 5] = [None, Some(4.0), None, Some(1.0), Some(1.0)];

    #[test]
    fn each_function_knows_what_to_do_with_gaps() {
        for (name, expected) in [
            ("average", 2.0),
            ("avg_zero", 1.2),
            ("sum", 6.0),
            ("max", 4.0),
            ("min", 1.0),
            ("last", 1.0),
            ("median", 1.0),
            ("count", 3.0),
            ("range", 3.0),
            ("diff", 2.0),
            ("stddev", 2.0_f64.sqrt()),
        ] {
            let function = Consolidation::aggregate(name).expect("known");
            assert_eq!(function.of(&GAPPY), Some(expected), "{name}");
            assert_eq!(function.of(&[None]), (name == "count").then_some(0.0), "{name}");
            assert_eq!(function.of(&[]), (name == "count").then_some(0.0), "{name}");
        }
        assert_eq!(Consolidation::First.of(&GAPPY), Some(4.0));
        assert_eq!(Consolidation::Multiply.of(&GAPPY), None);
        assert_eq!(Consolidation::Multiply.of(&[Some(2.0), Some(3.0)]), Some(6.0));
        assert_eq!(Consolidation::Median.of(&[Some(1.0), Some(4.0)]), Some(2.5));
        assert_eq!(Consolidation::Sum.of(&[Some(f64::MAX), Some(f64::MAX)]), None);
    }

    #[test]
    fn names_are_known_with_and_without_series() {
        assert_eq!(Consolidation::aggregate("maxSeries"), Ok(Consolidation::Max));
        assert_eq!((Consolidation::Max.name(), Consolidation::Deviation.name()), ("max", "stddev"));
        let error = Consolidation::aggregate("best").expect_err("unknown").to_string();
        assert!(error.contains("`best`") && error.contains("median"), "{error}");
        assert!(Consolidation::from_name("median").is_err());
        assert_eq!(Consolidation::from_name("first"), Ok(Consolidation::First));
    }

    proptest! {
        #[test]
        fn functions_equal_their_definitions(points in prop::collection::vec(prop::option::of(-1e3..1e3_f64), 0..12)) {
            let present: Vec<f64> = points.iter().copied().flatten().collect();
            let mut total = 0.0;
            for value in &present {
                total += value;
            }
            let expected = (!present.is_empty()).then_some(total);
            prop_assert_eq!(Consolidation::Sum.of(&points), expected);
            prop_assert_eq!(Consolidation::Average.of(&points), expected.map(|total| total / float(present.len())));
            let mut sorted = present.clone();
            sorted.sort_by(f64::total_cmp);
            prop_assert_eq!(Consolidation::Max.of(&points), sorted.last().copied());
            prop_assert_eq!(Consolidation::Min.of(&points), sorted.first().copied());
            prop_assert_eq!(Consolidation::Last.of(&points), present.last().copied());
            prop_assert_eq!(Consolidation::First.of(&points), present.first().copied());
        }
    }
}
