//! Starting and stopping the alerter and the couriers, so that the engine knows nothing of them but this file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use super::alerter::Alerter;
use super::delivery::Courier;
use super::settings::AlertSettings;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::repository::{Repository, RepositoryError};

/// The threads; dropping them stops them.
#[derive(Debug)]
pub struct AlertThreads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl AlertThreads {
    /// Starts them, unless there is no rule or the database has no place for episodes, which is logged.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        settings: &AlertSettings,
        repository: &Arc<dyn Repository>,
        bus: &Arc<dyn Bus>,
        clock: &Arc<dyn Clock>,
    ) -> std::io::Result<Option<Self>> {
        if settings.is_empty() {
            if let Err(error) = note_that_there_are_none(&**repository) {
                // Then what is scored meanwhile is judged once there are rules again.
                tracing::warn!("that there are no alert rules could not be noted: {error}");
            }
            return Ok(None);
        }
        if !repository.has_alert_tables() {
            tracing::error!(
                "there are {} alert rules, and no alerts: the database lacks their tables; run `htmengine migrate`, then \
                 start again",
                settings.rules.len()
            );
            return Ok(None);
        }
        let settings = Arc::new(settings.clone());
        let mut started = Self { stop: Arc::default(), threads: Vec::new() };
        let mut wakes = Vec::new();
        for channel in &settings.channels {
            let courier = Courier::new(channel, &settings, repository, bus, clock)?;
            let (wake, woken) = sync_channel(1);
            wakes.push(wake);
            let stop = Arc::clone(&started.stop);
            started.spawn("alert courier", move || courier.run(&stop, &woken))?;
        }
        let (repository, clock) = (Arc::clone(repository), Arc::clone(clock));
        let mut alerter = Alerter::new(repository, settings, clock, bus.results().subscribe(), wakes);
        // Before anything new can be scored, so that it does not count as history. If the database is away just now, the
        // first turn does it.
        if let Err(error) = alerter.begin() {
            tracing::warn!("alerts wait: {error}");
        }
        let stop = Arc::clone(&started.stop);
        started.spawn("alerter", move || alerter.run(&stop))?;
        Ok(Some(started))
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }
}

/// What is scored while there are no rules is history for those that come later.
fn note_that_there_are_none(repository: &dyn Repository) -> Result<(), RepositoryError> {
    if repository.alert_scope()?.is_none() {
        return Ok(());
    }
    repository.transact(&mut |tx| tx.put_alert_scope(None))
}

impl Drop for AlertThreads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}
