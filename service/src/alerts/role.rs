//! Starting and stopping the alerter and the couriers, so that the engine knows nothing of them but this file.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use super::alerter::Alerter;
use super::delivery::Courier;
use super::settings::AlertSettings;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::repository::{Repository, RepositoryError};
use crate::stoppable_thread::StoppableThread;

/// The threads; dropping them stops them.
#[derive(Debug)]
pub struct AlertThreads {
    threads: Vec<StoppableThread>,
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
        let mut started = Self { threads: Vec::new() };
        let mut wakes = Vec::new();
        for channel in &settings.channels {
            let courier = Courier::new(channel, &settings, repository, bus, clock)?;
            let (wake, woken) = sync_channel(1);
            wakes.push(wake);
            let thread = StoppableThread::start("alert courier", move |stop| courier.run(stop, &woken))?;
            started.threads.push(thread);
        }
        let (repository, clock) = (Arc::clone(repository), Arc::clone(clock));
        let mut alerter = Alerter::new(repository, settings, clock, bus.results().subscribe(), wakes);
        // Before anything new can be scored, so that it does not count as history. If the database is away just now, the
        // first turn does it.
        if let Err(error) = alerter.begin() {
            tracing::warn!("alerts wait: {error}");
        }
        started.threads.push(StoppableThread::start("alerter", move |stop| alerter.run(stop))?);
        Ok(Some(started))
    }

    /// Tells all of them to stop.
    pub fn tell(&self) {
        for thread in &self.threads {
            thread.tell();
        }
    }

    /// Whether one has ended; by itself, if nobody told it to.
    pub fn has_finished(&self) -> bool {
        self.threads.iter().any(StoppableThread::is_finished)
    }

    /// The threads, told to stop, for whoever waits less long than dropping this does.
    pub fn into_threads(mut self) -> Vec<StoppableThread> {
        self.tell();
        std::mem::take(&mut self.threads)
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
        // All of them before one is waited for.
        self.tell();
    }
}
