//! Functions that make series, choose them by tags, or change how they are consolidated.
//!
//! Source: graphite-web's `seriesByTag`, `consolidateBy`, `constantLine`, `threshold`, `group`.

use htm_core::float_text::repr;

use super::arguments::Arguments;
use super::{Evaluation, Function, Kind, Parameter, SERIES};
use crate::graphite::consolidation::Consolidation;
use crate::graphite::number::Number;
use crate::graphite::series::{Series, Tags};
use crate::operations::OperationError;

const VALUE: Parameter = Parameter::required("value", Kind::Float);

pub(super) const FUNCTIONS: [Function; 5] = [
    Function {
        name: "consolidateBy",
        group: "Special",
        description: "Says how several points become one where there are more than a chart can show. Without it, values \
                      become their mean and scores their highest.",
        parameters: &[
            SERIES,
            Parameter::required("consolidationFunc", Kind::Text)
                .with_options(&["average", "avg", "avg_zero", "first", "last", "max", "min", "sum"]),
        ],
        run: consolidate_by,
    },
    Function {
        name: "constantLine",
        group: "Special",
        description: "Draws a level line at a value.",
        parameters: &[VALUE],
        run: constant_line,
    },
    Function {
        name: "group",
        group: "Combine",
        description: "Makes one list of several.",
        parameters: &[Parameter::repeated("seriesLists", Kind::SeriesList)],
        run: |_, arguments| Ok(arguments.series()),
    },
    Function {
        name: "seriesByTag",
        group: "Special",
        description: "Finds series by conditions on their tags, such as 'name=cpu', 'host!=a', 'dc=~eu-.*'. The tag htm \
                      chooses what is shown of a metric, such as 'htm=score'; without it that is the value.",
        parameters: &[Parameter::repeated("tagExpressions", Kind::Text)],
        // The evaluation asks its source for them.
        run: |_, arguments| Ok(arguments.series()),
    },
    Function {
        name: "threshold",
        group: "Graph",
        description: "Draws a level line at a value, with a name of its own.",
        parameters: &[
            VALUE,
            Parameter::optional("label", Kind::Text, None),
            Parameter::optional("color", Kind::Text, None),
        ],
        run: threshold,
    },
];

fn consolidate_by(
    _: &mut Evaluation<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Vec<Series>, OperationError> {
    let mut all = arguments.series();
    let name = arguments.text(1, "average");
    let consolidation = Consolidation::from_name(name)?;
    for series in &mut all {
        series.consolidation = consolidation;
        series.mark("consolidateBy", name);
        series.rename(format!("consolidateBy({},\"{name}\")", series.name));
    }
    Ok(all)
}

fn constant_line(
    evaluation: &mut Evaluation<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Vec<Series>, OperationError> {
    evaluation.budget.series(1)?;
    let value = arguments.number(0).unwrap_or(Number::Integer(0));
    let (start, end) = (evaluation.window.from, evaluation.window.until);
    let name = repr(value.as_float());
    Ok(vec![Series {
        path: format!("constantLine({name})"),
        tags: Tags::from([("name".to_owned(), name.clone())]),
        name,
        start,
        end,
        step: ((end - start) / 2).max(1),
        values: vec![Some(value.as_float()); 3],
        consolidation: Consolidation::Average,
    }])
}

fn threshold(
    evaluation: &mut Evaluation<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Vec<Series>, OperationError> {
    let mut line = constant_line(evaluation, arguments)?;
    let label = arguments.text(1, "");
    if !label.is_empty() {
        for series in &mut line {
            label.clone_into(&mut series.name);
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{START, check, evaluate};
    use super::*;

    #[test]
    fn lines_span_the_window() {
        let level = [Some(0.135); 3];
        check("constantLine(0.135)", &[("0.135", &level)]);
        check("threshold(0.135, 'alert', 'red')", &[("alert", &level)]);
        check("threshold(5)", &[("5.0", &[Some(5.0); 3])]);
        let line = evaluate("constantLine(1)").expect("a line").remove(0);
        assert_eq!((line.start, line.end, line.step), (START, START + 300, 150));
        assert_eq!(line.points().count(), 3);
    }

    #[test]
    fn lists_are_joined_and_consolidation_is_chosen() {
        let found = evaluate("group(a, b, c.d)").expect("three");
        assert_eq!(found.len(), 3);
        let found = evaluate("consolidateBy(a, 'max')").expect("one").remove(0);
        assert_eq!(
            (found.name.as_str(), found.consolidation),
            ("consolidateBy(a,\"max\")", Consolidation::Max)
        );
        assert_eq!(found.tags["consolidateBy"], "max");
    }
}
