//! The anomaly role: turns finished scores into completed rows and published results, and moves metrics on when their
//! model was made or could not be made. It holds no state of any metric; likelihood is part of the model's step.
//!
//! Flow: what the scheduler says, one transaction for all messages in hand, then results to the exchange, then
//! the acknowledgement. A crash anywhere repeats; the same scores are written again.
//!
//! A model that fails on a row later is none of its business: the scheduler puts such a metric into error itself, so
//! that nothing but the database has to be there for it.
//!
//! Source: `anomaly_service.py` of htmengine. Departures: one message that does not fit its rows costs only
//! itself; scores of an earlier life of a model are recognised by their generation; the results of one transaction are
//! published in the order of their messages, commands and scores alike.

mod commands;
pub mod display_value;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use crate::bus::message::{ModelOutput, ResultMessage};
use crate::bus::{Bus, BusError, Delivery};
use crate::clock::Clock;
use crate::log_limiter::LogLimiter;
use crate::repository::{Repository, RepositoryError};
use crate::{profiling, self_metrics};

/// Messages received at once.
const MAX_MESSAGES_AT_ONCE: usize = 32;
/// Scores in hand after which no more messages are taken into a transaction. A message is mostly one score, when many
/// models have one fresh row each, and a commit costs the disk's sync whatever is in it.
pub const ROWS_PER_TRANSACTION: usize = 1_000;
/// How long [`Anomaly::run`] waits for a message.
const RECEIVE_WAIT: Duration = Duration::from_millis(500);
/// Pause after the database or the bus was away.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What one turn did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnomalyTurn {
    /// No message came.
    Idle,
    /// Rows were completed and published.
    Completed {
        /// So many.
        rows: usize,
    },
    /// Database or bus are away; what was received is kept. Pause, then call again.
    Postponed,
    /// The queue is closed and empty.
    Closed,
}

/// What became of one message in the transaction; acted upon once it committed.
struct Outcome {
    /// To be published.
    result: Option<ResultMessage>,
    /// Worth a line in the log.
    remark: Option<String>,
}

impl Outcome {
    /// Nothing is done with a message for this reason.
    fn dropped(reason: &str) -> Self {
        Self { result: None, remark: Some(format!("a message of the scheduler was dropped: {reason}")) }
    }
}

/// The role.
pub struct Anomaly {
    bus: Arc<dyn Bus>,
    repository: Arc<dyn Repository>,
    clock: Arc<dyn Clock>,
    /// Received and not yet committed.
    pending: Vec<Delivery<ModelOutput>>,
    warnings: LogLimiter,
}

impl Anomaly {
    /// A role that has received nothing yet.
    pub fn new(bus: Arc<dyn Bus>, repository: Arc<dyn Repository>, clock: Arc<dyn Clock>) -> Self {
        Self { bus, repository, clock, pending: Vec::new(), warnings: LogLimiter::default() }
    }

    /// Takes turns until the score queue is closed and drained, until `may_wait` forbids to wait any longer for a
    /// database or bus that is away, or until `is_finishing` and no message comes or `drain` is over; after its turn, once
    /// `is_given_up`. What was not committed then is not acknowledged either.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database.
    pub fn run(
        &mut self,
        may_wait: impl Fn() -> bool,
        is_finishing: impl Fn() -> bool,
        is_given_up: impl Fn() -> bool,
        drain: Duration,
    ) -> Result<(), RepositoryError> {
        tracing::debug!(target: profiling::TARGET, tag = profiling::ANOMALY_STARTED, "anomaly role started");
        let mut until = None;
        loop {
            let turn = self.run_once(RECEIVE_WAIT)?;
            let now = self.clock.monotonic();
            let is_over = is_finishing() && {
                let until = *until.get_or_insert(now.saturating_add(drain));
                turn == AnomalyTurn::Idle || now >= until
            };
            match turn {
                AnomalyTurn::Closed => break,
                AnomalyTurn::Postponed if !may_wait() => break,
                _ if is_over || is_given_up() => break,
                AnomalyTurn::Postponed => std::thread::sleep(RETRY_PAUSE),
                AnomalyTurn::Idle | AnomalyTurn::Completed { .. } => {}
            }
        }
        tracing::debug!(target: profiling::TARGET, tag = profiling::ANOMALY_STOPPED, "anomaly role stopped");
        Ok(())
    }

