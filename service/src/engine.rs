//! The engine: any of the roles in one process, wired to one bus and one repository.
//!
//! Starting (`engine/start.rs`) locks the roles, binds the sockets, waits for database and broker and starts one thread
//! per role. Stopping goes the way of a sample. With the bus in this process: the listener hands over what it has, the
//! storer stores it, the scheduler finishes its turn, the anomaly role commits all scores, and only then are the models
//! saved. With a broker nothing has to be drained: each role finishes and acknowledges what it holds, the rest waits
//! there. Rows that were stored and not stepped are stepped next time. All of it has until a deadline (`engine/drain.rs`); what
//! is over then is told, and lines that could not be stored are kept for the next start.
//!
//! Invariants: one of each role per data folder, by locks on files in it (`engine/lock.rs`); roles alone meet only at a
//! broker.
//!
//! Source: htmengine's four services under supervisord. Departures: one process may play all of them; what is not there
//! yet is waited for at the start instead of failing until supervisord has had enough.

pub mod lock;
pub mod patience;
pub mod role;

mod drain;
mod live;
mod open_files;
mod start;
mod unpublished;

use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;

use self::live::Live;
pub use self::lock::LOCK_FILE;
use self::role::Roles;
use crate::alerts::AlertSettings;
use crate::alerts::role::AlertThreads;
use crate::api_key::ApiKey;
use crate::backends::{BusChoice, RepositoryChoice};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::layer::Secret;
use crate::config::table::Entry;
use crate::control::Control;
use crate::http::server::HttpServer;
use crate::listener::{ListenerHandle, ListenerOptions};
use crate::model_params::DEFAULT_LEARNING_ROWS;
use crate::repository::{Repository, RepositoryError};
use crate::results::stream::ResultStream;
use crate::sample::SampleLimits;
use crate::scheduler::Scheduler;
use crate::scheduler::figures::SchedulerFigures;
use crate::stoppable_thread::StoppableThread;
use crate::storer::kept_lines::LinesInHand;
use crate::storer::new_names::NewNameLimits;
use crate::tls::TlsFiles;

/// The folder of model files in a data folder.
pub const MODELS_FOLDER: &str = "models";
/// How long a stop may take unless told otherwise: less than the 90 s that the units for systemd and supervisord give it.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(60);
/// How long a stop lets the anomaly role work off scores that wait at a broker, if their models are in this process.
const SCORES_DRAIN: Duration = Duration::from_secs(10);

/// What an engine is to do.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "settings of their own, in any combination")]
pub struct EngineOptions {
    /// Which roles this process plays.
    pub roles: Roles,
    /// Where database and model files lie; made if missing.
    pub data_dir: PathBuf,
    /// Where model files lie; `None` for [`MODELS_FOLDER`] in the data folder.
    pub models_dir: Option<PathBuf>,
    /// Where rows lie.
    pub repository: RepositoryChoice,
    /// Where roles meet.
    pub bus: BusChoice,
    /// The HTTP API; `None` for none.
    pub http: Option<SocketAddr>,
    /// Whether somebody named its address; where nobody did, an engine whose address is taken runs without it.
    pub is_http_asked_for: bool,
    /// What requests to it must show; `None` lets everybody in.
    pub http_key: Option<Secret>,
    /// Further keys, each with what its holder may do.
    pub api_keys: Vec<ApiKey>,
    /// Whether everybody may be let in on an address that others can reach.
    pub http_open: bool,
    /// Certificate and key of the HTTP servers; `None` for plain HTTP.
    pub http_tls: Option<TlsFiles>,
    /// Names by which requests may call the HTTP servers, beside those of this machine.
    pub http_hosts: Vec<String>,
    /// The effective settings, for people who ask over HTTP.
    pub shown_settings: Vec<Entry>,
    /// The routes of the original's skeleton web application, on a port of their own; `None` for none.
    pub web_app: Option<SocketAddr>,
    /// Whether metrics of the web application keep the leading slash of their path in their name.
    pub web_app_slash_names: bool,
    /// Rows older than so many days are deleted as far as no model needs them; 0 for never.
    pub retention_days: u32,
    /// Rules and channels of alerts; without a rule there are none.
    pub alerts: AlertSettings,
    /// Graphite lines over TCP, and over UDP if `udp`.
    pub graphite: SocketAddr,
    /// Whether to listen on UDP too.
    pub udp: bool,
    /// Frames of pickled samples over TCP; `None` for none.
    pub pickle: Option<SocketAddr>,
    /// Where, if not on the address of `graphite`.
    pub graphite_udp: Option<SocketAddr>,
    /// Live results as newline-delimited JSON.
    pub results: Option<SocketAddr>,
    /// New metrics whose name matches one of these are monitored.
    pub monitor: Vec<String>,
    /// Rows that the range of such a metric is learned from; within [`crate::model_params::LEARNING_ROWS`].
    pub learning_rows: u32,
    /// Whether the engine's own figures become metrics of its own, every minute.
    pub self_series: bool,
    /// Models stepped at once; 0 for one per core.
    pub jobs: usize,
    /// A model is saved after so many rows.
    pub checkpoint_rows: i64,
    /// Memory for models.
    pub memory_budget_bytes: usize,
    /// Models in memory at once; `None` for what the kernel's limit on mappings allows.
    pub max_resident_models: Option<usize>,
    /// Page cache that model files may count on; `None` for what memory the budget leaves. Larger ones altogether go
    /// past it.
    pub file_cache_bytes: Option<u64>,
    /// What a sample may look like.
    pub limits: SampleLimits,
    /// How many metrics samples may make.
    pub new_names: NewNameLimits,
    /// Connections and time-outs.
    pub listener: ListenerOptions,
    /// How long a stop may take to store what was taken in and to save models.
    pub drain: Duration,
}

