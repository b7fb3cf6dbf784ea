//! The spatial pooler: an input of some hundred to some thousand bits becomes the 40 of 2048 columns that match it
//! best, and those columns learn it.
//!
//! One step, in the reference's order: [`overlap::count`], [`inhibition::select`], [`learning::adapt`] and
//! [`learning::apply_flips`], [`duty_cycle::update`], [`learning::bump_up`] for columns that starve, and every 50th
//! step [`duty_cycle::update_minimum`]. The owner calls them one after the other (and makes room for private
//! columns and rows in between), which is why there is no single `step` here.
//!
//! Layout:
//! - A column's permanences are *packed*: only its potential pool, in input order, rounded up to 16 `f32`
//!   ([`SpatialPoolerParams::stride`]). `pools` says which inputs they belong to: `column x input words`, one bit
//!   per input. Every column's pool has the same size.
//! - Beyond the pool a packed column holds 0, not NaN: what learning does to an inactive input takes 0 to 0, and
//!   no 0 is connected, so the loops need no mask; and every permanence is an ordinary number in 0..=1, which a
//!   file's reader can check and two states can be compared by. Only [`learning::bump_up`] must stop at the pool.
//! - `connected rows`: `input x row words`, one bit per column. Overlap is counted over the few active inputs'
//!   rows, so each record reads 42 rows instead of 2048 columns. What a record costs follows from its active inputs and
//!   the size of the pools; sized by the widest input there can be are only a few arrays of 512 bytes on the stack.
//! - Columns and rows that never changed live in the shared *template* (a pure function of the parameters); the
//!   first time one changes it is copied into a private slot of the model. A fresh model owns neither.
//! - Connected is `permanence >= threshold` of the stored value; clipping and trimming never cross the threshold
//!   ([`SpatialPoolerParams::assert_usable`]), so this equals the reference's test before trimming.
//!
//! Instruction sets: the kernels that a whole step spends its time in have one file for each set that a bench
//! (`benches/spatial_pooler.rs`) earned; all of them give the same bits.
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

use self::learning::Flip;
use crate::word::{get, ones, set, words_for};

/// Marks a column or a row that is the template's.
pub const NO_SLOT: u16 = u16::MAX;

/// Most bits a counter of active inputs can have: overlaps stay below 2^12.
pub const MAX_PLANES: usize = 12;

/// Widest input: one below 2^[`MAX_PLANES`], so that all of its bits may be active. A value encoder of 400 bits leaves
/// room for every part of a date several times over.
pub const MAX_INPUT_BITS: usize = (1 << MAX_PLANES) - 1;

/// Words of the widest input.
const MAX_INPUT_WORDS: usize = words_for(MAX_INPUT_BITS);

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
    /// Inputs in each column's potential pool.
    pub fn pool_size(&self) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "at most 4095 inputs")]
        let pool_size = (self.input_bits as f32 * self.potential_share).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=4095 after rounding"
        )]
        let pool_size = pool_size as usize;
        pool_size
    }

    /// Length of one column's packed permanences.
    pub fn stride(&self) -> usize {
        self.pool_size().next_multiple_of(16)
    }

    /// Words of one column's potential pool.
    pub fn input_words(&self) -> usize {
        words_for(self.input_bits)
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

    /// What the layout and the way connections are told rely on.
    ///
    /// # Panics
    /// If the input is too wide, the pool wider than the input, or trimming or clipping could cross the threshold.
    pub fn assert_usable(&self) {
        let (inputs, pool) = (self.input_bits, self.pool_size());
        assert!(inputs <= MAX_INPUT_BITS && pool <= inputs, "a pool of {pool} among {inputs} inputs");
        let (trim, threshold) = (self.trim_threshold(), self.connected_threshold());
        assert!(
            0.0 <= trim && trim < threshold && threshold <= 1.0,
            "permanences are trimmed below {trim} and connected from {threshold} on"
        );
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
    /// Private connected rows in use.
    pub row_count: u32,
}

/// A model's spatial pooler, borrowed from whoever owns its memory.
#[derive(Debug)]
pub struct SpatialPoolerState<'a> {
    /// Single numbers.
    pub scalars: &'a mut SpatialPoolerScalars,
    /// `columns`: private slot of each column or [`NO_SLOT`].
    pub column_slots: &'a mut [u16],
    /// `slots x stride`: packed permanences of the columns that have learned.
    pub private_permanences: &'a mut [f32],
    /// `columns x stride`: the template's packed permanences.
    pub template_permanences: &'a [f32],
    /// `columns x input_words`: each column's potential pool, part of the template.
    pub pools: &'a [u64],
    /// `input_bits`: private row of each input or [`NO_SLOT`].
    pub row_slots: &'a mut [u16],
    /// `rows x row_words`: which columns are connected to the inputs whose connections changed.
    pub private_rows: &'a mut [u64],
    /// `input_bits x row_words`: the template's connected rows.
    pub template_rows: &'a [u64],
    /// `columns`: share of steps with an overlap above 0.
    pub overlap_duty: &'a mut [f32],
    /// `columns`: share of steps active. Nothing reads it while boosting is off; kept because it is observable.
    pub active_duty: &'a mut [f32],
}

