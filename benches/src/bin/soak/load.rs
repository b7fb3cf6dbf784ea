//! What is sent: in nineteen metrics of twenty a value that never changes, as in most metrics of most machines; in the
//! twentieth one of the other bundled series, from a place of its own on and round and round. Each metric's times are its own,
//! too: the same distance apart as everybody's, and beginning at another second of a day. So no metric has the samples of
//! another, and a row or a model that went to the wrong one hardly passes for its own. (Flat ones of the same minutes may.)
//!
//! Models of the other series grow for as long as anybody has watched them, those of a flat one to a size. With few of the
//! former all models together grow by a few hundredths in an hour: what grows beyond that, the engine does wrong.

use std::fmt::{self, Display, Formatter, Write as _};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use htm_core::encoder::Record;
use htm_core::float_text::repr;
use htm_core::params::ValueRange;
use htm_tests::lone_run::padded_range;
use htm_tests::recording::series;
use htm_tests::stored::monitor_all;
use htmengine::clock::{Clock, SystemClock};
use htmengine::repository::Repository;

use crate::probe::Probes;

/// Between two samples of a metric, in its own time.
const POLL_INTERVAL_S: i64 = 300;
/// Metrics begin so far apart, within a day: a prime number, so that no two of 86,400 begin at the same second.
const BEGINS_APART_S: i64 = 7_919;
const DAY_S: i64 = 86_400;
/// An engine that takes no line for so long has stopped taking lines.
const WRITE_LIMIT: Duration = Duration::from_secs(600);
/// Lines written at once.
const LINES_PER_WRITE: usize = 100;
/// Places of two metrics of one series lie so far apart.
const ROWS_APART: usize = 37;
/// The series of most metrics, and those that the others take by turns.
const FLAT: &str = "art_flatline";
const LIVELY: [&str; 4] = ["nyc_taxi", "art_daily_jumpsup", "ec2_cpu_utilization_5f5533", "speed_7578"];
const ONE_LIVELY_IN: usize = 20;
/// About so many metrics of either kind have their scores compared, if there are so many.
const COMPARED_LIVELY: usize = 60;
const COMPARED_FLAT: usize = 20;

/// So many metrics, and so many samples of each.
pub(crate) struct Load {
    names: Vec<String>,
    flat: Vec<Record>,
    lively: [Vec<Record>; LIVELY.len()],
    rounds: usize,
    first_timestamp: i64,
}

/// How samples were sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    samples: u32,
    took: Duration,
    /// The longest that one was written behind its time.
    latest: Duration,
}

impl Display for Pace {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { samples, took, latest } = self;
        let rate = f64::from(*samples) / took.as_secs_f64();
        writeln!(
            formatter,
            "sent {rate:.1} samples a second for {:.0} s, at most {:.0} ms late",
            took.as_secs_f64(),
            latest.as_secs_f64() * 1e3
        )
    }
}

impl Load {
    /// The last samples are of the last day.
    pub(crate) fn new(metrics: usize, rounds: usize) -> Self {
        let now = SystemClock::new().unix_seconds();
        let length_s = i64::try_from(rounds).unwrap_or(i64::MAX).saturating_mul(POLL_INTERVAL_S);
        let names = (0..metrics).map(|metric| Probes::name(metric, metric / 1_000)).collect();
        let records = |name| series(name).into_iter().map(|(_, record)| record).collect();
        Self {
            names,
            flat: records(FLAT),
            lively: LIVELY.map(records),
            rounds,
            first_timestamp: now - DAY_S - length_s,
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Samples of each metric.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// All samples of one metric.
    pub(crate) fn samples(&self, metric: usize) -> Vec<Record> {
        (0..self.rounds).map(|round| self.sample(metric, round)).collect()
    }

    /// The range that a metric declares.
    pub(crate) fn range(&self, metric: usize) -> ValueRange {
        padded_range(self.series_of(metric))
    }

    /// Monitors all metrics, in a transaction for each series.
    pub(crate) fn monitor(&self, repository: &dyn Repository) {
        let metrics = 0..self.names.len();
        for series in std::iter::once(&self.flat).chain(&self.lively) {
            let of_series =
                metrics.clone().filter(|metric| std::ptr::eq(self.series_of(*metric), series.as_slice()));
            let names: Vec<&str> = of_series.map(|metric| &*self.names[metric]).collect();
            monitor_all(repository, &names, Some(padded_range(series)));
        }
    }

    /// Metrics whose scores are compared: some of each lively series, and flat ones.
    pub(crate) fn compared(&self) -> Vec<usize> {
        let (lively, flat): (Vec<_>, Vec<_>) = (0..self.names.len()).partition(|metric| is_lively(*metric));
        let some = |metrics: Vec<usize>, count: usize| {
            // Odd, and so no multiple of how often lively series come round.
            let stride = (metrics.len() / count) | 1;
            metrics.into_iter().step_by(stride)
        };
        some(lively, COMPARED_LIVELY).chain(some(flat, COMPARED_FLAT)).collect()
    }

    /// One sample of a metric.
    pub(crate) fn sample(&self, metric: usize, round: usize) -> Record {
        let series = self.series_of(metric);
        let value = series[(metric * ROWS_APART + round) % series.len()].value;
        let rounds = i64::try_from(round).unwrap_or(i64::MAX);
        Record { timestamp: self.begin_of(metric) + rounds * POLL_INTERVAL_S, value }
    }

    /// Which of the samples of a metric is of this time; `None` if none is.
    pub(crate) fn round_at(&self, metric: usize, timestamp: i64) -> Option<usize> {
        let since_s = timestamp.checked_sub(self.begin_of(metric))?;
        let round = usize::try_from(since_s / POLL_INTERVAL_S).ok()?;
        (since_s >= 0 && since_s % POLL_INTERVAL_S == 0 && round < self.rounds).then_some(round)
    }

    fn begin_of(&self, metric: usize) -> i64 {
        let metric = i64::try_from(metric).unwrap_or(i64::MAX);
        self.first_timestamp + metric.wrapping_mul(BEGINS_APART_S).rem_euclid(DAY_S)
    }

    fn series_of(&self, metric: usize) -> &[Record] {
        if is_lively(metric) { &self.lively[metric / ONE_LIVELY_IN % LIVELY.len()] } else { &self.flat }
    }

    /// Sends the first `history` samples of each metric as fast as they are taken.
    pub(crate) fn feed_history(&self, address: SocketAddr, history: usize) -> io::Result<()> {
        let mut stream = connect(address)?;
        self.send(0..history, |lines, _| write(&mut stream, lines))
    }

    /// Sends these samples of each metric at this rate, one of each metric by turns, until `stop` is raised; tells how well the
    /// rate was kept.
    pub(crate) fn feed(
        &self,
        address: SocketAddr,
        rounds: Range<usize>,
        rate: u32,
        (probes, stop): (&Probes, &AtomicBool),
    ) -> io::Result<Pace> {
        let mut stream = connect(address)?;
        let started = Instant::now();
        let mut sent = 0_u32;
        let mut latest = Duration::ZERO;
        self.send(rounds, |lines, samples| {
            let due = started + Duration::from_secs_f64(f64::from(sent) / f64::from(rate));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("the run ended before all samples were sent"));
            }
            for (metric, timestamp) in samples {
                probes.sent(&self.names[*metric], *timestamp, due);
                sent += 1;
            }
            write(&mut stream, lines)?;
            latest = latest.max(due.elapsed());
            Ok(())
        })?;
        Ok(Pace { samples: sent, took: started.elapsed(), latest })
    }

