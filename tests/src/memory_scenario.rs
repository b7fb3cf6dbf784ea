//! A small, hostile life of a temporal memory, read from bytes: few columns, low limits, patterns that repeat
//! and are disturbed, resets. Any bytes give a valid life, so that property tests and fuzzers share it.

use htm_core::model::temporal_memory::TemporalMemory;
use htm_core::model::workspace::Workspace;
use htm_core::params::standard_temporal_memory;
use htm_kernels::backtracking_tm::BacktrackingTmParams;

use crate::memory_invariants::{Predicting, assert_consistent};

/// Longest life.
pub const MAX_STEPS: usize = 400;

/// Bytes that parameters and patterns are read from; the rest are events.
pub const HEADER_BYTES: usize = 28;

const PATTERNS: usize = 6;

/// One life.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Parameters.
    pub params: BacktrackingTmParams,
    /// What happens, in order.
    pub events: Vec<Event>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step over these columns.
    Step(Vec<u16>),
    /// A reset.
    Reset,
}

impl Scenario {
    /// Reads a life; missing bytes count as 0.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let params = params(&mut bytes);
        let size = 1 + bytes.below(10);
        let patterns: [Vec<u16>; PATTERNS] = std::array::from_fn(|_| pattern(&mut bytes, &params, size));
        let mut events = Vec::new();
        while !bytes.0.is_empty() && events.len() < MAX_STEPS {
            events.push(match bytes.below(8) {
                6 => Event::Reset,
                7 => Event::Step(disturbed(&mut bytes, &params, &patterns)),
                known => Event::Step(patterns[known].clone()),
            });
        }
        Self { params, events }
    }

    /// Lives it, checking the memory before the first step and after every event.
    ///
    /// # Panics
    /// If the memory contradicts itself.
    pub fn live(&self) -> TemporalMemory {
        self.live_as(TemporalMemory::new(self.params))
    }

    /// Same, with a memory of these parameters in any of its forms.
    ///
    /// # Panics
    /// As [`Self::live`].
    pub fn live_as(&self, mut memory: TemporalMemory) -> TemporalMemory {
        let mut workspace = Workspace::new();
        assert_consistent(&mut memory);
        for event in &self.events {
            match event {
                Event::Reset => memory.reset(),
                Event::Step(columns) => {
                    let before = Predicting::segments_of(&mut memory);
                    memory.compute(&mut workspace, columns);
                    before.assert_predictions(&memory, columns);
                }
            }
            assert_consistent(&mut memory);
        }
        memory
    }
}

/// Bytes taken one by one.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// A number below `limit`, which is at most 256.
    fn below(&mut self, limit: usize) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first) % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

fn params(bytes: &mut Bytes<'_>) -> BacktrackingTmParams {
    let activation_threshold = 1 + bytes.below(5);
    let max_synapses_per_segment = bytes.one_of(&[1, 2, 4, 8, 12]);
    let as_u32 = |count: usize| u32::try_from(count).expect("small");
    BacktrackingTmParams {
        columns: 8 + bytes.below(57),
        cells_per_column: bytes.one_of(&[2, 3, 4, 8, 32]),
        activation_threshold,
        min_threshold: 1 + bytes.below(activation_threshold),
        new_synapse_count: 1 + bytes.below(max_synapses_per_segment),
        max_segments_per_cell: bytes.one_of(&[1, 2, 3, 128]),
        max_synapses_per_segment,
        initial_permanence: bytes.one_of(&[0.21, 0.5, 0.11, 1.0]),
        permanence_increment: bytes.one_of(&[0.1, 0.05, 0.4]),
        permanence_decrement: bytes.one_of(&[0.1, 0.0, 0.25]),
        pam_length: as_u32(1 + bytes.below(4)),
        max_sequence_length: as_u32(bytes.one_of(&[32, 2, 5])),
        max_infer_backtrack: bytes.one_of(&[10, 1, 3]),
        max_learn_backtrack: bytes.one_of(&[5, 1, 2]),
        seed: 1 + bytes.below(256) as u64,
        ..standard_temporal_memory()
    }
}

fn pattern(bytes: &mut Bytes<'_>, params: &BacktrackingTmParams, size: usize) -> Vec<u16> {
    let (start, stride) = (bytes.below(256), 1 + bytes.below(13));
    ascending((0..size).map(|position| (start + position * stride) % params.columns))
}

/// One of the patterns without its first column and with another.
fn disturbed(bytes: &mut Bytes<'_>, params: &BacktrackingTmParams, patterns: &[Vec<u16>]) -> Vec<u16> {
    let pattern = &patterns[bytes.below(PATTERNS)];
    let other = bytes.below(params.columns);
    ascending(pattern[1..].iter().map(|&column| usize::from(column)).chain([other]))
}

fn ascending(columns: impl Iterator<Item = usize>) -> Vec<u16> {
    let mut columns: Vec<u16> = columns.map(|column| u16::try_from(column).expect("small")).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}
