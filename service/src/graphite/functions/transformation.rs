//! Series as others of another size, time or step.
//!
//! Source: graphite-web's `scale`, `offset`, `absolute`, `summarize`, `timeShift`. Departure: `timeShift` does not know
//! `alignDST`.

use htm_core::float_text::repr;

use super::arguments::Arguments;
use super::{Evaluation, Function, Kind, Parameter, SERIES};
use crate::graphite::number::{Number, short_text};
use crate::graphite::series::Series;
use crate::graphite::time::parse_interval;
use crate::operations::OperationError;

const GROUP: &str = "Transform";
const FACTOR: Parameter = Parameter::required("factor", Kind::Float);

pub(super) const FUNCTIONS: [Function; 5] = [
    Function {
        name: "absolute",
        group: GROUP,
        description: "Takes the sign from every point.",
        parameters: &[SERIES],
        run: |_, arguments| Ok(absolute(arguments)),
    },
    Function {
        name: "offset",
        group: GROUP,
        description: "Adds a number to every point.",
        parameters: &[SERIES, FACTOR],
        run: |_, arguments| Ok(computed(arguments, "offset", |value, number| value + number)),
    },
    Function {
        name: "scale",
        group: GROUP,
        description: "Multiplies every point by a number.",
        parameters: &[SERIES, FACTOR],
        run: |_, arguments| Ok(computed(arguments, "scale", |value, number| value * number)),
    },
    Function {
        name: "summarize",
        group: GROUP,
        description: "Makes one point of all within an interval, on whole intervals since 1970 or from the first point on.",
        parameters: &[
            SERIES,
            Parameter::required("intervalString", Kind::Interval).with_suggestions(&["10min", "1h", "1d"]),
            Parameter::optional("func", Kind::Aggregate, Some("\"sum\"")),
            Parameter::optional("alignToFrom", Kind::Boolean, Some("false")),
        ],
        run: summarize,
    },
    Function {
        name: "timeShift",
        group: GROUP,
        description: "Shows what was an interval before, to compare with now.",
        parameters: &[
            SERIES,
            Parameter::required("timeShift", Kind::Interval)
                .with_suggestions(&["1h", "6h", "12h", "1d", "2d", "7d", "14d", "30d"]),
            Parameter::optional("resetEnd", Kind::Boolean, Some("true")),
        ],
        run: time_shift,
    },
];

fn absolute(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    for series in &mut all {
        series.mark("absolute", "1");
        series.rename(format!("absolute({})", series.name));
        for value in series.values.iter_mut().flatten() {
            *value = value.abs();
        }
    }
    all
}

fn computed(arguments: &mut Arguments<'_>, name: &str, compute: fn(f64, f64) -> f64) -> Vec<Series> {
    let mut all = arguments.series();
    let number = arguments.number(1).unwrap_or(Number::Integer(0));
    for series in &mut all {
        series.mark(name, repr(number.as_float()));
        series.rename(format!("{name}({},{})", series.name, short_text(number.as_float())));
        for value in &mut series.values {
            *value = value.map(|value| compute(value, number.as_float())).filter(|value| value.is_finite());
        }
    }
    all
}

