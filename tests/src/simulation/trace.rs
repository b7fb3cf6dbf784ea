//! What happened in a run, one line an event: always as a digest, as text only for a replay.
//!
//! The digest is FNV-1a over the lines.

use std::fmt::{self, Write};
use std::time::Duration;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The events of a run.
#[derive(Debug, Clone)]
pub struct Trace {
    digest: u64,
    event_count: u64,
    line: String,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keeps_lines: bool) -> Self {
        Self { digest: OFFSET, event_count: 0, line: String::new(), lines: keeps_lines.then(Vec::new) }
    }

    pub(super) fn add(&mut self, now: Duration, event: fmt::Arguments<'_>) {
        self.line.clear();
        write!(self.line, "{:>12} {event}", now.as_micros()).expect("a string takes anything");
        for byte in self.line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        self.event_count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
    }

    /// The same for two runs in which the same happened.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How much happened.
    pub fn event_count(&self) -> u64 {
        self.event_count
    }

    /// Microseconds and event; none unless they were asked for.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
