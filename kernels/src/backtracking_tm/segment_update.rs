//! Segment updates: strengthen the synapses on the learning cells of t - 1, weaken the others, grow new ones.
//!
//! Source: `processSegmentUpdates` and `adaptSegment` of `Cells4.cpp`, `freeNSynapses` of `Segment.cpp`.
//! An update that finds its column inactive is dropped, as it is there when pooling is off.

use super::adapt::{self, Change};
use super::duty_cycle::Decay;
use super::pattern::indices;
use super::state::{CellSet, TmScratch, TmState};
use super::{BacktrackingTmParams, CELL_STRIDE, MAX_SYNAPSES_PER_SEGMENT, postings};
use crate::permanence::{Permanences, decremented, incremented};
use crate::word::Ones;

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
    let decay = Decay::at(state.scalars.iteration);
    let stride = params.synapse_stride();
    for &segment in &state.queue_segments[..state.scalars.queue_count as usize] {
        state.segments.prefetch(segment, stride);
    }
    // Both lists ascend by column.
    let mut columns = columns.iter().map(|&column| usize::from(column)).peekable();
    for position in 0..state.scalars.queue_count as usize {
        let segment = state.queue_segments[position];
        let column = usize::from(state.segments.infos[segment as usize].cell) / CELL_STRIDE;
        while columns.next_if(|&active| active < column).is_some() {}
        if columns.peek() == Some(&column) {
            let picks = state.queue_picks[position];
            adapt(params, state, scratch, decay, SegmentUpdate { segment, picks });
        }
    }
    state.scalars.queue_count = 0;
}

/// Applies one update.
pub(super) fn adapt(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &TmScratch<'_>,
    decay: Decay,
    update: SegmentUpdate,
) {
    let segment = update.segment as usize;
    let iteration = state.scalars.iteration;
    let segments = &mut state.segments;
    let activations = &mut segments.activations[segment];
    activations.last_active_iteration = iteration;
    activations.positive_activations += 1;
    decay.update(segments, segment, true);
    let mut info = segments.infos[segment];

    let start = segment * params.synapse_stride();
    let row = start..start + params.synapse_stride();
    let cells = &mut segments.presynaptic_cells[row.clone()];
    let count = usize::from(info.count);
    let change = match &mut segments.permanences {
        Permanences::Codes { codes, table } => adapt::change(
            scratch.isa,
            cells,
            &mut codes[row.clone()],
            count,
            scratch.learn_active_before,
            table,
        ),
        Permanences::Values(values) => {
            change_values(params, cells, &mut values[row.clone()], count, scratch.learn_active_before)
        }
    };
    let new_cells = resolve_picks(scratch, cells, change.active, update.picks);
    info.connected_count = u8::try_from(change.connected.count_ones()).expect("at most 64");
    if change.removed == 0 && new_cells.cells().is_empty() {
        segments.infos[segment] = info;
        return;
    }
    let new_synapses =
        NewSynapses { cells: new_cells.cells(), max_synapses: params.max_synapses_per_segment };
    let mut removed = Cells::default();
    let (count, connected_count) = match &mut segments.permanences {
        Permanences::Codes { codes, table } => {
            let mut synapses = Synapses::of(cells, &mut codes[row], count, change.active);
            synapses.remove(change.removed, &mut removed);
            let key = |code: u8, is_active| {
                if is_active { table.value_above_max(code) } else { table.value(code) }
            };
            synapses.grow(&new_synapses, table.initial(), key, &mut removed);
            (synapses.count, synapses.count_where(|code| code >= table.connected_from()))
        }
        Permanences::Values(values) => {
            let mut synapses = Synapses::of(cells, &mut values[row], count, change.active);
            synapses.remove(change.removed, &mut removed);
            let key = |value: f32, is_active| value + if is_active { params.permanence_max } else { 0.0 };
            synapses.grow(&new_synapses, params.initial_permanence, key, &mut removed);
            (synapses.count, synapses.count_where(|value| value >= params.connected_permanence))
        }
    };
    state.scalars.synapse_count += u32::try_from(count).expect("at most 64 synapses");
    state.scalars.synapse_count -= u32::from(info.count);
    info.count = u8::try_from(count).expect("at most 64 synapses");
    info.connected_count = connected_count;
    segments.infos[segment] = info;
    for &cell in removed.cells() {
        postings::remove(state, usize::from(cell), update.segment);
    }
    for &cell in new_cells.cells() {
        postings::add(state, usize::from(cell), update.segment);
    }
}

