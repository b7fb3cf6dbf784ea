//! Where alerts go: webhooks in three shapes, and an exchange at the broker. Addresses and headers are secrets: only
//! scheme, host and port are ever shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;
use ureq::http::{HeaderName, HeaderValue, Uri};

use super::rule::checked_name;

/// Headers of one channel at most.
const MAX_HEADERS: usize = 32;
/// Without another one, how long a receiver may take for an answer.
const DEFAULT_TIMEOUT_S: u64 = 10;
/// Longest time it may take; less than a request of our own API, by which a channel is tried.
const MAX_TIMEOUT_S: u64 = 20;
/// Where Alertmanager takes alerts.
const ALERTMANAGER_PATH: &str = "/api/v2/alerts";

/// A channel as it is written in a settings file.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelFile {
    pub(super) name: Spanned<String>,
    kind: ChannelKind,
    url: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    timeout_s: Option<u64>,
}

/// What a channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// Our own JSON, by HTTP POST.
    Webhook,
    /// Alertmanager's API, version 2.
    Alertmanager,
    /// `{"text": ...}`, as Slack, Mattermost, Rocket.Chat and others take it.
    Slack,
    /// Our own JSON, to a fanout exchange of the broker.
    Exchange,
}

impl ChannelKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
            Self::Slack => "slack",
            Self::Exchange => "exchange",
        }
    }
}

/// One channel.
#[derive(Clone, PartialEq)]
pub struct Channel {
    /// Its name; no two have the same.
    pub name: String,
    /// What it speaks.
    pub kind: ChannelKind,
    /// Where to; empty for an exchange.
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// How long the receiver may take for an answer.
    pub timeout: Duration,
}

impl Channel {
    /// From a settings file.
    ///
    /// # Errors
    /// What is wrong, without the address: found, expected.
    pub fn from_file(file: &ChannelFile) -> Result<Self, String> {
        let name = checked_name("name", file.name.get_ref())?;
        let url = match (file.kind, &file.url) {
            (ChannelKind::Exchange, None) => String::new(),
            (ChannelKind::Exchange, Some(_)) => {
                return Err("url means nothing with kind = \"exchange\"; leave it out".to_owned());
            }
            (_, None) => return Err("url is missing; expected http://... or https://...".to_owned()),
            (kind, Some(url)) => checked_url(kind, url)?,
        };
        let given = file.headers.as_ref().map_or(0, BTreeMap::len);
        if given > MAX_HEADERS {
            return Err(format!("headers has {given} entries; expected at most {MAX_HEADERS}"));
        }
        let header = |(name, value): (&String, &String)| {
            let bad = || format!("headers has '{}', which HTTP does not allow", name.escape_debug());
            let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
            value.set_sensitive(true);
            Ok::<_, String>((HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value))
        };
        let timeout_s = file.timeout_s.unwrap_or(DEFAULT_TIMEOUT_S);
        if !(1..=MAX_TIMEOUT_S).contains(&timeout_s) {
            return Err(format!("timeout_s is {timeout_s}; expected 1 to {MAX_TIMEOUT_S}"));
        }
        Ok(Self {
            name,
            kind: file.kind,
            url,
            headers: file.headers.iter().flatten().map(header).collect::<Result<_, _>>()?,
            timeout: Duration::from_secs(timeout_s),
        })
    }

    /// The whole address, for whoever sends.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The headers, for whoever sends.
    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// What may be shown of the address.
    pub fn shown_url(&self) -> Option<String> {
        let uri: Uri = self.url.parse().ok()?;
        Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?.as_str()))
    }

    /// As JSON, for people and programs.
    pub fn shown(&self) -> Value {
        json!({"name": self.name, "kind": self.kind.as_str(), "url_shown": self.shown_url()})
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Channel({})", self.shown())
    }
}

impl fmt::Debug for ChannelFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChannelFile({}, {})", self.name.get_ref(), self.kind.as_str())
    }
}

fn checked_url(kind: ChannelKind, url: &str) -> Result<String, String> {
    let expected = "expected http://host/path or https://host/path";
    let uri: Uri = url.parse().map_err(|_| format!("url is no address; {expected}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("url begins with neither http:// nor https://; {expected}"));
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(format!("url names no host; {expected}"));
    };
    if authority.as_str().contains('@') {
        return Err("url holds user and password; give them as headers = { Authorization = \"Basic ...\" }"
            .to_owned());
    }
    if kind == ChannelKind::Alertmanager && !uri.path().ends_with(ALERTMANAGER_PATH) {
        return Ok(format!("{}{ALERTMANAGER_PATH}", url.trim_end_matches('/')));
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(text: &str) -> Result<Channel, String> {
        let file: ChannelFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        Channel::from_file(&file)
    }

    #[test]
    fn only_scheme_and_host_are_shown() {
        let channel = channel(
            "name = 'ops'\nkind = 'slack'\nurl = 'https://hooks.example:8443/services/geheim?key=geheim'\n\
             headers = { Authorization = 'Bearer geheim' }",
        )
        .expect("valid");
        assert_eq!(channel.shown_url().as_deref(), Some("https://hooks.example:8443"));
        assert!(!format!("{channel:?}").contains("geheim"));
        assert_eq!(channel.url(), "https://hooks.example:8443/services/geheim?key=geheim");
    }

    #[test]
    fn alertmanager_is_found_by_its_host() {
        for (url, expected) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/", "http://am:9093/api/v2/alerts"),
            ("http://am/alerts/api/v2/alerts", "http://am/alerts/api/v2/alerts"),
        ] {
            let channel =
                channel(&format!("name = 'a'\nkind = 'alertmanager'\nurl = '{url}'")).expect("valid");
            assert_eq!(channel.url(), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_address() {
        for (text, part) in [
            ("name = 'a'\nkind = 'webhook'", "url is missing"),
            ("name = 'a'\nkind = 'webhook'\nurl = 'ftp://geheim'", "neither http://"),
            ("name = 'a'\nkind = 'webhook'\nurl = 'https://u:geheim@host/'", "Authorization"),
            ("name = 'a'\nkind = 'webhook'\nurl = '/geheim'", "expected http://"),
            ("name = 'a'\nkind = 'exchange'\nurl = 'http://geheim'", "leave it out"),
            ("name = 'a'\nkind = 'webhook'\nurl = 'http://h'\ntimeout_s = 0", "timeout_s is 0"),
            ("name = 'a'\nkind = 'webhook'\nurl = 'http://h'\nheaders = { 'a b' = 'geheim' }", "'a b'"),
            ("name = 'a'\nkind = 'pager'\nurl = 'http://h'", "pager"),
        ] {
            let error = channel(text).expect_err(text);
            assert!(error.contains(part) && !error.contains("geheim"), "{error}");
        }
    }
}
