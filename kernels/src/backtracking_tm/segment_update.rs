//! Segment updates: strengthen the synapses on the learning cells of t - 1, weaken the others, grow new ones.
//!
//! Source: `processSegmentUpdates` and `adaptSegment` of `Cells4.cpp`, `freeNSynapses` of `Segment.cpp`.
//! An update that finds its column inactive is dropped, as it is there when pooling is off.

use super::pattern::indices;
use super::state::{TmScratch, TmState};
use super::{BacktrackingTmParams, CELL_STRIDE, MAX_SYNAPSES_PER_SEGMENT, duty_cycle, postings};

/// An update of an existing segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentUpdate {
    /// Which.
    pub(super) segment: u32,
    /// Which learning cells of t - 1 that are not on it get a synapse, by their ordinal among those.
    pub(super) picks: u64,
}

/// Applies the queued updates whose column is among `columns` and empties the queue.
pub(super) fn apply_queued(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &TmScratch<'_>,
    columns: &[u16],
) {
    // Both lists ascend by column.
    let mut columns = columns.iter().map(|&column| usize::from(column)).peekable();
    for position in 0..state.scalars.queue_count as usize {
        let segment = state.queue_segments[position];
        let column = usize::from(state.segments.cells[segment as usize]) / CELL_STRIDE;
        while columns.next_if(|&active| active < column).is_some() {}
        if columns.peek() == Some(&column) {
            adapt(params, state, scratch, SegmentUpdate { segment, picks: state.queue_picks[position] });
        }
    }
    state.scalars.queue_count = 0;
}

/// Applies one update.
pub(super) fn adapt(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &TmScratch<'_>,
    update: SegmentUpdate,
) {
    let segment = update.segment as usize;
    let iteration = state.scalars.iteration;
    state.segments.last_active_iterations[segment] = iteration;
    state.segments.positive_activations[segment] += 1;
    duty_cycle::update(&mut state.segments, segment, iteration, true);

    let mut new_cells = [0u16; MAX_SYNAPSES_PER_SEGMENT];
    let new_count = resolve_picks(params, state, scratch, update, &mut new_cells);
    let before = state.segments.counts[segment];
    let mut removed = Removed::default();
    let mut synapses = Synapses::of(params, state, segment);
    synapses.change_permanences(params, scratch.learn_active_before, &mut removed);
    let excess = (synapses.count + new_count).saturating_sub(params.max_synapses_per_segment);
    synapses.remove_weakest(excess, params.permanence_max, &mut removed);
    synapses.merge(&new_cells[..new_count], params.initial_permanence);
    let count = synapses.count;
    let connected_count = synapses.connected_count(params.connected_permanence);

    state.segments.counts[segment] = u8::try_from(count).expect("at most 64 synapses");
    state.segments.connected_counts[segment] = connected_count;
    state.scalars.synapse_count += u32::try_from(count).expect("at most 64 synapses");
    state.scalars.synapse_count -= u32::from(before);
    for &cell in removed.cells() {
        postings::remove(state, usize::from(cell), update.segment);
    }
    for &cell in &new_cells[..new_count] {
        postings::add(state, usize::from(cell), update.segment);
    }
}

/// Writes the picked cells, ascending, and returns how many.
fn resolve_picks(
    params: &BacktrackingTmParams,
    state: &TmState<'_>,
    scratch: &TmScratch<'_>,
    update: SegmentUpdate,
    new_cells: &mut [u16; MAX_SYNAPSES_PER_SEGMENT],
) -> usize {
    if update.picks == 0 {
        return 0;
    }
    let segment = update.segment as usize;
    let start = segment * params.max_synapses_per_segment;
    let on_segment =
        &state.segments.presynaptic_cells[start..][..usize::from(state.segments.counts[segment])];
    let mut on_segment = on_segment.iter().copied().peekable();
    let mut ordinal = 0;
    let mut count = 0;
    for &cell in indices(scratch.learn_cells_before) {
        while on_segment.next_if(|&source| source < cell).is_some() {}
        if on_segment.peek() == Some(&cell) {
            continue;
        }
        if update.picks >> ordinal & 1 == 1 {
            new_cells[count] = cell;
            count += 1;
        }
        ordinal += 1;
    }
    count
}

