//! Starting an engine: locks, sockets, what it works with, and a thread for each of its roles.
//!
//! Roles that take what others publish start first, and whatever publishes lines last, behind the lines that an earlier engine
//! kept. Sockets of the listener and of live results are bound before anything is waited for, so that an address that is
//! taken is told at once, and clients that connect meanwhile are served when the broker is there.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Handle;

use super::patience::wait_for;
use super::role::{Role, Roles};
use super::unpublished::Published;
use super::{
    Engine, EngineError, EngineOptions, Live, MODELS_FOLDER, RoleThread, SCORES_DRAIN, SchedulerThread,
    Signals, Threads, lock, unpublished,
};
use crate::alerts::role::AlertThreads;
use crate::anomaly::Anomaly;
use crate::api_key::{ApiKey, KeyRole, PLAIN_KEY_NAME};
use crate::backends::{BusChoice, RepositoryChoice, connect_bus, open_repository, start_runtime};
use crate::bus::Bus;
use crate::clock::{Clock, SystemClock};
use crate::config::layer::Secret;
use crate::control::{Control, StartNotice, remove_old_requests};
use crate::file_system::DiskFiles;
use crate::garbage::{DEFAULT_INTERVAL, GarbageCollector};
use crate::http::server::{HttpOptions, HttpServer};
use crate::listener::{self, BoundListener};
use crate::machine;
use crate::model_params::DEFAULT_LEARNING_ROWS;
use crate::monitoring::{RandomBytes, SystemRandom};
use crate::operations::Operations;
use crate::operations::overview::Gauge;
use crate::reject::RejectLedger;
use crate::repository::Repository;
use crate::repository::sqlite::OpenMode;
use crate::results::stream::ResultStream;
use crate::scheduler::checkpoint_desk::CheckpointDesk;
use crate::scheduler::figures::SchedulerFigures;
use crate::scheduler::model_store::ModelStore;
use crate::scheduler::rescan::RESCAN_INTERVAL;
use crate::scheduler::workers::Workers;
use crate::scheduler::{Scheduler, SchedulerOptions, SchedulerParts};
use crate::self_series::{self, SelfSeries};
use crate::stoppable_thread::StoppableThread;
use crate::storer::kept_lines::KEPT_LINES_FILE;
use crate::storer::{Storer, StorerOptions, StorerParts};

/// How often a listener without a storer beside it logs what it refused.
const LEDGER_LOG_INTERVAL: Duration = Duration::from_secs(10);
const LEDGER_STOP_CHECK: Duration = Duration::from_millis(100);

/// What all roles of a process share.
struct Shared {
    options: EngineOptions,
    bus: Arc<dyn Bus>,
    repository: Option<Arc<dyn Repository>>,
    clock: Arc<dyn Clock>,
    ledger: Arc<RejectLedger>,
    desk: Arc<CheckpointDesk>,
    figures: Arc<Mutex<SchedulerFigures>>,
    signals: Arc<Signals>,
    live: Live,
}

