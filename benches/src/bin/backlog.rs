//! A backlog through the whole engine: samples over TCP on one side, finished rows in SQLite on the other.
//!
//! `backlog [--models N] [--rows R] [--json]`: the first R rows of `nyc_taxi` (all 10,320 by default) for each of N
//! metrics (1 by default), over one connection. Reported: wall seconds from the first byte sent to the last row
//! finished, records per second, and CPU seconds of the process. The baseline to compare with is the original
//! htmengine on such a machine: 70 records a second for one model, 35 over a hundred.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use htm_bench::meter::Reading;
use htm_bench::series::{NYC_TAXI, Series};
use htmengine::engine::{Engine, EngineOptions};
use htmengine::model_params::ModelSpec;
use htmengine::monitoring::{self, SystemRandom};
use serde_json::json;

const HELP: &str = "usage: backlog [--models N] [--rows R] [--json]";
const RECEIVE_WAIT: Duration = Duration::from_millis(100);
const STALL_LIMIT: Duration = Duration::from_secs(60);

struct Options {
    models: usize,
    rows: usize,
    json: bool,
}

fn main() -> io::Result<()> {
    let options = options().ok_or_else(|| io::Error::other(HELP))?;
    let series = Series::read(NYC_TAXI);
    let rows = options.rows.min(series.records.len());
    let folder = tempfile::tempdir()?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let engine =
        Engine::start(EngineOptions::new(folder.path().to_owned(), any_port)).map_err(io::Error::other)?;
    let names: Vec<String> = (0..options.models).map(|number| format!("taxi.{number}")).collect();
    for name in &names {
        monitor(&engine, name)?;
    }
    let mut lines = String::new();
    for record in &series.records[..rows] {
        for name in &names {
            let (value, timestamp) = (record.value.to_string(), record.timestamp.to_string());
            lines.extend([name, " ", &value, " ", &timestamp, "\n"]);
        }
    }
    let mut results = engine.bus().results().subscribe();
    let before = Reading::now()?;
    let address = engine.graphite_address();
    let sender = std::thread::spawn(move || TcpStream::connect(address)?.write_all(lines.as_bytes()));
    let (mut finished, mut last_progress) = (0, Instant::now());
    let total = rows * names.len();
    while finished < total {
        if let Some(message) = results.receive(RECEIVE_WAIT).map_err(io::Error::other)? {
            finished += message.row_count();
            last_progress = Instant::now();
        } else if last_progress.elapsed() > STALL_LIMIT {
            return Err(io::Error::other(format!("stalled at {finished} of {total} rows")));
        }
    }
    let usage = before.until(&Reading::now()?);
    sender.join().map_err(|_| io::Error::other("the sender failed"))??;
    engine.stop().map_err(io::Error::other)?;
    report(&options, total, usage.wall_s, usage.cpu_s)
}

fn options() -> Option<Options> {
    let mut options = Options { models: 1, rows: usize::MAX, json: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--models" => options.models = arguments.next()?.parse().ok()?,
            "--rows" => options.rows = arguments.next()?.parse().ok()?,
            "--json" => options.json = true,
            _ => return None,
        }
    }
    Some(options)
}

fn monitor(engine: &Engine, name: &str) -> io::Result<()> {
    let random = SystemRandom::open()?;
    let range = ModelSpec::range_of(Some(-7829.8), Some(47034.8)).map_err(io::Error::other)?;
    let spec = ModelSpec { range, ..ModelSpec::for_metric(name) };
    monitoring::in_transaction(&**engine.repository(), |tx| {
        let metric = monitoring::create_metric(tx, name, &random)?;
        monitoring::monitor(tx, &metric, &spec, &random)
    })
    .map(|_| ())
    .map_err(io::Error::other)
}

fn report(options: &Options, total: usize, wall: f64, cpu: f64) -> io::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a few million rows")]
    let rows = total as f64;
    let mut out = io::stdout().lock();
    if options.json {
        let report = json!({"models": options.models, "rows": total, "wall_s": wall, "cpu_s": cpu,
            "records_per_s": rows / wall, "cpu_us_per_record": cpu / rows * 1e6});
        return writeln!(out, "{report}");
    }
    writeln!(out, "models                  {}", options.models)?;
    writeln!(out, "rows                    {total}")?;
    writeln!(out, "wall                    {wall:.2} s")?;
    writeln!(out, "records per second      {:.0}", rows / wall)?;
    writeln!(out, "CPU                     {cpu:.2} s")?;
    writeln!(out, "CPU per record          {:.0} us", cpu / rows * 1e6)
}
