//! Many series made one: aggregates, and groups of them by nodes and tags.
//!
//! Source: graphite-web's `aggregate`, its named forms and `groupBy*`. Departures: a group's callback is the name of an
//! aggregate, never of another function; a result keeps the consolidation that all its series share, so that the largest
//! of many scores still consolidates by its maximum.

use super::alias::key;
use super::arguments::{Arguments, NodeOrTag};
use super::{Evaluation, Function, Kind, Parameter, SERIES};
use crate::graphite::consolidation::Consolidation;
use crate::graphite::series::{Series, Tags, align, canonical, tags_of};
use crate::operations::OperationError;

const GROUP: &str = "Combine";
const LISTS: [Parameter; 1] = [Parameter::repeated("seriesLists", Kind::SeriesList)];

const fn named(name: &'static str, description: &'static str, run: super::Body) -> Function {
    Function { name, group: GROUP, description, parameters: &LISTS, run }
}

pub(super) const FUNCTIONS: [Function; 11] = [
    Function {
        name: "aggregate",
        group: GROUP,
        description: "Makes one series of many by an aggregate of their points at each time.",
        parameters: &[SERIES, Parameter::required("func", Kind::Aggregate)],
        run: |_, arguments| {
            let name = arguments.text(1, "average").to_owned();
            combined(&arguments.series(), &name)
        },
    },
    named("averageSeries", "The mean of many series at each time.", |_, arguments| {
        combined(&arguments.series(), "average")
    }),
    named("avg", "The mean of many series at each time, under a short name.", |_, arguments| {
        combined(&arguments.series(), "average")
    }),
    named("maxSeries", "The highest of many series at each time.", |_, arguments| {
        combined(&arguments.series(), "max")
    }),
    named("minSeries", "The lowest of many series at each time.", |_, arguments| {
        combined(&arguments.series(), "min")
    }),
    named("sum", "The sum of many series at each time, under a short name.", |_, arguments| {
        combined(&arguments.series(), "sum")
    }),
    named("sumSeries", "The sum of many series at each time.", |_, arguments| {
        combined(&arguments.series(), "sum")
    }),
    Function {
        name: "groupByNode",
        group: GROUP,
        description: "Makes one series of all that share a node of their path, or the value of a tag.",
        parameters: &[
            SERIES,
            Parameter::required("nodeNum", Kind::NodeOrTag),
            Parameter::optional("callback", Kind::Aggregate, Some("\"average\"")),
        ],
        run: |_, arguments| {
            let (nodes, callback) = (arguments.nodes(1), arguments.text(2, "average").to_owned());
            grouped_by_nodes(arguments.series(), &nodes, &callback)
        },
    },
    Function {
        name: "groupByNodes",
        group: GROUP,
        description: "Makes one series of all that share several nodes of their path, or values of tags.",
        parameters: &[
            SERIES,
            Parameter::required("callback", Kind::Aggregate),
            Parameter::repeated("nodes", Kind::NodeOrTag),
        ],
        run: |_, arguments| {
            let (nodes, callback) = (arguments.nodes(2), arguments.text(1, "average").to_owned());
            grouped_by_nodes(arguments.series(), &nodes, &callback)
        },
    },
    Function {
        name: "groupByTags",
        group: GROUP,
        description: "Makes one series of all that share the values of these tags.",
        parameters: &[
            SERIES,
            Parameter::required("callback", Kind::Aggregate),
            Parameter::repeated("tags", Kind::Tag),
        ],
        run: group_by_tags,
    },
    Function {
        name: "rangeOfSeries",
        group: GROUP,
        description: "How far many series lie apart at each time.",
        parameters: &LISTS,
        run: |_, arguments| combined(&arguments.series(), "range"),
    },
];

/// One series of many; none of none.
fn combined(all: &[Series], callback: &str) -> Result<Vec<Series>, OperationError> {
    let function = callback.strip_suffix("Series").unwrap_or(callback);
    let aggregate = Consolidation::aggregate(function)?;
    let Some(aligned) = align(all) else { return Ok(Vec::new()) };
    let mut paths: Vec<&str> = Vec::new();
    let mut tags: Option<Tags> = None;
    for series in all {
        if !paths.contains(&series.path.as_str()) {
            paths.push(&series.path);
        }
        match &mut tags {
            None => tags = Some(series.tags.clone()),
            Some(shared) => shared.retain(|tag, value| series.tags.get(tag) == Some(value)),
        }
    }
    let name = format!("{function}Series({})", paths.join(","));
    let mut tags = tags.unwrap_or_default();
    tags.entry("name".to_owned()).or_insert_with(|| name.clone());
    tags.insert("aggregatedBy".to_owned(), function.to_owned());
    let point =
        |row: &Vec<Option<f64>>| if row.iter().any(Option::is_some) { aggregate.of(row) } else { None };
    let consolidation = all.first().map_or(Consolidation::Average, |first| first.consolidation);
    let is_shared = all.iter().all(|series| series.consolidation == consolidation);
    Ok(vec![Series {
        path: name.clone(),
        name,
        tags,
        start: aligned.start,
        end: aligned.end,
        step: aligned.step,
        values: aligned.rows.iter().map(point).collect(),
        consolidation: if is_shared { consolidation } else { Consolidation::Average },
    }])
}

