//! The storer: lines from the data queue become rows of `metric_data`.
//!
//! Flow of one turn: receive up to [`MAX_MESSAGES_PER_TURN`] messages, parse every line, group by metric, and in
//! one transaction (a few, beyond [`MAX_ROWS_PER_TRANSACTION`] rows) find or create each metric, scrub its samples
//! against its newest row, append the rest, and start models that waited for rows. After the commit: count what
//! was refused, hint the scheduler at models with new rows, and last of all acknowledge.
//!
//! Invariants:
//! - A line that is no sample, or that cannot be stored, costs only itself; it is counted with its reason.
//! - Handling a message twice stores nothing twice: the second time every sample is late or a duplicate.
//! - Nothing is counted or hinted for a transaction that did not commit.
//! - While the database is away the batch is kept and tried again; only [`Storer::run`]'s stop ends that.
//!
//! Left to others: parsing (`sample`), the life cycle (`monitoring`), feeding models (the scheduler reads rows).
//!
//! Source: htmengine's metric storer and metric streamer.
//! Departures: a malformed message does not discard its batch; a failure stores nothing and is repeated instead of
//! dropping that metric's samples; metrics in Error keep storing samples; metrics whose first sample matches a
//! configured pattern are monitored by themselves; rows are not sent anywhere, a hint is enough.

pub mod batch;
pub mod kept_lines;
pub mod metric_cache;
pub mod new_names;
mod scrub;

#[cfg(test)]
mod test_doubles;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use htm_core::ids::ModelId;
use wildmatch::WildMatch;

use self::batch::Batch;
use self::kept_lines::{KeptLines, LinesInHand};
use self::metric_cache::{CACHED_METRICS_TO_KEEP, MAX_CACHED_METRICS, MetricCache};
use self::new_names::{Asked, NewNameLimits, NewNames};
use self::scrub::scrub;
use crate::bus::message::{DataMessage, ModelHint};
use crate::bus::{Bus, BusError, Delivery};
use crate::clock::Clock;
use crate::live_setting::LiveSetting;
use crate::log_limiter::LogLimiter;
use crate::model_params::ModelSpec;
use crate::monitoring::{self, MonitorError, RandomBytes};
use crate::reject::{RejectLedger, RejectReason};
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::{Repository, RepositoryError, Transaction};
use crate::sample::SampleLimits;
use crate::stoppable_pause::pause;
use crate::{profiling, self_metrics};

/// Messages taken from the queue in one turn.
pub const MAX_MESSAGES_PER_TURN: usize = 200;
/// Rows written in one transaction, unless a single metric has more.
pub const MAX_ROWS_PER_TRANSACTION: usize = 20_000;
/// How long [`Storer::run`] waits for a message before it looks after its ledger.
pub const RECEIVE_WAIT: Duration = Duration::from_millis(500);
/// The ledger goes to the repository at most this often.
pub const LEDGER_INTERVAL: Duration = Duration::from_secs(1);
/// Pause of [`Storer::run`] after a failure that may pass; doubles up to [`MAX_RETRY_DELAY`].
pub const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Longest such pause.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// What a storer works with.
pub struct StorerParts {
    /// Lines in, hints out.
    pub bus: Arc<dyn Bus>,
    /// Rows out.
    pub repository: Arc<dyn Repository>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where refused lines are counted; this storer moves it to the repository.
    pub ledger: Arc<RejectLedger>,
    /// Ids of new metrics and generations of models.
    pub random: Arc<dyn RandomBytes>,
    /// Settings.
    pub options: StorerOptions,
}

/// Settings of a storer.
#[derive(Debug, Clone, Default)]
pub struct StorerOptions {
    /// New metrics whose name matches one of these are monitored: `*` stands for any characters, dots too, `?`
    /// for one.
    pub monitor: Vec<String>,
    /// Rows that the range of such a metric is learned from, if not the usual number.
    pub learning_rows: Option<u32>,
    /// What a sample may look like.
    pub limits: SampleLimits,
    /// How many metrics samples may make.
    pub new_names: NewNameLimits,
}

/// What one turn did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorerTurn {
    /// No message came.
    Idle,
    /// Every line received is stored or counted as refused, and acknowledged.
    Stored {
        /// Lines received.
        lines: usize,
        /// Rows stored, in this turn; those of an earlier postponed part are not in it.
        rows: usize,
    },
    /// The bus or the database is away; what was received is kept. Pause, then call again.
    Postponed {
        /// What they said.
        reason: String,
    },
    /// The queue is closed and empty: nothing will come any more.
    Closed,
}

