//! Who sends samples: some connections and datagrams, cut anywhere, with a share of lines that must be refused.
//!
//! Each line's meaning is known here, from having made it, and nowhere else: what is stored is compared with that, not with
//! what a parser says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};

use htmengine::reject::RejectReason;
use htmengine::repository::metric_data::StoredSample;

use super::fault::Fault;
use super::future::FutureFeed;
use super::intake::{Arrival, Sockets};
use super::plan::{MetricPlan, ModelPlan, Plan};
use super::stage::{EPOCH_S, Stage};

/// Time between samples of a metric.
const INTERVAL_S: i64 = 300;
/// How long before the run the first sample was taken.
const PAST_S: i64 = 1_000_000;
/// Further ahead than any clock is off.
const FUTURE_S: i64 = 400 * 86_400;
/// Length of the pattern that a metric's values repeat.
const PERIOD: usize = 7;
const CONNECTIONS: u64 = 3;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// A sample of this metric.
    Sample(String, StoredSample),
    /// A sample of this metric, or too far in the future, as the clock says.
    Uncertain(String, StoredSample),
    /// Nothing; it is refused for this reason.
    Refused(RejectReason),
}

/// Meanings by line.
pub(super) type Meanings = BTreeMap<Vec<u8>, Meaning>;

/// All clients.
pub(super) struct Clients {
    stage: Arc<Stage>,
    sockets: Sockets,
    feeds: Vec<Feed>,
    future: Option<FutureFeed>,
    connections: Vec<Connection>,
    last_connection: u64,
    meanings: Meanings,
    /// How often each line was sent as a whole.
    lines: BTreeMap<Vec<u8>, u64>,
}

#[derive(Debug)]
struct Feed {
    plan: MetricPlan,
    pattern: Vec<usize>,
    sent: usize,
    timestamp: i64,
}

#[derive(Debug, Default)]
struct Connection {
    number: u64,
    unsent: Vec<u8>,
    /// What was sent of a line.
    begun: Vec<u8>,
}

impl Clients {
    pub(super) fn new(stage: &Arc<Stage>, plan: &Plan) -> Self {
        let feeds = plan.metrics.iter().map(Feed::new).collect();
        let connections = (1..=CONNECTIONS).map(|number| Connection { number, ..Connection::default() });
        Self {
            stage: Arc::clone(stage),
            sockets: Sockets::default(),
            feeds,
            future: plan.future_seed.map(FutureFeed::new),
            connections: connections.collect(),
            last_connection: CONNECTIONS,
            meanings: Meanings::new(),
            lines: BTreeMap::new(),
        }
    }

    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    pub(super) fn meanings(&self) -> &Meanings {
        &self.meanings
    }

    /// Samples of a metric that were sent.
    pub(super) fn sent(&self, metric: usize) -> usize {
        self.feeds[metric].sent
    }

    /// How often each line was sent as a whole, blank ones and what surrounds them left out.
    pub(super) fn lines(&self) -> &BTreeMap<Vec<u8>, u64> {
        &self.lines
    }

    fn arrivals(&self) -> MutexGuard<'_, VecDeque<Arrival>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all samples are on their way.
    pub(super) fn is_done(&self) -> bool {
        self.feeds.iter().all(Feed::is_done)
            && self.connections.iter().all(|connection| connection.unsent.is_empty())
    }

    /// A few lines of one metric, over one way.
    pub(super) fn send_some(&mut self) {
        if let Some((line, meaning)) = self.future.as_mut().and_then(FutureFeed::line) {
            self.meanings.insert(line.clone(), meaning);
            self.send_datagram(line);
        }
        let stage = Arc::clone(&self.stage);
        let unfinished: Vec<usize> =
            (0..self.feeds.len()).filter(|&feed| !self.feeds[feed].is_done()).collect();
        let Some(&feed) = unfinished.get(stage.below(unfinished.len().max(1))) else {
            self.push_on();
            return;
        };
        let mut bytes = Vec::new();
        for _ in 0..=stage.below(6) {
            let (line, meaning) = self.feeds[feed].line(&stage);
            bytes.extend_from_slice(&line);
            bytes.extend_from_slice([&b"\n"[..], b"\r\n", b"\n \n"][stage.below(3)]);
            self.meanings.insert(line, meaning);
        }
        // Mostly the same way, so that most samples come in order.
        let way = if stage.below(8) == 0 { stage.below(4) } else { feed % 4 };
        if way == 3 {
            self.send_datagram(bytes);
        } else {
            self.connections[way].unsent.extend(bytes);
        }
        self.push_on();
    }

    /// Everything that is left to send, over whole connections.
    pub(super) fn send_rest(&mut self) {
        while !self.feeds.iter().all(Feed::is_done) {
            self.send_some();
        }
        for way in 0..self.connections.len() {
            let unsent = std::mem::take(&mut self.connections[way].unsent);
            self.send_bytes(way, unsent);
            // The end of a connection is the end of its last line.
            self.note_lines(way, b"\n");
            self.arrivals().push_back(Arrival::End(self.connections[way].number));
            self.reconnect(way);
        }
    }

    /// Lines that are refused, for certain; returns how many for each reason.
    pub(super) fn send_refused(&mut self) -> BTreeMap<RejectReason, u64> {
        let mut counts = BTreeMap::new();
        for number in 0..9 {
            let (line, reason) = refused_line("refused", number);
            *counts.entry(reason).or_default() += 1;
            self.meanings.insert(line.clone(), Meaning::Refused(reason));
            self.send_datagram(line);
        }
        counts
    }