/// [`adapt::change`] for permanences that have no codes; a removed one becomes 0.
fn change_values(
    params: &BacktrackingTmParams,
    cells: &[u16],
    values: &mut [f32],
    count: usize,
    active: &CellSet,
) -> Change {
    let mut change = Change::default();
    for (synapse, (&cell, value)) in cells.iter().zip(values).enumerate().take(count) {
        let cell = usize::from(cell);
        let is_active = active[cell / CELL_STRIDE] >> (cell % CELL_STRIDE) & 1 == 1;
        let changed = if is_active { Some(incremented(params, *value)) } else { decremented(params, *value) };
        *value = changed.unwrap_or(0.0);
        change.active |= u64::from(is_active) << synapse;
        change.removed |= u64::from(changed.is_none()) << synapse;
        let is_connected = changed.is_some_and(|value| value >= params.connected_permanence);
        change.connected |= u64::from(is_connected) << synapse;
    }
    change
}

/// The learning cells of t - 1 that were picked: ordinals count those that are not on the segment. `active` are its
/// synapses on learning cells.
fn resolve_picks(scratch: &TmScratch<'_>, cells: &[u16], active: u64, picks: u64) -> Cells {
    let mut picked = Cells::default();
    if picks == 0 {
        return picked;
    }
    let learning = indices(scratch.learn_cells_before);
    let on_segment = Ones(active).fold(0u64, |on_segment, synapse| {
        let column = usize::from(cells[synapse]) / CELL_STRIDE;
        on_segment | 1 << (scratch.learn_ordinals[column] % 64)
    });
    for (ordinal, place) in Ones(!on_segment).take(learning.len()).enumerate() {
        if picks >> ordinal & 1 == 1 && place < learning.len() {
            picked.push(learning[place]);
        }
    }
    picked
}

/// A list of cells.
struct Cells {
    cells: [u16; MAX_SYNAPSES_PER_SEGMENT],
    count: usize,
}

impl Default for Cells {
    fn default() -> Self {
        Self { cells: [0; MAX_SYNAPSES_PER_SEGMENT], count: 0 }
    }
}

impl Cells {
    fn push(&mut self, cell: u16) {
        self.cells[self.count] = cell;
        self.count += 1;
    }

    fn cells(&self) -> &[u16] {
        &self.cells[..self.count]
    }
}

/// What a segment grows.
struct NewSynapses<'a> {
    cells: &'a [u16],
    max_synapses: usize,
}

/// The synapses of one segment in place, with a bit for each that is on a learning cell of t - 1. `P` is a
/// permanence in either form; `P::default()` is what an unused place holds.
struct Synapses<'a, P> {
    cells: &'a mut [u16],
    permanences: &'a mut [P],
    count: usize,
    active: u64,
}

impl<'a, P: Copy + Default> Synapses<'a, P> {
    fn of(cells: &'a mut [u16], permanences: &'a mut [P], count: usize, active: u64) -> Self {
        Self { cells, permanences, count, active }
    }

    /// Removes the synapses with these bits.
    fn remove(&mut self, synapses: u64, removed: &mut Cells) {
        if synapses == 0 {
            return;
        }
        let mut kept = 0;
        let mut active = 0;
        for synapse in 0..self.count {
            if synapses >> synapse & 1 == 1 {
                removed.push(self.cells[synapse]);
                continue;
            }
            self.cells[kept] = self.cells[synapse];
            self.permanences[kept] = self.permanences[synapse];
            active |= (self.active >> synapse & 1) << kept;
            kept += 1;
        }
        self.shrink_to(kept);
        self.active = active;
    }

    /// Adds synapses of permanence `initial`, in order by cell, removing the weakest for which there is no room:
    /// those with the lowest `key`, the first among equals.
    fn grow(&mut self, new: &NewSynapses<'_>, initial: P, key: impl Fn(P, bool) -> f32, removed: &mut Cells) {
        let excess = (self.count + new.cells.len()).saturating_sub(new.max_synapses);
        for _ in 0..excess {
            let key_of = |synapse: usize| key(self.permanences[synapse], self.active >> synapse & 1 == 1);
            let mut weakest = 0;
            for synapse in 1..self.count {
                if key_of(synapse) < key_of(weakest) {
                    weakest = synapse;
                }
            }
            removed.push(self.cells[weakest]);
            self.cells.copy_within(weakest + 1..self.count, weakest);
            self.permanences.copy_within(weakest + 1..self.count, weakest);
            let low = self.active & ((1 << weakest) - 1);
            self.active = low | (self.active >> weakest >> 1) << weakest;
            self.shrink_to(self.count - 1);
        }
        self.merge(new.cells, initial);
    }

    fn merge(&mut self, new_cells: &[u16], permanence: P) {
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

    /// Drops the last synapses and leaves nothing behind in their places.
    fn shrink_to(&mut self, count: usize) {
        self.cells[count..self.count].fill(0);
        self.permanences[count..self.count].fill(P::default());
        self.count = count;
    }

    fn count_where(&self, is_counted: impl Fn(P) -> bool) -> u8 {
        self.permanences[..self.count].iter().map(|&permanence| u8::from(is_counted(permanence))).sum()
    }
}