/// The role.
pub struct Storer {
    parts: StorerParts,
    patterns: LiveSetting<Vec<WildMatch>>,
    cache: MetricCache,
    new_names: NewNames,
    /// Received and not yet wholly stored.
    batch: Option<Batch>,
    in_hand: LinesInHand,
    last_flush: Option<Duration>,
    warnings: LogLimiter,
}

impl fmt::Debug for Storer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Storer").field("options", &self.parts.options).finish_non_exhaustive()
    }
}

/// What a transaction did; acted upon once it committed.
#[derive(Debug, Default)]
struct Outcome {
    groups: Vec<GroupOutcome>,
    made: Asked,
}

/// What became of one group.
#[derive(Debug)]
struct GroupOutcome {
    group_idx: usize,
    /// The metric; `None` if it is a new one beyond the limits.
    metric: Option<(ModelId, MetricStatus)>,
    rows: usize,
    refused: Vec<(usize, RejectReason)>,
}

impl Storer {
    /// A storer that has received nothing yet.
    pub fn new(parts: StorerParts) -> Self {
        let new_names = NewNames::new(parts.options.new_names);
        let patterns = LiveSetting::new(compiled(&parts.options.monitor));
        Self {
            parts,
            patterns,
            cache: MetricCache::new(MAX_CACHED_METRICS, CACHED_METRICS_TO_KEEP),
            new_names,
            batch: None,
            in_hand: LinesInHand::default(),
            last_flush: None,
            warnings: LogLimiter::default(),
        }
    }

