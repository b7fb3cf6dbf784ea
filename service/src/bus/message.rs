//! What travels on the bus, as plain values. Transports that need bytes encode them in their own file.

use htm_core::ids::{ModelId, RowId};

/// Lines as framed by the listener: whitespace-trimmed, not parsed. At most
/// [`crate::listener::batch::MAX_BATCH_LINES`] of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// One Graphite line each, without its line end. Bytes that are not UTF-8 are kept as they came.
    pub lines: Vec<Vec<u8>>,
}

/// "The model of this metric has rows it has not stepped."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelHint {
    /// Whose.
    pub model_id: ModelId,
}

/// Scores of consecutive rows of one metric, in row order.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreMessage {
    /// Which metric.
    pub model_id: ModelId,
    /// Which life of its model; scores of an earlier life are dropped.
    pub generation: String,
    /// At least one.
    pub scores: Vec<RowScore>,
}

/// What the model said of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowScore {
    /// The row.
    pub row_id: RowId,
    /// Raw anomaly score, 0..=1.
    pub raw_anomaly_score: f64,
    /// htmengine's anomaly score (1 - likelihood), 0..=1.
    pub anomaly_score: f64,
}

/// Finished rows of one metric, as published to the results exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultMessage {
    /// The metric as it is stored.
    pub metric: ResultMetric,
    /// In row order, at least one.
    pub results: Vec<ResultRow>,
}

/// The metric part of a [`ResultMessage`]; the fields of the original's inference message.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResultMetric {
    /// 32 hexadecimal digits.
    pub uid: String,
    /// Metric name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The metric's server column.
    pub resource: Option<String>,
    /// The metric's location column.
    pub location: Option<String>,
    /// Always `custom`.
    pub datasource: String,
    /// `metricSpec` of the stored model specification.
    pub spec: serde_json::Value,
}

/// One finished row of a [`ResultMessage`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResultRow {
    /// Row number within the metric, from 1.
    pub rowid: i64,
    /// Sample time, unix seconds UTC.
    pub ts: f64,
    /// Sample value.
    pub value: f64,
    /// Raw anomaly score.
    #[serde(rename = "rawAnomaly")]
    pub raw_anomaly: f64,
    /// htmengine's anomaly score.
    pub anomaly: f64,
    /// Not computed yet: always null.
    #[serde(rename = "multiStepBestPredictions")]
    pub multi_step_best_predictions: Option<serde_json::Value>,
}
