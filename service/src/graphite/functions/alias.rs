//! Names for legends: they change what series are called, never what they were asked for as.
//!
//! Source: graphite-web's `alias*` functions. Departure: the expressions of `aliasSub` are Rust's, without look-around.

use super::arguments::{Arguments, NodeOrTag};
use super::{Evaluation, Function, Kind, Parameter, SERIES};
use crate::graphite::series::Series;
use crate::graphite::tag_expression::compiled;
use crate::graphite::target::first_path;
use crate::operations::OperationError;

const GROUP: &str = "Alias";
/// Longest name that a replacement may make.
const MAX_NAME_BYTES: usize = 10_000;

pub(super) const FUNCTIONS: [Function; 5] = [
    Function {
        name: "alias",
        group: GROUP,
        description: "Calls every series by this name.",
        parameters: &[SERIES, Parameter::required("newName", Kind::Text)],
        run: |_, arguments| Ok(alias(arguments)),
    },
    Function {
        name: "aliasByMetric",
        group: GROUP,
        description: "Calls every series by the last node of its path.",
        parameters: &[SERIES],
        run: |_, arguments| Ok(alias_by_metric(arguments)),
    },
    Function {
        name: "aliasByNode",
        group: GROUP,
        description: "Calls every series by these nodes of its path, counted from 0 or from the end with -1, and by the \
                      values of these tags, with dots between them.",
        parameters: &[SERIES, Parameter::repeated("nodes", Kind::NodeOrTag)],
        run: |_, arguments| Ok(alias_by_node(arguments)),
    },
    Function {
        name: "aliasByTags",
        group: GROUP,
        description: "Calls every series by the values of these tags, and by these nodes of its path, with dots between \
                      them.",
        parameters: &[SERIES, Parameter::repeated("tags", Kind::NodeOrTag)],
        run: |_, arguments| Ok(alias_by_node(arguments)),
    },
    Function {
        name: "aliasSub",
        group: GROUP,
        description: "Replaces what a regular expression finds in the names of series; \\1 in the replacement stands for \
                      the first group.",
        parameters: &[
            SERIES,
            Parameter::required("search", Kind::Text),
            Parameter::required("replace", Kind::Text),
        ],
        run: alias_sub,
    },
];

fn alias(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    for series in &mut all {
        arguments.text(1, "").clone_into(&mut series.name);
    }
    all
}

fn alias_by_metric(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    for series in &mut all {
        let inner = series.name.rfind('(').map_or(0, |at| at + 1);
        let end = series.name.find(')').filter(|end| *end >= inner).unwrap_or(series.name.len());
        let path = &series.name[inner..end];
        let last = path.rsplit('.').next().unwrap_or(path);
        series.name = last.split(',').next().unwrap_or(last).to_owned();
    }
    all
}

fn alias_by_node(arguments: &mut Arguments<'_>) -> Vec<Series> {
    let mut all = arguments.series();
    let nodes = arguments.nodes(1);
    for series in &mut all {
        series.name = key(series, &nodes);
    }
    all
}

fn alias_sub(_: &mut Evaluation<'_>, arguments: &mut Arguments<'_>) -> Result<Vec<Series>, OperationError> {
    let mut all = arguments.series();
    let search =
        compiled(arguments.text(1, "")).map_err(|why| arguments.refused(&format!("`search`: {why}")))?;
    let replacement = replacement(arguments.text(2, ""));
    for series in &mut all {
        series.name = search.replace_all(&series.name, replacement.as_str()).into_owned();
        if series.name.len() > MAX_NAME_BYTES {
            return Err(arguments.refused(&format!("it makes names of more than {MAX_NAME_BYTES} bytes")));
        }
    }
    Ok(all)
}

/// Python's form of a replacement in the regex crate's: `\1` and `\g<name>` are groups, `$` is itself.
fn replacement(python: &str) -> String {
    let mut text = String::with_capacity(python.len());
    let mut rest = python;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '$' => text.push_str("$$"),
            '\\' => {
                let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
                let named = rest.strip_prefix("g<").and_then(|named| named.split_once('>'));
                if digits > 0 {
                    text.extend(["${", &rest[..digits], "}"]);
                    rest = &rest[digits..];
                } else if let Some((name, after)) = named {
                    text.extend(["${", name, "}"]);
                    rest = after;
                } else if let Some(escaped) = rest.chars().next() {
                    text.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                }
            }
            _ => text.push(character),
        }
    }
    text
}

/// Nodes and tags of a series with dots between them. Of a series that went through functions, nodes are those of the
/// first path within them.
pub(super) fn key(series: &Series, nodes: &[NodeOrTag]) -> String {
    let inner = if series.name.ends_with(')') { first_path(&series.name) } else { None };
    let path = inner.as_deref().unwrap_or(&series.name);
    let path = path.split(';').next().unwrap_or(path);
    let parts: Vec<&str> = path.split('.').collect();
    let part = |node: &NodeOrTag| match node {
        NodeOrTag::Node(number) => {
            let count = i64::try_from(parts.len()).unwrap_or(i64::MAX);
            let place = if *number < 0 { count + number } else { *number };
            usize::try_from(place).ok().and_then(|place| parts.get(place).copied()).unwrap_or_default()
        }
        NodeOrTag::Tag(tag) => series.tags.get(tag).map_or("", String::as_str),
    };
    nodes.iter().map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evaluate, refused};
    use super::*;

    #[track_caller]
    fn names(target: &str, expected: &[&str]) {
        let found = evaluate(target).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!(found.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(), expected, "{target}");
    }

    #[test]
    fn series_get_their_names() {
        names("alias(*, 'x y')", &["x y", "x y"]);
        names("aliasByNode(c.d, 1, 0)", &["d.c"]);
        names("aliasByNode(c.d, -1, 5, -7)", &["d.."]);
        names("aliasByNode(scale(c.d, 2), 0)", &["c"]);
        names("aliasByMetric(scale(c.d, 2))", &["d"]);
        names("aliasByMetric(alias(c.d, 'x)(y'))", &["y"]);
        names("aliasByTags(seriesByTag('name=x'), 'host', 'name', 'none')", &["h.a.", "h.b."]);
        names("seriesByTag('name=x') | aliasByNode('host', 0)", &["h.a", "h.b"]);
    }

    #[test]
    fn replacements_are_those_of_python() {
        names(r"aliasSub(c.d, '^(.)\.(.)$', '\2-\1$0')", &["d-c$0"]);
        names(r"aliasSub(c.d, '(?P<first>.)\.', '\g<first>/')", &["c/d"]);
        names(r"aliasSub(a, 'x*', '-')", &["-a-"]);
        refused("aliasSub(a, '(', 'x')", "regular expression");
        let long = "y".repeat(MAX_NAME_BYTES);
        refused(&format!("aliasSub(a, '', '{long}')"), "names of more than");
    }
}
