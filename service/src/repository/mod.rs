//! Where samples and scores live: one trait, so that the roles do not know which database it is.
//!
//! The rows are the write-ahead log of every model: a model file is only a cache of a fold over them.
//!
//! Invariants:
//! - Row ids of a metric are consecutive from 1 and never reused.
//! - A committed sample is never changed; its scores may be written again with the same values.
//! - [`Repository::transact`] is all or nothing and holds the write lock of what it reads for update.
//!
//! [`sqlite`] is the embedded default, [`mysql`] what the original used.

pub mod alert;
pub mod column_limit;
pub mod elevated;
pub mod metric;
pub mod metric_data;
pub mod mysql;
pub mod reject;
pub mod retry;
pub mod sqlite;

use std::fmt;

use htm_core::ids::{ModelId, RowId};

use self::alert::{AlertReads, AlertWrites};
use self::elevated::{ElevatedQuery, ElevatedRow};
use self::metric::{Metric, MetricStatus};
use self::metric_data::{DataQuery, MetricRow, RowUpdate, StoredSample};
use self::reject::RejectEntry;

/// What a role may ask of the database.
pub trait Repository: AlertReads + Send + Sync {
    /// Runs `work` in one write transaction and commits it. `work` may be run again from the start when the
    /// database reports a transient conflict, so it must have no effect but through its argument.
    ///
    /// # Errors
    /// What `work` returned (then nothing was changed), or what the database said.
    fn transact(&self, work: &mut TransactionWork<'_>) -> Result<(), RepositoryError>;

    /// The metric with this id.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn metric(&self, id: &ModelId) -> Result<Option<Metric>, RepositoryError>;

    /// The metric with this name (exact, case-sensitive).
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn metric_by_name(&self, name: &str) -> Result<Option<Metric>, RepositoryError>;

    /// Every metric whose status is in `statuses` (all if empty), by name.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn metrics(&self, statuses: &[MetricStatus]) -> Result<Vec<Metric>, RepositoryError>;

    /// How many metrics there are.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn metric_count(&self) -> Result<usize, RepositoryError> {
        Ok(self.metrics(&[])?.len())
    }

    /// Up to `limit` rows after `after`, in row order.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn rows_after(&self, id: &ModelId, after: RowId, limit: usize)
    -> Result<Vec<MetricRow>, RepositoryError>;

    /// Rows that match `query`, in row order.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn data(&self, id: &ModelId, query: &DataQuery) -> Result<Vec<MetricRow>, RepositoryError>;

    /// Rows of all metrics with elevated detection scores, newest first; none in a database without such scores.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn elevated_rows(&self, query: &ElevatedQuery) -> Result<Vec<ElevatedRow>, RepositoryError>;

    /// How many metrics and rows there are in each status; statuses without a metric are left out. A metric is young
    /// with fewer scored rows than `young_rows`.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn status_sums(&self, young_rows: i64) -> Result<Vec<StatusSum>, RepositoryError> {
        let mut sums: Vec<StatusSum> = Vec::new();
        for metric in self.metrics(&[])? {
            let scored_rows = self.scored_up_to(&metric.uid)?.0;
            let at = sums.iter().position(|sum| sum.status == metric.status).unwrap_or_else(|| {
                let (metrics, young_metrics, stored_rows, scored_rows) = (0, 0, 0, 0);
                sums.push(StatusSum {
                    status: metric.status,
                    metrics,
                    young_metrics,
                    stored_rows,
                    scored_rows,
                });
                sums.len() - 1
            });
            sums[at].metrics += 1;
            sums[at].young_metrics += usize::from(scored_rows < young_rows);
            sums[at].stored_rows += metric.last_rowid.0;
            sums[at].scored_rows += scored_rows;
        }
        Ok(sums)
    }

    /// Time of the newest row of all metrics, unix seconds; `None` without rows.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn newest_timestamp(&self) -> Result<Option<i64>, RepositoryError> {
        let newest = DataQuery { limit: Some(1), ..DataQuery::default() };
        let mut timestamp = None;
        for metric in self.metrics(&[])? {
            timestamp = timestamp.max(self.data(&metric.uid, &newest)?.first().map(|row| row.timestamp));
        }
        Ok(timestamp)
    }

    /// The highest row id that carries a raw anomaly score such that every row before it does too; 0 if none.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn scored_up_to(&self, id: &ModelId) -> Result<RowId, RepositoryError>;

    /// Adds to the reject ledger: counts are summed, the example and time replaced.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn add_rejects(&self, entries: &[RejectEntry]) -> Result<(), RepositoryError>;

    /// The reject ledger, most frequent first.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn rejects(&self) -> Result<Vec<RejectEntry>, RepositoryError>;

    /// Changes announced by [`Transaction::announce`] after number `after`, oldest first, at most `limit`,
    /// each with its number. This is how a command line tells a running engine what it did. Numbers ascend in the order of
    /// the commits, with gaps: one that was rolled back may be missing.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn changes_after(&self, after: i64, limit: usize) -> Result<Vec<(i64, ModelId)>, RepositoryError>;

    /// Deletes up to `limit` rows of a metric that are older than `before` (unix seconds) and not after row `up_to`,
    /// oldest first; returns how many. `last_rowid` stays, ids are not used again. Nothing is deleted if the metric is gone
    /// or its status or model is another one than in `seen`: then other rows may be needed.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn purge_rows(
        &self,
        seen: &Metric,
        before: i64,
        up_to: RowId,
        limit: usize,
    ) -> Result<usize, RepositoryError>;

    /// The number of the newest announced change; 0 if there is none.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn newest_change(&self) -> Result<i64, RepositoryError>;
}

