//! The reject ledger: every sample that is refused is counted by reason, with its latest example.
//!
//! Listener and storer write into one [`RejectLedger`]; the storer moves it to the repository now and then,
//! where `htmengine metrics --rejects` reads it. Bounded by the number of reasons.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::repository::reject::{MAX_EXAMPLE_CHARS, RejectEntry};
use crate::self_metrics;

/// Why a line or sample was refused. The name in [`RejectReason::name`] is stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// No line end within [`crate::listener::connection::MAX_LINE_BYTES`].
    LineTooLong,
    /// Not UTF-8.
    NotText,
    /// Fewer or more than `name value timestamp`.
    WrongFieldCount,
    /// The name is longer than its column.
    NameTooLong,
    /// The name holds a control character or a malformed tag.
    BadName,
    /// The value is not a number.
    BadValue,
    /// The value is NaN.
    NanValue,
    /// The value is infinite.
    InfiniteValue,
    /// The timestamp is not a number.
    BadTimestamp,
    /// Before 1970 (other than -1, which means now).
    NegativeTimestamp,
    /// So large that it must be milliseconds or finer.
    TimestampNotSeconds,
    /// Further ahead of the clock than the configured limit.
    FutureTimestamp,
    /// Older than the metric's newest row.
    LateSample,
    /// The same second as the metric's newest row.
    DuplicateSample,
    /// The connection limit was reached.
    TooManyConnections,
    /// A line or frame that was begun was not ended in time.
    LineTimeout,
    /// All connections together hold too much that was begun and not ended; this one held most.
    TooMuchUnfinished,
    /// A line or frame that was begun when its connection broke, fell silent or was still open at the stop: nobody knows
    /// whether it was whole.
    Unfinished,
    /// Taken in, and not taken by the data queue until the stop was over.
    LostAtStop,
    /// A datagram that the kernel dropped because nobody read it in time.
    DatagramDropped,
    /// A frame that is no pickled list of samples.
    BadPickle,
    /// A pickle that would make objects or call functions.
    UnsafePickle,
    /// A new metric beyond the limit of all.
    TooManyMetrics,
    /// A new metric beyond the limit of its sender.
    TooManyNewMetrics,
    /// The sender's address is in no network that may send.
    NetworkNotAllowed,
    /// The repository refused the row.
    NotStorable,
    /// A whole message on the data queue that is no envelope of lines.
    UnreadableMessage,
}

/// Every reason, in the order they are listed to people.
pub const ALL_REASONS: [RejectReason; 27] = [
    RejectReason::LineTooLong,
    RejectReason::NotText,
    RejectReason::WrongFieldCount,
    RejectReason::NameTooLong,
    RejectReason::BadName,
    RejectReason::BadValue,
    RejectReason::NanValue,
    RejectReason::InfiniteValue,
    RejectReason::BadTimestamp,
    RejectReason::NegativeTimestamp,
    RejectReason::TimestampNotSeconds,
    RejectReason::FutureTimestamp,
    RejectReason::LateSample,
    RejectReason::DuplicateSample,
    RejectReason::TooManyConnections,
    RejectReason::LineTimeout,
    RejectReason::TooMuchUnfinished,
    RejectReason::Unfinished,
    RejectReason::LostAtStop,
    RejectReason::DatagramDropped,
    RejectReason::BadPickle,
    RejectReason::UnsafePickle,
    RejectReason::TooManyMetrics,
    RejectReason::TooManyNewMetrics,
    RejectReason::NetworkNotAllowed,
    RejectReason::NotStorable,
    RejectReason::UnreadableMessage,
];

