//! `htmengine listener`, `storer`, `scheduler`, `anomaly`, `results`, `http`: one role of an engine in a process of its own.
//!
//! Roles meet at a RabbitMQ broker and in the database. They start in any order, wait for what is not there yet, and
//! end on SIGTERM or Ctrl-C when what they hold is done. Options are those of the original's services.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use clap::{Args, ValueEnum};

use super::CliError;
use super::log::LogArgs;
use super::reload::Reloader;
use super::serve::{Said, Signals, flag, wait};
use crate::config::layer::Layer;
use crate::config::{ConfigArgs, Settings};
use crate::engine::role::{Role, Roles};
use crate::engine::{Engine, EngineOptions};

/// Take Graphite lines and hand them to the broker
#[derive(Debug, Args)]
pub(super) struct ListenerArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Address or name of this machine to listen on [default: all of them]
    #[arg(long)]
    host: Option<String>,
    /// Port [default: 2003]
    #[arg(long)]
    port: Option<u16>,
    /// What clients speak: there is only Graphite's plaintext protocol
    #[arg(long, value_enum, default_value = "plain")]
    protocol: Protocol,
    /// tcp: TCP alone; udp: UDP beside TCP, on the same port [default: as the settings say]
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocol {
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
}

/// Make rows of lines, and tell the scheduler
#[derive(Debug, Args)]
pub(super) struct StorerArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Monitor new metrics whose name matches; may be repeated; '*' matches any characters [default: as the settings say]
    #[arg(long, value_name = "GLOB")]
    monitor: Vec<String>,
    /// Monitor nothing by itself
    #[arg(long, conflicts_with = "monitor")]
    no_monitor: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// Step models over rows
///
/// Only one at a time may run over a database and its model files.
#[derive(Debug, Args)]
pub(super) struct SchedulerArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Models stepped at once: worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// Memory for models, in MiB [default: 2048]
    #[arg(long, value_name = "MIB")]
    memory_budget_mib: Option<usize>,
    /// Save a model after so many rows [default: 1000]
    #[arg(long, value_name = "ROWS")]
    checkpoint_rows: Option<u32>,
    /// An option of the original's model runner, which is told that there is none any more.
    #[arg(long = "modelID", value_name = "ID", hide = true)]
    model_id: Option<String>,
    #[command(flatten)]
    log: LogArgs,
}

/// Complete rows with their scores and publish them
#[derive(Debug, Args)]
pub(super) struct AnomalyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Serve finished rows as newline-delimited JSON over TCP, and raise alerts
#[derive(Debug, Args)]
pub(super) struct ResultsArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to serve them
    #[arg(long, value_name = "ADDR:PORT")]
    results: Option<SocketAddr>,
    #[command(flatten)]
    log: LogArgs,
}

/// Serve the HTTP API, the web application, or both
#[derive(Debug, Args)]
pub(super) struct HttpArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to serve dashboard and API [default: 127.0.0.1:8080 unless --web-app is given]; any but a loopback address
    /// needs an API key (`htmengine key new`, `HTMENGINE_HTTP_KEY` or `http_key`)
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Serve without a key to whoever reaches the address
    #[arg(long)]
    http_open: bool,
    /// Where to serve the routes of the original's web application
    #[arg(long, value_name = "ADDR:PORT")]
    web_app: Option<SocketAddr>,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn listen(args: &ListenerArgs) -> Result<(), CliError> {
    let Protocol::Plain = args.protocol;
    let load = || {
        let default = Settings::load(&args.config)?.engine_options().graphite;
        let graphite = match (&args.host, args.port) {
            (None, None) => None,
            (host, port) => Some(address(host.as_deref(), port, default)?),
        };
        let flags = Said {
            graphite: flag("--host and --port", graphite),
            udp: flag("--transport", args.transport.map(|transport| transport == Transport::Udp)),
            ..Said::default()
        };
        Ok(Settings::load_with(&args.config, flags)?)
    };
    play(Role::Listener, &args.log, None, &load)
}

fn address(host: Option<&str>, port: Option<u16>, default: SocketAddr) -> Result<SocketAddr, CliError> {
    let port = port.unwrap_or(default.port());
    let Some(host) = host else { return Ok(SocketAddr::new(default.ip(), port)) };
    let found = (host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| {
        CliError::new(format!("--host {host}: no such address; give one of this machine, or 0.0.0.0 for all"))
    })
}

pub(super) fn store(args: &StorerArgs) -> Result<(), CliError> {
    let load = || {
        let monitor = match (args.no_monitor, args.monitor.is_empty()) {
            (true, _) => flag("--no-monitor", Some(Vec::new())),
            (false, false) => flag("--monitor", Some(args.monitor.clone())),
            (false, true) => None,
        };
        Ok(Settings::load_with(&args.config, Said { monitor, ..Said::default() })?)
    };
    play(Role::Storer, &args.log, None, &load)
}

