//! The plain temporal memory (`tm_cpp` in the reference): sequences of active columns are learned by segments on
//! cells, and every step predicts the columns of the next.
//!
//! One step over the active columns, in the reference's order:
//! 1. [`activate`]: in each active column the cells that the last step predicted become active, or all of them if none
//!    was; they, or one of them, are the winner cells, whose segments learn. Matching segments in other columns made a
//!    wrong prediction and are punished.
//! 2. [`predict`]: count the synapses of every segment on active cells. A segment with enough connected ones is
//!    active: its cell is predicted. One with enough of any kind is matching.
//!
//! Layout and invariants:
//! - A cell's index is `column * 32 + cell` whatever the number of cells per column, so that a cell set is one `u32`
//!   word per column and ascending indices are the reference's order of cells.
//! - A segment lies in a slot. A destroyed segment's slot is used by the next one made (last out, first in), so slots
//!   say nothing of age: the order of a cell's segments is that of their ordinals, which are never given twice.
//! - The synapses of a segment are in order of creation, in a block of one of a few sizes ([`blocks`]).
//! - [`postings`] holds, for each column, who has a synapse on one of its cells. Its order is never observable.
//!
//! Source: `TemporalMemory.cpp`, `Connections.cpp` of nupic.core, driven as `TMCPPShim` does. Departure: a segment that
//! loses its last synapse while it learns cannot occur with valid parameters, so that what the reference then does
//! (it goes on growing synapses on the destroyed segment) is left out.

pub mod blocks;
pub mod room;
pub mod state;

pub mod activate;
pub mod postings;
pub mod predict;
pub mod segment;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use self::blocks::Blocks;
use self::state::{NO_SEGMENT, TemporalMemoryScratch, TemporalMemoryState};
use crate::MAX_COLUMNS;
use crate::backtracking_tm::CELL_STRIDE;
use crate::random::Random;

/// Most synapses on a segment.
pub const MAX_SYNAPSES_PER_SEGMENT: usize = 1024;

/// Most segments on a cell: with all cells of all columns, slots fit the upper 27 bits of a posting.
pub const MAX_SEGMENTS_PER_CELL: usize = 1024;

/// A synapse whose permanence falls below this is destroyed; permanences closer than this count as equal when the
/// weakest synapses are looked for.
pub const PERMANENCE_EPSILON: f32 = 0.000_001;

/// A synapse is connected from this much below the connected permanence.
pub const CONNECTED_EPSILON: f32 = 0.000_01;

/// Least increment: with less, a segment could lose its last synapse while it learns.
pub const MIN_INCREMENT: f32 = 0.000_01;

/// Fixed numbers of a plain temporal memory. Names follow the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TemporalMemoryParams {
    /// Number of columns, at most [`MAX_COLUMNS`].
    pub columns: usize,
    /// Cells per column, 1..=32.
    pub cells_per_column: usize,
    /// Connected synapses on active cells from which a segment is active; at least 1.
    pub activation_threshold: usize,
    /// Synapses on active cells from which a segment is matching; at least 1.
    pub min_threshold: usize,
    /// Synapses a learning segment should have on the cells that were active.
    pub new_synapse_count: usize,
    /// Segments per cell, 1..=[`MAX_SEGMENTS_PER_CELL`]; beyond it the least recently used one is destroyed.
    pub max_segments_per_cell: usize,
    /// Synapses per segment, 1..=[`MAX_SYNAPSES_PER_SEGMENT`]; beyond it the weakest are destroyed.
    pub max_synapses_per_segment: usize,
    /// Permanence of a new synapse, 0..=1.
    pub initial_permanence: f32,
    /// Permanence from which a synapse is connected, 0..=1; [`CONNECTED_EPSILON`] below it suffices.
    pub connected_permanence: f32,
    /// Added to a learning segment's synapses on cells that were active, [`MIN_INCREMENT`]..=1.
    pub permanence_increment: f32,
    /// Taken from its other synapses, 0..=1.
    pub permanence_decrement: f32,
    /// Taken, on a segment that made a wrong prediction, from the synapses on cells that were active, 0..=1.
    pub predicted_segment_decrement: f32,
    /// Seed of the learning draws, not 0.
    pub seed: u64,
}

impl TemporalMemoryParams {
    /// All cells of a column, as a word.
    pub fn column_mask(&self) -> u32 {
        u32::MAX >> (CELL_STRIDE - self.cells_per_column)
    }

    /// Least permanence of a connected synapse.
    pub fn connected_threshold(&self) -> f32 {
        self.connected_permanence - CONNECTED_EPSILON
    }

    /// What a memory cannot have: a number and the range it must be in; `None` if all is well.
    pub fn objection(&self) -> Option<&'static str> {
        let is_share = |value: f32| (0.0..=1.0).contains(&value);
        let rules = [
            ((1..=MAX_COLUMNS).contains(&self.columns), "columns must be 1..=2048"),
            ((1..=CELL_STRIDE).contains(&self.cells_per_column), "cells_per_column must be 1..=32"),
            (self.activation_threshold >= 1, "activation_threshold must be at least 1"),
            (self.min_threshold >= 1, "min_threshold must be at least 1"),
            (
                (1..=MAX_SEGMENTS_PER_CELL).contains(&self.max_segments_per_cell),
                "max_segments_per_cell must be 1..=1024",
            ),
            (
                (1..=MAX_SYNAPSES_PER_SEGMENT).contains(&self.max_synapses_per_segment),
                "max_synapses_per_segment must be 1..=1024",
            ),
            (is_share(self.initial_permanence), "initial_permanence must be 0..=1"),
            (is_share(self.connected_permanence), "connected_permanence must be 0..=1"),
            (
                (MIN_INCREMENT..=1.0).contains(&self.permanence_increment),
                "permanence_increment must be 0.00001..=1",
            ),
            (is_share(self.permanence_decrement), "permanence_decrement must be 0..=1"),
            (is_share(self.predicted_segment_decrement), "predicted_segment_decrement must be 0..=1"),
            (self.seed != 0, "seed must not be 0"),
        ];
        rules.into_iter().find(|(is_kept, _)| !is_kept).map(|(_, rule)| rule)
    }
}

