//! What verbs do to metrics, beside a running engine or without one.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use super::CliError;
use crate::clock::SystemClock;
use crate::config::{OpenBus, OpenRepository, Settings};
use crate::live_setting::LiveSetting;
use crate::monitoring::SystemRandom;
use crate::operations::Operations;
use crate::repository::sqlite::OpenMode;

/// Operations, and what they need as long as they live.
pub(super) struct OpenOperations {
    operations: Operations,
    _repository: OpenRepository,
    _bus: Option<OpenBus>,
}

impl OpenOperations {
    /// Opens the repository and, for changes, the bus of roles in other processes. A broker that is away stops nothing:
    /// the scheduler finds the change in the database, only later.
    pub(super) fn open(settings: &Settings, mode: OpenMode) -> Result<Self, CliError> {
        let repository = settings.open_repository(mode)?;
        let bus = match mode {
            OpenMode::ReadOnly => None,
            OpenMode::ReadWrite | OpenMode::ReadWriteCreate => {
                settings.connect_bus().unwrap_or_else(|error| {
                    // Standard error may be closed; the verb goes on all the same.
                    let _ = writeln!(io::stderr(), "warning: {error}; the engine hears of this change later");
                    None
                })
            }
        };
        let random = SystemRandom::open()
            .map_err(|error| CliError::new(format!("/dev/urandom cannot be read: {error}")))?;
        let operations = Operations::new(
            repository.shared(),
            bus.as_ref().map(OpenBus::shared),
            Arc::new(SystemClock::new()),
            Arc::new(random),
        )
        .with_alerts(LiveSetting::new(settings.alerts()));
        Ok(Self { operations, _repository: repository, _bus: bus })
    }
}

impl Deref for OpenOperations {
    type Target = Operations;

    fn deref(&self) -> &Operations {
        &self.operations
    }
}
