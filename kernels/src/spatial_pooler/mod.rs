//! The spatial pooler: an input of a few hundred bits becomes the 40 of 2048 columns that match it best, and
//! those columns learn it.
//!
//! One step, in the reference's order: [`overlap::count`], [`inhibition::select`], [`learning::adapt`],
//! [`duty_cycle::update`], [`learning::bump_up`] for columns that starve, and every 50th step
//! [`duty_cycle::update_minimum`]. The owner calls them one after the other (and makes room for private columns
//! in between), which is why there is no single `step` here.
//!
//! Layout:
//! - `permanences`: `column x stride`, row-major, `f32`; `stride` is the input width rounded up to 16. Inputs
//!   outside a column's potential pool hold [`OUTSIDE_POOL`] (NaN): every sum and comparison leaves it as it is,
//!   so the loops need no mask.
//! - Columns that never learned live in the shared *template* (a pure function of the parameters); the first
//!   time a column learns it is copied into a private slot of the model.
//! - `connected_rows`: `input x words`, one bit per column. Overlap is counted over the few active inputs'
//!   rows, so each record reads 42 rows instead of 2048 columns.
//! - Connected is `permanence >= threshold` of the stored value; trimming never crosses the threshold, so this
//!   equals the reference's test before trimming.
//!
//! Boosting: with a boost strength of 0, the only one supported, every boost factor is exactly 1, so overlaps are
//! compared as integers. Local inhibition, stimulus threshold and wrap-around topology are no-ops under the
//! parameters accepted here.
//!
//! Source: `SpatialPooler.cpp` of nupic.core; "The HTM Spatial Pooler" (Cui, Ahmad, Hawkins 2017).

pub mod duty_cycle;
pub mod inhibition;
pub mod initial;
pub mod learning;
pub mod overlap;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::word::words_for;

/// Permanence of an input that a column may never connect to.
pub const OUTSIDE_POOL: f32 = f32::NAN;

/// Marks a column whose permanences are the template's.
pub const NO_SLOT: u16 = u16::MAX;

/// Most bits a counter of active inputs can have: overlaps stay below 2^9.
pub const MAX_PLANES: usize = 9;

/// Widest input: one below 2^[`MAX_PLANES`].
pub const MAX_INPUT_BITS: usize = (1 << MAX_PLANES) - 1;

/// Fixed numbers of a spatial pooler. Permanences and increments are `f32`, as the reference holds them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpatialPoolerParams {
    /// Input width in bits, at most [`MAX_INPUT_BITS`].
    pub input_bits: usize,
    /// Number of columns, at most [`crate::MAX_COLUMNS`].
    pub columns: usize,
    /// Active columns per step, exactly; at most [`crate::MAX_ACTIVE_COLUMNS`].
    pub active_columns: usize,
    /// Share of the inputs in a column's potential pool.
    pub potential_share: f32,
    /// Added to permanences of active inputs of active columns.
    pub active_increment: f32,
    /// Taken from permanences of inactive inputs of active columns.
    pub inactive_decrement: f32,
    /// Permanence from which a synapse is connected (less the reference's epsilon of 1e-6).
    pub connected_permanence: f32,
    /// A column starves below this share of the best overlap duty cycle.
    pub min_overlap_duty_share: f32,
    /// Steps over which duty cycles average.
    pub duty_cycle_period: u32,
    /// Seed of the initial permanences and potential pools.
    pub seed: u64,
}

impl SpatialPoolerParams {
    /// Length of one column's permanences.
    pub fn stride(&self) -> usize {
        self.input_bits.next_multiple_of(16)
    }

    /// Words of one connected row.
    pub fn row_words(&self) -> usize {
        words_for(self.columns)
    }

    /// Permanences from here on are connected.
    pub fn connected_threshold(&self) -> f32 {
        self.connected_permanence - 0.000_001
    }

    /// Permanences below this become 0.
    pub fn trim_threshold(&self) -> f32 {
        narrow(f64::from(self.active_increment) / 2.0)
    }

    /// Added to every permanence of a starving column.
    pub fn bump(&self) -> f32 {
        narrow(f64::from(self.connected_permanence) / 10.0)
    }
}

/// The few single numbers of a spatial pooler's state.
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SpatialPoolerScalars {
    /// Steps so far.
    pub iteration: u32,
    /// Overlap duty cycle below which a column starves; the same for all columns.
    pub min_overlap_duty: f32,
    /// Private columns in use.
    pub slot_count: u32,
}

/// A model's spatial pooler, borrowed from whoever owns its memory.
#[derive(Debug)]
pub struct SpatialPoolerState<'a> {
    /// Single numbers.
    pub scalars: &'a mut SpatialPoolerScalars,
    /// `columns`: private slot of each column or [`NO_SLOT`].
    pub column_slots: &'a mut [u16],
    /// `slots x stride`: permanences of the columns that have learned.
    pub private_permanences: &'a mut [f32],
    /// `columns x stride`: the template, shared by all models with these parameters.
    pub template_permanences: &'a [f32],
    /// `input_bits x row_words`: which columns are connected to each input.
    pub connected_rows: &'a mut [u64],
    /// `columns`: share of steps with an overlap above 0.
    pub overlap_duty: &'a mut [f32],
    /// `columns`: share of steps active. Nothing reads it while boosting is off; kept because it is observable.
    pub active_duty: &'a mut [f32],
}

impl SpatialPoolerState<'_> {
    /// The permanences of `column`, wherever they live.
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn permanences(&self, params: &SpatialPoolerParams, column: usize) -> &[f32] {
        let stride = params.stride();
        match self.column_slots[column] {
            NO_SLOT => &self.template_permanences[column * stride..][..stride],
            slot => &self.private_permanences[usize::from(slot) * stride..][..stride],
        }
    }

    /// Private slots that learning on `columns` would still have to open.
    pub fn slots_missing(&self, columns: &[u16]) -> usize {
        columns.iter().filter(|&&column| self.column_slots[usize::from(column)] == NO_SLOT).count()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the reference rounds this f64 to an f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}
