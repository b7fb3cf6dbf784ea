//! Bytes of messages: what travels through a broker, written and read.
//!
//! One file for each meeting point of the roles: [`data`], [`hints`], [`scores`], [`results`].
//!
//! Invariants:
//! - A message that cannot be read costs only itself: reading answers with [`Unreadable`] and never panics.
//! - What was written is read back equal; numbers keep every bit.
//!
//! Source: the message formats of htmengine's `metric_listener`, `model_swapper_interface` and `anomaly_service`.

pub mod data;
pub mod hints;
pub mod results;
pub mod scores;

use std::fmt;

/// Why a message cannot be read: what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// For people.
    pub reason: String,
}

impl Unreadable {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    fn json(expected: &str, error: &serde_json::Error) -> Self {
        Self { reason: format!("expected {expected}: {error}") }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for Unreadable {}
