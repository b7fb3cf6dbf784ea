//! One HTTP POST and what came of it.
//!
//! Connection, sending and answer share one time limit; redirects are not followed, so that a body never goes where
//! nobody said; of an answer only the beginning is read. Certificates are checked against the platform's roots.

use std::fmt;
use std::io::Read;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use super::channel::Channel;
use crate::repository::alert::MAX_ERROR_CHARS;

/// Of an answer's body so much is read.
const MAX_ANSWER_BYTES: u64 = 4_096;
/// Of an answer's body so much is told.
const MAX_TOLD_CHARS: usize = 160;

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
        Self { agent: config.into(), channel: channel.clone() }
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
                of_status(status, &String::from_utf8_lossy(&said))
            }
            Err(ureq::Error::Timeout(_)) => {
                Verdict::failed(&format_args!("no answer within {} s", self.channel.timeout.as_secs()))
            }
            Err(error) => Verdict::failed(&self.without_secrets(&error.to_string())),
        }
    }

    /// Errors may name the address.
    fn without_secrets(&self, text: &str) -> String {
        text.replace(self.channel.url(), &self.channel.shown_url().unwrap_or_default())
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
}
