//! Settings of a running engine: built-in defaults, then one TOML file, then the command line.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::engine::EngineOptions;

/// Data folder unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "htmengine-data";
/// Carbon's port.
pub const DEFAULT_GRAPHITE_PORT: u16 = 2003;
/// Largest settings file that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Set by users of the original for its configuration folder.
const OLD_CONFIG_VARIABLE: &str = "APPLICATION_CONFIG_PATH";

/// What a TOML file may say; every key is optional.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where database and model files lie.
    pub data_dir: Option<PathBuf>,
    /// `ADDR:PORT` for Graphite lines.
    pub graphite: Option<SocketAddr>,
    /// Whether to listen on UDP too.
    pub udp: Option<bool>,
    /// `ADDR:PORT` for live results.
    pub results: Option<SocketAddr>,
    /// Globs of metrics to monitor as they appear.
    pub monitor: Option<Vec<String>>,
    /// Worker threads; 0 for one per core.
    pub jobs: Option<usize>,
    /// Rows between saves of a model.
    pub checkpoint_rows: Option<u32>,
    /// Memory for models, in MiB.
    pub memory_budget_mib: Option<usize>,
    /// Models in memory at once; by default what the kernel's limit on mappings allows.
    pub max_resident_models: Option<usize>,
    /// Page cache that model files may count on, in MiB; by default what memory the budget leaves. Larger ones
    /// altogether go past it; 0 for always.
    pub file_cache_mib: Option<u64>,
    /// How far ahead of the clock a sample may be.
    pub max_future_s: Option<u32>,
    /// Open connections at most.
    pub max_connections: Option<usize>,
    /// Silent connections are closed after so long; 0 for never.
    pub idle_timeout_s: Option<u64>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has an unknown key or a bad value; all are named with their line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display();
        let error = |reason: String| ConfigError { reason: format!("the settings file {shown} {reason}") };
        let size = std::fs::metadata(path).map_err(|e| error(format!("cannot be read: {e}")))?.len();
        if size > MAX_CONFIG_BYTES {
            return Err(error(format!("is {size} bytes long; at most {MAX_CONFIG_BYTES} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| error(format!("cannot be read: {e}")))?;
        toml::from_str(&text).map_err(|e| error(format!("is not right:\n{e}")))
    }

    /// `self` where it says something, else `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(other.data_dir),
            graphite: self.graphite.or(other.graphite),
            udp: self.udp.or(other.udp),
            results: self.results.or(other.results),
            monitor: self.monitor.or(other.monitor),
            jobs: self.jobs.or(other.jobs),
            checkpoint_rows: self.checkpoint_rows.or(other.checkpoint_rows),
            memory_budget_mib: self.memory_budget_mib.or(other.memory_budget_mib),
            max_resident_models: self.max_resident_models.or(other.max_resident_models),
            file_cache_mib: self.file_cache_mib.or(other.file_cache_mib),
            max_future_s: self.max_future_s.or(other.max_future_s),
            max_connections: self.max_connections.or(other.max_connections),
            idle_timeout_s: self.idle_timeout_s.or(other.idle_timeout_s),
        }
    }

    /// The engine's options, defaults filled in. `has_old_config` is whether the original's configuration folder
    /// is in use: then nothing is monitored unless asked for, as in the original.
    pub fn engine_options(self, has_old_config: bool) -> EngineOptions {
        let data_dir = self.data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_GRAPHITE_PORT));
        let mut options = EngineOptions::new(data_dir, self.graphite.unwrap_or(any));
        let automatic = if has_old_config { Vec::new() } else { vec!["*".to_owned()] };
        options.monitor = self.monitor.unwrap_or(automatic);
        options.udp = self.udp.unwrap_or(true);
        options.results = self.results;
        options.jobs = self.jobs.unwrap_or(0);
        if let Some(rows) = self.checkpoint_rows {
            options.checkpoint_rows = i64::from(rows.max(1));
        }
        if let Some(mib) = self.memory_budget_mib {
            options.memory_budget_bytes = mib.saturating_mul(1 << 20);
        }
        options.max_resident_models = self.max_resident_models;
        options.file_cache_bytes = self.file_cache_mib.map(|mib| mib.saturating_mul(1 << 20));
        if let Some(seconds) = self.max_future_s {
            options.limits.max_future_seconds = i64::from(seconds);
        }
        if let Some(connections) = self.max_connections {
            options.listener.max_connections = connections;
        }
        if let Some(seconds) = self.idle_timeout_s {
            let never = Duration::from_secs(u64::from(u32::MAX));
            options.listener.idle_timeout = if seconds == 0 { never } else { Duration::from_secs(seconds) };
        }
        options
    }
}

/// Whether the environment names the original's configuration folder.
pub fn has_old_config() -> bool {
    std::env::var_os(OLD_CONFIG_VARIABLE).is_some_and(|value| !value.is_empty())
}

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("htmengine.toml");
        std::fs::write(&path, text).expect("written");
        Config::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_defaults() {
        let file =
            parse("graphite = \"127.0.0.1:1\"\nmonitor = [\"a.*\"]\ncheckpoint_rows = 7\n").expect("valid");
        let flags = Config { graphite: "127.0.0.1:2".parse().ok(), ..Config::default() };
        let options = flags.or(file).engine_options(false);
        assert_eq!(options.graphite.port(), 2);
        assert_eq!(options.monitor, ["a.*"]);
        assert_eq!(options.checkpoint_rows, 7);
        assert_eq!(options.data_dir, Path::new(DEFAULT_DATA_DIR));
    }

    #[test]
    fn new_metrics_are_monitored_unless_the_old_configuration_is_used() {
        assert_eq!(Config::default().engine_options(false).monitor, ["*"]);
        assert!(Config::default().engine_options(true).monitor.is_empty());
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = parse("grafite = \"127.0.0.1:1\"\n").expect_err("unknown");
        assert!(error.contains("grafite") && error.contains("graphite"), "{error}");
        let error = parse("graphite = 2003\n").expect_err("wrong type");
        assert!(error.contains("line 1"), "{error}");
    }
}