    /// One turn; waits up to `wait` for the first message.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database: stop the role.
    pub fn run_once(&mut self, wait: Duration) -> Result<AnomalyTurn, RepositoryError> {
        if self.pending.is_empty() {
            match self.receive(wait) {
                Ok(()) => {}
                Err(BusError::Closed) => return Ok(AnomalyTurn::Closed),
                Err(error) => {
                    self.warn(&error.to_string());
                    return Ok(AnomalyTurn::Postponed);
                }
            }
        }
        let Some(last) = self.pending.last().map(|delivery| delivery.tag) else {
            return Ok(AnomalyTurn::Idle);
        };
        let started = self.clock.monotonic();
        let results = match self.commit() {
            Ok(results) => results,
            Err(error @ RepositoryError::Fatal { .. }) => return Err(error),
            Err(error) => {
                self.warn(&error.to_string());
                return Ok(AnomalyTurn::Postponed);
            }
        };
        let rows = results.iter().map(ResultMessage::row_count).sum();
        for message in results {
            let tag = match &message {
                ResultMessage::Inference(_) => profiling::ANOMALY_SCORES_DONE,
                ResultMessage::Command(_) => profiling::ANOMALY_COMMAND_DONE,
            };
            let rows = message.row_count();
            if let Some(timestamp) = message.newest_timestamp() {
                self_metrics::count_scored(rows, self.clock.unix_seconds() - timestamp);
            }
            if let Err(error) = self.bus.results().publish(message) {
                self.warn(&error.to_string());
                return Ok(AnomalyTurn::Postponed);
            }
            let elapsed = self.clock.monotonic().saturating_sub(started);
            tracing::debug!(target: profiling::TARGET, tag, rows, ?elapsed);
        }
        self.pending.clear();
        if let Err(error) = self.bus.scores().acknowledge(last) {
            self.warn(&error.to_string());
        }
        Ok(AnomalyTurn::Completed { rows })
    }

    /// Takes what waits, up to [`ROWS_PER_TRANSACTION`]. An error after the first messages comes again with the next
    /// turn.
    fn receive(&mut self, mut wait: Duration) -> Result<(), BusError> {
        let mut rows = 0;
        while rows < ROWS_PER_TRANSACTION {
            match self.bus.scores().receive(MAX_MESSAGES_AT_ONCE, wait) {
                Ok(deliveries) if deliveries.is_empty() => break,
                Ok(deliveries) => {
                    let weight = |delivery: &Delivery<ModelOutput>| delivery.message.row_count().max(1);
                    rows += deliveries.iter().map(weight).sum::<usize>();
                    self.pending.extend(deliveries);
                }
                Err(error) if self.pending.is_empty() => return Err(error),
                Err(_) => break,
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// Commits what is in hand; returns what to publish of it, in order. A message that the database refuses costs only
    /// itself.
    fn commit(&self) -> Result<Vec<ResultMessage>, RepositoryError> {
        match self.commit_together(&self.pending) {
            Err(RepositoryError::Rejected { .. }) => {}
            committed => return committed,
        }
        let mut results = Vec::with_capacity(self.pending.len());
        for delivery in &self.pending {
            match self.commit_together(std::slice::from_ref(delivery)) {
                Ok(committed) => results.extend(committed),
                Err(RepositoryError::Rejected { reason }) => tracing::error!(
                    model = %delivery.message.model_id(),
                    "a message of the scheduler was dropped, the database refuses it: {reason}"
                ),
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }

    fn commit_together(
        &self,
        deliveries: &[Delivery<ModelOutput>],
    ) -> Result<Vec<ResultMessage>, RepositoryError> {
        let mut outcomes = Vec::new();
        self.repository.transact(&mut |tx| {
            outcomes.clear();
            for delivery in deliveries {
                outcomes.push(match &delivery.message {
                    ModelOutput::Scores(message) => rows::complete(tx, message)?,
                    ModelOutput::Command(result) => commands::apply(tx, result)?,
                });
            }
            Ok(())
        })?;
        let mut results = Vec::with_capacity(outcomes.len());
        for (outcome, delivery) in outcomes.into_iter().zip(deliveries) {
            if let Some(remark) = outcome.remark {
                tracing::warn!(model = %delivery.message.model_id(), "{remark}");
            }
            results.extend(outcome.result);
        }
        Ok(results)
    }

    fn warn(&mut self, reason: &str) {
        if let Some(repeats) = self.warnings.pass(self.clock.monotonic()) {
            tracing::warn!("finished scores wait: {reason}{repeats}");
        }
    }
}
