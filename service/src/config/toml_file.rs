//! Our own settings file, `htmengine.toml`; every key is optional.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::access::AccessStanzas;
use super::layer::{Layer, Secret, Setting};
use super::table::Said;
use super::{address, read_text};
use crate::alerts::settings::{AlertFile, AlertSettings};
use crate::api_key::KeyStanza;

/// The file as it is written. What the keys mean is said in `table.rs`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlFile {
    database: Option<Spanned<String>>,
    broker: Option<Spanned<String>>,
    queues: Option<Queues>,
    data_dir: Option<Spanned<PathBuf>>,
    models_dir: Option<Spanned<PathBuf>>,
    rabbitmq_conf: Option<PathBuf>,
    graphite: Option<Spanned<SocketAddr>>,
    udp: Option<Spanned<bool>>,
    pickle: Option<Spanned<SocketAddr>>,
    graphite_udp: Option<Spanned<SocketAddr>>,
    graphite_allow: Option<Spanned<Vec<String>>>,
    results: Option<Spanned<SocketAddr>>,
    http: Option<Spanned<SocketAddr>>,
    http_key: Option<Spanned<Secret>>,
    api_key: Option<Spanned<Vec<KeyStanza>>>,
    http_open: Option<Spanned<bool>>,
    http_tls_cert: Option<Spanned<PathBuf>>,
    http_tls_key: Option<Spanned<PathBuf>>,
    http_hosts: Option<Spanned<Vec<String>>>,
    web_app: Option<Spanned<SocketAddr>>,
    extended_results: Option<Spanned<bool>>,
    web_app_slash_names: Option<Spanned<bool>>,
    retention_days: Option<Spanned<u32>>,
    monitor: Option<Spanned<Vec<String>>>,
    learning_rows: Option<Spanned<u32>>,
    self_series: Option<Spanned<bool>>,
    jobs: Option<Spanned<usize>>,
    checkpoint_rows: Option<Spanned<u32>>,
    memory_budget_mib: Option<Spanned<usize>>,
    max_resident_models: Option<Spanned<usize>>,
    file_cache_mib: Option<Spanned<u64>>,
    max_future_s: Option<Spanned<u32>>,
    max_connections: Option<Spanned<usize>>,
    idle_timeout_s: Option<Spanned<u64>>,
    line_timeout_s: Option<Spanned<u64>>,
    max_unfinished_mib: Option<Spanned<usize>>,
    max_metrics: Option<Spanned<usize>>,
    max_new_metrics: Option<Spanned<usize>>,
    drain_s: Option<Spanned<u32>>,
    log: Option<Spanned<String>>,
    profiling: Option<Spanned<bool>>,
    alert: Option<Spanned<AlertFile>>,
}

/// Names at the broker.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queues {
    data: Option<Spanned<String>>,
    hints: Option<Spanned<String>>,
    scores: Option<Spanned<String>>,
    results: Option<Spanned<String>>,
}

/// What a settings file says.
#[derive(Debug, Default)]
pub(super) struct FromToml {
    /// Settings with their lines.
    pub(super) said: Said,
    /// Where the original's `rabbitmq.conf` is to be looked for.
    pub(super) rabbitmq_conf: Option<PathBuf>,
}

/// Reads a file.
///
/// # Errors
/// If it cannot be read, is no TOML, or has an unknown key or a bad value; all are named with their line.
pub(super) fn read(path: &Path) -> Result<FromToml, String> {
    let shown = path.display();
    let text = read_text(path).map_err(|reason| format!("the settings file {shown} {reason}"))?;
    let file: TomlFile = toml::from_str(&text)
        .map_err(|error| format!("the settings file {shown} is not right:\n{}", told(&text, &error)))?;
    let layer = |span: Range<usize>| {
        let line = 1 + text.get(..span.start).unwrap_or_default().matches('\n').count();
        Layer::File { path: path.to_owned(), line }
    };
    let rabbitmq_conf = file.rabbitmq_conf.clone();
    let addresses = addresses(&file, &layer)?;
    let alert = alert(file.alert.as_ref(), &layer)?;
    let access = AccessStanzas {
        api_key: file.api_key.as_ref(),
        graphite_allow: file.graphite_allow.as_ref(),
        http_hosts: file.http_hosts.as_ref(),
    };
    let access = access.said(&layer)?;
    let said = addresses.or(alert).or(access).or(said(file, &layer));
    Ok(FromToml { said, rabbitmq_conf })
}

/// Parts of the names of settings that are secret, or that hold secrets.
const SECRET_NAMES: [&str; 7] = ["key", "database", "broker", "url", "headers", "hash", "authorization"];
/// The setting whose own keys are anybody's, with secrets as their values.
const HEADERS: &str = "headers";
/// What the reader says without telling a value.
const VALUELESS: [&str; 3] = ["unknown field", "missing field", "duplicate key"];

