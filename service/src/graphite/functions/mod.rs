//! The functions of targets, one file for each family, and the table of them all.
//!
//! Each entry says what `/functions` shows (in words of our own) and runs on arguments that [`arguments`] has checked. A
//! function's name in the names of its series is the one that Graphite gives it, so that legends and `aliasSub` keep working.
//!
//! Source: graphite-web's `render/functions`, of which these are the ones that dashboards of this engine need.

mod alias;
pub(crate) mod arguments;
mod calculation;
mod combination;
mod data_filter;
mod series_filter;
mod sorting;
mod special;
mod transformation;

use self::arguments::Arguments;
use super::evaluation::Evaluation;
use super::number::Number;
use super::series::Series;
use crate::operations::OperationError;

/// What an argument may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Of a path or a call.
    Series(Vec<Series>),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// `None`.
    Nothing,
    /// `inf`.
    Infinity,
}

/// What a parameter takes; the names are those that Grafana's editor knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Series.
    SeriesList,
    /// A text.
    Text,
    /// Any number.
    Float,
    /// A whole number.
    Integer,
    /// A whole number, or `inf`.
    IntegerOrInfinity,
    /// True or false.
    Boolean,
    /// A text such as `1h`.
    Interval,
    /// A number of points, or an interval.
    IntegerOrInterval,
    /// A number of a node, or a tag.
    NodeOrTag,
    /// A tag.
    Tag,
    /// The name of an aggregate.
    Aggregate,
}

impl Kind {
    /// What graphite-web calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SeriesList => "seriesList",
            Self::Text => "string",
            Self::Float => "float",
            Self::Integer => "integer",
            Self::IntegerOrInfinity => "intOrInf",
            Self::Boolean => "boolean",
            Self::Interval => "interval",
            Self::IntegerOrInterval => "intOrInterval",
            Self::NodeOrTag => "nodeOrTag",
            Self::Tag => "tag",
            Self::Aggregate => "aggFunc",
        }
    }
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Whether it must be given.
    pub(crate) is_required: bool,
    /// Whether it takes all arguments that are left.
    pub(crate) is_repeated: bool,
    /// What it is without being given, as JSON; for `/functions`.
    pub(crate) default: Option<&'static str>,
    /// All it may be; anything if empty.
    pub(crate) options: &'static [&'static str],
    /// What an editor may suggest.
    pub(crate) suggestions: &'static [&'static str],
}

impl Parameter {
    const fn required(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            is_required: true,
            is_repeated: false,
            default: None,
            options: &[],
            suggestions: &[],
        }
    }

    const fn optional(name: &'static str, kind: Kind, default: Option<&'static str>) -> Self {
        Self { is_required: false, default, ..Self::required(name, kind) }
    }

    const fn repeated(name: &'static str, kind: Kind) -> Self {
        Self { is_repeated: true, ..Self::required(name, kind) }
    }

    const fn with_options(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }

    const fn with_suggestions(self, suggestions: &'static [&'static str]) -> Self {
        Self { suggestions, ..self }
    }
}

/// Series: the first parameter of most functions.
const SERIES: Parameter = Parameter::required("seriesList", Kind::SeriesList);

/// The body of a function.
type Body = fn(&mut Evaluation<'_>, &mut Arguments<'_>) -> Result<Vec<Series>, OperationError>;

/// One function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    /// Its name in targets.
    pub(crate) name: &'static str,
    /// The group that editors list it under.
    pub(crate) group: &'static str,
    /// What it does, for people.
    pub(crate) description: &'static str,
    /// What it takes.
    pub(crate) parameters: &'static [Parameter],
    /// What it does.
    pub(crate) run: Body,
}

/// All families.
const FAMILIES: [&[Function]; 8] = [
    &alias::FUNCTIONS,
    &calculation::FUNCTIONS,
    &combination::FUNCTIONS,
    &data_filter::FUNCTIONS,
    &series_filter::FUNCTIONS,
    &sorting::FUNCTIONS,
    &special::FUNCTIONS,
    &transformation::FUNCTIONS,
];

/// All functions, family by family.
pub(crate) fn all() -> impl Iterator<Item = &'static Function> {
    FAMILIES.into_iter().flatten()
}

