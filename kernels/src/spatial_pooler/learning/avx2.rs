//! Adaptation with AVX2, eight permanences at a time, and BMI2 for gathering the input's bits.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m256, __m256i, _CMP_GE_OQ, _CMP_NLT_UQ, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256,
    _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_loadu_ps, _mm256_min_ps,
    _mm256_movemask_ps, _mm256_or_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_storeu_ps,
    _mm256_xor_ps, _pext_u64,
};

use super::{CHUNK, Crossings, PackedBits, Step, Work, adapt_each, bits_of_chunk};

/// As `scalar::adapt`.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn adapt(work: &mut Work<'_>, columns: &[u16]) {
    adapt_each(
        work,
        columns,
        |word, mask| _pext_u64(word, mask),
        |chunks, input, step, crossings| change(chunks, input, step, crossings),
    );
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn change(chunks: &mut [[f32; CHUNK]], input: &PackedBits, step: Step, mut crossings: Crossings<'_>) {
    for (chunk_idx, chunk) in chunks.iter_mut().enumerate() {
        let active = _mm256_set1_epi32(i32::from(bits_of_chunk(input, chunk_idx)));
        let (halves, _) = chunk.as_chunks_mut::<8>();
        let low = change_eight(&mut halves[0], active, _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), step);
        let high_lanes =
            _mm256_setr_epi32(1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15);
        let high = change_eight(&mut halves[1], active, high_lanes, step);
        if _mm256_movemask_ps(_mm256_or_ps(low, high)) != 0 {
            let crossed = _mm256_movemask_ps(low) | _mm256_movemask_ps(high) << 8;
            crossings.report(chunk_idx * CHUNK, u16::try_from(crossed).expect("sixteen bits"));
        }
    }
}

/// Changes the permanences of eight inputs, active where `active` has the lane's bit. Returns a mask of those that
/// crossed the threshold.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn change_eight(values: &mut [f32; 8], active: __m256i, lane_bits: __m256i, step: Step) -> __m256 {
    let (increment, decrement) = (_mm256_set1_ps(step.increment), _mm256_set1_ps(step.decrement));
    let (threshold, trim) = (_mm256_set1_ps(step.threshold), _mm256_set1_ps(step.trim));
    // SAFETY: `values` is eight numbers.
    let before = unsafe { _mm256_loadu_ps(values.as_ptr()) };
    let is_active = _mm256_cmpeq_epi32(_mm256_and_si256(active, lane_bits), lane_bits);
    // A choice of one of two bit patterns; the blend instruction for it is three operations on some machines.
    let difference = _mm256_xor_ps(increment, decrement);
    let delta = _mm256_xor_ps(decrement, _mm256_and_ps(_mm256_castsi256_ps(is_active), difference));
    let changed = _mm256_add_ps(before, delta);
    // Of a NaN and a number, the minimum is its second operand: as in the scalar code, a NaN stays.
    let clipped = _mm256_min_ps(_mm256_set1_ps(1.0), changed);
    let kept = _mm256_and_ps(clipped, _mm256_cmp_ps::<_CMP_NLT_UQ>(changed, trim));
    // SAFETY: `values` is eight numbers.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), kept) };
    _mm256_xor_ps(
        _mm256_cmp_ps::<_CMP_GE_OQ>(before, threshold),
        _mm256_cmp_ps::<_CMP_GE_OQ>(changed, threshold),
    )
}
