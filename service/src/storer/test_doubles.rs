//! What the storer's tests put in place of the world: a queue that is only a list, a clock that stands still, a
//! repository with troubles.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};

use htm_core::ids::RowId;

use super::*;
use crate::bus::message::{DataMessage, ModelOutput, ResultMessage};
use crate::bus::{Delivery, DeliveryTag, Fanout, Queue, TryPublishError};
use crate::repository::TransactionWork;
use crate::repository::alert::{AlertCursor, AlertDelivery, AlertEpisode, AlertReads, EpisodeQuery};
use crate::repository::elevated::{ElevatedQuery, ElevatedRow};
use crate::repository::metric_data::{DataQuery, MetricRow};
use crate::repository::reject::RejectEntry;
use crate::repository::sqlite::SqliteRepository;

/// The time at which every test begins, unix seconds.
const NOW: i64 = 1_500_000_000;

/// Keeps what was delivered until it is acknowledged, and delivers it again on demand.
pub(super) struct ListQueue<T> {
    state: Mutex<ListState<T>>,
    room: usize,
}

struct ListState<T> {
    waiting: VecDeque<Delivery<T>>,
    delivered: VecDeque<Delivery<T>>,
    published: u64,
    is_closed: bool,
}

impl<T: Clone> ListQueue<T> {
    fn new(room: usize) -> Self {
        let (waiting, delivered) = (VecDeque::new(), VecDeque::new());
        Self { state: Mutex::new(ListState { waiting, delivered, published: 0, is_closed: false }), room }
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.state.lock().expect("not poisoned").delivered.len()
    }

    pub(super) fn drain(&self) -> Vec<T> {
        let mut state = self.state.lock().expect("not poisoned");
        state.waiting.drain(..).map(|delivery| delivery.message).collect()
    }
}

impl<T: Clone + Send + Sync> Queue<T> for ListQueue<T> {
    fn publish(&self, message: T) -> Result<(), BusError> {
        self.try_publish(message).map_err(|_| BusError::Closed)
    }

    fn try_publish(&self, message: T) -> Result<(), TryPublishError<T>> {
        let mut state = self.state.lock().expect("not poisoned");
        if state.waiting.len() >= self.room {
            return Err(TryPublishError::Full(message));
        }
        state.published += 1;
        let tag = DeliveryTag(state.published);
        state.waiting.push_back(Delivery { tag, message });
        Ok(())
    }

    fn receive(&self, limit: usize, _wait: Duration) -> Result<Vec<Delivery<T>>, BusError> {
        let mut state = self.state.lock().expect("not poisoned");
        if state.waiting.is_empty() && state.is_closed {
            return Err(BusError::Closed);
        }
        let count = limit.min(state.waiting.len());
        let taken: Vec<Delivery<T>> = state.waiting.drain(..count).collect();
        state.delivered.extend(taken.iter().cloned());
        Ok(taken)
    }

    fn acknowledge(&self, tag: DeliveryTag) -> Result<(), BusError> {
        self.state.lock().expect("not poisoned").delivered.retain(|delivery| delivery.tag > tag);
        Ok(())
    }

    fn close(&self) {
        self.state.lock().expect("not poisoned").is_closed = true;
    }

    fn depth(&self) -> usize {
        self.state.lock().expect("not poisoned").waiting.len()
    }
}

pub(super) struct ListBus {
    pub(super) data: ListQueue<DataMessage>,
    pub(super) hints: ListQueue<ModelHint>,
}

impl ListBus {
    pub(super) fn new(hint_room: usize) -> Self {
        Self { data: ListQueue::new(usize::MAX), hints: ListQueue::new(hint_room) }
    }
}

impl Bus for ListBus {
    fn data(&self) -> &dyn Queue<DataMessage> {
        &self.data
    }

    fn hints(&self) -> &dyn Queue<ModelHint> {
        &self.hints
    }

    fn scores(&self) -> &dyn Queue<ModelOutput> {
        unreachable!("the storer handles no scores")
    }

    fn results(&self) -> &dyn Fanout<ResultMessage> {
        unreachable!("the storer publishes no results")
    }
}

#[derive(Default)]
pub(super) struct ManualClock {
    /// Seconds since the test began.
    pub(super) elapsed: AtomicI64,
}

impl Clock for ManualClock {
    fn unix_seconds(&self) -> i64 {
        NOW + self.elapsed.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.elapsed.load(Ordering::Relaxed)).expect("not negative"))
    }
}

/// Distinct across the storers of one test by its first byte.
pub(super) struct Counting {
    pub(super) first: u8,
    pub(super) calls: AtomicU64,
}

impl RandomBytes for Counting {
    fn random_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0] = self.first;
        bytes[8..].copy_from_slice(&self.calls.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        bytes
    }
}