impl RejectReason {
    /// Stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::NotText => "not_text",
            Self::WrongFieldCount => "wrong_field_count",
            Self::NameTooLong => "name_too_long",
            Self::BadName => "bad_name",
            Self::BadValue => "bad_value",
            Self::NanValue => "nan_value",
            Self::InfiniteValue => "infinite_value",
            Self::BadTimestamp => "bad_timestamp",
            Self::NegativeTimestamp => "negative_timestamp",
            Self::TimestampNotSeconds => "timestamp_not_seconds",
            Self::FutureTimestamp => "future_timestamp",
            Self::LateSample => "late_sample",
            Self::DuplicateSample => "duplicate_sample",
            Self::TooManyConnections => "too_many_connections",
            Self::LineTimeout => "line_timeout",
            Self::TooMuchUnfinished => "too_much_unfinished",
            Self::Unfinished => "unfinished",
            Self::LostAtStop => "lost_at_stop",
            Self::DatagramDropped => "datagram_dropped",
            Self::BadPickle => "bad_pickle",
            Self::UnsafePickle => "unsafe_pickle",
            Self::TooManyMetrics => "too_many_metrics",
            Self::TooManyNewMetrics => "too_many_new_metrics",
            Self::NetworkNotAllowed => "network_not_allowed",
            Self::NotStorable => "not_storable",
            Self::UnreadableMessage => "unreadable_message",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL_REASONS.into_iter().find(|reason| reason.name() == name)
    }

    /// What was expected and what the sender should do, for people.
    pub fn advice(self) -> &'static str {
        match self {
            Self::LineTooLong => "a line must end within 65,536 bytes; end each sample with a newline",
            Self::NotText => "a line must be UTF-8 text",
            Self::WrongFieldCount => "expected `name value timestamp`, separated by spaces or tabs",
            Self::NameTooLong => "a metric name may have at most 255 characters; shorten it",
            Self::BadName => "a name may hold no control characters, and tags must read `;key=value`",
            Self::BadValue => "the value must be a decimal number such as 21, 4.5 or 1e3",
            Self::NanValue => "NaN is no value; send nothing instead",
            Self::InfiniteValue => "infinity is no value; send nothing instead",
            Self::BadTimestamp => "the timestamp must be unix seconds, or -1 or N for now",
            Self::NegativeTimestamp => "times before 1970 are not accepted; -1 or N means now",
            Self::TimestampNotSeconds => "the timestamp must be in seconds; divide milliseconds by 1,000",
            Self::FutureTimestamp => {
                "the sample is too far ahead of this machine's clock; check the sender's clock"
            }
            Self::LateSample => "samples of a metric must come in order of time; send the oldest first",
            Self::DuplicateSample => "one sample per metric and second; the first one was kept",
            Self::TooManyConnections => "close idle connections or raise `max_connections`",
            Self::LineTimeout => {
                "the connection was closed: end each line with a newline at once, or raise `line_timeout_s`"
            }
            Self::TooMuchUnfinished => {
                "the connection that held most was closed: end each line with a newline, or raise `max_unfinished_mib`"
            }
            Self::Unfinished => {
                "a connection ended in the middle of a line: end the last line with a newline before closing it"
            }
            Self::LostAtStop => {
                "the data queue did not take these lines before the engine stopped: send them again"
            }
            Self::DatagramDropped => {
                "datagrams came faster than they were read, and the kernel dropped some: send over TCP, which waits"
            }
            Self::BadPickle => {
                "send a 4-byte length and a pickled list of (name, (timestamp, value)); the connection was closed"
            }
            Self::UnsafePickle => {
                "only numbers, texts, tuples and lists are read, and nothing is executed; the connection was closed"
            }
            Self::TooManyMetrics => {
                "no more metrics are made, known ones go on: delete some, or raise `max_metrics`"
            }
            Self::TooManyNewMetrics => {
                "this sender brings too many new names in an hour, known ones go on: wait, or raise `max_new_metrics`"
            }
            Self::NetworkNotAllowed => "add the sender's network to `graphite_allow` if it may send",
            Self::NotStorable => "the database refused the row; the log says why",
            Self::UnreadableMessage => {
                "publish {\"protocol\": \"plain\", \"data\": [lines]}; the message is in the queue of rejected messages"
            }
        }
    }
}

/// Counts since the last [`RejectLedger::drain`].
#[derive(Debug, Default)]
pub struct RejectLedger {
    entries: Mutex<BTreeMap<RejectReason, RejectEntry>>,
}

impl RejectLedger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one refused line.
    pub fn record(&self, reason: RejectReason, line: &[u8], now_unix_seconds: i64) {
        self.record_many(reason, 1, line, now_unix_seconds);
    }

    /// Counts so many of one kind; `line` is the latest, or stands for them.
    pub fn record_many(&self, reason: RejectReason, count: u64, line: &[u8], now_unix_seconds: i64) {
        self_metrics::count_rejects(reason.name(), count);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(reason).or_insert_with(|| RejectEntry {
            reason,
            count: 0,
            last_seen: now_unix_seconds,
            example: String::new(),
        });
        entry.count += count;
        entry.last_seen = now_unix_seconds;
        entry.example = printable(line);
    }

    /// Takes everything counted since the last call.
    pub fn drain(&self) -> Vec<RejectEntry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *entries).into_values().collect()
    }

    /// Puts back what could not be stored.
    pub fn restore(&self, drained: Vec<RejectEntry>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for old in drained {
            match entries.get_mut(&old.reason) {
                Some(entry) => entry.count += old.count,
                None => {
                    entries.insert(old.reason, old);
                }
            }
        }
    }
}

fn printable(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().flat_map(char::escape_debug).take(MAX_EXAMPLE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_reason_and_keeps_the_latest_example() {
        let ledger = RejectLedger::new();
        ledger.record(RejectReason::NanValue, b"a nan 1", 10);
        ledger.record(RejectReason::NanValue, b"b nan 2", 11);
        ledger.record(RejectReason::LateSample, b"c 1 1", 12);
        let drained = ledger.drain();
        assert_eq!(drained.len(), 2);
        let nan = drained.iter().find(|entry| entry.reason == RejectReason::NanValue).expect("counted");
        assert_eq!((nan.count, nan.last_seen, nan.example.as_str()), (2, 11, "b nan 2"));
        assert!(ledger.drain().is_empty());
        ledger.record(RejectReason::NanValue, b"d nan 3", 13);
        ledger.restore(drained);
        let again = ledger.drain();
        let nan = again.iter().find(|entry| entry.reason == RejectReason::NanValue).expect("counted");
        assert_eq!((nan.count, nan.example.as_str()), (3, "d nan 3"));
    }

    #[test]
    fn every_reason_has_its_own_name() {
        for reason in ALL_REASONS {
            assert_eq!(RejectReason::from_name(reason.name()), Some(reason));
        }
    }

    #[test]
    fn an_example_is_bounded_and_printable() {
        let ledger = RejectLedger::new();
        ledger.record(RejectReason::NotText, &[0xff; 10_000], 1);
        let example = &ledger.drain()[0].example;
        assert!(example.chars().count() <= MAX_EXAMPLE_CHARS);
        assert!(example.chars().all(|c| !c.is_control()));
    }
}
