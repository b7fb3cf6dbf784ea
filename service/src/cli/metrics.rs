//! `htmengine metrics`: which metrics there are, and what was refused.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};
use wildmatch::WildMatch;

use super::CliError;
use super::output::{time_text, write_table};
use crate::config::{ConfigArgs, Settings};
use crate::operations::listing::status_from_text;
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::repository::reject::RejectEntry;
use crate::repository::sqlite::OpenMode;
use crate::repository::{Repository, RepositoryError};

/// List metrics with their status, or what was refused and why
#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    /// Only metrics whose name matches ('*' matches any characters)
    #[arg(value_name = "GLOB", conflicts_with = "rejects")]
    glob: Option<String>,
    /// Only metrics of this server ("resource")
    #[arg(long, value_name = "NAME", conflicts_with = "rejects")]
    server: Option<String>,
    /// Only metrics in this status: unmonitored, active, create-pending, error, pending-data; several with commas
    #[arg(long, value_name = "STATUS", conflicts_with = "rejects", value_delimiter = ',')]
    status: Vec<String>,
    /// Instead list refused samples by reason, with the latest example
    #[arg(long)]
    rejects: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &MetricsArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let repository = settings.open_repository(OpenMode::ReadOnly)?;
    let mut out = io::stdout().lock();
    if args.rejects {
        return list_rejects(&mut out, &*repository, args.json);
    }
    let mut metrics = repository.metrics(&statuses(&args.status)?)?;
    if args.server.is_some() {
        metrics.retain(|metric| metric.server == args.server);
    }
    if let Some(glob) = &args.glob {
        let glob = WildMatch::new(glob);
        metrics.retain(|metric| glob.matches(&metric.name));
    }
    if args.json {
        let list =
            metrics.iter().map(|metric| metric_json(&*repository, metric)).collect::<Result<Vec<_>, _>>()?;
        serde_json::to_writer_pretty(&mut out, &list)?;
        writeln!(out)?;
        return Ok(());
    }
    if metrics.is_empty() {
        writeln!(out, "no metrics; one appears with its first sample")?;
        return Ok(());
    }
    let rows = metrics.iter().map(|metric| table_row(&*repository, metric)).collect::<Result<Vec<_>, _>>()?;
    let headings = ["NAME", "STATUS", "ROWS", "LAST SAMPLE (UTC)", "VALUE", "ANOMALY SCORE", "NOTE"];
    write_table(&mut out, &headings, &rows)?;
    Ok(())
}

fn statuses(texts: &[String]) -> Result<Vec<MetricStatus>, CliError> {
    let unknown =
        |text: &str| CliError::new(format!("'{text}' is no status; expected unmonitored, active, ..."));
    texts.iter().map(|text| status_from_text(text).ok_or_else(|| unknown(text))).collect()
}

fn last_row(repository: &dyn Repository, metric: &Metric) -> Result<Option<MetricRow>, RepositoryError> {
    let newest = DataQuery { limit: Some(1), ..DataQuery::default() };
    Ok(repository.data(&metric.uid, &newest)?.pop())
}

fn table_row(repository: &dyn Repository, metric: &Metric) -> Result<Vec<String>, RepositoryError> {
    let last = last_row(repository, metric)?;
    let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    Ok(vec![
        metric.name.clone(),
        metric.status.label().to_owned(),
        metric.last_rowid.to_string(),
        last.as_ref().map_or_else(|| "-".to_owned(), |row| time_text(row.timestamp)),
        text(last.as_ref().map(|row| row.value)),
        text(last.and_then(|row| row.anomaly_score)),
        metric.message.clone().unwrap_or_default(),
    ])
}

fn metric_json(repository: &dyn Repository, metric: &Metric) -> Result<Value, RepositoryError> {
    let last = last_row(repository, metric)?;
    Ok(json!({
        "uid": metric.uid.as_str(),
        "name": metric.name,
        "status": metric.status.label(),
        "status_code": metric.status.code(),
        "message": metric.message,
        "rows": metric.last_rowid.0,
        "last_timestamp": last.as_ref().map(|row| row.timestamp),
        "last_value": last.as_ref().map(|row| row.value),
        "last_anomaly_score": last.and_then(|row| row.anomaly_score),
    }))
}

fn list_rejects(out: &mut dyn Write, repository: &dyn Repository, as_json: bool) -> Result<(), CliError> {
    let rejects = repository.rejects()?;
    if as_json {
        let list: Vec<Value> = rejects.iter().map(RejectEntry::to_json).collect();
        serde_json::to_writer_pretty(&mut *out, &list)?;
        writeln!(out)?;
        return Ok(());
    }
    if rejects.is_empty() {
        writeln!(out, "nothing was refused")?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = rejects
        .iter()
        .map(|entry| {
            let example: String = entry.example.chars().take(40).collect();
            vec![
                entry.reason.name().to_owned(),
                entry.count.to_string(),
                time_text(entry.last_seen),
                example,
                entry.reason.advice().to_owned(),
            ]
        })
        .collect();
    write_table(out, &["REASON", "COUNT", "LAST SEEN (UTC)", "LATEST EXAMPLE", "WHAT TO DO"], &rows)?;
    Ok(())
}
