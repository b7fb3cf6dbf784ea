//! Rules and channels as a settings file says them, checked against one another.
//!
//! ```toml
//! [alert]
//! dashboard = "http://monitoring.example:8080"   # begins the links in messages
//! check_interval_s = 30                          # between looks at signals and for rows that nobody told of
//! [[alert.channel]]
//! name = "ops"
//! kind = "webhook"
//! url = "https://example.com/hook"
//! [[alert.rule]]
//! name = "odd"
//! channels = ["ops"]
//! ```

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::{Channel, ChannelFile, ChannelKind};
use super::rule::{Rule, RuleFile};

/// Rules at most; what they know of a metric is kept in one database column.
pub const MAX_RULES: usize = 100;
/// Channels at most; each has two threads.
pub const MAX_CHANNELS: usize = 16;
/// Without another one.
const DEFAULT_CHECK_INTERVAL_S: u64 = 30;
const MAX_CHECK_INTERVAL_S: u64 = 3_600;

/// The table `alert` of a settings file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertFile {
    dashboard: Option<String>,
    check_interval_s: Option<u64>,
    #[serde(default)]
    channel: Vec<ChannelFile>,
    #[serde(default)]
    rule: Vec<RuleFile>,
}

/// Rules and channels.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// What is worth an alert.
    pub rules: Vec<Rule>,
    /// Where alerts go.
    pub channels: Vec<Channel>,
    /// Where people find the dashboard, without a slash at the end.
    pub dashboard: Option<String>,
    /// Time between looks at signals and for rows that nobody told of.
    pub check_interval: Duration,
}

impl Default for AlertSettings {
    /// No alerts.
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            channels: Vec::new(),
            dashboard: None,
            check_interval: Duration::from_secs(DEFAULT_CHECK_INTERVAL_S),
        }
    }
}

impl AlertSettings {
    /// From a settings file; `place` shows where a part of it is.
    ///
    /// # Errors
    /// Everything that is wrong, one a line: place, found, expected.
    pub fn from_file(file: &AlertFile, place: &dyn Fn(Range<usize>) -> String) -> Result<Self, String> {
        let mut problems = Vec::new();
        let mut channels = Vec::new();
        for channel in &file.channel {
            let name = channel.name.get_ref();
            match Channel::from_file(channel) {
                Ok(channel) => channels.push(channel),
                Err(error) => {
                    problems
                        .push(format!("alert.channel '{name}' ({}): {error}", place(channel.name.span())));
                }
            }
        }
        let mut rules = Vec::new();
        for rule in &file.rule {
            let name = rule.name.get_ref();
            match Rule::from_file(rule) {
                Ok(rule) => rules.push(rule),
                Err(error) => {
                    problems.push(format!("alert.rule '{name}' ({}): {error}", place(rule.name.span())));
                }
            }
        }
        problems.extend(doubled("channel", file.channel.iter().map(|it| it.name.get_ref()), MAX_CHANNELS));
        problems.extend(doubled("rule", file.rule.iter().map(|it| it.name.get_ref()), MAX_RULES));
        let known: BTreeSet<&String> = file.channel.iter().map(|it| it.name.get_ref()).collect();
        for rule in &rules {
            for channel in rule.channels.iter().filter(|channel| !known.contains(channel)) {
                problems.push(format!(
                    "alert.rule '{}' names the channel '{channel}', which there is not; add it as [[alert.channel]]",
                    rule.name
                ));
            }
        }
        let seconds = file.check_interval_s.unwrap_or(DEFAULT_CHECK_INTERVAL_S);
        if !(1..=MAX_CHECK_INTERVAL_S).contains(&seconds) {
            problems
                .push(format!("alert.check_interval_s is {seconds}; expected 1 to {MAX_CHECK_INTERVAL_S}"));
        }
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        let dashboard = file.dashboard.as_ref().map(|address| address.trim_end_matches('/').to_owned());
        Ok(Self { rules, channels, dashboard, check_interval: Duration::from_secs(seconds) })
    }

    /// Whether there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule with this name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The channel with this name.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// Channels that need a broker.
    pub fn exchange_channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter().filter(|channel| channel.kind == ChannelKind::Exchange)
    }

    /// Channels that no rule tells anything.
    pub fn unused_channels(&self) -> impl Iterator<Item = &Channel> {
        let is_used = |name: &String| self.rules.iter().any(|rule| rule.channels.contains(name));
        self.channels.iter().filter(move |channel| !is_used(&channel.name))
    }

    /// As JSON, for people and programs; addresses cut to scheme and host, headers left out.
    pub fn shown(&self) -> Value {
        json!({
            "rules": self.rules.iter().map(Rule::shown).collect::<Vec<_>>(),
            "channels": self.channels.iter().map(Channel::shown).collect::<Vec<_>>(),
        })
    }
}

fn doubled<'a>(what: &str, names: impl Iterator<Item = &'a String>, most: usize) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    let mut count = 0;
    for name in names {
        count += 1;
        if !seen.insert(name) {
            problems.push(format!("two alert.{what} are named '{name}'; give each a name of its own"));
        }
    }
    if count > most {
        problems.push(format!("there are {count} alert.{what}; expected at most {most}"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<AlertSettings, String> {
        let file: AlertFile = toml::from_str(text).map_err(|error| error.to_string())?;
        AlertSettings::from_file(&file, &|span| format!("byte {}", span.start))
    }

    #[test]
    fn rules_and_channels_are_read() {
        let settings = settings(
            "dashboard = 'http://here/'\n[[channel]]\nname = 'ops'\nkind = 'webhook'\nurl = 'http://h/geheim'\n\
             [[channel]]\nname = 'idle'\nkind = 'exchange'\n\
             [[rule]]\nname = 'odd'\nchannels = ['ops']\n\
             quiet = [{ days = ['sat'], from = '22:00', until = '06:00', time_zone = 'Europe/Berlin' }]\n\
             maintenance = [{ from = '2026-01-01 00:00:00', until = '2026-01-02 00:00:00' }]",
        )
        .expect("valid");
        assert_eq!(settings.dashboard.as_deref(), Some("http://here"));
        assert_eq!(settings.unused_channels().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["idle"]);
        assert_eq!(settings.exchange_channels().count(), 1);
        let shown = settings.shown();
        assert_eq!(shown["rules"][0]["quiet"][0]["days"], json!(["sat"]));
        assert_eq!(shown["channels"][0]["url_shown"], "http://h");
        assert!(!shown.to_string().contains("geheim") && !format!("{settings:?}").contains("geheim"));
        assert!(AlertSettings::default().is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let error = settings(
            "check_interval_s = 0\n[[channel]]\nname = 'ops'\nkind = 'webhook'\n\
             [[rule]]\nname = 'odd'\nchannels = ['nobody']\n[[rule]]\nname = 'odd'\nthreshold = 2.0",
        )
        .expect_err("wrong");
        for part in [
            "alert.channel 'ops' (byte",
            "url is missing",
            "alert.rule 'odd' (byte",
            "threshold is 2",
            "two alert.rule are named 'odd'",
            "the channel 'nobody'",
            "check_interval_s is 0",
        ] {
            assert!(error.contains(part), "`{part}` is not in:\n{error}");
        }
        let error = settings("[[rule]]\nname = 'a'\n[[rules]]\nname = 'b'").expect_err("unknown key");
        assert!(error.contains("rules") && error.contains("line 3"), "{error}");
    }
}
