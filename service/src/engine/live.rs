//! What a running engine can take up without a restart.
//!
//! Which settings these are, and how each is told, the command line's table says (`cli/reload.rs`).

use wildmatch::WildMatch;

use super::role::Role;
use super::{Engine, EngineError, EngineOptions, start};
use crate::alerts::AlertSettings;
use crate::api_key::ApiKey;
use crate::backends::open_repository;
use crate::config::layer::Secret;
use crate::config::table::Entry;
use crate::listener::allow_list::Network;
use crate::live_setting::LiveSetting;
use crate::repository::sqlite::OpenMode;
use crate::storer;
use crate::tls::TlsFiles;

/// Settings that threads look at each time they use them.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    /// Rules and channels of alerts, for those who ask.
    pub(super) alerts: LiveSetting<AlertSettings>,
    /// The effective settings, for those who ask.
    pub(super) shown_settings: LiveSetting<Vec<Entry>>,
    /// Globs of new metrics to monitor; `None` without a storer.
    pub(super) monitor: Option<LiveSetting<Vec<WildMatch>>>,
}

impl Live {
    /// As an engine begins with them; without a storer.
    pub(super) fn new(options: &EngineOptions) -> Self {
        Self {
            alerts: LiveSetting::new(options.alerts.clone()),
            shown_settings: LiveSetting::new(options.shown_settings.clone()),
            monitor: None,
        }
    }
}

impl Engine {
    /// From now on new metrics whose name matches one of `globs` are monitored. What is monitored stays so.
    pub fn set_monitor(&mut self, globs: &[String]) {
        globs.clone_into(&mut self.options.monitor);
        if let Some(monitor) = &self.live.monitor {
            monitor.set(storer::compiled(globs));
        }
    }

    /// From now on rows older than so many days are deleted; 0 for never.
    ///
    /// # Errors
    /// If the thread that deletes cannot be started; nothing is deleted then.
    pub fn set_retention_days(&mut self, days: u32) -> Result<(), EngineError> {
        self.options.retention_days = days;
        // A pass over old rows ends first.
        drop(self.garbage.take());
        self.garbage = start::start_garbage(&self.options, self.repository.as_ref(), &self.clock)?;
        Ok(())
    }

    /// From now on these rules and channels hold. Episodes that are open go on, as after a restart.
    ///
    /// # Errors
    /// If their threads cannot be started; there are no alerts then. If a process that has only served results so far cannot
    /// open the database, it has the alerts that it had: none.
    pub fn set_alerts(&mut self, alerts: &AlertSettings) -> Result<(), EngineError> {
        if self.repository.is_none() && self.options.roles.has(Role::Results) && !alerts.is_empty() {
            let (choice, folder) = (&self.options.repository, &self.options.data_dir);
            let opened = open_repository(choice, folder, OpenMode::ReadWriteCreate, self.runtime.handle());
            let doing = "opening the database, which takes a restart to try again,";
            self.repository = Some(opened.map_err(|error| EngineError::new(doing, &error))?);
        }
        self.options.alerts = alerts.clone();
        self.live.alerts.set(alerts.clone());
        drop(self.alerts.take());
        self.alerts = start::start_alerts(&self.options, self.repository.as_ref(), &self.bus, &self.clock)?;
        Ok(())
    }

    /// From now on these keys are known to the HTTP servers, and no others.
    ///
    /// # Errors
    /// If there are none, and others can reach the servers.
    pub fn set_http_keys(&self, http_key: Option<&Secret>, api_keys: &[ApiKey]) -> Result<(), EngineError> {
        let Some(http) = &self.http else { return Ok(()) };
        let set = http.set_keys(start::http_keys(http_key, api_keys));
        set.map_err(|error| EngineError { reason: error.to_string() })
    }

    /// From now on new connections to the HTTP servers are shown the certificate that these files hold now.
    ///
    /// # Errors
    /// If it cannot be used, or TLS would have to begin or end.
    pub fn renew_certificate(&self, files: Option<&TlsFiles>) -> Result<(), EngineError> {
        let Some(http) = &self.http else { return Ok(()) };
        http.renew_certificate(files).map_err(|error| EngineError { reason: error.to_string() })
    }

    /// From now on only these networks may send; everybody, if there are none. Connections from others are closed.
    pub fn set_allowed_networks(&self, networks: &[Network]) {
        self.options.listener.allowed_networks.set(networks.to_owned());
    }

    /// What whoever asks for the effective settings is told from now on.
    pub fn show_settings(&self, entries: Vec<Entry>) {
        self.live.shown_settings.set(entries);
    }
}
