//! A scheduler whose turns the test takes, with a clock of the test's choice, over a database and a bus of its own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use htm_core::encoder::Record;
use htmengine::anomaly::{Anomaly, AnomalyTurn};
use htmengine::bus::Bus;
use htmengine::bus::memory::{MemoryBus, MemoryBusLimits};
use htmengine::bus::message::{ModelHint, ModelOutput};
use htmengine::clock::Clock;
use htmengine::file_system::{DiskFiles, FileSystem};
use htmengine::repository::Repository;
use htmengine::repository::metric_data::StoredSample;
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use htmengine::scheduler::checkpoint_desk::CheckpointDesk;
use htmengine::scheduler::figures::SchedulerFigures;
use htmengine::scheduler::model_store::{ModelStore, path_within};
use htmengine::scheduler::workers::Workers;
use htmengine::scheduler::{Scheduler, SchedulerOptions, SchedulerParts};

use crate::stored::metric;

/// What schedulers work with, one after the other. Nobody takes scores off the bus unless the test asks for that.
pub struct TurnByTurn {
    folder: tempfile::TempDir,
    repository: Arc<SqliteRepository>,
    bus: Arc<MemoryBus>,
    clock: Arc<dyn Clock>,
    files: Arc<dyn FileSystem>,
    desk: Arc<CheckpointDesk>,
    figures: Arc<Mutex<SchedulerFigures>>,
    /// Of the schedulers to come.
    pub options: SchedulerOptions,
}

impl TurnByTurn {
    /// An empty database.
    ///
    /// # Panics
    /// If there is no room for one.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows");
        let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("opens");
        let limits = MemoryBusLimits { score_messages: usize::MAX, ..MemoryBusLimits::default() };
        Self {
            folder,
            repository: Arc::new(repository),
            bus: Arc::new(MemoryBus::new(limits)),
            clock,
            files: Arc::new(DiskFiles),
            desk: Arc::default(),
            figures: Arc::default(),
            options: SchedulerOptions {
                checkpoint_rows: 1_000,
                memory_budget_bytes: usize::MAX,
                max_resident_models: usize::MAX,
                rescan_interval: None,
            },
        }
    }

    /// The same with model files on this disk.
    #[must_use]
    pub fn with_files(self, files: Arc<dyn FileSystem>) -> Self {
        Self { files, ..self }
    }

    /// Where checkpoints are asked for.
    pub fn desk(&self) -> &CheckpointDesk {
        &self.desk
    }

    /// The file of a metric's model.
    ///
    /// # Panics
    /// If there is no such metric.
    pub fn model_file(&self, name: &str) -> PathBuf {
        let uid = metric(&*self.repository, name).expect("stored").uid;
        self.folder.path().join("models").join(path_within(&uid))
    }

    /// The database.
    pub fn repository(&self) -> &dyn Repository {
        &*self.repository
    }

    /// The database, to be kept.
    pub fn shared_repository(&self) -> Arc<dyn Repository> {
        Arc::clone(&self.repository) as _
    }

    /// The model files.
    pub fn model_store(&self) -> ModelStore {
        ModelStore::new(Arc::clone(&self.files), self.folder.path().join("models"))
    }

    /// A scheduler with one worker and, unless told otherwise, all the memory that it wants, as after a start.
    ///
    /// # Panics
    /// If the operating system has no thread for it.
    pub fn scheduler(&self) -> Scheduler {
        Scheduler::new(SchedulerParts {
            bus: Arc::clone(&self.bus) as _,
            repository: Arc::clone(&self.repository) as _,
            clock: Arc::clone(&self.clock),
            store: self.model_store(),
            workers: Workers::start(1, 0).expect("a thread"),
            desk: Arc::clone(&self.desk),
            figures: Arc::clone(&self.figures),
            options: self.options,
        })
    }

    /// What the youngest scheduler has done.
    ///
    /// # Panics
    /// If it panicked.
    pub fn figures(&self) -> SchedulerFigures {
        self.figures.lock().expect("nobody panicked").clone()
    }

    /// Commits the scores that wait.
    ///
    /// # Panics
    /// If that fails.
    pub fn commit_scores(&self) {
        let mut anomaly = Anomaly::new(
            Arc::clone(&self.bus) as _,
            Arc::clone(&self.repository) as _,
            Arc::clone(&self.clock),
        );
        while anomaly.run_once(Duration::ZERO).expect("nothing is away") != AnomalyTurn::Idle {}
    }

    /// Stores samples of one metric, and says so.
    ///
    /// # Panics
    /// If it is not monitored, or that fails.
    pub fn add(&self, name: &str, samples: &[Record]) {
        let model_id = metric(&*self.repository, name).expect("monitored").uid;
        let samples: Vec<_> = samples
            .iter()
            .map(|record| StoredSample { timestamp: record.timestamp, value: record.value })
            .collect();
        let stored = self
            .repository
            .transact(&mut |transaction| transaction.append_rows(&model_id, &samples).map(drop));
        stored.expect("stored");
        self.bus.hints().publish(ModelHint { model_id, is_changed: false }).expect("there is room");
    }

    /// Takes everything that schedulers said off the bus.
    ///
    /// # Panics
    /// If the bus is closed.
    pub fn take_outputs(&self) -> Vec<ModelOutput> {
        let deliveries = self.bus.scores().receive(usize::MAX, Duration::ZERO).expect("open");
        deliveries.into_iter().map(|delivery| delivery.message).collect()
    }

    /// Takes all scores off the bus; returns how many are of this metric.
    ///
    /// # Panics
    /// If it is not monitored.
    pub fn scores_of(&self, name: &str) -> usize {
        let uid = metric(&*self.repository, name).expect("monitored").uid;
        self.take_outputs()
            .into_iter()
            .filter_map(|output| match output {
                ModelOutput::Scores(message) if message.model_id == uid => Some(message.scores.len()),
                ModelOutput::Scores(_) | ModelOutput::Command(_) => None,
            })
            .sum()
    }
}
