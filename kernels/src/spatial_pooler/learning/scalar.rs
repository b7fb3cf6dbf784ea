//! Portable adaptation: the reference of the others. Its loop runs on the portable vectors of `wide`: whether a plain
//! loop becomes vector code hangs on how the test for crossings is written (the first one took 76 us a record instead
//! of 20; none was faster than this).

use wide::{f32x8, i32x8};

use super::{CHUNK, Crossings, PackedBits, Step, Work, adapt_each, bits_of_chunk};
use crate::word::Ones;

/// Adapts the permanences of `columns`.
pub(super) fn adapt(work: &mut Work<'_>, columns: &[u16]) {
    adapt_each(work, columns, gather, change);
}

/// The bits of `word` that `mask` selects, side by side from bit 0 up.
fn gather(word: u64, mask: u64) -> u64 {
    // Few inputs are active, so it is the bits that are moved, each down by the number of gaps below it.
    Ones(word & mask).fold(0, |gathered, bit| gathered | 1 << (mask & !(u64::MAX << bit)).count_ones())
}

fn change(chunks: &mut [[f32; CHUNK]], input: &PackedBits, step: Step, mut crossings: Crossings<'_>) {
    for (chunk_idx, chunk) in chunks.iter_mut().enumerate() {
        let active = bits_of_chunk(input, chunk_idx);
        let (halves, _) = chunk.as_chunks_mut::<8>();
        let low = change_eight(&mut halves[0], i32::from(active), step);
        let high = change_eight(&mut halves[1], i32::from(active >> 8), step);
        if (low | high).any() {
            let crossed = low.to_bitmask() | high.to_bitmask() << 8;
            crossings.report(chunk_idx * CHUNK, u16::try_from(crossed).expect("sixteen bits"));
        }
    }
}

/// Returns a mask of those that crossed the threshold.
#[inline(always)]
fn change_eight(values: &mut [f32; 8], active: i32, step: Step) -> f32x8 {
    const LANE_BITS: i32x8 = i32x8::new([1, 2, 4, 8, 16, 32, 64, 128]);
    let is_active = (i32x8::splat(active) & LANE_BITS).simd_eq(LANE_BITS);
    let (up, down) = (step.increment.to_bits().cast_signed(), step.decrement.to_bits().cast_signed());
    let delta = (is_active & i32x8::splat(up)) | (!is_active & i32x8::splat(down));
    let delta = f32x8::new(delta.to_array().map(|bits| f32::from_bits(bits.cast_unsigned())));
    let threshold = f32x8::splat(step.threshold);
    let before = f32x8::new(*values);
    let changed = before + delta;
    let one = f32x8::splat(1.0);
    let clipped = changed.simd_gt(one).select(one, changed);
    *values = changed.simd_lt(f32x8::splat(step.trim)).select(f32x8::ZERO, clipped).to_array();
    before.simd_ge(threshold) ^ changed.simd_ge(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_what_the_mask_selects() {
        assert_eq!(gather(0b1011_0110, 0b1100_0111), 0b10_110);
        assert_eq!(gather(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(gather(u64::MAX, 1 << 63 | 1), 0b11);
        assert_eq!(gather(0, u64::MAX), 0);
    }
}