pub(super) fn schedule(args: &SchedulerArgs) -> Result<(), CliError> {
    if let Some(id) = &args.model_id {
        return Err(CliError::new(format!(
            "--modelID {id}: there are no model runners any more; `htmengine scheduler` steps all models, on as many \
             threads as --concurrency says"
        )));
    }
    let load = || {
        let flags = Said {
            jobs: flag("--concurrency", args.concurrency),
            memory_budget_mib: flag("--memory-budget-mib", args.memory_budget_mib),
            checkpoint_rows: flag("--checkpoint-rows", args.checkpoint_rows),
            ..Said::default()
        };
        Ok(Settings::load_with(&args.config, flags)?)
    };
    play(Role::Scheduler, &args.log, Some("SCHED"), &load)
}

pub(super) fn complete(args: &AnomalyArgs) -> Result<(), CliError> {
    play(Role::Anomaly, &args.log, Some("ANOMALY"), &|| Ok(Settings::load(&args.config)?))
}

pub(super) fn serve_results(args: &ResultsArgs) -> Result<(), CliError> {
    let load = || {
        let flags = Said { results: flag("--results", args.results), ..Said::default() };
        Ok(Settings::load_with(&args.config, flags)?)
    };
    let options = load()?.engine_options();
    if options.results.is_none() && options.alerts.is_empty() {
        return Err(CliError::new(
            "where are results to be served? Give `--results ADDR:PORT`, or rules of alerts in the settings",
        ));
    }
    play(Role::Results, &args.log, None, &load)
}

pub(super) fn serve_http(args: &HttpArgs) -> Result<(), CliError> {
    let load = || {
        let flags = Said {
            http: flag("--http", args.http),
            http_open: flag("--http-open", args.http_open.then_some(true)),
            web_app: flag("--web-app", args.web_app),
            ..Said::default()
        };
        Ok(Settings::load_with(&args.config, flags)?)
    };
    let settings = load()?;
    let mut options = settings.engine_options();
    // Whoever asks for the web application alone gets that alone.
    let is_default = settings.said().http.as_ref().is_some_and(|http| http.layer == Layer::Default);
    if is_default && options.web_app.is_some() {
        options.http = None;
    }
    if options.http.is_none() && options.web_app.is_none() {
        return Err(CliError::new(
            "what is to be served, and where? Give `--http ADDR:PORT`, `--web-app ADDR:PORT`, or both",
        ));
    }
    let log = args.log.start(&settings, None);
    play_with(Role::Http, options, Reloader::new(settings, log, &load))
}

fn play(
    role: Role,
    log: &LogArgs,
    service: Option<&'static str>,
    load: &dyn Fn() -> Result<Settings, CliError>,
) -> Result<(), CliError> {
    let settings = load()?;
    let log = log.start(&settings, service);
    play_with(role, settings.engine_options(), Reloader::new(settings, log, load))
}

fn play_with(role: Role, mut options: EngineOptions, mut reloader: Reloader<'_>) -> Result<(), CliError> {
    options.roles = Roles::Only(role);
    let signals = Signals::register()?;
    let Some(mut engine) = Engine::start_unless(options, &signals.stop)? else {
        tracing::info!("stopped while waiting; there is nothing to finish");
        return Ok(());
    };
    announce(role, &engine)?;
    let has_failed = wait(&mut engine, &signals, &mut reloader);
    if !has_failed {
        tracing::info!("stopping: finishing what the {role} holds");
    }
    engine.stop()?;
    if has_failed {
        return Err(CliError::new(format!("the {role} ended by itself; the log says why")));
    }
    tracing::info!("stopped");
    Ok(())
}

/// One line on standard output once it is at work.
fn announce(role: Role, engine: &Engine) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match role {
        Role::Listener => {
            let udp = engine.udp_address().map_or_else(String::new, |address| format!(" and UDP {address}"));
            writeln!(
                out,
                "htmengine listener takes Graphite lines on TCP {}{udp}",
                engine.graphite_address()
            )?;
            if let Some(pickle) = engine.pickle_address() {
                writeln!(out, "pickled samples: on TCP {pickle}")?;
            }
        }
        Role::Results => match engine.results_address() {
            Some(address) => {
                writeln!(out, "htmengine results serves newline-delimited JSON on TCP {address}")?;
            }
            None => writeln!(out, "htmengine results raises alerts")?,
        },
        Role::Http => {
            let scheme = engine.http_scheme();
            if let Some(http) = engine.http_address() {
                writeln!(out, "HTTP API: {scheme}://{http}")?;
            }
            if let Some(web_app) = engine.web_app_address() {
                writeln!(out, "web application: {scheme}://{web_app}")?;
            }
        }
        Role::Storer | Role::Scheduler | Role::Anomaly => writeln!(out, "htmengine {role} runs")?,
    }
    out.flush()
}