/// Series by their keys, in the order in which keys come first.
fn groups(all: Vec<Series>, key: impl Fn(&Series) -> String) -> Vec<(String, Vec<Series>)> {
    let mut place_of_key = std::collections::HashMap::new();
    let mut groups: Vec<(String, Vec<Series>)> = Vec::new();
    for series in all {
        let key = key(&series);
        let place = *place_of_key.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(series);
    }
    groups
}

fn grouped_by_nodes(
    all: Vec<Series>,
    nodes: &[NodeOrTag],
    callback: &str,
) -> Result<Vec<Series>, OperationError> {
    let mut results = Vec::new();
    for (key, group) in groups(all, |series| key(series, nodes)) {
        for mut series in combined(&group, callback)? {
            series.name.clone_from(&key);
            results.push(series);
        }
    }
    Ok(results)
}

fn group_by_tags(
    _: &mut Evaluation<'_>,
    arguments: &mut Arguments<'_>,
) -> Result<Vec<Series>, OperationError> {
    let callback = arguments.text(1, "average").to_owned();
    let wanted = arguments.texts();
    let all = arguments.series();
    let tag = |series: &Series, tag: &str| series.tags.get(tag).cloned().unwrap_or_default();
    let first_name = all.first().map(|series| tag(series, "name")).unwrap_or_default();
    let is_one_name = all.iter().all(|series| tag(series, "name") == first_name);
    let is_by_name = wanted.iter().any(|tag| tag == "name");
    let common_name = if is_one_name { first_name } else { callback.clone() };
    let key = |series: &Series| {
        let name = if is_by_name { tag(series, "name") } else { common_name.clone() };
        let mut tags: Vec<String> = wanted
            .iter()
            .filter(|wanted| *wanted != "name")
            .map(|wanted| format!(";{wanted}={}", tag(series, wanted)))
            .collect();
        tags.sort();
        name + &tags.concat()
    };
    let mut results = Vec::new();
    for (key, group) in groups(all, key) {
        for mut series in combined(&group, &callback)? {
            series.tags = tags_of(&canonical(&key));
            series.rename(key.clone());
            results.push(series);
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, evaluate, refused};

    #[test]
    fn many_become_one() {
        let sum = [Some(1.0), Some(10.0), Some(3.0), Some(10.0), Some(5.0)];
        check("sumSeries(*)", &[("sumSeries(*)", &sum)]);
        check("sum(a, b, a, scale(a, -1))", &[("sumSeries(a,b,scale(a,-1))", &sum)]);
        let max = [Some(1.0), Some(8.0), Some(3.0), Some(6.0), Some(5.0)];
        check("maxSeries(**)", &[("maxSeries(**)", &max)]);
        check("aggregate(**, 'maxSeries')", &[("maxSeries(**)", &max)]);
        let average = [Some(1.0), Some(5.0), Some(3.0), Some(5.0), Some(5.0)];
        check("averageSeries(*)", &[("averageSeries(*)", &average)]);
        check("avg(*)", &[("averageSeries(*)", &average)]);
        let range = [Some(0.0), Some(6.0), Some(0.0), Some(2.0), Some(0.0)];
        check("rangeOfSeries(*)", &[("rangeSeries(*)", &range)]);
        let count = [None, Some(1.0), None, Some(1.0), None];
        check("aggregate(b, 'count')", &[("countSeries(b)", &count)]);
        check("sumSeries(nothing)", &[]);
    }

    #[test]
    fn groups_are_named_by_what_they_share() {
        let min = [Some(-1.0), Some(-2.0), Some(-3.0), Some(-4.0), Some(-5.0)];
        let a = [Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0)];
        check("groupByNode(group(c.d, a, scale(a, 2)), 0, 'min')", &[("c", &min), ("a", &a)]);
        check("groupByNodes(c.d, 'sum', 1, 0)", &[("d.c", &min)]);
        let sum = [Some(1.0), Some(10.0), Some(3.0), Some(10.0), Some(5.0)];
        check("seriesByTag('x=y') | groupByTags('sum', 'host')", &[("sum;host=h", &sum)]);
        let found = evaluate("seriesByTag('x=y') | groupByTags('sum', 'host', 'name')").expect("two");
        assert_eq!(
            found.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(),
            ["a;host=h", "b;host=h"]
        );
        assert_eq!(found[0].tags["host"], "h");
        refused("groupByNode(a, 0, 'alias')", "callback");
    }

    #[test]
    fn shared_tags_stay() {
        let found = evaluate("seriesByTag('x=y') | maxSeries()").expect("one").remove(0);
        assert_eq!(found.name, "maxSeries(seriesByTag('x=y'))");
        assert_eq!(found.tags["host"], "h");
        assert_eq!(found.tags["name"], found.name);
        assert_eq!(found.tags["aggregatedBy"], "max");
    }
}
