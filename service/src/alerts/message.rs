//! The bodies of messages: our own JSON, Alertmanager's, and a line of text for chats.
//!
//! Our own JSON, which webhooks and the exchange get; a receiver tells repetitions by `dedup_key` and `status`:
//!
//! ```json
//! {"version": 1, "status": "firing", "dedup_key": "0f3c..", "repeats": 0, "rule": "odd", "severity": "warning",
//!  "condition": "detection", "threshold": 0.135, "metric": "cpu.load;dc=fra", "uid": "6a..", "tags": {"dc": "fra"},
//!  "from": 1414890000, "from_time": "2014-11-02 01:00:00", "until": null, "until_time": null, "opened_at": 1763815200,
//!  "rowid": 5955, "peak_score": 0.457, "peak_at": 1414890000, "peak_value": 39197.0, "text": "...", "url": null}
//! ```
//!
//! `status` is `firing`, `resolved` or `test`; times are unix seconds of samples, but `opened_at` is our clock's; a signal
//! has no row, threshold or score.
//!
//! Alertmanager forgets an alert that is not sent again before its `endsAt`, so an open one carries an end
//! [`ALERTMANAGER_HOLD_S`] ahead, and its resolved message the moment of sending.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::channel::ChannelKind;
use super::rule::tags;
use crate::repository::alert::AlertEpisode;
use crate::timestamp::format_seconds;

/// For how long Alertmanager is to hold an alert that nobody resolves: a week.
pub const ALERTMANAGER_HOLD_S: i64 = 7 * 86_400;
/// Version of our own JSON.
const VERSION: u32 = 1;

/// What a message says of its episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is open.
    Firing,
    /// It is over.
    Resolved,
    /// It is none: somebody tries a channel.
    Test,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// About what.
    pub episode: &'a AlertEpisode,
    /// What of it.
    pub status: Status,
    /// How often it was repeated.
    pub repeats: u32,
    /// Where people find the dashboard, without a slash at the end.
    pub dashboard: Option<&'a str>,
    /// By our clock, unix seconds.
    pub now: i64,
}

impl Message<'_> {
    /// Its bytes for a channel of this kind; always JSON.
    pub fn body(&self, kind: ChannelKind) -> Vec<u8> {
        let value = match kind {
            ChannelKind::Webhook | ChannelKind::Exchange => self.json(),
            ChannelKind::Alertmanager => self.alertmanager(),
            ChannelKind::Slack => json!({"text": self.slack_text()}),
        };
        value.to_string().into_bytes()
    }

    fn json(&self) -> Value {
        let it = self.episode;
        json!({
            "version": VERSION,
            "status": self.status.as_str(),
            "dedup_key": it.key,
            "repeats": self.repeats,
            "rule": it.rule,
            "severity": it.severity,
            "condition": it.condition,
            "threshold": it.threshold,
            "metric": it.metric,
            "uid": it.uid.as_str(),
            "tags": tags(&it.metric),
            "from": it.from,
            "from_time": time(it.from),
            "until": it.until,
            "until_time": it.until.map(time),
            "opened_at": it.opened_at,
            "rowid": it.row_id.map(|row_id| row_id.0),
            "peak_score": it.peak_score,
            "peak_at": it.peak_at,
            "peak_value": it.peak_value,
            "text": self.text(),
            "url": self.url(),
        })
    }

    fn alertmanager(&self) -> Value {
        let it = self.episode;
        let mut labels: Map<String, Value> = label_tags(&it.metric);
        for (name, value) in [
            ("alertname", it.rule.as_str()),
            ("metric", &it.metric),
            ("uid", it.uid.as_str()),
            ("condition", &it.condition),
            ("severity", &it.severity),
            ("source", "htmengine"),
        ] {
            labels.insert(name.to_owned(), Value::from(value));
        }
        let mut annotations = Map::new();
        annotations.insert("summary".to_owned(), self.text().into());
        annotations.insert("dedup_key".to_owned(), it.key.as_str().into());
        if let Some(score) = it.peak_score {
            annotations.insert("peak_score".to_owned(), score.to_string().into());
        }
        let ends_at = match self.status {
            Status::Firing => self.now.saturating_add(ALERTMANAGER_HOLD_S),
            // A test is over at once.
            Status::Resolved | Status::Test => self.now,
        };
        let starts_at = it.from.min(self.now);
        let mut alert = json!({
            "labels": labels,
            "annotations": annotations,
            "startsAt": rfc_3339(starts_at),
            "endsAt": rfc_3339(ends_at),
        });
        if let Some(url) = self.url() {
            alert["generatorURL"] = url.into();
        }
        Value::Array(vec![alert])
    }

    /// One sentence for people.
    pub fn text(&self) -> String {
        let it = self.episode;
        let AlertEpisode { metric, rule, condition, .. } = it;
        if self.status == Status::Test {
            return format!("This is a test of channel and rule `{rule}` of htmengine; nothing is wrong.");
        }
        let mut text = match (it.peak_score, it.threshold) {
            (Some(score), Some(threshold)) => {
                let name = if condition == "raw" { "raw anomaly" } else { condition.as_str() };
                format!(
                    "{metric}: {name} score {score:.5}, threshold {threshold}, at {} UTC",
                    time(it.peak_at)
                )
            }
            _ => format!("{metric}: {}", condition.replace('_', " ")),
        };
        // Writing to a String cannot fail.
        if let Some(value) = it.peak_value {
            let _ = write!(text, ", value {value}");
        }
        let _ = write!(text, "; since {} UTC", time(it.from));
        let _ = match (self.status, it.until) {
            (Status::Resolved, Some(until)) => write!(text, ", over since {} UTC", time(until)),
            (Status::Resolved, None) => write!(text, ", over"),
            (Status::Firing | Status::Test, _) if self.repeats > 0 => write!(text, ", still open"),
            (Status::Firing | Status::Test, _) => Ok(()),
        };
        let _ = write!(text, " (rule {rule}, {})", it.severity);
        text
    }

    fn slack_text(&self) -> String {
        let sign = match self.status {
            Status::Firing => ":red_circle:",
            Status::Resolved => ":white_check_mark:",
            Status::Test => ":wave:",
        };
        let text = self.text().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match self.url() {
            Some(url) => format!("{sign} {text} <{url}|chart>"),
            None => format!("{sign} {text}"),
        }
    }

    fn url(&self) -> Option<String> {
        let dashboard = self.dashboard?;
        Some(format!("{dashboard}/#/metric/{}", percent_encoded(&self.episode.metric)))
    }
}

