//! The effective settings of one process, and what is opened with them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use htm_core::ids::ModelId;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use super::access;
use super::address::{self, BrokerKind, DatabaseKind};
use super::environment::{
    BROKER_VARIABLE, DATABASE_VARIABLE, Environment, HTTP_KEY_VARIABLE, OLD_CONFIG_VARIABLE,
    OLD_OPTION_PREFIX, RABBITMQ_CONF_VARIABLE,
};
use super::flags::ConfigArgs;
use super::layer::{Layer, Secret, Setting};
use super::meaning::{Meaning, meaning};
use super::opened::{OpenBus, OpenRepository};
use super::original::Original;
use super::table::{Entry, Said};
use super::toml_file::{self, FromToml};
use super::{ConfigError, DEFAULT_DATA_DIR, DEFAULT_GRAPHITE_PORT, DEFAULT_HTTP};
use crate::alerts::AlertSettings;
use crate::alerts::channel::Channel;
use crate::backends::{self, BusChoice, RepositoryChoice};
use crate::bus::BusError;
use crate::bus::rabbitmq::RabbitSettings;
use crate::control;
use crate::engine::{EngineOptions, MODELS_FOLDER};
use crate::file_system::DiskFiles;
use crate::garbage::MAX_THRESHOLD_DAYS;
use crate::live_setting::LiveSetting;
use crate::model_params::{DEFAULT_LEARNING_ROWS, LEARNING_ROWS};
use crate::profiling;
use crate::repository::RepositoryError;
use crate::repository::mysql::MysqlSettings;
use crate::repository::sqlite::OpenMode;
use crate::scheduler::model_store::ModelStore;
use crate::storer::new_names::{DEFAULT_MAX_METRICS, DEFAULT_MAX_NEW_METRICS};

const MIB: usize = 1 << 20;
/// What is logged unless told otherwise.
const DEFAULT_LOG: &str = "info";

/// The effective settings.
#[derive(Debug)]
pub struct Settings {
    said: Said,
    original: Option<PathBuf>,
    warnings: Vec<String>,
    /// Started when something is opened that needs it.
    runtime: OnceLock<Arc<Runtime>>,
}

impl Settings {
    /// Settings from these flags and this process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with files, variables and flags.
    pub fn load(args: &ConfigArgs) -> Result<Self, ConfigError> {
        Self::load_with(args, Said::default())
    }

