//! Counting active synapses: how many of each segment's synapses lie on a set of cells.
//!
//! Counters go up by one for every posting of every active cell: the hottest loop of a step. Counts commute, so a
//! set that differs little from the one counted before is counted by its difference.

use super::CELL_STRIDE;
use super::bank::{self, BankCounters};
use super::postings::PostingLists;
use crate::prefetch::prefetch;
use crate::word::Ones;

/// Counts synapses on `active` cells, all of which lie in `columns`, on top of what `counters` hold. They are
/// [`bank::BANK_COUNTERS`] a bank, for `segment_count` segments.
///
/// # Panics
/// If a list lies outside the arena, or there are too few counters.
pub fn count(
    lists: &PostingLists<'_>,
    active: &[u32],
    columns: &(impl Iterator<Item = usize> + Clone),
    segment_count: usize,
    counters: &mut [u8],
) {
    let counters = &mut bank::chunks(counters)[..bank::banks_for(segment_count)];
    for (bank, counters) in counters.iter_mut().enumerate() {
        let mut batch = ListBatch::<1>::new();
        for column in columns.clone() {
            batch.push_cells(lists, bank, column, active[column], counters);
        }
        batch.count_all(counters);
    }
}

/// Makes `counters`, counted over the cells `before`, those over `active` in the cheaper of two ways: anew, or by the
/// cells that came and went. `before` is `None` if the counters hold nothing of use.
///
/// # Panics
/// As [`count`].
pub fn recount(
    lists: &PostingLists<'_>,
    before: Option<&[u32]>,
    active: &[u32],
    segment_count: usize,
    counters: &mut [u8],
) {
    let banks = bank::banks_for(segment_count);
    let before = before.filter(|before| is_cheaper_by_difference(lists, before, active));
    let Some(before) = before else {
        counters.fill(0);
        let columns = active.iter().enumerate().filter(|(_, cells)| **cells != 0).map(|(column, _)| column);
        count(lists, active, &columns, segment_count, counters);
        return;
    };
    for (bank, counters) in bank::chunks(counters)[..banks].iter_mut().enumerate() {
        let mut came = ListBatch::<1>::new();
        let mut went = ListBatch::<{ u8::MAX }>::new();
        for (column, (&before, &active)) in before.iter().zip(active).enumerate() {
            if before != active {
                came.push_cells(lists, bank, column, active & !before, counters);
                went.push_cells(lists, bank, column, before & !active, counters);
            }
        }
        came.count_all(counters);
        went.count_all(counters);
    }
}

/// Whether the cells that came and went have fewer postings than all that are active now. The first bank speaks for
/// all.
fn is_cheaper_by_difference(lists: &PostingLists<'_>, before: &[u32], active: &[u32]) -> bool {
    let (mut changed_count, mut active_count) = (0, 0);
    for (column, (&before, &active)) in before.iter().zip(active).enumerate() {
        if before | active == 0 {
            continue;
        }
        let Some(first) = lists.first_entry(0, column) else { continue };
        for cell in Ones(u64::from(before | active)) {
            let count = usize::from(lists.lists[first + cell].count);
            changed_count += count * ((before ^ active) >> cell & 1) as usize;
            active_count += count * (active >> cell & 1) as usize;
        }
    }
    changed_count < active_count
}

/// Lists waiting to be counted together.
const LISTS_PER_BATCH: usize = 64;

/// Postings in a cache line.
const LINE: usize = 32;

/// Posting lists lie all over the arena, and most are not in a near cache. Asking for the start of many of them before
/// counting any lets their cache misses overlap, where counting one list after the other would wait for each.
/// Each posting adds `STEP` to its counter, modulo 256.
struct ListBatch<'a, const STEP: u8> {
    lists: [&'a [u16]; LISTS_PER_BATCH],
    count: usize,
}

impl<'a, const STEP: u8> ListBatch<'a, STEP> {
    fn new() -> Self {
        Self { lists: [&[]; LISTS_PER_BATCH], count: 0 }
    }

    fn push_cells(
        &mut self,
        lists: &PostingLists<'a>,
        bank: usize,
        column: usize,
        cells: u32,
        counters: &mut BankCounters,
    ) {
        let Some(first) = lists.first_entry(bank, column) else { return };
        for cell in Ones(u64::from(cells)) {
            let postings = lists.postings(first + cell % CELL_STRIDE);
            if postings.is_empty() {
                continue;
            }
            if self.count == LISTS_PER_BATCH {
                self.count_all(counters);
            }
            // The hardware follows on its own from the third line on.
            prefetch(postings, 0);
            prefetch(postings, LINE);
            self.lists[self.count] = postings;
            self.count += 1;
        }
    }

    fn count_all(&mut self, counters: &mut BankCounters) {
        for list in &self.lists[..self.count] {
            // In eights, so that loads run ahead of the counters they lead to.
            let (eights, rest) = list.as_chunks::<8>();
            for segments in eights {
                for &segment in segments {
                    step::<STEP>(counters, segment);
                }
            }
            for &segment in rest {
                step::<STEP>(counters, segment);
            }
        }
        self.count = 0;
    }
}

#[inline]
fn step<const STEP: u8>(counters: &mut BankCounters, segment: u16) {
    let counter = &mut counters[usize::from(segment)];
    *counter = counter.wrapping_add(STEP);
}