impl EngineOptions {
    /// The defaults with this data folder and address.
    pub fn new(data_dir: PathBuf, graphite: SocketAddr) -> Self {
        Self {
            roles: Roles::All,
            data_dir,
            models_dir: None,
            repository: RepositoryChoice::default(),
            bus: BusChoice::default(),
            http: None,
            is_http_asked_for: true,
            http_key: None,
            api_keys: Vec::new(),
            http_open: false,
            http_tls: None,
            http_hosts: Vec::new(),
            shown_settings: Vec::new(),
            web_app: None,
            web_app_slash_names: false,
            retention_days: 0,
            alerts: AlertSettings::default(),
            graphite,
            udp: true,
            pickle: None,
            graphite_udp: None,
            results: None,
            monitor: Vec::new(),
            learning_rows: DEFAULT_LEARNING_ROWS,
            self_series: false,
            jobs: 0,
            checkpoint_rows: 1000,
            memory_budget_bytes: 2 << 30,
            max_resident_models: None,
            file_cache_bytes: None,
            limits: SampleLimits::default(),
            new_names: NewNameLimits::default(),
            listener: ListenerOptions::default(),
            drain: DEFAULT_DRAIN,
        }
    }
}

/// A running engine.
pub struct Engine {
    options: EngineOptions,
    live: Live,
    /// Whether the bus is in this process, and gone with it.
    is_local: bool,
    graphite: Option<SocketAddr>,
    udp: Option<SocketAddr>,
    pickle: Option<SocketAddr>,
    results: Option<ResultStream>,
    http: Option<HttpServer>,
    garbage: Option<StoppableThread>,
    self_series: Option<StoppableThread>,
    alerts: Option<AlertThreads>,
    threads: Threads,
    signals: Arc<Signals>,
    clock: Arc<dyn Clock>,
    figures: Arc<Mutex<SchedulerFigures>>,
    bus: Arc<dyn Bus>,
    repository: Option<Arc<dyn Repository>>,
    runtime: Runtime,
    /// Held, and let go by the operating system even if this process is killed.
    _locks: Vec<File>,
}

type RoleThread = JoinHandle<Result<(), RepositoryError>>;
type SchedulerThread = JoinHandle<(Scheduler, Result<(), RepositoryError>)>;

/// The roles at work.
#[derive(Default)]
struct Threads {
    listener: Option<ListenerHandle>,
    storer: Option<RoleThread>,
    /// What the storer is about to store.
    in_hand: LinesInHand,
    scheduler: Option<SchedulerThread>,
    anomaly: Option<RoleThread>,
    /// Where the scheduler is.
    control: Option<JoinHandle<Control>>,
    /// Where lines are refused and no storer keeps the ledger.
    ledger: Option<JoinHandle<()>>,
}

