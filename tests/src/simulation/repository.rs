//! The simulated database as a process sees it: away for a while, failing before, in or after a transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use htm_core::ids::{ModelId, RowId};
use htmengine::repository::alert::{AlertCursor, AlertDelivery, AlertEpisode, AlertReads, EpisodeQuery};
use htmengine::repository::elevated::{ELEVATED_SCORE, ElevatedQuery, ElevatedRow, MAX_ELEVATED_ROWS};
use htmengine::repository::metric::{Metric, MetricStatus};
use htmengine::repository::metric_data::{DataQuery, MetricRow};
use htmengine::repository::reject::RejectEntry;
use htmengine::repository::{Repository, RepositoryError, TransactionWork};

use super::canary::Canary;
use super::fault::Fault;
use super::stage::Caller;
use super::tables::{MetricTable, Tables};
use super::transaction::SimulatedTransaction;

/// Runs of a transaction's work that fails transiently by itself.
const MAX_RUNS: usize = 8;

/// One process's client of the database.
pub(super) struct SimulatedRepository {
    caller: Caller,
    tables: Arc<Mutex<Tables>>,
}

fn away<T>(what: &str) -> Result<T, RepositoryError> {
    Err(RepositoryError::Transient { reason: format!("simulated: {what}") })
}

impl SimulatedRepository {
    pub(super) fn new(caller: Caller, tables: Arc<Mutex<Tables>>) -> Self {
        Self { caller, tables }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment before a transaction.
    fn call(&self, what: &str) -> Result<(), RepositoryError> {
        self.caller.touch(what);
        self.check_presence()
    }

    fn check_presence(&self) -> Result<(), RepositoryError> {
        if self.caller.stage().outage(Fault::DatabaseAway).is_some() {
            return away("the database is away");
        }
        Ok(())
    }

    fn read<T>(&self, what: &str, read: impl FnOnce(&Tables) -> T) -> Result<T, RepositoryError> {
        self.caller.touch_idly(what);
        self.check_presence()?;
        if self.caller.stage().strikes(Fault::ReadFailed) {
            return away("a read failed");
        }
        Ok(read(&self.lock()))
    }

    fn read_metric<T: Default>(
        &self,
        what: &str,
        id: &ModelId,
        read: impl FnOnce(&MetricTable) -> T,
    ) -> Result<T, RepositoryError> {
        self.read(what, |tables| tables.metrics.get(id).map(read).unwrap_or_default())
    }

    /// One run of the work; whether it is to be run once more.
    fn run(&self, work: &mut TransactionWork<'_>) -> Result<bool, RepositoryError> {
        let stage = self.caller.stage();
        if stage.strikes(Fault::TransactionRefused) {
            return away("a transaction could not be begun");
        }
        let is_conflict = stage.strikes(Fault::TransactionConflict);
        let is_undone = stage.strikes(Fault::TransactionUndone);
        let mut tables = self.lock();
        let mut transaction = SimulatedTransaction::new(stage, &mut tables);
        match work(&mut transaction) {
            Err(RepositoryError::Transient { .. }) => return Ok(true),
            Err(error) => return Err(error),
            Ok(()) if is_conflict => return Ok(true),
            Ok(()) if is_undone => return away("a transaction was undone"),
            Ok(()) => {}
        }
        let is_forgotten = transaction.has_scores() && stage.sings(Canary::ForgottenCommit, 12);
        if !is_forgotten {
            transaction.commit();
        }
        drop(tables);
        if stage.strikes(Fault::CommitAnswerLost) {
            return away("the answer to a commit was lost");
        }
        Ok(false)
    }
}

impl Repository for SimulatedRepository {
    fn transact(&self, work: &mut TransactionWork<'_>) -> Result<(), RepositoryError> {
        self.call("transaction")?;
        for _ in 0..MAX_RUNS {
            let is_repeated = self.run(work)?;
            if !is_repeated {
                self.caller.touch("transaction committed");
                return Ok(());
            }
        }
        away("a transaction failed again and again")
    }

    fn metric(&self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        self.read_metric("metric", id, |table| Some(table.metric.clone()))
    }

    fn metric_by_name(&self, name: &str) -> Result<Option<Metric>, RepositoryError> {
        self.read("metric by name", |tables| tables.by_name(name).map(|table| table.metric.clone()))
    }

    fn metrics(&self, statuses: &[MetricStatus]) -> Result<Vec<Metric>, RepositoryError> {
        let mut metrics = self.read("metrics", |tables| {
            let all = tables.metrics.values().map(|table| &table.metric);
            let chosen = all.filter(|metric| statuses.is_empty() || statuses.contains(&metric.status));
            chosen.cloned().collect::<Vec<_>>()
        })?;
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(metrics)
    }

    fn rows_after(
        &self,
        id: &ModelId,
        after: RowId,
        limit: usize,
    ) -> Result<Vec<MetricRow>, RepositoryError> {
        self.read_metric("rows", id, |table| {
            let rows = table.between(RowId(after.0.saturating_add(1)), RowId(i64::MAX));
            rows[..limit.min(rows.len())].to_vec()
        })
    }

    fn data(&self, id: &ModelId, query: &DataQuery) -> Result<Vec<MetricRow>, RepositoryError> {
        let query = *query;
        self.read_metric("data", id, |table| {
            let mut rows: Vec<MetricRow> =
                table.rows.iter().filter(|row| matches(row, &query)).cloned().collect();
            let limit = query.limit.unwrap_or(usize::MAX).min(rows.len());
            if query.keep_oldest {
                rows.truncate(limit);
            } else {
                rows.drain(..rows.len() - limit);
            }
            rows
        })
    }

