//! Duty cycles: moving shares of steps in which a column had an overlap, and in which it was active.
//!
//! `duty = (duty * (period - 1) + hit) / period` in `f32`, in this order and with a true division.
//!
//! Two departures, which do not change a bit:
//! - *Fixed points stay as they are.* 1 is one under a hit: nearly all overlap duty cycles, which are neither computed
//!   nor written. Without a hit a subnormal number of `m` units of 2^-149 is one if `m / period` is less than one half
//!   (or equal to it, and `m` even): the quotient `m - m / period` rounds back to `m`. A column that was active once
//!   ends there for good, some 90,000 steps later.
//! - *No subnormal number meets the floating-point unit*, which would take a hundred times as long. With a hit it
//!   adds nothing to 1 and counts as 0. Without one, on its way down, it is stepped as the integer `m`
//!   (`step_subnormal`).
//!
//! Source: `updateDutyCycles_` and `updateMinDutyCyclesGlobal_` of `SpatialPooler.cpp`.
#![expect(clippy::inline_always, reason = "shared code must be compiled for its caller's instruction set")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use super::{SpatialPoolerParams, SpatialPoolerState};
use crate::isa::{Isa, IsaKind};
use crate::word::{self, words_for};
use crate::{MAX_ACTIVE_COLUMNS, MAX_COLUMNS};

/// Every so many steps the minimum is taken anew.
pub const UPDATE_PERIOD: u32 = 50;

/// Longest period: up to here a step of one is exact, and so are the bounds in `step_subnormal`.
pub const MAX_PERIOD: u32 = 1 << 24;

/// Brings both duty cycles up to date. `planes` are this step's overlaps, of which those from `used_planes` on are
/// not read; `active_columns` its winners. Returns whether a column starves ([`for_each_starving`]).
///
/// # Panics
/// If a shape is wrong, there are more than [`MAX_ACTIVE_COLUMNS`] winners or [`MAX_COLUMNS`] columns, or the period
/// exceeds [`MAX_PERIOD`].
pub fn update(
    isa: Isa,
    params: &SpatialPoolerParams,
    state: &mut SpatialPoolerState<'_>,
    planes: &[u64],
    used_planes: usize,
    active_columns: &[u16],
) -> bool {
    assert!(params.columns <= MAX_COLUMNS, "{} columns", params.columns);
    assert!(active_columns.len() <= MAX_ACTIVE_COLUMNS, "{} winners", active_columns.len());
    assert_eq!(state.overlap_duty.len(), params.columns, "columns");
    assert_eq!(state.active_duty.len(), params.columns, "columns");
    let mut active = [0; MAX_HIT_WORDS];
    for &column in active_columns {
        word::set(&mut active, usize::from(column));
    }
    let mut work = Work {
        average: Average::over(state.scalars.iteration.min(params.duty_cycle_period)),
        minimum: state.scalars.min_overlap_duty,
        planes: &planes[..used_planes * params.row_words()],
        row_words: params.row_words(),
        active: &active,
        overlap_duty: state.overlap_duty,
        active_duty: state.active_duty,
    };
    update_both(isa, &mut work)
}

/// Names the columns whose overlap duty cycle is below the minimum, ascending.
pub fn for_each_starving(state: &SpatialPoolerState<'_>, mut report: impl FnMut(u16)) {
    let minimum = state.scalars.min_overlap_duty;
    for (&duty, column) in state.overlap_duty.iter().zip(0..) {
        if duty < minimum {
            report(column);
        }
    }
}

/// Takes the minimum overlap duty cycle anew from the best column.
pub fn update_minimum(params: &SpatialPoolerParams, state: &mut SpatialPoolerState<'_>) {
    let best = state.overlap_duty.iter().fold(0.0f32, |best, &duty| if duty > best { duty } else { best });
    state.scalars.min_overlap_duty = params.min_overlap_duty_share * best;
}

const MAX_HIT_WORDS: usize = words_for(MAX_COLUMNS);

/// Duty cycles updated at once.
const CHUNK: usize = 16;

/// Numbers below are subnormal or 0, seen as bits. No duty cycle is negative; a forged one would count as 0 as well,
/// which lets the comparisons be those of signed integers.
const FIRST_NORMAL_BITS: i32 = f32::MIN_POSITIVE.to_bits().cast_signed();

/// Bits of 1.0.
const ONE_BITS: i32 = 1.0f32.to_bits().cast_signed();

/// The numbers of one moving average.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Average {
    period: f32,
    before: f32,
    /// Numbers with at most these bits stay as they are without a hit.
    last_fixed_bits: i32,
}

