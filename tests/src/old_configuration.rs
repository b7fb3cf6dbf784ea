//! A configuration folder as users of the original have it: its file names, options and ways of writing, our values.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// As in the original's skeleton application, with its ways of writing.
pub const APPLICATION: &str = "\
# Application settings
[debugging]
; Marks in the log
profiling = false

[repository]
db = skeleton
host = 127.0.0.1
user: root
passwd =
port = 3306                     ; the usual one

[metric_collector]
poll_interval = 60
metric_error_grace_period = 10800

[metric_streamer]
results_exchange_name = %(prefix)s.model.results
chunk_size = 1440
prefix = skeleton

[metric_listener]
plaintext_port = 2003
queue_name = skeleton.metric.custom.data

[anomaly_likelihood]
statistics_min_sample_size = 100
statistics_refresh_rate = 24
statistics_sample_size = 8640
";

/// Where models are kept; `ROOT` is replaced.
const MODEL_CHECKPOINT: &str = "\
[storage]
root = ROOT
";

/// Queues between the services.
pub const MODEL_SWAPPER: &str = "\
[debugging]
profiling = false

[interface_bus]
results_queue = skeleton.mswapper.results
model_input_queue_prefix = skeleton.mswapper.model.input.
scheduler_notification_queue = skeleton.mswapper.scheduler.notification

[model_runner]
target_requests_per_checkpoint = 500
";

/// The broker.
pub const RABBITMQ: &str = "\
[connection]
host = localhost
port = 5672
virtual_host = /

[credentials]
user = guest
password = guest

[management]
port = 15672
";

/// The folder, for as long as this lives.
#[derive(Debug)]
pub struct OldConfiguration {
    folder: TempDir,
}

impl Default for OldConfiguration {
    fn default() -> Self {
        Self::new()
    }
}

impl OldConfiguration {
    /// Writes the three files that must be there. Models are kept beside them.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let it = Self { folder };
        it.write("application.conf", APPLICATION);
        it.write("model-swapper.conf", MODEL_SWAPPER);
        let root = it.models();
        it.write("model-checkpoint.conf", &MODEL_CHECKPOINT.replace("ROOT", root.to_str().expect("text")));
        it
    }

    /// The folder for `APPLICATION_CONFIG_PATH`, links resolved.
    ///
    /// # Panics
    /// If it is gone.
    pub fn path(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).expect("there")
    }

    /// Where `storage.root` points.
    pub fn models(&self) -> PathBuf {
        self.path().join("checkpoints")
    }

    /// Writes a file of the folder, which may lie in `overrides/` or another folder in it.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, text).expect("written");
    }

    /// Replaces a part of a file.
    ///
    /// # Panics
    /// If the file has no such part.
    pub fn replace(&self, name: &str, part: &str, by: &str) {
        let text = fs::read_to_string(self.path().join(name)).expect("there");
        assert!(text.contains(part), "`{part}` is not in {name}");
        self.write(name, &text.replace(part, by));
    }
}
