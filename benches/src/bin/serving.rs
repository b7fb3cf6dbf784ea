//! What those who ask wait for while samples come in, and what their asking costs the scores.
//!
//! `serving [--metrics N] [--rows R] [--rate S] [--seconds T] [--rounds K]`: an engine as `htmengine serve` runs it, with N
//! metrics (1,000) whose models have stepped R rows each (330); then K times by turns T seconds in which S samples a
//! second (5,000) come in over one connection, without and with one client that asks for a metric's last 288 rows, waits 10
//! ms, and asks again over a new connection. Feeder and client are this process, on the same processors.
//!
//! Reported, medians over the rounds: samples stored and rows scored a second, without and with the client, their ratio,
//! and the 50th and 99th percentile of what the client waited. The baseline is the client alone, with no samples coming in.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use htm_bench::quantiles::{Quantiles, median};
use htm_tests::http_client::get;
use htm_tests::running_engine::RunningEngine;
use htm_tests::seeded_random::SeededRandom;
use serde_json::Value;

/// Between two rows before the measurement.
const POLL_INTERVAL_S: i64 = 300;
/// When the first row was taken.
const FIRST_TIMESTAMP: i64 = 1_700_000_000;
/// Lines written at once.
const LINES_PER_WRITE: usize = 250;
/// Rows of an answer: a day of samples every five minutes.
const ROWS_ASKED: usize = 288;
const PAUSE_BETWEEN_QUERIES: Duration = Duration::from_millis(10);
/// Samples come in for so long before a measurement begins.
const RUN_UP: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Longest wait for rows that were sent to be scored.
const DRAIN_LIMIT: Duration = Duration::from_secs(1_800);

#[derive(Debug, Parser)]
struct Options {
    /// Metrics, each with a model.
    #[arg(long, default_value_t = 1_000)]
    metrics: usize,
    /// Rows of each before the measurement; at least as many as a range is learned from.
    #[arg(long, default_value_t = 330, value_parser = clap::value_parser!(u32).range(288..))]
    rows: u32,
    /// Samples a second.
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Measurements of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Rows of the engine at one moment.
#[derive(Debug, Clone, Copy)]
struct Rows {
    stored: f64,
    scored: f64,
    unscored: u64,
}

/// What one measurement found.
#[derive(Debug, Clone, Copy)]
struct Rates {
    stored: f64,
    scored: f64,
    queries: Quantiles,
}

fn main() -> io::Result<()> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("this measures nothing without `--release`"));
    }
    let options = Options::parse();
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let engine = RunningEngine::start(|engine| {
        engine.http = Some(any_port);
        engine.monitor = vec!["*".to_owned()];
    });
    let http = engine.engine().http_address().ok_or_else(|| io::Error::other("HTTP is not served"))?;
    let mut feeder = Feeder::new(engine.address(), options.metrics)?;
    for _ in 0..options.rows {
        feeder.send_round(POLL_INTERVAL_S)?;
    }
    wait_until_scored(http, u64::from(options.rows) * options.metrics as u64)?;
    let mut out = io::stdout().lock();
    let alone = ask(http, options.metrics, Duration::from_secs(options.seconds));
    writeln!(out, "client alone:    {}", told(&alone))?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        without.push(measure(http, &mut feeder, &options, false)?);
        with.push(measure(http, &mut feeder, &options, true)?);
    }
    for (kind, rates) in [("samples alone", &without), ("both", &with)] {
        let [kept, scored] = [middle(rates, |one| one.stored), middle(rates, |one| one.scored)];
        writeln!(out, "{kind:<16} {kept:.0} stored/s, {scored:.0} scored/s")?;
    }
    let ratio = middle(&with, |one| one.scored) / middle(&without, |one| one.scored);
    writeln!(out, "scored beside queries: {ratio:.2} of what is scored without")?;
    let p50 = middle(&with, |one| one.queries.p50_us);
    let p99 = middle(&with, |one| one.queries.p99_us);
    let times = [p50 / alone.p50_us, p99 / alone.p99_us];
    writeln!(
        out,
        "queries beside samples: p50 {:.1} ms ({:.1} times alone), p99 {:.1} ms ({:.1} times)",
        p50 / 1e3,
        times[0],
        p99 / 1e3,
        times[1]
    )?;
    drop(feeder);
    engine.stop();
    Ok(())
}

fn middle(rates: &[Rates], value: impl Fn(&Rates) -> f64) -> f64 {
    median(&mut rates.iter().map(value).collect::<Vec<_>>())
}

fn told(queries: &Quantiles) -> String {
    let [p50, p99, max] = [queries.p50_us, queries.p99_us, queries.max_us].map(|us| us / 1e3);
    format!("{} queries, p50 {p50:.1} ms, p99 {p99:.1} ms, longest {max:.1} ms", queries.count)
}

