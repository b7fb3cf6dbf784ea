//! Points taken away, or put where there are none.
//!
//! Source: graphite-web's `removeAboveValue`, `removeBelowValue`, `keepLastValue`, `transformNull`.

use htm_core::float_text::repr;

use super::arguments::Arguments;
use super::{Function, Kind, Parameter, SERIES};
use crate::graphite::number::{Number, short_text};
use crate::graphite::series::Series;

const GROUP: &str = "Filter Data";

pub(super) const FUNCTIONS: [Function; 4] = [
    Function {
        name: "keepLastValue",
        group: "Transform",
        description: "Fills holes with the value before them, if they are at most this many points long.",
        parameters: &[SERIES, Parameter::optional("limit", Kind::IntegerOrInfinity, None)],
        run: |_, arguments| Ok(keep_last_value(arguments)),
    },
    Function {
        name: "removeAboveValue",
        group: GROUP,
        description: "Takes away the points above a value.",
        parameters: &[SERIES, Parameter::required("n", Kind::Float)],
        run: |_, arguments| Ok(remove_above_value(arguments)),
    },
    Function {
        name: "removeBelowValue",
        group: GROUP,
        description: "Takes away the points below a value: of scores, what is not odd enough.",
        parameters: &[SERIES, Parameter::required("n", Kind::Float)],
        run: |_, arguments| Ok(remove_below_value(arguments)),
    },
    Function {
        name: "transformNull",
        group: "Transform",
        description: "Puts a value where there is none; with reference series only where one of them has a point.",
        parameters: &[
            SERIES,
            Parameter::optional("default", Kind::Float, Some("0")),
            Parameter::optional("referenceSeries", Kind::SeriesList, None),
        ],
        run: |_, arguments| Ok(transform_null(arguments)),
    },
];

fn keep_last_value(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    let limit = usize::try_from(arguments.integer(1, i64::MAX)).unwrap_or(0);
    for series in &mut all {
        series.rename(format!("keepLastValue({})", series.name));
        let mut last = None;
        let mut hole_start = 0;
        for at in 0..=series.values.len() {
            let value = series.values.get(at).copied();
            if value == Some(None) {
                continue;
            }
            if let Some(last) = last
                && at - hole_start <= limit
            {
                series.values[hole_start..at].fill(Some(last));
            }
            if let Some(value) = value.flatten() {
                last = Some(value);
                hole_start = at + 1;
            }
        }
    }
    all
}

fn remove_above_value(arguments: &mut Arguments<'_>) -> Vec<Series> {
    remove(arguments, "removeAboveValue", |value, bound| value > bound)
}

fn remove_below_value(arguments: &mut Arguments<'_>) -> Vec<Series> {
    remove(arguments, "removeBelowValue", |value, bound| value < bound)
}

fn remove(arguments: &mut Arguments<'_>, name: &str, is_outside: fn(f64, f64) -> bool) -> Vec<Series> {
    let mut all = arguments.series();
    let bound = arguments.number(1).map_or(0.0, Number::as_float);
    for series in &mut all {
        series.rename(format!("{name}({}, {})", series.name, short_text(bound)));
        for value in &mut series.values {
            *value = value.filter(|value| !is_outside(*value, bound));
        }
    }
    all
}

fn transform_null(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    let default = arguments.number(1).unwrap_or(Number::Integer(0));
    let is_referred = arguments.is_given(2);
    let references = arguments.series_of(2);
    let is_there =
        |at: usize| references.iter().any(|series| series.values.get(at).is_some_and(Option::is_some));
    let suffix = if is_referred { ",referenceSeries" } else { "" };
    for series in &mut all {
        series.mark("transformNull", repr(default.as_float()));
        if is_referred {
            series.mark("referenceSeries", "1");
        }
        let shown = short_text(default.as_float());
        series.rename(format!("transformNull({},{shown}{suffix})", series.name));
        for (at, value) in series.values.iter_mut().enumerate() {
            if value.is_none() && (!is_referred || is_there(at)) {
                *value = Some(default.as_float());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn holes_are_filled_up_to_their_bound() {
        let b = [None, Some(8.0), None, Some(6.0), None];
        check("b", &[("b", &b)]);
        let kept = [None, Some(8.0), Some(8.0), Some(6.0), Some(6.0)];
        check("keepLastValue(b)", &[("keepLastValue(b)", &kept)]);
        check("keepLastValue(b, inf)", &[("keepLastValue(b)", &kept)]);
        check("keepLastValue(b, 1)", &[("keepLastValue(b)", &kept)]);
        check("keepLastValue(b, 0)", &[("keepLastValue(b)", &b)]);
        let filled = [Some(-1.0), Some(8.0), Some(-1.0), Some(6.0), Some(-1.0)];
        check("transformNull(b, -1)", &[("transformNull(b,-1)", &filled)]);
        check("transformNull(b, 0, b)", &[("transformNull(b,0,referenceSeries)", &b)]);
        check(
            "transformNull(b, default=-1, referenceSeries=a)",
            &[("transformNull(b,-1,referenceSeries)", &filled)],
        );
    }

    #[test]
    fn points_outside_are_taken_away() {
        let above = [Some(1.0), Some(2.0), Some(3.0), None, None];
        check("removeAboveValue(a, 3)", &[("removeAboveValue(a, 3)", &above)]);
        let below = [None, None, None, Some(4.0), Some(5.0)];
        check("removeBelowValue(a, 3.5)", &[("removeBelowValue(a, 3.5)", &below)]);
    }
}
