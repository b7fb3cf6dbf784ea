//! Rows as text: the forms that command line and HTTP share.
//!
//! Floats are the shortest text that reads back to the same number, so that nothing is lost on the way out.
//!
//! Source: the text form is that of htmengine's skeleton web application.

use htm_core::float_text::repr;
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
}

/// Columns of [`RowFormat::Csv`].
pub const CSV_HEADING: &str = "rowid,timestamp,value,raw_anomaly_score,anomaly_score,display_value,\
                               detection_score,alert_score\n";

impl RowFormat {
    /// The format with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "json" => Self::Json,
            "ndjson" => Self::Ndjson,
            "csv" => Self::Csv,
            "text" => Self::Text,
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
        }
    }

    /// What comes before the rows.
    pub fn opening(self) -> &'static str {
        match self {
            Self::Json => "[",
            Self::Csv => CSV_HEADING,
            Self::Ndjson | Self::Text => "",
        }
    }

    /// What comes after them.
    pub fn closing(self) -> &'static str {
        if self == Self::Json { "]\n" } else { "" }
    }

    /// Appends one row; `name` is what the text form calls the metric.
    pub fn write_row(self, text: &mut String, name: &str, row: &MetricRow, is_first: bool) {
        match self {
            Self::Json => {
                text.push_str(if is_first { "\n" } else { ",\n" });
                text.push_str(&row_json(row).to_string());
            }
            Self::Ndjson => {
                text.push_str(&row_json(row).to_string());
                text.push('\n');
            }
            Self::Csv => write_csv(text, row),
            Self::Text => {
                let score = row.anomaly_score.map_or_else(|| "None".to_owned(), repr);
                text.extend([
                    name,
                    " ",
                    &repr(row.value),
                    " ",
                    &row.timestamp.to_string(),
                    " ",
                    &score,
                    "\n",
                ]);
            }
        }
    }
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

fn write_csv(text: &mut String, row: &MetricRow) {
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
    text.push_str(&cells.join(","));
    text.push('\n');
}