/// What the metrics of one status have stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusSum {
    /// Which status.
    pub status: MetricStatus,
    /// So many metrics.
    pub metrics: usize,
    /// Of these, young ones.
    pub young_metrics: usize,
    /// Rows they ever stored, deleted ones too.
    pub stored_rows: i64,
    /// Of these, rows up to the first without a raw anomaly score.
    pub scored_rows: i64,
}

/// The body of a transaction.
pub type TransactionWork<'a> = dyn FnMut(&mut dyn Transaction) -> Result<(), RepositoryError> + 'a;

/// The statements a transaction may be made of. Reads see the transaction's own writes and stay locked
/// against other writers until it ends.
pub trait Transaction: AlertWrites {
    /// The metric with this id, locked.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn metric(&mut self, id: &ModelId) -> Result<Option<Metric>, RepositoryError>;

    /// The metric with this name, locked; also locks the `metrics` operation, so that a name that is absent
    /// stays absent until the transaction ends.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn metric_by_name(&mut self, name: &str) -> Result<Option<Metric>, RepositoryError>;

    /// Adds a metric.
    ///
    /// # Errors
    /// [`RepositoryError::Rejected`] when a column would overflow or the id exists.
    fn insert_metric(&mut self, metric: &Metric) -> Result<(), RepositoryError>;

    /// Sets status and message if the status is one of `from`; false if it was not (or no such metric).
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn set_status(
        &mut self,
        id: &ModelId,
        from: &[MetricStatus],
        to: MetricStatus,
        message: Option<&str>,
    ) -> Result<bool, RepositoryError>;

    /// Sets the model specification (`parameters`) and the derived `model_params`, both JSON text or NULL.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn set_model(
        &mut self,
        id: &ModelId,
        parameters: Option<&str>,
        model_params: Option<&str>,
    ) -> Result<(), RepositoryError>;

    /// Sets the `server` column.
    ///
    /// # Errors
    /// [`RepositoryError::Rejected`] when it is longer than the column.
    fn set_server(&mut self, id: &ModelId, server: &str) -> Result<(), RepositoryError>;

    /// Time of the metric's newest row, unix seconds; `None` without rows.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn tail_timestamp(&mut self, id: &ModelId) -> Result<Option<i64>, RepositoryError>;

    /// Appends rows with the ids after the metric's `last_rowid`, advances it, and returns the last id.
    /// The metric must exist.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn append_rows(&mut self, id: &ModelId, samples: &[StoredSample]) -> Result<RowId, RepositoryError>;

    /// Completes rows with their scores; returns how many existed.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn complete_rows(&mut self, id: &ModelId, updates: &[RowUpdate]) -> Result<usize, RepositoryError>;

    /// The rows with ids `first..=last`, in order.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn rows_between(
        &mut self,
        id: &ModelId,
        first: RowId,
        last: RowId,
    ) -> Result<Vec<MetricRow>, RepositoryError>;

    /// Sets every score column of the metric's rows to NULL; the samples stay.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn clear_scores(&mut self, id: &ModelId) -> Result<(), RepositoryError>;

    /// Smallest and largest value of the rows up to `up_to` (all if `None`); `None` without rows.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn value_range(
        &mut self,
        id: &ModelId,
        up_to: Option<RowId>,
    ) -> Result<Option<(f64, f64)>, RepositoryError>;

    /// Deletes the metric and its rows, and closes its episodes; false if there was none.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn delete_metric(&mut self, id: &ModelId) -> Result<bool, RepositoryError>;

    /// Tells running engines that this metric was created, monitored, unmonitored or deleted by someone else.
    /// Only the newest [`MAX_CHANGES`] are kept: an engine that missed more rescans every metric.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    fn announce(&mut self, id: &ModelId) -> Result<(), RepositoryError>;
}

/// How many announced changes are kept.
pub const MAX_CHANGES: i64 = 100_000;

/// What can go wrong with a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryError {
    /// Busy, locked, gone for a moment: try again with back-off.
    Transient {
        /// What was being done and what the database said.
        reason: String,
    },
    /// This value cannot be stored; drop it, count it, go on.
    Rejected {
        /// Found, expected, and what to do.
        reason: String,
    },
    /// The database is unusable: stop the role.
    Fatal {
        /// What was being done, what the database said, and what to do.
        reason: String,
    },
}

impl fmt::Display for RepositoryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient { reason } | Self::Rejected { reason } | Self::Fatal { reason } => {
                formatter.write_str(reason)
            }
        }
    }
}

impl std::error::Error for RepositoryError {}