    /// The listener's process is gone, and with it what it had not read.
    pub(super) fn lose_listener(&mut self) {
        self.arrivals().clear();
        for way in 0..self.connections.len() {
            self.connections[way].unsent.clear();
            self.reconnect(way);
        }
    }

    /// Sends a part of what waits, or breaks a connection in the middle of it.
    fn push_on(&mut self) {
        let stage = Arc::clone(&self.stage);
        let way = stage.below(self.connections.len());
        let connection = &mut self.connections[way];
        let number = connection.number;
        let cut = stage.below(connection.unsent.len() + 1);
        let chunk: Vec<u8> = connection.unsent.drain(..cut).collect();
        if !chunk.is_empty() {
            self.send_bytes(way, chunk);
        }
        if stage.strikes(Fault::ClientBroken) {
            self.connections[way].unsent.clear();
            self.arrivals().push_back(Arrival::Broken(number));
            self.reconnect(way);
        }
    }

    fn send_bytes(&mut self, way: usize, bytes: Vec<u8>) {
        self.note_lines(way, &bytes);
        self.arrivals().push_back(Arrival::Bytes(self.connections[way].number, bytes));
    }

    fn send_datagram(&mut self, bytes: Vec<u8>) {
        for line in bytes.split(|byte| *byte == b'\n') {
            note_line(&mut self.lines, line);
        }
        self.arrivals().push_back(Arrival::Datagram(bytes));
    }

    /// Takes note of the lines that end in these bytes.
    fn note_lines(&mut self, way: usize, bytes: &[u8]) {
        let begun = &mut self.connections[way].begun;
        for byte in bytes {
            if *byte == b'\n' {
                note_line(&mut self.lines, &std::mem::take(begun));
            } else {
                begun.push(*byte);
            }
        }
    }

    fn reconnect(&mut self, way: usize) {
        self.last_connection += 1;
        let connection = &mut self.connections[way];
        connection.number = self.last_connection;
        connection.begun.clear();
    }
}

fn note_line(lines: &mut BTreeMap<Vec<u8>, u64>, line: &[u8]) {
    let line = line.trim_ascii();
    if !line.is_empty() {
        *lines.entry(line.to_vec()).or_default() += 1;
    }
}

impl Feed {
    fn new(plan: &MetricPlan) -> Self {
        let mut random = crate::seeded_random::SeededRandom::new(plan.seed);
        let pattern = (0..PERIOD).map(|_| random.below(1_000)).collect();
        Self { plan: plan.clone(), pattern, sent: 0, timestamp: EPOCH_S - PAST_S }
    }

    fn is_done(&self) -> bool {
        self.sent >= self.plan.sample_count
    }

    /// The next sample mostly.
    fn line(&mut self, stage: &Stage) -> (Vec<u8>, Meaning) {
        let name = &self.plan.name;
        let timestamp = match stage.below(16) {
            0 => self.timestamp,
            1 => self.timestamp - 1 - i64::try_from(stage.below(1_000)).expect("small"),
            2 => {
                let (line, reason) = refused_line(name, stage.below(9));
                return (line, Meaning::Refused(reason));
            }
            _ => {
                self.sent += 1;
                self.timestamp += INTERVAL_S + i64::try_from(stage.below(60)).expect("small");
                self.timestamp
            }
        };
        let value = self.value(stage);
        let line = format!("{name} {value} {timestamp}").into_bytes();
        (line, Meaning::Sample(name.clone(), StoredSample { timestamp, value }))
    }

    fn value(&self, stage: &Stage) -> f64 {
        let noise = if stage.below(6) == 0 { stage.below(1_000) } else { stage.below(30) };
        let tenths = self.pattern[self.sent % PERIOD] + noise;
        // A learned range is outgrown in the middle of the series.
        let is_grown = self.plan.model == ModelPlan::Learned && self.sent * 3 > self.plan.sample_count * 2;
        let tenths = if is_grown { tenths * 9 } else { tenths };
        f64::from(u32::try_from(tenths).expect("small")) / 10.0
    }
}

/// One of nine lines that no storer takes.
fn refused_line(name: &str, kind: usize) -> (Vec<u8>, RejectReason) {
    let late = EPOCH_S + FUTURE_S;
    match kind {
        0 => (format!("{name} nan {EPOCH_S}").into_bytes(), RejectReason::NanValue),
        1 => (format!("{name} inf {EPOCH_S}").into_bytes(), RejectReason::InfiniteValue),
        2 => (format!("{name} 1,5 {EPOCH_S}").into_bytes(), RejectReason::BadValue),
        3 => (format!("{name} 1.5").into_bytes(), RejectReason::WrongFieldCount),
        4 => (format!("{name} 1.5 {EPOCH_S} x").into_bytes(), RejectReason::WrongFieldCount),
        5 => (format!("{name} 1.5 {late}").into_bytes(), RejectReason::FutureTimestamp),
        6 => (format!("{name} 1.5 {EPOCH_S}000").into_bytes(), RejectReason::TimestampNotSeconds),
        7 => (format!("{name} 1.5 -7").into_bytes(), RejectReason::NegativeTimestamp),
        _ => ([name.as_bytes(), &b"\xff 1.5 10"[..]].concat(), RejectReason::NotText),
    }
}
