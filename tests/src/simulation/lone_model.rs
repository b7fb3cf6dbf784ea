//! What a model that has nothing else to do says of a metric's samples: what the engine's rows must say, bit for bit.
//!
//! Which model that is, and whether there is one at all, follows from the plan and the samples, never from what the engine
//! stored of it.

use std::sync::{Arc, LazyLock};

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::model::{Model, Scores};
use htm_core::params::{ModelParams, ValueRange};
use htmengine::anomaly::display_value::stored_display_value;
use htmengine::best_predictions::BestPredictions;
use htmengine::model_params::ModelStart;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::{MetricRow, StoredSample};
use htmengine::row_detection::RowDetection;

use super::plan::ModelPlan;
use super::tables::MetricTable;
use crate::lone_run::learned_steps;

/// Shared with the engines of all runs: drawing them is most of the work of a small model.
pub(super) static TEMPLATES: LazyLock<Arc<Templates>> = LazyLock::new(Arc::default);

/// The status of a metric in the end, `sample_count` being all that were ever stored; `learning_rows` is how many a learned
/// range takes.
pub(super) fn expected_status(plan: &ModelPlan, sample_count: usize, learning_rows: usize) -> MetricStatus {
    match plan {
        ModelPlan::None => MetricStatus::Unmonitored,
        ModelPlan::Learned if sample_count < learning_rows => MetricStatus::PendingData,
        ModelPlan::Complete(_) | ModelPlan::Declared { .. } | ModelPlan::Learned => MetricStatus::Active,
    }
}

/// The first thing that is wrong with a metric and the scores of its rows in the end, `samples` being all that were ever
/// stored.
pub(super) fn difference(
    table: &MetricTable,
    plan: &ModelPlan,
    samples: &[StoredSample],
    learning_rows: usize,
) -> Option<String> {
    let (metric, expected) = (&table.metric, expected_status(plan, samples.len(), learning_rows));
    if metric.status != expected {
        let (found, expected) = (metric.status.label(), expected.label());
        return Some(format!("its status is {found}, expected {expected}: {:?}", metric.message));
    }
    if expected != MetricStatus::Active {
        let scored = table.rows.iter().find(|row| row.raw_anomaly_score.is_some());
        return scored.map(|row| format!("row {} has a score and there is no model", row.row_id));
    }
    // Samples that were deleted before this life began are unknown to it; others it has stepped before they were.
    let of_life = (1..).map(RowId).zip(samples).skip_while(|(row_id, _)| *row_id < table.life_begins_at);
    let records: Vec<(RowId, Record)> = of_life
        .map(|(row_id, sample)| (row_id, Record { timestamp: sample.timestamp, value: sample.value }))
        .collect();
    let steps = match steps(plan, &records, learning_rows) {
        Ok(steps) => steps,
        Err(what) => return Some(what),
    };
    let mut rows = table.rows.iter().peekable();
    for ((row_id, _), scores) in records.iter().zip(steps) {
        if let Some(row) = rows.next_if(|row| row.row_id == *row_id)
            && !is_scored(row, scores)
        {
            return Some(told(row));
        }
    }
    rows.next().map(|row| format!("row {} was never accepted", row.row_id))
}

fn steps(plan: &ModelPlan, records: &[(RowId, Record)], learning_rows: usize) -> Result<Vec<Scores>, String> {
    let params = match plan {
        ModelPlan::None => return Ok(Vec::new()),
        ModelPlan::Learned => {
            let samples: Vec<Record> = records.iter().map(|(_, record)| *record).collect();
            return Ok(learned_steps(&samples, learning_rows).0);
        }
        ModelPlan::Declared { min, max } => {
            let range = ValueRange { min: *min, max: *max };
            ModelParams::single_metric(range.resolution(None)).map_err(|error| error.to_string())
        }
        ModelPlan::Complete(given) => {
            let start = ModelStart::complete(String::new(), given.clone());
            start.params().map_err(|error| error.to_string())
        }
    };
    let mut model = Model::new(Arc::new(params?), &TEMPLATES);
    let mut workspace = Workspace::new();
    let step = |(row_id, record): &(RowId, Record)| {
        model.step(&mut workspace, *row_id, *record).map_err(|error| format!("row {row_id}: {error}"))
    };
    records.iter().map(step).collect()
}

fn is_scored(row: &MetricRow, scores: Scores) -> bool {
    let predictions = scores.best_predictions;
    let predictions = (!predictions.is_empty()).then(|| BestPredictions::new(predictions));
    let open_predictions = Some(scores.open_predictions);
    let detection = RowDetection { open_predictions, ..scores.detection.into() };
    bits(row.raw_anomaly_score) == Some(f64::from(scores.raw_anomaly_score).to_bits())
        && bits(row.anomaly_score) == Some(scores.anomaly_score.to_bits())
        && row.display_value == Some(stored_display_value(scores.anomaly_score))
        && row.best_predictions == predictions
        && row.detection.is_some_and(|found| is_same_detection(&found, &detection))
}

/// Scores to the bit, and what they are made of.
pub(super) fn is_same_detection(found: &RowDetection, expected: &RowDetection) -> bool {
    found.score.to_bits() == expected.score.to_bits()
        && found.alert_score.to_bits() == expected.alert_score.to_bits()
        && found == expected
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
