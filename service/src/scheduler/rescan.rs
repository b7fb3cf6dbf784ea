//! Looking at every metric once: at the start, after the bus was away, and now and then where changes may come without
//! a word (hints may be lost, and a database of the original has no table of changes).
//!
//! What is known of a model is compared with its metric: rows that were not stepped make it hungry, another life or
//! another status makes it forgotten. Models that this process never stepped are compared with the scores in the
//! database, once per last row.
//!
//! At the start it is also found which models lost their metric while nobody listened: those that have a file and none.
//!
//! Scores, too, may be lost where a broker loses its disk: a model whose scores do not arrive although nothing is on its
//! way publishes them again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};

use super::Scheduler;
use super::commands::is_same_life;
use super::hungry::Lane;
use crate::repository::RepositoryError;
use crate::repository::metric::{Metric, MetricStatus};

/// How often, where changes may come without a word, and until files without a metric could be looked for.
pub const RESCAN_INTERVAL: Duration = Duration::from_secs(60);
/// The pause after a look is at least so many times as long as it took.
const REST_FACTOR: u32 = 20;
/// Pause before a look that failed is repeated.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Models looked at in one turn for scores that do not arrive.
const MAX_LATE_LOOKS: usize = 256;

/// When to look, and what was found the last time.
#[derive(Debug)]
pub(super) struct Rescan {
    interval: Option<Duration>,
    /// Not before this; `None` for never.
    due: Option<Duration>,
    /// Metrics without a record here whose rows all carried scores, up to this last row.
    complete: HashMap<ModelId, RowId>,
    /// Models with unarrived scores, and how far these were.
    late: HashMap<ModelId, RowId>,
    /// Whether files without a metric were looked for.
    has_looked_for_files: bool,
    /// Where the next look for late scores begins among the metrics.
    first_late_look: usize,
}

impl Rescan {
    /// Due at once, then every `interval`.
    pub(super) fn new(interval: Option<Duration>) -> Self {
        let due = Some(Duration::ZERO);
        Self {
            interval,
            due,
            complete: HashMap::new(),
            late: HashMap::new(),
            has_looked_for_files: false,
            first_late_look: 0,
        }
    }

    /// Something may have been missed.
    pub(super) fn ask(&mut self, now: Duration) {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }
}

impl Scheduler {
    /// Looks at every metric if that is due.
    pub(super) fn rescan_if_due(&mut self) -> Result<(), RepositoryError> {
        let started = self.parts.clock.monotonic();
        if self.rescan.due.is_none_or(|due| started < due) {
            return Ok(());
        }
        match self.rescan() {
            Ok(()) => {
                let now = self.parts.clock.monotonic();
                let rest = now.saturating_sub(started).saturating_mul(REST_FACTOR);
                let again = (!self.rescan.has_looked_for_files).then_some(RESCAN_INTERVAL);
                self.rescan.due = self.rescan.interval.or(again).map(|interval| now + interval.max(rest));
                Ok(())
            }
            Err(error) => {
                self.rescan.due = Some(started + RETRY_INTERVAL);
                self.pass_over(error)
            }
        }
    }

    fn rescan(&mut self) -> Result<(), RepositoryError> {
        // Before the look, so that a change during it is seen after it.
        if self.last_change.is_none() {
            self.last_change = Some(self.parts.repository.newest_change()?);
        }
        let metrics = self.parts.repository.metrics(&[MetricStatus::Active, MetricStatus::CreatePending])?;
        let listed: HashSet<&ModelId> = metrics.iter().map(|metric| &metric.uid).collect();
        self.rescan.complete.retain(|id, _| listed.contains(id));
        self.rescan.late.retain(|id, _| listed.contains(id));
        let mut gone: Vec<ModelId> = self.records.keys().filter(|id| !listed.contains(id)).cloned().collect();
        gone.sort_unstable();
        for id in gone {
            self.dismiss(&id);
            self.hungry.push(id, Lane::Backlog);
        }
        if !self.rescan.has_looked_for_files {
            self.find_left_files(&listed);
        }
        let is_quiet = self.parts.bus.scores().depth() == 0;
        let first = self.rescan.first_late_look.min(metrics.len());
        let mut looks_left = if is_quiet { MAX_LATE_LOOKS } else { 0 };
        for metric in metrics.iter().skip(first).chain(metrics.iter().take(first)) {
            if self.records.contains_key(&metric.uid) {
                self.compare_known(metric, is_quiet, &mut looks_left)?;
            } else {
                self.compare_unknown(metric)?;
            }
        }
        self.rescan.first_late_look =
            if metrics.is_empty() { 0 } else { (first + MAX_LATE_LOOKS) % metrics.len() };
        Ok(())
    }

