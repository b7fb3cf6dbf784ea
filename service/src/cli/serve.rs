//! `htmengine serve`: runs the engine until it is told to stop.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::CliError;
use super::log::LogArgs;
use super::reload::Reloader;
use crate::config::layer::{Layer, Setting};
pub(super) use crate::config::table::Said;
use crate::config::{ConfigArgs, Settings};
use crate::engine::Engine;

/// How often signals and failed roles are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Run the engine: take samples, score them, until SIGTERM or Ctrl-C
///
/// Everything is kept in one folder. New metrics are monitored as they appear (--monitor says which): after 288 samples
/// a model is started over the range seen so far, and the earlier samples are scored too. Stopping drains what was
/// received and saves all models, within `drain_s`; a second SIGTERM or Ctrl-C ends it at once. SIGHUP reads the settings
/// again.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of their own")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to take Graphite lines, over TCP and UDP [default: 0.0.0.0:2003]
    #[arg(long, value_name = "ADDR:PORT")]
    graphite: Option<SocketAddr>,
    /// Where to take them over UDP, if not there
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_udp")]
    graphite_udp: Option<SocketAddr>,
    /// Do not listen on UDP
    #[arg(long)]
    no_udp: bool,
    /// Take frames of pickled samples here, over TCP, as carbon's relays send them to port 2004
    #[arg(long, value_name = "ADDR:PORT")]
    pickle: Option<SocketAddr>,
    /// Serve live results here, as newline-delimited JSON over TCP
    #[arg(long, value_name = "ADDR:PORT")]
    results: Option<SocketAddr>,
    /// Serve dashboard and HTTP API here [default: 127.0.0.1:8080]; any but a loopback address needs an API key
    /// (`htmengine key new`, `HTMENGINE_HTTP_KEY` or `http_key`)
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Serve neither dashboard nor HTTP API
    #[arg(long, conflicts_with = "http")]
    no_http: bool,
    /// Serve them without a key to whoever reaches the address
    #[arg(long)]
    http_open: bool,
    /// Serve the routes of the original's skeleton web application here (PUT, POST, GET /METRIC)
    #[arg(long, value_name = "ADDR:PORT")]
    web_app: Option<SocketAddr>,
    /// Keep the leading slash of the web application's paths in metric names, as the original did
    #[arg(long)]
    compat_slash_names: bool,
    /// Delete rows older than so many days as far as no model needs them [default: 0, never]
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    /// Monitor new metrics whose name matches; may be repeated; '*' matches any characters [default: *]
    #[arg(long, value_name = "GLOB")]
    monitor: Vec<String>,
    /// Monitor nothing by itself; `htmengine monitor NAME` still does
    #[arg(long, conflicts_with = "monitor")]
    no_monitor: bool,
    /// Models stepped at once [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Memory for models, in MiB; some leave it when others need room [default: 2048]
    #[arg(long, value_name = "MIB")]
    memory_budget_mib: Option<usize>,
    /// Save a model after so many rows [default: 1000]
    #[arg(long, value_name = "ROWS")]
    checkpoint_rows: Option<u32>,
    #[command(flatten)]
    log: LogArgs,
}

impl ServeArgs {
    fn settings(&self) -> Result<Settings, CliError> {
        let monitor = match (self.no_monitor, self.monitor.is_empty()) {
            (true, _) => flag("--no-monitor", Some(Vec::new())),
            (false, false) => flag("--monitor", Some(self.monitor.clone())),
            (false, true) => None,
        };
        let flags = Said {
            graphite: flag("--graphite", self.graphite),
            graphite_udp: flag("--graphite-udp", self.graphite_udp),
            udp: flag("--no-udp", self.no_udp.then_some(false)),
            pickle: flag("--pickle", self.pickle),
            results: flag("--results", self.results),
            http: flag("--http", self.http),
            http_open: flag("--http-open", self.http_open.then_some(true)),
            web_app: flag("--web-app", self.web_app),
            web_app_slash_names: flag("--compat-slash-names", self.compat_slash_names.then_some(true)),
            retention_days: flag("--retention-days", self.retention_days),
            monitor,
            jobs: flag("--jobs", self.jobs),
            checkpoint_rows: flag("--checkpoint-rows", self.checkpoint_rows),
            memory_budget_mib: flag("--memory-budget-mib", self.memory_budget_mib),
            ..Said::default()
        };
        Ok(Settings::load_with(&self.config, flags)?)
    }
}

