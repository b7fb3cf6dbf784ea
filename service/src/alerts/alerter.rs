//! The role that feeds the folds: published rows where they come at the right moment, stored rows otherwise, and from time
//! to time a look at all metrics and their signals.
//!
//! A turn takes messages, works off some metrics that are behind, looks at some signals, keeps what came of it in one
//! transaction, and every few seconds notes how far it has come. All of it is bounded; what is left is for the next turn.
//!
//! Invariants: a metric's cursor is only kept once everything its folds said up to there is kept; what the database refuses of
//! one metric keeps no other waiting.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};

use super::episode::ScoredRow;
use super::rule::{matchers_of, scope_of};
use super::settings::AlertSettings;
use super::store::{self, Item};
use super::watch::{SeenSignals, Watch};
use crate::bus::message::{InferenceResults, ResultMessage};
use crate::bus::{BusError, Subscription};
use crate::clock::Clock;
use crate::log_limiter::LogLimiter;
use crate::model_params::ModelSpec;
use crate::repository::alert::{AlertCursor, EpisodeQuery};
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::{Repository, RepositoryError};
use crate::signals::{self, no_data_since};
use crate::stoppable_pause::pause;

/// Messages taken in one turn.
const MAX_MESSAGES: usize = 256;
/// Metrics that are behind and worked off in one turn.
const MAX_BEHIND: usize = 64;
/// Rows of one metric read at once.
const PAGE_ROWS: usize = 1_000;
/// Metrics whose signals are computed anew in one turn; each costs a thousand rows.
const MAX_SIGNALS: usize = 16;
/// Things kept in one transaction, and cursors.
const MAX_KEPT: usize = 500;
/// How long a turn waits for a message when nothing else is to be done.
const RECEIVE_WAIT: Duration = Duration::from_millis(250);
/// Cursors are kept this often.
const SAVE_INTERVAL: Duration = Duration::from_secs(3);
/// Old episodes are purged this often.
const PURGE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Closed episodes older than this, in seconds of our clock, are purged.
const MAX_CLOSED_AGE_S: i64 = 90 * 86_400;
/// Closed episodes kept at most.
const MAX_CLOSED_EPISODES: usize = 10_000;
/// Pause after the database was away.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Pause after an error that mostly needs a person: a server that only lets read for a while, a right that was taken away.
const FATAL_PAUSE: Duration = Duration::from_secs(30);

/// The role.
pub(super) struct Alerter {
    repository: Arc<dyn Repository>,
    settings: Arc<AlertSettings>,
    clock: Arc<dyn Clock>,
    results: Box<dyn Subscription<ResultMessage>>,
    /// Told that there may be something to deliver; one for each channel.
    wakes: Vec<SyncSender<()>>,
    watches: BTreeMap<ModelId, Watch>,
    /// Metrics that no rule matches.
    unmatched: HashSet<ModelId>,
    /// Metrics with scored rows that were not folded yet.
    behind: BTreeSet<ModelId>,
    /// Metrics whose signals are to be computed anew, with their newest row.
    to_compute: BTreeMap<ModelId, RowId>,
    /// Not kept yet.
    items: Vec<Item>,
    /// Whether it is decided where each metric begins.
    has_begun: bool,
    next_visit: Duration,
    next_save: Duration,
    next_purge: Duration,
    /// [`FATAL_PAUSE`]; less in tests.
    fatal_pause: Duration,
    warnings: LogLimiter,
}

impl Alerter {
    /// A role that has seen nothing yet.
    pub(super) fn new(
        repository: Arc<dyn Repository>,
        settings: Arc<AlertSettings>,
        clock: Arc<dyn Clock>,
        results: Box<dyn Subscription<ResultMessage>>,
        wakes: Vec<SyncSender<()>>,
    ) -> Self {
        Self {
            repository,
            settings,
            clock,
            results,
            wakes,
            watches: BTreeMap::new(),
            unmatched: HashSet::new(),
            behind: BTreeSet::new(),
            to_compute: BTreeMap::new(),
            items: Vec::new(),
            has_begun: false,
            next_visit: Duration::ZERO,
            next_save: Duration::ZERO,
            next_purge: Duration::ZERO,
            fatal_pause: FATAL_PAUSE,
            warnings: LogLimiter::default(),
        }
    }

