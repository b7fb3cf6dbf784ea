//! `htmengine demo --traffic`: the traffic tutorial's 153 routes, from an empty database to all caught up.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use htm_core::detection::ALERT_THRESHOLD;

use super::CliError;
use super::output::{progress_bar, time_text, write_table};
use crate::clock::SystemClock;
use crate::engine::Engine;
use crate::model_params::ModelSpec;
use crate::monitoring::SystemRandom;
use crate::operations::Operations;
use crate::operations::anomalies::{Anomaly, AnomalyQuery, Grouping};
use crate::operations::metric_filter::MetricFilter;
use crate::traffic_scenario::{Incident, RANGE, RECORDS, ROUTES, START, STEP_S, Scenario};

/// Any will do; this one's picture is in the documentation.
const SEED: u64 = 153;
/// How often it is looked how far the engine is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The demo gives up when no row has finished for so long.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// An alert up to so long after an incident is still about it: the way back to normal is as unusual.
const AFTERMATH_S: i64 = 2 * 3_600;
/// Episodes told.
const MAX_TOLD: usize = 15;

/// Sends the scenario, waits until all of it is scored, and tells what was found.
pub(super) fn show(engine: &Engine, out: &mut dyn Write) -> Result<(), CliError> {
    let random = SystemRandom::open()
        .map_err(|error| CliError::new(format!("/dev/urandom cannot be read: {error}")))?;
    let repository = Arc::clone(engine.repository());
    let operations = Operations::new(repository, None, Arc::new(SystemClock::new()), Arc::new(random));
    let scenario = Scenario::new(SEED);
    writeln!(
        out,
        "Sending it the speeds on {ROUTES} routes of New York, {RECORDS} records each, a record every ten minutes."
    )?;
    out.flush()?;
    let started = Instant::now();
    for route in &scenario.routes {
        operations
            .monitor(None, ModelSpec { range: Some(RANGE), ..ModelSpec::for_metric(&route.metric_name()) })?;
    }
    let (address, sent) = (engine.graphite_address(), scenario.clone());
    let sender = thread::spawn(move || send(address, &sent));
    follow(engine, &operations, ROUTES * RECORDS)?;
    sender.join().map_err(|_| CliError::new("the demo's sender failed"))??;
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "less than a million")]
    let rate = (ROUTES * RECORDS) as f64 / seconds;
    writeln!(
        out,
        "{} records were stored, learned and scored in {seconds:.0} s ({rate:.0} a second); the tutorial of 2015 expected \
         two to three hours.",
        ROUTES * RECORDS
    )?;
    report(&operations, &scenario, out)
}

/// All routes side by side, as they would come.
fn send(address: SocketAddr, scenario: &Scenario) -> Result<(), CliError> {
    let error = |error: io::Error| CliError::new(format!("sending to {address} failed: {error}"));
    let mut stream = io::BufWriter::new(TcpStream::connect(address).map_err(error)?);
    let mut routes: Vec<_> =
        scenario.routes.iter().map(|route| (route.metric_name(), scenario.samples(route))).collect();
    for _ in 0..RECORDS {
        for (name, samples) in &mut routes {
            if let Some((timestamp, speed)) = samples.next() {
                writeln!(stream, "{name} {speed} {timestamp}").map_err(error)?;
            }
        }
    }
    stream.flush().map_err(error)
}

/// Shows progress until all rows are scored.
fn follow(engine: &Engine, operations: &Operations, total: usize) -> Result<(), CliError> {
    let progress = progress_bar(total as u64, "records scored");
    let (mut known, mut last_progress) = (0, Instant::now());
    loop {
        let (_, rows) = operations.counts()?;
        let scored = u64::try_from(rows.scored_total).unwrap_or(0);
        progress.set_position(scored);
        if scored >= total as u64 {
            break;
        }
        if scored > known {
            (known, last_progress) = (scored, Instant::now());
        }
        if engine.has_failed() {
            return Err(CliError::new("the engine ended by itself; the log above says why"));
        }
        if last_progress.elapsed() > STALL_LIMIT {
            let seconds = STALL_LIMIT.as_secs();
            return Err(CliError::new(format!(
                "nothing was scored for {seconds} s; {scored} of {total} are done"
            )));
        }
        thread::sleep(LOOK_INTERVAL);
    }
    progress.finish_and_clear();
    Ok(())
}

fn report(operations: &Operations, scenario: &Scenario, out: &mut dyn Write) -> Result<(), CliError> {
    let records = i64::try_from(RECORDS).unwrap_or(i64::MAX);
    let ranking = operations.anomalies(&AnomalyQuery {
        since: START,
        until: START + records * STEP_S,
        min_score: ALERT_THRESHOLD,
        filter: MetricFilter::default(),
        grouping: Grouping::Episode,
        limit: usize::MAX,
    })?;
    let episodes = ranking.anomalies;
    let found =
        scenario.incidents.iter().filter(|incident| episodes.iter().any(|it| is_about(it, incident))).count();
    let unknown = episodes.iter().filter(|it| incident_of(it, scenario).is_none()).count();
    #[expect(clippy::cast_precision_loss, reason = "less than a million")]
    let per_ten_thousand = unknown as f64 * 1e4 / (ROUTES * RECORDS) as f64;
    writeln!(
        out,
        "{found} of {} incidents were found; {unknown} episodes stand for none ({per_ten_thousand:.2} in 10,000 records).",
        scenario.incidents.len()
    )?;
    writeln!(out, "\nThe oddest episodes, detection score from {ALERT_THRESHOLD} on")?;
    let cells: Vec<Vec<String>> = episodes
        .iter()
        .take(MAX_TOLD)
        .map(|episode| {
            vec![
                episode.metric.clone(),
                time_text(episode.peak_at),
                episode.peak_value.map_or_else(String::new, |value| value.to_string()),
                format!("{:.3}", episode.max_score),
                incident_of(episode, scenario).map_or_else(|| "nothing known".to_owned(), told),
            ]
        })
        .collect();
    write_table(out, &["ROUTE", "TIME (UTC)", "MILES AN HOUR", "DETECTION SCORE", "WHAT HAPPENED"], &cells)?;
    Ok(())
}

fn told(incident: &Incident) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a hundred")]
    let percent = (incident.left * 100.0) as u32;
    let minutes = (incident.until - incident.from) / 60;
    let place = if incident.route.is_none() { " (all of the borough)" } else { "" };
    format!("{percent} % of the usual speed for {minutes} minutes{place}")
}

fn incident_of<'a>(episode: &Anomaly, scenario: &'a Scenario) -> Option<&'a Incident> {
    scenario.incidents.iter().find(|incident| is_about(episode, incident))
}

fn is_about(episode: &Anomaly, incident: &Incident) -> bool {
    let is_place = episode.metric.contains(&format!("borough={};", incident.borough))
        && incident.route.is_none_or(|number| episode.metric.ends_with(&format!(";route={number}")));
    is_place && episode.first <= incident.until + AFTERMATH_S && episode.last >= incident.from
}
