//! Whether a transaction was committed whose connection broke before the server's answer came.
//!
//! A transaction is all or nothing, so one thing it wrote tells of all. It is looked for under the lock of the metric's
//! row: the broken connection's transaction, if the server still has it, holds that lock until it has ended either
//! way. Work that left no evidence gives the same result when it is run again.
//!
//! Departure: the original ran the whole operation again and so could store a batch of samples twice.

use htm_core::ids::{ModelId, RowId};

use super::read::{self, RowLock};
use super::schema::Features;
use super::session::Session;
use crate::repository::RepositoryError;
use crate::repository::metric::MetricStatus;
use crate::repository::metric_data::StoredSample;

/// Something that is there if, and only if, the transaction was committed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Evidence {
    /// The status is this one, and was another.
    Status {
        /// Whose.
        id: ModelId,
        /// The new one.
        to: MetricStatus,
    },
    /// The metric is gone.
    Deleted(ModelId),
    /// The metric is there.
    Inserted(ModelId),
    /// The row is there.
    Appended {
        /// Whose.
        id: ModelId,
        /// Its number.
        row_id: RowId,
        /// What it holds.
        sample: StoredSample,
    },
}

impl Evidence {
    /// Keeps the stronger of two: another program may move a status on, but nobody changes a row's sample.
    pub(super) fn note(kept: &mut Option<Self>, new: Self) {
        if kept.as_ref().is_none_or(|kept| kept.strength() < new.strength()) {
            *kept = Some(new);
        }
    }

    fn strength(&self) -> u8 {
        match self {
            Self::Status { .. } => 0,
            Self::Deleted(_) => 1,
            Self::Inserted(_) => 2,
            Self::Appended { .. } => 3,
        }
    }

    /// Looks whether it is there.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database; then it is not known.
    pub(super) fn is_there(&self, session: &mut Session) -> Result<bool, RepositoryError> {
        session.begin()?;
        let answer = self.look(session);
        session.roll_back();
        answer
    }

    fn look(&self, session: &mut Session) -> Result<bool, RepositoryError> {
        let id = match self {
            Self::Status { id, .. } | Self::Appended { id, .. } | Self::Deleted(id) | Self::Inserted(id) => {
                id
            }
        };
        let metric = read::metric(session, id, RowLock::Exclusive)?;
        Ok(match self {
            Self::Status { to, .. } => metric.is_some_and(|metric| metric.status == *to),
            Self::Deleted(_) => metric.is_none(),
            Self::Inserted(_) => metric.is_some(),
            Self::Appended { row_id, sample, .. } => {
                let rows = read::rows_between(session, Features::default(), id, (*row_id, *row_id), 1)?;
                rows.first().is_some_and(|row| {
                    row.timestamp == sample.timestamp && row.value.to_bits() == sample.value.to_bits()
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_more_than_a_status() {
        let id = ModelId::new("a").expect("an id");
        let status = Evidence::Status { id: id.clone(), to: MetricStatus::Active };
        let sample = StoredSample { timestamp: 1, value: 2.0 };
        let appended = Evidence::Appended { id: id.clone(), row_id: RowId(1), sample };
        let mut kept = None;
        for new in [status, appended.clone(), Evidence::Inserted(id)] {
            Evidence::note(&mut kept, new);
        }
        assert_eq!(kept, Some(appended));
    }
}
