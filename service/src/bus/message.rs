//! What travels on the bus, as plain values. Transports that need bytes encode them in their own file.

use std::net::IpAddr;

use htm_core::ids::{ModelId, RowId};

use crate::best_predictions::BestPredictions;
use crate::row_detection::RowDetection;

/// Lines as framed by the listener: whitespace-trimmed, not parsed. At most
/// [`crate::listener::batch::MAX_BATCH_LINES`] of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataMessage {
    /// One Graphite line each, without its line end. Bytes that are not UTF-8 are kept as they came.
    pub lines: Vec<Vec<u8>>,
    /// Who sent them, in the order of the lines; nobody is known for lines beyond these. Only within one process: no
    /// message at a broker has it.
    pub sources: Vec<SourceRun>,
}

impl DataMessage {
    /// Lines of nobody in particular.
    pub fn new(lines: Vec<Vec<u8>>) -> Self {
        Self { lines, sources: Vec::new() }
    }
}

/// Lines in a row that one address sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRun {
    /// Whose.
    pub source: IpAddr,
    /// So many.
    pub line_count: usize,
}

/// "The model of this metric has rows it has not stepped."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelHint {
    /// Whose.
    pub model_id: ModelId,
    /// Whether the metric itself was changed (monitored, unmonitored, deleted): what is known of it must be read anew.
    pub is_changed: bool,
}

/// What the scheduler says of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelOutput {
    /// Scores of rows.
    Scores(ScoreMessage),
    /// A model was made, failed to be made, or was removed.
    Command(CommandResult),
}

impl ModelOutput {
    /// Whose model it is about.
    pub fn model_id(&self) -> &ModelId {
        match self {
            Self::Scores(message) => &message.model_id,
            Self::Command(result) => &result.model_id,
        }
    }

    /// Rows it has scores of.
    pub fn row_count(&self) -> usize {
        match self {
            Self::Scores(message) => message.scores.len(),
            Self::Command(_) => 0,
        }
    }
}

/// How a command to a model ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Whose model.
    pub model_id: ModelId,
    /// What was asked.
    pub method: CommandMethod,
    /// Names the command: the generation of the model that it is about.
    pub command_id: String,
    /// The original's error code: 0 for success, 1 for a general failure.
    pub status: i64,
    /// Why it failed; `None` exactly with status 0.
    pub error_message: Option<String>,
}

/// What can be asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandMethod {
    /// Make it.
    DefineModel,
    /// Remove it.
    DeleteModel,
}

impl CommandMethod {
    /// The original's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DefineModel => "defineModel",
            Self::DeleteModel => "deleteModel",
        }
    }
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
#[derive(Debug, Clone, PartialEq)]
pub struct RowScore {
    /// The row.
    pub row_id: RowId,
    /// Raw anomaly score, 0..=1.
    pub raw_anomaly_score: f64,
    /// htmengine's anomaly score (1 - likelihood), 0..=1.
    pub anomaly_score: f64,
    /// Fused detection score.
    pub detection: RowDetection,
    /// `None` unless the model has a classifier.
    pub best_predictions: Option<BestPredictions>,
}

/// What is published to the results exchange.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultMessage {
    /// Finished rows.
    Inference(InferenceResults),
    /// A model was made, failed to be made, or was removed.
    Command(CommandResultMessage),
}

impl ResultMessage {
    /// Finished rows in it.
    pub fn row_count(&self) -> usize {
        match self {
            Self::Inference(results) => results.results.len(),
            Self::Command(_) => 0,
        }
    }

    /// Time of the last finished row, unix seconds.
    pub fn newest_timestamp(&self) -> Option<i64> {
        let Self::Inference(results) = self else { return None };
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of the years 0 to 9999")]
        let timestamp = results.results.last()?.ts as i64;
        Some(timestamp)
    }

    /// Drops what the original's messages do not have: its schema allows no other keys than its own.
    pub fn keep_original_keys(&mut self) {
        if let Self::Inference(results) = self {
            results.results.iter_mut().for_each(|row| row.detection = None);
        }
    }
}

/// A [`CommandResult`] as published: with what is known of the metric when a model was made.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandResultMessage {
    /// What happened.
    pub result: CommandResult,
    /// Only of a model that was made.
    pub model_info: Option<ModelInfo>,
}

/// The metric of a model that was made.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    /// Metric name.
    pub metric_name: String,
    /// The metric's server column.
    pub resource: Option<String>,
    /// The stored model specification.
    pub model_spec: serde_json::Value,
}

/// Finished rows of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct InferenceResults {
    /// The metric as it is stored.
    pub metric: ResultMetric,
    /// In row order, at least one.
    pub results: Vec<ResultRow>,
}

/// The metric part of [`InferenceResults`]; the fields of the original's inference message.
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

/// One finished row of [`InferenceResults`].
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
    /// Null unless the model has a classifier.
    #[serde(rename = "multiStepBestPredictions")]
    pub multi_step_best_predictions: Option<BestPredictions>,
    /// Fused detection score; a key that the original's messages do not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<RowDetection>,
}