fn summarize(
    evaluation: &mut Evaluation<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Vec<Series>, OperationError> {
    let mut all = arguments.series();
    let text = arguments.text(1, "");
    let interval = parse_interval(text)?;
    if interval <= 0 {
        return Err(arguments.refused(&format!("`intervalString` is {text}, not above 0")));
    }
    let function = arguments.text(2, "sum");
    let aggregate = arguments.aggregate(2, "sum")?;
    let is_from_start = arguments.boolean(3, false);
    for series in &mut all {
        let (start, end) = if is_from_start {
            (series.start, series.end)
        } else {
            let whole = |time: i64| time - time.rem_euclid(interval);
            (whole(series.start), whole(series.end).saturating_add(interval))
        };
        let count = usize::try_from((end - start).max(0).saturating_add(interval - 1) / interval)
            .unwrap_or(usize::MAX);
        // A fine interval over coarse points makes more of them.
        evaluation.budget.points(count)?;
        let mut groups: Vec<Vec<Option<f64>>> = vec![Vec::new(); count];
        for (time, value) in series.points().take_while(|(time, _)| *time < series.end) {
            let group = usize::try_from((time - start).div_euclid(interval)).ok();
            if let Some(group) = group.and_then(|group| groups.get_mut(group)) {
                group.push(value);
            }
        }
        let point = |group: &Vec<Option<f64>>| {
            if group.iter().any(Option::is_some) { aggregate.of(group) } else { None }
        };
        series.values = groups.iter().map(point).collect();
        series.start = start;
        series.end = if is_from_start {
            start.saturating_add(interval.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
        } else {
            end
        };
        series.step = interval;
        series.mark("summarize", text);
        series.mark("summarizeFunction", function);
        let suffix = if is_from_start { ", true" } else { "" };
        series.rename(format!("summarize({}, \"{text}\", \"{function}\"{suffix})", series.name));
    }
    Ok(all)
}

fn time_shift(
    evaluation: &mut Evaluation<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Vec<Series>, OperationError> {
    let Some((start, end)) = arguments.series().first().map(|first| (first.start, first.end)) else {
        return Ok(Vec::new());
    };
    let text = arguments.text(1, "");
    let text = if text.starts_with(|first: char| first.is_ascii_digit()) {
        format!("-{text}")
    } else {
        text.to_owned()
    };
    let window = evaluation.window.moved(parse_interval(&text)?);
    let mut all = evaluation.series_within(window, arguments.first_expression()?)?;
    for series in &mut all {
        series.mark("timeShift", text.clone());
        series.name = format!("timeShift({}, \"{text}\")", series.name);
        series.end = if arguments.boolean(2, true) { end } else { series.end - series.start + start };
        series.start = start;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{START, check, evaluate, refused};

    #[test]
    fn points_are_computed_one_by_one() {
        let twice = [Some(2.0), Some(4.0), Some(6.0), Some(8.0), Some(10.0)];
        check("scale(a, 2)", &[("scale(a,2)", &twice)]);
        check("scale(a, '2')", &[("scale(a,2)", &twice)]);
        let more = [None, Some(8.5), None, Some(6.5), None];
        check("offset(b, 0.5)", &[("offset(b,0.5)", &more)]);
        let positive = [Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0)];
        check("absolute(c.d)", &[("absolute(c.d)", &positive)]);
        let found = evaluate("scale(a, 0.5)").expect("one").remove(0);
        assert_eq!((found.tags["scale"].as_str(), found.path.as_str()), ("0.5", "scale(a,0.5)"));
        let huge = [None; 5];
        check("scale(offset(a, 1e308), 10)", &[("scale(offset(a,1e+308),10)", &huge)]);
    }

    #[test]
    fn intervals_are_summarized() {
        // Minutes 11 to 15; whole intervals of two minutes begin at 10, 12 and 14, and one follows the end.
        let sums = [Some(1.0), Some(5.0), Some(9.0), None];
        check("summarize(a, '2min')", &[("summarize(a, \"2min\", \"sum\")", &sums)]);
        let maxima = [Some(2.0), Some(4.0), Some(5.0)];
        check(
            "summarize(a, '2min', func='max', alignToFrom=true)",
            &[("summarize(a, \"2min\", \"max\", true)", &maxima)],
        );
        let found = evaluate("summarize(a, '2min')").expect("one").remove(0);
        assert_eq!((found.start, found.step, found.end), (START, 120, START + 480));
        refused("summarize(a, '0s')", "not above 0");
    }

    #[test]
    fn the_past_is_shown_at_the_present() {
        let before = [Some(-1.0), Some(0.0), Some(1.0), Some(2.0), Some(3.0)];
        check("timeShift(a, '2min')", &[("timeShift(a, \"-2min\")", &before)]);
        let after = [Some(2.0), Some(3.0), Some(4.0), Some(5.0), Some(6.0)];
        check("timeShift(a, '+1min', resetEnd=false)", &[("timeShift(a, \"+1min\")", &after)]);
        let found = evaluate("timeShift(a, '2min')").expect("one").remove(0);
        assert_eq!(found.start, START + 60);
    }
}
