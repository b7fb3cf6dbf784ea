//! Adaptation with AVX-512, sixteen permanences at a time: the gathered input bits are the lane masks.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    _CMP_GE_OQ, _CMP_NLT_UQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_loadu_ps, _mm512_mask_blend_ps,
    _mm512_maskz_min_ps, _mm512_set1_ps, _mm512_storeu_ps, _pext_u64,
};

use super::{CHUNK, Crossings, PackedBits, Step, Work, adapt_each, bits_of_chunk};

/// As `scalar::adapt`.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq"
)]
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
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq"
)]
fn change(chunks: &mut [[f32; CHUNK]], input: &PackedBits, step: Step, mut crossings: Crossings<'_>) {
    let (increment, decrement) = (_mm512_set1_ps(step.increment), _mm512_set1_ps(step.decrement));
    let (threshold, trim, one) =
        (_mm512_set1_ps(step.threshold), _mm512_set1_ps(step.trim), _mm512_set1_ps(1.0));
    for (chunk_idx, values) in chunks.iter_mut().enumerate() {
        // SAFETY: `values` is sixteen numbers.
        let before = unsafe { _mm512_loadu_ps(values.as_ptr()) };
        let delta = _mm512_mask_blend_ps(bits_of_chunk(input, chunk_idx), decrement, increment);
        let changed = _mm512_add_ps(before, delta);
        let crossed = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(before, threshold)
            ^ _mm512_cmp_ps_mask::<_CMP_GE_OQ>(changed, threshold);
        // Of a NaN and a number, the minimum is its second operand: as in the scalar code, a NaN stays.
        let is_kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(changed, trim);
        let kept = _mm512_maskz_min_ps(is_kept, one, changed);
        // SAFETY: `values` is sixteen numbers.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), kept) };
        if crossed != 0 {
            crossings.report(chunk_idx * CHUNK, crossed);
        }
    }
}
