//! `htmengine data NAME`: the stored rows of a metric with their scores.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use htm_core::ids::RowId;

use super::output::{time_text, write_table};
use super::{CliError, find_metric};
use crate::config::{ConfigArgs, Settings};
use crate::operations::row_format::{RowFormat, row_json};
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::repository::sqlite::OpenMode;
use crate::timestamp::parse_time;

/// Show the samples of a metric with their scores, oldest first
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// The metric, by name or id
    name: String,
    /// Not before this time: unix seconds, '2014-11-02', or '2014-11-02 01:30:00' (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Not after this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only rows with at least this anomaly score
    #[arg(long, value_name = "SCORE")]
    min_score: Option<f64>,
    /// Not before this row
    #[arg(long, value_name = "ROW")]
    first_row: Option<i64>,
    /// Not after this row
    #[arg(long, value_name = "ROW")]
    last_row: Option<i64>,
    /// Only rows that are scored
    #[arg(long)]
    scored: bool,
    /// With --limit, the oldest rows instead of the newest
    #[arg(long)]
    oldest: bool,
    /// The newest so many rows; 0 for all
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    limit: usize,
    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people
    Text,
    /// Comma-separated values with a heading
    Csv,
    /// One JSON array
    Json,
    /// One JSON object a line
    Ndjson,
}

pub(super) fn run(args: &DataArgs) -> Result<(), CliError> {
    let settings = Settings::load(&args.config)?;
    let repository = settings.open_repository(OpenMode::ReadOnly)?;
    let metric = find_metric(&*repository, &args.name)?;
    let query = DataQuery {
        since: args.since.as_deref().map(parse_time).transpose()?,
        until: args.until.as_deref().map(parse_time).transpose()?,
        first_row: args.first_row.map(RowId),
        last_row: args.last_row.map(RowId),
        min_anomaly_score: args.min_score,
        is_scored: args.scored,
        limit: (args.limit > 0).then_some(args.limit),
        keep_oldest: args.oldest,
    };
    let rows = repository.data(&metric.uid, &query)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Text => write_text(&mut out, &rows)?,
        Format::Csv => write_rows(&mut out, RowFormat::Csv, &rows)?,
        Format::Json => {
            let list: Vec<_> = rows.iter().map(row_json).collect();
            serde_json::to_writer_pretty(&mut out, &list)?;
            writeln!(out)?;
        }
        Format::Ndjson => write_rows(&mut out, RowFormat::Ndjson, &rows)?,
    }
    out.flush()?;
    Ok(())
}

fn write_rows(out: &mut dyn Write, format: RowFormat, rows: &[MetricRow]) -> io::Result<()> {
    let mut bytes = format.opening();
    for row in rows {
        format.write_row(&mut bytes, "", row, false);
        out.write_all(&bytes)?;
        bytes.clear();
    }
    out.write_all(&bytes)
}

fn write_text(out: &mut dyn Write, rows: &[MetricRow]) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "no rows match");
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let score =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
            vec![
                row.row_id.to_string(),
                time_text(row.timestamp),
                row.value.to_string(),
                score(row.raw_anomaly_score),
                score(row.anomaly_score),
                score(row.detection.map(|detection| detection.score)),
                score(row.detection.map(|detection| detection.alert_score).filter(|alert| *alert > 0.0)),
            ]
        })
        .collect();
    let headings = ["ROW", "TIME (UTC)", "VALUE", "RAW SCORE", "ANOMALY SCORE", "DETECTION SCORE", "ALERT"];
    write_table(out, &headings, &cells)
}
