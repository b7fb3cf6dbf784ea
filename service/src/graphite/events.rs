//! Anomalies as events: Grafana's annotations.
//!
//! An event is a row whose alert score reaches the threshold. Its tags are `anomaly`, the metric's name, and the metric's
//! tags as `key=value`.
//!
//! The repository finds elevated rows without reading the others; only of those shown is the value looked up.

use std::collections::HashMap;

use htm_core::detection::ALERT_THRESHOLD;
use htm_core::float_text::repr;
use htm_core::ids::{ModelId, RowId};
use serde_json::{Value, json};

use super::catalog::{Catalog, CatalogMetric};
use super::pattern::NodePattern;
use super::series::tags_of;
use crate::operations::OperationError;
use crate::repository::Repository;
use crate::repository::elevated::{ElevatedQuery, MAX_ELEVATED_ROWS};

/// Most events of one answer; the newest ones are kept.
pub(crate) const MAX_EVENTS: usize = 1_000;
/// Most tags that may be asked for.
const MAX_TAGS: usize = 100;
/// The tag of every event.
const ANOMALY: &str = "anomaly";

/// An anomaly.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Unix seconds.
    pub(crate) when: i64,
    /// The metric.
    pub(crate) metric: String,
    /// Its value then.
    pub(crate) value: f64,
    /// The alert score of the row.
    pub(crate) alert_score: f64,
    /// All its tags.
    pub(crate) tags: Vec<String>,
}

impl Event {
    /// As graphite-web shows events.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "when": self.when,
            "what": format!("anomaly: {}", self.metric),
            "tags": self.tags,
            "data": format!("detection score {:.3}, value {}", self.alert_score, repr(self.value)),
        })
    }
}

/// Which tags an event must have: texts or globs; all of them, or any.
#[derive(Debug)]
pub(crate) struct TagFilter {
    wanted: Vec<NodePattern>,
    is_any: bool,
}

impl TagFilter {
    /// Of tags with blanks between them; `is_any` if one is enough.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for too many tags, or a pattern over its bounds.
    pub(crate) fn new(tags: &str, is_any: bool) -> Result<Self, OperationError> {
        let wanted: Vec<&str> = tags.split([' ', ',']).filter(|tag| !tag.is_empty()).collect();
        if wanted.len() > MAX_TAGS {
            return Err(OperationError::invalid(format!(
                "{} tags; at most {MAX_TAGS} are taken",
                wanted.len()
            )));
        }
        let wanted = wanted.into_iter().map(NodePattern::new).collect::<Result<_, _>>()?;
        Ok(Self { wanted, is_any })
    }

    fn is_met_by(&self, tags: &[String]) -> bool {
        let is_there = |wanted: &NodePattern| tags.iter().any(|tag| wanted.matches(tag));
        self.wanted.is_empty()
            || if self.is_any { self.wanted.iter().any(is_there) } else { self.wanted.iter().all(is_there) }
    }
}

/// The anomalies from `from` to `until`, oldest first; the newest [`MAX_EVENTS`] of them.
///
/// # Errors
/// From the database.
pub(crate) fn anomalies(
    repository: &dyn Repository,
    catalog: &Catalog,
    filter: &TagFilter,
    from: i64,
    until: i64,
) -> Result<Vec<Event>, OperationError> {
    let wanted: HashMap<&ModelId, (&CatalogMetric, Vec<String>)> = catalog
        .metrics()
        .iter()
        .map(|metric| (&metric.uid, (metric, event_tags(metric))))
        .filter(|(_, (_, tags))| filter.is_met_by(tags))
        .collect();
    let query = ElevatedQuery { since: from, until, min_score: ALERT_THRESHOLD, limit: MAX_ELEVATED_ROWS };
    // Newest first.
    let rows = repository.elevated_rows(&query)?;
    let alerts = rows.iter().filter(|row| row.alert_score >= ALERT_THRESHOLD);
    let found = alerts.filter_map(|row| Some((row, wanted.get(&row.metric)?))).take(MAX_EVENTS);
    let mut events = Vec::new();
    for (elevated, (metric, tags)) in found {
        let before = RowId(elevated.row_id.0 - 1);
        let row = repository.rows_after(&metric.uid, before, 1)?.into_iter().next();
        // A row that was deleted since has no value to show.
        if let Some(row) = row.filter(|row| row.row_id == elevated.row_id) {
            events.push(Event {
                when: row.timestamp,
                metric: metric.name.clone(),
                value: row.value,
                alert_score: elevated.alert_score,
                tags: tags.clone(),
            });
        }
    }
    events.sort_by(|one, other| (one.when, &one.metric).cmp(&(other.when, &other.metric)));
    Ok(events)
}

fn event_tags(metric: &CatalogMetric) -> Vec<String> {
    let mut tags = vec![ANOMALY.to_owned()];
    for (tag, value) in tags_of(&metric.name) {
        tags.push(if tag == "name" { value } else { format!("{tag}={value}") });
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_ask_for_all_tags_or_any() {
        let tags = ["anomaly", "cpu.load", "host=a"].map(str::to_owned);
        for (wanted, all, any) in [
            ("", true, true),
            ("anomaly", true, true),
            ("anomaly host=a", true, true),
            ("anomaly,host=b", false, true),
            ("cpu.*", true, true),
            ("mem.*", false, false),
        ] {
            let is_met = |is_any| TagFilter::new(wanted, is_any).expect("few").is_met_by(&tags);
            assert_eq!((is_met(false), is_met(true)), (all, any), "{wanted}");
        }
        assert!(TagFilter::new(&"a ".repeat(MAX_TAGS + 1), false).is_err());
    }

    #[test]
    fn events_are_shown_as_graphite_shows_them() {
        let event = Event {
            when: 5,
            metric: "cpu".to_owned(),
            value: 21.5,
            alert_score: 0.25,
            tags: vec!["anomaly".to_owned(), "cpu".to_owned()],
        };
        assert_eq!(
            event.to_json(),
            json!({"when": 5, "what": "anomaly: cpu", "tags": ["anomaly", "cpu"],
                "data": "detection score 0.250, value 21.5"})
        );
    }
}
