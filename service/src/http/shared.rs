//! What every handler works with: the operations, and threads that may wait for a database.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::answer::ApiError;
use super::live::MAX_READERS;
use crate::api_key::ApiKey;
use crate::config::table::Entry;
use crate::live_setting::LiveSetting;
use crate::operations::overview::Gauge;
use crate::operations::{OperationError, Operations};
use crate::sample::SampleLimits;

/// Operations carried out at once. They hold a thread each, also when their client has gone.
const MAX_BLOCKING: usize = 32;
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
    pub(super) site: Arc<Site>,
}

impl Shared {
    pub(super) fn new(operations: Arc<Operations>, site: Site) -> Self {
        Self {
            operations,
            threads: Arc::new(Semaphore::new(MAX_BLOCKING)),
            large: Arc::new(Semaphore::new(MAX_LARGE)),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
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

    /// As [`Self::run`], for work that takes much memory; few of its kind go on at once.
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
