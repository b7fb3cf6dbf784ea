//! Update of duty cycles with AVX-512, sixteen at a time: hits, fixed points and subnormal numbers are lane masks.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    _mm512_add_ps, _mm512_castps_si512, _mm512_cmpeq_epi32_mask, _mm512_cmple_epi32_mask,
    _mm512_cmplt_epi32_mask, _mm512_div_ps, _mm512_loadu_ps, _mm512_mask_mov_ps, _mm512_maskz_mov_ps,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_storeu_ps,
};

use super::{Average, CHUNK, FIRST_NORMAL_BITS, ONE_BITS, Work, step_subnormals, update_each};

/// As `scalar::update`.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq"
)]
pub(super) fn update(work: &mut Work<'_>) -> bool {
    update_each(work, |chunk, hits, average| step(chunk, hits, average))
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq"
)]
fn step(chunk: &mut [f32; CHUNK], hits: u16, average: Average) {
    let one = _mm512_set1_ps(1.0);
    // SAFETY: `chunk` is sixteen numbers.
    let duties = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
    let bits = _mm512_castps_si512(duties);
    let is_still = _mm512_cmple_epi32_mask(bits, _mm512_set1_epi32(average.last_fixed_bits));
    let is_one = _mm512_cmpeq_epi32_mask(bits, _mm512_set1_epi32(ONE_BITS));
    if hits & is_one | !hits & is_still == u16::MAX {
        return;
    }
    let is_small = _mm512_cmplt_epi32_mask(bits, _mm512_set1_epi32(FIRST_NORMAL_BITS));
    let product = _mm512_mul_ps(_mm512_maskz_mov_ps(!is_small, duties), _mm512_set1_ps(average.before));
    let sum = _mm512_add_ps(product, _mm512_maskz_mov_ps(hits, one));
    let quotient = _mm512_div_ps(sum, _mm512_set1_ps(average.period));
    let updated = _mm512_mask_mov_ps(quotient, is_small & !hits, duties);
    // SAFETY: `chunk` is sixteen numbers.
    unsafe { _mm512_storeu_ps(chunk.as_mut_ptr(), updated) };
    let fading = is_small & !hits & !is_still;
    if fading != 0 {
        step_subnormals(chunk, fading, average);
    }
}
