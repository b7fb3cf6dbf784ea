//! A spatial pooler as one would first write it: column by column, no sharing, no tricks. `spatial_pooler_invariants.rs`
//! checks the real one against it, number by number, and `benches/spatial_pooler.rs` has it as its baseline.
//!
//! Source: the description of `SpatialPooler.cpp` in `htm_kernels::spatial_pooler`.

use htm_core::model::spatial_pooler::SpatialPooler;
use htm_kernels::spatial_pooler::SpatialPoolerParams;
use htm_kernels::spatial_pooler::duty_cycle::UPDATE_PERIOD;
use htm_kernels::word::{self, words_for};

/// A pooler with its own copy of everything.
#[derive(Debug, Clone)]
pub struct NaiveSpatialPooler {
    params: SpatialPoolerParams,
    /// Per column: inputs of its potential pool.
    pools: Vec<Vec<usize>>,
    /// Per column, beside the pool: permanences.
    permanences: Vec<Vec<f32>>,
    /// `columns x words_for(input_bits)`: connected inputs of each column.
    connected: Vec<u64>,
    overlap_duty: Vec<f32>,
    active_duty: Vec<f32>,
    min_overlap_duty: f32,
    iteration: u32,
}

impl NaiveSpatialPooler {
    /// A copy of `pooler`'s state.
    pub fn of(pooler: &mut SpatialPooler) -> Self {
        let params = *pooler.params();
        let view = pooler.view();
        let mut naive = Self {
            params,
            pools: Vec::new(),
            permanences: Vec::new(),
            connected: vec![0; params.columns * words_for(params.input_bits)],
            overlap_duty: view.overlap_duty.to_vec(),
            active_duty: view.active_duty.to_vec(),
            min_overlap_duty: view.scalars.min_overlap_duty,
            iteration: view.scalars.iteration,
        };
        for column in 0..params.columns {
            naive.pools.push(view.pool(&params, column).collect());
            naive.permanences.push(view.permanences(&params, column).to_vec());
            naive.connect(column);
        }
        naive
    }

    /// Compares all numbers with those of `pooler`.
    ///
    /// # Panics
    /// If one differs in a bit.
    pub fn assert_equals(&self, pooler: &mut SpatialPooler) {
        let params = self.params;
        let view = pooler.view();
        let rows = view.connected_rows(&params);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let words = words_for(params.input_bits);
        for (column, permanences) in self.permanences.iter().enumerate() {
            let found = view.permanences(&params, column);
            assert_eq!(bits(found), bits(permanences), "permanences of column {column}");
            let connected = &self.connected[column * words..][..words];
            let found = (0u16..).take(params.input_bits).map(|input| word::get(rows.row(input), column));
            let expected = (0..params.input_bits).map(|input| word::get(connected, input));
            assert!(found.eq(expected), "connected inputs of column {column}");
        }
        assert_eq!(bits(view.overlap_duty), bits(&self.overlap_duty), "overlap duty cycles");
        assert_eq!(bits(view.active_duty), bits(&self.active_duty), "active duty cycles");
        let found = (view.scalars.iteration, view.scalars.min_overlap_duty.to_bits());
        assert_eq!(found, (self.iteration, self.min_overlap_duty.to_bits()), "steps and least duty cycle");
    }

    /// The input as words, which every column is compared with.
    pub fn input_words(&self, active_inputs: &[u16]) -> Vec<u64> {
        let mut words = vec![0; words_for(self.params.input_bits)];
        for &input in active_inputs {
            word::set(&mut words, usize::from(input));
        }
        words
    }

    /// One whole step: the active columns, ascending.
    pub fn compute(&mut self, active_inputs: &[u16]) -> Vec<u16> {
        let input = self.input_words(active_inputs);
        let mut overlaps = vec![0; self.params.columns];
        self.iteration += 1;
        self.count_overlaps(&input, &mut overlaps);
        let active_columns = self.select(&overlaps);
        self.adapt(&input, &active_columns);
        self.update_duty_cycles(&overlaps, &active_columns);
        self.bump_up();
        if self.iteration.is_multiple_of(UPDATE_PERIOD) {
            let best = self.overlap_duty.iter().copied().fold(0.0, f32::max);
            self.min_overlap_duty = self.params.min_overlap_duty_share * best;
        }
        active_columns
    }

    /// AND and popcount, column by column.
    pub fn count_overlaps(&self, input: &[u64], overlaps: &mut [u32]) {
        for (overlap, connected) in overlaps.iter_mut().zip(self.connected.chunks_exact(input.len())) {
            *overlap = connected.iter().zip(input).map(|(a, b)| (a & b).count_ones()).sum();
        }
    }

    /// Sorts all columns by overlap; the higher column wins among equals.
    ///
    /// # Panics
    /// If there are more than 65,535 columns.
    pub fn select(&self, overlaps: &[u32]) -> Vec<u16> {
        let columns = u16::try_from(overlaps.len()).expect("at most 2048 columns");
        let mut order: Vec<u16> = (0..columns).collect();
        order.sort_unstable_by_key(|&column| std::cmp::Reverse((overlaps[usize::from(column)], column)));
        order.truncate(self.params.active_columns);
        order.sort_unstable();
        order
    }

    /// Moves the active columns towards the input and works out anew what they are connected to.
    pub fn adapt(&mut self, input: &[u64], active_columns: &[u16]) {
        let params = self.params;
        for column in active_columns.iter().map(|&column| usize::from(column)) {
            for (&source, permanence) in self.pools[column].iter().zip(&mut self.permanences[column]) {
                let is_active = word::get(input, source);
                let change = if is_active { params.active_increment } else { -params.inactive_decrement };
                let changed = (*permanence + change).clamp(0.0, 1.0);
                *permanence = if changed < params.trim_threshold() { 0.0 } else { changed };
            }
            self.connect(column);
        }
    }

    /// Both moving averages, column by column.
    pub fn update_duty_cycles(&mut self, overlaps: &[u32], active_columns: &[u16]) {
        #[expect(clippy::cast_precision_loss, reason = "at most the duty cycle period")]
        let period = self.iteration.min(self.params.duty_cycle_period) as f32;
        let average = |duty: f32, hit: bool| (duty * (period - 1.0) + f32::from(u8::from(hit))) / period;
        let mut next_active = active_columns.iter().copied().map(usize::from).peekable();
        for (column, &overlap) in overlaps.iter().enumerate() {
            let is_active = next_active.next_if_eq(&column).is_some();
            self.overlap_duty[column] = average(self.overlap_duty[column], overlap > 0);
            self.active_duty[column] = average(self.active_duty[column], is_active);
        }
    }

    fn bump_up(&mut self) {
        let params = self.params;
        for column in 0..params.columns {
            if self.overlap_duty[column] < self.min_overlap_duty {
                for permanence in &mut self.permanences[column] {
                    let changed = *permanence + params.bump();
                    *permanence =
                        if changed < params.trim_threshold() { 0.0 } else { changed.clamp(0.0, 1.0) };
                }
                self.connect(column);
            }
        }
    }

    fn connect(&mut self, column: usize) {
        let words = words_for(self.params.input_bits);
        let connected = &mut self.connected[column * words..][..words];
        connected.fill(0);
        for (&source, &permanence) in self.pools[column].iter().zip(&self.permanences[column]) {
            if permanence >= self.params.connected_threshold() {
                word::set(connected, source);
            }
        }
    }
}
