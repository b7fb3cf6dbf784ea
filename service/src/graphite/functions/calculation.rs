//! Points computed from their neighbours: differences and moving means.
//!
//! Source: graphite-web's `derivative`, `nonNegativeDerivative`, `movingAverage`. The mean of a window needs points before
//! the window that is asked for, so the series are read once more from further back.

use super::arguments::{Arguments, Extent};
use super::{Evaluation, Function, Kind, Parameter, SERIES};
use crate::graphite::consolidation::{Consolidation, float};
use crate::graphite::number::Number;
use crate::graphite::series::Series;
use crate::operations::OperationError;

/// Most points of a moving window.
const MAX_WINDOW_POINTS: i64 = 100_000;

pub(super) const FUNCTIONS: [Function; 3] = [
    Function {
        name: "derivative",
        group: "Transform",
        description: "The difference of each point to the one before it.",
        parameters: &[SERIES],
        run: |_, arguments| Ok(derivative(arguments)),
    },
    Function {
        name: "movingAverage",
        group: "Calculate",
        description: "The mean of the points before each time: so many of them, or those of an interval.",
        parameters: &[
            SERIES,
            Parameter::required("windowSize", Kind::IntegerOrInterval)
                .with_suggestions(&["5", "10", "1min", "10min", "1h", "1d"]),
            Parameter::optional("xFilesFactor", Kind::Float, None),
        ],
        run: moving_average,
    },
    Function {
        name: "nonNegativeDerivative",
        group: "Transform",
        description: "The growth of a counter from each point to the next; where it begins anew, its bounds tell how far it \
                      went, and without them there is no point.",
        parameters: &[
            SERIES,
            Parameter::optional("maxValue", Kind::Float, None),
            Parameter::optional("minValue", Kind::Float, None),
        ],
        run: |_, arguments| Ok(non_negative_derivative(arguments)),
    },
];

fn derivative(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    for series in &mut all {
        let mut before = None;
        for value in &mut series.values {
            let difference = value.zip(before).map(|(value, before)| value - before);
            before = std::mem::replace(value, difference);
        }
        series.mark("derivative", "1");
        series.rename(format!("derivative({})", series.name));
    }
    all
}

fn non_negative_derivative(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    let bound = |place: usize| arguments.number(place).map(Number::as_float);
    let (max, min) = (bound(1), bound(2));
    for series in &mut all {
        let mut before = None;
        for value in &mut series.values {
            (*value, before) = growth(*value, before, max, min);
        }
        series.mark("nonNegativeDerivative", "1");
        series.rename(format!("nonNegativeDerivative({})", series.name));
    }
    all
}

/// How far a counter went, and what to compare its next point with.
fn growth(
    value: Option<f64>,
    before: Option<f64>,
    max: Option<f64>,
    min: Option<f64>,
) -> (Option<f64>, Option<f64>) {
    let Some(now) = value else { return (None, None) };
    if max.is_some_and(|max| now > max) || min.is_some_and(|min| now < min) {
        return (None, None);
    }
    let growth = before.and_then(|before| match (max, min) {
        _ if now >= before => Some(now - before),
        (Some(max), min) => Some(max + 1.0 + now - before - min.unwrap_or(0.0)),
        (None, Some(min)) => Some(now - min),
        (None, None) => None,
    });
    (growth, Some(now))
}