    /// Looks after models that have a file and are not among these: if their metric was deleted or unmonitored, their
    /// models are removed, as if that had been heard of.
    fn find_left_files(&mut self, listed: &HashSet<&ModelId>) {
        let saved = match self.parts.store.saved_models() {
            Ok(saved) => saved,
            Err(error) => {
                return self.warn(&format!(
                    "files of models without a metric were not looked for: {error}; that is tried again later"
                ));
            }
        };
        self.rescan.has_looked_for_files = true;
        let (kept, left): (Vec<ModelId>, Vec<ModelId>) =
            saved.into_iter().partition(|id| listed.contains(id));
        if kept.is_empty() && !left.is_empty() {
            tracing::warn!(
                "none of {} model files belongs to a monitored metric of this database; they stay, for they may be those \
                 of another one: remove them if not",
                left.len()
            );
            return;
        }
        for id in left {
            self.hungry.push(id, Lane::Backlog);
        }
    }

    fn compare_known(
        &mut self,
        metric: &Metric,
        is_quiet: bool,
        looks_left: &mut usize,
    ) -> Result<(), RepositoryError> {
        let id = &metric.uid;
        let Some(record) = self.records.get_mut(id) else { return Ok(()) };
        if !is_same_life(metric, record) {
            self.begin_anew(id);
            return Ok(());
        }
        let is_behind = record.stepped < metric.last_rowid;
        if metric.status == MetricStatus::CreatePending && record.is_defined && is_quiet {
            // Told already, and nothing is on its way.
            if self.parts.repository.scored_up_to(id)? < record.published {
                // Monitored anew, with equal parameters.
                self.begin_anew(id);
                return Ok(());
            }
            record.is_defined = false;
            if record.ending.is_some() {
                self.publish_again(id);
            } else {
                self.push_hungry(id.clone(), Lane::Backlog);
            }
            return Ok(());
        }
        // One whose life ends waits for its scores to arrive, however many rows come.
        if is_behind && record.ending.is_none() {
            self.push_hungry(id.clone(), Lane::Backlog);
            return Ok(());
        }
        if *looks_left > 0 && record.committed < record.published {
            *looks_left -= 1;
            self.compare_scores(id)?;
        }
        Ok(())
    }

    /// The metric has another model now.
    fn begin_anew(&mut self, id: &ModelId) {
        self.dismiss(id);
        self.hungry.push(id.clone(), Lane::Backlog);
    }

    /// Scores that were on their way at the last look and are not further by now are published again.
    fn compare_scores(&mut self, id: &ModelId) -> Result<(), RepositoryError> {
        let committed = self.parts.repository.scored_up_to(id)?;
        let Some(record) = self.records.get_mut(id) else { return Ok(()) };
        record.committed = record.committed.max(committed);
        if committed >= record.published {
            self.rescan.late.remove(id);
        } else if self.rescan.late.insert(id.clone(), committed) == Some(committed) {
            self.rescan.late.remove(id);
            self.settling.retain(|settling| settling != id);
            self.publish_again(id);
        }
        Ok(())
    }

    fn compare_unknown(&mut self, metric: &Metric) -> Result<(), RepositoryError> {
        let id = &metric.uid;
        let is_new = metric.status == MetricStatus::CreatePending;
        if !is_new && self.rescan.complete.get(id) == Some(&metric.last_rowid) {
            return Ok(());
        }
        if is_new || self.parts.repository.scored_up_to(id)? < metric.last_rowid {
            self.hungry.push(id.clone(), Lane::Backlog);
        } else {
            self.rescan.complete.insert(id.clone(), metric.last_rowid);
        }
        Ok(())
    }
}
