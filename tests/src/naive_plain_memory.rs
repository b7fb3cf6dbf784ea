//! The plain temporal memory as plainly as its description allows: sets, lists, and a count of every synapse at every
//! step. What the kernel must equal.

use std::collections::BTreeSet;

use htm_kernels::random::Random;
use htm_kernels::temporal_memory::TemporalMemoryParams;

/// A cell: its column, and which of the column's cells.
pub type Cell = (usize, usize);

/// A segment, with its synapses in order of creation.
#[derive(Debug, Clone, PartialEq)]
pub struct NaiveSegment {
    /// Its owner.
    pub cell: Cell,
    /// Place among all segments ever made.
    pub ordinal: u64,
    /// Step in which it was last active, or made.
    pub last_used: u64,
    /// Presynaptic cell and permanence of each synapse.
    pub synapses: Vec<(Cell, f32)>,
    /// Synapses on active cells after the last step.
    pub potential: usize,
    /// Connected ones of them.
    pub connected: usize,
}

/// The memory.
#[derive(Debug, Clone)]
pub struct NaivePlainMemory {
    params: TemporalMemoryParams,
    /// By cell and ordinal.
    pub segments: Vec<NaiveSegment>,
    /// Active cells.
    pub active: BTreeSet<Cell>,
    /// Winner cells.
    pub winners: BTreeSet<Cell>,
    /// Ordinals of the active segments.
    pub active_segments: BTreeSet<u64>,
    /// Ordinals of the matching segments.
    pub matching_segments: BTreeSet<u64>,
    /// The learning draws.
    pub random: Random,
    iteration: u64,
    next_ordinal: u64,
}

impl NaivePlainMemory {
    /// A memory that has seen nothing.
    pub fn new(params: TemporalMemoryParams) -> Self {
        Self {
            params,
            segments: Vec::new(),
            active: BTreeSet::new(),
            winners: BTreeSet::new(),
            active_segments: BTreeSet::new(),
            matching_segments: BTreeSet::new(),
            random: Random::new(params.seed),
            iteration: 0,
            next_ordinal: 0,
        }
    }

    /// Forgets where in a sequence it is.
    pub fn reset(&mut self) {
        self.active.clear();
        self.winners.clear();
        self.active_segments.clear();
        self.matching_segments.clear();
    }

    /// One step, learning.
    pub fn compute(&mut self, columns: &[usize]) {
        let active_before = std::mem::take(&mut self.active);
        let winners_before = std::mem::take(&mut self.winners);
        for column in 0..self.params.columns {
            let ordinals = |set: &BTreeSet<u64>| -> Vec<u64> {
                let own = self.segments.iter().filter(|segment| segment.cell.0 == column);
                own.map(|segment| segment.ordinal).filter(|ordinal| set.contains(ordinal)).collect()
            };
            let (active, matching) = (ordinals(&self.active_segments), ordinals(&self.matching_segments));
            if !columns.contains(&column) {
                let decrement = self.params.predicted_segment_decrement;
                if decrement > 0.0 {
                    for ordinal in matching {
                        self.adapt(ordinal, &active_before, -decrement, 0.0);
                    }
                }
            } else if active.is_empty() {
                self.burst(column, &matching, &active_before, &winners_before);
            } else {
                for ordinal in active {
                    let cell = self.segment(ordinal).cell;
                    self.active.insert(cell);
                    self.winners.insert(cell);
                    self.reinforce(ordinal, &active_before, &winners_before);
                }
            }
        }
        self.predict();
    }

    fn position(&self, ordinal: u64) -> usize {
        self.segments.iter().position(|segment| segment.ordinal == ordinal).expect("a segment")
    }

    fn segment(&mut self, ordinal: u64) -> &mut NaiveSegment {
        let position = self.position(ordinal);
        &mut self.segments[position]
    }

