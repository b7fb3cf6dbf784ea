//! `htmengine queue-depths`: sends how much waits in the broker's queues to an htmengine, which then watches its own.
//!
//! Source: `rmq_metric_collector_agent.py` of htmengine. Departures: it asks the queues over AMQP, so `--rmq-addr` is that
//! port and the management plugin is not needed; a broker that is away is tried again instead of ending the program.

use std::io::{self, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::CliError;
use super::log::{LogFormat, start_log};
use super::serve::stop_signal;
use crate::backends::start_runtime;
use crate::bus::rabbitmq::RabbitSettings;
use crate::bus::rabbitmq::depth_figures::{DepthAverages, DepthProbe, PERIOD_SECONDS, SAMPLE_INTERVAL};
use crate::clock::{Clock, SystemClock};

/// The stop signal is looked at this often.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Samples in a period at least.
const MIN_SAMPLES_PER_PERIOD: u32 = 4;

/// Send average queue depths of RabbitMQ as samples, every five minutes until stopped
#[derive(Debug, Args)]
pub(super) struct QueueDepthsArgs {
    /// Where the samples go: an htmengine's Graphite port
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "dryrun", conflicts_with = "dryrun")]
    metric_addr: Option<HostPort>,
    /// Print the samples instead of sending them
    #[arg(long)]
    dryrun: bool,
    /// Names of the samples begin with this
    #[arg(long, value_name = "P", value_parser = prefix)]
    metric_prefix: String,
    /// The broker, over AMQP [default: localhost:5672]
    #[arg(long, value_name = "HOST:PORT")]
    rmq_addr: Option<HostPort>,
    /// Its virtual host
    #[arg(long, value_name = "NAME", default_value = "/")]
    rmq_vhost: String,
    /// User
    #[arg(long, value_name = "NAME", default_value = "guest")]
    rmq_user: String,
    /// Password
    #[arg(long, value_name = "TEXT", default_value = "guest")]
    rmq_pass: String,
    /// The queues [default: those of data, notifications and scores, by the names of the original's template]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    rmq_queues: Vec<String>,
    /// Average over so many seconds, aligned to the hour
    #[arg(long, value_name = "S", default_value_t = PERIOD_SECONDS, value_parser = clap::value_parser!(i64).range(1..=3600))]
    period: i64,
}

/// A host and a port, such as `localhost:2003` or `[::1]:2003`.
#[derive(Debug, Clone)]
struct HostPort {
    host: String,
    port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| "expected a host and a port, such as `localhost:2003`".to_owned())?;
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port })
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim();
    let is_good = !prefix.is_empty() && !prefix.contains(char::is_whitespace);
    is_good.then(|| prefix.to_owned()).ok_or_else(|| "a prefix is a word, such as `rmq.host1`".to_owned())
}

pub(super) fn run(args: &QueueDepthsArgs) -> Result<(), CliError> {
    let _ = start_log(LogFormat::Text, "info", None);
    let stop = stop_signal()?;
    let runtime =
        start_runtime().map_err(|error| CliError::new(format!("starting threads failed: {error}")))?;
    let clock = SystemClock::new();
    let probe = DepthProbe::new(&args.settings(), &args.rmq_queues);
    let mut averages = DepthAverages::new(probe.queues(), args.period);
    let period = Duration::from_secs(args.period.unsigned_abs());
    let interval = SAMPLE_INTERVAL.min(period / MIN_SAMPLES_PER_PERIOD);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        match runtime.block_on(probe.ready()) {
            Ok(ready) => {
                let lines = averages.add(&ready, clock.unix_seconds(), &args.metric_prefix);
                if !lines.is_empty() {
                    args.emit(&lines)?;
                }
            }
            Err(error) => tracing::warn!("queue depths are not known: {error}"),
        }
        pause(&stop, started + interval);
    }
    Ok(())
}

impl QueueDepthsArgs {
    fn settings(&self) -> RabbitSettings {
        let mut settings = RabbitSettings {
            virtual_host: self.rmq_vhost.clone(),
            user: self.rmq_user.clone(),
            password: self.rmq_pass.clone(),
            ..RabbitSettings::default()
        };
        if let Some(HostPort { host, port }) = &self.rmq_addr {
            settings.host.clone_from(host);
            settings.port = *port;
        }
        settings
    }

    /// Over one connection, line feeds between the lines. A receiver that is away costs these samples only.
    fn emit(&self, lines: &[String]) -> Result<(), CliError> {
        let text = lines.join("\n");
        let Some(HostPort { host, port }) = &self.metric_addr else {
            writeln!(io::stdout(), "{text}")?;
            return Ok(());
        };
        let sent = TcpStream::connect((host.as_str(), *port))
            .and_then(|mut receiver| receiver.write_all(text.as_bytes()));
        if let Err(error) = sent {
            tracing::warn!("{} samples could not be sent to {host}:{port}: {error}", lines.len());
        }
        Ok(())
    }
}

fn pause(stop: &AtomicBool, until: Instant) {
    while !stop.load(Ordering::Relaxed) && Instant::now() < until {
        thread::sleep(STOP_CHECK_INTERVAL.min(until.saturating_duration_since(Instant::now())));
    }
}
