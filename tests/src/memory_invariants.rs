//! What must hold of a temporal memory between any two steps, worked out from its segments alone, without index,
//! counters or any other shortcut.

use std::collections::{BTreeMap, BTreeSet};

use htm_core::model::temporal_memory::TemporalMemory;
use htm_kernels::backtracking_tm::pattern::indices;
use htm_kernels::backtracking_tm::postings::{NO_BLOCK, NO_CLASS, block_len, next_free};
use htm_kernels::backtracking_tm::state::TmState;
use htm_kernels::backtracking_tm::{BacktrackingTmParams, CELL_STRIDE, bank};
use htm_kernels::permanence::Permanences;
use htm_kernels::word;

/// One segment, copied out.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    cell: usize,
    /// Presynaptic cell and permanence, in stored order.
    synapses: Vec<(usize, f32)>,
    /// Bits in the places behind them.
    rest: u32,
}

impl Segment {
    fn active_count(&self, active: &[u32]) -> usize {
        self.synapses.iter().filter(|(cell, _)| has(active, *cell)).count()
    }
}

/// The segments before a step, which are what inference predicts from in that step.
#[derive(Debug, Clone)]
pub struct Predicting {
    params: BacktrackingTmParams,
    segments: Vec<Segment>,
}

impl Predicting {
    /// Copies the segments.
    pub fn segments_of(memory: &mut TemporalMemory) -> Self {
        let params = *memory.params();
        Self { params, segments: segments(&params, &memory.view()) }
    }

    /// Checks what the step over `columns` made active and predicted.
    ///
    /// # Panics
    /// If it is not what these segments predict.
    pub fn assert_predictions(&self, memory: &TemporalMemory, columns: &[u16]) {
        let active = memory.infer_active();
        let active_columns: Vec<usize> = (0..active.len()).filter(|&column| active[column] != 0).collect();
        let expected: Vec<usize> = columns.iter().map(|&column| usize::from(column)).collect();
        assert_eq!(active_columns, expected, "columns with active cells");
        let mut cells = vec![0u32; self.params.columns];
        let mut predicted_columns = BTreeSet::new();
        for segment in &self.segments {
            if segment.active_count(active) >= self.params.activation_threshold {
                predicted_columns.insert(segment.cell / CELL_STRIDE);
            }
            let is_connected = |permanence: f32| permanence >= self.params.connected_permanence;
            let connected =
                segment.synapses.iter().filter(|(cell, p)| has(active, *cell) && is_connected(*p)).count();
            if connected >= self.params.activation_threshold {
                cells[segment.cell / CELL_STRIDE] |= 1 << (segment.cell % CELL_STRIDE);
            }
        }
        assert_eq!(memory.infer_predicted(), cells, "predicted cells");
        let found: BTreeSet<usize> = word::ones(memory.predicted_columns()).collect();
        assert_eq!(found, predicted_columns, "predicted columns");
    }
}

/// Checks that the parts of the memory agree.
///
/// # Panics
/// If they do not.
pub fn assert_consistent(memory: &mut TemporalMemory) {
    let params = *memory.params();
    let mut state = memory.view();
    let segments = segments(&params, &state);
    assert_segments(&params, &state, &segments);
    assert_slots(&state, &segments);
    assert_postings(&mut state, &segments);
    assert_learning(&params, &state, &segments);
}

fn has(cells: &[u32], cell: usize) -> bool {
    cells[cell / CELL_STRIDE] >> (cell % CELL_STRIDE) & 1 == 1
}

fn segments(params: &BacktrackingTmParams, state: &TmState<'_>) -> Vec<Segment> {
    (0..state.scalars.segment_count as usize)
        .map(|id| {
            let start = id * params.synapse_stride();
            let synapses = start..start + usize::from(state.segments.infos[id].count);
            let end = start + params.synapse_stride();
            let cells = synapses.end..end;
            let unused = |synapse: usize| {
                let code = match &state.segments.permanences {
                    Permanences::Codes { codes, .. } => u32::from(codes[synapse]),
                    Permanences::Values(values) => values[synapse].to_bits(),
                };
                code | u32::from(state.segments.presynaptic_cells[synapse])
            };
            Segment {
                rest: cells.map(unused).fold(0, |rest, bits| rest | bits),
                cell: usize::from(state.segments.infos[id].cell),
                synapses: synapses
                    .map(|synapse| {
                        let cell = state.segments.presynaptic_cells[synapse];
                        (usize::from(cell), state.segments.permanences.value(synapse))
                    })
                    .collect(),
            }
        })
        .collect()
}

fn assert_segments(params: &BacktrackingTmParams, state: &TmState<'_>, segments: &[Segment]) {
    let is_known =
        |cell: usize| cell / CELL_STRIDE < params.columns && cell % CELL_STRIDE < params.cells_per_column;
    for (id, segment) in segments.iter().enumerate() {
        let synapses = &segment.synapses;
        assert!(is_known(segment.cell) && segment.cell % CELL_STRIDE != 0, "segment {id}: {segment:?}");
        assert!(synapses.len() <= params.max_synapses_per_segment, "segment {id}: {segment:?}");
        assert!(synapses.iter().all(|(cell, _)| is_known(*cell)), "segment {id}: {segment:?}");
        assert!(synapses.is_sorted_by(|a, b| a.0 < b.0), "segment {id} is sorted: {segment:?}");
        let in_range = |permanence: f32| permanence > 0.0 && permanence <= params.permanence_max;
        assert!(synapses.iter().all(|(_, p)| in_range(*p)), "segment {id}: {segment:?}");
        let connected = synapses.iter().filter(|(_, p)| *p >= params.connected_permanence).count();
        assert_eq!(
            usize::from(state.segments.infos[id].connected_count),
            connected,
            "segment {id}: {segment:?}"
        );
        assert!(state.segments.infos[id].duty_cycle_iteration <= state.scalars.iteration, "segment {id}");
    }
    let synapse_count: usize = segments.iter().map(|segment| segment.synapses.len()).sum();
    assert_eq!(state.scalars.synapse_count as usize, synapse_count, "synapses");
}

