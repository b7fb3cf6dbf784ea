//! `htmengine demo`: the main job on real data, end to end, with nothing to configure.
//!
//! A temporary engine on free loopback ports; the New York taxi series of the Numenta Anomaly Benchmark goes
//! through a real TCP connection, becomes rows, scores and results, and the anomalies found are listed beside what is
//! known to have happened.

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use htm_core::anomaly::likelihood::log_likelihood;
use htm_core::ids::ModelId;
use htm_core::params::ValueRange;
use htm_core::trace::Fnv;

use super::log::{LogFormat, start_log};
use super::output::{progress_bar, time_text, write_table};
use super::serve::{stop_signal, wait_for_stop};
use super::{CliError, find_metric, traffic_demo};
use crate::bus::message::ResultMessage;
use crate::bus::{BusError, Subscription};
use crate::engine::{Engine, EngineOptions};
use crate::model_params::ModelSpec;
use crate::monitoring::{self, SystemRandom};
use crate::repository::Repository;
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::timestamp::parse_time;

/// `timestamp,value` with a heading; licence and source in `service/data`.
const SERIES: &str = include_str!("../../data/nyc_taxi.csv");
const METRIC: &str = "nyc.taxi.passengers";
/// The series' own range, widened by 20 % on each side, as the benchmark declares it.
const RANGE: ValueRange = ValueRange { min: -7829.8, max: 47034.8 };
/// Hash of the bits of all raw and anomaly scores that NuPIC 1.0.5 and htmengine's helper computed for the series.
pub const EXPECTED_SCORES_HASH: &str = "d6f284399baff6bf";
/// An alert: htmengine's red band.
const ALERT_SCORE: f64 = 0.99999;
/// Alerts closer together than this are one.
const EPISODE_GAP_S: i64 = 24 * 3600;
/// The demo gives up when no row has finished for so long.
const STALL_LIMIT: Duration = Duration::from_secs(60);
const RECEIVE_WAIT: Duration = Duration::from_millis(200);

/// What is known to have happened: from, until (the benchmark's windows), what.
const EVENTS: [(&str, &str, &str); 5] = [
    (
        "2014-10-30 15:30:00",
        "2014-11-03 22:30:00",
        "New York City Marathon; clocks go back at 2 in the morning",
    ),
    ("2014-11-25 12:00:00", "2014-11-29 19:00:00", "Thanksgiving"),
    ("2014-12-23 11:30:00", "2014-12-27 18:30:00", "Christmas"),
    ("2014-12-29 21:30:00", "2015-01-03 04:30:00", "New Year"),
    ("2015-01-24 20:30:00", "2015-01-29 03:30:00", "blizzard; travel ban on the night of 26 January"),
];

/// Show what the engine does: seven months of New York taxi traffic, scored in seconds
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End when the anomalies are listed instead of staying up to be explored
    #[arg(long)]
    exit: bool,
    /// Instead the traffic tutorial: 153 routes with 5,000 records each, and incidents that are known
    #[arg(long)]
    traffic: bool,
}

pub(super) fn run(args: &DemoArgs) -> Result<(), CliError> {
    let _ = start_log(LogFormat::Text, "info", None);
    let stop = stop_signal()?;
    let folder = tempfile::Builder::new()
        .prefix("htmengine-demo-")
        .tempdir()
        .map_err(|error| CliError::new(format!("a temporary folder cannot be made: {error}")))?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut options = EngineOptions::new(folder.path().to_owned(), any_port);
    options.results = Some(any_port);
    options.http = Some(any_port);
    options.monitor = vec!["*".to_owned()];
    let engine = Engine::start(options)?;
    let shown = show(&engine, folder.path(), args);
    if shown.is_ok() && !args.exit {
        wait_for_stop(&engine, &stop);
    }
    engine.stop()?;
    shown
}

