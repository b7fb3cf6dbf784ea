//! Hours of samples into one engine that has far more models than memory: does anything grow, slow down or get lost?
//!
//! `soak [--metrics N] [--rate S] [--minutes T] [--history H] [--memory-budget MIB] --out DIR`: `htmengine serve` as a process
//! of its own, N metrics (20,000) with declared ranges whose models share MIB (1,024) of memory, and S samples a second
//! (2,000) for T minutes (120) over one connection, evenly spread. Before time begins, H samples (0) of each metric are scored,
//! for young models grow. `soak --draw DIR` only draws the picture of such a run again.
//!
//! Every ten seconds a line is added to `DIR/soak.csv`: memory, processor time, queues, models in memory, swaps, and how long
//! the samples of one metric in a hundred took from being written to the socket until their scores came back as live
//! results. At the end every row of every metric is looked for, the scores of some are compared with those of models that
//! have nothing else to do, and `DIR/soak.svg` is drawn. The exit code is 1 if anything was lost or inexact.
//!
//! The baseline is the run's own beginning: what counts is how the last quarter of the time differs from the second. The first
//! is the run-up, in which memory fills.

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
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use htm_tests::program::Server;

use self::load::Load;
use self::moment::{Moment, Watch};
use self::options::Options;
use self::probe::Probes;

const BETWEEN_MOMENTS: Duration = Duration::from_secs(10);
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
        write!(io::stdout(), "{}", verdict::Trends::of(&moments))?;
        picture::draw(folder, &moments)?;
        return Ok(ExitCode::SUCCESS);
    }
    let out = options.out()?;
    fs::create_dir_all(out)?;
    let load = Load::new(options.metrics, options.rounds());
    let server = start(&options)?;
    load.monitor(&server.repository());
    build_history(&server, &load, options.history)?;
    let probes = Arc::new(Probes::new());
    probes.listen(server.announced("live results: newline-delimited JSON on TCP "))?;
    let mut watch = Watch::new(out, &server, Arc::clone(&probes))?;
    let mut moments = soak(&server, &load, &options, &probes, &mut watch)?;
    let lost = verdict::lost(&server.repository(), &load);
    moments.push(watch.look()?);
    let trends = verdict::Trends::of(&moments);
    write!(io::stdout(), "{trends}{lost}")?;
    picture::draw(out, &moments)?;
    Ok(if lost.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

/// Sends everything, looking on; returns once all of it is scored, or when that takes too long.
fn soak(
    server: &Server,
    load: &Load,
    options: &Options,
    probes: &Probes,
    watch: &mut Watch<'_>,
) -> io::Result<Vec<Moment>> {
    let mut moments = Vec::new();
    thread::scope(|scope| {
        let feeding = scope.spawn(|| load.feed(server.address(), options.history, options.rate, probes));
        let mut fed_at = None;
        for number in 1.. {
            let due = BETWEEN_MOMENTS.saturating_mul(number);
            thread::sleep(due.saturating_sub(watch.elapsed()));
            let moment = watch.look()?;
            let unscored = moment.unscored;
            moments.push(moment);
            if feeding.is_finished() {
                let fed_at = *fed_at.get_or_insert_with(Instant::now);
                if unscored < 1.0 || fed_at.elapsed() > DRAIN_LIMIT {
                    break;
                }
            }
        }
        feeding.join().map_err(|_| io::Error::other("the feeder panicked"))?
    })?;
    Ok(moments)
}
