//! What `htmengine doctor` says of alerts: rules and channels, and what of them has no effect. No channel is told
//! anything; `htmengine alert test` does that.

use super::Report;
use crate::config::Settings;

impl Report {
    pub(super) fn look_at_alerts(&mut self, settings: &Settings) {
        let alerts = settings.alerts();
        if alerts.rules.is_empty() && alerts.channels.is_empty() {
            self.good("alerts", "no alert rules are set up");
            return;
        }
        let channels: Vec<String> = alerts
            .channels
            .iter()
            .map(|channel| {
                let to = channel.shown_url().map_or_else(String::new, |url| format!(" at {url}"));
                format!("{} ({}{to})", channel.name, channel.kind.as_str())
            })
            .collect();
        self.good(
            "alerts",
            format!(
                "{} alert rules, {} channels: {}",
                alerts.rules.len(),
                channels.len(),
                channels.join(", ")
            ),
        );
        for rule in alerts.rules.iter().filter(|rule| rule.channels.is_empty()) {
            let name = &rule.name;
            self.warn(
                "alerts",
                format!("alert rule '{name}' has no channels: its episodes are recorded and nobody is told; add `channels`"),
            );
        }
        for channel in alerts.unused_channels() {
            let name = &channel.name;
            self.warn(
                "alerts",
                format!("no alert rule names the channel '{name}'; add it to a rule's `channels`"),
            );
        }
    }
}
