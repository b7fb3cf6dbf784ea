//! One HTTP POST and what came of it.
//!
//! Connection, sending and answer share one time limit; redirects are not followed, so that a body never goes where
//! nobody said; of an answer only the beginning is read. Neither errors nor what the receiver said show the parts of the
//! channel that are secret: receivers like to repeat the path that they do not know. Certificates are checked against the
//! platform's roots.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::Read;
use std::{fmt, iter};

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use super::channel::Channel;
use crate::repository::alert::MAX_ERROR_CHARS;

/// Of an answer's body so much is read.
const MAX_ANSWER_BYTES: u64 = 4_096;
/// Of an answer's body so much is told.
const MAX_TOLD_CHARS: usize = 160;
/// What stands in for a secret.
const HIDDEN: &str = "***";
/// Parts of an address that are shorter tell nothing.
const MIN_SECRET_CHARS: usize = 4;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Status of the answer, if one came.
    pub status: Option<u16>,
    /// Why it failed; `None` if it was delivered. At most [`MAX_ERROR_CHARS`].
    pub error: Option<String>,
    /// Whether the receiver refuses the message itself, so that trying again hardly helps.
    pub is_refused: bool,
}

impl Verdict {
    /// The receiver has it.
    pub fn delivered(status: Option<u16>) -> Self {
        Self { status, error: None, is_refused: false }
    }

    /// It may work later.
    pub fn failed(error: &dyn fmt::Display) -> Self {
        Self { status: None, error: Some(bounded(&error.to_string())), is_refused: false }
    }

    /// It hardly ever will.
    pub fn refused(error: &dyn fmt::Display) -> Self {
        Self { is_refused: true, ..Self::failed(error) }
    }

    /// Whether the receiver has it.
    pub fn is_delivered(&self) -> bool {
        self.error.is_none()
    }
}

/// Posts JSON to one channel.
#[derive(Debug, Clone)]
pub struct Poster {
    agent: Agent,
    channel: Channel,
    secrets: Secrets,
}

impl Poster {
    /// For this channel, which must have an address.
    pub fn new(channel: &Channel) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .timeout_global(Some(channel.timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("htmengine/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Self { agent: config.into(), secrets: Secrets::of(channel), channel: channel.clone() }
    }

    /// Sends one body. Takes as long as the channel's time-out at most.
    pub fn post(&self, body: &[u8]) -> Verdict {
        let mut request = self.agent.post(self.channel.url()).header("content-type", "application/json");
        for (name, value) in self.channel.headers() {
            request = request.header(name, value);
        }
        match request.send(body) {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                if (200..300).contains(&status) {
                    return Verdict::delivered(Some(status));
                }
                let mut said = Vec::new();
                // What cannot be read is not told.
                let _ = answer.body_mut().as_reader().take(MAX_ANSWER_BYTES).read_to_end(&mut said);
                of_status(status, &self.secrets.hidden_in(&String::from_utf8_lossy(&said)))
            }
            Err(ureq::Error::Timeout(_)) => {
                Verdict::failed(&format_args!("no answer within {} s", self.channel.timeout.as_secs()))
            }
            Err(error) => Verdict::failed(&self.secrets.hidden_in(&error.to_string())),
        }
    }
}

/// What nobody is to see of a channel: everything after its host, and the values of its headers.
#[derive(Clone)]
struct Secrets {
    /// The longest first, so that none is left over from a longer one.
    texts: Vec<String>,
}

impl Secrets {
    fn of(channel: &Channel) -> Self {
        let rest = channel.url().split_once("://").map_or(channel.url(), |(_, rest)| rest);
        let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
        let login = rest.split_once('@').map_or("", |(login, _)| login);
        let values = channel.headers().iter().map(|(_, value)| String::from_utf8_lossy(value.as_bytes()));
        let mut texts: Vec<String> = [path, login]
            .map(Cow::from)
            .into_iter()
            .chain(values)
            // Whole, and in the parts that a receiver may repeat by themselves.
            .flat_map(|text| {
                let parts = text.split(['/', '?', '&', '=', ':', ' ']);
                iter::once(&*text).chain(parts).map(str::to_owned).collect::<Vec<_>>()
            })
            .filter(|text| text.chars().count() >= MIN_SECRET_CHARS)
            .collect();
        texts.sort_by_key(|text| Reverse(text.len()));
        Self { texts }
    }

    fn hidden_in(&self, text: &str) -> String {
        self.texts.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

fn of_status(status: u16, said: &str) -> Verdict {
    let is_refused = (300..500).contains(&status) && !matches!(status, 408 | 429);
    let told: String = said.chars().filter(|c| !c.is_control()).take(MAX_TOLD_CHARS).collect();
    let what = match status {
        300..400 => " (redirects are not followed: name the address itself)",
        _ => "",
    };
    let said = if told.is_empty() { String::new() } else { format!(": {told}") };
    let error = format!("the receiver answered {status}{what}{said}");
    Verdict { status: Some(status), error: Some(bounded(&error)), is_refused }
}

fn bounded(text: &str) -> String {
    text.chars().take(MAX_ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_try_again() {
        for (status, is_refused) in
            [(302, true), (400, true), (404, true), (408, false), (429, false), (500, false), (503, false)]
        {
            let verdict = of_status(status, "no\nway");
            assert_eq!(verdict.is_refused, is_refused, "{status}");
            let error = verdict.error.expect("told");
            assert!(error.contains(&status.to_string()) && error.ends_with(": noway"), "{error}");
        }
        assert_eq!(bounded(&"x".repeat(1_000)).len(), MAX_ERROR_CHARS);
    }

    #[test]
    fn what_a_receiver_repeats_of_the_address_and_the_headers_is_not_told() {
        let file = "name = \"a\"\nkind = \"webhook\"\nurl = \"https://hooks.example:8443/T0001/geheim?key=leise\"\n\
                    headers = { X-Token = \"Bearer still\" }\n";
        let channel = Channel::from_file(&toml::from_str(file).expect("a channel")).expect("valid");
        let secrets = Secrets::of(&channel);
        for (said, told) in [
            ("Cannot POST /T0001/geheim?key=leise", "Cannot POST ***"),
            ("no hook geheim at hooks.example", "no hook *** at hooks.example"),
            ("key=leise and still", "key=*** and ***"),
            ("Bearer still", "***"),
        ] {
            assert_eq!(secrets.hidden_in(said), told);
        }
        assert!(!format!("{secrets:?}").contains("geheim"));
    }
}
