//! Deleting rows by age, as far as nobody needs them to build a model again.
//!
//! A model is its file and the rows after the last one that the file has stepped. So of a metric with a model only rows
//! before that one may go, and none while there is no whole file of the model's present life, or only one that stands beyond
//! the scores of a database that was restored to an older state. The row where the file
//! stands stays: it tells how far scores are committed, without which a file that stands beyond them would be put aside.
//! Rows of a metric that waits for data stay, its range comes from them; rows of an unmonitored one go by age alone, all but
//! the newest: without its time, samples that are delivered twice would be stored twice.
//!
//! What is deleted is gone for `htmengine rebuild` and for a model whose file is lost later: such a model is then built
//! from the rows there are.
//!
//! Invariants: at most [`ROWS_PER_TRANSACTION`] rows go at once; a pass deletes no more than were old enough when it
//! began; row ids are not used again. A metric that fails is logged and left for the next pass, and so is a pass that fails,
//! whatever the reason: a server that only lets read for a while must not end the deleting until the next start.
//!
//! Source: htmengine's `metric_garbage_collector`.
//! Departures: the original deleted by age alone, also what a model needed and a metric's newest row; rows go oldest first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use htm_core::ids::RowId;

use crate::clock::Clock;
use crate::model_params::ModelStart;
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::DataQuery;
use crate::repository::{Repository, RepositoryError};
use crate::scheduler::model_store::{ModelStore, SavedRow};
use crate::stoppable_thread::StoppableThread;

/// Rows deleted in one transaction, as in the original.
pub const ROWS_PER_TRANSACTION: usize = 1_000;
/// Time from the end of a pass to the next, as in the original.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(3_600);
/// Largest threshold: a century.
pub const MAX_THRESHOLD_DAYS: u32 = 36_525;
/// How often the stop signal is looked at between passes.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);
const DAY_S: i64 = 86_400;

/// The role.
pub struct GarbageCollector {
    /// Rows.
    pub repository: Arc<dyn Repository>,
    /// Model files, to see how far they go.
    pub store: ModelStore,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Rows older than this go; more than 0.
    pub threshold_days: u32,
}

impl GarbageCollector {
    /// One pass over all metrics; returns how many rows were deleted. Ends early once `stop` is raised.
    ///
    /// # Errors
    /// [`RepositoryError`] if the metrics cannot be listed, or anything fatal.
    pub fn run_once(&self, stop: &AtomicBool) -> Result<usize, RepositoryError> {
        let before = self.clock.unix_seconds() - i64::from(self.threshold_days) * DAY_S;
        let mut deleted = 0;
        for metric in self.repository.metrics(&[])? {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            match self.purge(&metric, before, stop) {
                Ok(rows) => deleted += rows,
                Err(error @ RepositoryError::Fatal { .. }) => return Err(error),
                Err(error) => tracing::warn!(metric = %metric.name, "old rows stay for now: {error}"),
            }
        }
        Ok(deleted)
    }

    /// Passes with `interval` between them, until `stop` is raised. What fails is logged.
    pub fn run(&self, interval: Duration, stop: &AtomicBool) {
        loop {
            match self.run_once(stop) {
                Ok(0) => {}
                Ok(rows) => {
                    tracing::info!("{rows} rows older than {} days were deleted", self.threshold_days);
                }
                Err(error @ RepositoryError::Fatal { .. }) => {
                    tracing::error!("old rows could not be deleted; the next pass tries again: {error}");
                }
                Err(error) => tracing::warn!("old rows could not be deleted: {error}"),
            }
            let next = self.clock.monotonic() + interval;
            while self.clock.monotonic() < next {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(STOP_CHECK_INTERVAL);
            }
        }
    }