fn show(engine: &Engine, folder: &Path, args: &DemoArgs) -> Result<(), CliError> {
    let address = engine.graphite_address();
    let mut out = io::stdout().lock();
    writeln!(out, "An engine is running: Graphite lines on TCP {address}, data in {}.", folder.display())?;
    if let Some(http) = engine.http_address() {
        writeln!(out, "Watch it in a browser: http://{http}/")?;
    }
    if args.traffic {
        traffic_demo::show(engine, &mut out)?;
        return advise(&mut out, engine, folder, args.exit);
    }
    writeln!(
        out,
        "Sending it the passengers of New York's taxis, every 30 minutes from July 2014 to January 2015."
    )?;
    out.flush()?;
    let repository = &**engine.repository();
    let id = monitor(repository)?;
    let lines = graphite_lines()?;
    let results = engine.bus().results().subscribe();
    let started = Instant::now();
    let sender = thread::spawn(move || send(address, &lines));
    let rows = SERIES.lines().count() - 1;
    follow(engine, results, rows)?;
    sender.join().map_err(|_| CliError::new("the demo's sender failed"))??;
    let seconds = started.elapsed().as_secs_f64();
    let rows = repository.data(&id, &DataQuery::default())?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand rows")]
    let rate = rows.len() as f64 / seconds;
    writeln!(
        out,
        "{} samples were stored, learned and scored in {seconds:.1} s ({rate:.0} a second).",
        rows.len()
    )?;
    let is_equal = scores_hash(&rows) == EXPECTED_SCORES_HASH;
    let verdict = if is_equal { "equal, bit for bit," } else { "NOT equal" };
    writeln!(out, "All raw and anomaly scores are {verdict} to those of NuPIC 1.0.5 and htmengine.")?;
    list_alerts(&mut out, &rows)?;
    list_events(&mut out, &rows)?;
    advise(&mut out, engine, folder, args.exit)?;
    out.flush()?;
    if is_equal {
        Ok(())
    } else {
        Err(CliError::new("the scores differ from the recorded ones; please report this"))
    }
}

fn monitor(repository: &dyn Repository) -> Result<ModelId, CliError> {
    let random = SystemRandom::open()
        .map_err(|error| CliError::new(format!("/dev/urandom cannot be read: {error}")))?;
    let spec = ModelSpec { range: Some(RANGE), ..ModelSpec::for_metric(METRIC) };
    monitoring::in_transaction(repository, |tx| {
        let metric = monitoring::create_metric(tx, METRIC, &random)?;
        monitoring::monitor(tx, &metric, &spec, &random)
    })?;
    Ok(find_metric(repository, METRIC)?.uid)
}

fn graphite_lines() -> Result<String, CliError> {
    let mut lines = String::with_capacity(SERIES.len() * 2);
    for row in SERIES.lines().skip(1) {
        let (time, value) =
            row.split_once(',').ok_or_else(|| CliError::new("the bundled series is damaged"))?;
        let timestamp = parse_time(time)?.to_string();
        lines.extend([METRIC, " ", value, " ", &timestamp, "\n"]);
    }
    Ok(lines)
}

fn send(address: SocketAddr, lines: &str) -> Result<(), CliError> {
    let error = |error: io::Error| CliError::new(format!("sending to {address} failed: {error}"));
    let mut stream = TcpStream::connect(address).map_err(error)?;
    stream.write_all(lines.as_bytes()).map_err(error)
}

/// Shows progress until `total` rows are finished.
fn follow(
    engine: &Engine,
    mut results: Box<dyn Subscription<ResultMessage>>,
    total: usize,
) -> Result<(), CliError> {
    let progress = progress_bar(total as u64, "samples scored");
    let is_terminal = io::stderr().is_terminal();
    let (mut finished, mut reported) = (0, 0);
    let mut last_progress = Instant::now();
    while finished < total {
        match results.receive(RECEIVE_WAIT) {
            Ok(Some(message)) => {
                finished += message.row_count();
                last_progress = Instant::now();
            }
            Ok(None) if engine.has_failed() => {
                return Err(CliError::new("the engine ended by itself; the log above says why"));
            }
            Ok(None) if last_progress.elapsed() > STALL_LIMIT => {
                return Err(CliError::new(format!(
                    "no sample was scored for {} s; {finished} of {total} are done",
                    STALL_LIMIT.as_secs()
                )));
            }
            Ok(None) | Err(BusError::Lagged { .. }) => {}
            Err(error) => return Err(CliError::new(error.to_string())),
        }
        progress.set_position(finished as u64);
        if !is_terminal && finished * 4 / total > reported {
            reported = finished * 4 / total;
            writeln!(io::stderr(), "{finished} of {total} samples scored")?;
        }
    }
    progress.finish_and_clear();
    Ok(())
}

/// Hash of the bits of all raw and anomaly scores, in row order.
fn scores_hash(rows: &[MetricRow]) -> String {
    let mut hash = Fnv::new();
    for row in rows {
        for score in [row.raw_anomaly_score, row.anomaly_score] {
            let bits = score.map_or(u64::MAX, f64::to_bits);
            for half in [bits & 0xFFFF_FFFF, bits >> 32] {
                hash.push(u32::try_from(half).expect("32 bits"));
            }
        }
    }
    hash.to_string()
}

fn score_of(row: &MetricRow) -> f64 {
    row.anomaly_score.unwrap_or(0.0)
}

