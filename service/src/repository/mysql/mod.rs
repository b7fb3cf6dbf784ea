//! The repository in MySQL or MariaDB: the original's schema, shared with whoever else reads or writes it.
//!
//! Where it stands: roles and command line call it from plain threads; the driver works on the shared runtime.
//!
//! Files: `settings` says where the database is, `session` has the connections, `read` the SELECTs, `transaction` the
//! writes, `alert` both for episodes, `score_progress` how far a metric is scored, `evidence` what tells of a commit whose answer was lost,
//! `schema` and `revision` the tables, [`migration`] makes them, `value` and `error` translate.
//!
//! Invariants: a transaction that returned `Ok` is committed once; one that failed changed nothing, unless the server
//! went away while it was committed and did not come back in time. Our own tables are optional: without them progress is
//! asked from the rows, rejects are counted in memory, and changes are not announced.
//!
//! Source: htmengine's repository functions.

mod alert;
mod error;
mod evidence;
pub mod migration;
mod read;
mod revision;
mod schema;
mod score_progress;
mod session;
mod settings;
mod transaction;
mod value;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use htm_core::ids::{ModelId, RowId};
use tokio::runtime::Handle;

use self::evidence::Evidence;
use self::read::RowLock;
use self::schema::{Catalogue, Features};
use self::session::{Session, SessionPool};
use self::transaction::MysqlTransaction;
use super::elevated::{ElevatedQuery, ElevatedRow};
use super::metric::{Metric, MetricStatus};
use super::metric_data::{DataQuery, MetricRow};
use super::reject::RejectEntry;
use super::retry::{RETRY_BUDGET, repeated};
use super::{Repository, RepositoryError, TransactionWork};
use crate::reject::RejectReason;

pub use self::settings::MysqlSettings;

/// A repository in MySQL or MariaDB.
#[derive(Debug)]
pub struct MysqlRepository {
    pool: SessionPool,
    features: Features,
    /// The reject ledger of a database without a table for it.
    rejects: Mutex<BTreeMap<RejectReason, RejectEntry>>,
}

impl MysqlRepository {
    /// Connects and checks the schema.
    ///
    /// # Errors
    /// [`RepositoryError::Transient`] while the server is away; [`RepositoryError::Fatal`] if it does not let us in, or
    /// the database's schema is not the original's newest revision (then `htmengine migrate` makes it).
    pub fn connect(
        settings: &MysqlSettings,
        runtime: &Handle,
    ) -> Result<Arc<dyn Repository>, RepositoryError> {
        settings.check_authorities()?;
        let pool = SessionPool::new(settings, runtime);
        let checked = pool.lend(|session| Catalogue::read(session)?.check());
        let named = |reason: String| format!("{}: {reason}", settings.shown());
        let features = checked.map_err(|(error, _)| match error {
            RepositoryError::Transient { reason } => RepositoryError::Transient { reason: named(reason) },
            RepositoryError::Rejected { reason } => RepositoryError::Rejected { reason: named(reason) },
            RepositoryError::Fatal { reason } => RepositoryError::Fatal { reason: named(reason) },
        })?;
        if features != Features::ALL {
            tracing::warn!(
                database = settings.shown(),
                "the database lacks tables or columns of htmengine's own: it works, but slower, without alerts or the \
                 detection score, and the reject ledger may be lost at the end; `htmengine migrate` adds them"
            );
        }
        Ok(Arc::new(Self { pool, features, rejects: Mutex::default() }))
    }

    /// Runs `work` on a connection until it has an answer other than a transient failure.
    fn read<T>(
        &self,
        mut work: impl FnMut(&mut Session) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        repeated(RETRY_BUDGET, || self.pool.lend(&mut work))
    }

    /// One run of `work`. `evidence` is what tells whether an earlier run was committed, whose answer was lost; when the
    /// answer to this one is lost, it is set.
    fn attempt(
        &self,
        session: &mut Session,
        work: &mut TransactionWork<'_>,
        evidence: &mut Option<Evidence>,
    ) -> Result<(), RepositoryError> {
        if let Some(expected) = evidence {
            if expected.is_there(session)? {
                return Ok(());
            }
            *evidence = None;
        }
        session.begin()?;
        let mut transaction = MysqlTransaction::new(session, self.features);
        let worked = work(&mut transaction);
        let written = transaction.evidence.take();
        // Work that goes on after the server has rolled back would commit its second half alone.
        let worked = session.transaction_failure().map_or(worked, Err);
        if let Err(error) = worked {
            session.roll_back();
            return Err(error);
        }
        let committed = session.commit();
        if committed.is_err() {
            if session.is_broken() {
                *evidence = written;
            }
            session.roll_back();
        }
        committed
    }
}

impl Repository for MysqlRepository {
    fn transact(&self, work: &mut TransactionWork<'_>) -> Result<(), RepositoryError> {
        let mut evidence = None;
        let done =
            repeated(RETRY_BUDGET, || self.pool.lend(|session| self.attempt(session, work, &mut evidence)));
        // The answer to a commit was lost when the time for repetitions was over: it may have been committed all the same.
        if done.is_err()
            && let Some(expected) = evidence
            && self.read(|session| expected.is_there(session)) == Ok(true)
        {
            return Ok(());
        }
        done
    }

