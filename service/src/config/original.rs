//! The original's configuration: `application.conf`, `model-checkpoint.conf` and `model-swapper.conf` in the folder that
//! `APPLICATION_CONFIG_PATH` names, `rabbitmq.conf` in that or another one, each with `overrides/NAME` laid over it, and
//! `_NTA_UTILS_CONFIG__...` variables over both.
//!
//! As in the original, every option must be there, and a variable counts only for an option that is in a file. Only
//! `rabbitmq.conf`, which came with another package, may lack anything: its template stands below it.
//!
//! What an option means here is said in `meaning.rs`. Source: behaviour sections 1.1 and 1.2.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::environment::{Environment, OLD_CONFIG_VARIABLE, OLD_OPTION_PREFIX};
use super::ini::Ini;
use super::layer::Layer;
use super::read_text;

/// Database, listener, results.
pub const APPLICATION: &str = "application.conf";
/// Where models are kept.
pub const MODEL_CHECKPOINT: &str = "model-checkpoint.conf";
/// Queues between the services.
pub const MODEL_SWAPPER: &str = "model-swapper.conf";
/// The broker.
pub const RABBITMQ: &str = "rabbitmq.conf";
/// The folder of files that hide options of others, beside those.
pub const OVERRIDES: &str = "overrides";
/// How long a file that another program is writing is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// An option that the original read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its file.
    pub file: &'static str,
    /// Its section.
    pub section: &'static str,
    /// Its name.
    pub option: &'static str,
    /// What the original's documentation and skeleton application ship.
    pub template: &'static str,
}

const fn known(
    file: &'static str,
    section: &'static str,
    option: &'static str,
    template: &'static str,
) -> Known {
    Known { file, section, option, template }
}

/// Every option that the original read.
pub const KNOWN: [Known; 24] = [
    known(APPLICATION, "debugging", "profiling", "false"),
    known(APPLICATION, "repository", "db", "htmengine"),
    known(APPLICATION, "repository", "host", "127.0.0.1"),
    known(APPLICATION, "repository", "user", "root"),
    known(APPLICATION, "repository", "passwd", ""),
    known(APPLICATION, "repository", "port", "3306"),
    known(APPLICATION, "metric_streamer", "results_exchange_name", "htmengine.model.results"),
    known(APPLICATION, "metric_streamer", "chunk_size", "1440"),
    known(APPLICATION, "metric_listener", "plaintext_port", "2003"),
    known(APPLICATION, "metric_listener", "queue_name", "htmengine.metric.custom.data"),
    known(APPLICATION, "anomaly_likelihood", "statistics_min_sample_size", "100"),
    known(APPLICATION, "anomaly_likelihood", "statistics_refresh_rate", "24"),
    known(APPLICATION, "anomaly_likelihood", "statistics_sample_size", "8640"),
    known(MODEL_SWAPPER, "debugging", "profiling", "false"),
    known(MODEL_SWAPPER, "interface_bus", "results_queue", "htmengine.mswapper.results"),
    known(MODEL_SWAPPER, "interface_bus", "model_input_queue_prefix", "htmengine.mswapper.model.input."),
    known(
        MODEL_SWAPPER,
        "interface_bus",
        "scheduler_notification_queue",
        "htmengine.mswapper.scheduler.notification",
    ),
    known(MODEL_SWAPPER, "model_runner", "target_requests_per_checkpoint", "500"),
    known(MODEL_CHECKPOINT, "storage", "root", "${HOME}/htmengine_model_checkpoints"),
    known(RABBITMQ, "connection", "host", "localhost"),
    known(RABBITMQ, "connection", "port", "5672"),
    known(RABBITMQ, "connection", "virtual_host", "/"),
    known(RABBITMQ, "credentials", "user", "guest"),
    known(RABBITMQ, "credentials", "password", "guest"),
];

