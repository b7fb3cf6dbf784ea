//! Which metrics are meant: by glob, tags, part of their name, status and server.
//!
//! A tagged name is `name;key=value;...`, canonical as [`crate::sample::canonical_name`] makes it. Globs are those of
//! `--monitor`: `*` and `?` over the whole name, dots and tags included.

use std::collections::BTreeMap;

use wildmatch::WildMatch;

use crate::repository::metric::{Metric, MetricStatus};

/// All conditions must hold; the default lets every metric pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricFilter {
    /// The name matches this.
    pub glob: Option<WildMatch>,
    /// The name has these tags with these values.
    pub tags: Vec<(String, String)>,
    /// The name has this part, upper and lower case being the same.
    pub search: Option<String>,
    /// Its server ("resource") is this one.
    pub server: Option<String>,
    /// Its status is one of these; any if empty.
    pub statuses: Vec<MetricStatus>,
}

impl MetricFilter {
    /// Whether a metric passes.
    pub fn matches(&self, metric: &Metric) -> bool {
        let name = metric.name.as_str();
        (self.statuses.is_empty() || self.statuses.contains(&metric.status))
            && self.server.as_ref().is_none_or(|server| metric.server.as_ref() == Some(server))
            && self.glob.as_ref().is_none_or(|glob| glob.matches(name))
            && self.search.as_ref().is_none_or(|part| has_part(name, part))
            && (self.tags.is_empty() || has_tags(name, &self.tags))
    }
}

/// The tags of a name; `name` itself is none of them.
pub fn tags_of(name: &str) -> BTreeMap<&str, &str> {
    name.split(';').skip(1).filter_map(|tag| tag.split_once('=')).collect()
}

fn has_part(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}

fn has_tags(name: &str, wanted: &[(String, String)]) -> bool {
    let tags = tags_of(name);
    wanted.iter().all(|(key, value)| tags.get(key.as_str()) == Some(&value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_parts_of_names_are_found() {
        let name = "traffic.speed;borough=Bronx;route=12";
        assert_eq!(tags_of(name), BTreeMap::from([("borough", "Bronx"), ("route", "12")]));
        assert!(tags_of("plain.name").is_empty());
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert!(has_tags(name, &[tag("borough", "Bronx"), tag("route", "12")]));
        assert!(!has_tags(name, &[tag("borough", "bronx")]) && !has_tags(name, &[tag("boroug", "Bronx")]));
        assert!(has_part(name, "SPEED;bor") && !has_part(name, "queens"));
    }
}
