//! Update of duty cycles with AVX2, eight at a time.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    _mm256_add_ps, _mm256_and_ps, _mm256_and_si256, _mm256_andnot_si256, _mm256_blendv_epi8,
    _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_cmpgt_epi32,
    _mm256_div_ps, _mm256_loadu_ps, _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_storeu_ps, _mm256_xor_si256,
};

use super::{Average, CHUNK, FIRST_NORMAL_BITS, ONE_BITS, Work, step_subnormals, update_each};

/// As `scalar::update`.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn update(work: &mut Work<'_>) -> bool {
    update_each(work, |chunk, hits, average| step(chunk, hits, average))
}

#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn step(chunk: &mut [f32; CHUNK], hits: u16, average: Average) {
    let (halves, _) = chunk.as_chunks_mut::<8>();
    let low = step_eight(&mut halves[0], i32::from(hits), average);
    let high = step_eight(&mut halves[1], i32::from(hits >> 8), average);
    let fading = low | high << 8;
    if fading != 0 {
        step_subnormals(chunk, u16::try_from(fading).expect("sixteen bits"), average);
    }
}

/// Steps eight duty cycles, except those that [`step_subnormals`] must; returns their lanes.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn step_eight(chunk: &mut [f32; 8], hits: i32, average: Average) -> i32 {
    let lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    let is_hit = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(hits), lane_bits), lane_bits);
    // SAFETY: `chunk` is eight numbers.
    let duties = unsafe { _mm256_loadu_ps(chunk.as_ptr()) };
    let bits = _mm256_castps_si256(duties);
    let is_moving = _mm256_cmpgt_epi32(bits, _mm256_set1_epi32(average.last_fixed_bits));
    let is_one = _mm256_cmpeq_epi32(bits, _mm256_set1_epi32(ONE_BITS));
    let is_settled = _mm256_blendv_epi8(_mm256_xor_si256(is_moving, _mm256_set1_epi32(-1)), is_one, is_hit);
    if _mm256_movemask_epi8(is_settled) == -1 {
        return 0;
    }
    let is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(FIRST_NORMAL_BITS), bits);
    let normal = _mm256_castsi256_ps(_mm256_andnot_si256(is_small, bits));
    let hit = _mm256_and_ps(_mm256_castsi256_ps(is_hit), _mm256_set1_ps(1.0));
    let sum = _mm256_add_ps(_mm256_mul_ps(normal, _mm256_set1_ps(average.before)), hit);
    let quotient = _mm256_div_ps(sum, _mm256_set1_ps(average.period));
    let is_kept = _mm256_andnot_si256(is_hit, is_small);
    let updated = _mm256_blendv_ps(quotient, duties, _mm256_castsi256_ps(is_kept));
    // SAFETY: `chunk` is eight numbers.
    unsafe { _mm256_storeu_ps(chunk.as_mut_ptr(), updated) };
    _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_and_si256(is_kept, is_moving)))
}
