//! Learning: active columns move their permanences towards the input; starving columns are raised as a whole.
//!
//! All arithmetic is `f32`, synapse by synapse, so neither order nor vector width can change a bit. A column's packed
//! permanences meet the input compressed by the column's pool (bit gather), so that no lane is spent on inputs it
//! can never connect to.
//!
//! Whenever a permanence crosses the connected threshold, the column's bit in that input's connected row must be
//! inverted. That happens a few times per record, and the row may still be the template's: learning only reports the
//! [`Flip`]s, the owner makes room for [`SpatialPoolerState::rows_missing`] rows, and [`apply_flips`] inverts.
//!
//! Source: `adaptSynapses_`, `bumpUpWeakColumns_` and `updatePermanencesForColumn_` of `SpatialPooler.cpp`.
//! Departure: no clipping at 0, as what would be clipped is below the trim threshold and becomes 0 anyway.
#![expect(clippy::inline_always, reason = "shared code must be compiled for its caller's instruction set")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{MAX_INPUT_WORDS, NO_SLOT, SpatialPoolerParams, SpatialPoolerState};
use crate::isa::{Isa, IsaKind};
use crate::prefetch::prefetch;
use crate::word;

/// A synapse that became connected or ceased to be.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Flip {
    /// The input it comes from.
    pub input: u16,
    /// The column it belongs to.
    pub column: u16,
}

/// Most flips that one call of [`adapt`] or [`bump_up`] can report.
pub fn max_flips(params: &SpatialPoolerParams) -> usize {
    params.active_columns.max(1) * params.pool_size()
}

/// Adapts the permanences of `active_columns` to the input. Returns how many synapses crossed the threshold; they are
/// the first of `flips`.
///
/// # Panics
/// If an index is out of range, a shape is wrong, the state has no room for the private slots that
/// [`SpatialPoolerState::slots_missing`] counts, or `flips` has none for [`max_flips`].
pub fn adapt(
    isa: Isa,
    params: &SpatialPoolerParams,
    state: &mut SpatialPoolerState<'_>,
    active_inputs: &[u16],
    active_columns: &[u16],
    flips: &mut [Flip],
) -> usize {
    params.assert_usable();
    let mut input = [0; MAX_INPUT_WORDS];
    for &bit in active_inputs {
        word::set(&mut input, usize::from(bit));
    }
    for &column in active_columns {
        open_slot(params, state, usize::from(column));
    }
    let mut work = Work {
        input: &input,
        pools: state.pools,
        slots: state.column_slots,
        permanences: state.private_permanences,
        step: Step::of(params),
        input_words: params.input_words(),
        stride: params.stride(),
        flips,
        flip_count: 0,
    };
    adapt_columns(isa, &mut work, active_columns);
    work.flip_count
}

/// Raises every permanence of `column`, whose overlap duty cycle is below the minimum. Returns how many synapses
/// crossed the threshold; they are the first of `flips`.
///
/// No recorded series gets here (a column must go without overlap for thousands of steps), so there is only
/// portable code.
///
/// # Panics
/// As [`adapt`].
pub fn bump_up(
    params: &SpatialPoolerParams,
    state: &mut SpatialPoolerState<'_>,
    column: u16,
    flips: &mut [Flip],
) -> usize {
    params.assert_usable();
    let (threshold, trim, bump) = (params.connected_threshold(), params.trim_threshold(), params.bump());
    let column_idx = usize::from(column);
    let slot = open_slot(params, state, column_idx);
    let pool = state.pools[column_idx * params.input_words()..][..params.input_words()].iter();
    let inputs = pool.zip(0u16..).flat_map(|(&word, index)| word::Ones(word).zip(std::iter::repeat(index)));
    let permanences = &mut state.private_permanences[slot * params.stride()..][..params.pool_size()];
    let mut flip_count = 0;
    for (value, (bit, word_idx)) in permanences.iter_mut().zip(inputs) {
        let changed = *value + bump;
        if (*value >= threshold) != (changed >= threshold) {
            let bit = u16::try_from(bit).expect("a bit of a word");
            flips[flip_count] = Flip { input: word_idx * 64 + bit, column };
            flip_count += 1;
        }
        *value = if changed < trim { 0.0 } else { changed.min(1.0) };
    }
    flip_count
}