    /// Takes turns until `stop` is raised or the bus is closed, whatever fails, and then notes how far it has come.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            match self.run_once(RECEIVE_WAIT) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error @ RepositoryError::Fatal { .. }) => {
                    let seconds = self.fatal_pause.as_secs();
                    tracing::error!("no alerts; it is tried again after {seconds} s: {error}");
                    pause(self.fatal_pause, stop);
                }
                Err(error) => {
                    self.warn(&error);
                    pause(RETRY_PAUSE, stop);
                }
            }
        }
        let kept = self.keep_items().and_then(|()| self.save_cursors(usize::MAX));
        if let Err(error) = kept {
            tracing::warn!("alerts go on from an earlier row at the next start: {error}");
        }
    }

    /// One turn; waits up to `wait` for a message unless there is other work. False once the bus is closed.
    pub(super) fn run_once(&mut self, wait: Duration) -> Result<bool, RepositoryError> {
        self.keep_items()?;
        let now = self.clock.monotonic();
        if now >= self.next_visit {
            self.visit()?;
            self.next_visit = self.clock.monotonic() + self.settings.check_interval;
        }
        let is_busy = !self.behind.is_empty() || !self.to_compute.is_empty();
        let goes_on = self.receive(if is_busy { Duration::ZERO } else { wait })?;
        self.catch_up()?;
        self.compute_signals()?;
        self.keep_items()?;
        if now >= self.next_save {
            self.save_cursors(MAX_KEPT)?;
            self.next_save = self.clock.monotonic() + SAVE_INTERVAL;
        }
        if now >= self.next_purge {
            self.purge()?;
            self.next_purge = self.clock.monotonic() + PURGE_INTERVAL;
        }
        Ok(goes_on)
    }

    /// Before the first turn: a metric that no rule was about when alerts were raised last, and that one is about now,
    /// begins at its newest scored row. All others go on where they were, those without a cursor at their first row.
    pub(super) fn begin(&mut self) -> Result<(), RepositoryError> {
        if self.has_begun {
            return Ok(());
        }
        let now = self.clock.unix_seconds();
        let rules = &self.settings.rules;
        let scope = scope_of(rules);
        let before = self.repository.alert_scope()?;
        if before.as_ref() != Some(&scope) {
            let before = before.map(|text| matchers_of(&text)).unwrap_or_default();
            let mut cursors = Vec::new();
            for metric in self.repository.metrics(&[])? {
                let was_watched = before.iter().any(|matcher| matcher.matches(&metric.name));
                if !was_watched && rules.iter().any(|rule| rule.matches(&metric.name)) {
                    let row_id = self.repository.scored_up_to(&metric.uid)?;
                    let state = "{}".to_owned();
                    cursors.push(AlertCursor { uid: metric.uid, row_id, began_at: now, state });
                }
            }
            for part in cursors.chunks(MAX_KEPT) {
                self.repository
                    .transact(&mut |tx| part.iter().try_for_each(|cursor| tx.put_alert_cursor(cursor)))?;
            }
            self.repository.transact(&mut |tx| tx.put_alert_scope(Some(&scope)))?;
        }
        self.end_forgotten()?;
        self.has_begun = true;
        Ok(())
    }

    /// Ends open episodes of rules that are gone, or do not match their metric any more.
    fn end_forgotten(&mut self) -> Result<(), RepositoryError> {
        let open = EpisodeQuery { is_open: true, ..EpisodeQuery::default() };
        for episode in self.repository.alert_episodes(&open)? {
            let rule = self.settings.rule(&episode.rule);
            if !rule.is_some_and(|rule| rule.matches(&episode.metric)) {
                self.items.push(Item::Abandoned { key: episode.key, until: None, rule_idx: None });
            }
        }
        self.keep_items()
    }

    /// Looks at all metrics: new ones, those that are gone or not monitored any more, those that are behind.
    fn visit(&mut self) -> Result<(), RepositoryError> {
        self.begin()?;
        let metrics = self.repository.metrics(&[])?;
        let mut present = BTreeSet::new();
        let now = self.clock.unix_seconds();
        for metric in metrics {
            if let Err(error) = self.meet(&metric) {
                self.pass_over(&metric.name, error)?;
            }
            let rules = &self.settings.rules;
            if let Some(watch) = self.watches.get_mut(&metric.uid) {
                if metric.status == MetricStatus::Unmonitored {
                    self.items.extend(watch.abandon(rules, true));
                } else if watch.status != metric.status {
                    watch.learning_rows = ModelSpec::stored_rows_to_learn_from(metric.parameters.as_deref());
                }
                watch.status = metric.status;
                let has_scores = matches!(metric.status, MetricStatus::Active | MetricStatus::Error);
                if metric.last_rowid > watch.row_id && has_scores {
                    self.behind.insert(metric.uid.clone());
                }
                if watch.needs_signals(rules) {
                    if watch.has_new_rows(metric.last_rowid) {
                        self.to_compute.insert(metric.uid.clone(), metric.last_rowid);
                    } else {
                        self.items.extend(watch.look(rules, now));
                    }
                }
            }
            present.insert(metric.uid);
        }
        self.unmatched.retain(|uid| present.contains(uid));
        let gone: Vec<ModelId> = self.watches.keys().filter(|uid| !present.contains(*uid)).cloned().collect();
        for uid in gone {
            if let Some(mut watch) = self.watches.remove(&uid) {
                self.items.extend(watch.abandon(&self.settings.rules, false));
            }
            self.behind.remove(&uid);
            self.to_compute.remove(&uid);
        }
        Ok(())
    }

    /// Watches a metric that was not known yet, if a rule matches it.
    fn meet(&mut self, metric: &Metric) -> Result<(), RepositoryError> {
        if self.watches.contains_key(&metric.uid) || self.unmatched.contains(&metric.uid) {
            return Ok(());
        }
        let rules = &self.settings.rules;
        if !rules.iter().any(|rule| rule.matches(&metric.name)) {
            self.unmatched.insert(metric.uid.clone());
            return Ok(());
        }
        // One without a cursor came after its rule: it begins at its first row.
        let cursor = self.repository.alert_cursor(&metric.uid)?.unwrap_or_else(|| AlertCursor {
            uid: metric.uid.clone(),
            row_id: RowId(0),
            began_at: 0,
            state: String::new(),
        });
        let (watch, abandoned) = Watch::new(
            &metric.name,
            &cursor,
            rules,
            ModelSpec::stored_rows_to_learn_from(metric.parameters.as_deref()),
        );
        self.items.extend(abandoned);
        self.watches.insert(metric.uid.clone(), watch);
        Ok(())
    }

    /// Takes what was published; false once the bus is closed.
    fn receive(&mut self, wait: Duration) -> Result<bool, RepositoryError> {
        for count in 0..MAX_MESSAGES {
            let wait = if count == 0 { wait } else { Duration::ZERO };
            match self.results.receive(wait) {
                Ok(Some(ResultMessage::Inference(results))) => {
                    if let Err(error) = self.take(&results) {
                        self.pass_over(&results.metric.name, error)?;
                    }
                }
                Ok(Some(ResultMessage::Command(_))) => {}
                Ok(None) => break,
                Err(BusError::Lagged { .. }) => self.next_visit = Duration::ZERO,
                Err(BusError::Closed) => return Ok(false),
                Err(BusError::Transient { reason } | BusError::Refused { reason }) => {
                    // What is published meanwhile is found by looking.
                    tracing::debug!("no results are heard of: {reason}");
                    std::thread::sleep(wait);
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Folds published rows if they are the next ones, and otherwise notes that there are some.
    fn take(&mut self, results: &InferenceResults) -> Result<(), RepositoryError> {
        let Some(uid) = ModelId::new(&results.metric.uid) else { return Ok(()) };
        if self.unmatched.contains(&uid) {
            return Ok(());
        }
        if !self.watches.contains_key(&uid) {
            // Published faster than it was looked for.
            if let Some(metric) = self.repository.metric(&uid)? {
                self.begin()?;
                self.meet(&metric)?;
            }
        }
        let rules = &self.settings.rules;
        let Some(watch) = self.watches.get_mut(&uid) else { return Ok(()) };
        let rows: Vec<ScoredRow> = results.results.iter().map(ScoredRow::from_published).collect();
        let is_next = rows.iter().zip(watch.row_id.0 + 1..).all(|(row, expected)| row.row_id.0 == expected);
        let is_whole = !watch.needs_detection(rules) || rows.iter().all(|row| row.detection.is_some());
        if is_next && is_whole {
            self.items.extend(watch.fold(rules, &rows));
        } else if rows.last().is_some_and(|last| last.row_id > watch.row_id) {
            self.behind.insert(uid);
        }
        Ok(())
    }

    /// Reads and folds rows of metrics that are behind.
    fn catch_up(&mut self) -> Result<(), RepositoryError> {
        for _ in 0..MAX_BEHIND {
            let Some(uid) = self.behind.first().cloned() else { break };
            match self.fold_page(&uid) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => self.pass_over(&self.name_of(&uid), error)?,
            }
            self.behind.remove(&uid);
        }
        Ok(())
    }

    /// Reads and folds the next rows of a metric; returns whether there may be more.
    fn fold_page(&mut self, uid: &ModelId) -> Result<bool, RepositoryError> {
        let Some(watch) = self.watches.get_mut(uid) else { return Ok(false) };
        let rows = self.repository.rows_after(uid, watch.row_id, PAGE_ROWS)?;
        let scored: Vec<ScoredRow> = rows.iter().map_while(ScoredRow::from_stored).collect();
        self.items.extend(watch.fold(&self.settings.rules, &scored));
        Ok(scored.len() == PAGE_ROWS)
    }

    /// Computes the signals of metrics that have got rows.
    fn compute_signals(&mut self) -> Result<(), RepositoryError> {
        for _ in 0..MAX_SIGNALS {
            let Some((uid, _)) = self.to_compute.first_key_value() else { break };
            let uid = uid.clone();
            if let Err(error) = self.compute_signals_of(&uid) {
                self.pass_over(&self.name_of(&uid), error)?;
            }
            self.to_compute.remove(&uid);
        }
        Ok(())
    }

    fn compute_signals_of(&mut self, uid: &ModelId) -> Result<(), RepositoryError> {
        let now = self.clock.unix_seconds();
        let Some(metric) = self.repository.metric(uid)? else { return Ok(()) };
        let (rows, signals) = signals::of_metric(&*self.repository, &metric, now)?;
        if let Some(watch) = self.watches.get_mut(uid) {
            let newest = rows.last().map_or(metric.last_rowid, |row| row.row_id);
            watch.note_signals(SeenSignals { newest, signals, no_data_since: no_data_since(&rows) });
            self.items.extend(watch.look(&self.settings.rules, now));
        }
        Ok(())
    }

    fn name_of(&self, uid: &ModelId) -> String {
        self.watches.get(uid).map_or_else(|| uid.to_string(), |watch| watch.name.clone())
    }

    /// What cannot be read of one metric is left until the next look.
    fn pass_over(&mut self, name: &str, error: RepositoryError) -> Result<(), RepositoryError> {
        let RepositoryError::Rejected { reason } = error else { return Err(error) };
        if let Some(repeats) = self.warnings.pass(self.clock.monotonic()) {
            tracing::warn!(metric = %name, "its alerts wait until it can be read: {reason}{repeats}");
        }
        Ok(())
    }

    /// Keeps what the folds have said.
    fn keep_items(&mut self) -> Result<(), RepositoryError> {
        while !self.items.is_empty() {
            let count = self.items.len().min(MAX_KEPT);
            let now = self.clock.unix_seconds();
            let rules = &self.settings.rules;
            let part = &self.items[..count];
            let kept = self
                .repository
                .transact(&mut |tx| part.iter().try_for_each(|item| store::keep(tx, rules, item, now)));
            match kept {
                Ok(()) => {}
                Err(RepositoryError::Rejected { reason }) => {
                    tracing::warn!("keeping episodes one by one, since together they are refused: {reason}");
                    for item in part {
                        match self.repository.transact(&mut |tx| store::keep(tx, rules, item, now)) {
                            Err(RepositoryError::Rejected { reason }) => {
                                tracing::error!("an episode is lost, the database refuses it: {reason}");
                            }
                            other => other?,
                        }
                    }
                }
                Err(error) => return Err(error),
            }
            self.items.drain(..count);
            for wake in &self.wakes {
                // A courier that was told already, or is gone, need not be told.
                let _ = wake.try_send(());
            }
        }
        Ok(())
    }

    /// Notes how far up to `limit` metrics have come.
    fn save_cursors(&mut self, limit: usize) -> Result<(), RepositoryError> {
        let rules = &self.settings.rules;
        let dirty: Vec<AlertCursor> = self
            .watches
            .values()
            .filter(|watch| watch.is_dirty)
            .take(limit)
            .map(|watch| watch.cursor(rules))
            .collect();
        for part in dirty.chunks(MAX_KEPT) {
            self.repository
                .transact(&mut |tx| part.iter().try_for_each(|cursor| tx.put_alert_cursor(cursor)))?;
            for cursor in part {
                if let Some(watch) = self.watches.get_mut(&cursor.uid) {
                    watch.is_dirty = false;
                }
            }
        }
        Ok(())
    }

    fn purge(&self) -> Result<(), RepositoryError> {
        let before = self.clock.unix_seconds() - MAX_CLOSED_AGE_S;
        self.repository.transact(&mut |tx| tx.purge_alerts(before, MAX_CLOSED_EPISODES).map(|_| ()))
    }

    fn warn(&mut self, error: &RepositoryError) {
        if let Some(repeats) = self.warnings.pass(self.clock.monotonic()) {
            tracing::warn!("alerts wait: {error}{repeats}");
        }
    }
}

#[cfg(test)]
mod tests;