    /// Hands out the lines of these rounds, some at once, and which metric's sample of which time each is.
    fn send(
        &self,
        rounds: Range<usize>,
        mut write: impl FnMut(&str, &[(usize, i64)]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut lines, mut samples) = (String::new(), Vec::new());
        for round in rounds {
            for from in (0..self.names.len()).step_by(LINES_PER_WRITE) {
                lines.clear();
                samples.clear();
                for metric in (from..self.names.len()).take(LINES_PER_WRITE) {
                    let sample = self.sample(metric, round);
                    writeln!(lines, "{} {} {}", self.names[metric], repr(sample.value), sample.timestamp)
                        .map_err(io::Error::other)?;
                    samples.push((metric, sample.timestamp));
                }
                write(&lines, &samples)?;
            }
        }
        Ok(())
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    Ok(stream)
}

fn write(stream: &mut TcpStream, lines: &str) -> io::Result<()> {
    stream.write_all(lines.as_bytes()).map_err(|error| {
        if error.kind() != io::ErrorKind::WouldBlock {
            return error;
        }
        let limit_s = WRITE_LIMIT.as_secs();
        io::Error::other(format!("the engine took no line for {limit_s} s; see its log, serve.log"))
    })
}

fn is_lively(metric: usize) -> bool {
    metric.is_multiple_of(ONE_LIVELY_IN)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_metrics_have_the_same_samples() {
        let load = Load::new(20_000, 3);
        let begins: BTreeSet<i64> = (0..20_000).map(|metric| load.sample(metric, 0).timestamp).collect();
        assert_eq!(begins.len(), 20_000);
        let now = SystemClock::new().unix_seconds();
        assert!((0..20_000).all(|metric| load.sample(metric, 2).timestamp <= now), "nothing is of tomorrow");
        for metric in [0, 1, 19_999] {
            let samples = load.samples(metric);
            assert!(samples.is_sorted_by(|before, after| after.timestamp - before.timestamp == 300));
            for (round, sample) in samples.iter().enumerate() {
                assert_eq!(load.round_at(metric, sample.timestamp), Some(round));
                assert_eq!(load.round_at(metric, sample.timestamp + 1), None);
            }
            assert_eq!(load.round_at(metric, samples[0].timestamp - 300), None);
            assert_eq!(load.round_at(metric, samples[2].timestamp + 300), None);
        }
    }

    #[test]
    fn some_of_every_kind_are_compared() {
        for (metrics, lively_count, flat_count) in [(20_000, 59, 20), (500, 25, 21), (20, 1, 19)] {
            let load = Load::new(metrics, 1);
            let (lively, flat): (Vec<_>, Vec<_>) =
                load.compared().into_iter().partition(|metric| is_lively(*metric));
            assert_eq!((lively.len(), flat.len()), (lively_count, flat_count), "of {metrics}");
            let kinds: BTreeSet<usize> =
                lively.iter().map(|metric| metric / ONE_LIVELY_IN % LIVELY.len()).collect();
            assert_eq!(kinds.len(), LIVELY.len().min(lively.len()), "of {metrics}");
        }
    }
}