/// Inverts the connected bits of `flips`, opening private rows where a row is still the template's.
///
/// # Panics
/// If an index is out of range, or the state has no room for the rows that [`SpatialPoolerState::rows_missing`]
/// counts.
pub fn apply_flips(params: &SpatialPoolerParams, state: &mut SpatialPoolerState<'_>, flips: &[Flip]) {
    let row_words = params.row_words();
    for flip in flips {
        let input = usize::from(flip.input);
        if state.row_slots[input] == NO_SLOT {
            let slot = state.scalars.row_count as usize;
            assert!((slot + 1) * row_words <= state.private_rows.len(), "no room for private row {slot}");
            state.private_rows[slot * row_words..][..row_words]
                .copy_from_slice(&state.template_rows[input * row_words..][..row_words]);
            state.row_slots[input] = u16::try_from(slot).expect("at most 4095 rows");
            state.scalars.row_count += 1;
        }
        let slot = usize::from(state.row_slots[input]);
        word::toggle(&mut state.private_rows[slot * row_words..][..row_words], usize::from(flip.column));
    }
}

/// Permanences changed at once; the stride is a multiple of it.
const CHUNK: usize = 16;

/// One bit for each packed permanence, and a word to write to when all bits are written.
type PackedBits = [u64; MAX_INPUT_WORDS + 1];

/// The numbers of one adaptation.
#[derive(Debug, Clone, Copy)]
struct Step {
    increment: f32,
    decrement: f32,
    threshold: f32,
    trim: f32,
}

impl Step {
    fn of(params: &SpatialPoolerParams) -> Self {
        Self {
            increment: params.active_increment,
            decrement: -params.inactive_decrement,
            threshold: params.connected_threshold(),
            trim: params.trim_threshold(),
        }
    }
}

/// What the columns of one call work on. Every column has a private slot.
struct Work<'a> {
    input: &'a [u64; MAX_INPUT_WORDS],
    pools: &'a [u64],
    slots: &'a [u16],
    permanences: &'a mut [f32],
    step: Step,
    input_words: usize,
    stride: usize,
    flips: &'a mut [Flip],
    flip_count: usize,
}

/// Where the crossings of one column are reported to.
struct Crossings<'a> {
    column: u16,
    pool: &'a [u64],
    flips: &'a mut [Flip],
    flip_count: &'a mut usize,
}

impl Crossings<'_> {
    /// Lists the crossed ones of a chunk that starts at `place` in the pool.
    #[cold]
    fn report(&mut self, place: usize, crossed: u16) {
        for lane in word::Ones(u64::from(crossed)) {
            // Places beyond the pool hold 0 and never cross, unless a state was forged; they have no input.
            if let Some(input) = nth_one(self.pool, place + lane) {
                self.flips[*self.flip_count] = Flip { input, column: self.column };
                *self.flip_count += 1;
            }
        }
    }
}

/// The index of the set bit that has `rank` set bits below it.
fn nth_one(words: &[u64], mut rank: usize) -> Option<u16> {
    for (&word, first) in words.iter().zip((0u16..).step_by(64)) {
        let count = word.count_ones() as usize;
        if rank < count {
            let rest = (0..rank).fold(word, |rest, _| rest & (rest - 1));
            return u16::try_from(rest.trailing_zeros()).ok().map(|bit| first + bit);
        }
        rank -= count;
    }
    None
}

