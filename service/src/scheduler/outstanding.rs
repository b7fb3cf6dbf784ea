//! The rows that a model has stepped since its file: what a swap-in steps again, kept in memory so that it costs no
//! query.
//!
//! Bounded per model and in total ([`RowMemory`]). Rows that found no room are not remembered, nor those after them
//! until the next checkpoint; the repository has them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use htm_core::ids::RowId;

/// Rows remembered of one model: well above what it is worth leaving unsaved.
pub(super) const MAX_ROWS_PER_MODEL: usize = 256;
/// Rows remembered of all models together, 24 bytes each: 96 MiB.
pub(super) const MAX_REMEMBERED_ROWS: usize = 4 << 20;

/// One row to step.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_field_names, reason = "row ids are called so everywhere")]
pub(super) struct Row {
    /// Which.
    pub(super) row_id: RowId,
    /// Unix seconds UTC.
    pub(super) timestamp: i64,
    /// The sample.
    pub(super) value: f64,
}

/// Room for rows, shared by all models.
#[derive(Debug)]
pub(super) struct RowMemory {
    limit: usize,
    used: AtomicUsize,
}

impl RowMemory {
    /// Room for so many rows.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Rows remembered now.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take_one(&self) -> bool {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            (used < self.limit).then_some(used + 1)
        });
        taken.is_ok()
    }
}

/// Rows stepped after some row, in order and without a gap, as long as there was room.
#[derive(Debug)]
pub(super) struct OutstandingRows {
    memory: Arc<RowMemory>,
    after: RowId,
    rows: Vec<Row>,
    /// Nothing is remembered any more until the next start.
    is_cut_off: bool,
}

impl OutstandingRows {
    /// None yet, and where they will start is not known.
    pub(super) fn new(memory: &Arc<RowMemory>) -> Self {
        Self { memory: Arc::clone(memory), after: RowId(0), rows: Vec::new(), is_cut_off: true }
    }

    /// Forgets all and starts after `row_id`, where the model stands.
    pub(super) fn start_after(&mut self, row_id: RowId) {
        self.forget();
        self.after = row_id;
        self.is_cut_off = false;
    }

    /// Remembers the next row stepped, if there is room; a row known already is stepped again.
    pub(super) fn add(&mut self, row: Row) {
        if self.is_cut_off || row.row_id <= self.last() {
            return;
        }
        if self.rows.len() < MAX_ROWS_PER_MODEL && self.memory.take_one() {
            self.rows.push(row);
        } else {
            self.forget();
            self.is_cut_off = true;
        }
    }

    /// The rows to step again on a model that stands at `row_id`; `None` if the repository must be asked.
    pub(super) fn after(&self, row_id: RowId) -> Option<&[Row]> {
        if self.is_cut_off || row_id < self.after {
            return None;
        }
        let first = self.rows.partition_point(|row| row.row_id <= row_id);
        Some(&self.rows[first..])
    }

    fn last(&self) -> RowId {
        self.rows.last().map_or(self.after, |row| row.row_id)
    }

    fn forget(&mut self) {
        self.memory.used.fetch_sub(self.rows.len(), Ordering::Relaxed);
        self.rows = Vec::new();
    }
}

impl Drop for OutstandingRows {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(row_id: i64) -> Row {
        Row { row_id: RowId(row_id), timestamp: row_id * 300, value: 0.5 }
    }

    fn ids(rows: Option<&[Row]>) -> Option<Vec<i64>> {
        rows.map(|rows| rows.iter().map(|row| row.row_id.0).collect())
    }

    #[test]
    fn gives_back_what_follows_the_file() {
        let memory = RowMemory::new(100);
        let mut outstanding = OutstandingRows::new(&memory);
        outstanding.add(row(1));
        assert_eq!(outstanding.after(RowId(0)), None, "where it starts is not known");
        outstanding.start_after(RowId(10));
        for row_id in [11, 12, 11, 13] {
            outstanding.add(row(row_id));
        }
        assert_eq!(ids(outstanding.after(RowId(10))), Some(vec![11, 12, 13]));
        assert_eq!(ids(outstanding.after(RowId(12))), Some(vec![13]));
        assert_eq!(ids(outstanding.after(RowId(20))), Some(vec![]));
        assert_eq!(outstanding.after(RowId(9)), None, "row 10 is not among them");
    }

    #[test]
    fn what_finds_no_room_is_left_to_the_repository() {
        let memory = RowMemory::new(3);
        let mut first = OutstandingRows::new(&memory);
        first.start_after(RowId(0));
        (1..=2).for_each(|row_id| first.add(row(row_id)));
        let mut second = OutstandingRows::new(&memory);
        second.start_after(RowId(0));
        (1..=3).for_each(|row_id| second.add(row(row_id)));
        assert_eq!(second.after(RowId(0)), None);
        assert_eq!(ids(first.after(RowId(0))), Some(vec![1, 2]), "others keep theirs");
        drop(first);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn one_model_never_takes_all_the_room() {
        let memory = RowMemory::new(MAX_REMEMBERED_ROWS);
        let mut outstanding = OutstandingRows::new(&memory);
        outstanding.start_after(RowId(0));
        (1..=300).for_each(|row_id| outstanding.add(row(row_id)));
        assert_eq!((outstanding.after(RowId(0)), memory.used()), (None, 0));
    }
}
