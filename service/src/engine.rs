//! The engine: all roles in one process, wired to one bus and one repository.
//!
//! Starting binds the sockets and starts one thread per role. Stopping goes the way of a sample: the listener
//! hands over what it has, the storer stores it, the scheduler finishes its turn, the anomaly role commits all
//! scores, and only then are the models saved; rows that were stored and not stepped are stepped next time.
//!
//! Invariant: one engine per data folder, by a lock on a file in it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::anomaly::Anomaly;
use crate::backends::{BusChoice, DATABASE_FILE, RepositoryChoice};
use crate::bus::Bus;
use crate::bus::memory::{MemoryBus, MemoryBusLimits};
use crate::clock::{Clock, SystemClock};
use crate::control::Control;
use crate::file_system::DiskFiles;
use crate::listener::{self, ListenerHandle, ListenerOptions};
use crate::machine;
use crate::monitoring::{RandomBytes, SystemRandom};
use crate::reject::RejectLedger;
use crate::repository::sqlite::{OpenMode, SqliteRepository};
use crate::repository::{Repository, RepositoryError};
use crate::results::stream::ResultStream;
use crate::sample::SampleLimits;
use crate::scheduler::checkpoint_desk::CheckpointDesk;
use crate::scheduler::figures::SchedulerFigures;
use crate::scheduler::model_store::ModelStore;
use crate::scheduler::{Scheduler, SchedulerOptions, SchedulerParts};
use crate::storer::{Storer, StorerOptions, StorerParts};

/// The folder of model files in a data folder.
pub const MODELS_FOLDER: &str = "models";
/// The file that a running engine holds locked.
pub const LOCK_FILE: &str = "engine.lock";

/// What an engine is to do.
#[derive(Debug, Clone)]
pub struct EngineOptions {
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
    /// The routes of the original's skeleton web application, on a port of their own; `None` for none.
    pub web_app: Option<SocketAddr>,
    /// Graphite lines over TCP, and over UDP if `udp`.
    pub graphite: SocketAddr,
    /// Whether to listen on UDP too, on the same port.
    pub udp: bool,
    /// Live results as newline-delimited JSON.
    pub results: Option<SocketAddr>,
    /// New metrics whose name matches one of these are monitored.
    pub monitor: Vec<String>,
    /// Worker threads; 0 for one per core.
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
    /// Connections and time-outs.
    pub listener: ListenerOptions,
}

impl EngineOptions {
    /// The defaults with this data folder and address.
    pub fn new(data_dir: PathBuf, graphite: SocketAddr) -> Self {
        Self {
            data_dir,
            models_dir: None,
            repository: RepositoryChoice::default(),
            bus: BusChoice::default(),
            http: None,
            web_app: None,
            graphite,
            udp: true,
            results: None,
            monitor: Vec::new(),
            jobs: 0,
            checkpoint_rows: 1000,
            memory_budget_bytes: 2 << 30,
            max_resident_models: None,
            file_cache_bytes: None,
            limits: SampleLimits::default(),
            listener: ListenerOptions::default(),
        }
    }
}

/// A running engine.
pub struct Engine {
    graphite: SocketAddr,
    udp: Option<SocketAddr>,
    results: Option<ResultStream>,
    bus: Arc<MemoryBus>,
    repository: Arc<dyn Repository>,
    listener: ListenerHandle,
    storer: JoinHandle<Result<(), RepositoryError>>,
    scheduler: JoinHandle<(Scheduler, Result<(), RepositoryError>)>,
    anomaly: JoinHandle<Result<(), RepositoryError>>,
    control: JoinHandle<Control>,
    figures: Arc<Mutex<SchedulerFigures>>,
    /// Raised when nothing is answered any more.
    stop_control: Arc<AtomicBool>,
    /// Raised to end the scheduler's stepping.
    stop_scheduler: Arc<AtomicBool>,
    /// Raised to end all waiting for a database that is away.
    stop_waiting: Arc<AtomicBool>,
    /// Held, and let go by the operating system even if this process is killed.
    _lock: File,
}

