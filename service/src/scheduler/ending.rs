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
            match self.end_life(&id) {
                Ok(()) => {}
                // Of this model alone.
                Err(error @ RepositoryError::Rejected { .. }) => self.pass_over(error)?,
                Err(error) => return self.pass_over(error),
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use htm_core::params::ModelParams;

    use super::super::commands::unknown_generation;
    use super::super::costs::Costs;
    use super::super::outstanding::OutstandingRows;
    use super::super::{ModelStore, SchedulerOptions, SchedulerParts, Workers};
    use super::*;
    use crate::bus::memory::{MemoryBus, MemoryBusLimits};
    use crate::clock::SystemClock;
    use crate::file_system::DiskFiles;
    use crate::monitoring::{SystemRandom, create_metric};
    use crate::repository::Repository;
    use crate::repository::metric::MetricStatus;
    use crate::repository::sqlite::{OpenMode, SqliteRepository};

    fn scheduler(repository: &Arc<SqliteRepository>, models: &Path) -> Scheduler {
        Scheduler::new(SchedulerParts {
            bus: Arc::new(MemoryBus::new(MemoryBusLimits::default())),
            repository: Arc::clone(repository) as _,
            clock: Arc::new(SystemClock::new()),
            store: ModelStore::new(Arc::new(DiskFiles), models.to_owned()),
            workers: Workers::start(1, 0).expect("a thread"),
            desk: Arc::default(),
            figures: Arc::default(),
            options: SchedulerOptions {
                checkpoint_rows: 1_000,
                memory_budget_bytes: usize::MAX,
                max_resident_models: usize::MAX,
                rescan_interval: None,
            },
        })
    }

    fn failed(scheduler: &Scheduler, reached: RowId) -> Record {
        Record {
            generation: unknown_generation().into(),
            is_defined: true,
            seen_change: 0,
            params: Arc::new(ModelParams::single_metric(0.5).expect("usable")),
            saved: RowId(0),
            stamp: None,
            stepped: reached,
            published: reached,
            committed: RowId(0),
            learned: None,
            ending: Some(Ending::Failed("made up".to_owned())),
            outstanding: OutstandingRows::new(&scheduler.row_memory),
            costs: Costs::default(),
            image_bytes: None,
            is_first_interval: true,
            unsavable: None,
            is_oversize_reported: false,
        }
    }

    /// All with a later id waited for ever.
    #[test]
    fn a_model_whose_progress_cannot_be_read_lets_others_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows");
        let repository = Arc::new(SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates"));
        let random = SystemRandom::open().expect("/dev/urandom");
        let raw = rusqlite::Connection::open(&path).expect("opens");
        let mut scheduler = scheduler(&repository, &folder.path().join("models"));
        let mut ids = Vec::new();
        repository
            .transact(&mut |tx| {
                ids = vec![create_metric(tx, "a", &random)?.uid, create_metric(tx, "b", &random)?.uid];
                ids.sort_unstable();
                for id in &ids {
                    tx.set_status(id, &[MetricStatus::Unmonitored], MetricStatus::Active, None)?;
                }
                Ok(())
            })
            .expect("made");
        for (id, progress) in ids.iter().zip(["'what'", "1"]) {
            let sql = format!("INSERT INTO score_progress VALUES ('{id}', {progress})");
            raw.execute_batch(&sql).expect("written");
            let record = Box::new(failed(&scheduler, RowId(1)));
            scheduler.await_last_scores(id.clone(), record);
        }
        let is_unreadable = repository.scored_up_to(&ids[0]);
        assert!(matches!(is_unreadable, Err(RepositoryError::Rejected { .. })), "{is_unreadable:?}");
        scheduler.end_lives().expect("nothing is away");
        let status = |id: &ModelId| repository.metric(id).expect("reads").expect("made").status;
        let statuses: Vec<MetricStatus> = ids.iter().map(status).collect();
        assert_eq!(statuses, [MetricStatus::Active, MetricStatus::Error]);
    }
}
