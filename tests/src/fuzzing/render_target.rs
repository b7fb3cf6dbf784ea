//! Targets of `/render` over a few metrics: points or an error that says what is wrong, never a fault of the server.
//!
//! The bytes are lines: the target, then `from`, `until`, `maxDataPoints` and `format`, each of which may be missing.

use super::served;
use crate::http_client::{form, get};

/// Asks for the target.
///
/// # Panics
/// If the server is at fault.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let target = lines.next().unwrap_or_default();
    let mut fields = vec![("target", target)];
    let (from, until) = (served::BEGIN.to_string(), (served::BEGIN + 3_000).to_string());
    let defaults = [("from", &*from), ("until", &*until), ("maxDataPoints", "20"), ("format", "json")];
    fields.extend(defaults.map(|(name, default)| (name, lines.next().unwrap_or(default))));
    let query = form(&fields);
    // The longest head that the server reads.
    if query.len() > 8_000 {
        return;
    }
    let answer = get(served::address(), &format!("/render?{query}"));
    assert!((200..500).contains(&answer.status), "{fields:?} is answered with {answer:?}");
    assert!(answer.status == 200 || !answer.body.is_empty(), "{fields:?}: no word of what is wrong");
    served::assert_well();
}
