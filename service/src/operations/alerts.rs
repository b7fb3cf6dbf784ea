//! Questions about alerts: episodes with their deliveries, rules and channels; and trying a channel.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{OperationError, Operations};
use crate::alerts::webhook::Verdict;
use crate::alerts::{AlertSettings, send_test};
use crate::repository::alert::{AlertDelivery, AlertEpisode, EpisodeQuery, Suppression};

/// Episodes listed unless more are asked for.
pub const DEFAULT_LISTED: usize = 100;
/// Episodes listed at most; each costs a question for its deliveries.
pub const MAX_LISTED: usize = 1_000;

/// An episode and who was told.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedEpisode {
    /// The episode.
    pub episode: AlertEpisode,
    /// By channel and kind.
    pub deliveries: Vec<AlertDelivery>,
}

impl ListedEpisode {
    /// As JSON.
    pub fn json(&self) -> Value {
        let it = &self.episode;
        let delivery = |it: &AlertDelivery| {
            json!({
                "channel": it.channel,
                "kind": it.kind.as_str(),
                "state": it.state.as_str(),
                "tries": it.tries,
                "repeats": it.repeats,
                "next_at": it.next_at,
                "last_error": it.last_error,
            })
        };
        json!({
            "key": it.key,
            "rule": it.rule,
            "condition": it.condition,
            "severity": it.severity,
            "threshold": it.threshold,
            "metric": it.metric,
            "uid": it.uid.as_str(),
            "opened_at": it.opened_at,
            "from": it.from,
            "until": it.until,
            "peak_score": it.peak_score,
            "peak_at": it.peak_at,
            "peak_value": it.peak_value,
            "rowid": it.row_id.map(|row_id| row_id.0),
            "suppressed": it.suppressed.map(Suppression::as_str),
            "deliveries": self.deliveries.iter().map(delivery).collect::<Vec<_>>(),
        })
    }
}

impl Operations {
    /// Episodes that match, the latest first, at most [`MAX_LISTED`].
    ///
    /// # Errors
    /// From the database.
    pub fn alert_episodes(&self, query: &EpisodeQuery) -> Result<Vec<ListedEpisode>, OperationError> {
        let limit = query.limit.unwrap_or(DEFAULT_LISTED).min(MAX_LISTED);
        let query = EpisodeQuery { limit: Some(limit), ..query.clone() };
        let mut listed = Vec::new();
        for episode in self.repository().alert_episodes(&query)? {
            let deliveries = self.repository().alert_deliveries(&episode.key)?;
            listed.push(ListedEpisode { episode, deliveries });
        }
        Ok(listed)
    }

    /// Rules and channels.
    pub fn alert_settings(&self) -> Arc<AlertSettings> {
        self.alerts.get()
    }

    /// Sends a test message to a channel, once, and waits for what comes of it.
    ///
    /// # Errors
    /// [`OperationError::ObjectNotFound`] if there is no such channel.
    pub fn test_alert_channel(&self, name: &str) -> Result<Verdict, OperationError> {
        let alerts = self.alerts.get();
        let Some(channel) = alerts.channel(name) else {
            let known: Vec<String> =
                alerts.channels.iter().map(|channel| format!("'{}'", channel.name)).collect();
            let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
            return Err(OperationError::ObjectNotFound {
                reason: format!(
                    "there is no channel '{}' in the settings; expected one of [[alert.channel]]: {known}",
                    name.escape_debug()
                ),
            });
        };
        Ok(send_test(&alerts, channel, self.bus.as_ref(), self.now()))
    }
}