/// The few single numbers of a memory's state.
#[derive(Debug, Clone, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TemporalMemoryScalars {
    /// Steps so far.
    pub iteration: u64,
    /// Ordinal of the next segment.
    pub next_ordinal: u64,
    /// Slots made so far, in use or free.
    pub slot_count: u32,
    /// Segments.
    pub segment_count: u32,
    /// Synapses.
    pub synapse_count: u32,
    /// The slot freed last, [`NO_SEGMENT`] for none; a free slot names the one freed before it.
    pub free_slot: u32,
    /// Entries of [`TemporalMemoryState::matches`].
    pub match_count: u32,
    /// Blocks of synapses.
    pub synapse_blocks: Blocks,
    /// Blocks of postings.
    pub posting_blocks: Blocks,
    /// The learning draws.
    pub random: Random,
}

impl TemporalMemoryScalars {
    /// The numbers of a memory that has seen nothing.
    ///
    /// # Panics
    /// If the seed is 0.
    pub fn new(params: &TemporalMemoryParams) -> Self {
        Self {
            iteration: 0,
            next_ordinal: 0,
            slot_count: 0,
            segment_count: 0,
            synapse_count: 0,
            free_slot: NO_SEGMENT,
            match_count: 0,
            synapse_blocks: Blocks::new(),
            posting_blocks: Blocks::new(),
            random: Random::new(params.seed),
        }
    }
}

/// Steps the memory over `columns` (ascending, possibly none), learning.
///
/// Afterwards `state.predicted_columns` says which columns the next step is expected to activate.
///
/// # Panics
/// If `columns` is not ascending or has an unknown column, or if there is less room than [`room`] asks for.
pub fn step(
    params: &TemporalMemoryParams,
    state: &mut TemporalMemoryState<'_>,
    scratch: &mut TemporalMemoryScratch<'_>,
    columns: &[u16],
    room: room::Room,
) {
    assert!(columns.is_sorted_by(|a, b| a < b), "active columns must be ascending");
    let last = columns.last().map_or(0, |&column| usize::from(column));
    assert!(last < params.columns && params.columns <= MAX_COLUMNS, "column {last} of {}", params.columns);
    room::assert_made(params, state, scratch, room);
    activate::update(params, state, scratch, columns);
    predict::update(params, state, scratch);
    state.scalars.iteration += 1;
}

/// Forgets where in a sequence the memory is, not what it learned.
pub fn reset(state: &mut TemporalMemoryState<'_>) {
    state.active_cells.fill(0);
    state.winner_cells.fill(0);
    state.predicted_columns.fill(0);
    state.scalars.match_count = 0;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The parameters of the single-metric anomaly model with the plain memory.
    pub(crate) fn standard_params() -> TemporalMemoryParams {
        TemporalMemoryParams {
            columns: 2048,
            cells_per_column: 32,
            activation_threshold: 20,
            min_threshold: 13,
            new_synapse_count: 31,
            max_segments_per_cell: 128,
            max_synapses_per_segment: 128,
            initial_permanence: 0.24,
            connected_permanence: 0.5,
            permanence_increment: 0.04,
            permanence_decrement: 0.008,
            predicted_segment_decrement: 0.001,
            seed: 1960,
        }
    }

    #[test]
    fn impossible_parameters_are_named() {
        let standard = standard_params();
        assert_eq!(standard.objection(), None);
        let name = |params: TemporalMemoryParams| params.objection().and_then(|rule| rule.split(' ').next());
        for (expected, params) in [
            ("columns", TemporalMemoryParams { columns: 2049, ..standard }),
            ("cells_per_column", TemporalMemoryParams { cells_per_column: 0, ..standard }),
            ("activation_threshold", TemporalMemoryParams { activation_threshold: 0, ..standard }),
            ("min_threshold", TemporalMemoryParams { min_threshold: 0, ..standard }),
            ("max_segments_per_cell", TemporalMemoryParams { max_segments_per_cell: 1025, ..standard }),
            ("max_synapses_per_segment", TemporalMemoryParams { max_synapses_per_segment: 0, ..standard }),
            ("initial_permanence", TemporalMemoryParams { initial_permanence: f32::NAN, ..standard }),
            ("connected_permanence", TemporalMemoryParams { connected_permanence: 1.5, ..standard }),
            ("permanence_increment", TemporalMemoryParams { permanence_increment: 0.0, ..standard }),
            ("permanence_decrement", TemporalMemoryParams { permanence_decrement: -0.1, ..standard }),
            (
                "predicted_segment_decrement",
                TemporalMemoryParams { predicted_segment_decrement: f32::INFINITY, ..standard },
            ),
            ("seed", TemporalMemoryParams { seed: 0, ..standard }),
        ] {
            assert_eq!(name(params), Some(expected));
        }
    }
}
