//! What a model that has nothing else to do says of a metric's samples: what the engine's rows must say, bit for bit.

use std::sync::{Arc, LazyLock};

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htmengine::best_predictions::BestPredictions;
use htmengine::model_params::ModelStart;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::MetricRow;

use super::tables::MetricTable;
use crate::lone_run::learned_scores;

/// Shared with the engines of all runs: drawing them is most of the work of a small model.
pub(super) static TEMPLATES: LazyLock<Arc<Templates>> = LazyLock::new(Arc::default);

/// The first thing that is wrong with the scores of a metric's rows in the end; `learning_rows` is how many rows a learned
/// range takes.
pub(super) fn difference(table: &MetricTable, learning_rows: usize) -> Option<String> {
    let metric = &table.metric;
    match metric.status {
        MetricStatus::Unmonitored | MetricStatus::PendingData => {
            let scored = table.rows.iter().find(|row| row.raw_anomaly_score.is_some());
            return scored.map(|row| format!("row {} has a score and there is no model", row.row_id));
        }
        MetricStatus::Active => {}
        MetricStatus::CreatePending | MetricStatus::Error => {
            return Some(format!("its status is {}: {:?}", metric.status.label(), metric.message));
        }
    }
    let samples: Vec<Record> =
        table.rows.iter().map(|row| Record { timestamp: row.timestamp, value: row.value }).collect();
    let start = match ModelStart::from_json(metric.model_params.as_deref().unwrap_or_default()) {
        Ok(start) => start,
        Err(error) => return Some(error.to_string()),
    };
    if start.learned_up_to.is_some() {
        let (scores, _) = learned_scores(&samples, learning_rows);
        return table.rows.iter().zip(scores).find_map(|(row, (raw, anomaly))| {
            let is_same = bits(row.raw_anomaly_score) == Some(raw.to_bits())
                && bits(row.anomaly_score) == Some(anomaly.to_bits());
            (!is_same).then(|| told(row))
        });
    }
    let params = match start.params() {
        Ok(params) => params,
        Err(error) => return Some(error.to_string()),
    };
    let mut model = Model::new(Arc::new(params), &TEMPLATES);
    let mut workspace = Workspace::new();
    table.rows.iter().zip(samples).find_map(|(row, sample)| step(&mut model, &mut workspace, row, sample))
}

fn step(model: &mut Model, workspace: &mut Workspace, row: &MetricRow, sample: Record) -> Option<String> {
    let scores = match model.step(workspace, RowId(row.row_id.0), sample) {
        Ok(scores) => scores,
        Err(error) => return Some(format!("row {}: {error}", row.row_id)),
    };
    let predictions = scores.best_predictions;
    let predictions = (!predictions.is_empty()).then(|| BestPredictions::new(predictions));
    let is_same = bits(row.raw_anomaly_score) == Some(f64::from(scores.raw_anomaly_score).to_bits())
        && bits(row.anomaly_score) == Some(scores.anomaly_score.to_bits())
        && bits(row.detection.map(|detection| detection.score)) == Some(scores.detection.score.to_bits())
        && row.best_predictions == predictions;
    (!is_same).then(|| told(row))
}

fn told(row: &MetricRow) -> String {
    match row.raw_anomaly_score {
        None => format!("row {} has no score", row.row_id),
        Some(_) => format!("row {} does not have the scores of a lone model", row.row_id),
    }
}

fn bits(score: Option<f64>) -> Option<u64> {
    score.map(f64::to_bits)
}
