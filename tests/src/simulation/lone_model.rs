//! What a model that has nothing else to do says of a metric's samples: what the engine's rows must say, bit for bit.

use std::sync::{Arc, LazyLock};

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::model::{Model, Scores};
use htmengine::best_predictions::BestPredictions;
use htmengine::model_params::ModelStart;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::{MetricRow, StoredSample};

use super::tables::MetricTable;
use crate::lone_run::learned_scores;

/// Shared with the engines of all runs: drawing them is most of the work of a small model.
pub(super) static TEMPLATES: LazyLock<Arc<Templates>> = LazyLock::new(Arc::default);

/// The first thing that is wrong with the scores of a metric's rows in the end, `samples` being all that were ever stored;
/// `learning_rows` is how many rows a learned range takes.
pub(super) fn difference(
    table: &MetricTable,
    samples: &[StoredSample],
    learning_rows: usize,
) -> Option<String> {
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
        samples.iter().map(|sample| Record { timestamp: sample.timestamp, value: sample.value }).collect();
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
    // Samples that were deleted before this life began are unknown to it; others it has stepped before they were.
    let of_life = (1..).zip(samples).skip_while(|(row_id, _)| RowId(*row_id) < table.life_begins_at);
    let mut rows = table.rows.iter().peekable();
    for (row_id, sample) in of_life {
        let scores = match model.step(&mut workspace, RowId(row_id), sample) {
            Ok(scores) => scores,
            Err(error) => return Some(format!("row {row_id}: {error}")),
        };
        if let Some(row) = rows.next_if(|row| row.row_id.0 == row_id)
            && !is_scored(row, scores)
        {
            return Some(told(row));
        }
    }
    rows.next().map(|row| format!("row {} was never accepted", row.row_id))
}

fn is_scored(row: &MetricRow, scores: Scores) -> bool {
    let predictions = scores.best_predictions;
    let predictions = (!predictions.is_empty()).then(|| BestPredictions::new(predictions));
    bits(row.raw_anomaly_score) == Some(f64::from(scores.raw_anomaly_score).to_bits())
        && bits(row.anomaly_score) == Some(scores.anomaly_score.to_bits())
        && bits(row.detection.map(|detection| detection.score)) == Some(scores.detection.score.to_bits())
        && row.best_predictions == predictions
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
