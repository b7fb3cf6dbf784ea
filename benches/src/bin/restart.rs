//! How soon an engine serves again after it was killed.
//!
//! `restart [--metrics N] [--rows R] [--kills K]`: `htmengine serve` with N metrics (10,000) whose models have stepped R rows
//! each (20). K times (5) a further sample of every metric is sent, and the engine killed (SIGKILL) when some of them are
//! stored; then it is started again, and told is how long it took until it announced its ports, until its API answered, and
//! until a sample sent at once had its score. After the last kill every row is looked for, and its score compared.
//!
//! The baseline is the same engine with one metric, killed as often in the same run.

use std::io::{self, Write};
use std::time::Instant;

use clap::Parser;
use htm_bench::quantiles::median;
use htm_core::params::ValueRange;
use htm_tests::http_client::get;
use htm_tests::load::Load;
use htm_tests::program::Server;
use htm_tests::sender::{connect, finish, send};
use htm_tests::stored::{monitor, row_count, scored_count};
use htm_tests::waiting::wait_until;

/// The metric whose samples are sent after each start.
const FRESH: &str = "fresh";
const FIRST_TIMESTAMP: i64 = 1_700_000_000;

#[derive(Debug, Parser)]
struct Options {
    /// Metrics, each with a model.
    #[arg(long, default_value_t = 10_000)]
    metrics: usize,
    /// Rows of each before the first kill.
    #[arg(long, default_value_t = 20)]
    rows: usize,
    /// Kills of each engine.
    #[arg(long, default_value_t = 5)]
    kills: usize,
}

/// Seconds from a start until ...
struct Times {
    announced: f64,
    answered: f64,
    scored: f64,
}

fn main() -> io::Result<()> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("this measures nothing without `--release`"));
    }
    let options = Options::parse();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>8} {:>12} {:>12} {:>12}  medians of {} kills",
        "metrics", "ports s", "API s", "score s", options.kills
    )?;
    for metrics in [1, options.metrics] {
        let times = kill_and_start(metrics, &options)?;
        let middle = |figure: fn(&Times) -> f64| median(&mut times.iter().map(figure).collect::<Vec<_>>());
        let [announced, answered, scored] =
            [middle(|it| it.announced), middle(|it| it.answered), middle(|it| it.scored)];
        let longest = times.iter().map(|it| it.scored).fold(0.0, f64::max);
        writeln!(
            out,
            "{metrics:>8} {announced:>12.3} {answered:>12.3} {scored:>12.3}  longest {longest:.3}"
        )?;
    }
    Ok(())
}

fn kill_and_start(metrics: usize, options: &Options) -> io::Result<Vec<Times>> {
    let folder = tempfile::tempdir()?;
    let start = || Server::start(folder.path(), ["--http", "127.0.0.1:0", "--no-monitor"]);
    let load = Load::new(metrics, options.rows + options.kills);
    let mut server = start();
    let repository = server.repository();
    load.monitor(&repository);
    let range = ValueRange::new(0.0, 1_000.0).map_err(io::Error::other)?;
    monitor(&repository, FRESH, Some(range));
    send(server.address(), load.missing(&repository, options.rows).as_bytes());
    let scored = || load.names().iter().map(|name| scored_count(&repository, name)).min().unwrap_or_default();
    let rows = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    wait_until("scores of all rows", || scored() >= rows(options.rows));
    let mut times = Vec::new();
    for kill in 1..=options.kills {
        let mut stream = connect(server.address());
        stream.write_all(load.missing(&repository, options.rows + kill).as_bytes())?;
        let first = &load.names()[0];
        wait_until("a stored row", || row_count(&repository, first) >= rows(options.rows + kill));
        server.kill();
        drop(stream);
        let started = Instant::now();
        server = start();
        let announced = started.elapsed().as_secs_f64();
        let answer = get(server.announced("HTTP API: http://"), "/api/v1/overview");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answered = started.elapsed().as_secs_f64();
        let mut stream = connect(server.address());
        writeln!(stream, "{FRESH} {kill} {}", FIRST_TIMESTAMP + rows(kill) * 300)?;
        wait_until("a fresh score", || scored_count(&repository, FRESH) >= rows(kill));
        times.push(Times { announced, answered, scored: started.elapsed().as_secs_f64() });
        finish(stream);
    }
    send(server.address(), load.missing(&repository, load.rows()).as_bytes());
    wait_until("scores of all rows", || scored() >= rows(load.rows()));
    load.check(&repository);
    Ok(times)
}
