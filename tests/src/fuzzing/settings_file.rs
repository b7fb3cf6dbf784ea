//! A settings file of ours: settings, or problems that name their place; and what is effective can be shown.

use std::fs;

use htmengine::config::environment::Environment;
use htmengine::config::table::Said;
use htmengine::config::{ConfigArgs, Settings};

/// Reads the bytes as `htmengine.toml`.
///
/// # Panics
/// If they are read wrongly.
pub fn check(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("htmengine.toml");
    fs::write(&path, bytes).expect("written");
    let args = ConfigArgs { config: Some(path), ..ConfigArgs::default() };
    look(Settings::load_in(&args, Said::default(), &Environment::default()));
}

/// Looks at what was read.
pub(super) fn look(read: Result<Settings, htmengine::config::ConfigError>) {
    match read {
        Ok(settings) => {
            assert!(!settings.entries().is_empty());
            let options = settings.engine_options();
            assert_eq!(options.shown_settings, settings.entries());
        }
        Err(error) => {
            assert!(!error.problems.is_empty() && error.problems.iter().all(|problem| !problem.is_empty()));
        }
    }
}