    fn burst(
        &mut self,
        column: usize,
        matching: &[u64],
        active_before: &BTreeSet<Cell>,
        winners_before: &BTreeSet<Cell>,
    ) {
        self.active.extend((0..self.params.cells_per_column).map(|cell| (column, cell)));
        let mut best: Option<u64> = None;
        for &ordinal in matching {
            let potential = self.segment(ordinal).potential;
            if best.is_none_or(|best| potential > self.segment(best).potential) {
                best = Some(ordinal);
            }
        }
        if let Some(best) = best {
            let cell = self.segment(best).cell;
            self.winners.insert(cell);
            self.reinforce(best, active_before, winners_before);
            return;
        }
        let count = |cell: Cell| self.segments.iter().filter(|segment| segment.cell == cell).count();
        let cells: Vec<Cell> = (0..self.params.cells_per_column).map(|cell| (column, cell)).collect();
        let fewest = cells.iter().map(|&cell| count(cell)).min().expect("a column has cells");
        let least_used: Vec<Cell> = cells.into_iter().filter(|&cell| count(cell) == fewest).collect();
        let limit = u32::try_from(least_used.len()).expect("few");
        let winner = least_used[self.random.below(limit) as usize];
        let wanted = self.params.new_synapse_count.min(winners_before.len());
        if wanted > 0 {
            let ordinal = self.create(winner);
            self.grow(ordinal, wanted, winners_before);
        }
        self.winners.insert(winner);
    }

    fn create(&mut self, cell: Cell) -> u64 {
        let own = |memory: &Self| -> Vec<(u64, u64)> {
            let own = memory.segments.iter().filter(|segment| segment.cell == cell);
            own.map(|segment| (segment.last_used, segment.ordinal)).collect()
        };
        while own(self).len() >= self.params.max_segments_per_cell {
            let (_, least_recently_used) = own(self).into_iter().min().expect("a full cell has segments");
            self.segments.retain(|segment| segment.ordinal != least_recently_used);
        }
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.segments.push(NaiveSegment {
            cell,
            ordinal,
            last_used: self.iteration,
            synapses: Vec::new(),
            potential: 0,
            connected: 0,
        });
        self.segments.sort_by_key(|segment| (segment.cell, segment.ordinal));
        ordinal
    }

    fn reinforce(&mut self, ordinal: u64, active: &BTreeSet<Cell>, winners: &BTreeSet<Cell>) {
        let (increment, decrement) = (self.params.permanence_increment, self.params.permanence_decrement);
        self.adapt(ordinal, active, increment, decrement);
        let potential = self.segment(ordinal).potential;
        if potential < self.params.new_synapse_count {
            self.grow(ordinal, self.params.new_synapse_count - potential, winners);
        }
    }

    fn adapt(&mut self, ordinal: u64, active: &BTreeSet<Cell>, increment: f32, decrement: f32) {
        let segment = self.segment(ordinal);
        for (cell, permanence) in &mut segment.synapses {
            *permanence += if active.contains(cell) { increment } else { -decrement };
            *permanence = permanence.clamp(0.0, 1.0);
        }
        segment.synapses.retain(|(_, permanence)| *permanence >= 0.000_001);
        if segment.synapses.is_empty() {
            self.segments.retain(|segment| segment.ordinal != ordinal);
        }
    }

    fn grow(&mut self, ordinal: u64, wanted: usize, winners: &BTreeSet<Cell>) {
        let limit = self.params.max_synapses_per_segment;
        let initial = self.params.initial_permanence;
        let position = self.position(ordinal);
        let synapses = &mut self.segments[position].synapses;
        let mut candidates: Vec<Cell> = winners.iter().copied().collect();
        candidates.retain(|cell| synapses.iter().all(|(known, _)| known != cell));
        let wanted = wanted.min(candidates.len());
        let mut surplus = (synapses.len() + wanted).saturating_sub(limit);
        while surplus > 0 {
            let mut weakest: Option<usize> = None;
            let mut least = f32::MAX;
            for (index, (cell, permanence)) in synapses.iter().enumerate() {
                if !winners.contains(cell) && *permanence < least - 0.000_001 {
                    (weakest, least) = (Some(index), *permanence);
                }
            }
            let Some(weakest) = weakest else { break };
            synapses.remove(weakest);
            surplus -= 1;
        }
        for _ in 0..wanted.min(limit - synapses.len()) {
            let choice = self.random.below(u32::try_from(candidates.len()).expect("few"));
            synapses.push((candidates.remove(choice as usize), initial));
        }
    }

    fn predict(&mut self) {
        self.active_segments.clear();
        self.matching_segments.clear();
        let threshold = self.params.connected_permanence - 0.000_01;
        for segment in &mut self.segments {
            let active = segment.synapses.iter().filter(|(cell, _)| self.active.contains(cell));
            segment.potential = active.clone().count();
            segment.connected = active.filter(|(_, permanence)| *permanence >= threshold).count();
            if segment.connected >= self.params.activation_threshold {
                self.active_segments.insert(segment.ordinal);
                segment.last_used = self.iteration;
            }
            if segment.potential >= self.params.min_threshold {
                self.matching_segments.insert(segment.ordinal);
            }
        }
        self.iteration += 1;
    }
}
