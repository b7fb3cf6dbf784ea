//! What every handler works with: the operations, and threads that may wait for a database.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::answer::ApiError;
use super::live::MAX_READERS;
use super::unsent::Unsent;
use crate::api_key::ApiKey;
use crate::config::table::Entry;
use crate::live_setting::LiveSetting;
use crate::log_limiter::LogLimiter;
use crate::operations::overview::Gauge;
use crate::operations::{OperationError, Operations};
use crate::sample::SampleLimits;

/// Operations carried out at once. They hold a thread each, also when their client has gone.
pub(super) const MAX_BLOCKING: usize = 32;
/// Of these, those that hold many rows or a large body at once.
const MAX_LARGE: usize = 4;

/// What handlers know beside operations.
#[derive(Debug)]
pub(super) struct Site {
    /// Who may ask.
    pub(super) keys: LiveSetting<Vec<ApiKey>>,
    /// What a sample may look like.
    pub(super) limits: SampleLimits,
    /// Whether metric names of the web application keep the slash of their path.
    pub(super) slash_names: bool,
    /// The effective settings of this process.
    pub(super) settings: LiveSetting<Vec<Entry>>,
    /// Rates between two looks at the overview.
    pub(super) gauge: Gauge,
}

/// Shared by all requests of a server.
#[derive(Clone)]
pub(super) struct Shared {
    operations: Arc<Operations>,
    threads: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Places of readers that follow live.
    pub(super) readers: Arc<Semaphore>,
    pub(super) unsent: Unsent,
    since: Instant,
    breaks: Arc<Mutex<LogLimiter>>,
    pub(super) site: Arc<Site>,
}

impl Shared {
    /// Over an empty database in this folder, for tests.
    #[cfg(test)]
    pub(super) fn over(folder: &std::path::Path, keys: LiveSetting<Vec<ApiKey>>) -> Self {
        use crate::bus::memory::{MemoryBus, MemoryBusLimits};
        use crate::clock::SystemClock;
        use crate::monitoring::SystemRandom;
        use crate::repository::sqlite::{OpenMode, SqliteRepository};

        let repository = SqliteRepository::open(&folder.join("engine.db"), OpenMode::ReadWriteCreate);
        let operations = Operations::new(
            Arc::new(repository.expect("creates")),
            Some(Arc::new(MemoryBus::new(MemoryBusLimits::default()))),
            Arc::new(SystemClock::new()),
            Arc::new(SystemRandom::open().expect("randomness")),
        );
        let site = Site {
            keys,
            limits: SampleLimits::default(),
            slash_names: false,
            settings: LiveSetting::default(),
            gauge: Gauge::new(folder),
        };
        Self::new(Arc::new(operations), site)
    }

    pub(super) fn new(operations: Arc<Operations>, site: Site) -> Self {
        Self {
            operations,
            threads: Arc::new(Semaphore::new(MAX_BLOCKING)),
            large: Arc::new(Semaphore::new(MAX_LARGE)),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            unsent: Unsent::new(),
            since: Instant::now(),
            breaks: Arc::default(),
            site: Arc::new(site),
        }
    }

    /// Carries out `work` on a thread that may wait.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Operations) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let operations = Arc::clone(&self.operations);
        let Ok(place) = Arc::clone(&self.threads).acquire_owned().await else {
            return Err(ApiError::stopping());
        };
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&operations)
        });
        match done.await {
            Ok(answer) => answer.map_err(ApiError::from),
            Err(error) if error.is_cancelled() => Err(ApiError::stopping()),
            Err(_) => Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "HTMEngineError",
                "the request ended in a panic (see the log); please report this",
            )),
        }
    }

    /// What ends an answer whose status was sent already. The log has it too: all that the client sees is that the answer
    /// has no end.
    pub(super) fn broken_off(&self, doing: &str, error: &ApiError) -> io::Error {
        let reason = format!("{doing} failed: {}", error.message());
        let mut breaks = self.breaks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repeats) = breaks.pass(self.since.elapsed()) {
            tracing::warn!(reason, "an answer was broken off{repeats}");
        }
        io::Error::other(reason)
    }

    /// As [`Self::run`], for work that takes much memory; few of its kind go on at once. What comes of it is bounded in
    /// `unsent.rs`.
    pub(super) async fn run_large<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Operations) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(place) = Arc::clone(&self.large).acquire_owned().await else {
            return Err(ApiError::stopping());
        };
        // Held by the work, which goes on when its client has gone.
        self.run(move |operations| {
            let _place = place;
            work(operations)
        })
        .await
    }
}
