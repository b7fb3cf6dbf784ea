//! Scores that the broker forgot: which results of them come late, and which may never come.
//!
//! What is not committed of them is made again, and published after later rows. What is committed is not: if it was not
//! published either, nobody has its results any more but the database. That is so at once where the message waited to be
//! delivered again after its consumer had died. Where the consumer lives, and only its connection had been lost, it still has the
//! message, or results that are not confirmed, in its hands and will publish them, unless it dies before (seed 8558).

use std::collections::{BTreeMap, BTreeSet};

use htmengine::bus::message::{CommandMethod, ModelOutput, ScoreMessage};
use htmengine::model_params::ModelStart;
use htmengine::repository::metric::MetricStatus;

use super::tables::MetricTable;

/// What a life and its rows are kept by.
type Life = (String, String);

/// Everything that was forgotten, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct LostScores {
    /// Forgotten by the broker while the consumer's present life had them in its hands.
    in_hands: Vec<ModelOutput>,
    /// Rows that may come after later ones, by metric and announced life of its model.
    late: BTreeMap<Life, BTreeSet<i64>>,
    none: BTreeSet<i64>,
}

impl LostScores {
    /// The rows of this message may come late.
    pub(super) fn expect_late(&mut self, message: &ModelOutput, table: &MetricTable) {
        if let ModelOutput::Scores(scores) = message {
            let life = (scores.model_id.to_string(), announced_life(scores, table));
            let late = self.late.entry(life).or_default();
            late.extend(scores.scores.iter().map(|score| score.row_id.0));
        }
    }

    /// The rows that may come late in this life.
    pub(super) fn late_rows(&self, id: &str, generation: &str) -> &BTreeSet<i64> {
        self.late.get(&(id.to_owned(), generation.to_owned())).unwrap_or(&self.none)
    }

    /// The consumer has this message, and nobody else.
    pub(super) fn take_into_hands(&mut self, message: ModelOutput) {
        self.in_hands.push(message);
    }

    /// The consumer has nothing any more; returns what it had.
    pub(super) fn empty_hands(&mut self) -> Vec<ModelOutput> {
        std::mem::take(&mut self.in_hands)
    }
}

/// The generation that the life of these scores was announced by.
fn announced_life(scores: &ScoreMessage, table: &MetricTable) -> String {
    let start = table.metric.model_params.as_deref().map(ModelStart::from_json);
    let is_present = start.is_some_and(|start| {
        // A model over a range that was widened is only ever given up for the next one.
        start.is_ok_and(|start| start.generation == scores.generation || start.continues_after.is_some())
    });
    let announced = if is_present { table.announced_generation() } else { None };
    announced.unwrap_or_else(|| scores.generation.clone())
}

/// Whether anything of a message is committed.
pub(super) fn is_committed(message: &ModelOutput, table: &MetricTable) -> bool {
    match message {
        ModelOutput::Scores(scores) => committed_rows(scores, table).next().is_some(),
        ModelOutput::Command(result) => {
            result.method == CommandMethod::DefineModel
                && result.status == 0
                && table.metric.status == MetricStatus::Active
                && table.announced_generation().as_ref() == Some(&result.command_id)
        }
    }
}

/// The rows of a message that are stored with its scores.
pub(super) fn committed_rows<'a>(
    message: &'a ScoreMessage,
    table: &'a MetricTable,
) -> impl Iterator<Item = i64> + use<'a> {
    message.scores.iter().filter_map(|score| {
        let row = table.between(score.row_id, score.row_id).first()?;
        let is_stored = |stored: Option<f64>, score: f64| stored.map(f64::to_bits) == Some(score.to_bits());
        let is_same = is_stored(row.raw_anomaly_score, score.raw_anomaly_score)
            && is_stored(row.anomaly_score, score.anomaly_score);
        is_same.then_some(row.row_id.0)
    })
}
