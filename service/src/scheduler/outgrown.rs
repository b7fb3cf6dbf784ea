//! Models whose learned range is too small for their metric: each gets a next life over a wider one.
//!
//! Flow: `runner.rs` steps the row that outgrew the range, marks the record and ends the share; the model leaves memory
//! unsaved. Once the scores up to that row are committed, the range is widened in the database and the record forgotten:
//! the next life of the model finds no file of its own, steps all stored rows in silence, and scores those after.
//!
//! Invariants: which rows a life scores depends on rows alone, not on when somebody looked: a life ends with the row that
//! outgrew its range, and until the next one has begun nothing of that metric is stepped. A crash at any point repeats
//! from the rows and comes to the same row.

use htm_core::ids::{ModelId, RowId};

use super::Scheduler;
use super::hungry::Lane;
use super::runner::is_committed;
use crate::monitoring;
use crate::repository::RepositoryError;

impl Scheduler {
    /// Begins the next life of every outgrown model whose scores are committed.
    pub(super) fn widen_outgrown(&mut self) -> Result<(), RepositoryError> {
        let waiting: Vec<ModelId> = self.outgrown.iter().cloned().collect();
        for id in waiting {
            let last_scored = self.records.get(&id).and_then(|record| record.outgrown);
            let Some(last_scored) = last_scored else {
                self.outgrown.remove(&id);
                continue;
            };
            match self.widen(&id, last_scored) {
                Ok(true) => {
                    self.forget(&id);
                    self.hungry.push(id, Lane::Backlog);
                }
                Ok(false) => {}
                Err(error) => return self.pass_over(error),
            }
        }
        Ok(())
    }

    /// Whether the life that ended with row `last_scored` is over: its successor begun, or its metric changed meanwhile.
    fn widen(&mut self, id: &ModelId, last_scored: RowId) -> Result<bool, RepositoryError> {
        let repository = &*self.parts.repository;
        let Some(record) = self.records.get_mut(id) else { return Ok(true) };
        if !is_committed(repository, id, record, last_scored)? {
            return Ok(false);
        }
        let mut is_widened = false;
        repository.transact(&mut |tx| {
            is_widened = monitoring::widen_range(tx, id, &record.generation, last_scored)?;
            Ok(())
        })?;
        if is_widened {
            tracing::info!(model = %id, row = last_scored.0, "the metric outgrew its learned range; its model starts over with a wider one");
        }
        Ok(true)
    }
}