/// What a flag says, if it was given.
pub(super) fn flag<T>(name: &'static str, value: Option<T>) -> Option<Setting<T>> {
    value.map(|value| Setting::new(value, Layer::Flag(name)))
}

pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let signals = Signals::register()?;
    let settings = args.settings()?;
    let log = args.log.start(&settings, None);
    let mut options = settings.engine_options();
    if args.no_http {
        options.http = None;
    }
    let (data_dir, monitor) = (options.data_dir.clone(), options.monitor.clone());
    let Some(mut engine) = Engine::start_unless(options, &signals.stop)? else {
        tracing::info!("stopped while waiting; there is nothing to finish");
        return Ok(());
    };
    announce(&engine, &data_dir.display().to_string(), &monitor)?;
    let load = || args.settings();
    let has_failed = wait(&mut engine, &signals, &mut Reloader::new(settings, log, &load));
    if !has_failed {
        tracing::info!("stopping: storing what was received and saving all models");
    }
    engine.stop()?;
    if has_failed {
        return Err(CliError::new("a part of the engine ended by itself; the log says why"));
    }
    tracing::info!("stopped; everything is saved");
    Ok(())
}

/// Waits until the signal to stop comes or the engine fails, and tells whether it failed first; reloads when that is asked for.
///
/// A stop that cuts a start short ends parts before they are told to: what went wrong then is what [`Engine::stop`] says.
pub(super) fn wait(engine: &mut Engine, signals: &Signals, reloader: &mut Reloader<'_>) -> bool {
    while !signals.stop.load(Ordering::Relaxed) {
        if engine.has_failed() {
            return true;
        }
        if signals.reload.swap(false, Ordering::Relaxed) {
            reloader.reload(engine);
        }
        thread::sleep(POLL_INTERVAL);
    }
    false
}

/// Waits until `stop` is raised or the engine fails.
pub(super) fn wait_for_stop(engine: &Engine, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) && !engine.has_failed() {
        thread::sleep(POLL_INTERVAL);
    }
}

/// A flag that the first SIGTERM or SIGINT raises; the second one ends the process at once, with exit code 1. Nothing stored
/// is lost then.
pub(super) fn stop_signal() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .map_err(|error| no_signals(&error))?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|error| no_signals(&error))?;
    }
    Ok(stop)
}

fn no_signals(error: &io::Error) -> CliError {
    CliError::new(format!("signals cannot be handled: {error}"))
}

/// What signals ask for.
pub(super) struct Signals {
    /// See [`stop_signal`].
    pub(super) stop: Arc<AtomicBool>,
    /// Raised by SIGHUP.
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// To be called before anything is started, so that none is missed.
    pub(super) fn register() -> Result<Self, CliError> {
        let reload = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).map_err(|error| no_signals(&error))?;
        Ok(Self { stop: stop_signal()?, reload })
    }
}

fn announce(engine: &Engine, data_dir: &str, monitor: &[String]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let address = engine.graphite_address();
    let udp = engine.udp_address().map_or_else(String::new, |address| format!(" and UDP {address}"));
    writeln!(out, "htmengine takes Graphite lines on TCP {address}{udp}")?;
    if let Some(pickle) = engine.pickle_address() {
        writeln!(out, "pickled samples: on TCP {pickle}")?;
    }
    if let Some(results) = engine.results_address() {
        writeln!(out, "live results: newline-delimited JSON on TCP {results}")?;
    }
    let scheme = engine.http_scheme();
    if let Some(http) = engine.http_address() {
        writeln!(out, "dashboard: {scheme}://{http}/")?;
        writeln!(out, "HTTP API: {scheme}://{http}")?;
    }
    if let Some(web_app) = engine.web_app_address() {
        writeln!(out, "web application: {scheme}://{web_app}")?;
    }
    writeln!(out, "data: {data_dir}")?;
    if monitor.is_empty() {
        writeln!(out, "monitoring: only metrics named with `htmengine monitor NAME`")?;
    } else {
        writeln!(out, "monitoring: every new metric that matches {}", monitor.join(" or "))?;
    }
    let port = address.port();
    writeln!(out, "try: printf 'cpu.load 0.5 %s\\n' \"$(date +%s)\" | nc -q0 127.0.0.1 {port}")?;
    writeln!(out, "then: htmengine data cpu.load --data-dir {data_dir}")?;
    out.flush()?;
    Ok(())
}
