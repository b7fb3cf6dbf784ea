//! Which database and which bus an engine uses, and the one runtime that the asynchronous clients of both share.
//!
//! Roles know only `Repository` and `Bus`; this file and the settings know what stands behind them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::bus::memory::{MemoryBus, MemoryBusLimits};
use crate::bus::rabbitmq::{RabbitBus, RabbitSettings};
use crate::bus::{Bus, BusError};
use crate::repository::mysql::{MysqlRepository, MysqlSettings};
use crate::repository::sqlite::{OpenMode, SqliteRepository};
use crate::repository::{Repository, RepositoryError};

/// The database in a data folder.
pub const DATABASE_FILE: &str = "htmengine.sqlite";
/// Threads of the shared runtime: its work is waiting for sockets.
const RUNTIME_THREADS: usize = 2;

/// Where rows lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RepositoryChoice {
    /// In [`DATABASE_FILE`] in the data folder.
    #[default]
    Sqlite,
    /// In MySQL or MariaDB.
    Mysql(MysqlSettings),
}

/// Where roles meet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::large_enum_variant, reason = "a process has one or two")]
pub enum BusChoice {
    /// In this process.
    #[default]
    Memory,
    /// At a RabbitMQ broker.
    Rabbitmq(RabbitSettings),
}

/// The runtime of database and broker clients.
///
/// # Errors
/// What the operating system said.
pub fn start_runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(RUNTIME_THREADS).thread_name("backend").enable_all().build()
}

/// Opens the repository.
///
/// # Errors
/// [`RepositoryError`] from the database.
pub fn open_repository(
    choice: &RepositoryChoice,
    data_dir: &Path,
    mode: OpenMode,
    runtime: &Handle,
) -> Result<Arc<dyn Repository>, RepositoryError> {
    Ok(match choice {
        RepositoryChoice::Sqlite => Arc::new(SqliteRepository::open(&data_dir.join(DATABASE_FILE), mode)?),
        RepositoryChoice::Mysql(settings) => MysqlRepository::connect(settings, runtime)?,
    })
}

/// Connects the bus.
///
/// # Errors
/// [`BusError`] from the broker.
pub fn connect_bus(choice: &BusChoice, runtime: &Handle) -> Result<Arc<dyn Bus>, BusError> {
    Ok(match choice {
        BusChoice::Memory => Arc::new(MemoryBus::new(MemoryBusLimits::default())),
        BusChoice::Rabbitmq(settings) => Arc::new(RabbitBus::connect(settings, runtime)?),
    })
}
