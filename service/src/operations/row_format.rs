//! Rows as bytes: the forms that command line and HTTP share.
//!
//! In text floats are the shortest text that reads back to the same number, so that nothing is lost on the way out.
//!
//! Source: the text form is that of htmengine's skeleton web application; the stream of `MessagePack` is Taurus': an object
//! with the names of the columns, then an array a row.

use std::collections::BTreeMap;

use htm_core::float_text::repr;
use serde::Serialize;
use serde_json::{Value, json};

use crate::repository::metric_data::MetricRow;
use crate::timestamp::format_seconds;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFormat {
    /// One JSON array of objects, one object a line.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a heading.
    Csv,
    /// `name value unix_seconds anomaly_score` a line, `None` for a row without a score.
    Text,
    /// A stream of `MessagePack` values: `{"names": [..]}`, then an array for each row with what [`COLUMNS`] names.
    Msgpack,
}

/// Columns of [`RowFormat::Csv`] and [`RowFormat::Msgpack`].
pub const COLUMNS: [&str; 8] = [
    "rowid",
    "timestamp",
    "value",
    "raw_anomaly_score",
    "anomaly_score",
    "display_value",
    "detection_score",
    "alert_score",
];

impl RowFormat {
    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "json" => Self::Json,
            "ndjson" => Self::Ndjson,
            "csv" => Self::Csv,
            "text" => Self::Text,
            "msgpack" => Self::Msgpack,
            _ => return None,
        })
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Msgpack => "application/octet-stream",
        }
    }

    /// What comes before the rows.
    pub fn opening(self) -> Vec<u8> {
        match self {
            Self::Json => b"[".to_vec(),
            Self::Csv => format!("{}\n", COLUMNS.join(",")).into_bytes(),
            Self::Msgpack => packed(&BTreeMap::from([("names", COLUMNS)])),
            Self::Ndjson | Self::Text => Vec::new(),
        }
    }

    /// What comes after them.
    pub fn closing(self) -> &'static [u8] {
        if self == Self::Json { b"]\n" } else { b"" }
    }

    /// Appends one row; `name` is what the text form calls the metric.
    pub fn write_row(self, out: &mut Vec<u8>, name: &str, row: &MetricRow, is_first: bool) {
        match self {
            Self::Json => {
                out.extend_from_slice(if is_first { b"\n" } else { b",\n" });
                out.extend_from_slice(row_json(row).to_string().as_bytes());
            }
            Self::Ndjson => out.extend_from_slice(format!("{}\n", row_json(row)).as_bytes()),
            Self::Csv => write_csv(out, row),
            Self::Text => {
                let score = row.anomaly_score.map_or_else(|| "None".to_owned(), repr);
                let (value, time) = (repr(row.value), row.timestamp);
                out.extend_from_slice(format!("{name} {value} {time} {score}\n").as_bytes());
            }
            Self::Msgpack => {
                let detection = row.detection;
                let (score, alert) = (detection.map(|it| it.score), detection.map(|it| it.alert_score));
                let (raw, anomaly) = (row.raw_anomaly_score, row.anomaly_score);
                let columns =
                    (row.row_id, row.timestamp, row.value, raw, anomaly, row.display_value, score, alert);
                out.extend_from_slice(&packed(&columns));
            }
        }
    }
}

/// As `MessagePack`.
///
/// # Panics
/// Never: numbers, texts and sequences of known lengths have a form.
fn packed(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("numbers, texts and sequences have a form")
}

/// A row as JSON.
pub fn row_json(row: &MetricRow) -> Value {
    json!({
        "rowid": row.row_id.0,
        "timestamp": row.timestamp,
        "time": time_text(row.timestamp),
        "value": row.value,
        "raw_anomaly_score": row.raw_anomaly_score,
        "anomaly_score": row.anomaly_score,
        "display_value": row.display_value,
        "multi_step_best_predictions": row.best_predictions,
        "detection": row.detection,
    })
}

/// A stored time, or its number if it has no calendar form.
pub fn time_text(unix_seconds: i64) -> String {
    format_seconds(unix_seconds).unwrap_or_else(|_| unix_seconds.to_string())
}

fn write_csv(out: &mut Vec<u8>, row: &MetricRow) {
    let score = |value: Option<f64>| value.map_or_else(String::new, repr);
    let display = row.display_value.map_or_else(String::new, |value| value.to_string());
    let cells = [
        row.row_id.to_string(),
        time_text(row.timestamp),
        repr(row.value),
        score(row.raw_anomaly_score),
        score(row.anomaly_score),
        display,
        score(row.detection.map(|detection| detection.score)),
        score(row.detection.map(|detection| detection.alert_score)),
    ];
    out.extend_from_slice(cells.join(",").as_bytes());
    out.push(b'\n');
}
