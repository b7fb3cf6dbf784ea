//! The anomaly role: turns finished scores into completed rows and published results. It holds no state of any
//! metric; likelihood is part of the model's step.
//!
//! Flow: scores from the scheduler, one transaction for all messages in hand, then results to the exchange, then
//! the acknowledgement. A crash anywhere repeats; the same scores are written again.
//!
//! Source: `anomaly_service.py` of htmengine. Departures: one message that does not fit its rows costs only
//! itself; scores of an earlier life of a model are recognised by their generation.

pub mod display_value;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use crate::bus::message::{ModelOutput, ResultMessage};
use crate::bus::{Bus, BusError, Delivery};
use crate::clock::Clock;
use crate::repository::{Repository, RepositoryError};

/// Messages completed in one transaction.
pub const MAX_MESSAGES_PER_TURN: usize = 32;
/// How long [`Anomaly::run`] waits for a message.
const RECEIVE_WAIT: Duration = Duration::from_millis(500);
/// Pause after the database or the bus was away.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// A failure that lasts is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

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

/// The role.
pub struct Anomaly {
    bus: Arc<dyn Bus>,
    repository: Arc<dyn Repository>,
    clock: Arc<dyn Clock>,
    /// Received and not yet committed.
    pending: Vec<Delivery<ModelOutput>>,
    last_warning: Option<Duration>,
}

impl Anomaly {
    /// A role that has received nothing yet.
    pub fn new(bus: Arc<dyn Bus>, repository: Arc<dyn Repository>, clock: Arc<dyn Clock>) -> Self {
        Self { bus, repository, clock, pending: Vec::new(), last_warning: None }
    }

    /// Takes turns until the score queue is closed and drained, or until `may_wait` forbids to wait any longer for
    /// a database that is away.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database.
    pub fn run(&mut self, may_wait: impl Fn() -> bool) -> Result<(), RepositoryError> {
        loop {
            match self.run_once(RECEIVE_WAIT)? {
                AnomalyTurn::Idle | AnomalyTurn::Completed { .. } => {}
                AnomalyTurn::Postponed if may_wait() => std::thread::sleep(RETRY_PAUSE),
                AnomalyTurn::Postponed | AnomalyTurn::Closed => return Ok(()),
            }
        }
    }

    /// One turn; waits up to `wait` for the first message.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] from the database: stop the role.
    pub fn run_once(&mut self, wait: Duration) -> Result<AnomalyTurn, RepositoryError> {
        if self.pending.is_empty() {
            match self.bus.scores().receive(MAX_MESSAGES_PER_TURN, wait) {
                Ok(deliveries) => self.pending = deliveries,
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
            if let Err(error) = self.bus.results().publish(message) {
                self.warn(&error.to_string());
                return Ok(AnomalyTurn::Postponed);
            }
        }
        self.pending.clear();
        if let Err(error) = self.bus.scores().acknowledge(last) {
            self.warn(&error.to_string());
        }
        Ok(AnomalyTurn::Completed { rows })
    }

    fn commit(&self) -> Result<Vec<ResultMessage>, RepositoryError> {
        let mut outcomes = Vec::new();
        self.repository.transact(&mut |tx| {
            outcomes.clear();
            for delivery in &self.pending {
                outcomes.push(match &delivery.message {
                    ModelOutput::Scores(message) => {
                        rows::complete(tx, message)?.map(ResultMessage::Inference)
                    }
                    ModelOutput::Command(_) => Err("commands are not handled yet".to_owned()),
                });
            }
            Ok(())
        })?;
        let mut results = Vec::with_capacity(outcomes.len());
        for (outcome, delivery) in outcomes.into_iter().zip(&self.pending) {
            match outcome {
                Ok(message) => results.push(message),
                Err(reason) => tracing::warn!(
                    model = %delivery.message.model_id(),
                    "a message of the scheduler was dropped: {reason}"
                ),
            }
        }
        Ok(results)
    }

    fn warn(&mut self, reason: &str) {
        let now = self.clock.monotonic();
        if self.last_warning.is_none_or(|last| now >= last + LOG_INTERVAL) {
            self.last_warning = Some(now);
            tracing::warn!("finished scores wait: {reason}");
        }
    }
}