/// The function with this name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::super::budget::Budget;
    use super::super::evaluation::{SeriesSource, Window};
    use super::super::series::tests::series;
    use super::super::tag_expression::TagExpression;
    use super::super::target::parse;
    use super::*;

    /// Series that look the same however the window is moved: `a` counts, `b` is gappy, `c.d` is negative.
    struct Fixed;

    pub(crate) const START: i64 = 600;
    const UNTIL: i64 = START + 5 * 60;

    impl SeriesSource for Fixed {
        fn by_path(
            &self,
            path: &str,
            window: &Window,
            budget: &mut Budget,
        ) -> Result<Vec<Series>, OperationError> {
            let names: &[&str] = match path {
                "a" => &["a"],
                "b" => &["b"],
                "c.d" => &["c.d"],
                "*" => &["a", "b"],
                "**" => &["a", "b", "c.d"],
                _ => &[],
            };
            budget.series(names.len())?;
            let first = window.from.div_euclid(60) + 1;
            let last = window.until.div_euclid(60);
            let of = |name: &str| {
                let point = |minute: i64| {
                    #[expect(clippy::cast_precision_loss, reason = "small")]
                    let at = (minute - START / 60) as f64;
                    match name {
                        "a" => Some(at),
                        "b" => (minute % 2 == 0).then_some(10.0 - at),
                        _ => Some(-at),
                    }
                };
                let values: Vec<Option<f64>> = (first..=last).map(point).collect();
                Series { path: path.to_owned(), ..series(name, first * 60, 60, &values) }
            };
            Ok(names.iter().map(|name| of(name)).collect())
        }

        fn by_tags(
            &self,
            _expressions: &[TagExpression],
            path: &str,
            window: &Window,
            budget: &mut Budget,
        ) -> Result<Vec<Series>, OperationError> {
            let mut found = self.by_path("*", window, budget)?;
            for series in &mut found {
                path.clone_into(&mut series.path);
                series.mark("host", "h");
            }
            Ok(found)
        }
    }

    /// The series of a target over five minutes.
    pub(crate) fn evaluate(target: &str) -> Result<Vec<Series>, OperationError> {
        let window = Window { from: START, until: UNTIL, now: UNTIL };
        Evaluation::new(&Fixed, window).series(&parse(target)?)
    }

    /// Names and values of a target that must be good.
    #[track_caller]
    pub(crate) fn check(target: &str, expected: &[(&str, &[Option<f64>])]) {
        let found = evaluate(target).unwrap_or_else(|error| panic!("{target}: {error}"));
        let found: Vec<(&str, &[Option<f64>])> =
            found.iter().map(|series| (series.name.as_str(), series.values.as_slice())).collect();
        assert_eq!(found, expected, "{target}");
    }

    #[track_caller]
    pub(crate) fn refused(target: &str, reason: &str) {
        let error = evaluate(target).expect_err(target).to_string();
        assert!(error.contains(reason), "{target}: {error}");
    }

    #[test]
    fn every_function_is_told_once_and_in_full() {
        let mut names = BTreeSet::new();
        for function in all() {
            assert!(names.insert(function.name), "{} twice", function.name);
            assert!(function.description.ends_with('.') && !function.group.is_empty(), "{}", function.name);
            let (last, others) = function.parameters.split_last().expect("all take something");
            assert!(others.iter().all(|parameter| !parameter.is_repeated), "{}", function.name);
            assert!(last.default.is_none_or(|json| serde_json::from_str::<serde_json::Value>(json).is_ok()));
        }
        assert!(names.len() >= 35, "{names:?}");
    }

    #[test]
    fn arguments_are_checked_by_the_table() {
        for (target, reason) in [
            ("nothing(a)", "no function `nothing`"),
            ("scale(a)", "needs `factor`"),
            ("scale()", "needs `seriesList`"),
            ("scale(1, 2)", "seriesList"),
            ("scale(a, 'x')", "factor"),
            ("scale(a, 1, 2)", "at most 2"),
            ("scale(a, factor=1, other=2)", "no parameter `other`"),
            ("scale(a, 1, factor=2)", "twice"),
            ("limit(a, 1.5)", "whole number"),
            ("consolidateBy(a, 'median')", "consolidationFunc"),
            ("summarize(a, 'soon')", "interval"),
            ("seriesByTag(1)", "tagExpressions"),
        ] {
            refused(target, reason);
        }
    }

    #[test]
    fn doubling_work_is_stopped_by_the_budget() {
        let target = format!("{}a{}", "timeShift(".repeat(20), ",'1h')".repeat(20));
        refused(&target, "more than 5000 function calls");
    }
}
