//! What the original's options mean here.
//!
//! - `repository.*` and `rabbitmq.conf` are the database and the broker, as they stand: nothing in them is escaped.
//! - `metric_listener.plaintext_port` is where Graphite lines are taken, on all addresses, as the original listened.
//! - `storage.root` is the folder of model files. Figures, locks and requests lie in its folder [`DATA_FOLDER`]: it is the
//!   one folder that the services of the original are known to be allowed to write.
//! - `target_requests_per_checkpoint` is the number of rows after which a model is saved: a request of the original was a
//!   row, and it counted whole batches, so that it saved a little later.
//! - Either `profiling` switches the log's lines about single stages on.
//!
//! The rest has no effect and is told with the reason. Values that would change scores are told only if they differ from
//! those that are built in.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use super::address::{BrokerKind, DatabaseKind};
use super::layer::{Layer, Secret, Setting};
use super::original::{
    APPLICATION, Found, KNOWN, Known, MODEL_CHECKPOINT, MODEL_SWAPPER, Original, RABBITMQ,
};
use super::table::Said;

/// The folder in `storage.root` where everything lies that is no model.
pub(super) const DATA_FOLDER: &str = ".htmengine";
/// `anomaly_likelihood` options and the values that are built in.
const LIKELIHOOD: [(&str, i64); 3] =
    [("statistics_min_sample_size", 100), ("statistics_refresh_rate", 24), ("statistics_sample_size", 8640)];

/// What the old configuration says.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    /// By its variables.
    pub(super) environment: Said,
    /// By its files.
    pub(super) files: Said,
    /// What has no effect, and why.
    pub(super) warnings: Vec<String>,
    /// What is wrong.
    pub(super) problems: Vec<String>,
}

/// Reads the options.
pub(super) fn meaning(original: &Original) -> Meaning {
    let mut problems = original.missing();
    let environment = said(&|known| original.from_environment(known), original, &mut problems);
    let hidden = |known: &Known| original.from_environment(known).is_some();
    let mut unreadable = Vec::new();
    let mut found = Vec::new();
    for known in KNOWN.iter().filter(|known| !hidden(known)) {
        match original.from_files(known) {
            Ok(value) => found.extend(value.map(|value| (*known, value))),
            Err(problem) => unreadable.push(problem),
        }
    }
    problems.append(&mut unreadable);
    let from_files = |known: &Known| {
        let of = found.iter().find(|(it, _)| it == known);
        of.map(|(_, value)| value.clone())
    };
    let mut files = said(&from_files, original, &mut problems);
    let name = KNOWN.iter().find(|known| known.section == "repository" && known.option == "db");
    let layer = name.and_then(|known| original.from_files(known).ok()?).map_or(Layer::Default, |it| it.layer);
    files.database = Some(Setting::new(DatabaseKind::Mysql, layer.clone()));
    files.broker = Some(Setting::new(BrokerKind::Rabbitmq, layer));
    let effective = |known: &Known| original.from_environment(known).or_else(|| from_files(known));
    let mut warnings = without_effect(&effective, &mut problems);
    warnings.extend(original.without_effect());
    Meaning { environment, files, warnings, problems }
}

/// Looks an option up in one layer.
type Lookup<'a> = dyn Fn(&Known) -> Option<Found> + 'a;

/// Options of one layer, read as what they are.
struct Reader<'a> {
    lookup: &'a Lookup<'a>,
    problems: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn found(&self, file: &str, section: &str, option: &str) -> Option<Found> {
        let is = |known: &&Known| known.file == file && known.section == section && known.option == option;
        (self.lookup)(KNOWN.iter().find(is)?)
    }

    fn parsed<T>(
        &mut self,
        file: &str,
        section: &str,
        option: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Setting<T>> {
        let Found { text, layer } = self.found(file, section, option)?;
        match parse(&text) {
            Ok(value) => Some(Setting::new(value, layer)),
            Err(expected) => {
                // A value that is told back is never a secret: those are not parsed.
                let name = file.trim_end_matches(".conf");
                self.problems.push(format!(
                    "{layer}: option {option} of [{section}] in {name}.conf is '{text}'; expected {expected}"
                ));
                None
            }
        }
    }

    fn text(&mut self, file: &str, section: &str, option: &str) -> Option<Setting<String>> {
        let parse = |text: &str| {
            if text.is_empty() { Err("a name".to_owned()) } else { Ok(text.to_owned()) }
        };
        self.parsed(file, section, option, parse)
    }

    fn port(&mut self, file: &str, section: &str) -> Option<Setting<u16>> {
        self.parsed(file, section, "port", parse_port)
    }

    fn secret(&mut self, file: &str, section: &str, option: &str) -> Option<Setting<Secret>> {
        let Found { text, layer } = self.found(file, section, option)?;
        Some(Setting::new(Secret::new(text), layer))
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "a port, 1 to 65535".to_owned())
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("1, yes, true or on; or 0, no, false or off".to_owned()),
    }
}