/// What the next transactions do instead of succeeding.
#[derive(Clone, Copy)]
pub(super) enum Trouble {
    /// Runs the work, then rolls back and reports that it may pass.
    Transient,
    /// Runs the work, rolls back, and runs it again, as a repository does by itself.
    RunTwice,
    /// The database is unusable.
    Fatal,
}

pub(super) struct TroubledRepository {
    pub(super) inner: SqliteRepository,
    pub(super) troubles: Mutex<VecDeque<Trouble>>,
    /// The ledger cannot be stored while this is set.
    pub(super) is_ledger_away: AtomicBool,
}

impl TroubledRepository {
    fn roll_back(&self, work: &mut TransactionWork<'_>) -> Result<(), RepositoryError> {
        let rolled_back = self.inner.transact(&mut |tx| {
            work(tx)?;
            Err(RepositoryError::Rejected { reason: "rolled back".to_owned() })
        });
        assert!(rolled_back.is_err());
        Err(RepositoryError::Transient { reason: "made up".to_owned() })
    }
}

impl Repository for TroubledRepository {
    fn transact(&self, work: &mut TransactionWork<'_>) -> Result<(), RepositoryError> {
        let trouble = self.troubles.lock().expect("not poisoned").pop_front();
        match trouble {
            Some(Trouble::Transient) => self.roll_back(work),
            Some(Trouble::RunTwice) => self.roll_back(work).or_else(|_| self.inner.transact(work)),
            Some(Trouble::Fatal) => Err(RepositoryError::Fatal { reason: "made up".to_owned() }),
            None => self.inner.transact(work),
        }
    }

    fn metric(&self, id: &ModelId) -> Result<Option<Metric>, RepositoryError> {
        self.inner.metric(id)
    }

    fn metric_by_name(&self, name: &str) -> Result<Option<Metric>, RepositoryError> {
        self.inner.metric_by_name(name)
    }

    fn metrics(&self, statuses: &[MetricStatus]) -> Result<Vec<Metric>, RepositoryError> {
        self.inner.metrics(statuses)
    }

    fn rows_after(
        &self,
        id: &ModelId,
        after: RowId,
        limit: usize,
    ) -> Result<Vec<MetricRow>, RepositoryError> {
        self.inner.rows_after(id, after, limit)
    }

    fn data(&self, id: &ModelId, query: &DataQuery) -> Result<Vec<MetricRow>, RepositoryError> {
        self.inner.data(id, query)
    }

    fn elevated_rows(&self, query: &ElevatedQuery) -> Result<Vec<ElevatedRow>, RepositoryError> {
        self.inner.elevated_rows(query)
    }

    fn scored_up_to(&self, id: &ModelId) -> Result<RowId, RepositoryError> {
        self.inner.scored_up_to(id)
    }

    fn add_rejects(&self, entries: &[RejectEntry]) -> Result<(), RepositoryError> {
        if self.is_ledger_away.load(Ordering::Relaxed) {
            return Err(RepositoryError::Transient { reason: "made up".to_owned() });
        }
        self.inner.add_rejects(entries)
    }

    fn rejects(&self) -> Result<Vec<RejectEntry>, RepositoryError> {
        self.inner.rejects()
    }

    fn changes_after(&self, after: i64, limit: usize) -> Result<Vec<(i64, ModelId)>, RepositoryError> {
        self.inner.changes_after(after, limit)
    }

    fn purge_rows(
        &self,
        seen: &Metric,
        before: i64,
        up_to: RowId,
        limit: usize,
    ) -> Result<usize, RepositoryError> {
        self.inner.purge_rows(seen, before, up_to, limit)
    }

    fn newest_change(&self) -> Result<i64, RepositoryError> {
        self.inner.newest_change()
    }
}

impl AlertReads for TroubledRepository {
    fn has_alert_tables(&self) -> bool {
        self.inner.has_alert_tables()
    }

    fn alert_scope(&self) -> Result<Option<String>, RepositoryError> {
        self.inner.alert_scope()
    }

    fn alert_cursor(&self, id: &ModelId) -> Result<Option<AlertCursor>, RepositoryError> {
        self.inner.alert_cursor(id)
    }

    fn alert_episode(&self, key: &str) -> Result<Option<AlertEpisode>, RepositoryError> {
        self.inner.alert_episode(key)
    }

    fn alert_episodes(&self, query: &EpisodeQuery) -> Result<Vec<AlertEpisode>, RepositoryError> {
        self.inner.alert_episodes(query)
    }

    fn alert_deliveries(&self, key: &str) -> Result<Vec<AlertDelivery>, RepositoryError> {
        self.inner.alert_deliveries(key)
    }

    fn due_alert_deliveries(
        &self,
        channel: &str,
        now: i64,
        limit: usize,
    ) -> Result<Vec<AlertDelivery>, RepositoryError> {
        self.inner.due_alert_deliveries(channel, now, limit)
    }
}
