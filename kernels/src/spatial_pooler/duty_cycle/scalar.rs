//! Portable update of duty cycles. Where no number is subnormal it is a plain loop; where one is, the portable vectors
//! of `wide` mask it out of the arithmetic.

use wide::{f32x8, i32x8};

use super::{Average, CHUNK, FIRST_NORMAL_BITS, ONE_BITS, Work, step_subnormals, update_each};

/// Steps both averages; whether a column starves.
pub(super) fn update(work: &mut Work<'_>) -> bool {
    update_each(work, step)
}

fn step(chunk: &mut [f32; CHUNK], hits: u16, average: Average) {
    if is_settled(chunk, hits) {
        // The normal case of overlap duty cycles.
    } else if has_subnormal(chunk) {
        step_carefully(chunk, hits, average);
    } else {
        step_plainly(chunk, hits, average);
    }
}

/// Whether all of a chunk are 1 and have a hit.
#[inline(always)]
fn is_settled(chunk: &[f32; CHUNK], hits: u16) -> bool {
    let are_ones = || chunk.iter().fold(true, |all, duty| all & (duty.to_bits().cast_signed() == ONE_BITS));
    hits == u16::MAX && are_ones()
}

/// Whether any of a chunk is subnormal; 0 is not.
#[inline(always)]
fn has_subnormal(chunk: &[f32; CHUNK]) -> bool {
    let is_subnormal = |bits: u32| bits.wrapping_sub(1) < FIRST_NORMAL_BITS.cast_unsigned() - 1;
    chunk.iter().fold(false, |any, duty| any | is_subnormal(duty.to_bits()))
}

/// The definition.
#[inline(always)]
fn step_plainly(chunk: &mut [f32; CHUNK], hits: u16, average: Average) {
    for (lane, duty) in chunk.iter_mut().enumerate() {
        let hit = if u32::from(hits) & (1 << lane) == 0 { 0.0 } else { 1.0 };
        *duty = (*duty * average.before + hit) / average.period;
    }
}

fn step_carefully(chunk: &mut [f32; CHUNK], hits: u16, average: Average) {
    let (halves, _) = chunk.as_chunks_mut::<8>();
    let low = step_eight(&mut halves[0], i32::from(hits), average);
    let high = step_eight(&mut halves[1], i32::from(hits >> 8), average);
    let fading = low | high << 8;
    if fading != 0 {
        step_subnormals(chunk, u16::try_from(fading).expect("sixteen bits"), average);
    }
}

/// Steps eight duty cycles, except those that [`step_subnormals`] must; returns their lanes.
#[inline(always)]
fn step_eight(chunk: &mut [f32; 8], hits: i32, average: Average) -> u32 {
    const LANE_BITS: i32x8 = i32x8::new([1, 2, 4, 8, 16, 32, 64, 128]);
    let bits = i32x8::new(chunk.map(|duty| duty.to_bits().cast_signed()));
    let is_hit = (i32x8::splat(hits) & LANE_BITS).simd_eq(LANE_BITS);
    let is_moving = bits.simd_gt(i32x8::splat(average.last_fixed_bits));
    let is_small = bits.simd_lt(i32x8::splat(FIRST_NORMAL_BITS));
    let float = |bits: i32x8| f32x8::new(bits.to_array().map(|bits| f32::from_bits(bits.cast_unsigned())));
    let product = float(!is_small & bits) * f32x8::splat(average.before);
    let sum = product + float(is_hit & i32x8::splat(ONE_BITS));
    let quotient = (sum / f32x8::splat(average.period)).to_array();
    let quotient = i32x8::new(quotient.map(|duty| duty.to_bits().cast_signed()));
    let is_kept = is_small & !is_hit;
    let updated = (is_kept & bits) | (!is_kept & quotient);
    *chunk = float(updated).to_array();
    (is_kept & is_moving).to_bitmask()
}