impl Engine {
    /// Starts an engine.
    ///
    /// # Errors
    /// If the data folder is in use or cannot be written, the database is not usable, or an address is taken.
    pub fn start(options: EngineOptions) -> Result<Self, EngineError> {
        let lock = lock_data_dir(&options.data_dir)?;
        let database = options.data_dir.join(DATABASE_FILE);
        let repository: Arc<dyn Repository> =
            Arc::new(SqliteRepository::open(&database, OpenMode::ReadWriteCreate)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let random: Arc<dyn RandomBytes> =
            Arc::new(SystemRandom::open().map_err(|error| EngineError::new("opening /dev/urandom", &error))?);
        let bus = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
        let shared: Arc<dyn Bus> = Arc::clone(&bus) as Arc<dyn Bus>;
        let ledger = Arc::new(RejectLedger::new());
        let desk: Arc<CheckpointDesk> = Arc::default();
        let figures: Arc<Mutex<SchedulerFigures>> = Arc::default();
        if let Err(error) = machine::raise_file_limit() {
            tracing::warn!("the limit on open files could not be raised: {error}");
        }

        let bound = listener::bind(options.graphite, options.udp.then_some(options.graphite))
            .map_err(|error| EngineError { reason: error.to_string() })?;
        let results = options.results.map(|address| start_results(address, &shared)).transpose()?;
        let scheduler = Scheduler::new(SchedulerParts {
            bus: Arc::clone(&shared),
            repository: Arc::clone(&repository),
            clock: Arc::clone(&clock),
            store: model_store(&options),
            workers: worker_threads(options.jobs)?,
            desk: Arc::clone(&desk),
            figures: Arc::clone(&figures),
            options: scheduler_options(&options),
        })?;
        let storer = Storer::new(StorerParts {
            bus: Arc::clone(&shared),
            repository: Arc::clone(&repository),
            clock: Arc::clone(&clock),
            ledger: Arc::clone(&ledger),
            random,
            options: StorerOptions { monitor: options.monitor, limits: options.limits },
        });
        let anomaly = Anomaly::new(Arc::clone(&shared), Arc::clone(&repository), Arc::clone(&clock));

        let stop_scheduler = Arc::new(AtomicBool::new(false));
        let stop_waiting = Arc::new(AtomicBool::new(false));
        let stop_control = Arc::new(AtomicBool::new(false));
        let control = Control {
            data_dir: options.data_dir,
            bus: Arc::clone(&shared),
            clock: Arc::clone(&clock),
            desk,
            figures: Arc::clone(&figures),
            started_at: clock.unix_seconds(),
            waiting: Vec::new(),
        };
        Ok(Self {
            graphite: bound.tcp_address(),
            udp: bound.udp_address(),
            results,
            storer: start_storer(storer, &stop_waiting)?,
            scheduler: start_scheduler(scheduler, &stop_scheduler)?,
            anomaly: start_anomaly(anomaly, &stop_waiting)?,
            control: start_control(control, &stop_control)?,
            figures,
            stop_control,
            listener: bound.spawn(shared, ledger, clock, options.listener),
            bus,
            repository,
            stop_scheduler,
            stop_waiting,
            _lock: lock,
        })
    }

    /// Where Graphite lines are taken over TCP.
    pub fn graphite_address(&self) -> SocketAddr {
        self.graphite
    }

    /// Where they are taken over UDP.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.udp
    }

    /// Where live results are served.
    pub fn results_address(&self) -> Option<SocketAddr> {
        self.results.as_ref().map(ResultStream::address)
    }

    /// The bus, to follow results within this process.
    pub fn bus(&self) -> &dyn Bus {
        &*self.bus
    }

    /// The repository, to look at rows within this process.
    pub fn repository(&self) -> &Arc<dyn Repository> {
        &self.repository
    }

    /// What it does with its models, in numbers.
    pub fn figures(&self) -> SchedulerFigures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a role has ended by itself, which only a fatal error makes it do; [`Self::stop`] then says why.
    pub fn has_failed(&self) -> bool {
        self.storer.is_finished()
            || self.scheduler.is_finished()
            || self.anomaly.is_finished()
            || self.listener.is_finished()
    }