    /// As [`Self::load`], with what further flags say.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(args: &ConfigArgs, flags: Said) -> Result<Self, ConfigError> {
        Self::load_in(args, flags, &Environment::of_process())
    }

    /// As [`Self::load_with`], in this environment.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_in(args: &ConfigArgs, flags: Said, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut take = |read: Result<Said, String>| {
            read.unwrap_or_else(|problem| {
                problems.push(problem);
                Said::default()
            })
        };
        let flags = flags.or(take(from_flags(args)));
        let variables = take(from_environment(environment));
        let file = args.config.as_deref().map_or_else(|| Ok(FromToml::default()), toml_file::read);
        let file = file.unwrap_or_else(|problem| {
            problems.push(problem);
            FromToml::default()
        });
        let folder = environment.non_empty(OLD_CONFIG_VARIABLE).map(PathBuf::from);
        let mut old = Meaning::default();
        if let Some(folder) = &folder {
            let named = args.rabbitmq_conf.clone();
            let named = named.or_else(|| environment.non_empty(RABBITMQ_CONF_VARIABLE).map(PathBuf::from));
            let named = named.or_else(|| file.rabbitmq_conf.clone());
            match Original::read(folder, named.as_deref(), environment) {
                Ok(original) => old = meaning(&original),
                Err(found) => problems.extend(found),
            }
        } else if environment.names(OLD_OPTION_PREFIX).next().is_some() {
            old.warnings.push(format!(
                "the variables {OLD_OPTION_PREFIX}... have no effect: {OLD_CONFIG_VARIABLE} names no configuration folder"
            ));
        }
        problems.append(&mut old.problems);
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let said = flags.or(variables).or(old.environment).or(file.said).or(old.files);
        let said = said.or(defaults(folder.is_some()));
        if let Some(rows) = said.learning_rows.as_ref().filter(|rows| !LEARNING_ROWS.contains(&rows.value)) {
            let (least, most) = (LEARNING_ROWS.start(), LEARNING_ROWS.end());
            let problem =
                format!("learning_rows ({}) is {}; expected {least} to {most}", rows.layer, rows.value);
            return Err(ConfigError { problems: vec![problem] });
        }
        let problems = access::problems(&said);
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let settings = Self { said, original: folder, warnings: old.warnings, runtime: OnceLock::new() };
        settings.check_log()?;
        settings.check_alerts()?;
        Ok(settings)
    }

    fn check_log(&self) -> Result<(), ConfigError> {
        let Some(log) = &self.said.log else { return Ok(()) };
        let Err(error) = EnvFilter::try_new(&log.value) else { return Ok(()) };
        Err(ConfigError::new(format!(
            "log ({}) is '{}': {error}; expected error, warn, info, debug or trace, or such as \
             'info,htmengine::storer=debug'",
            log.layer,
            log.value.escape_debug()
        )))
    }

    /// A channel to the broker needs one.
    fn check_alerts(&self) -> Result<(), ConfigError> {
        let Some(setting) = &self.said.alert else { return Ok(()) };
        if self.broker_kind() == BrokerKind::Rabbitmq {
            return Ok(());
        }
        let problem = |channel: &Channel| {
            format!(
                "alert.channel '{}' ({}) is of kind exchange, and there is no broker; name one with `broker = \
                 \"amqp://...\"`, or give the channel another kind",
                channel.name, setting.layer
            )
        };
        let problems: Vec<String> = setting.value.exchange_channels().map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// Rules and channels of alerts.
    pub fn alerts(&self) -> AlertSettings {
        value(self.said.alert.as_ref(), AlertSettings::default())
    }

    /// The original's configuration folder, if it is in use.
    pub fn original_folder(&self) -> Option<&Path> {
        self.original.as_deref()
    }

    /// What was said without effect, and why it has none.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Logs the warnings, once at the start of an engine or role.
    pub fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!("configuration: {warning}");
        }
    }

    /// Every setting with its value and where it was said. Parts of a database or broker that is not used are left out.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = self.said.entries();
        let has_database = self.database_kind() == DatabaseKind::Mysql;
        let has_broker = self.broker_kind() == BrokerKind::Rabbitmq;
        entries.retain(|entry| match entry.name.split_once('.') {
            Some(("database", _)) => has_database,
            Some(("broker" | "queues", _)) => has_broker,
            _ => true,
        });
        // The only default that depends on another setting.
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name == "models_dir") {
            entry.value = self.models_dir().display().to_string().into();
        }
        entries
    }

    /// What was said of each setting, with all layers laid over one another.
    pub fn said(&self) -> &Said {
        &self.said
    }

    fn database_kind(&self) -> DatabaseKind {
        value(self.said.database.as_ref(), DatabaseKind::Sqlite)
    }

    fn broker_kind(&self) -> BrokerKind {
        value(self.said.broker.as_ref(), BrokerKind::Memory)
    }

    /// Where embedded database, figures, locks and requests lie.
    pub fn data_dir(&self) -> PathBuf {
        value(self.said.data_dir.as_ref(), PathBuf::from(DEFAULT_DATA_DIR))
    }

    /// Where model files lie.
    pub fn models_dir(&self) -> PathBuf {
        self.said
            .models_dir
            .as_ref()
            .map_or_else(|| self.data_dir().join(MODELS_FOLDER), |it| it.value.clone())
    }

    /// Which database.
    pub fn repository_choice(&self) -> RepositoryChoice {
        if self.database_kind() == DatabaseKind::Sqlite {
            return RepositoryChoice::Sqlite;
        }
        let (said, default) = (&self.said, MysqlSettings::default());
        let password = said.database_password.as_ref();
        RepositoryChoice::Mysql(MysqlSettings {
            host: value(said.database_host.as_ref(), default.host),
            port: value(said.database_port.as_ref(), default.port),
            user: value(said.database_user.as_ref(), default.user),
            password: password.map_or(default.password, |it| it.value.reveal().to_owned()),
            database: value(said.database_name.as_ref(), default.database),
            use_tls: value(said.database_tls.as_ref(), default.use_tls),
            ca: said.database_ca.as_ref().map(|it| it.value.clone()),
            max_connections: default.max_connections,
        })
    }

    /// Which bus.
    pub fn bus_choice(&self) -> BusChoice {
        if self.broker_kind() == BrokerKind::Memory {
            return BusChoice::Memory;
        }
        let (said, default) = (&self.said, RabbitSettings::default());
        let password = said.broker_password.as_ref();
        BusChoice::Rabbitmq(RabbitSettings {
            host: value(said.broker_host.as_ref(), default.host),
            port: value(said.broker_port.as_ref(), default.port),
            virtual_host: value(said.broker_vhost.as_ref(), default.virtual_host),
            user: value(said.broker_user.as_ref(), default.user),
            password: password.map_or(default.password, |it| it.value.reveal().to_owned()),
            use_tls: value(said.broker_tls.as_ref(), default.use_tls),
            ca: said.broker_ca.as_ref().map(|it| it.value.clone()),
            data_queue: value(said.data_queue.as_ref(), default.data_queue),
            hints_queue: value(said.hints_queue.as_ref(), default.hints_queue),
            scores_queue: value(said.scores_queue.as_ref(), default.scores_queue),
            results_exchange: value(said.results_exchange.as_ref(), default.results_exchange),
            max_data_messages: default.max_data_messages,
            extended_results: value(said.extended_results.as_ref(), default.extended_results),
        })
    }

    /// What an engine with these settings is to do.
    pub fn engine_options(&self) -> EngineOptions {
        let said = &self.said;
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_GRAPHITE_PORT));
        let mut options = EngineOptions::new(self.data_dir(), value(said.graphite.as_ref(), any));
        options.models_dir = Some(self.models_dir());
        options.repository = self.repository_choice();
        options.bus = self.bus_choice();
        options.http = said.http.as_ref().map(|it| it.value);
        options.is_http_asked_for = said.http.as_ref().is_some_and(|it| it.layer != Layer::Default);
        options.http_key = said.http_key.as_ref().map(|it| it.value.clone());
        options.api_keys = value(said.api_keys.as_ref(), Vec::new());
        options.http_open = value(said.http_open.as_ref(), false);
        options.http_tls = access::http_tls(said);
        options.http_hosts = value(said.http_hosts.as_ref(), Vec::new());
        options.shown_settings = self.entries();
        options.web_app = said.web_app.as_ref().map(|it| it.value);
        options.web_app_slash_names = value(said.web_app_slash_names.as_ref(), false);
        options.learning_rows = value(said.learning_rows.as_ref(), DEFAULT_LEARNING_ROWS);
        options.retention_days = value(said.retention_days.as_ref(), 0).min(MAX_THRESHOLD_DAYS);
        options.alerts = self.alerts();
        options.udp = value(said.udp.as_ref(), options.udp);
        options.pickle = said.pickle.as_ref().map(|it| it.value);
        options.graphite_udp = said.graphite_udp.as_ref().map(|it| it.value);
        options.listener.allowed_networks = LiveSetting::new(value(said.graphite_allow.as_ref(), Vec::new()));
        options.results = said.results.as_ref().map(|it| it.value);
        options.monitor = value(said.monitor.as_ref(), Vec::new());
        options.self_series = value(said.self_series.as_ref(), false);
        options.jobs = value(said.jobs.as_ref(), 0);
        if let Some(rows) = &said.checkpoint_rows {
            options.checkpoint_rows = i64::from(rows.value.max(1));
        }
        if let Some(mib) = &said.memory_budget_mib {
            options.memory_budget_bytes = mib.value.saturating_mul(MIB);
        }
        options.max_resident_models = said.max_resident_models.as_ref().map(|it| it.value);
        options.file_cache_bytes = said.file_cache_mib.as_ref().map(|it| it.value.saturating_mul(MIB as u64));
        if let Some(seconds) = &said.max_future_s {
            options.limits.max_future_seconds = i64::from(seconds.value);
        }
        if let Some(connections) = &said.max_connections {
            options.listener.max_connections = connections.value;
        }
        let time = |seconds: u64| {
            let never = u64::from(u32::MAX);
            Duration::from_secs(if seconds == 0 { never } else { seconds.min(never) })
        };
        if let Some(seconds) = &said.idle_timeout_s {
            options.listener.idle_timeout = time(seconds.value);
        }
        if let Some(seconds) = &said.line_timeout_s {
            options.listener.line_timeout = time(seconds.value);
        }
        if let Some(mib) = &said.max_unfinished_mib {
            options.listener.max_unfinished_bytes = mib.value.saturating_mul(MIB);
        }
        options.new_names.max_metrics = value(said.max_metrics.as_ref(), DEFAULT_MAX_METRICS);
        options.new_names.per_source = value(said.max_new_metrics.as_ref(), DEFAULT_MAX_NEW_METRICS);
        if let Some(seconds) = &said.drain_s {
            options.drain = Duration::from_secs(u64::from(seconds.value));
        }
        options
    }

    /// Whether the log is to have a line for every stage of the work.
    pub fn is_profiling(&self) -> bool {
        value(self.said.profiling.as_ref(), false)
    }

    /// What is logged unless `HTMENGINE_LOG` says otherwise.
    pub fn log_filter(&self) -> String {
        let log = value(self.said.log.as_ref(), DEFAULT_LOG.to_owned());
        if self.is_profiling() { format!("{log},{}=debug", profiling::TARGET) } else { log }
    }

    /// The store of model files.
    pub fn model_store(&self) -> ModelStore {
        ModelStore::new(Arc::new(DiskFiles), self.models_dir())
    }

    /// Removes the file of a model that its metric has given up. A running engine does so too; this is for when none
    /// runs. No engine writes it again: a model is saved only while its scores are in the database.
    ///
    /// # Errors
    /// What the file system said.
    pub fn remove_model_file(&self, id: &ModelId) -> Result<(), ConfigError> {
        let removed = self.model_store().remove(id);
        removed
            .map_err(|error| ConfigError::new(format!("the model file of {id} cannot be removed: {error}")))
    }

    /// Whether an engine runs over the data folder.
    ///
    /// # Errors
    /// If its lock cannot be looked at.
    pub fn is_engine_running(&self) -> Result<bool, ConfigError> {
        let data_dir = self.data_dir();
        control::is_engine_running(&data_dir).map_err(|error| {
            ConfigError::new(format!("the lock of {} cannot be looked at: {error}", data_dir.display()))
        })
    }

    /// Opens the repository.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub fn open_repository(&self, mode: OpenMode) -> Result<OpenRepository, RepositoryError> {
        let runtime = self.runtime().map_err(|reason| RepositoryError::Fatal { reason })?;
        let choice = self.repository_choice();
        let repository = backends::open_repository(&choice, &self.data_dir(), mode, runtime.handle())?;
        Ok(OpenRepository { repository, runtime })
    }

    /// Connects the bus, if roles meet at a broker; `None` if they meet inside one process, where nobody else can.
    ///
    /// # Errors
    /// [`BusError`] from the broker.
    pub fn connect_bus(&self) -> Result<Option<OpenBus>, BusError> {
        let choice = self.bus_choice();
        if choice == BusChoice::Memory {
            return Ok(None);
        }
        let runtime = self.runtime().map_err(|reason| BusError::Transient { reason })?;
        let bus = backends::connect_bus(&choice, runtime.handle())?;
        Ok(Some(OpenBus { bus, runtime }))
    }

    /// The runtime of everything that is opened with these settings.
    fn runtime(&self) -> Result<Arc<Runtime>, String> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(Arc::clone(runtime));
        }
        let started = backends::start_runtime();
        let started =
            started.map_err(|error| format!("threads for database and broker cannot be started: {error}"))?;
        Ok(Arc::clone(self.runtime.get_or_init(|| Arc::new(started))))
    }
}