/// The segments of a cell have the slots 0, 1, ... and as many of them as the cell says.
fn assert_slots(state: &TmState<'_>, segments: &[Segment]) {
    let mut slots: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (id, segment) in segments.iter().enumerate() {
        slots.entry(segment.cell).or_default().push(state.segments.infos[id].slot);
    }
    for cell in 0..state.infer_active.len() * CELL_STRIDE {
        let mut slots = slots.remove(&cell).unwrap_or_default();
        slots.sort_unstable();
        let count = state.segments_of_cell(cell);
        assert_eq!(slots, (0..count).collect::<Vec<_>>(), "slots of cell {cell}");
    }
}

/// The index says what the segments say, and no two of its blocks, in use or free, share a word.
fn assert_postings(state: &mut TmState<'_>, segments: &[Segment]) {
    let mut expected: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (id, segment) in (0u32..).zip(segments) {
        for (cell, _) in &segment.synapses {
            expected.entry(*cell).or_default().push(id);
        }
    }
    let mut blocks = Vec::new();
    for cell in 0..state.infer_active.len() * CELL_STRIDE {
        let mut found = Vec::new();
        for (bank, (first_id, _)) in bank::in_use(segments.len()).enumerate() {
            let Some(entry) = state.list_entry(bank, cell) else { continue };
            let list = state.posting_lists[entry];
            if list.class != NO_CLASS {
                let (start, count) = (list.offset as usize, usize::from(list.count));
                let len = block_len(list.class);
                assert!(count <= len, "cell {cell} has {count} postings in a block of {len}");
                blocks.push((start, len));
                let postings = &state.postings.words()[start..start + count];
                found.extend(postings.iter().map(|&local| first_id + u32::from(local)));
            }
        }
        found.sort_unstable();
        assert_eq!(found, expected.remove(&cell).unwrap_or_default(), "postings of cell {cell}");
    }
    assert!(expected.is_empty(), "presynaptic cells without a block: {:?}", expected.keys());
    for (class, mut free) in (0u8..).zip(state.scalars.posting_free_blocks) {
        while free != NO_BLOCK {
            blocks.push((free as usize, block_len(class)));
            assert!(
                blocks.len() <= state.postings.words().len(),
                "the free blocks of class {class} form a ring"
            );
            free = next_free(state.postings.words(), free);
        }
    }
    blocks.sort_unstable();
    let mut end_before = 0;
    for (start, len) in blocks {
        assert_eq!(start, end_before, "blocks lie side by side");
        end_before = start + len;
    }
    assert_eq!(end_before, state.scalars.posting_words_used as usize, "words handed out");
}

/// Learning cells, their counts, predictions and the queue agree.
fn assert_learning(params: &BacktrackingTmParams, state: &TmState<'_>, segments: &[Segment]) {
    let cells = indices(state.learn_cells);
    assert!(cells.is_sorted_by(|a, b| a / 32 < b / 32), "one learning cell a column: {cells:?}");
    let mut from_list = vec![0u32; params.columns];
    for &cell in cells {
        from_list[usize::from(cell) / CELL_STRIDE] |= 1 << (cell % 32);
    }
    assert_eq!(state.learn_active, from_list, "learning cells as a set");
    assert!(state.learn_predicted.iter().all(|cells| cells.count_ones() <= 1), "predicted learning cells");
    let mut best: BTreeMap<usize, usize> = BTreeMap::new();
    for (id, segment) in segments.iter().enumerate() {
        let active_count = segment.active_count(state.learn_active);
        assert_eq!(segment.rest, 0, "unused synapses of segment {id}: {segment:?}");
        if state.scalars.has_kept_activity != 0 {
            let kept = state.kept_activity[bank::counter_of(u32::try_from(id).expect("few"))];
            let counted = segment.active_count(state.infer_active);
            assert_eq!(usize::from(kept), counted, "kept count of segment {id}: {segment:?}");
        }
        if active_count >= params.activation_threshold {
            let most = best.entry(segment.cell / CELL_STRIDE).or_default();
            *most = active_count.max(*most);
        }
    }
    let queue = &state.queue_segments[..state.scalars.queue_count as usize];
    let column_of = |id: u32| segments[id as usize].cell / CELL_STRIDE;
    let queued_columns: Vec<usize> = queue.iter().map(|&id| column_of(id)).collect();
    assert_eq!(queued_columns, best.keys().copied().collect::<Vec<_>>(), "columns with a queued update");
    for (&id, &picks) in queue.iter().zip(&*state.queue_picks) {
        let segment = &segments[id as usize];
        let active_count = segment.active_count(state.learn_active);
        assert_eq!(active_count, best[&column_of(id)], "the best segment of its column is queued");
        assert!(has(state.learn_predicted, segment.cell), "a queued segment's cell is predicted");
        let pool = cells.len() - active_count;
        assert!(pool == 64 || picks >> pool == 0, "picks {picks:b} among {pool} cells");
        let wanted = params.new_synapse_count.saturating_sub(active_count).min(pool);
        assert_eq!(picks.count_ones() as usize, wanted, "cells picked for segment {id}");
    }
}
