//! An engine in this process, on free loopback ports, stopped when the test ends in whatever way.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use htmengine::engine::{Engine, EngineOptions};
use htmengine::repository::Repository;
use tempfile::TempDir;

/// A running engine.
pub struct RunningEngine {
    engine: Option<Engine>,
    data_dir: PathBuf,
    /// Removed after the engine has stopped.
    folder: Option<TempDir>,
}

impl RunningEngine {
    /// Starts one in a folder of its own; nothing is monitored unless asked for.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(change: impl FnOnce(&mut EngineOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut running = Self::start_in(folder.path(), change);
        running.folder = Some(folder);
        running
    }

    /// Starts one over the data in `data_dir`, which stays.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_in(data_dir: &Path, change: impl FnOnce(&mut EngineOptions)) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut options = EngineOptions::new(data_dir.to_owned(), any_port);
        change(&mut options);
        let engine = Engine::start(options).unwrap_or_else(|error| panic!("{error}"));
        Self { engine: Some(engine), data_dir: data_dir.to_owned(), folder: None }
    }

    /// The engine.
    ///
    /// # Panics
    /// Never.
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("taken only by stop and drop")
    }

    /// Where it takes lines over TCP.
    pub fn address(&self) -> SocketAddr {
        self.engine().graphite_address()
    }

    /// Its rows.
    pub fn repository(&self) -> &dyn Repository {
        &**self.engine().repository()
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn stop(mut self) {
        let engine = self.engine.take().expect("taken only by stop and drop");
        engine.stop().unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for RunningEngine {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            // A test that failed reports its own reason.
            let _ = engine.stop();
        }
    }
}
