//! One line of the reject ledger: how many samples were refused for one reason, with the latest example.

use serde_json::{Value, json};

use crate::reject::RejectReason;

/// Longest example kept, in characters.
pub const MAX_EXAMPLE_CHARS: usize = 200;

/// Samples refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectEntry {
    /// Why.
    pub reason: RejectReason,
    /// How many.
    pub count: u64,
    /// When the latest one came, unix seconds UTC.
    pub last_seen: i64,
    /// The latest offending line, escaped and cut to [`MAX_EXAMPLE_CHARS`].
    pub example: String,
}

impl RejectEntry {
    /// With the advice for its reason.
    pub fn to_json(&self) -> Value {
        json!({
            "reason": self.reason.name(),
            "count": self.count,
            "last_seen": self.last_seen,
            "example": self.example,
            "advice": self.reason.advice(),
        })
    }
}