fn said(lookup: &Lookup<'_>, original: &Original, problems: &mut Vec<String>) -> Said {
    let mut it = Reader { lookup, problems };
    let graphite = it.parsed(APPLICATION, "metric_listener", "plaintext_port", |text| {
        // 0 takes any free port, as it did.
        let port = text.trim().parse::<u16>().map_err(|_| "a port, 0 to 65535".to_owned())?;
        Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
    });
    let checkpoint_rows =
        it.parsed(MODEL_SWAPPER, "model_runner", "target_requests_per_checkpoint", |text| {
            let rows = text.trim().parse::<u32>().ok().filter(|rows| *rows > 0);
            rows.ok_or_else(|| "a number of rows, at least 1".to_owned())
        });
    let models_dir = it.parsed(MODEL_CHECKPOINT, "storage", "root", |text| {
        storage_root(&original.environment().expanded(text))
    });
    let data_dir = models_dir.clone().map(|root| Setting::new(root.value.join(DATA_FOLDER), root.layer));
    let profiles =
        [APPLICATION, MODEL_SWAPPER].map(|file| it.parsed(file, "debugging", "profiling", parse_bool));
    // Where one of them is on, that one is shown.
    let profiling = profiles.into_iter().flatten().max_by_key(|setting| setting.value);
    Said {
        database_host: it.text(APPLICATION, "repository", "host"),
        database_port: it.port(APPLICATION, "repository"),
        database_user: it.text(APPLICATION, "repository", "user"),
        database_password: it.secret(APPLICATION, "repository", "passwd"),
        database_name: it.text(APPLICATION, "repository", "db"),
        broker_host: it.text(RABBITMQ, "connection", "host"),
        broker_port: it.port(RABBITMQ, "connection"),
        broker_vhost: it.text(RABBITMQ, "connection", "virtual_host"),
        broker_user: it.text(RABBITMQ, "credentials", "user"),
        broker_password: it.secret(RABBITMQ, "credentials", "password"),
        data_queue: it.text(APPLICATION, "metric_listener", "queue_name"),
        hints_queue: it.text(MODEL_SWAPPER, "interface_bus", "scheduler_notification_queue"),
        scores_queue: it.text(MODEL_SWAPPER, "interface_bus", "results_queue"),
        results_exchange: it.text(APPLICATION, "metric_streamer", "results_exchange_name"),
        data_dir,
        models_dir,
        graphite,
        checkpoint_rows,
        profiling,
        ..Said::default()
    }
}

/// `storage.root`: absolute once expanded, links resolved as far as the path exists.
fn storage_root(expanded: &Path) -> Result<PathBuf, String> {
    if !expanded.is_absolute() {
        let shown = expanded.display();
        return Err(format!("an absolute path once variables and ~ are replaced; it is then '{shown}'"));
    }
    let existing = expanded.ancestors().find_map(|folder| Some((folder, fs::canonicalize(folder).ok()?)));
    let Some((existing, mut resolved)) = existing else { return Ok(expanded.to_owned()) };
    let rest = expanded.strip_prefix(existing).unwrap_or(Path::new(""));
    for part in rest.components() {
        if part == Component::ParentDir {
            resolved.pop();
        } else {
            resolved.push(part);
        }
    }
    Ok(resolved)
}

/// Options that are understood but do nothing here.
fn without_effect(effective: &Lookup<'_>, problems: &mut Vec<String>) -> Vec<String> {
    let mut it = Reader { lookup: effective, problems };
    let mut warnings = Vec::new();
    for (option, built_in) in LIKELIHOOD {
        let value = it.parsed(APPLICATION, "anomaly_likelihood", option, parse_number);
        if let Some(Setting { value, layer }) = value
            && value != built_in
        {
            warnings.push(format!(
                "{layer}: option {option} of [anomaly_likelihood] is {value} and has no effect: {built_in} is built into \
                 the anomaly likelihood, so scores differ from what {value} would have given"
            ));
        }
    }
    let chunk = it.parsed(APPLICATION, "metric_streamer", "chunk_size", parse_number);
    if let Some(Setting { layer, .. }) = chunk {
        warnings.push(format!(
            "{layer}: option chunk_size of [metric_streamer] has no effect: models read their rows from the database in \
             shares of their own, and scores do not depend on how rows are batched"
        ));
    }
    if let Some(Found { layer, .. }) = it.found(MODEL_SWAPPER, "interface_bus", "model_input_queue_prefix") {
        warnings.push(format!(
            "{layer}: option model_input_queue_prefix of [interface_bus] has no effect: models have no queues, the \
             scheduler reads their rows from the database; queues of that prefix left by the original may be deleted"
        ));
    }
    warnings
}

fn parse_number(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| "a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_root_is_absolute_and_without_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = fs::canonicalize(folder.path()).expect("there");
        std::os::unix::fs::symlink(&real, real.join("link")).expect("made");
        assert_eq!(storage_root(&real.join("link/a/../b")), Ok(real.join("b")));
        let error = storage_root(Path::new("models")).expect_err("relative");
        assert!(error.contains("absolute") && error.contains("'models'"), "{error}");
    }

    #[test]
    fn booleans_are_pythons() {
        assert_eq!(parse_bool("Yes"), Ok(true));
        assert_eq!(parse_bool("OFF"), Ok(false));
        assert!(parse_bool("maybe").is_err());
    }
}