fn strongest<'a>(rows: impl IntoIterator<Item = &'a MetricRow>) -> Option<&'a MetricRow> {
    rows.into_iter().max_by(|a, b| score_of(a).total_cmp(&score_of(b)))
}

/// Rows above the alert score, those less than a day apart together.
fn episodes(rows: &[MetricRow]) -> Vec<Vec<&MetricRow>> {
    let mut episodes: Vec<Vec<&MetricRow>> = Vec::new();
    for row in rows.iter().filter(|row| score_of(row) > ALERT_SCORE) {
        match episodes.last_mut() {
            Some(episode) if row.timestamp - episode[episode.len() - 1].timestamp < EPISODE_GAP_S => {
                episode.push(row);
            }
            _ => episodes.push(vec![row]),
        }
    }
    episodes
}

fn event_at(timestamp: i64) -> &'static str {
    let is_during = |(from, until, _): &&(&str, &str, &str)| {
        let (Ok(from), Ok(until)) = (parse_time(from), parse_time(until)) else { return false };
        (from..=until).contains(&timestamp)
    };
    EVENTS.iter().find(is_during).map_or("nothing known", |(_, _, what)| what)
}

fn score_cells(row: &MetricRow) -> [String; 5] {
    [
        time_text(row.timestamp),
        row.value.to_string(),
        format!("{:.3}", row.raw_anomaly_score.unwrap_or(0.0)),
        format!("{:.10}", score_of(row)),
        format!("{:.3}", log_likelihood(score_of(row))),
    ]
}

fn list_alerts(out: &mut dyn Write, rows: &[MetricRow]) -> Result<(), CliError> {
    let episodes = episodes(rows);
    writeln!(out, "\nAlerts: anomaly score above {ALERT_SCORE}, the strongest row of each episode")?;
    let cells: Vec<Vec<String>> = episodes
        .iter()
        .filter_map(|episode| strongest(episode.iter().copied()))
        .map(|row| {
            let mut cells = score_cells(row).to_vec();
            cells.push(event_at(row.timestamp).to_owned());
            cells
        })
        .collect();
    let headings = ["TIME", "PASSENGERS", "RAW SCORE", "ANOMALY SCORE", "LOG SCORE", "WHAT HAPPENED"];
    write_table(out, &headings, &cells)?;
    Ok(())
}

fn list_events(out: &mut dyn Write, rows: &[MetricRow]) -> Result<(), CliError> {
    writeln!(out, "\nThe five days the benchmark knows of, the strongest row of each window")?;
    let mut cells = Vec::new();
    for (from, until, what) in EVENTS {
        let window = parse_time(from)?..=parse_time(until)?;
        if let Some(row) = strongest(rows.iter().filter(|row| window.contains(&row.timestamp))) {
            let mut row_cells = score_cells(row).to_vec();
            row_cells
                .push(if score_of(row) > ALERT_SCORE { "alert" } else { "below the alert score" }.to_owned());
            row_cells.push(what.to_owned());
            cells.push(row_cells);
        }
    }
    let headings =
        ["TIME", "PASSENGERS", "RAW SCORE", "ANOMALY SCORE", "LOG SCORE", "FOUND", "WHAT HAPPENED"];
    write_table(out, &headings, &cells)?;
    Ok(())
}

fn advise(out: &mut dyn Write, engine: &Engine, folder: &Path, exit: bool) -> Result<(), CliError> {
    let program = std::env::args().next().unwrap_or_else(|| "htmengine".to_owned());
    writeln!(out)?;
    if exit {
        writeln!(out, "To look further, let it stay up:  {program} demo")?;
        writeln!(out, "To watch your own metrics:        {program} serve")?;
        writeln!(out, "To score a file:                  {program} replay FILE.csv")?;
        return Ok(());
    }
    if let Some(http) = engine.http_address() {
        writeln!(out, "Open http://{http}/ in a browser.")?;
    }
    let data_dir = folder.display();
    let port = engine.graphite_address().port();
    writeln!(out, "Look further, from another terminal:")?;
    writeln!(out, "  {program} metrics --data-dir {data_dir}")?;
    writeln!(
        out,
        "  {program} data {METRIC} --data-dir {data_dir} --since 2014-11-01 --until 2014-11-03 --min-score 0.99"
    )?;
    writeln!(out, "  printf 'my.metric 1 %s\\n' \"$(date +%s)\" | nc -q0 127.0.0.1 {port}")?;
    if let Some(results) = engine.results_address() {
        writeln!(out, "  nc 127.0.0.1 {}    (live results, a JSON object a line)", results.port())?;
    }
    writeln!(out, "Ctrl-C ends it and removes its data.")?;
    Ok(())
}
