//! SIGHUP: settings are read again, from where they were read at the start.
//!
//! [`RELOADABLE`] says which take effect without a restart, and how; another one is one more line there. The others are named
//! in the log with what to do. Settings that cannot be read change nothing.

use super::CliError;
use super::log::LogControl;
use crate::config::Settings;
use crate::config::table::Entry;
use crate::engine::{Engine, EngineOptions};

/// What settings are taken up by.
struct Running<'a> {
    engine: &'a mut Engine,
    log: &'a LogControl,
    settings: &'a Settings,
    options: &'a EngineOptions,
}

type TakeUp = fn(&mut Running<'_>) -> Result<(), CliError>;

/// Settings that a running engine takes up. Two that are one thing to it may share a function.
const RELOADABLE: [(&str, TakeUp); 10] = [
    ("log", set_log),
    ("profiling", set_log),
    ("monitor", |it| {
        it.engine.set_monitor(&it.options.monitor);
        Ok(())
    }),
    ("retention_days", |it| Ok(it.engine.set_retention_days(it.options.retention_days)?)),
    ("alert", |it| Ok(it.engine.set_alerts(&it.options.alerts)?)),
    ("http_key", set_keys),
    ("api_key", set_keys),
    (CERTIFICATE, renew_certificate),
    (CERTIFICATE_KEY, renew_certificate),
    ("graphite_allow", |it| {
        it.engine.set_allowed_networks(&it.options.listener.allowed_networks.get());
        Ok(())
    }),
];

/// Settings that name files which may hold something else now, though they are named as before.
const CERTIFICATE: &str = "http_tls_cert";
const CERTIFICATE_KEY: &str = "http_tls_key";

fn set_log(it: &mut Running<'_>) -> Result<(), CliError> {
    it.log.set(&it.settings.log_filter())
}

fn set_keys(it: &mut Running<'_>) -> Result<(), CliError> {
    Ok(it.engine.set_http_keys(it.options.http_key.as_ref(), &it.options.api_keys)?)
}

fn renew_certificate(it: &mut Running<'_>) -> Result<(), CliError> {
    Ok(it.engine.renew_certificate(it.options.http_tls.as_ref())?)
}

/// Reads settings again.
pub(super) struct Reloader<'a> {
    load: &'a dyn Fn() -> Result<Settings, CliError>,
    /// In effect.
    settings: Settings,
    shown: Vec<Entry>,
    log: LogControl,
}

impl<'a> Reloader<'a> {
    /// Of an engine that runs with `settings`, which `load` reads again.
    pub(super) fn new(
        settings: Settings,
        log: LogControl,
        load: &'a dyn Fn() -> Result<Settings, CliError>,
    ) -> Self {
        let shown = settings.entries();
        Self { load, settings, shown, log }
    }

    /// Reads all settings and takes up what changed, as far as that is possible.
    pub(super) fn reload(&mut self, engine: &mut Engine) {
        let settings = match (self.load)() {
            Ok(settings) => settings,
            Err(error) => {
                for line in error.to_string().lines().filter(|line| !line.trim().is_empty()) {
                    tracing::error!("reload: all settings stay as they were: {line}");
                }
                return;
            }
        };
        settings.log_warnings();
        let (options, entries) = (settings.engine_options(), settings.entries());
        let differing = self.settings.said().differing(settings.said());
        let mut effective_count = 0;
        for name in &differing {
            let Some((_, take_up)) = RELOADABLE.iter().find(|(reloadable, _)| reloadable == name) else {
                tracing::warn!("reload: `{name}` was changed; that takes effect with a restart");
                continue;
            };
            let mut running = Running { engine, log: &self.log, settings: &settings, options: &options };
            if let Err(error) = take_up(&mut running) {
                tracing::error!("reload: `{name}` was changed, and that could not take effect: {error}");
                continue;
            }
            effective_count += 1;
            let entry = entries.iter().find(|entry| entry.name == *name);
            let value = entry.map(|entry| entry.value.to_string()).unwrap_or_default();
            tracing::info!("reload: `{name}` is now {value}");
            self.show(name, entry);
        }
        if options.http_tls.is_some()
            && !differing.iter().any(|name| [CERTIFICATE, CERTIFICATE_KEY].contains(name))
        {
            match engine.renew_certificate(options.http_tls.as_ref()) {
                Ok(()) => tracing::info!("reload: `{CERTIFICATE}` and `{CERTIFICATE_KEY}` were read again"),
                Err(error) => tracing::error!("reload: the certificate stays as it was: {error}"),
            }
        }
        engine.show_settings(self.shown.clone());
        tracing::info!("reload: {} settings changed, {effective_count} of them took effect", differing.len());
        // What needs a restart is compared with what was read, so that it is told once.
        self.settings = settings;
    }

    fn show(&mut self, name: &str, entry: Option<&Entry>) {
        if let (Some(entry), Some(shown)) = (entry, self.shown.iter_mut().find(|shown| shown.name == name)) {
            *shown = entry.clone();
        }
    }
}