/// Writes the bits of `input` that `pool` selects, side by side, into the first words of `packed`: those that hold a
/// place of the pool. `gather` does that for one word.
#[inline(always)]
fn pack(
    input: &[u64; MAX_INPUT_WORDS],
    pool: &[u64],
    gather: impl Fn(u64, u64) -> u64,
    packed: &mut PackedBits,
) {
    let (mut open, mut count, mut index) = (0, 0, 0);
    for (&input, &pool) in input.iter().zip(pool) {
        let bits = gather(input, pool);
        open |= bits << count;
        // Written at every step and begun anew when full: whether it is full follows no pattern to branch on.
        packed[index] = open;
        let spilled = bits >> 1 >> (63 - count);
        count += pool.count_ones();
        let is_full = count >= 64;
        open = if is_full { spilled } else { open };
        index += usize::from(is_full);
        count %= 64;
    }
    packed[index] = open;
}

/// The sixteen of `bits` that belong to a chunk.
#[inline(always)]
fn bits_of_chunk(bits: &PackedBits, chunk_idx: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "the lowest sixteen bits are the chunk's")]
    let bits = (bits[chunk_idx / 4] >> (chunk_idx % 4 * CHUNK)) as u16;
    bits
}

/// Runs through the columns: `gather` compresses a word of the input, `change` moves a column's permanences (its bits
/// of the input given) and reports crossings.
#[inline(always)]
fn adapt_each(
    work: &mut Work<'_>,
    columns: &[u16],
    gather: impl Fn(u64, u64) -> u64,
    change: impl Fn(&mut [[f32; CHUNK]], &PackedBits, Step, Crossings<'_>),
) {
    /// Columns between the one that is changed and the one that is fetched.
    const AHEAD: usize = 3;
    let Work { input, pools, slots, permanences, step, input_words, stride, flips, flip_count } = work;
    let start = |column: u16| usize::from(slots[usize::from(column)]) * *stride;
    // Sized for the widest input, so cleared once and not for each column: all pools have the same size, and each
    // chunk's word holds a place of the pool, so no word that a column does not write is read.
    let mut packed = [0; MAX_INPUT_WORDS + 1];
    for (index, &column) in columns.iter().enumerate() {
        let later = if index == 0 { 1..=AHEAD } else { index + AHEAD..=index + AHEAD };
        for &later in columns.get(later).unwrap_or_default() {
            let first = start(later);
            for line in (first..first + *stride).step_by(CHUNK) {
                prefetch(permanences, line);
            }
        }
        let pool = &pools[usize::from(column) * *input_words..][..*input_words];
        pack(input, pool, &gather, &mut packed);
        let chunks = permanences[start(column)..][..*stride].as_chunks_mut().0;
        change(chunks, &packed, *step, Crossings { column, pool, flips, flip_count });
    }
}

#[expect(unsafe_code, reason = "the dispatch call")]
fn adapt_columns(isa: Isa, work: &mut Work<'_>, columns: &[u16]) {
    match isa.kind() {
        IsaKind::Scalar => scalar::adapt(work, columns),
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx2 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx2::adapt(work, columns) }
        }
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx512 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx512::adapt(work, columns) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        IsaKind::Avx2 | IsaKind::Avx512 => unreachable!("{isa} exists on x86-64 only"),
    }
}

/// The column's private slot, opened with the template's permanences if it has none yet.
fn open_slot(params: &SpatialPoolerParams, state: &mut SpatialPoolerState<'_>, column: usize) -> usize {
    if state.column_slots[column] == NO_SLOT {
        let stride = params.stride();
        let slot = state.scalars.slot_count as usize;
        assert!((slot + 1) * stride <= state.private_permanences.len(), "no room for private column {slot}");
        state.private_permanences[slot * stride..][..stride]
            .copy_from_slice(&state.template_permanences[column * stride..][..stride]);
        state.column_slots[column] = u16::try_from(slot).expect("at most 2048 columns");
        state.scalars.slot_count += 1;
    }
    usize::from(state.column_slots[column])
}

#[cfg(test)]
mod tests;
