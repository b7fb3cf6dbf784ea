//! Anomalies as events: Grafana's annotations.
//!
//! An event is a row whose alert score reaches the threshold. Its tags are `anomaly`, the metric's name, and the metric's
//! tags as `key=value`.
//!
//! [`anomalies`] is the one function that looks for them; it reads the rows of every metric that the tags leave, within a
//! bound.

use htm_core::detection::ALERT_THRESHOLD;
use htm_core::float_text::repr;
use serde_json::{Value, json};

use super::budget::Budget;
use super::catalog::{Catalog, CatalogMetric};
use super::pattern::NodePattern;
use super::row_source::TimeReader;
use super::series::tags_of;
use crate::operations::OperationError;
use crate::operations::rows::PAGE_ROWS;
use crate::repository::Repository;
use crate::repository::metric_data::MetricRow;

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
/// [`OperationError::InvalidArgument`] when more rows would have to be read than one request may; or from the database.
pub(crate) fn anomalies(
    repository: &dyn Repository,
    catalog: &Catalog,
    filter: &TagFilter,
    from: i64,
    until: i64,
) -> Result<Vec<Event>, OperationError> {
    let mut budget = Budget::default();
    let mut events = Vec::new();
    for metric in catalog.metrics() {
        let tags = event_tags(metric);
        if !filter.is_met_by(&tags) {
            continue;
        }
        let mut reader = TimeReader::from(repository, &metric.uid, from, metric.last_row)?;
        loop {
            let rows = reader.next_page(until.saturating_add(1), PAGE_ROWS)?;
            budget.rows(rows.len())?;
            if rows.is_empty() {
                break;
            }
            let odd = rows.iter().filter_map(|row| Some((row, row.detection?.alert_score)));
            let is_odd = |row: &MetricRow, score: f64| score >= ALERT_THRESHOLD && row.timestamp >= from;
            events.extend(odd.filter(|(row, score)| is_odd(row, *score)).map(|(row, alert_score)| Event {
                when: row.timestamp,
                metric: metric.name.clone(),
                value: row.value,
                alert_score,
                tags: tags.clone(),
            }));
        }
        if events.len() > 2 * MAX_EVENTS {
            keep_newest(&mut events);
        }
    }
    keep_newest(&mut events);
    Ok(events)
}

fn keep_newest(events: &mut Vec<Event>) {
    events.sort_by(|one, other| (one.when, &one.metric).cmp(&(other.when, &other.metric)));
    let surplus = events.len().saturating_sub(MAX_EVENTS);
    events.drain(..surplus);
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
