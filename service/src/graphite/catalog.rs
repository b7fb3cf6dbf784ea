//! The names that can be asked for: metrics as a tree of dotted nodes, and their tags.
//!
//! Every metric has nine paths: its own name, which means its value, and `htm.<metric>.<field>` for each [`Field`]. As in
//! Graphite, metrics with tags stand beside the tree: a glob without `;` does not find them, a tag expression and their
//! whole name (`cpu;host=a`, `htm.cpu;host=a.score`) do. In tag expressions every metric has the tag `name`, and each of its
//! series the tag `htm` with the field's name; without a condition on that, values are meant and the tag is not shown.
//!
//! Invariants: metrics are sorted by name; what is found is sorted by path and has no path twice. On one path a metric of
//! that name comes before a field of another.
//!
//! Departures from graphite-web: a path that is a metric and a folder is shown as both (there the metric hides the folder).

use std::collections::{BTreeMap, BTreeSet};

use htm_core::ids::{ModelId, RowId};

use super::field::{Field, NAMESPACE};
use super::pattern::{NodePattern, is_pattern, nodes};
use super::series::{Tags, canonical, tags_of};
use super::tag_expression::TagExpression;
use crate::operations::{OperationError, Operations};

/// Most nodes that one search may find.
pub(crate) const MAX_FOUND: usize = 200_000;
/// Most nodes of a pattern.
const MAX_PATTERN_NODES: usize = 256;

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CatalogMetric {
    /// Its id.
    pub(crate) uid: ModelId,
    /// Its name, canonical.
    pub(crate) name: String,
    /// Its status code.
    pub(crate) status_code: i64,
    /// Its highest row id.
    pub(crate) last_row: RowId,
}

impl CatalogMetric {
    fn is_tagged(&self) -> bool {
        self.name.contains(';')
    }
}

/// One series of a metric, as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeriesName {
    /// What it is called here.
    pub(crate) name: String,
    /// Its tags.
    pub(crate) tags: Tags,
    /// Number of the metric in the catalog.
    pub(crate) metric_idx: usize,
    /// What is asked for.
    pub(crate) field: Field,
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundNode {
    /// From the root.
    pub(crate) path: String,
    /// Whether it is a series; else there is something below it.
    pub(crate) is_leaf: bool,
}

impl FoundNode {
    /// The last node of the path.
    pub(crate) fn name(&self) -> &str {
        let tags = self.path.find(';').unwrap_or(self.path.len());
        let start = self.path[..tags].rfind('.').map_or(0, |at| at + 1);
        &self.path[start..]
    }
}

/// All metrics at one moment.
#[derive(Debug)]
pub(crate) struct Catalog {
    metrics: Vec<CatalogMetric>,
}

impl Catalog {
    /// Reads all metrics.
    ///
    /// # Errors
    /// From the database.
    pub(crate) fn read(operations: &Operations) -> Result<Self, OperationError> {
        let metrics = operations.repository().metrics(&[])?;
        Ok(Self::new(metrics.into_iter().map(|metric| CatalogMetric {
            uid: metric.uid,
            name: metric.name,
            status_code: metric.status.code(),
            last_row: metric.last_rowid,
        })))
    }

    /// A catalog of these.
    pub(crate) fn new(metrics: impl IntoIterator<Item = CatalogMetric>) -> Self {
        let mut metrics: Vec<CatalogMetric> = metrics.into_iter().collect();
        metrics.sort_by(|one, other| one.name.cmp(&other.name));
        Self { metrics }
    }

    /// All metrics, by name.
    pub(crate) fn metrics(&self) -> &[CatalogMetric] {
        &self.metrics
    }

    /// The series that a path stands for, by name.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for a pattern over its bounds, or that finds more than [`MAX_FOUND`].
    pub(crate) fn series(&self, path: &str) -> Result<Vec<SeriesName>, OperationError> {
        let mut found: BTreeMap<String, SeriesName> = BTreeMap::new();
        let mut take = |name: SeriesName| {
            found.entry(name.name.clone()).or_insert(name);
            within_bound(found.len())
        };
        if !is_pattern(path) {
            for name in self.exact(path) {
                take(name)?;
            }
            return Ok(found.into_values().collect());
        }
        for pattern in splits(path)? {
            for (metric_idx, metric) in self.metrics.iter().enumerate() {
                if metric.is_tagged() != path.contains(';') {
                    continue;
                }
                for_each_path(&metric.name, pattern.len(), &pattern, |name, field| {
                    let Some(field) = field else { return Ok(()) };
                    take(SeriesName { tags: path_tags(&name, &metric.name, field), name, metric_idx, field })
                })?;
            }
        }
        Ok(found.into_values().collect())
    }

