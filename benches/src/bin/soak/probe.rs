//! How long samples take from the socket to the readers of live results, for one metric in a hundred.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use htm_bench::quantiles::Quantiles;
use serde::Deserialize;

const PREFIX: &str = "probe.";
/// Not a multiple of how often series come round, so that probes are of all.
const ONE_IN: usize = 101;

/// Those that are under way, and what those took that came back since somebody asked.
#[derive(Default)]
pub(crate) struct Probes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: HashMap<(String, i64), Instant>,
    times_us: Vec<f64>,
}

/// What is read of a line of live results.
#[derive(Deserialize)]
struct Message {
    metric: Metric,
    results: Vec<Row>,
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

    /// This sample goes to the socket now.
    pub(crate) fn sent(&self, name: &str, timestamp: i64) {
        if name.starts_with(PREFIX) {
            self.state().under_way.insert((name.to_owned(), timestamp), Instant::now());
        }
    }

    /// Reads live results from now on, until the engine ends.
    pub(crate) fn listen(self: &Arc<Self>, address: SocketAddr) -> io::Result<()> {
        let mut reader = BufReader::new(TcpStream::connect(address)?);
        let probes = Arc::clone(self);
        thread::Builder::new().name("probes".to_owned()).spawn(move || {
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                if line.contains(PREFIX) {
                    probes.came_back(&line);
                }
                line.clear();
            }
        })?;
        Ok(())
    }

    fn came_back(&self, line: &str) {
        let now = Instant::now();
        let Ok(message) = serde_json::from_str::<Message>(line) else { return };
        let mut state = self.state();
        for row in message.results {
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
            let timestamp = row.ts as i64;
            if let Some(sent) = state.under_way.remove(&(message.metric.name.clone(), timestamp)) {
                state.times_us.push((now - sent).as_secs_f64() * 1e6);
            }
        }
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