    fn metric(&self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        self.read(|session| read::metric(session, id, RowLock::None))
    }

    fn metric_by_name(&self, name: &str) -> Result<Option<Metric>, RepositoryError> {
        self.read(|session| read::metric_by_name(session, name))
    }

    fn metrics(&self, statuses: &[MetricStatus]) -> Result<Vec<Metric>, RepositoryError> {
        self.read(|session| read::metrics(session, statuses))
    }

    fn metric_count(&self) -> Result<usize, RepositoryError> {
        self.read(read::metric_count)
    }

    fn rows_after(
        &self,
        id: &ModelId,
        after: RowId,
        limit: usize,
    ) -> Result<Vec<MetricRow>, RepositoryError> {
        let first = RowId(after.0.saturating_add(1));
        self.read(|session| read::rows_between(session, self.features, id, (first, RowId(i64::MAX)), limit))
    }

    fn data(&self, id: &ModelId, query: &DataQuery) -> Result<Vec<MetricRow>, RepositoryError> {
        self.read(|session| read::data(session, self.features, id, query))
    }

    fn elevated_rows(&self, query: &ElevatedQuery) -> Result<Vec<ElevatedRow>, RepositoryError> {
        self.read(|session| read::elevated_rows(session, self.features, query))
    }

    fn scored_up_to(&self, id: &ModelId) -> Result<RowId, RepositoryError> {
        self.read(|session| score_progress::scored_up_to(session, id, self.features.has_score_progress))
    }

    fn add_rejects(&self, entries: &[RejectEntry]) -> Result<(), RepositoryError> {
        if self.features.has_reject {
            // Not repeated: the caller keeps its ledger and comes again.
            return self.pool.lend(|session| write_rejects(session, entries)).map_err(|(error, _)| error);
        }
        let mut kept = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            let count = kept.get(&entry.reason).map_or(0, |kept| kept.count);
            let summed = RejectEntry { count: count.saturating_add(entry.count), ..entry.clone() };
            kept.insert(entry.reason, summed);
        }
        Ok(())
    }

    fn rejects(&self) -> Result<Vec<RejectEntry>, RepositoryError> {
        if self.features.has_reject {
            return self.read(read::rejects);
        }
        let kept = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries: Vec<RejectEntry> = kept.values().cloned().collect();
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.count), entry.reason.name()));
        Ok(entries)
    }

    fn changes_after(&self, after: i64, limit: usize) -> Result<Vec<(i64, ModelId)>, RepositoryError> {
        if !self.features.has_change {
            return Ok(Vec::new());
        }
        self.read(|session| read::changes_after(session, after, limit))
    }

    fn purge_rows(
        &self,
        seen: &Metric,
        before: i64,
        up_to: RowId,
        limit: usize,
    ) -> Result<usize, RepositoryError> {
        repeated(RETRY_BUDGET, || {
            self.pool.lend(|session| {
                session.begin()?;
                let purged = purge(session, self.features, seen, (before, up_to), limit);
                let done = purged.and_then(|purged| session.commit().map(|()| purged));
                if done.is_err() {
                    session.roll_back();
                }
                done
            })
        })
    }

    fn newest_change(&self) -> Result<i64, RepositoryError> {
        if !self.features.has_change {
            return Ok(0);
        }
        self.read(read::newest_change)
    }
}

/// The first rows of a metric, for as long as they are old.
fn purge(
    session: &mut Session,
    features: Features,
    seen: &Metric,
    (before, up_to): (i64, RowId),
    limit: usize,
) -> Result<usize, RepositoryError> {
    let id = &seen.uid;
    if !read::metric(session, id, RowLock::Exclusive)?.is_some_and(|now| now.has_same_model(seen)) {
        return Ok(0);
    }
    let times = read::first_times(session, id, up_to, limit)?;
    let old = times.into_iter().take_while(|(_, time)| *time < before);
    let Some((last, _)) = old.last() else { return Ok(0) };
    let sql = "DELETE FROM metric_data WHERE uid = ? AND rowid <= ?";
    let purged = session.execute("purging rows", sql, (id.as_str(), last.0))?;
    if features.has_score_progress {
        score_progress::after_purge(session, id, last)?;
    }
    Ok(usize::try_from(purged).unwrap_or(usize::MAX))
}

fn write_rejects(session: &mut Session, entries: &[RejectEntry]) -> Result<(), RepositoryError> {
    session.begin()?;
    let sql = "INSERT INTO reject (reason, `count`, last_seen, example) VALUES (?, ?, ?, ?) \
               ON DUPLICATE KEY UPDATE `count` = `count` + VALUES(`count`), last_seen = VALUES(last_seen), \
               example = VALUES(example)";
    let written = entries.iter().try_for_each(|entry| {
        let count = i64::try_from(entry.count).unwrap_or(i64::MAX);
        let values = (entry.reason.name(), count, entry.last_seen, entry.example.as_str());
        session.execute("counting rejects", sql, values).map(|_| ())
    });
    let done = written.and_then(|()| session.commit());
    if done.is_err() {
        session.roll_back();
    }
    done
}