impl Average {
    fn over(period: u32) -> Self {
        assert!((1..=MAX_PERIOD).contains(&period), "a duty cycle period of {period}");
        // The product `m * (period - 1)` is exact for all these `m`: it stays below 2^24. That is why longer periods
        // claim no other fixed point than 0.
        let half = period / 2;
        let last_fixed_bits = match period {
            4097.. => 0,
            _ if period % 4 == 2 => half - 1,
            _ => half,
        };
        #[expect(clippy::cast_precision_loss, reason = "at most 2^24")]
        let period = period as f32;
        Self { period, before: period - 1.0, last_fixed_bits: last_fixed_bits.cast_signed() }
    }

    /// One step without a hit of a number with these bits, which is subnormal.
    ///
    /// It is `m` units of 2^-149, and `m` equals its bits. The product rounds to 24 binary digits whether its unit
    /// is 1 or 2^-149 (below 2^24 units it is exact in both). The quotient must then be rounded once, to a whole
    /// number of units, ties to even. In `f64` it carries an error below 2^-29 units, while a quotient that is no
    /// tie differs from one by at least 1 / (2 period) >= 2^-25: rounding it again gives what rounding once gives.
    fn step_subnormal(self, bits: u32) -> u32 {
        /// 2^52: adding it leaves no binary digits behind the point, ties to even.
        const WHOLE: f64 = 4_503_599_627_370_496.0;
        #[expect(clippy::cast_precision_loss, reason = "a subnormal number has at most 23 digits")]
        let product = bits as f32 * self.before;
        let quotient = f64::from(product) / f64::from(self.period) + WHOLE;
        #[expect(clippy::cast_possible_truncation, reason = "the low digits are the whole number")]
        let units = quotient.to_bits() as u32;
        units
    }
}

/// What one call works on.
struct Work<'a> {
    average: Average,
    minimum: f32,
    planes: &'a [u64],
    row_words: usize,
    active: &'a [u64; MAX_HIT_WORDS],
    overlap_duty: &'a mut [f32],
    active_duty: &'a mut [f32],
}

/// Steps those `lanes` of a chunk, which are subnormal, not at a fixed point, and without a hit. (They must be told:
/// other lanes may have become subnormal in this very step.)
#[cold]
fn step_subnormals(duties: &mut [f32; CHUNK], lanes: u16, average: Average) {
    for lane in word::Ones(u64::from(lanes)) {
        duties[lane] = f32::from_bits(average.step_subnormal(duties[lane].to_bits()));
    }
}

/// Steps both averages; `step` does so for a chunk and its hits. Returns whether a column starves.
#[inline(always)]
fn update_each(work: &mut Work<'_>, step: impl Fn(&mut [f32; CHUNK], u16, Average)) -> bool {
    let mut overlapping = [0; MAX_HIT_WORDS];
    for plane in work.planes.chunks_exact(work.row_words.max(1)) {
        for (overlapping, plane) in overlapping.iter_mut().zip(plane) {
            *overlapping |= plane;
        }
    }
    update_chunks(work.overlap_duty, &overlapping, |chunk, hits| step(chunk, hits, work.average));
    update_chunks(work.active_duty, work.active, |chunk, hits| step(chunk, hits, work.average));
    #[expect(clippy::needless_bitwise_bool, reason = "a lazy `or` would branch on every column")]
    let is_any_starving = work.overlap_duty.iter().fold(false, |any, &duty| any | (duty < work.minimum));
    is_any_starving
}

/// Runs `step` over all duty cycles, a chunk and its hits at a time.
#[inline(always)]
fn update_chunks(duties: &mut [f32], hits: &[u64; MAX_HIT_WORDS], step: impl Fn(&mut [f32; CHUNK], u16)) {
    let (chunks, rest) = duties.as_chunks_mut::<CHUNK>();
    #[expect(clippy::cast_possible_truncation, reason = "the lowest sixteen bits are the chunk's")]
    let hits_of = |chunk_idx: usize| (hits[chunk_idx / 4] >> (chunk_idx % 4 * CHUNK)) as u16;
    let rest_idx = chunks.len();
    for (chunk_idx, chunk) in chunks.iter_mut().enumerate() {
        step(chunk, hits_of(chunk_idx));
    }
    if !rest.is_empty() {
        let mut chunk = [0.0; CHUNK];
        chunk[..rest.len()].copy_from_slice(rest);
        step(&mut chunk, hits_of(rest_idx));
        rest.copy_from_slice(&chunk[..rest.len()]);
    }
}

