//! Update of duty cycles with AVX2, eight at a time.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::{
    __m256i, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256, _mm256_andnot_si256, _mm256_blendv_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_cmpgt_epi32, _mm256_div_ps,
    _mm256_loadu_ps, _mm256_min_epu32, _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_or_si256, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_storeu_ps,
    _mm256_sub_epi32,
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
    let [low, high] = load(chunk);
    let ones = _mm256_set1_epi32(ONE_BITS);
    let are_ones = _mm256_and_si256(_mm256_cmpeq_epi32(low, ones), _mm256_cmpeq_epi32(high, ones));
    if hits == u16::MAX && _mm256_movemask_epi8(are_ones) == -1 {
        return; // The normal case of overlap duty cycles.
    }
    if _mm256_movemask_epi8(_mm256_or_si256(subnormals(low), subnormals(high))) != 0 {
        step_carefully(chunk, hits, average);
        return;
    }
    let (before, period) = (_mm256_set1_ps(average.before), _mm256_set1_ps(average.period));
    let (halves, _) = chunk.as_chunks_mut::<8>();
    for ((half, duties), hits) in halves.iter_mut().zip([low, high]).zip([hits, hits >> 8]) {
        let hit = _mm256_castsi256_ps(_mm256_and_si256(lanes(i32::from(hits)), ones));
        let sum = _mm256_add_ps(_mm256_mul_ps(_mm256_castsi256_ps(duties), before), hit);
        let quotient = _mm256_div_ps(sum, period);
        // SAFETY: `half` is eight numbers.
        unsafe { _mm256_storeu_ps(half.as_mut_ptr(), quotient) };
    }
}

/// The bits of a chunk's numbers.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn load(chunk: &[f32; CHUNK]) -> [__m256i; 2] {
    let (low, high) = chunk.split_at(CHUNK / 2);
    // SAFETY: `low` is eight numbers.
    let low = unsafe { _mm256_loadu_ps(low.as_ptr()) };
    // SAFETY: `high` is eight numbers.
    let high = unsafe { _mm256_loadu_ps(high.as_ptr()) };
    [_mm256_castps_si256(low), _mm256_castps_si256(high)]
}

/// All bits of those lanes whose bit is set among the lowest eight.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn lanes(bits: i32) -> __m256i {
    let lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits), lane_bits), lane_bits)
}

/// All bits of those lanes that are subnormal; 0 is not.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn subnormals(bits: __m256i) -> __m256i {
    // One less makes the largest unsigned number of 0.
    let less = _mm256_sub_epi32(bits, _mm256_set1_epi32(1));
    _mm256_cmpeq_epi32(_mm256_min_epu32(less, _mm256_set1_epi32(FIRST_NORMAL_BITS - 2)), less)
}

#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
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
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn step_eight(chunk: &mut [f32; 8], hits: i32, average: Average) -> i32 {
    let is_hit = lanes(hits);
    // SAFETY: `chunk` is eight numbers.
    let duties = unsafe { _mm256_loadu_ps(chunk.as_ptr()) };
    let bits = _mm256_castps_si256(duties);
    let is_moving = _mm256_cmpgt_epi32(bits, _mm256_set1_epi32(average.last_fixed_bits));
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
