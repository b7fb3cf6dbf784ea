//! Hours of samples into one engine that has far more models than memory: does anything grow, slow down or get lost?
//!
//! `soak [--metrics N] [--rate S] [--minutes T] [--kill-after K] [--history H] [--memory-budget MIB] --out DIR`:
//! `htmengine serve` as a process of its own, N metrics (20,000) with declared ranges whose models share MIB (1,024) of memory,
//! and S samples a second (2,000) for T minutes (120) over one connection, evenly spread. Before time begins, H samples (0) of
//! each metric are scored, for young models grow. After K minutes, if that is asked for, sending pauses until all that was sent
//! is stored, the engine is killed and started again, and sending goes on at once; told is how long the engine was behind.
//! `soak --draw DIR` only draws the picture of such a run again.
//!
//! Every ten seconds a line is added to `DIR/soak.csv`: memory, processor time, queues, models in memory, swaps, and how long
//! the samples of one metric in a hundred took from when they were due until their scores came back as live results. At the
//! end every row of every metric is read and held against the sample that was sent, the scores of some metrics of each kind
//! are compared with those of models that have nothing else to do, and `DIR/soak.svg` is drawn. The exit code is 1 if anything
//! was lost, doubled, wrong, not scored, inexact or counted as refused, if not all could be sent, or if results did not come
//! (of an engine that is killed they may not).
//!
//! The baseline is the run's own beginning: what counts is how the last quarter of the time differs from the second. The first
//! is the run-up, in which memory fills.

mod inventory;
mod load;
mod moment;
mod options;
mod picture;
mod probe;
mod verdict;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use htm_tests::program::Server;
use htm_tests::waiting::wait_until;

use self::load::{Load, Pace};
use self::moment::{Moment, Watch};
use self::options::Options;
use self::probe::Probes;
use self::verdict::{Recovery, Trends};

const BETWEEN_MOMENTS: Duration = Duration::from_secs(10);
/// How soon the end of feeding is seen.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Longest wait for scores of the history, for each of its rows.
const HISTORY_LIMIT_PER_ROW: Duration = Duration::from_millis(1);
/// Longest wait for the last scores, once everything was sent.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);

fn main() -> io::Result<ExitCode> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("this measures nothing without `--release`"));
    }
    let options = Options::parse();
    if let Some(folder) = &options.draw {
        let moments = moment::read(folder)?;
        write!(io::stdout(), "{}", Trends::of(&moments))?;
        picture::draw(folder, &moments)?;
        return Ok(ExitCode::SUCCESS);
    }
    let out = options.out()?;
    fs::create_dir_all(out)?;
    let load = Load::new(options.metrics, options.rounds());
    let mut server = start(&options)?;
    load.monitor(&server.repository());
    build_history(&server, &load, options.history)?;
    let probes = Arc::new(Probes::new());
    let mut watch = Watch::new(out, &server, Arc::clone(&probes))?;
    let mut moments = Vec::new();
    let (mut recovery, mut unsent) = (None, None);
    let lives = options.rounds_of_lives();
    for (life, rounds) in lives.iter().enumerate() {
        if life > 0 {
            let stored = rounds.start * options.metrics;
            wait_until("all that was sent is stored", || moment::is_stored(&server, stored));
            server.kill();
            let killed_at = watch.elapsed();
            server = start(&options)?;
            recovery = Some(Recovery { killed_at, started_at: watch.elapsed(), rate: options.rate });
            watch.start_anew(&server)?;
        }
        probes.listen(server.announced("live results: newline-delimited JSON on TCP "))?;
        let drain_limit = if life + 1 == lives.len() { DRAIN_LIMIT } else { Duration::ZERO };
        let stop = AtomicBool::new(false);
        let feed = || load.feed(server.address(), rounds.clone(), options.rate, (&probes, &stop));
        let expected = rounds.end * options.metrics;
        match soak(&server, (feed, &stop), (expected, drain_limit), &mut watch, &mut moments)? {
            Ok(pace) => write!(io::stdout(), "{pace}")?,
            Err(error) => {
                writeln!(io::stdout(), "not all samples could be sent: {error}")?;
                unsent = Some(error);
                break;
            }
        }
    }
    let unpublished = probes.unpublished();
    write!(io::stdout(), "{}{unpublished}", Trends::of(&moments))?;
    let lost = verdict::lost(&server.repository(), &load)?;
    write!(io::stdout(), "{lost}")?;
    if let Some(recovery) = recovery {
        write!(io::stdout(), "{}", recovery.text(&moments))?;
    }
    picture::draw(out, &moments)?;
    // What a killed process had not told its readers yet, nobody tells them.
    let are_published = lives.len() > 1 || unpublished.is_none();
    let is_good = lost.is_none() && unsent.is_none() && are_published;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn start(options: &Options) -> io::Result<Server> {
    let out = options.out()?;
    let config = out.join("soak.toml");
    let budget = options.memory_budget_mib;
    fs::write(&config, format!("memory_budget_mib = {budget}\nmax_metrics = 0\n"))?;
    let config = config.display().to_string();
    let arguments =
        ["--config", &config, "--http", "127.0.0.1:0", "--results", "127.0.0.1:0", "--no-monitor"];
    Ok(Server::start(out, arguments))
}

/// Sends the history and waits until all of it is scored.
fn build_history(server: &Server, load: &Load, history: usize) -> io::Result<()> {
    load.feed_history(server.address(), history)?;
    let expected = history * load.names().len();
    let most =
        HISTORY_LIMIT_PER_ROW.saturating_mul(u32::try_from(expected).unwrap_or(u32::MAX)) + DRAIN_LIMIT;
    let fed_at = Instant::now();
    while !moment::is_scored(server, expected) {
        if fed_at.elapsed() > most {
            return Err(io::Error::other(format!(
                "{expected} rows of history are not scored within {most:?}"
            )));
        }
        thread::sleep(BETWEEN_MOMENTS);
    }
    Ok(())
}

/// Feeds, looking on; returns once `expected` rows are stored and all are scored, or when that takes longer than `drain_limit`,
/// and how the feeding went. The feeder is told to `stop` where nobody looks any more.
fn soak(
    server: &Server,
    (feed, stop): (impl FnOnce() -> io::Result<Pace> + Send, &AtomicBool),
    (expected, drain_limit): (usize, Duration),
    watch: &mut Watch,
    moments: &mut Vec<Moment>,
) -> io::Result<io::Result<Pace>> {
    thread::scope(|scope| {
        let feeding = scope.spawn(feed);
        let _raised = RaisedAtEnd(stop);
        let (mut due, mut fed_at) = (watch.elapsed(), None);
        loop {
            due += BETWEEN_MOMENTS;
            while watch.elapsed() < due && (fed_at.is_some() || !feeding.is_finished()) {
                thread::sleep(BETWEEN_LOOKS);
            }
            let moment = watch.look(server)?;
            let is_done = moment.has_scored(expected);
            moments.push(moment);
            if feeding.is_finished() {
                let fed_at = *fed_at.get_or_insert_with(Instant::now);
                if is_done {
                    break;
                }
                if fed_at.elapsed() >= drain_limit {
                    if !drain_limit.is_zero() {
                        let limit_s = drain_limit.as_secs();
                        writeln!(
                            io::stdout(),
                            "{limit_s} s after the last sample some are still not scored"
                        )?;
                    }
                    break;
                }
            }
        }
        feeding.join().map_err(|_| io::Error::other("the feeder panicked"))
    })
}

/// A signal that is raised however its place is left, by an error or a panic too.
struct RaisedAtEnd<'a>(&'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
