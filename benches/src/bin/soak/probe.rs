//! How long samples take until the readers of live results have them, for one metric in a hundred, and whether all come there.
//!
//! A sample's time begins when it was due, not when it was written: a sender that an engine holds up is late with samples
//! which, once written, may be fast.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use htm_bench::quantiles::Quantiles;
use htm_tests::results_reader::SEEN_AFTER;
use serde::Deserialize;

const PREFIX: &str = "probe.";
/// In every line with rows.
const METRIC_KEY: &str = "\"metric\"";
/// Not a multiple of how often series come round, so that probes are of all.
const ONE_IN: usize = 101;
/// Longest wait for the last results, once all is scored: they are published after that.
const LAST_RESULTS_LIMIT: Duration = Duration::from_secs(30);
const LAST_RESULTS_PAUSE: Duration = Duration::from_millis(100);

/// Those that are under way, and what those took that came back since somebody asked.
#[derive(Default)]
pub(crate) struct Probes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: HashMap<(String, i64), Instant>,
    times_us: Vec<f64>,
    unpublished: Unpublished,
}

/// Results that should have come as live results, and did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unpublished {
    /// Probes whose scores never came.
    unanswered: usize,
    /// Messages that the engine said this reader was too slow for.
    skipped: u64,
    /// Lines that could not be read.
    unreadable: usize,
    /// Whether the engine ended the stream, while it was at work.
    has_ended: bool,
}

/// What is read of a line of live results: rows of a metric, or how many messages this reader missed.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Rows { metric: Metric, results: Vec<Row> },
    Skipped { lost: u64 },
}

#[derive(Deserialize)]
struct Metric {
    name: String,
}

#[derive(Deserialize)]
struct Row {
    ts: f64,
}

impl Probes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The name of the metric with this index.
    pub(crate) fn name(metric: usize, group: usize) -> String {
        let prefix = if metric.is_multiple_of(ONE_IN) { PREFIX } else { "other." };
        format!("{prefix}rack{group}.host{metric}")
    }

    /// This sample was `due` and goes to the socket now.
    pub(crate) fn sent(&self, name: &str, timestamp: i64, due: Instant) {
        if name.starts_with(PREFIX) {
            self.state().under_way.insert((name.to_owned(), timestamp), due);
        }
    }

    /// Reads live results of what is sent after it returned, until the engine ends.
    pub(crate) fn listen(self: &Arc<Self>, address: SocketAddr) -> io::Result<()> {
        let mut reader = BufReader::new(TcpStream::connect(address)?);
        thread::sleep(SEEN_AFTER);
        let probes = Arc::clone(self);
        thread::Builder::new().name("probes".to_owned()).spawn(move || {
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line.contains(PREFIX) || !line.contains(METRIC_KEY) {
                    probes.came_back(&line);
                }
                line.clear();
            }
            probes.state().unpublished.has_ended = true;
        })?;
        Ok(())
    }

    fn came_back(&self, line: &str) {
        let now = Instant::now();
        let message = serde_json::from_str(line);
        let mut state = self.state();
        let (name, rows) = match message {
            Ok(Message::Rows { metric, results }) => (metric.name, results),
            Ok(Message::Skipped { lost }) => return state.unpublished.skipped += lost,
            Err(_) => return state.unpublished.unreadable += 1,
        };
        for row in rows {
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
            let timestamp = row.ts as i64;
            if let Some(due) = state.under_way.remove(&(name.clone(), timestamp)) {
                state.times_us.push((now - due).as_secs_f64() * 1e6);
            }
        }
    }

    /// What did not come of results that were published, which is waited for; to be asked while the engine is at work.
    pub(crate) fn unpublished(&self) -> Unpublished {
        let until = Instant::now() + LAST_RESULTS_LIMIT;
        while !self.state().under_way.is_empty() && Instant::now() < until {
            thread::sleep(LAST_RESULTS_PAUSE);
        }
        let state = self.state();
        Unpublished { unanswered: state.under_way.len(), ..state.unpublished }
    }

    /// What those took that came back since the last call, and how many are under way.
    pub(crate) fn take(&self) -> (Quantiles, usize) {
        let mut state = self.state();
        let mut times_us = std::mem::take(&mut state.times_us);
        (Quantiles::of(&mut times_us), state.under_way.len())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unpublished {
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Display for Unpublished {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { unanswered, skipped, unreadable, has_ended } = self;
        let ended = if *has_ended { "; the stream ended early" } else { "" };
        writeln!(
            formatter,
            "live results: probes not answered {unanswered}, messages skipped {skipped}, unreadable {unreadable}{ended}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_told() {
        let probes = Probes::new();
        let (first, other) = (Probes::name(0, 0), Probes::name(1, 0));
        probes.sent(&first, 300, Instant::now());
        probes.sent(&other, 300, Instant::now());
        let rows = format!(r#"{{"metric":{{"name":"{first}"}},"results":[{{"ts":300.0}},{{"ts":600.0}}]}}"#);
        probes.came_back(&rows);
        assert!(probes.unpublished().is_none());
        assert_eq!((probes.take().0.count, probes.take().0.count), (1, 0));
        probes.came_back(r#"{"lost":7}"#);
        probes.came_back("{\"metric\":{\"na");
        let expected = Unpublished { skipped: 7, unreadable: 1, ..Unpublished::default() };
        assert_eq!(probes.unpublished(), expected);
        assert!(!expected.is_none());
    }
}