impl SpatialPoolerState<'_> {
    /// The permanences of `column`'s pool, ascending by input, wherever they live.
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn permanences(&self, params: &SpatialPoolerParams, column: usize) -> &[f32] {
        let (stride, pool_size) = (params.stride(), params.pool_size());
        match self.column_slots[column] {
            NO_SLOT => &self.template_permanences[column * stride..][..pool_size],
            slot => &self.private_permanences[usize::from(slot) * stride..][..pool_size],
        }
    }

    /// The inputs of `column`'s pool, ascending.
    ///
    /// # Panics
    /// If `column` is out of range.
    pub fn pool(&self, params: &SpatialPoolerParams, column: usize) -> impl Iterator<Item = usize> + '_ {
        let input_words = params.input_words();
        ones(&self.pools[column * input_words..][..input_words])
    }

    /// Which columns are connected to each input.
    pub fn connected_rows(&self, params: &SpatialPoolerParams) -> ConnectedRows<'_> {
        ConnectedRows {
            row_words: params.row_words(),
            slots: self.row_slots,
            private: self.private_rows,
            template: self.template_rows,
        }
    }

    /// Private slots that learning on `columns` would still have to open.
    ///
    /// # Panics
    /// If a column is out of range.
    pub fn slots_missing(&self, columns: &[u16]) -> usize {
        columns.iter().filter(|&&column| self.column_slots[usize::from(column)] == NO_SLOT).count()
    }

    /// Private rows that [`learning::apply_flips`] would still have to open.
    ///
    /// # Panics
    /// If an input is out of range.
    pub fn rows_missing(&self, flips: &[Flip]) -> usize {
        let mut seen = [0u64; MAX_INPUT_WORDS];
        let mut missing = 0;
        for flip in flips.iter().filter(|flip| self.row_slots[usize::from(flip.input)] == NO_SLOT) {
            let input = usize::from(flip.input);
            missing += usize::from(!get(&seen, input));
            set(&mut seen, input);
        }
        missing
    }
}

/// The connected rows of all inputs, borrowed: the template's, or the private ones where `slots` says so.
#[derive(Debug, Clone, Copy)]
pub struct ConnectedRows<'a> {
    /// Words of one row.
    pub row_words: usize,
    /// `input_bits`: private row of each input or [`NO_SLOT`].
    pub slots: &'a [u16],
    /// `rows x row_words`.
    pub private: &'a [u64],
    /// `input_bits x row_words`.
    pub template: &'a [u64],
}

impl<'a> ConnectedRows<'a> {
    /// The row of `input`: bit `c` is set if column `c` is connected to it.
    ///
    /// # Panics
    /// If there is no such input, or its slot lies outside the private rows.
    #[inline]
    pub fn row(&self, input: u16) -> &'a [u64] {
        let input = usize::from(input);
        match self.slots[input] {
            NO_SLOT => &self.template[input * self.row_words..][..self.row_words],
            slot => &self.private[usize::from(slot) * self.row_words..][..self.row_words],
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the reference rounds this f64 to an f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}