/// What is wrong with the file. The reader shows the line, and the value in it; not where that may be a secret.
fn told(text: &str, error: &toml::de::Error) -> String {
    let span = error.span().unwrap_or_default();
    let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = text.get(span.end..).and_then(|after| after.find('\n')).map_or(text.len(), |at| span.end + at);
    let lines = text.get(start..end).unwrap_or(text);
    let table = table_before(text.get(..start).unwrap_or(text)).to_lowercase();
    if is_plain_setting(lines) && !table.contains(HEADERS) {
        return error.to_string();
    }
    let line = 1 + text.get(..span.start).unwrap_or_default().matches('\n').count();
    let message = error.message();
    let what = if VALUELESS.iter().any(|start| message.starts_with(start)) {
        message
    } else {
        "it cannot be read as the setting that it is"
    };
    format!("line {line} (not shown, as it may hold a secret): {what}")
}

/// What lies above a line in its table, the table's own name included.
fn table_before(above: &str) -> &str {
    let begins = |line: &str| line.trim_start().starts_with('[');
    let lines = above.split_inclusive('\n').rev();
    let mut length = 0;
    for line in lines {
        length += line.len();
        if begins(line) {
            break;
        }
    }
    &above[above.len() - length..]
}

/// Whether this is one line, `name = value`, and the name is none of a secret. Another line of a value is not.
fn is_plain_setting(lines: &str) -> bool {
    let lower = lines.to_lowercase();
    let Some((name, value)) = lower.split_once('=') else { return false };
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    is_name(name.trim())
        && !matches!(value.trim().chars().next(), None | Some('='))
        && !lines.contains('\n')
        && !SECRET_NAMES.iter().any(|secret| lower.contains(secret))
}

fn addresses(file: &TomlFile, layer: &dyn Fn(Range<usize>) -> Layer) -> Result<Said, String> {
    let mut said = Said::default();
    for (key, given, parse) in [
        ("database", &file.database, address::database as fn(&str, &Layer) -> Result<Said, String>),
        ("broker", &file.broker, address::broker),
    ] {
        if let Some(text) = given {
            let layer = layer(text.span());
            let parsed = parse(text.get_ref(), &layer);
            said = said.or(parsed.map_err(|reason| format!("{key} ({layer}): {reason}"))?);
        }
    }
    Ok(said)
}

fn alert(given: Option<&Spanned<AlertFile>>, layer: &dyn Fn(Range<usize>) -> Layer) -> Result<Said, String> {
    let Some(file) = given else { return Ok(Said::default()) };
    let settings = AlertSettings::from_file(file.get_ref(), &|span| layer(span).to_string())?;
    Ok(Said { alert: Some(Setting::new(settings, layer(file.span()))), ..Said::default() })
}

fn said(file: TomlFile, layer: &dyn Fn(Range<usize>) -> Layer) -> Said {
    let queues = file.queues.unwrap_or_default();
    macro_rules! said {
        ($($field:ident: $given:expr),+ $(,)?) => {
            Said {
                $($field: $given.map(|it| {
                    let layer = layer(it.span());
                    Setting::new(it.into_inner(), layer)
                }),)+
                ..Said::default()
            }
        };
    }
    said! {
        data_queue: queues.data,
        hints_queue: queues.hints,
        scores_queue: queues.scores,
        results_exchange: queues.results,
        data_dir: file.data_dir,
        models_dir: file.models_dir,
        graphite: file.graphite,
        udp: file.udp,
        pickle: file.pickle,
        graphite_udp: file.graphite_udp,
        results: file.results,
        http: file.http,
        http_key: file.http_key,
        http_open: file.http_open,
        http_tls_cert: file.http_tls_cert,
        http_tls_key: file.http_tls_key,
        web_app: file.web_app,
        extended_results: file.extended_results,
        web_app_slash_names: file.web_app_slash_names,
        retention_days: file.retention_days,
        monitor: file.monitor,
        learning_rows: file.learning_rows,
        self_series: file.self_series,
        jobs: file.jobs,
        checkpoint_rows: file.checkpoint_rows,
        memory_budget_mib: file.memory_budget_mib,
        max_resident_models: file.max_resident_models,
        file_cache_mib: file.file_cache_mib,
        max_future_s: file.max_future_s,
        max_connections: file.max_connections,
        idle_timeout_s: file.idle_timeout_s,
        line_timeout_s: file.line_timeout_s,
        max_unfinished_mib: file.max_unfinished_mib,
        max_metrics: file.max_metrics,
        max_new_metrics: file.max_new_metrics,
        drain_s: file.drain_s,
        log: file.log,
        profiling: file.profiling,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FromToml, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("htmengine.toml");
        std::fs::write(&path, text).expect("written");
        read(&path)
    }

    #[test]
    fn every_value_knows_its_line() {
        let said = parse("\njobs = 3\n\n[queues]\ndata = \"x\"\n").expect("valid").said;
        let line = |layer: Layer| {
            let Layer::File { line, .. } = layer else { panic!("{layer}") };
            line
        };
        assert_eq!(line(said.jobs.expect("said").layer), 2);
        assert_eq!(line(said.data_queue.expect("said").layer), 5);
        assert_eq!(said.udp, None);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = parse("grafite = \"127.0.0.1:1\"\n").expect_err("unknown");
        assert!(error.contains("grafite") && error.contains("graphite"), "{error}");
        let error = parse("graphite = 2003\n").expect_err("wrong type");
        assert!(error.contains("line 1"), "{error}");
        let error = parse("\ndatabase = \"mysql://u:geheim@h\"\n").expect_err("no database");
        assert!(error.contains("htmengine.toml:2") && !error.contains("geheim"), "{error}");
    }
}
