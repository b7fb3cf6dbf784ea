//! AVX2: 128 counters are tested by one branch, 32 by one compare.

#![expect(unsafe_code, reason = "vector loads and stores")]

use core::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::{After, Block, scalar};
use crate::backtracking_tm::state::Found;
use crate::word::Ones;

const LANES: usize = 32;
const VECTORS: usize = 4;

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn scan(block: Block<'_>, found: &mut Found<'_>) {
    let Block { counters, first_id, threshold, after } = block;
    let limit = _mm256_set1_epi8(threshold.cast_signed());
    let (chunks, rest) = counters.as_chunks_mut::<{ LANES * VECTORS }>();
    let rest_id = first_id + u32::try_from(chunks.len() * LANES * VECTORS).expect("a bank");
    for (chunk, id) in chunks.iter_mut().zip((first_id..).step_by(LANES * VECTORS)) {
        let (lanes, _) = chunk.as_chunks_mut::<LANES>();
        let vectors: [__m256i; VECTORS] = std::array::from_fn(|vector| load(&lanes[vector]));
        let masks = vectors.map(|vector| reached(vector, limit));
        if masks.iter().any(|mask| *mask != 0) {
            for ((lanes, mask), id) in lanes.iter().zip(masks).zip((id..).step_by(LANES)) {
                for bit in Ones(u64::from(mask)) {
                    found.segments[found.count] = id + u32::try_from(bit).expect("below 32");
                    found.activity[found.count] = lanes[bit];
                    found.count += 1;
                }
            }
        }
        if after == After::Clear {
            for lanes in lanes {
                clear(lanes);
            }
        }
    }
    scalar::scan(Block { counters: rest, first_id: rest_id, threshold, after }, found);
}

/// A bit for each counter that is at least the limit.
#[target_feature(enable = "avx2")]
#[inline]
fn reached(counters: __m256i, limit: __m256i) -> u32 {
    let is_reached = _mm256_cmpeq_epi8(_mm256_max_epu8(counters, limit), counters);
    _mm256_movemask_epi8(is_reached).cast_unsigned()
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(lanes: &[u8; LANES]) -> __m256i {
    // SAFETY: the array is as long as the vector.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn clear(lanes: &mut [u8; LANES]) {
    let zeros = _mm256_setzero_si256();
    // SAFETY: the array is as long as the vector.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), zeros) }
}