    /// Drains and saves: every sample accepted is stored, every score computed is committed, every model saved.
    ///
    /// # Errors
    /// What ended a role, if one failed.
    pub fn stop(self) -> Result<(), EngineError> {
        self.listener.stop();
        self.bus.data().close();
        self.stop_waiting.store(true, Ordering::Relaxed);
        let storer = joined("storer", self.storer.join())?;
        self.bus.hints().close();
        self.stop_scheduler.store(true, Ordering::Relaxed);
        let (mut scheduler, stepped) = joined("scheduler", self.scheduler.join())?;
        self.bus.scores().close();
        let anomaly = joined("anomaly", self.anomaly.join())?;
        let saved = scheduler.save_all().map(|_| ());
        self.stop_control.store(true, Ordering::Relaxed);
        joined("control", self.control.join())?.write_figures(true);
        self.bus.close();
        storer.and(stepped).and(anomaly).and(saved).map_err(EngineError::from)
    }
}

fn scheduler_options(options: &EngineOptions) -> SchedulerOptions {
    SchedulerOptions {
        checkpoint_rows: options.checkpoint_rows,
        memory_budget_bytes: options.memory_budget_bytes,
        max_resident_models: options.max_resident_models.unwrap_or_else(machine::max_resident_models),
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

fn start_results(address: SocketAddr, bus: &Arc<dyn Bus>) -> Result<ResultStream, EngineError> {
    TcpListener::bind(address).and_then(|listener| ResultStream::serve(listener, Arc::clone(bus))).map_err(
        |error| EngineError {
            reason: format!(
                "live results cannot be served on {address}: {error}; give `--results` another address"
            ),
        },
    )
}

fn start_storer(
    mut storer: Storer,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<Result<(), RepositoryError>>, EngineError> {
    let stop = Arc::clone(stop);
    start_role("storer", move || storer.run(&stop))
}

type SchedulerThread = JoinHandle<(Scheduler, Result<(), RepositoryError>)>;

fn start_scheduler(mut scheduler: Scheduler, stop: &Arc<AtomicBool>) -> Result<SchedulerThread, EngineError> {
    let stop = Arc::clone(stop);
    start_role("scheduler", move || {
        let result = scheduler.run(&stop);
        (scheduler, result)
    })
}

fn start_anomaly(
    mut anomaly: Anomaly,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<Result<(), RepositoryError>>, EngineError> {
    let stop = Arc::clone(stop);
    start_role("anomaly", move || anomaly.run(|| !stop.load(Ordering::Relaxed)))
}

fn start_control(mut control: Control, stop: &Arc<AtomicBool>) -> Result<JoinHandle<Control>, EngineError> {
    let stop = Arc::clone(stop);
    start_role("control", move || {
        control.run(&stop);
        control
    })
}

fn start_role<T: Send + 'static>(
    name: &str,
    role: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, EngineError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(role)
        .map_err(|error| EngineError::new(&format!("starting the {name}'s thread"), &error))
}

fn joined<T>(name: &str, result: thread::Result<T>) -> Result<T, EngineError> {
    result.map_err(|_| EngineError {
        reason: format!("the {name} stopped with a panic (see the log); nothing stored is lost: start again"),
    })
}

fn worker_threads(jobs: usize) -> Result<rayon::ThreadPool, EngineError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .thread_name(|index| format!("model worker {index}"))
        .build()
        .map_err(|error| EngineError::new("starting the worker threads", &error))
}

fn lock_data_dir(data_dir: &Path) -> Result<File, EngineError> {
    let shown = data_dir.display();
    fs::create_dir_all(data_dir)
        .map_err(|error| EngineError::new(&format!("making the data folder {shown}"), &error))?;
    let path = data_dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| EngineError::new(&format!("opening {}", path.display()), &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EngineError {
            reason: format!(
                "another engine uses the data folder {shown}; stop it, or give this one another `--data-dir`"
            ),
        }),
        Err(TryLockError::Error(error)) => {
            Err(EngineError::new(&format!("locking {}", path.display()), &error))
        }
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