pub(super) fn start(mut options: EngineOptions, stop: &AtomicBool) -> Result<Option<Engine>, EngineError> {
    let roles = options.roles;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (locks, notice) = claim(&options, &*clock)?;
    if let Err(error) = machine::raise_file_limit() {
        tracing::warn!("the limit on open files could not be raised: {error}");
    }
    fit_connections(&mut options);
    let listener = roles.has(Role::Listener).then(|| bind_listener(&options)).transpose()?;
    let results = options.results.filter(|_| roles.has(Role::Results)).map(bind_results).transpose()?;
    let runtime = start_runtime()
        .map_err(|error| EngineError::new("starting the threads of database and broker", &error))?;
    let connected = connect(&options, &*clock, stop, runtime.handle())?;
    let Some((repository, bus)) = connected else { return Ok(None) };
    let results = results.map(|bound| serve_results(bound, &bus)).transpose()?;
    let addresses = listener.as_ref().map(|bound| (bound.tcp_address(), bound.udp_address()));
    let pickle = listener.as_ref().and_then(BoundListener::pickle_address);
    let is_local = options.bus == BusChoice::Memory;
    let live = Live::new(&options);
    let mut shared = Shared {
        options,
        bus,
        repository,
        clock,
        ledger: Arc::default(),
        desk: Arc::default(),
        figures: Arc::default(),
        signals: Arc::default(),
        live,
    };
    let garbage = start_garbage(&shared.options, shared.repository.as_ref(), &shared.clock)?;
    let alerts = start_alerts(&shared.options, shared.repository.as_ref(), &shared.bus, &shared.clock)?;
    let mut threads = start_threads(&mut shared)?;
    let publishers = start_publishers(&shared, listener, &mut threads, (runtime.handle(), stop));
    if let Some(notice) = notice {
        notice.replace();
    }
    let (failed, Publishers { http, self_series }) = match publishers {
        Ok(publishers) => (None, publishers),
        Err(error) => (Some(error), Publishers::default()),
    };
    let engine = Engine {
        options: shared.options,
        live: shared.live,
        is_local,
        graphite: addresses.map(|(tcp, _)| tcp),
        udp: addresses.and_then(|(_, udp)| udp),
        pickle,
        results,
        http,
        garbage,
        self_series,
        alerts,
        threads,
        signals: shared.signals,
        clock: shared.clock,
        figures: shared.figures,
        bus: shared.bus,
        repository: shared.repository,
        runtime,
        _locks: locks,
    };
    let Some(error) = failed else { return Ok(Some(engine)) };
    // Others are at work by now.
    if let Err(end) = engine.stop() {
        tracing::error!("{end}");
    }
    Err(error)
}

type Backends = (Option<Arc<dyn Repository>>, Arc<dyn Bus>);

/// Database and broker, as far as the roles need them; `None` once `stop` is raised while they are waited for.
fn connect(
    options: &EngineOptions,
    clock: &dyn Clock,
    stop: &AtomicBool,
    runtime: &Handle,
) -> Result<Option<Backends>, EngineError> {
    let mut repository = None;
    if options.roles.need_repository() || raises_alerts(options) {
        let opened = wait_for("database", clock, stop, || {
            let mode = OpenMode::ReadWriteCreate;
            Ok(open_repository(&options.repository, &options.data_dir, mode, runtime)?)
        })?;
        if opened.is_none() {
            return Ok(None);
        }
        repository = opened;
    }
    let connected = wait_for("broker", clock, stop, || Ok(connect_bus(&options.bus, runtime)?))?;
    Ok(connected.map(|bus| (repository, bus)))
}

fn fit_connections(options: &mut EngineOptions) {
    let max_open_files = machine::file_limit().soft;
    let other_files = options.files_beside_connections();
    let asked = options.listener.fit_files(max_open_files, other_files);
    if let (Some(asked), Some(limit), true) = (asked, max_open_files, options.roles.has(Role::Listener)) {
        tracing::warn!(
            "of max_connections = {asked} only {} are taken: this process may have {limit} open files, and needs \
             {other_files} of them for itself and for clients over HTTP and of live results; raise the limit \
             (LimitNOFILE= in systemd, nofile in limits.conf), or lower max_connections",
            options.listener.max_connections
        );
    }
}

/// Takes the data folder for the roles that are played. A scheduler says there that it is on its way.
fn claim(
    options: &EngineOptions,
    clock: &dyn Clock,
) -> Result<(Vec<File>, Option<StartNotice>), EngineError> {
    let roles = options.roles;
    check_bus(roles, &options.bus)?;
    let played: Vec<Role> =
        Role::ALL.into_iter().filter(|role| roles.has(*role) && is_wanted(*role, options)).collect();
    let locks = lock::lock(&options.data_dir, &played)?;
    let is_scheduler = played.contains(&Role::Scheduler);
    let notice = is_scheduler.then(|| {
        remove_old_requests(&options.data_dir);
        StartNotice::write(&options.data_dir, clock)
    });
    Ok((locks, notice))
}