#[expect(unsafe_code, reason = "the dispatch call")]
fn update_both(isa: Isa, work: &mut Work<'_>) -> bool {
    match isa.kind() {
        IsaKind::Scalar => scalar::update(work),
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx2 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx2::update(work) }
        }
        #[cfg(target_arch = "x86_64")]
        IsaKind::Avx512 => {
            // SAFETY: an `Isa` of this kind exists only on a machine with all features that this function enables.
            unsafe { avx512::update(work) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        IsaKind::Avx2 | IsaKind::Avx512 => unreachable!("{isa} exists on x86-64 only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERIODS: [u32; 14] = [1, 2, 3, 4, 5, 6, 7, 50, 999, 1000, 1001, 4096, 4097, 100_000];

    /// The definition, with nothing avoided.
    fn plain(duty: f32, is_hit: bool, period: u32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let period = period as f32;
        (duty * (period - 1.0) + if is_hit { 1.0 } else { 0.0 }) / period
    }

    fn check(bits: &[u32], hits: impl Fn(usize) -> bool, period: u32) {
        let before: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
        for isa in Isa::available() {
            for (first, before) in (0..).step_by(MAX_COLUMNS).zip(before.chunks(MAX_COLUMNS)) {
                let mut hit_words = [0; MAX_HIT_WORDS];
                (0..before.len())
                    .filter(|lane| hits(first + lane))
                    .for_each(|lane| word::set(&mut hit_words, lane));
                let (mut overlap_duty, mut active_duty) = (before.to_vec(), before.to_vec());
                let row_words = words_for(before.len());
                let minimum = 1e-3;
                let is_any_starving = update_both(
                    isa,
                    &mut Work {
                        average: Average::over(period),
                        minimum,
                        planes: &hit_words[..row_words],
                        row_words,
                        active: &hit_words,
                        overlap_duty: &mut overlap_duty,
                        active_duty: &mut active_duty,
                    },
                );
                assert_eq!(is_any_starving, overlap_duty.iter().any(|&duty| duty < minimum), "{isa}");
                for (lane, &before) in before.iter().enumerate() {
                    let expected = plain(before, hits(first + lane), period).to_bits();
                    let found = [overlap_duty[lane].to_bits(), active_duty[lane].to_bits()];
                    assert_eq!(found, [expected; 2], "{before:e} over {period}, {isa}, {lane}");
                }
            }
        }
    }

    #[test]
    fn small_subnormals_step_as_defined() {
        let all: Vec<u32> = (0..6000).collect();
        for period in PERIODS {
            check(&all, |_| false, period);
            check(&all, |_| true, period);
            check(&all, |lane| lane % 3 == 0, period);
        }
    }

    #[test]
    fn subnormals_of_every_size_step_as_defined() {
        let mut bits: Vec<u32> =
            (0..20_000u32).map(|index| index.wrapping_mul(2_654_435_761) % (1 << 23)).collect();
        for exponent in 0..24 {
            bits.extend((0..5).map(|offset: u32| ((1 << exponent) + offset).saturating_sub(2)));
        }
        for period in PERIODS.into_iter().chain([1 << 20, MAX_PERIOD]) {
            check(&bits, |_| false, period);
            check(&bits, |lane| lane % 7 == 0, period);
        }
    }

    #[test]
    fn what_fades_away_ends_at_its_fixed_point() {
        for period in [2, 7, 50, 1000] {
            let average = Average::over(period);
            let mut bits = f32::MIN_POSITIVE.to_bits() - 1;
            while average.step_subnormal(bits) != bits {
                bits = average.step_subnormal(bits);
            }
            assert_eq!(bits, average.last_fixed_bits.cast_unsigned(), "{period}");
        }
    }

    #[test]
    fn columns_at_the_edges_of_chunks_and_words_step_as_defined() {
        for columns in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 2047, 2048] {
            let bits: Vec<u32> =
                (0..columns).map(|column| 0x3E00_0000 + column * 1_234_567 % 0x0100_0000).collect();
            check(&bits, |lane| lane % 5 == 0, 1000);
        }
    }

    proptest! {
        #[test]
        fn all_duty_cycles_step_as_defined(
            duties in proptest::collection::vec(
                prop_oneof![
                    Just(0.0f32),
                    Just(1.0),
                    0.0f32..=1.0,
                    (0.0f32..140.0).prop_map(|exponent| (-exponent).exp2()),
                    (0u32..1 << 24).prop_map(f32::from_bits),
                ],
                0..200,
            ),
            hits in any::<u64>(),
            period in 1u32..5000,
        ) {
            let bits: Vec<u32> = duties.iter().map(|duty| duty.to_bits()).collect();
            check(&bits, |lane| hits >> (lane * 7 % 64) & 1 == 1, period);
            check(&bits, |lane| hits & 1 == 1 || lane == 70, period);
        }
    }
}
