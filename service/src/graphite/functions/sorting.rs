//! The order of series.
//!
//! Source: graphite-web's `sortBy`, `sortByMaxima`, `sortByName`. Departure: `natural` pads runs of digits of any length
//! alike, where there those of more than ten digits compare as text.

use super::arguments::Arguments;
use super::{Evaluation, Function, Kind, Parameter, SERIES};
use crate::graphite::consolidation::Consolidation;
use crate::graphite::series::Series;
use crate::operations::OperationError;

const GROUP: &str = "Sorting";
const REVERSE: Parameter = Parameter::optional("reverse", Kind::Boolean, Some("false"));

pub(super) const FUNCTIONS: [Function; 3] = [
    Function {
        name: "sortBy",
        group: GROUP,
        description: "Sorts series by an aggregate of their points, lowest first unless reversed.",
        parameters: &[SERIES, Parameter::optional("func", Kind::Aggregate, Some("\"average\"")), REVERSE],
        run: sort_by,
    },
    Function {
        name: "sortByMaxima",
        group: GROUP,
        description: "Sorts series by their highest points, highest first.",
        parameters: &[SERIES],
        run: |_, arguments| Ok(sort_by_maxima(arguments)),
    },
    Function {
        name: "sortByName",
        group: GROUP,
        description: "Sorts series by their names; natural order puts disk2 before disk10.",
        parameters: &[SERIES, Parameter::optional("natural", Kind::Boolean, Some("false")), REVERSE],
        run: |_, arguments| Ok(sort_by_name(arguments)),
    },
];

fn sort_by(_: &mut Evaluation<'_>, arguments: &mut Arguments<'_>) -> Result<Vec<Series>, OperationError> {
    let rank = arguments.aggregate(1, "average")?;
    let mut all = arguments.series();
    by_rank(&mut all, rank, arguments.boolean(2, false));
    Ok(all)
}

fn sort_by_maxima(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    by_rank(&mut all, Consolidation::Max, true);
    all
}

fn sort_by_name(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    if arguments.boolean(1, false) {
        all.sort_by_cached_key(|series| natural(&series.name));
    } else {
        all.sort_by(|one, other| one.name.cmp(&other.name));
    }
    if arguments.boolean(2, false) {
        all.reverse();
    }
    all
}

/// Sorts series by an aggregate of their points; equal ones keep their order either way.
pub(super) fn by_rank(all: &mut [Series], rank: Consolidation, is_descending: bool) {
    let of = |series: &Series| rank.of(&series.values).unwrap_or(f64::NEG_INFINITY);
    // Each rank goes through all points, so once for each series.
    all.sort_by_cached_key(|series| {
        let rank = of(series);
        TotalOrder(if is_descending { -rank } else { rank })
    });
}

/// A number that is not NaN, in its order.
struct TotalOrder(f64);

impl PartialEq for TotalOrder {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for TotalOrder {}

impl PartialOrd for TotalOrder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TotalOrder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Both zeros are equal, as they are to everybody else.
        self.0.partial_cmp(&other.0).unwrap_or_else(|| self.0.total_cmp(&other.0))
    }
}

/// Runs of digits by their value: without leading zeros, and longer ones after shorter ones.
fn natural(name: &str) -> Vec<(usize, String)> {
    let mut parts: Vec<(usize, String)> = Vec::new();
    let mut is_number = false;
    for character in name.chars() {
        let is_digit = character.is_ascii_digit();
        if parts.is_empty() || is_digit != is_number {
            is_number = is_digit;
            parts.push((0, String::new()));
        }
        if let Some((length, part)) = parts.last_mut() {
            if is_digit && part == "0" {
                part.clear();
            }
            part.push(character);
            *length = if is_digit { part.len() } else { 0 };
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::tests::evaluate;
    use super::*;

    #[test]
    fn series_are_sorted() {
        for (target, expected) in [
            ("sortBy(**)", &["c.d", "a", "b"][..]),
            ("sortBy(**, 'max', true)", &["b", "a", "c.d"]),
            ("sortByMaxima(**)", &["b", "a", "c.d"]),
            ("sortByName(group(c.d, b, a))", &["a", "b", "c.d"]),
            ("sortByName(**, reverse=true)", &["c.d", "b", "a"]),
        ] {
            let found = evaluate(target).expect(target);
            assert_eq!(
                found.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn natural_order_counts() {
        let mut names = ["disk10", "disk9", "disk010x", "disk", "disk09a"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["disk", "disk9", "disk09a", "disk10", "disk010x"]);
    }
}