    /// The nodes that a pattern finds, by path.
    ///
    /// # Errors
    /// As [`Self::series`].
    pub(crate) fn find(&self, pattern: &str) -> Result<BTreeSet<FoundNode>, OperationError> {
        let mut found = BTreeSet::new();
        for split in splits(pattern)? {
            for metric in &self.metrics {
                if metric.is_tagged() != pattern.contains(';') {
                    continue;
                }
                for_each_path(&metric.name, split.len(), &split, |path, field| {
                    found.insert(FoundNode { path, is_leaf: field.is_some() });
                    within_bound(found.len())
                })?;
            }
        }
        Ok(found)
    }

    /// Every path of a series, sorted.
    pub(crate) fn index(&self) -> Vec<String> {
        let mut paths: Vec<String> = Vec::with_capacity(self.metrics.len() * (Field::ALL.len() + 1));
        for metric in &self.metrics {
            paths.push(metric.name.clone());
            paths.extend(Field::ALL.map(|field| format!("{NAMESPACE}.{}.{}", metric.name, field.name())));
        }
        paths.sort();
        paths.dedup();
        paths
    }

    /// The series that meet all conditions, by name.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for more than [`MAX_FOUND`].
    pub(crate) fn tagged(&self, expressions: &[TagExpression]) -> Result<Vec<SeriesName>, OperationError> {
        let asks_for_field = expressions.iter().any(|expression| expression.tag == NAMESPACE);
        let mut found = Vec::new();
        for (metric_idx, metric) in self.metrics.iter().enumerate() {
            let tags = tags_of(&metric.name);
            let is_own = tags.contains_key(NAMESPACE);
            let is_met = |expression: &TagExpression, field: Field| match tags.get(&expression.tag) {
                Some(value) => expression.is_met_by(value),
                None if expression.tag == NAMESPACE => expression.is_met_by(field.name()),
                None => expression.is_met_by(""),
            };
            let fields = if asks_for_field && !is_own { &Field::ALL[..] } else { &[Field::Value] };
            for &field in fields {
                if expressions.iter().all(|expression| is_met(expression, field)) {
                    let name = if field == Field::Value {
                        metric.name.clone()
                    } else {
                        canonical(&format!("{};{NAMESPACE}={}", metric.name, field.name()))
                    };
                    let mut tags = tags.clone();
                    if asks_for_field {
                        tags.entry(NAMESPACE.to_owned()).or_insert_with(|| field.name().to_owned());
                    }
                    found.push(SeriesName { name, tags, metric_idx, field });
                    within_bound(found.len())?;
                }
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Every tag with its values and how many metrics have each; of `htm` all fields.
    pub(crate) fn tags(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for metric in &self.metrics {
            for (tag, value) in tags_of(&metric.name) {
                *counts.entry(tag).or_default().entry(value).or_default() += 1;
            }
        }
        if !self.metrics.is_empty() {
            let fields = counts.entry(NAMESPACE.to_owned()).or_default();
            for field in Field::ALL {
                *fields.entry(field.name().to_owned()).or_default() += self.metrics.len();
            }
        }
        counts
    }

    /// What an exact path stands for.
    fn exact(&self, path: &str) -> Vec<SeriesName> {
        let mut found = Vec::new();
        let mut take = |metric: &str, field: Field| {
            let metric = canonical(metric);
            if let Ok(metric_idx) =
                self.metrics.binary_search_by(|candidate| candidate.name.as_str().cmp(metric.as_str()))
            {
                let tags = path_tags(path, &metric, field);
                found.push(SeriesName { name: path.to_owned(), tags, metric_idx, field });
            }
        };
        take(path, Field::Value);
        if let Some((metric, field)) = path
            .strip_prefix(NAMESPACE)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.rsplit_once('.'))
            .and_then(|(metric, field)| Some((metric, Field::from_name(field)?)))
        {
            take(metric, field);
        }
        // `cpu;host=a;htm=score`, as a tag expression shows it.
        if path.contains(';') {
            let (pseudo, own): (Vec<&str>, Vec<&str>) = path
                .split(';')
                .partition(|part| part.strip_prefix(NAMESPACE).is_some_and(|rest| rest.starts_with('=')));
            if let [tag] = pseudo.as_slice()
                && let Some(field) = tag.split_once('=').and_then(|(_, name)| Field::from_name(name))
            {
                take(&own.join(";"), field);
            }
        }
        found
    }
}

/// Tags of a series that a path names: of a metric without tags the whole path is the name, as in Graphite.
fn path_tags(path: &str, metric: &str, field: Field) -> Tags {
    if !metric.contains(';') {
        return tags_of(path);
    }
    let mut tags = tags_of(metric);
    if canonical(path) != metric {
        tags.entry(NAMESPACE.to_owned()).or_insert_with(|| field.name().to_owned());
    }
    tags
}

fn within_bound(found: usize) -> Result<(), OperationError> {
    if found <= MAX_FOUND {
        return Ok(());
    }
    Err(OperationError::invalid(format!(
        "more than {MAX_FOUND} series match; ask with a narrower pattern or further tag expressions"
    )))
}

/// The ways to cut a pattern into nodes. Tags are part of the node that they follow, dots included; in our namespace the
/// field may come after them.
fn splits(pattern: &str) -> Result<Vec<Vec<NodePattern>>, OperationError> {
    let texts: Vec<Vec<&str>> = match pattern.split_once(';') {
        None => vec![nodes(pattern)],
        Some((head, _)) => {
            let mut whole = nodes(head);
            let last_start = head.len() - whole.last().map_or(0, |last| last.len());
            whole.pop();
            let mut ways = vec![[whole.as_slice(), &[&pattern[last_start..]]].concat()];
            if let Some(dot) = pattern.rfind('.').filter(|dot| *dot > head.len()) {
                ways.push([whole.as_slice(), &[&pattern[last_start..dot], &pattern[dot + 1..]]].concat());
            }
            ways
        }
    };
    texts
        .into_iter()
        .map(|nodes| {
            if nodes.len() > MAX_PATTERN_NODES {
                return Err(OperationError::invalid(format!(
                    "a path of {} nodes; at most {MAX_PATTERN_NODES} are taken",
                    nodes.len()
                )));
            }
            nodes.into_iter().map(NodePattern::new).collect()
        })
        .collect()
}

/// Calls `found` with the first `depth` nodes of each path of a metric that match, and with the field if that is all of the
/// path.
fn for_each_path(
    metric: &str,
    depth: usize,
    pattern: &[NodePattern],
    mut found: impl FnMut(String, Option<Field>) -> Result<(), OperationError>,
) -> Result<(), OperationError> {
    let tags_start = metric.find(';').unwrap_or(metric.len());
    let mut own: Vec<&str> = metric[..tags_start].split('.').collect();
    if let Some(last) = own.last_mut() {
        *last = &metric[tags_start - last.len()..];
    }
    let matches = |nodes: &[&str]| pattern.iter().zip(nodes).all(|(pattern, node)| pattern.matches(node));
    if depth <= own.len() && matches(&own[..depth]) {
        found(own[..depth].join("."), (depth == own.len()).then_some(Field::Value))?;
    }
    let field_node = own.len() + 1;
    if depth > field_node + 1 || !pattern.first().is_some_and(|first| first.matches(NAMESPACE)) {
        return Ok(());
    }
    let mut path = vec![NAMESPACE];
    path.extend(&own);
    if depth <= field_node {
        if matches(&path[..depth]) {
            found(path[..depth].join("."), None)?;
        }
    } else if matches(&path) {
        for field in Field::ALL.into_iter().filter(|field| pattern[field_node].matches(field.name())) {
            found(format!("{}.{}", path.join("."), field.name()), Some(field))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tag_expression;
    use super::*;

    fn catalog(names: &[&str]) -> Catalog {
        Catalog::new((1..).zip(names).map(|(number, name)| CatalogMetric {
            uid: ModelId::new(&format!("uid{number}")).expect("an id"),
            name: (*name).to_owned(),
            status_code: 1,
            last_row: RowId(0),
        }))
    }

    fn names(found: Result<Vec<SeriesName>, OperationError>) -> Vec<String> {
        found
            .expect("few")
            .into_iter()
            .map(|series| format!("{} {}", series.name, series.field.name()))
            .collect()
    }

    const NAMES: [&str; 5] = ["cpu.load", "cpu.idle", "mem", "disk;dc=b.c;host=a", "net.in;host=b"];

    #[test]
    fn paths_name_fields_of_metrics() {
        let catalog = catalog(&NAMES);
        for (path, expected) in [
            ("cpu.load", &["cpu.load value"][..]),
            ("htm.cpu.load.score", &["htm.cpu.load.score score"]),
            ("htm.mem.state", &["htm.mem.state state"]),
            ("cpu.*", &["cpu.idle value", "cpu.load value"]),
            ("*", &["mem value"]),
            ("htm.*.raw", &["htm.mem.raw raw"]),
            (
                "htm.*.*.{raw,log}",
                &[
                    "htm.cpu.idle.log log",
                    "htm.cpu.idle.raw raw",
                    "htm.cpu.load.log log",
                    "htm.cpu.load.raw raw",
                ],
            ),
            ("disk;host=a;dc=b.c", &["disk;host=a;dc=b.c value"]),
            ("htm.disk;dc=b.c;host=a.score", &["htm.disk;dc=b.c;host=a.score score"]),
            ("disk;dc=b.c;host=a;htm=score", &["disk;dc=b.c;host=a;htm=score score"]),
            ("net.*;host=*", &["net.in;host=b value"]),
            ("htm.net.in;host=b.ex*", &["htm.net.in;host=b.expected expected"]),
            ("cpu", &[]),
            ("htm.mem", &[]),
            ("htm.mem.nothing", &[]),
            ("htm", &[]),
        ] {
            assert_eq!(names(catalog.series(path)), expected, "{path}");
        }
    }

    #[test]
    fn the_tree_has_folders_and_leaves() {
        let catalog = catalog(&NAMES);
        let found = |pattern: &str| -> Vec<String> {
            let nodes = catalog.find(pattern).expect("few");
            let shown =
                nodes.iter().map(|node| format!("{}{}", node.name(), if node.is_leaf { "" } else { "/" }));
            shown.collect()
        };
        assert_eq!(found("*"), ["cpu/", "htm/", "mem"]);
        assert_eq!(found("cpu.*"), ["idle", "load"]);
        assert_eq!(found("htm.*"), ["cpu/", "mem/"]);
        assert_eq!(found("htm.mem.*").len(), 8);
        assert_eq!(found("nothing.*"), [""; 0]);
        assert_eq!(found("disk;*"), ["disk;dc=b.c;host=a"]);
        assert_eq!(catalog.index().len(), 5 * 9);
    }

    #[test]
    fn a_metric_wins_over_a_field_of_the_same_path() {
        let catalog = catalog(&["mem", "htm.mem.raw"]);
        let found = catalog.series("htm.mem.raw").expect("few");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].field, Field::Value);
    }

    #[test]
    fn tag_expressions_find_series() {
        let catalog = catalog(&NAMES);
        let tagged = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            names(catalog.tagged(&tag_expression::parse_all(&texts).expect("good")))
        };
        assert_eq!(tagged(&["name=disk"]), ["disk;dc=b.c;host=a value"]);
        assert_eq!(
            tagged(&["host=~.*", "name=~(net|disk)"]),
            ["disk;dc=b.c;host=a value", "net.in;host=b value"]
        );
        assert_eq!(tagged(&["name=mem", "htm=score"]), ["mem;htm=score score"]);
        assert_eq!(
            tagged(&["host=a", "htm=~(raw|value)"]),
            ["disk;dc=b.c;host=a value", "disk;dc=b.c;host=a;htm=raw raw"]
        );
        assert_eq!(tagged(&["host!=", "name=~.+"]).len(), 2);
        let tags = catalog.tags();
        assert_eq!(tags.keys().map(String::as_str).collect::<Vec<_>>(), ["dc", "host", "htm", "name"]);
        assert_eq!(tags["htm"]["score"], 5);
        assert_eq!(tags["name"].len(), 5);
    }
}