    fn purge(&self, metric: &Metric, before: i64, stop: &AtomicBool) -> Result<usize, RepositoryError> {
        // What is old enough now; rows that come meanwhile belong to the next pass.
        let old = DataQuery { until: Some(before - 1), limit: Some(1), ..DataQuery::default() };
        let Some(newest_old) = self.repository.data(&metric.uid, &old)?.pop() else { return Ok(0) };
        let (mut deleted, mut saved) = (0, None);
        while !stop.load(Ordering::Relaxed) {
            // Looked at anew for each part: it may have been monitored anew since. Where that happens after this look,
            // nothing is deleted.
            let Some(metric) = self.repository.metric(&metric.uid)? else { break };
            let last = self.last_unneeded(&metric, &mut saved)?.min(newest_old.row_id);
            if last.0 < 1 {
                break;
            }
            let rows = self.repository.purge_rows(&metric, before, last, ROWS_PER_TRANSACTION)?;
            deleted += rows;
            if rows < ROWS_PER_TRANSACTION {
                break;
            }
        }
        Ok(deleted)
    }

    /// The last row that nothing needs; 0 if every row is needed. `saved` is where the model's file was found the last time.
    fn last_unneeded(&self, metric: &Metric, saved: &mut Option<SavedRow>) -> Result<RowId, RepositoryError> {
        match metric.status {
            MetricStatus::Unmonitored => Ok(RowId(metric.last_rowid.0 - 1)),
            MetricStatus::PendingData => Ok(RowId(0)),
            MetricStatus::Active | MetricStatus::CreatePending | MetricStatus::Error => {
                *saved = self.saved_row(metric, saved.take());
                let Some(row) = saved.as_ref().map(|saved| saved.row_id) else { return Ok(RowId(0)) };
                // A file beyond that is of rows that a restored database no longer has: its model is built from these.
                let is_own = row <= self.repository.scored_up_to(&metric.uid)?;
                Ok(RowId(if is_own { row.0 - 1 } else { 0 }))
            }
        }
    }

    /// Where the model's file stands.
    fn saved_row(&self, metric: &Metric, known: Option<SavedRow>) -> Option<SavedRow> {
        let start = ModelStart::from_json(metric.model_params.as_deref()?).ok()?;
        match self.store.saved_row(&metric.uid, &start.generation, known) {
            Ok(saved) => saved,
            Err(error) => {
                tracing::debug!(metric = %metric.name, "its model file cannot be read, so all rows stay: {error}");
                None
            }
        }
    }

    /// A thread that takes passes.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn spawn(self, interval: Duration) -> std::io::Result<StoppableThread> {
        StoppableThread::start("garbage", move |stop| self.run(interval, stop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::file_system::DiskFiles;
    use crate::monitoring::{SystemRandom, create_metric};
    use crate::repository::metric_data::StoredSample;
    use crate::repository::sqlite::{OpenMode, SqliteRepository};

    const MAX_LOOKS: usize = 2_000;

    #[test]
    fn a_pass_that_fails_for_good_is_followed_by_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows");
        let repository = Arc::new(SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates"));
        let random = SystemRandom::open().expect("/dev/urandom");
        let samples = [1, 2, 3].map(|timestamp| StoredSample { timestamp, value: 1.0 });
        let stored = repository.transact(&mut |tx| {
            let metric = create_metric(tx, "m", &random)?;
            tx.append_rows(&metric.uid, &samples).map(drop)
        });
        stored.expect("stored");
        let uid = repository.metric_by_name("m").expect("reads").expect("made").uid;
        // As if the tables were gone, which nobody can expect to pass.
        let raw = rusqlite::Connection::open(&path).expect("opens");
        raw.execute_batch("ALTER TABLE metric RENAME TO away").expect("renamed");
        let collector = GarbageCollector {
            repository: Arc::clone(&repository) as _,
            store: ModelStore::new(Arc::new(DiskFiles), folder.path().join("models")),
            clock: Arc::new(SystemClock::new()),
            threshold_days: 1,
        };
        let failed = collector.run_once(&AtomicBool::new(false));
        assert!(matches!(failed, Err(RepositoryError::Fatal { .. })), "{failed:?}");
        let running = collector.spawn(Duration::from_millis(1)).expect("a thread");
        thread::sleep(Duration::from_millis(50));
        raw.execute_batch("ALTER TABLE away RENAME TO metric").expect("renamed");
        let is_deleted = (0..MAX_LOOKS).any(|_| {
            thread::sleep(Duration::from_millis(10));
            repository.data(&uid, &DataQuery::default()).expect("reads").len() == 1
        });
        assert!(is_deleted && !running.is_finished(), "only the newest row is left");
    }
}