fn value<T: Clone>(setting: Option<&Setting<T>>, default: T) -> T {
    setting.map_or(default, |it| it.value.clone())
}

fn from_flags(args: &ConfigArgs) -> Result<Said, String> {
    let mut said = Said::default();
    let flag = |name, reason: String| format!("{name}: {reason}");
    if let Some(text) = &args.database {
        let parsed = address::database(text, &Layer::Flag("--database"));
        said = said.or(parsed.map_err(|reason| flag("--database", reason))?);
    }
    if let Some(text) = &args.broker {
        let parsed = address::broker(text, &Layer::Flag("--broker"));
        said = said.or(parsed.map_err(|reason| flag("--broker", reason))?);
    }
    said.data_dir = args.data_dir.clone().map(|path| Setting::new(path, Layer::Flag("--data-dir")));
    Ok(said)
}

fn from_environment(environment: &Environment) -> Result<Said, String> {
    let mut said = Said::default();
    for (name, parse) in [
        (DATABASE_VARIABLE, address::database as fn(&str, &Layer) -> Result<Said, String>),
        (BROKER_VARIABLE, address::broker),
    ] {
        if let Some(text) = environment.non_empty(name) {
            let parsed = parse(text, &Layer::Environment(name.to_owned()));
            said = said.or(parsed.map_err(|reason| format!("environment {name}: {reason}"))?);
        }
    }
    if let Some(key) = environment.non_empty(HTTP_KEY_VARIABLE) {
        let layer = Layer::Environment(HTTP_KEY_VARIABLE.to_owned());
        said.http_key = Some(Setting::new(Secret::new(key.to_owned()), layer));
    }
    Ok(said)
}

