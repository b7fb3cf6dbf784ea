//! Models that give no more scores: once those that they gave are committed, a model whose learned range is too small for its
//! metric gets a next life over a wider one, and the metric of a model that refuses a row goes into error.
//!
//! Flow: `runner.rs` steps the row that outgrew the range, or comes to the row that is refused, marks the record and ends the
//! share; the model leaves memory unsaved. Once its scores are committed, either the range is widened in the database and the
//! record forgotten: the next life of the model finds no file of its own, steps all stored rows in silence, and scores
//! those after. Or the metric's status is set.
//!
//! Invariants: which rows a life scores depends on rows alone, not on when somebody looked nor on how rows were batched: a
//! life ends with the row that outgrew its range or before the one it refused, and until the next one has begun nothing of that
//! metric is stepped. A metric in error takes no scores, so it is put there last. A crash at any point repeats from the rows
//! and comes to the same row.

use htm_core::ids::{ModelId, RowId};

use super::Scheduler;
use super::hungry::Lane;
use super::outcome::Failure;
use super::record::Record;
use super::runner::is_committed;
use crate::monitoring;
use crate::repository::RepositoryError;

/// Why a model gives no more scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its learned range was outgrown with this row.
    Outgrown(RowId),
    /// It failed on the row after those it has scored, for this reason.
    Failed(String),
}

impl Scheduler {
    /// Keeps no model and saves none: this life is over once its scores are committed. Nobody waits for its checkpoint.
    pub(super) fn await_last_scores(&mut self, id: ModelId, record: Box<Record>) {
        if let Some(round) = &mut self.round {
            round.give_up(&id);
        }
        self.records.insert(id.clone(), record);
        self.ending.insert(id);
    }

    /// Ends the life of every such model whose scores are committed.
    pub(super) fn end_lives(&mut self) -> Result<(), RepositoryError> {
        let waiting: Vec<ModelId> = self.ending.iter().cloned().collect();
        for id in waiting {
            if let Err(error) = self.end_life(&id) {
                return self.pass_over(error);
            }
        }
        Ok(())
    }

    fn end_life(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        let record = self.records.get_mut(id);
        let Some((record, ending)) = record.and_then(|record| {
            let ending = record.ending.clone()?;
            Some((record, ending))
        }) else {
            self.ending.remove(id);
            return Ok(());
        };
        let last_scored = match &ending {
            Ending::Outgrown(row_id) => *row_id,
            Ending::Failed(_) => record.published,
        };
        if !is_committed(&*self.parts.repository, id, record, last_scored)? {
            return Ok(());
        }
        let (generation, is_defined) = (record.generation.to_string(), record.is_defined);
        match ending {
            Ending::Outgrown(_) => {
                self.widen(id, &generation, last_scored)?;
                self.forget(id);
                self.hungry.push(id.clone(), Lane::Backlog);
                Ok(())
            }
            Ending::Failed(reason) => {
                let failure =
                    Failure { reason, may_rebuild: false, reached: last_scored, generation, is_defined };
                self.give_up(id, &failure).map(drop)
            }
        }
    }

    /// Begins the successor of the life that ended with row `last_scored`, unless its metric changed meanwhile.
    fn widen(&self, id: &ModelId, generation: &str, last_scored: RowId) -> Result<(), RepositoryError> {
        let mut is_widened = false;
        self.parts.repository.transact(&mut |tx| {
            is_widened = monitoring::widen_range(tx, id, generation, last_scored)?;
            Ok(())
        })?;
        if is_widened {
            tracing::info!(model = %id, row = last_scored.0, "the metric outgrew its learned range; its model starts over with a wider one");
        }
        Ok(())
    }
}
