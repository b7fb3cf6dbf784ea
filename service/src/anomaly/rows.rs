//! Scores of one message become updates of its rows, if the metric still wants them. Those that its rows carry already are
//! published whatever became of the metric: whoever committed them may have died before that.

use super::Outcome;
use crate::anomaly::display_value::stored_display_value;
use crate::bus::message::{InferenceResults, ResultMessage, ResultMetric, ResultRow, RowScore, ScoreMessage};
use crate::model_params::{ModelSpec, ModelStart};
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::{MetricRow, RowUpdate};
use crate::repository::{RepositoryError, Transaction};

/// Completes the message's rows and returns what to publish of them, or why they were left alone. Doing it twice
/// is doing it once.
pub(super) fn complete(tx: &mut dyn Transaction, message: &ScoreMessage) -> Result<Outcome, RepositoryError> {
    let (Some(first), Some(last)) = (message.scores.first(), message.scores.last()) else {
        return Ok(Outcome::dropped("a message without scores"));
    };
    let Some(metric) = tx.metric(&message.model_id)? else {
        return Ok(Outcome::dropped("the metric was deleted"));
    };
    let wanted = check_wanted(&metric, message);
    let rows = tx.rows_between(&message.model_id, first.row_id, last.row_id)?;
    // A message that comes again may come after the first of its rows were deleted for their age.
    let scores = &message.scores[message.scores.len().saturating_sub(rows.len())..];
    let is_same = !rows.is_empty()
        && rows.len() == scores.len()
        && rows.iter().zip(scores).all(|(row, score)| row.row_id == score.row_id);
    let is_stored = is_same && rows.iter().zip(scores).all(|(row, score)| carries(row, score));
    if let (Err(reason), false) = (&wanted, is_stored) {
        return Ok(Outcome::dropped(reason));
    }
    if !is_same {
        let found = rows.len();
        let expected = message.scores.len();
        return Ok(Outcome::dropped(&format!(
            "rows {} to {} are {found} in the database and {expected} in the message",
            first.row_id, last.row_id
        )));
    }
    if wanted.is_err() {
        let result = ResultMessage::Inference(result_message(metric, &rows, scores));
        return Ok(Outcome { result: Some(result), remark: None });
    }
    let updates: Vec<RowUpdate> = scores
        .iter()
        .map(|score| RowUpdate {
            row_id: score.row_id,
            raw_anomaly_score: score.raw_anomaly_score,
            anomaly_score: score.anomaly_score,
            display_value: stored_display_value(score.anomaly_score),
            best_predictions: score.best_predictions.clone(),
            detection: score.detection,
        })
        .collect();
    tx.complete_rows(&message.model_id, &updates)?;
    let result = ResultMessage::Inference(result_message(metric, &rows, scores));
    Ok(Outcome { result: Some(result), remark: None })
}

/// Whether the row has exactly these scores.
fn carries(row: &MetricRow, score: &RowScore) -> bool {
    let is_equal = |stored: Option<f64>, score: f64| stored.map(f64::to_bits) == Some(score.to_bits());
    is_equal(row.raw_anomaly_score, score.raw_anomaly_score)
        && is_equal(row.anomaly_score, score.anomaly_score)
}

fn check_wanted(metric: &Metric, message: &ScoreMessage) -> Result<(), String> {
    if metric.status != MetricStatus::Active {
        return Err(format!("the metric is {}", metric.status.label()));
    }
    let start = metric.model_params.as_deref().map(ModelStart::from_json);
    match start {
        Some(Ok(start)) if start.generation == message.generation => Ok(()),
        Some(Ok(start)) => Err(format!(
            "they are of model generation {}, now it is {}",
            message.generation, start.generation
        )),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the metric has no model".to_owned()),
    }
}

fn result_message(metric: Metric, rows: &[MetricRow], scores: &[RowScore]) -> InferenceResults {
    let spec = metric
        .parameters
        .as_deref()
        .and_then(|text| ModelSpec::from_json(text).ok())
        .map_or(serde_json::Value::Null, |spec| spec.metric_spec());
    let results = rows
        .iter()
        .zip(scores)
        .map(|(row, score)| ResultRow {
            rowid: row.row_id.0,
            #[expect(clippy::cast_precision_loss, reason = "unix seconds are exact in an f64")]
            ts: row.timestamp as f64,
            value: row.value,
            raw_anomaly: score.raw_anomaly_score,
            anomaly: score.anomaly_score,
            multi_step_best_predictions: score.best_predictions.clone(),
            detection: Some(score.detection),
        })
        .collect();
    let metric = ResultMetric {
        uid: metric.uid.to_string(),
        name: metric.name,
        description: metric.description,
        resource: metric.server,
        location: metric.location,
        datasource: metric.datasource.unwrap_or_default(),
        spec,
    };
    InferenceResults { metric, results }
}
