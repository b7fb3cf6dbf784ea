//! One model's share of a turn: open it if it is not resident, step the rows it has not seen, hand out scores.
//!
//! Runs on a worker thread and touches nothing but its own model, the repository's rows and the model's file, so
//! a broken model costs only itself. A panic while stepping is contained: a model that came from a file is put
//! aside and rebuilt from its rows; one that fails even then is put into error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use htm_core::encoder::Record;
use htm_core::ids::{ModelId, RowId};
use htm_core::model::workspace::Workspace;
use htm_core::params::ModelParams;

use super::model_store::ModelStore;
use super::slot::Slot;
use crate::bus::message::{RowScore, ScoreMessage};
use crate::model_params::ModelStart;
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::MetricRow;
use crate::repository::{Repository, RepositoryError};

/// What a worker needs.
pub(super) struct Runner<'a> {
    pub(super) repository: &'a dyn Repository,
    pub(super) store: &'a ModelStore,
    pub(super) rows_per_turn: usize,
}

/// What became of one model's share.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Stepped as far as its share went.
    Stepped { slot: Box<Slot>, scores: Option<ScoreMessage>, has_more: bool },
    /// There is nothing to step any more: deleted, unmonitored, in error or not yet started.
    Idle {
        /// Whether its file must go, because its metric has no model any more.
        is_gone: bool,
    },
    /// Database or files are away: try again.
    Postponed { slot: Option<Box<Slot>>, reason: String },
    /// The model failed; its metric is to be put into error unless rebuilding may help.
    Failed { reason: String, may_rebuild: bool },
}

impl Runner<'_> {
    /// Takes one share.
    pub(super) fn run(&self, id: &ModelId, slot: Option<Box<Slot>>, workspace: &mut Workspace) -> Outcome {
        let metric = match self.repository.metric(id) {
            Ok(Some(metric)) => metric,
            Ok(None) => return Outcome::Idle { is_gone: true },
            Err(error) => return Outcome::Postponed { slot, reason: error.to_string() },
        };
        match metric.status {
            MetricStatus::Active | MetricStatus::CreatePending => {}
            MetricStatus::Unmonitored => return Outcome::Idle { is_gone: true },
            MetricStatus::PendingData | MetricStatus::Error => return Outcome::Idle { is_gone: false },
        }
        let slot = match self.open(&metric, slot) {
            Ok(slot) => slot,
            Err(outcome) => return outcome,
        };
        if let Err(outcome) = self.activate(&metric) {
            return outcome;
        }
        self.step(&metric, slot, workspace)
    }

    /// The resident model if it is of the metric's present life, else the saved or a new one.
    fn open(&self, metric: &Metric, slot: Option<Box<Slot>>) -> Result<Box<Slot>, Outcome> {
        let failed = |reason: String| Outcome::Failed { reason, may_rebuild: false };
        let text = metric.model_params.as_deref().ok_or_else(|| {
            failed("the metric has no model parameters; unmonitor it and monitor it again".to_owned())
        })?;
        let start = ModelStart::from_json(text).map_err(|error| failed(error.to_string()))?;
        if let Some(slot) = slot
            && slot.generation == start.generation
        {
            return Ok(slot);
        }
        let params =
            ModelParams::single_metric(start.resolution).map_err(|error| failed(error.to_string()))?;
        let (model, is_from_file) = self
            .store
            .open(&metric.uid, &start.generation, &Arc::new(params))
            .map_err(|error| Outcome::Postponed { slot: None, reason: error.to_string() })?;
        let saved_row_id = model.last_stepped_row_id();
        let scored_up_to = self
            .repository
            .scored_up_to(&metric.uid)
            .map_err(|error| Outcome::Postponed { slot: None, reason: error.to_string() })?;
        if saved_row_id > scored_up_to {
            // Older rows came back with a restored database: the file learned rows that no longer exist, and
            // others may have their ids by now.
            let reason =
                format!("it stands at row {saved_row_id}, scores are stored up to row {scored_up_to}");
            return match self.store.put_aside(&metric.uid, &reason) {
                Ok(()) => Err(Outcome::Postponed { slot: None, reason }),
                Err(error) => Err(Outcome::Postponed { slot: None, reason: error.to_string() }),
            };
        }
        Ok(Box::new(Slot {
            model,
            generation: start.generation,
            is_from_file,
            saved_row_id,
            last_used_turn: 0,
            settling_since_turn: None,
        }))
    }

    /// A model that exists makes its metric active.
    fn activate(&self, metric: &Metric) -> Result<(), Outcome> {
        if metric.status == MetricStatus::Active {
            return Ok(());
        }
        let activated = self.repository.transact(&mut |tx| {
            tx.set_status(&metric.uid, &[MetricStatus::CreatePending], MetricStatus::Active, None).map(|_| ())
        });
        activated.map_err(|error| Outcome::Postponed { slot: None, reason: error.to_string() })
    }

    fn step(&self, metric: &Metric, mut slot: Box<Slot>, workspace: &mut Workspace) -> Outcome {
        let after = slot.model.last_stepped_row_id();
        let rows = match self.repository.rows_after(&metric.uid, after, self.rows_per_turn) {
            Ok(rows) => rows,
            Err(error) => return Outcome::Postponed { slot: Some(slot), reason: error.to_string() },
        };
        if rows.is_empty() {
            return Outcome::Stepped { slot, scores: None, has_more: false };
        }
        let is_from_file = slot.is_from_file;
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            let scores = step_rows(&mut slot, &rows, workspace);
            (slot, scores)
        }));
        let (slot, scores) = match stepped {
            Ok((slot, Ok(scores))) => (slot, scores),
            Ok((_, Err(reason))) => return Outcome::Failed { reason, may_rebuild: false },
            Err(panic) => {
                let reason = format!("stepping rows after {after} failed: {}", panic_text(&*panic));
                return Outcome::Failed { reason, may_rebuild: is_from_file };
            }
        };
        let has_more = rows.len() == self.rows_per_turn;
        let message =
            ScoreMessage { model_id: metric.uid.clone(), generation: slot.generation.clone(), scores };
        Outcome::Stepped { slot, scores: Some(message), has_more }
    }
}

fn step_rows(
    slot: &mut Slot,
    rows: &[MetricRow],
    workspace: &mut Workspace,
) -> Result<Vec<RowScore>, String> {
    let mut scores = Vec::with_capacity(rows.len());
    for row in rows {
        let record = Record { timestamp: row.timestamp, value: row.value };
        let score = slot
            .model
            .step(workspace, row.row_id, record)
            .map_err(|error| format!("row {}: {error}", row.row_id))?;
        scores.push(RowScore {
            row_id: row.row_id,
            raw_anomaly_score: f64::from(score.raw_anomaly_score),
            anomaly_score: score.anomaly_score,
        });
    }
    Ok(scores)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

/// Whether every score of the model up to `row_id` is in the database, so that its file may stand there.
pub(super) fn is_committed(
    repository: &dyn Repository,
    id: &ModelId,
    row_id: RowId,
) -> Result<bool, RepositoryError> {
    Ok(repository.scored_up_to(id)? >= row_id)
}