impl Threads {
    /// Whether one has, by itself.
    fn has_ended(&self) -> bool {
        self.storer.as_ref().is_some_and(JoinHandle::is_finished)
            || self.scheduler.as_ref().is_some_and(JoinHandle::is_finished)
            || self.anomaly.as_ref().is_some_and(JoinHandle::is_finished)
            || self.listener.as_ref().is_some_and(ListenerHandle::is_finished)
    }
}

/// What ends them.
#[derive(Debug, Default)]
struct Signals {
    /// Raised to end all waiting for a database that is away.
    stop_waiting: AtomicBool,
    /// Raised, with a broker, to let the storer end when it holds nothing.
    finish_storer: AtomicBool,
    /// Raised to end the scheduler's stepping.
    stop_scheduler: AtomicBool,
    /// Raised, with a broker, to let the anomaly role end when it holds nothing.
    finish_anomaly: AtomicBool,
    /// Raised when nothing is answered any more.
    stop_control: AtomicBool,
    /// Raised when the time to drain is over: roles end after their turn.
    give_up: AtomicBool,
}

impl Engine {
    /// Starts an engine.
    ///
    /// # Errors
    /// If a role runs over the data folder already, the folder cannot be written, an address is taken, or database or
    /// broker refuse us. Where they are only away, they are waited for.
    pub fn start(options: EngineOptions) -> Result<Self, EngineError> {
        let started = Self::start_unless(options, &AtomicBool::new(false))?;
        started.ok_or_else(|| EngineError { reason: "nobody asked to stop the start".to_owned() })
    }

    /// As [`Engine::start`], but `None` once `stop` is raised while database or broker are waited for.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_unless(options: EngineOptions, stop: &AtomicBool) -> Result<Option<Self>, EngineError> {
        start::start(options, stop)
    }

    /// Where Graphite lines are taken over TCP.
    ///
    /// # Panics
    /// If this engine has no listener.
    pub fn graphite_address(&self) -> SocketAddr {
        self.graphite.expect("only asked of an engine with a listener")
    }

    /// Where they are taken over UDP.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.udp
    }

    /// Where frames of pickled samples are taken.
    pub fn pickle_address(&self) -> Option<SocketAddr> {
        self.pickle
    }

    /// Where live results are served.
    pub fn results_address(&self) -> Option<SocketAddr> {
        self.results.as_ref().map(ResultStream::address)
    }

    /// Where the HTTP API is served.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(HttpServer::api_address)
    }

    /// What addresses of the HTTP servers begin with.
    pub fn http_scheme(&self) -> &'static str {
        if self.http.as_ref().is_some_and(HttpServer::is_tls) { "https" } else { "http" }
    }

    /// Where the skeleton web application is served.
    pub fn web_app_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(HttpServer::web_app_address)
    }

    /// The bus, to follow results within this process.
    pub fn bus(&self) -> &dyn Bus {
        &*self.bus
    }

    /// The repository, to look at rows within this process.
    ///
    /// # Panics
    /// If none of this engine's roles needs one.
    pub fn repository(&self) -> &Arc<dyn Repository> {
        self.repository.as_ref().expect("only asked of an engine with rows")
    }

    /// What it does with its models, in numbers.
    pub fn figures(&self) -> SchedulerFigures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a role, or a thread beside them, has ended by itself, which only a fatal error or a panic makes it do;
    /// [`Self::stop`] then says why.
    pub fn has_failed(&self) -> bool {
        self.threads.has_ended()
            || self.garbage.as_ref().is_some_and(StoppableThread::is_finished)
            || self.self_series.as_ref().is_some_and(StoppableThread::is_finished)
            || self.alerts.as_ref().is_some_and(AlertThreads::has_finished)
    }
}

/// Why an engine did not start or did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// Found, expected, what to do.
    pub reason: String,
}

impl EngineError {
    fn new(doing: &str, error: &dyn fmt::Display) -> Self {
        Self { reason: format!("{doing} failed: {error}") }
    }
}

impl From<RepositoryError> for EngineError {
    fn from(error: RepositoryError) -> Self {
        Self { reason: error.to_string() }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for EngineError {}
