//! What became of models, told to the anomaly role: one was made, could not be made, or was removed.
//!
//! Invariants:
//! - That a model was made is published before its first scores, on the same queue: its metric is active when they come.
//! - Everything is published before what would keep it from being published again: a model's file is removed after its
//!   removal was published, and only the anomaly role moves a metric on from `CreatePending`. So nothing is lost with
//!   this process; a crash may repeat it.
//! - A metric in error takes no scores: it is put there when those of the rows before are committed (`ending.rs`).
//!
//! Source: the command results of htmengine's model runner. Departures: the id of a command is the generation of the
//! model, so that both sides can tell which life of it is meant; a metric in error after a row that its model refused
//! is put there by the scheduler itself, with nothing published, so that it depends on the database alone.

use htm_core::ids::ModelId;

use super::Scheduler;
use super::hungry::Lane;
use super::outcome::Failure;
use super::record::Record;
use crate::bus::BusError;
use crate::bus::message::{CommandMethod, CommandResult, ModelOutput};
use crate::model_params::{ADOPTED_GENERATION, GENERATION_CHARS, ModelStart};
use crate::repository::RepositoryError;
use crate::repository::metric::{Metric, MetricStatus};

/// The original's code for a failure that has no code of its own.
const STATUS_FAILED: i64 = 1;

/// The life of the model that a metric's parameters describe; [`unknown_generation`] if they cannot be read.
pub(super) fn generation_of(metric: &Metric) -> String {
    let start = metric.model_params.as_deref().map(ModelStart::from_json);
    start.and_then(Result::ok).map_or_else(unknown_generation, |start| start.generation)
}

/// Whether the metric's parameters still describe the model that is known. The original names no lives: of a model that it
/// started, other parameters are another one.
pub(super) fn is_same_life(metric: &Metric, record: &Record) -> bool {
    let start = metric.model_params.as_deref().map(ModelStart::from_json);
    let Some(Ok(start)) = start else { return false };
    let is_named = *start.generation != *ADOPTED_GENERATION;
    let is_equal = || start.params().is_ok_and(|params| params.description() == record.params.description());
    *start.generation == *record.generation && (is_named || is_equal())
}

/// Stands for the life of a model whose parameters cannot be read.
pub(super) fn unknown_generation() -> String {
    "0".repeat(GENERATION_CHARS)
}

impl Scheduler {
    /// Drops what is known of a model, because somebody changed its metric. That there was one is remembered until it
    /// is known what has become of it.
    pub(super) fn dismiss(&mut self, id: &ModelId) {
        if let Some(record) = self.records.get(id) {
            self.dismissed.entry(id.clone()).or_insert_with(|| record.generation.to_string());
        }
        self.forget(id);
    }

    /// Publishes that the model exists, unless that was done, and before it that its predecessor does not any more.
    pub(super) fn announce_model(&mut self, id: &ModelId, record: &mut Record) -> Result<(), BusError> {
        if let Some(earlier) = self.dismissed.get(id) {
            if **earlier != *record.generation {
                let removed = ended(id, CommandMethod::DeleteModel, earlier, None);
                self.parts.bus.scores().publish(removed)?;
            }
            self.dismissed.remove(id);
        }
        if !record.is_defined {
            let made = ended(id, CommandMethod::DefineModel, &record.generation, None);
            self.parts.bus.scores().publish(made)?;
            record.is_defined = true;
            tracing::info!(model = %id, "model made");
        }
        Ok(())
    }

    /// Removes the model of a metric that has none any more; returns whether that has to be tried again.
    pub(super) fn remove_model(&mut self, id: &ModelId) -> bool {
        let known = self.dismissed.get(id).cloned();
        if known.is_some() || self.parts.store.has_file(id) {
            let generation = known.unwrap_or_else(unknown_generation);
            let removed = ended(id, CommandMethod::DeleteModel, &generation, None);
            if let Err(error) = self.parts.bus.scores().publish(removed) {
                self.warn(&error.to_string());
                self.hungry.push(id.clone(), Lane::Backlog);
                return true;
            }
            tracing::info!(model = %id, "model removed");
        }
        self.dismissed.remove(id);
        if let Err(error) = self.parts.store.remove(id) {
            self.warn(&format!("the file of model {id} could not be removed: {error}"));
        }
        false
    }

    /// A model that came from a file may only have a bad file: put it aside and start from the rows, once. Any other
    /// failure would repeat itself, so the metric goes into error and keeps its samples. Returns whether that has to be
    /// tried again.
    pub(super) fn give_up(&mut self, id: &ModelId, failure: &Failure) -> Result<bool, RepositoryError> {
        let Failure { reason, may_rebuild, reached, generation, is_defined } = failure;
        if *may_rebuild {
            self.rebuilt.note(id, generation, *reached);
            self.forget(id);
            self.parts.store.put_aside(id, reason);
            self.hungry.push(id.clone(), Lane::Backlog);
            return Ok(false);
        }
        if *is_defined {
            // Whoever gives it up later is told so.
            self.dismissed.insert(id.clone(), generation.clone());
        }
        self.forget(id);
        tracing::error!(model = %id, "the model failed and its metric is now in error: {reason}");
        let is_away = if *is_defined {
            self.set_error(id, generation, reason)?
        } else {
            let failed = ended(id, CommandMethod::DefineModel, generation, Some(reason));
            let published = self.parts.bus.scores().publish(failed);
            published.as_ref().is_err_and(|error| {
                self.warn(&error.to_string());
                true
            })
        };
        if is_away {
            // It fails once more, and then perhaps both are there.
            self.hungry.push(id.clone(), Lane::Backlog);
        }
        Ok(is_away)
    }

    /// Whether the database was away.
    fn set_error(&mut self, id: &ModelId, generation: &str, reason: &str) -> Result<bool, RepositoryError> {
        let from = [MetricStatus::Active, MetricStatus::CreatePending];
        let set = self.parts.repository.transact(&mut |tx| {
            let metric = tx.metric(id)?;
            if metric.is_some_and(|metric| generation_of(&metric) == generation) {
                tx.set_status(id, &from, MetricStatus::Error, Some(reason))?;
            }
            Ok(())
        });
        match set {
            Ok(()) => Ok(false),
            Err(error @ RepositoryError::Transient { .. }) => self.pass_over(error).map(|()| true),
            Err(error) => self.pass_over(error).map(|()| false),
        }
    }
}

fn ended(id: &ModelId, method: CommandMethod, generation: &str, failure: Option<&String>) -> ModelOutput {
    ModelOutput::Command(CommandResult {
        model_id: id.clone(),
        method,
        command_id: generation.to_owned(),
        status: failure.map_or(0, |_| STATUS_FAILED),
        error_message: failure.cloned(),
    })
}