/// What is built in. With the old configuration nothing is monitored unless asked for, and
/// nothing is served on the port of the original's web application, as in the original.
fn defaults(has_old_config: bool) -> Said {
    macro_rules! built_in {
        ($($field:ident: $value:expr),+ $(,)?) => {
            Said { $($field: Some(Setting::new($value, Layer::Default)),)+ ..Said::default() }
        };
    }
    let (mysql, rabbit) = (MysqlSettings::default(), RabbitSettings::default());
    let engine = EngineOptions::new(PathBuf::new(), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let http = (!has_old_config).then(|| Setting::new(DEFAULT_HTTP, Layer::Default));
    let others = built_in! {
        database: DatabaseKind::Sqlite,
        database_host: mysql.host,
        database_port: mysql.port,
        database_user: mysql.user,
        database_password: Secret::new(mysql.password),
        database_name: mysql.database,
        database_tls: mysql.use_tls,
        broker: BrokerKind::Memory,
        broker_host: rabbit.host,
        broker_port: rabbit.port,
        broker_vhost: rabbit.virtual_host,
        broker_user: rabbit.user,
        broker_password: Secret::new(rabbit.password),
        broker_tls: rabbit.use_tls,
        data_queue: rabbit.data_queue,
        hints_queue: rabbit.hints_queue,
        scores_queue: rabbit.scores_queue,
        results_exchange: rabbit.results_exchange,
        extended_results: rabbit.extended_results,
        data_dir: PathBuf::from(DEFAULT_DATA_DIR),
        graphite: SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_GRAPHITE_PORT)),
        udp: engine.udp,
        learning_rows: DEFAULT_LEARNING_ROWS,
        monitor: if has_old_config { Vec::new() } else { vec!["*".to_owned()] },
        self_series: engine.self_series,
        jobs: engine.jobs,
        checkpoint_rows: u32::try_from(engine.checkpoint_rows).unwrap_or(u32::MAX),
        memory_budget_mib: engine.memory_budget_bytes / MIB,
        max_future_s: u32::try_from(engine.limits.max_future_seconds).unwrap_or(u32::MAX),
        max_connections: engine.listener.max_connections,
        idle_timeout_s: engine.listener.idle_timeout.as_secs(),
        line_timeout_s: engine.listener.line_timeout.as_secs(),
        max_unfinished_mib: engine.listener.max_unfinished_bytes / MIB,
        max_metrics: DEFAULT_MAX_METRICS,
        max_new_metrics: DEFAULT_MAX_NEW_METRICS,
        drain_s: u32::try_from(engine.drain.as_secs()).unwrap_or(u32::MAX),
        log: DEFAULT_LOG.to_owned(),
        profiling: false,
    };
    Said { http, ..others }
}