/// One measurement, from and to an engine that has nothing to do.
fn measure(http: SocketAddr, feeder: &mut Feeder, options: &Options, is_asked: bool) -> io::Result<Rates> {
    let duration = Duration::from_secs(options.seconds);
    thread::scope(|scope| {
        let feeding = scope.spawn(|| feeder.feed(options.rate, RUN_UP + duration));
        thread::sleep(RUN_UP);
        let (before, started) = (rows(http), Instant::now());
        let queries = if is_asked {
            ask(http, options.metrics, duration)
        } else {
            thread::sleep(duration);
            Quantiles::default()
        };
        let (after, elapsed_s) = (rows(http), started.elapsed().as_secs_f64());
        let fed = feeding.join().map_err(|_| io::Error::other("the feeder panicked"))?;
        fed?;
        wait_until_scored(http, 0)?;
        Ok(Rates {
            stored: (after.stored - before.stored) / elapsed_s,
            scored: (after.scored - before.scored) / elapsed_s,
            queries,
        })
    })
}

/// Asks for the last rows of metrics, one after the other.
fn ask(http: SocketAddr, metrics: usize, duration: Duration) -> Quantiles {
    let mut random = SeededRandom::new(7);
    let mut times_us = Vec::new();
    let started = Instant::now();
    while started.elapsed() < duration {
        let name = name_of(random.below(metrics));
        let asked = Instant::now();
        let answer = get(http, &format!("/api/v1/metrics/{name}/data?limit={ROWS_ASKED}&order=desc"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        times_us.push(asked.elapsed().as_secs_f64() * 1e6);
        thread::sleep(PAUSE_BETWEEN_QUERIES);
    }
    Quantiles::of(&mut times_us)
}

fn rows(http: SocketAddr) -> Rows {
    let overview: Value = get(http, "/api/v1/overview").json();
    let number = |key: &str| overview["rows"][key].as_f64().unwrap_or_default();
    let unscored = overview["rows"]["unscored"].as_u64().unwrap_or(u64::MAX);
    Rows { stored: number("stored_total"), scored: number("scored_total"), unscored }
}

/// Waits until so many rows are stored and all of them scored.
fn wait_until_scored(http: SocketAddr, stored: u64) -> io::Result<()> {
    let started = Instant::now();
    loop {
        let now = rows(http);
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 rows")]
        let is_stored = now.stored >= stored as f64;
        if is_stored && now.unscored == 0 {
            return Ok(());
        }
        if started.elapsed() > DRAIN_LIMIT {
            return Err(io::Error::other(format!("after {DRAIN_LIMIT:?} it stands at {now:?}")));
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

fn name_of(metric: usize) -> String {
    format!("rack{}.host{metric}.load", metric % 50)
}

/// Sends samples of all metrics by turns.
struct Feeder {
    stream: TcpStream,
    names: Vec<String>,
    timestamp: i64,
    random: SeededRandom,
}

impl Feeder {
    fn new(address: SocketAddr, metrics: usize) -> io::Result<Self> {
        let names = (0..metrics).map(name_of).collect();
        let random = SeededRandom::new(1);
        Ok(Self { stream: TcpStream::connect(address)?, names, timestamp: FIRST_TIMESTAMP, random })
    }

    /// One sample of each metric.
    fn send_round(&mut self, seconds_later: i64) -> io::Result<()> {
        self.timestamp += seconds_later;
        for from in (0..self.names.len()).step_by(LINES_PER_WRITE) {
            self.write(from)?;
        }
        Ok(())
    }

    /// Samples at this rate.
    fn feed(&mut self, rate: u32, duration: Duration) -> io::Result<()> {
        let started = Instant::now();
        let mut sent = 0_u32;
        while started.elapsed() < duration {
            self.timestamp += 1;
            for from in (0..self.names.len()).step_by(LINES_PER_WRITE) {
                sent += self.write(from)?;
                let due = Duration::from_secs_f64(f64::from(sent) / f64::from(rate));
                thread::sleep(due.saturating_sub(started.elapsed()));
            }
        }
        Ok(())
    }

    /// Samples of some metrics from this one on; returns how many.
    fn write(&mut self, from: usize) -> io::Result<u32> {
        let mut lines = String::new();
        let timestamp = self.timestamp.to_string();
        let mut count = 0;
        for name in self.names.iter().skip(from).take(LINES_PER_WRITE) {
            let value = 50 + self.random.below(10);
            lines.extend([name, " ", &value.to_string(), " ", &timestamp, "\n"]);
            count += 1;
        }
        self.stream.write_all(lines.as_bytes())?;
        Ok(count)
    }
}