/// Tags as labels; a name that Prometheus does not allow has `_` for what is wrong with it.
fn label_tags(metric: &str) -> Map<String, Value> {
    let named: BTreeMap<&str, &str> = tags(metric);
    let label = |name: &str| {
        let mut label: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if label.starts_with(|c: char| c.is_ascii_digit()) {
            label.insert(0, '_');
        }
        label
    };
    named.into_iter().map(|(name, value)| (label(name), Value::from(value))).collect()
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn time(unix_seconds: i64) -> String {
    format_seconds(unix_seconds).unwrap_or_else(|_| unix_seconds.to_string())
}

fn rfc_3339(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds)
        .map_or_else(|_| Timestamp::UNIX_EPOCH.to_string(), |it| it.to_string())
}

#[cfg(test)]
mod tests {
    use htm_core::ids::{ModelId, RowId};

    use super::*;

    fn episode() -> AlertEpisode {
        AlertEpisode {
            key: "00ff".to_owned(),
            rule: "odd <1>".to_owned(),
            condition: "detection".to_owned(),
            severity: "page".to_owned(),
            threshold: Some(0.135),
            uid: ModelId::new("abc").expect("an id"),
            metric: "cpu load;2nd-dc=a&b".to_owned(),
            opened_at: 1_700_000_100,
            from: 1_700_000_000,
            until: None,
            row_id: Some(RowId(7)),
            peak_score: Some(0.25),
            peak_at: 1_700_000_000,
            peak_value: Some(1.5),
            suppressed: None,
        }
    }

    fn body(episode: &AlertEpisode, status: Status, kind: ChannelKind) -> Value {
        let dashboard = Some("http://here");
        let message = Message { episode, status, repeats: 0, dashboard, now: 1_700_000_200 };
        serde_json::from_slice(&message.body(kind)).expect("JSON")
    }

    #[test]
    fn our_own_json_says_all() {
        let value = body(&episode(), Status::Firing, ChannelKind::Webhook);
        assert_eq!(value["dedup_key"], "00ff");
        assert_eq!(value["tags"], json!({"2nd-dc": "a&b"}));
        assert_eq!(value["from_time"], "2023-11-14 22:13:20");
        assert_eq!(value["until"], Value::Null);
        assert_eq!(value["url"], "http://here/#/metric/cpu%20load%3B2nd-dc%3Da%26b");
        assert_eq!(
            value["text"],
            "cpu load;2nd-dc=a&b: detection score 0.25000, threshold 0.135, at 2023-11-14 22:13:20 UTC, value 1.5; \
             since 2023-11-14 22:13:20 UTC (rule odd <1>, page)"
        );
        let signal = AlertEpisode {
            condition: "no_data".to_owned(),
            threshold: None,
            row_id: None,
            peak_score: None,
            peak_value: None,
            until: Some(1_700_000_060),
            ..episode()
        };
        let value = body(&signal, Status::Resolved, ChannelKind::Exchange);
        assert_eq!((&value["status"], &value["rowid"]), (&json!("resolved"), &Value::Null));
        assert_eq!(
            value["text"],
            "cpu load;2nd-dc=a&b: no data; since 2023-11-14 22:13:20 UTC, over since 2023-11-14 22:14:20 UTC (rule \
             odd <1>, page)"
        );
    }

    #[test]
    fn alertmanager_gets_labels_it_allows_and_an_end() {
        let value = body(&episode(), Status::Firing, ChannelKind::Alertmanager);
        let alert = &value[0];
        assert_eq!(alert["labels"]["alertname"], "odd <1>");
        assert_eq!(alert["labels"]["_2nd_dc"], "a&b");
        assert_eq!(alert["startsAt"], "2023-11-14T22:13:20Z");
        assert_eq!(alert["endsAt"], "2023-11-21T22:16:40Z");
        let resolved = body(&episode(), Status::Resolved, ChannelKind::Alertmanager);
        assert_eq!(resolved[0]["labels"], alert["labels"], "the same alert");
        assert_eq!(resolved[0]["endsAt"], "2023-11-14T22:16:40Z");
    }

    #[test]
    fn a_chat_gets_text_without_markup_from_outside() {
        let value = body(&episode(), Status::Firing, ChannelKind::Slack);
        let text = value["text"].as_str().expect("text");
        assert!(text.starts_with(":red_circle: cpu load;2nd-dc=a&amp;b: detection score"), "{text}");
        assert!(text.contains("rule odd &lt;1&gt;"), "{text}");
        assert!(body(&episode(), Status::Test, ChannelKind::Slack)["text"].as_str().is_some());
    }
}