fn check_bus(roles: Roles, bus: &BusChoice) -> Result<(), EngineError> {
    let (Roles::Only(role), BusChoice::Memory) = (roles, bus) else { return Ok(()) };
    Err(EngineError {
        reason: format!(
            "the {role} alone meets nobody: roles in processes of their own need a RabbitMQ broker; name one with \
             `--broker amqp://user:password@host/vhost` or in the settings, or run all roles in one process with \
             `htmengine serve`"
        ),
    })
}

/// Those of roles that take what others publish.
fn start_threads(shared: &mut Shared) -> Result<Threads, EngineError> {
    let roles = shared.options.roles;
    let mut threads = Threads::default();
    if let Some(repository) = shared.repository.clone().filter(|_| roles.has(Role::Storer)) {
        start_storer(shared, &repository, &mut threads)?;
    }
    if let Some(repository) = &shared.repository {
        if roles.has(Role::Scheduler) {
            threads.scheduler = Some(start_scheduler(shared, repository)?);
            threads.control = Some(start_control(shared)?);
        }
        if roles.has(Role::Anomaly) {
            threads.anomaly = Some(start_anomaly(shared, repository)?);
        }
    }
    Ok(threads)
}

/// What publishes lines, beside the listener.
#[derive(Default)]
struct Publishers {
    http: Option<HttpServer>,
    self_series: Option<StoppableThread>,
}

/// Behind the lines that were taken in before, since samples must come in order of time: none, if those are not all published.
fn start_publishers(
    shared: &Shared,
    listener: Option<BoundListener>,
    threads: &mut Threads,
    (runtime, stop): (&Handle, &AtomicBool),
) -> Result<Publishers, EngineError> {
    // In one process the storer looks after them.
    if shared.options.bus != BusChoice::Memory && !publish_kept(shared, stop, threads) {
        return Ok(Publishers::default());
    }
    let publishers =
        Publishers { http: start_http(shared, runtime)?, self_series: start_self_series(shared)? };
    start_listener(shared, listener, threads)?;
    Ok(publishers)
}

fn start_listener(
    shared: &Shared,
    bound: Option<BoundListener>,
    threads: &mut Threads,
) -> Result<(), EngineError> {
    let Some(bound) = bound else { return Ok(()) };
    if !shared.options.roles.has(Role::Storer) {
        threads.ledger = Some(start_ledger_log(shared)?);
    }
    let (bus, ledger) = (Arc::clone(&shared.bus), Arc::clone(&shared.ledger));
    let handle = bound.spawn(bus, ledger, Arc::clone(&shared.clock), shared.options.listener.clone());
    threads.listener = Some(handle);
    Ok(())
}

fn bind_listener(options: &EngineOptions) -> Result<BoundListener, EngineError> {
    let udp = options.graphite_udp.unwrap_or(options.graphite);
    let bound = listener::bind(options.graphite, options.udp.then_some(udp));
    let bound = bound.and_then(|bound| match options.pickle {
        Some(address) => bound.with_pickle(address),
        None => Ok(bound),
    });
    bound.map_err(|error| EngineError { reason: error.to_string() })
}

fn bind_results(address: SocketAddr) -> Result<TcpListener, EngineError> {
    TcpListener::bind(address).map_err(|error| EngineError {
        reason: format!(
            "live results cannot be served on {address}: {error}; give `--results` another address"
        ),
    })
}

fn serve_results(bound: TcpListener, bus: &Arc<dyn Bus>) -> Result<ResultStream, EngineError> {
    ResultStream::serve(bound, Arc::clone(bus))
        .map_err(|error| EngineError::new("serving live results", &error))
}

/// Sockets that nobody asked for are not served.
fn is_wanted(role: Role, options: &EngineOptions) -> bool {
    match role {
        Role::Results => options.results.is_some() || raises_alerts(options),
        Role::Http => options.http.is_some() || options.web_app.is_some(),
        Role::Listener | Role::Storer | Role::Scheduler | Role::Anomaly => true,
    }
}