    /// Takes turns until the data queue is closed and drained. `stop` does not end that: whoever stops the engine
    /// closes the queue once the listeners are done. It only ends the waiting for a database or bus that is away.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database; [`RepositoryError::Transient`] when `stop` was raised while
    /// lines could not be stored (they are not acknowledged).
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), RepositoryError> {
        self.run_unless(stop, &AtomicBool::new(false))
    }

    /// As [`Self::run`], but ends after its turn once `give_up` is raised: what is not stored then is in
    /// [`Self::in_hand`] and on the queue.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_unless(&mut self, stop: &AtomicBool, give_up: &AtomicBool) -> Result<(), RepositoryError> {
        let mut delay = FIRST_RETRY_DELAY;
        while !give_up.load(Ordering::Relaxed) {
            match self.run_once(RECEIVE_WAIT)? {
                StorerTurn::Closed => return Ok(()),
                StorerTurn::Idle | StorerTurn::Stored { .. } => delay = FIRST_RETRY_DELAY,
                StorerTurn::Postponed { reason } => {
                    if pause(delay, stop) {
                        let lines = self.batch.as_ref().map_or(0, |batch| batch.lines.len());
                        let reason =
                            format!("stopped while up to {lines} lines could not be stored: {reason}");
                        return Err(RepositoryError::Transient { reason });
                    }
                    delay = (delay * 2).min(MAX_RETRY_DELAY);
                }
            }
        }
        Ok(())
    }

    /// Globs of new metrics to monitor, which may change while this works.
    pub fn patterns(&self) -> LiveSetting<Vec<WildMatch>> {
        self.patterns.clone()
    }

    /// What it is about to store, of what came from the queue.
    pub fn in_hand(&self) -> LinesInHand {
        self.in_hand.clone()
    }

    /// As [`Self::run_unless`], but first stores the lines that an earlier engine kept at `path`. Where `stop` ends the
    /// waiting for that, nothing is taken from the queue either: what waits there is younger, and once it were stored the
    /// kept lines would be late.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_behind_kept(
        &mut self,
        path: &Path,
        stop: &AtomicBool,
        give_up: &AtomicBool,
    ) -> Result<(), RepositoryError> {
        if !self.store_kept(path, stop, give_up)? {
            return Ok(());
        }
        self.run_unless(stop, give_up)
    }

    /// Stores the lines that an earlier engine kept at `path`, and removes the file when all are stored or refused. Until
    /// then it stays, also when `stop` ends the waiting for a database that is away, and once `give_up` is raised, after
    /// which others add to it; tells whether no line waits any more. A file that cannot be read is told in the log, and not
    /// waited for.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database.
    pub fn store_kept(
        &mut self,
        path: &Path,
        stop: &AtomicBool,
        give_up: &AtomicBool,
    ) -> Result<bool, RepositoryError> {
        match self.try_store_kept(path, stop, give_up) {
            Ok(stored) => stored,
            Err(error) => {
                let shown = path.display();
                tracing::error!("lines that an earlier engine kept in {shown} are not stored: {error}");
                Ok(true)
            }
        }
    }

    fn try_store_kept(
        &mut self,
        path: &Path,
        stop: &AtomicBool,
        give_up: &AtomicBool,
    ) -> std::io::Result<Result<bool, RepositoryError>> {
        let Some(mut kept) = KeptLines::open(path)? else { return Ok(Ok(true)) };
        let mut count = 0;
        loop {
            let part = kept.next()?;
            if give_up.load(Ordering::Relaxed) {
                return Ok(Ok(false));
            }
            if part.is_empty() {
                std::fs::remove_file(path)?;
                tracing::info!("{count} lines that an earlier engine had taken in were stored");
                return Ok(Ok(true));
            }
            count += part.iter().map(|delivery| delivery.message.lines.len()).sum::<usize>();
            // Never in hand: what is not stored of it is in the file.
            self.batch = self.parsed(part);
            while self.batch.is_some() && !give_up.load(Ordering::Relaxed) {
                match self.run_once(Duration::ZERO) {
                    Ok(StorerTurn::Postponed { reason }) if pause(FIRST_RETRY_DELAY, stop) => {
                        self.batch = None;
                        tracing::warn!(
                            "stopped while lines that an earlier engine kept could not be stored; they stay in {}: {reason}",
                            path.display()
                        );
                        return Ok(Ok(false));
                    }
                    Ok(_) => {}
                    Err(error) => return Ok(Err(error)),
                }
            }
            self.batch = None;
        }
    }

    /// Takes turns until `finish` is raised and nothing is in hand, for a queue that outlives this process: what waits
    /// there, and what could not be stored and so is not acknowledged, is delivered again.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database.
    pub fn run_until(&mut self, finish: &AtomicBool) -> Result<(), RepositoryError> {
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            match self.run_once(RECEIVE_WAIT)? {
                StorerTurn::Closed => return Ok(()),
                StorerTurn::Idle | StorerTurn::Stored { .. } if finish.load(Ordering::Relaxed) => {
                    return self.flush_ledger(true);
                }
                StorerTurn::Idle | StorerTurn::Stored { .. } => delay = FIRST_RETRY_DELAY,
                StorerTurn::Postponed { reason } => {
                    if pause(delay, finish) {
                        let lines = self.batch.as_ref().map_or(0, |batch| batch.lines.len());
                        tracing::warn!(
                            "stopped while up to {lines} lines could not be stored; they are delivered again: {reason}"
                        );
                        return Ok(());
                    }
                    delay = (delay * 2).min(MAX_RETRY_DELAY);
                }
            }
        }
    }

    /// One turn; waits up to `wait` for the first message.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database: stop the role. Everything else is in the answer.
    pub fn run_once(&mut self, wait: Duration) -> Result<StorerTurn, RepositoryError> {
        let turn = self.take_turn(wait)?;
        self.flush_ledger(turn == StorerTurn::Closed)?;
        Ok(turn)
    }

    fn take_turn(&mut self, wait: Duration) -> Result<StorerTurn, RepositoryError> {
        let mut batch = match self.batch.take() {
            Some(postponed) => postponed,
            None => match self.receive(wait) {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(StorerTurn::Idle),
                Err(BusError::Closed) => return Ok(StorerTurn::Closed),
                Err(error) => return Ok(self.postponed(error.to_string())),
            },
        };
        let started = self.parts.clock.monotonic();
        let mut rows = 0;
        while let Some(run) = batch.todo.pop() {
            match self.store(&batch, run.clone()) {
                Ok(outcome) => {
                    self.in_hand.let_go(batch.line_idxs(run));
                    rows += self.settle(&batch, outcome);
                }
                Err(RepositoryError::Rejected { reason }) => self.halve_or_refuse(&mut batch, run, &reason),
                Err(RepositoryError::Transient { reason }) => {
                    batch.todo.push(run);
                    self.batch = Some(batch);
                    return Ok(self.postponed(reason));
                }
                Err(error @ RepositoryError::Fatal { .. }) => return Err(error),
            }
        }
        let elapsed = self.parts.clock.monotonic().saturating_sub(started);
        self_metrics::count_store_turn(elapsed);
        tracing::debug!(target: profiling::TARGET, tag = profiling::STORER_STREAMED, rows, ?elapsed);
        if let Err(error) = self.parts.bus.data().acknowledge(batch.last_tag) {
            // The bus repeats it, or the messages come again and every sample in them is then late or a duplicate.
            self.warn(&format!("stored messages could not be acknowledged: {error}"));
        }
        self.in_hand.clear();
        Ok(StorerTurn::Stored { lines: batch.lines.len(), rows })
    }

    fn receive(&self, wait: Duration) -> Result<Option<Batch>, BusError> {
        let deliveries = self.parts.bus.data().receive(MAX_MESSAGES_PER_TURN, wait)?;
        let now = self.parts.clock.unix_seconds();
        for rejected in self.parts.bus.take_rejected() {
            self.parts.ledger.record(RejectReason::UnreadableMessage, rejected.reason.as_bytes(), now);
        }
        if !deliveries.is_empty() {
            let messages = deliveries.len();
            tracing::debug!(target: profiling::TARGET, tag = profiling::STORER_RECEIVED, messages);
        }
        let batch = self.parsed(deliveries);
        if let Some(batch) = &batch {
            self.in_hand.take(&batch.lines, batch.line_idxs(0..batch.groups.len()));
        }
        Ok(batch)
    }

    fn parsed(&self, deliveries: Vec<Delivery<DataMessage>>) -> Option<Batch> {
        let now = self.parts.clock.unix_seconds();
        let refuse = |reason, line: &[u8]| self.parts.ledger.record(reason, line, now);
        let mut batch = Batch::parse(deliveries, now, &self.parts.options, refuse)?;
        batch.plan(MAX_ROWS_PER_TRANSACTION);
        Some(batch)
    }

    /// Stores a run of groups in one transaction.
    fn store(&mut self, batch: &Batch, run: Range<usize>) -> Result<Outcome, RepositoryError> {
        self.new_names.refresh(&*self.parts.repository, self.parts.clock.monotonic())?;
        let mut outcome = Outcome::default();
        self.parts.repository.transact(&mut |tx| {
            // The work may be run again from the start.
            outcome = Outcome::default();
            for group_idx in run.clone() {
                let stored = self.store_group(tx, batch, group_idx, &mut outcome.made)?;
                outcome.groups.push(stored);
            }
            Ok(())
        })?;
        Ok(outcome)
    }

    fn store_group(
        &self,
        tx: &mut dyn Transaction,
        batch: &Batch,
        group_idx: usize,
        made: &mut Asked,
    ) -> Result<GroupOutcome, RepositoryError> {
        let group = &batch.groups[group_idx];
        let metric = if let Some(metric) = self.find(tx, &group.name)? {
            metric
        } else {
            let lines = group.samples.iter().map(|sample| sample.line_idx);
            let sources = lines.clone().map(|line_idx| batch.source_of(line_idx));
            let now = self.parts.clock.monotonic();
            if let Err(reason) = self.new_names.ask(made, sources, now) {
                let refused = lines.map(|line_idx| (line_idx, reason)).collect();
                return Ok(GroupOutcome { group_idx, metric: None, rows: 0, refused });
            }
            self.create(tx, &group.name)?
        };
        let tail = tx.tail_timestamp(&metric.uid)?;
        let scrubbed = scrub(tail, &group.samples);
        let mut status = metric.status;
        if !scrubbed.accepted.is_empty() {
            tx.append_rows(&metric.uid, &scrubbed.accepted)?;
            if status == MetricStatus::PendingData {
                let random = self.parts.random.as_ref();
                status = monitoring::activate_if_ready(tx, &metric.uid, random)?.unwrap_or(status);
            }
        }
        Ok(GroupOutcome {
            group_idx,
            metric: Some((metric.uid, status)),
            rows: scrubbed.accepted.len(),
            refused: scrubbed.refused,
        })
    }

    fn find(&self, tx: &mut dyn Transaction, name: &str) -> Result<Option<Metric>, RepositoryError> {
        if let Some(uid) = self.cache.get(name) {
            // Deleted, or its name given away, behind our back: then the name decides.
            if let Some(metric) = tx.metric(uid)?.filter(|metric| metric.name == name) {
                return Ok(Some(metric));
            }
        }
        tx.metric_by_name(name)
    }

    fn create(&self, tx: &mut dyn Transaction, name: &str) -> Result<Metric, RepositoryError> {
        let random = self.parts.random.as_ref();
        let mut metric = monitoring::create_metric(tx, name, random)?;
        if self.patterns.get().iter().any(|pattern| pattern.matches(name)) {
            let learning_rows = self.parts.options.learning_rows;
            let spec = ModelSpec { learning_rows, ..ModelSpec::for_metric(name) };
            metric.status = monitoring::monitor(tx, &metric, &spec, random).map_err(|error| match error {
                MonitorError::Repository(error) => error,
                MonitorError::NotFound { .. }
                | MonitorError::AlreadyMonitored { .. }
                | MonitorError::Params(_) => RepositoryError::Rejected { reason: error.to_string() },
            })?;
        }
        Ok(metric)
    }

    /// After the commit: remember, count, hint. Returns the rows stored.
    fn settle(&mut self, batch: &Batch, outcome: Outcome) -> usize {
        let now = self.parts.clock.unix_seconds();
        self.new_names.settle(outcome.made, self.parts.clock.monotonic());
        let mut rows = 0;
        for outcome in outcome.groups {
            for (line_idx, reason) in outcome.refused {
                self.parts.ledger.record(reason, &batch.lines[line_idx], now);
            }
            rows += outcome.rows;
            let Some((uid, status)) = outcome.metric else { continue };
            self.cache.put(&batch.groups[outcome.group_idx].name, &uid);
            let has_model = matches!(status, MetricStatus::Active | MetricStatus::CreatePending);
            if has_model && outcome.rows > 0 {
                // Waits for room: a hint that is dropped would leave its rows unscored until the metric's next sample.
                // The scheduler never waits for this role, so room comes. A queue that is closed or away loses the
                // hint all the same, and the rows are found at the next start.
                let _ = self.parts.bus.hints().publish(ModelHint { model_id: uid, is_changed: false });
            }
        }
        // Here and not at the end of the turn, which may be postponed between two transactions.
        self_metrics::count_stored(rows);
        rows
    }

    /// Closes in on the metric that the database refuses: halves the run, and counts its samples once it is alone.
    fn halve_or_refuse(&mut self, batch: &mut Batch, run: Range<usize>, reason: &str) {
        if run.len() > 1 {
            let middle = run.start + run.len() / 2;
            batch.todo.push(middle..run.end);
            batch.todo.push(run.start..middle);
            return;
        }
        let now = self.parts.clock.unix_seconds();
        self.in_hand.let_go(batch.line_idxs(run.clone()));
        for group in &batch.groups[run] {
            self.warn(&format!(
                "{} samples of metric `{}` were refused: {reason}",
                group.samples.len(),
                group.name.escape_debug()
            ));
            for sample in &group.samples {
                self.parts.ledger.record(RejectReason::NotStorable, &batch.lines[sample.line_idx], now);
            }
        }
    }

    fn flush_ledger(&mut self, is_last: bool) -> Result<(), RepositoryError> {
        let now = self.parts.clock.monotonic();
        let is_due = self.last_flush.is_none_or(|last| now.saturating_sub(last) >= LEDGER_INTERVAL);
        if !is_due && !is_last {
            return Ok(());
        }
        let entries = self.parts.ledger.drain();
        if entries.is_empty() {
            return Ok(());
        }
        self.last_flush = Some(now);
        let Err(error) = self.parts.repository.add_rejects(&entries) else { return Ok(()) };
        self.parts.ledger.restore(entries);
        match error {
            RepositoryError::Fatal { .. } => Err(error),
            RepositoryError::Transient { reason } | RepositoryError::Rejected { reason } => {
                self.warn(&format!("refused lines could not be counted in the database: {reason}"));
                Ok(())
            }
        }
    }

    fn postponed(&mut self, reason: String) -> StorerTurn {
        self.warn(&format!("storing is postponed, nothing is lost: {reason}"));
        StorerTurn::Postponed { reason }
    }

    /// Logs now and then, not for every repetition.
    fn warn(&mut self, text: &str) {
        if let Some(repeats) = self.warnings.pass(self.parts.clock.monotonic()) {
            tracing::warn!("{text}{repeats}");
        }
    }
}

/// Globs, ready to be compared with names.
pub fn compiled(globs: &[String]) -> Vec<WildMatch> {
    globs.iter().map(|glob| WildMatch::new(glob)).collect()
}
