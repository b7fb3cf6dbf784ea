//! What is kept of a model that this process has stepped, also while the model itself is not in memory: enough to
//! swap it in again without asking the database about anything but new rows.
//!
//! Invariants: a record belongs to one life (generation) of a model and is dropped when another process announces
//! a change of its metric. `saved <= committed` at every save; `committed <= published` is not required: another
//! process may have published before this one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};
use htm_core::params::{ModelParams, ValueRange};

use super::costs::{Costs, first_interval_scale, whole_rows};
use super::ending::Ending;
use super::model_store::SaveError;
use super::outstanding::OutstandingRows;
use super::pause::Pause;
use crate::file_system::FileStamp;

/// One model as far as it is known.
#[derive(Debug)]
pub(super) struct Record {
    /// Which life of the metric's model it is.
    pub(super) generation: Arc<str>,
    /// Whether the anomaly role was told that the model exists.
    pub(super) is_defined: bool,
    /// The newest announced change that it was made after: older ones are in it.
    pub(super) seen_change: i64,
    /// Shared between models with equal ones.
    pub(super) params: Arc<ModelParams>,
    /// The row its file stands at; 0 without a file.
    pub(super) saved: RowId,
    /// Its file as this process last saw it.
    pub(super) stamp: Option<FileStamp>,
    /// The last row that this process has stepped, whether or not the model still remembers it.
    pub(super) stepped: RowId,
    /// The last row whose scores were handed to the anomaly role; rows up to it are stepped again in silence.
    pub(super) published: RowId,
    /// The last row whose scores are known to be in the database.
    pub(super) committed: RowId,
    /// The range, if it was learned, and the row up to which.
    pub(super) learned: Option<(ValueRange, RowId)>,
    /// The model has given its last score, and why.
    pub(super) ending: Option<Ending>,
    /// Rows stepped since the file.
    pub(super) outstanding: OutstandingRows,
    /// What it costs.
    pub(super) costs: Costs,
    /// Bytes of memory when it was last in memory.
    pub(super) image_bytes: Option<usize>,
    /// Whether this process has saved it yet.
    pub(super) is_first_interval: bool,
    /// Why it could not be saved, and until when that is not tried again.
    pub(super) unsavable: Option<Box<(String, Pause)>>,
    /// Whether the log says that it is larger than the memory budget.
    pub(super) is_oversize_reported: bool,
}

impl Record {
    /// Rows from which it is dropped no more but saved when it leaves memory.
    pub(super) fn rows_worth_a_checkpoint(&self, id: &ModelId, typical: &Costs, checkpoint_rows: i64) -> i64 {
        let scale = if self.is_first_interval { first_interval_scale(id) } else { 1.0 };
        whole_rows(self.costs.rows_worth_a_checkpoint(typical) * scale, checkpoint_rows)
    }

    /// Rows after which it is saved while it stays in memory.
    pub(super) fn rows_between_checkpoints(&self, id: &ModelId, checkpoint_rows: i64) -> i64 {
        if !self.is_first_interval {
            return checkpoint_rows.max(1);
        }
        #[expect(clippy::cast_precision_loss, reason = "a setting of at most 32 bits")]
        let scaled = checkpoint_rows as f64 * first_interval_scale(id);
        whole_rows(scaled, i64::MAX)
    }

    /// Saving it failed.
    pub(super) fn note_unsaved(&mut self, error: &SaveError, now: Duration) {
        let last = self.unsavable.as_ref().map(|unsavable| unsavable.1);
        self.unsavable = Some(Box::new((error.to_string(), Pause::after(last, now))));
    }

    /// Why it is not worth trying to save it now, if that is so.
    pub(super) fn save_pause(&self, now: Duration) -> Option<&str> {
        let (reason, pause) = &**self.unsavable.as_ref()?;
        (!pause.is_over(now)).then_some(reason)
    }

    /// Saving it may be tried again at once.
    pub(super) fn end_save_pause(&mut self) {
        if let Some(unsavable) = &mut self.unsavable {
            unsavable.1.cut_short();
        }
    }

    /// Its file now stands at `row_id`.
    pub(super) fn note_saved(&mut self, row_id: RowId, stamp: FileStamp) {
        self.saved = row_id;
        self.stamp = Some(stamp);
        self.outstanding.start_after(row_id);
        self.is_first_interval = false;
        self.unsavable = None;
    }
}

/// Parameters by their description, one copy for all models that have the same.
#[derive(Debug, Default)]
pub(super) struct SharedParams {
    by_description: Mutex<HashMap<Box<str>, Weak<ModelParams>>>,
}

/// Entries before those that nobody uses any more are looked for.
const CLEAN_ABOVE: usize = 1024;

impl SharedParams {
    /// The copy of these parameters that all share.
    pub(super) fn share(&self, params: ModelParams) -> Arc<ModelParams> {
        let mut known = self.by_description.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(params) = known.get(params.description()).and_then(Weak::upgrade) {
            return params;
        }
        if known.len() >= CLEAN_ABOVE && known.len().is_power_of_two() {
            known.retain(|_, params| params.strong_count() > 0);
        }
        let params = Arc::new(params);
        known.insert(params.description().into(), Arc::downgrade(&params));
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parameters_are_shared_as_long_as_someone_has_them() {
        let shared = SharedParams::default();
        let params = |resolution| ModelParams::single_metric(resolution).expect("usable");
        let first = shared.share(params(0.5));
        assert!(Arc::ptr_eq(&first, &shared.share(params(0.5))));
        assert!(!Arc::ptr_eq(&first, &shared.share(params(0.25))));
        let weak = Arc::downgrade(&first);
        drop(first);
        assert!(weak.upgrade().is_none());
    }
}
