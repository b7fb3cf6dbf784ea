//! What became of one model's share, told by `runner.rs` to the scheduler's own thread.

use std::time::Duration;

use htm_core::ids::RowId;

use super::model_store::SaveError;
use super::record::Record;
use super::residency::Slot;
use crate::bus::message::ScoreMessage;
use crate::repository::RepositoryError;

/// What became of one model's share.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Stepped as far as its share went.
    Stepped(Box<Stepped>),
    /// It is larger than the room it was given.
    NoRoom { record: Box<Record> },
    /// It has given its last score and waits for it to be committed.
    Ending { record: Box<Record> },
    /// There is nothing to step any more: deleted, unmonitored, in error or not yet started.
    Idle {
        /// Whether its file must go, because its metric has no model any more.
        is_gone: bool,
    },
    /// Database or files are away: try again.
    Postponed { record: Option<Box<Record>>, slot: Option<Box<Slot>>, wait: Wait },
    /// The model failed; its metric is to be put into error unless rebuilding may help.
    Failed(Failure),
}

/// Why a model waits.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) reason: String,
    /// The database is away, for all models; else something of this model alone cannot be read.
    pub(super) is_away: bool,
}

impl From<RepositoryError> for Wait {
    fn from(error: RepositoryError) -> Self {
        Self { reason: error.to_string(), is_away: !matches!(error, RepositoryError::Rejected { .. }) }
    }
}

/// How a model failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// It came from a file, which may be to blame.
    pub(super) may_rebuild: bool,
    /// The last row before it failed, as far as is known.
    pub(super) reached: RowId,
    /// Which life of it.
    pub(super) generation: String,
    /// Whether the anomaly role was told that it exists.
    pub(super) is_defined: bool,
}

/// A share that went well.
#[derive(Debug)]
pub(super) struct Stepped {
    pub(super) record: Box<Record>,
    pub(super) slot: Box<Slot>,
    /// Of rows not published before.
    pub(super) scores: Option<ScoreMessage>,
    pub(super) has_more: bool,
    pub(super) was_swapped_in: bool,
    pub(super) new_rows: usize,
    pub(super) replayed_rows: usize,
    /// What was measured of its steps.
    pub(super) elapsed: Duration,
    /// How a checkpoint within the share went, and how long it took.
    pub(super) checkpoint: Option<Result<Duration, SaveError>>,
}
