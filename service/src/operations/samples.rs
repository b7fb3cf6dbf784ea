//! Samples that come with a request instead of over the Graphite port: checked line by line, then handed to the storer
//! over the data queue, as any client of the bus would.
//!
//! What a line says can be judged at once; whether its sample is late or doubled only the storer knows, and counts
//! there (`htmengine metrics --rejects`).
//!
//! Invariant: samples count as handed over once they are safe from our own end: on the queue of this process, which keeps them
//! at a stop, or confirmed by the broker.

use std::thread;
use std::time::Duration;

use super::{OperationError, Operations, checked_name};
use crate::bus::TryPublishError;
use crate::bus::message::DataMessage;
use crate::listener::batch::message_line_count;
use crate::listener::connection::MAX_LINE_BYTES;
use crate::reject::RejectReason;
use crate::repository::metric::Metric;
use crate::sample::{Sample, SampleLimits, dated, parse_line};

/// How long a request waits altogether for room on the bus, and until the broker has confirmed its samples.
pub const MAX_BUS_WAIT: Duration = Duration::from_secs(5);
/// How often room is looked for.
const BUS_POLL: Duration = Duration::from_millis(10);

/// Lines of a request, judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JudgedLines {
    /// What can be handed over, in order.
    pub samples: Vec<GoodLine>,
    /// What cannot.
    pub refused: Vec<RefusedLine>,
}

/// A line that is a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct GoodLine {
    /// The sample's value, finite.
    pub value: f64,
    /// Unix seconds; the time of the request if the line said "now".
    pub timestamp: i64,
}

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLine {
    /// From 1.
    pub number: usize,
    /// Why.
    pub reason: RejectReason,
    /// The line, cut short.
    pub text: String,
}

impl RefusedLine {
    fn new(number: usize, reason: RejectReason, line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line).escape_debug().take(MAX_SHOWN_CHARS).collect();
        Self { number, reason, text }
    }
}

/// Graphite lines of a request, judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JudgedGraphite {
    /// What can be handed over, in order.
    pub lines: Vec<Vec<u8>>,
    /// What cannot.
    pub refused: Vec<RefusedLine>,
}

/// Longest part of a refused line that is repeated, in characters.
const MAX_SHOWN_CHARS: usize = 60;

impl Operations {
    /// The name samples go under: that of the metric with this name or id, or this name for a metric that its first
    /// sample will make.
    ///
    /// # Errors
    /// [`OperationError::InvalidArgument`] for a bad name, or from the database.
    pub fn name_for_samples(&self, reference: &str) -> Result<String, OperationError> {
        match self.metric(reference) {
            Ok(Metric { name, .. }) => Ok(name),
            Err(OperationError::ObjectNotFound { .. }) => checked_name(reference),
            Err(error) => Err(error),
        }
    }

    /// Judges lines of `value unix_seconds` as samples of `name`; blank lines count for nothing.
    pub fn judge_lines(&self, name: &str, body: &[u8], limits: &SampleLimits) -> JudgedLines {
        let now = self.now();
        let mut judged = JudgedLines::default();
        for (index, line) in body.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let full = [name.as_bytes(), b" ", line].concat();
            match parse_bounded(&full, now, *limits) {
                Ok(Some(Sample { value, timestamp, .. })) => {
                    judged.samples.push(GoodLine { value, timestamp });
                }
                Ok(None) => {}
                Err(reason) => judged.refused.push(RefusedLine::new(index + 1, reason, line)),
            }
        }
        judged
    }

    /// Judges whole Graphite lines, `name value unix_seconds`; blank ones count for nothing.
    pub fn judge_graphite(&self, body: &[u8], limits: &SampleLimits) -> JudgedGraphite {
        let now = self.now();
        let mut judged = JudgedGraphite::default();
        for (index, line) in body.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            match parse_bounded(line, now, *limits) {
                Ok(None) => {}
                Ok(Some(_)) => judged.lines.push(dated(line, || now).into_owned()),
                Err(reason) => judged.refused.push(RefusedLine::new(index + 1, reason, line)),
            }
        }
        judged
    }

    /// Hands samples of `name` to the storer.
    ///
    /// # Errors
    /// [`OperationError::BusAway`] if there is no bus, or if it has no room for [`MAX_BUS_WAIT`] or has not confirmed all by
    /// then, with how many samples were handed over before. Others may arrive all the same.
    pub fn hand_over(&self, name: &str, samples: &[GoodLine]) -> Result<(), OperationError> {
        let lines: Vec<Vec<u8>> = samples.iter().map(|line| line.graphite(name)).collect();
        self.hand_over_lines(&lines)
    }

    /// Hands Graphite lines to the storer.
    ///
    /// # Errors
    /// As [`Self::hand_over`].
    pub fn hand_over_lines(&self, lines: &[Vec<u8>]) -> Result<(), OperationError> {
        let Some(bus) = &self.bus else {
            return Err(OperationError::BusAway {
                reason: "no bus is at hand; send samples to the Graphite port".to_owned(),
            });
        };
        if lines.is_empty() {
            return Ok(());
        }
        let (started, data) = (self.clock.monotonic(), bus.data());
        let left = || MAX_BUS_WAIT.saturating_sub(self.clock.monotonic().saturating_sub(started));
        let gone = |why: &str, rest: usize| {
            let count = lines.len();
            let safe = if data.settle(Duration::ZERO) { count - rest } else { 0 };
            OperationError::BusAway {
                reason: format!("{why}; {safe} of {count} samples were handed over: send the rest again"),
            }
        };
        let mut rest = lines;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(message_line_count(rest));
            let mut message = DataMessage::new(part.to_vec());
            loop {
                message = match data.try_publish(message) {
                    Ok(()) => break,
                    Err(TryPublishError::Closed(_)) => {
                        return Err(gone("the engine is stopping", rest.len()));
                    }
                    Err(TryPublishError::Full(message)) => message,
                };
                if left().is_zero() {
                    return Err(gone("the data queue is full", rest.len()));
                }
                thread::sleep(BUS_POLL);
            }
            rest = after;
        }
        if !data.settle(left()) {
            let limit_s = MAX_BUS_WAIT.as_secs();
            return Err(gone(&format!("the broker did not confirm all within {limit_s} s"), lines.len()));
        }
        Ok(())
    }
}

/// As on the Graphite port, no line is longer than [`MAX_LINE_BYTES`].
fn parse_bounded(
    line: &[u8],
    now_unix_seconds: i64,
    limits: SampleLimits,
) -> Result<Option<Sample<'_>>, RejectReason> {
    if line.len() > MAX_LINE_BYTES {
        return Err(RejectReason::LineTooLong);
    }
    parse_line(line, now_unix_seconds, &limits)
}

impl GoodLine {
    /// The line as a client of the Graphite port sends it.
    fn graphite(&self, name: &str) -> Vec<u8> {
        let value = htm_core::float_text::repr(self.value);
        format!("{name} {value} {}", self.timestamp).into_bytes()
    }
}