/// What may stand in the files and was read by nothing, or only outside the four services: file, section, option (`*`
/// for all).
const IDLE: [(&str, &str, &str); 2] =
    [(APPLICATION, "metric_collector", "*"), (RABBITMQ, "management", "port")];

/// An option's text and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its text, replacements made.
    pub text: String,
    /// Where it was said.
    pub layer: Layer,
}

/// The files of one configuration, merged, and the variables over them.
#[derive(Debug)]
pub struct Original {
    folder: PathBuf,
    files: Vec<(&'static str, Ini)>,
    environment: Environment,
}

impl Original {
    /// Reads the files in `folder`, with `rabbitmq.conf` in `rabbitmq_conf` if that is said, else in `folder` if it is there.
    ///
    /// # Errors
    /// Everything that is wrong with the files as such; `problems` has what is wrong with options.
    pub fn read(
        folder: &Path,
        rabbitmq_conf: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut files = Vec::new();
        for name in [APPLICATION, MODEL_CHECKPOINT, MODEL_SWAPPER] {
            match read_file(folder, name) {
                Ok(Some(ini)) => files.push((name, ini)),
                Ok(None) => problems.push(format!(
                    "{} is missing: the folder that {OLD_CONFIG_VARIABLE} names must hold {APPLICATION}, \
                     {MODEL_CHECKPOINT} and {MODEL_SWAPPER}; unset {OLD_CONFIG_VARIABLE} to do without the old configuration",
                    folder.join(name).display()
                )),
                Err(reason) => problems.push(reason),
            }
        }
        match read_file(rabbitmq_conf.unwrap_or(folder), RABBITMQ) {
            Ok(Some(ini)) => files.push((RABBITMQ, ini)),
            Ok(None) => {
                if let Some(named) = rabbitmq_conf {
                    problems.push(format!(
                        "there is neither {RABBITMQ} nor {OVERRIDES}/{RABBITMQ} in {}, which is named as its folder",
                        named.display()
                    ));
                }
                files.push((RABBITMQ, Ini::default()));
            }
            Err(reason) => problems.push(reason),
        }
        if problems.is_empty() {
            Ok(Self { folder: folder.to_owned(), files, environment: environment.clone() })
        } else {
            Err(problems)
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The environment that the options are read in.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    fn ini(&self, file: &str) -> Option<&Ini> {
        self.files.iter().find(|(name, _)| *name == file).map(|(_, ini)| ini)
    }

    /// What the variable over this option says, if it is set and the option is in a file.
    pub fn from_environment(&self, known: &Known) -> Option<Found> {
        let is_in_file = known.file == RABBITMQ
            || self.ini(known.file).is_some_and(|ini| ini.raw(known.section, known.option).is_some());
        let name = variable_name(known.file, known.section, known.option);
        let text = self.environment.get(&name).filter(|_| is_in_file)?;
        Some(Found { text: text.to_owned(), layer: Layer::Environment(name) })
    }

    /// What the files say of this option.
    ///
    /// # Errors
    /// If its references lead nowhere.
    pub fn from_files(&self, known: &Known) -> Result<Option<Found>, String> {
        let Some(ini) = self.ini(known.file) else { return Ok(None) };
        let Some(raw) = ini.raw(known.section, known.option) else { return Ok(None) };
        let text = ini.value(known.section, known.option).map_err(|error| error.to_string())?;
        let (path, line) = (raw.path.clone(), raw.line);
        let layer = if raw.is_override { Layer::Override { path, line } } else { Layer::File { path, line } };
        Ok(text.map(|text| Found { text, layer }))
    }

    /// Options that are missing, by file, section and name.
    pub fn missing(&self) -> Vec<String> {
        let is_missing = |known: &&Known| {
            known.file != RABBITMQ
                && self.ini(known.file).is_some_and(|ini| ini.raw(known.section, known.option).is_none())
        };
        let missing = KNOWN.iter().filter(is_missing);
        let told = missing.map(|known| {
            let Known { file, section, option, template } = known;
            format!(
                "{} has no option {option} in [{section}]; the template has '{option} = {template}'",
                self.folder.join(file).display()
            )
        });
        told.collect()
    }

    /// Options and variables that the original read nowhere, and those whose reader is not among the services.
    pub fn without_effect(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (file, ini) in &self.files {
            for (section, option, raw) in ini.options() {
                let is_named = |(name, of, it): &(&str, &str, &str)| {
                    name == file && *of == section && (*it == "*" || *it == option)
                };
                let is_known =
                    |known: &Known| known.file == *file && known.section == section && known.option == option;
                let place = format!("{}:{}: option {option} of [{section}]", raw.path.display(), raw.line);
                if IDLE.iter().any(is_named) {
                    warnings.push(format!("{place} has no effect: {}", why_idle(section)));
                } else if !KNOWN.iter().any(is_known) {
                    warnings.push(format!(
                        "{place} is unknown and has no effect; is it spelled right, and in the right section?"
                    ));
                }
            }
        }
        let variable = |known: &Known| variable_name(known.file, known.section, known.option);
        for name in self.environment.names(OLD_OPTION_PREFIX) {
            let known = KNOWN.iter().find(|known| variable(known) == name);
            if known.is_none_or(|known| self.from_environment(known).is_none()) {
                warnings.push(format!(
                    "environment {name} has no effect: no file has such an option that is read"
                ));
            }
        }
        warnings
    }
}

fn why_idle(section: &str) -> &'static str {
    match section {
        "management" => {
            "queues are counted over the broker's own protocol, not through its management interface"
        }
        _ => "none of the services reads it, nor did those of the original",
    }
}

/// The variable over an option.
pub fn variable_name(file: &str, section: &str, option: &str) -> String {
    let base = file.trim_end_matches(".conf").replace('-', "_");
    format!("{OLD_OPTION_PREFIX}{base}__{section}__{option}").to_uppercase()
}

/// A file with its override over it; `None` if there is neither. Only `rabbitmq.conf` may be an override alone.
fn read_file(folder: &Path, name: &str) -> Result<Option<Ini>, String> {
    let mut ini = Ini::default();
    let baseline = merge(&mut ini, &folder.join(name), false)?;
    if !baseline && name != RABBITMQ {
        return Ok(None);
    }
    let overridden = merge(&mut ini, &folder.join(OVERRIDES).join(name), true)?;
    Ok((baseline || overridden).then_some(ini))
}

fn merge(ini: &mut Ini, path: &Path, is_override: bool) -> Result<bool, String> {
    if !path.exists() {
        return Ok(false);
    }
    let shown = path.display();
    let _held = if is_override {
        Some(locked_for_reading(path).map_err(|reason| format!("{shown} {reason}"))?)
    } else {
        None
    };
    let text = read_text(path).map_err(|reason| format!("{shown} {reason}"))?;
    ini.merge(&text, path, is_override).map_err(|error| error.to_string())?;
    Ok(true)
}

/// The original's tools write overrides in place, under a lock.
fn locked_for_reading(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let started = Instant::now();
    loop {
        match file.try_lock_shared() {
            // Some network file systems know no locks; then nobody holds one.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => {
                thread::sleep(LOCK_LOOK_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(
                    "is locked by a program that is writing it; try again when that has ended".to_owned()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_as_the_original_names_them() {
        let name = variable_name(MODEL_SWAPPER, "interface_bus", "results_queue");
        assert_eq!(name, "_NTA_UTILS_CONFIG__MODEL_SWAPPER__INTERFACE_BUS__RESULTS_QUEUE");
        let name = variable_name(RABBITMQ, "credentials", "password");
        assert_eq!(name, "_NTA_UTILS_CONFIG__RABBITMQ__CREDENTIALS__PASSWORD");
    }
}