/// Alerts go with the role that serves finished rows.
fn raises_alerts(options: &EngineOptions) -> bool {
    options.roles.has(Role::Results) && !options.alerts.is_empty()
}

pub(super) fn start_alerts(
    options: &EngineOptions,
    repository: Option<&Arc<dyn Repository>>,
    bus: &Arc<dyn Bus>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<AlertThreads>, EngineError> {
    // In one process also without a rule, so that this is known later. With a broker somebody else may have rules.
    let is_wanted = raises_alerts(options) || options.bus == BusChoice::Memory;
    let Some(repository) = repository.filter(|_| is_wanted) else { return Ok(None) };
    let started = AlertThreads::start(&options.alerts, repository, bus, clock);
    started.map_err(|error| EngineError::new("starting the threads of alerts", &error))
}

/// The one plain key may do everything, as it could when it was the only one.
pub(super) fn http_keys(http_key: Option<&Secret>, api_keys: &[ApiKey]) -> Vec<ApiKey> {
    let plain = http_key.map(|key| ApiKey::of_plain(PLAIN_KEY_NAME, KeyRole::Admin, key.reveal()));
    plain.into_iter().chain(api_keys.iter().cloned()).collect()
}

/// Beside all other roles in one process, or in a process of its own.
fn start_http(shared: &Shared, runtime: &Handle) -> Result<Option<HttpServer>, EngineError> {
    let options = &shared.options;
    let wanted = HttpOptions {
        api: options.http,
        is_api_asked_for: options.is_http_asked_for,
        web_app: options.web_app,
        slash_names: options.web_app_slash_names,
        limits: options.limits,
        keys: http_keys(options.http_key.as_ref(), &options.api_keys),
        is_open: options.http_open,
        tls: options.http_tls.clone(),
        hosts: options.http_hosts.clone(),
        data_dir: options.data_dir.clone(),
        settings: shared.live.shown_settings.clone(),
    };
    let is_played = options.roles.has(Role::Http) && is_wanted(Role::Http, options);
    let (true, Some(repository)) = (is_played, &shared.repository) else { return Ok(None) };
    let random: Arc<dyn RandomBytes> =
        Arc::new(SystemRandom::open().map_err(|error| EngineError::new("opening /dev/urandom", &error))?);
    let (bus, clock) = (Arc::clone(&shared.bus), Arc::clone(&shared.clock));
    let operations = Operations::new(Arc::clone(repository), Some(bus), clock, random)
        .with_model_store(model_store(options))
        .with_alerts(shared.live.alerts.clone())
        .with_max_metrics(options.new_names.max_metrics);
    let started = HttpServer::start(wanted, Arc::new(operations), runtime);
    started.map(Some).map_err(|error| EngineError { reason: error.to_string() })
}

/// Beside the scheduler, whose model files say what may go.
pub(super) fn start_garbage(
    options: &EngineOptions,
    repository: Option<&Arc<dyn Repository>>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<StoppableThread>, EngineError> {
    let Some(repository) = repository.filter(|_| options.roles.has(Role::Scheduler)) else {
        return Ok(None);
    };
    if options.retention_days == 0 {
        return Ok(None);
    }
    let collector = GarbageCollector {
        repository: Arc::clone(repository),
        store: model_store(options),
        clock: Arc::clone(clock),
        threshold_days: options.retention_days,
    };
    let started = collector.spawn(DEFAULT_INTERVAL);
    started.map(Some).map_err(|error| EngineError::new("starting the garbage collector's thread", &error))
}

/// Beside the storer, where lines are counted.
fn start_self_series(shared: &Shared) -> Result<Option<StoppableThread>, EngineError> {
    let options = &shared.options;
    let is_played = options.self_series && options.roles.has(Role::Storer);
    let (true, Some(repository)) = (is_played, &shared.repository) else { return Ok(None) };
    let random: Arc<dyn RandomBytes> =
        Arc::new(SystemRandom::open().map_err(|error| EngineError::new("opening /dev/urandom", &error))?);
    let (bus, clock) = (Arc::clone(&shared.bus), Arc::clone(&shared.clock));
    let series = SelfSeries {
        operations: Operations::new(Arc::clone(repository), None, Arc::clone(&clock), random),
        bus,
        clock,
        gauge: Gauge::new(&options.data_dir),
        host: machine::host_name(),
    };
    let started = series.spawn(self_series::INTERVAL);
    started
        .map(Some)
        .map_err(|error| EngineError::new("starting the thread of the engine's own series", &error))
}

/// Publishes the lines that an earlier engine kept, where lines are taken; tells whether others may follow. They may not once
/// `stop` is raised or a role has ended: the rest of the kept ones is still in its file.
fn publish_kept(shared: &Shared, stop: &AtomicBool, threads: &Threads) -> bool {
    if !shared.options.roles.has(Role::Listener) {
        return true;
    }
    let path = shared.options.data_dir.join(KEPT_LINES_FILE);
    let is_over = || stop.load(Ordering::Relaxed) || threads.has_ended();
    match unpublished::publish(&path, shared.bus.data(), &is_over) {
        Ok(Published::Nothing) => true,
        Ok(Published::Lines(count)) => {
            tracing::info!("{count} lines that an earlier engine had taken in were published");
            true
        }
        Ok(Published::Interrupted) => false,
        Err(error) => {
            let shown = path.display();
            tracing::error!("lines that an earlier engine kept in {shown} are not published: {error}");
            true
        }
    }
}

fn start_storer(
    shared: &mut Shared,
    repository: &Arc<dyn Repository>,
    threads: &mut Threads,
) -> Result<(), EngineError> {
    let random: Arc<dyn RandomBytes> =
        Arc::new(SystemRandom::open().map_err(|error| EngineError::new("opening /dev/urandom", &error))?);
    let options = &shared.options;
    let mut storer = Storer::new(StorerParts {
        bus: Arc::clone(&shared.bus),
        repository: Arc::clone(repository),
        clock: Arc::clone(&shared.clock),
        ledger: Arc::clone(&shared.ledger),
        random,
        options: StorerOptions {
            monitor: options.monitor.clone(),
            learning_rows: Some(options.learning_rows).filter(|rows| *rows != DEFAULT_LEARNING_ROWS),
            limits: options.limits,
            new_names: options.new_names,
        },
    });
    let signals = Arc::clone(&shared.signals);
    let kept = options.data_dir.join(KEPT_LINES_FILE);
    let is_local = options.bus == BusChoice::Memory;
    threads.in_hand = storer.in_hand();
    shared.live.monitor = Some(storer.patterns());
    threads.storer = Some(start_thread("storer", move || {
        if !is_local {
            return storer.run_until(&signals.finish_storer);
        }
        storer.run_behind_kept(&kept, &signals.stop_waiting, &signals.give_up)
    })?);
    Ok(())
}

fn start_scheduler(
    shared: &Shared,
    repository: &Arc<dyn Repository>,
) -> Result<SchedulerThread, EngineError> {
    let options = &shared.options;
    let mut scheduler = Scheduler::new(SchedulerParts {
        bus: Arc::clone(&shared.bus),
        repository: Arc::clone(repository),
        clock: Arc::clone(&shared.clock),
        store: model_store(options),
        workers: Workers::of_jobs(options.jobs)
            .map_err(|error| EngineError::new("starting the worker threads", &error))?,
        desk: Arc::clone(&shared.desk),
        figures: Arc::clone(&shared.figures),
        options: scheduler_options(options),
    });
    let signals = Arc::clone(&shared.signals);
    start_thread("scheduler", move || {
        let result = scheduler.run(&signals.stop_scheduler);
        (scheduler, result)
    })
}

fn start_anomaly(shared: &Shared, repository: &Arc<dyn Repository>) -> Result<RoleThread, EngineError> {
    let mut anomaly =
        Anomaly::new(Arc::clone(&shared.bus), Arc::clone(repository), Arc::clone(&shared.clock));
    let signals = Arc::clone(&shared.signals);
    let is_local = shared.options.bus == BusChoice::Memory;
    let drain = if shared.options.roles.has(Role::Scheduler) { SCORES_DRAIN } else { Duration::ZERO };
    start_thread("anomaly", move || {
        let may_wait = || !signals.stop_waiting.load(Ordering::Relaxed);
        // In one process the queue is closed when nothing comes any more.
        let is_finishing = || !is_local && signals.finish_anomaly.load(Ordering::Relaxed);
        let is_given_up = || signals.give_up.load(Ordering::Relaxed);
        anomaly.run(may_wait, is_finishing, is_given_up, drain)
    })
}

fn start_control(shared: &Shared) -> Result<JoinHandle<Control>, EngineError> {
    let mut control = Control {
        data_dir: shared.options.data_dir.clone(),
        bus: Arc::clone(&shared.bus),
        clock: Arc::clone(&shared.clock),
        desk: Arc::clone(&shared.desk),
        figures: Arc::clone(&shared.figures),
        started_at: shared.clock.unix_seconds(),
        waiting: Vec::new(),
    };
    let signals = Arc::clone(&shared.signals);
    start_thread("control", move || {
        control.run(&signals.stop_control);
        control
    })
}

/// The storer keeps the ledger; where there is none, the log does.
fn start_ledger_log(shared: &Shared) -> Result<JoinHandle<()>, EngineError> {
    let (ledger, clock) = (Arc::clone(&shared.ledger), Arc::clone(&shared.clock));
    let signals = Arc::clone(&shared.signals);
    start_thread("ledger", move || {
        let mut next = Duration::ZERO;
        loop {
            let is_last = signals.stop_control.load(Ordering::Relaxed);
            let now = clock.monotonic();
            if is_last || now >= next {
                next = now + LEDGER_LOG_INTERVAL;
                for entry in ledger.drain() {
                    tracing::warn!(
                        "{} refused as {}, the latest `{}`: {}",
                        entry.count,
                        entry.reason.name(),
                        entry.example,
                        entry.reason.advice()
                    );
                }
            }
            if is_last {
                return;
            }
            thread::sleep(LEDGER_STOP_CHECK);
        }
    })
}

fn start_thread<T: Send + 'static>(
    name: &str,
    role: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, EngineError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(role)
        .map_err(|error| EngineError::new(&format!("starting the {name}'s thread"), &error))
}

fn scheduler_options(options: &EngineOptions) -> SchedulerOptions {
    // Everything that happens in one process over its own database is heard of.
    let is_alone = options.bus == BusChoice::Memory && options.repository == RepositoryChoice::Sqlite;
    SchedulerOptions {
        checkpoint_rows: options.checkpoint_rows,
        memory_budget_bytes: options.memory_budget_bytes,
        max_resident_models: options.max_resident_models.unwrap_or_else(machine::max_resident_models),
        rescan_interval: (!is_alone).then_some(RESCAN_INTERVAL),
    }
}

fn model_store(options: &EngineOptions) -> ModelStore {
    let folder = options.models_dir.clone().unwrap_or_else(|| options.data_dir.join(MODELS_FOLDER));
    ModelStore::new(Arc::new(DiskFiles), folder).with_cache_bytes(file_cache_bytes(options))
}

/// What is left of the memory when the models' budget is used up, or as the settings say.
fn file_cache_bytes(options: &EngineOptions) -> u64 {
    let left = || {
        let budget = options.memory_budget_bytes as u64;
        machine::memory().map_or(u64::MAX, |memory| memory.available.saturating_sub(budget))
    };
    options.file_cache_bytes.unwrap_or_else(left)
}