fn moving_average(
    evaluation: &mut Evaluation<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Vec<Series>, OperationError> {
    let read = arguments.series();
    let Some(largest_step) = read.iter().map(|series| series.step).max() else { return Ok(Vec::new()) };
    let extent = arguments.extent(1)?;
    let (shown, tag, before_s) = match extent {
        Extent::Points(points) if (1..=MAX_WINDOW_POINTS).contains(&points) => {
            (points.to_string(), points.to_string(), points.saturating_mul(largest_step))
        }
        Extent::Seconds(seconds) if seconds > 0 => {
            let text = arguments.text(1, "");
            (format!("\"{text}\""), text.to_owned(), seconds)
        }
        Extent::Points(_) | Extent::Seconds(_) => {
            return Err(arguments
                .refused(&format!("`windowSize` is not above 0, or more than {MAX_WINDOW_POINTS} points")));
        }
    };
    // Given back before more is read.
    drop(read);
    let share = arguments.number(2).map_or(0.0, Number::as_float);
    let window = evaluation.window.begin_earlier(before_s);
    let mut all = evaluation.series_within(window, arguments.first_expression()?)?;
    for series in &mut all {
        let points = match extent {
            Extent::Points(points) => points,
            Extent::Seconds(seconds) => seconds / series.step,
        };
        let points = usize::try_from(points).unwrap_or(0);
        series.values = means(&series.values, points, share);
        series.start = series.start.saturating_add(before_s);
        series.mark("movingAverage", tag.clone());
        series.rename(format!("movingAverage({},{shown})", series.name));
    }
    Ok(all)
}

/// The mean of each window of so many points but the first, if enough of them are there.
fn means(values: &[Option<f64>], points: usize, share: f64) -> Vec<Option<f64>> {
    if points == 0 {
        // An interval shorter than a step has no points in it.
        return vec![None; values.len()];
    }
    let mean = |window: &[Option<f64>]| {
        let present = window.iter().flatten().count();
        let is_enough = present > 0 && float(present) / float(points) >= share;
        if is_enough { Consolidation::Average.of(window) } else { None }
    };
    values.windows(points).skip(1).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{START, check, evaluate, refused};
    use super::*;

    #[test]
    fn differences_need_two_points() {
        let ones = [None, Some(1.0), Some(1.0), Some(1.0), Some(1.0)];
        check("derivative(a)", &[("derivative(a)", &ones)]);
        check("derivative(b)", &[("derivative(b)", &[None; 5])]);
        check("nonNegativeDerivative(a)", &[("nonNegativeDerivative(a)", &ones)]);
        check("nonNegativeDerivative(c.d)", &[("nonNegativeDerivative(c.d)", &[None; 5])]);
    }

    #[test]
    fn counters_begin_anew_within_their_bounds() {
        assert_eq!(growth(Some(2.0), Some(9.0), Some(10.0), None), (Some(4.0), Some(2.0)));
        assert_eq!(growth(Some(2.0), Some(9.0), Some(10.0), Some(1.0)), (Some(3.0), Some(2.0)));
        assert_eq!(growth(Some(2.0), Some(9.0), None, Some(1.0)), (Some(1.0), Some(2.0)));
        assert_eq!(growth(Some(12.0), Some(9.0), Some(10.0), None), (None, None));
        assert_eq!(growth(None, Some(9.0), None, None), (None, None));
    }

    #[test]
    fn means_look_back_before_the_window() {
        let means = [Some(0.0), Some(1.0), Some(2.0), Some(3.0), Some(4.0)];
        check("movingAverage(a, 3)", &[("movingAverage(a,3)", &means)]);
        check("movingAverage(a, '3min')", &[("movingAverage(a,\"3min\")", &means)]);
        let found = evaluate("movingAverage(a, 3)").expect("one").remove(0);
        assert_eq!((found.start, found.tags["movingAverage"].as_str()), (START + 60, "3"));
        let gappy = [Some(10.0), Some(8.0), Some(8.0), Some(6.0), Some(6.0)];
        check("movingAverage(b, 2)", &[("movingAverage(b,2)", &gappy)]);
        check("movingAverage(b, 2, 0.6)", &[("movingAverage(b,2)", &[None; 5])]);
        check("movingAverage(nothing, 2)", &[]);
        refused("movingAverage(a, 0)", "not above 0");
        refused("movingAverage(a, 1000000)", "100000");
        refused("movingAverage(a, '0h')", "not above 0");
    }
}