/// Cells whose synapse was removed.
struct Removed {
    cells: [u16; MAX_SYNAPSES_PER_SEGMENT],
    count: usize,
}

impl Default for Removed {
    fn default() -> Self {
        Self { cells: [0; MAX_SYNAPSES_PER_SEGMENT], count: 0 }
    }
}

impl Removed {
    fn push(&mut self, cell: u16) {
        self.cells[self.count] = cell;
        self.count += 1;
    }

    fn cells(&self) -> &[u16] {
        &self.cells[..self.count]
    }
}

/// The synapses of one segment in place, with a bit for each that is on a learning cell of t - 1.
struct Synapses<'a> {
    cells: &'a mut [u16],
    permanences: &'a mut [f32],
    count: usize,
    active: u64,
}

impl<'a> Synapses<'a> {
    fn of(params: &BacktrackingTmParams, state: &'a mut TmState<'_>, segment: usize) -> Self {
        let range =
            segment * params.max_synapses_per_segment..(segment + 1) * params.max_synapses_per_segment;
        Self {
            cells: &mut state.segments.presynaptic_cells[range.clone()],
            permanences: &mut state.segments.permanences[range],
            count: usize::from(state.segments.counts[segment]),
            active: 0,
        }
    }

    /// Strengthens active synapses, weakens the others and removes those that reach 0.
    fn change_permanences(
        &mut self,
        params: &BacktrackingTmParams,
        active_cells: &[u32],
        removed: &mut Removed,
    ) {
        // Looked up, because half the cells are active: a branch would be guessed wrong.
        let steps = [-params.permanence_decrement, params.permanence_increment];
        let mut kept = 0;
        for synapse in 0..self.count {
            let cell = self.cells[synapse];
            let is_active = active_cells[usize::from(cell) / CELL_STRIDE] >> (cell % 32) & 1 == 1;
            let changed = self.permanences[synapse] + steps[usize::from(is_active)];
            let changed = if changed > params.permanence_max { params.permanence_max } else { changed };
            if !is_active && changed <= 0.0 {
                removed.push(cell);
                continue;
            }
            self.cells[kept] = cell;
            self.permanences[kept] = changed;
            self.active |= u64::from(is_active) << kept;
            kept += 1;
        }
        self.count = kept;
    }

    /// Removes the `excess` weakest synapses, the first among equals; active ones only when no other is left.
    fn remove_weakest(&mut self, excess: usize, permanence_max: f32, removed: &mut Removed) {
        for _ in 0..excess {
            let key = |synapse: usize| {
                self.permanences[synapse] + if self.active >> synapse & 1 == 1 { permanence_max } else { 0.0 }
            };
            let mut weakest = 0;
            for synapse in 1..self.count {
                if key(synapse) < key(weakest) {
                    weakest = synapse;
                }
            }
            removed.push(self.cells[weakest]);
            self.cells.copy_within(weakest + 1..self.count, weakest);
            self.permanences.copy_within(weakest + 1..self.count, weakest);
            let low = self.active & ((1 << weakest) - 1);
            self.active = low | (self.active >> weakest >> 1) << weakest;
            self.count -= 1;
        }
    }

    /// Adds new synapses, keeping the order by cell.
    fn merge(&mut self, new_cells: &[u16], permanence: f32) {
        let mut old = self.count;
        let mut new = new_cells.len();
        self.count += new;
        for target in (0..self.count).rev() {
            if new == 0 {
                break;
            }
            if old > 0 && self.cells[old - 1] > new_cells[new - 1] {
                old -= 1;
                self.cells[target] = self.cells[old];
                self.permanences[target] = self.permanences[old];
            } else {
                new -= 1;
                self.cells[target] = new_cells[new];
                self.permanences[target] = permanence;
            }
        }
    }

    fn connected_count(&self, connected_permanence: f32) -> u8 {
        self.permanences[..self.count].iter().map(|&p| u8::from(p >= connected_permanence)).sum()
    }
}