    fn elevated_rows(&self, query: &ElevatedQuery) -> Result<Vec<ElevatedRow>, RepositoryError> {
        let min_score = query.min_score.max(ELEVATED_SCORE);
        let mut rows = self.read("elevated rows", |tables| {
            let all =
                tables.metrics.iter().flat_map(|(id, table)| table.rows.iter().map(move |row| (id, row)));
            let timely = all.filter(|(_, row)| (query.since..=query.until).contains(&row.timestamp));
            let scored = timely.filter_map(|(id, row)| Some((id, row, row.detection?)));
            let elevated = scored.filter(|(_, _, detection)| detection.score >= min_score);
            let of =
                |(id, row, detection): (&ModelId, &MetricRow, htmengine::row_detection::RowDetection)| {
                    let (score, alert_score) = (detection.score, detection.alert_score);
                    let (metric, row_id, timestamp) = (id.clone(), row.row_id, row.timestamp);
                    ElevatedRow { metric, row_id, timestamp, score, alert_score }
                };
            elevated.map(of).collect::<Vec<_>>()
        })?;
        rows.sort_by_key(|row| std::cmp::Reverse(row.timestamp));
        rows.truncate(query.limit.min(MAX_ELEVATED_ROWS));
        Ok(rows)
    }

    fn scored_up_to(&self, id: &ModelId) -> Result<RowId, RepositoryError> {
        let is_early = self.caller.stage().canary() == Some(Canary::EarlyProgress);
        self.read_metric(
            "progress",
            id,
            |table| {
                if is_early { table.metric.last_rowid } else { table.scored_up_to }
            },
        )
    }

    fn add_rejects(&self, entries: &[RejectEntry]) -> Result<(), RepositoryError> {
        self.call("rejects")?;
        if self.caller.stage().strikes(Fault::TransactionRefused) {
            return away("the ledger could not be written");
        }
        let mut tables = self.lock();
        for entry in entries {
            let kept = tables.rejects.entry(entry.reason);
            let kept = kept.or_insert_with(|| RejectEntry { count: 0, ..entry.clone() });
            *kept = RejectEntry { count: kept.count + entry.count, ..entry.clone() };
        }
        drop(tables);
        if self.caller.stage().strikes(Fault::CommitAnswerLost) {
            return away("the answer to a commit was lost");
        }
        self.caller.touch("rejects committed");
        Ok(())
    }

    fn rejects(&self) -> Result<Vec<RejectEntry>, RepositoryError> {
        let mut rejects =
            self.read("ledger", |tables| tables.rejects.values().cloned().collect::<Vec<_>>())?;
        rejects.sort_by_key(|entry| std::cmp::Reverse(entry.count));
        Ok(rejects)
    }

    fn changes_after(&self, after: i64, limit: usize) -> Result<Vec<(i64, ModelId)>, RepositoryError> {
        self.read("changes", |tables| {
            let numbered = (1..).zip(tables.changes.iter().cloned());
            numbered.skip_while(|(number, _)| *number <= after).take(limit).collect()
        })
    }

    fn purge_rows(
        &self,
        seen: &Metric,
        before: i64,
        up_to: RowId,
        limit: usize,
    ) -> Result<usize, RepositoryError> {
        self.call("purge")?;
        let mut tables = self.lock();
        let table = tables.metrics.get_mut(&seen.uid).filter(|table| table.metric.has_same_model(seen));
        let Some(table) = table else { return Ok(0) };
        let is_old = |row: &&MetricRow| row.timestamp < before && row.row_id <= up_to;
        let purged = table.rows.iter().take(limit).take_while(is_old).count();
        if let Some(last) = table.rows.drain(..purged).next_back() {
            table.purged_up_to = last.row_id;
        }
        table.advance_progress();
        drop(tables);
        self.caller.touch("purged");
        Ok(purged)
    }

    fn newest_change(&self) -> Result<i64, RepositoryError> {
        self.read("newest change", |tables| i64::try_from(tables.changes.len()).unwrap_or(i64::MAX))
    }
}

fn matches(row: &MetricRow, query: &DataQuery) -> bool {
    query.since.is_none_or(|since| row.timestamp >= since)
        && query.until.is_none_or(|until| row.timestamp <= until)
        && query.first_row.is_none_or(|first| row.row_id >= first)
        && query.last_row.is_none_or(|last| row.row_id <= last)
        && query.min_anomaly_score.is_none_or(|least| row.anomaly_score.is_some_and(|score| score >= least))
        && (!query.is_scored || row.anomaly_score.is_some())
}

impl AlertReads for SimulatedRepository {
    fn has_alert_tables(&self) -> bool {
        false
    }

    fn alert_scope(&self) -> Result<Option<String>, RepositoryError> {
        Ok(None)
    }

    fn alert_cursor(&self, _id: &ModelId) -> Result<Option<AlertCursor>, RepositoryError> {
        Ok(None)
    }

    fn alert_episode(&self, _key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
        Ok(None)
    }

    fn alert_episodes(&self, _query: &EpisodeQuery) -> Result<Vec<AlertEpisode>, RepositoryError> {
        Ok(Vec::new())
    }

    fn alert_deliveries(&self, _key: &str) -> Result<Vec<AlertDelivery>, RepositoryError> {
        Ok(Vec::new())
    }

    fn due_alert_deliveries(
        &self,
        _channel: &str,
        _now: i64,
        _limit: usize,
    ) -> Result<Vec<AlertDelivery>, RepositoryError> {
        Ok(Vec::new())
    }
}
