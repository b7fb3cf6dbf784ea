//! The series that matter most out of many.
//!
//! Source: graphite-web's `highest*` and `limit`. Series of equal rank keep their order; those without points come last.

use super::arguments::Arguments;
use super::sorting::by_rank;
use super::{Function, Kind, Parameter, SERIES};
use crate::graphite::consolidation::Consolidation;
use crate::graphite::series::Series;

const GROUP: &str = "Filter Series";
const COUNT: Parameter = Parameter::required("n", Kind::Integer);

pub(super) const FUNCTIONS: [Function; 5] = [
    Function {
        name: "highest",
        group: GROUP,
        description: "Keeps the series that are highest by an aggregate of their points.",
        parameters: &[
            SERIES,
            Parameter::optional("n", Kind::Integer, Some("1")),
            Parameter::optional("func", Kind::Aggregate, Some("\"average\"")),
        ],
        run: |_, arguments| {
            let rank = arguments.aggregate(2, "average")?;
            Ok(first(arguments, Some(rank)))
        },
    },
    Function {
        name: "highestAverage",
        group: GROUP,
        description: "Keeps the series with the highest means.",
        parameters: &[SERIES, COUNT],
        run: |_, arguments| Ok(first(arguments, Some(Consolidation::Average))),
    },
    Function {
        name: "highestCurrent",
        group: GROUP,
        description: "Keeps the series whose newest points are the highest.",
        parameters: &[SERIES, COUNT],
        run: |_, arguments| Ok(first(arguments, Some(Consolidation::Last))),
    },
    Function {
        name: "highestMax",
        group: GROUP,
        description: "Keeps the series with the highest points: of scores, the oddest metrics.",
        parameters: &[SERIES, COUNT],
        run: |_, arguments| Ok(first(arguments, Some(Consolidation::Max))),
    },
    Function {
        name: "limit",
        group: GROUP,
        description: "Keeps the first so many series.",
        parameters: &[SERIES, COUNT],
        run: |_, arguments| Ok(limit(arguments)),
    },
];

fn limit(arguments: &mut Arguments<'_>) -> Vec<Series> {
    first(arguments, None)
}

fn first(arguments: &mut Arguments<'_>, rank: Option<Consolidation>) -> Vec<Series> {
    let mut all = arguments.series();
    if let Some(rank) = rank {
        by_rank(&mut all, rank, true);
    }
    all.truncate(usize::try_from(arguments.integer(1, 1)).unwrap_or(0));
    all
}

#[cfg(test)]
mod tests {
    use super::super::tests::evaluate;

    #[test]
    fn the_highest_come_first() {
        for (target, expected) in [
            ("highestMax(**, 2)", &["b", "a"][..]),
            ("highestAverage(**, 1)", &["b"]),
            ("highestCurrent(**, 2)", &["b", "a"]),
            ("highest(**)", &["b"]),
            ("highest(**, 2, 'min')", &["b", "a"]),
            ("limit(**, 2)", &["a", "b"]),
            ("limit(**, 0)", &[]),
            ("limit(**, -1)", &[]),
            ("highestMax(**, 9)", &["b", "a", "c.d"]),
        ] {
            let found = evaluate(target).expect(target);
            assert_eq!(
                found.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(),
                expected,
                "{target}"
            );
        }
    }
}
