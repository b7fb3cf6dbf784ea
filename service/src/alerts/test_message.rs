//! The message with which somebody tries a channel.

use std::sync::Arc;

use htm_core::ids::ModelId;

use super::channel::{Channel, ChannelKind};
use super::delivery::publish;
use super::episode::episode_key;
use super::message::{Message, Status};
use super::settings::AlertSettings;
use super::webhook::{Poster, Verdict};
use crate::bus::Bus;
use crate::repository::alert::AlertEpisode;

/// The metric that a test message is about; no metric can have this name.
const METRIC: &str = "htmengine test";
const UID: &str = "00000000000000000000000000000000";

/// Sends a test message to a channel, once, and waits for what comes of it.
pub fn send_test(
    settings: &AlertSettings,
    channel: &Channel,
    bus: Option<&Arc<dyn Bus>>,
    now: i64,
) -> Verdict {
    let Some(uid) = ModelId::new(UID) else { return Verdict::refused(&"no id for a test message") };
    let rule = settings.rules.iter().find(|rule| rule.channels.contains(&channel.name));
    let episode = AlertEpisode {
        key: episode_key("test", &uid, now),
        rule: rule.map_or_else(|| "test".to_owned(), |rule| rule.name.clone()),
        condition: rule.map_or("detection", |rule| rule.condition.as_str()).to_owned(),
        severity: "test".to_owned(),
        threshold: rule.and_then(super::rule::Rule::shown_threshold),
        uid,
        metric: METRIC.to_owned(),
        opened_at: now,
        from: now,
        until: Some(now),
        row_id: None,
        peak_score: None,
        peak_at: now,
        peak_value: None,
        suppressed: None,
    };
    let dashboard = settings.dashboard.as_deref();
    let message = Message { episode: &episode, status: Status::Test, repeats: 0, dashboard, now };
    let body = message.body(channel.kind);
    match (channel.kind, bus) {
        (ChannelKind::Exchange, Some(bus)) => publish(&**bus, body),
        (ChannelKind::Exchange, None) => {
            Verdict::refused(&"there is no broker; name one with `broker` in the settings")
        }
        (ChannelKind::Webhook | ChannelKind::Alertmanager | ChannelKind::Slack, _) => {
            Poster::new(channel).post(&body)
        }
    }
}
