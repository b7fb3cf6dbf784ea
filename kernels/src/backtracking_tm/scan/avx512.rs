//! AVX-512: 256 counters are tested by one branch; what a block of 64 holds is compressed, not looped over.

#![expect(unsafe_code, reason = "vector loads and stores")]

use core::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_cmpge_epu8_mask, _mm512_cvtepu8_epi32,
    _mm512_loadu_si512, _mm512_maskz_compress_epi8, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::{After, Block, SLACK, scalar};
use crate::backtracking_tm::state::Found;

const LANES: usize = 64;
const VECTORS: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn scan(block: Block<'_>, found: &mut Found<'_>) {
    let Block { counters, first_id, threshold, after } = block;
    let limit = _mm512_set1_epi8(threshold.cast_signed());
    let (chunks, rest) = counters.as_chunks_mut::<{ LANES * VECTORS }>();
    let rest_id = first_id + u32::try_from(chunks.len() * LANES * VECTORS).expect("a bank");
    for (chunk, id) in chunks.iter_mut().zip((first_id..).step_by(LANES * VECTORS)) {
        let (lanes, _) = chunk.as_chunks_mut::<LANES>();
        let vectors: [__m512i; VECTORS] = std::array::from_fn(|vector| load(&lanes[vector]));
        let masks = vectors.map(|vector| _mm512_cmpge_epu8_mask(vector, limit));
        if masks.iter().fold(0, |any, mask| any | mask) != 0 {
            for ((vector, mask), id) in vectors.into_iter().zip(masks).zip((id..).step_by(LANES)) {
                if mask != 0 {
                    append(found, id, vector, mask);
                }
            }
        }
        if after == After::Clear {
            for lanes in lanes {
                store(lanes, _mm512_setzero_si512());
            }
        }
    }
    scalar::scan(Block { counters: rest, first_id: rest_id, threshold, after }, found);
}

/// Appends the counters of `mask`. Whole vectors are written; the room behind the found segments is there for that.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
#[inline]
fn append(found: &mut Found<'_>, first_id: u32, counters: __m512i, mask: u64) {
    let count = mask.count_ones() as usize;
    let activity = &mut found.activity[found.count..][..LANES];
    let activity: &mut [u8; LANES] = activity.try_into().expect("64 counters");
    store(activity, _mm512_maskz_compress_epi8(mask, counters));
    let mut numbers = [0; LANES];
    store(&mut numbers, _mm512_maskz_compress_epi8(mask, load(&NUMBERS)));
    let segments = &mut found.segments[found.count..][..SLACK];
    let (segments, _) = segments.as_chunks_mut::<16>();
    let (numbers, _) = numbers.as_chunks::<16>();
    let first_id = _mm512_set1_epi32(first_id.cast_signed());
    for (segments, numbers) in segments.iter_mut().zip(numbers).take(count.div_ceil(16)) {
        // SAFETY: the array is as long as the vector.
        let numbers = unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) };
        let ids = _mm512_add_epi32(first_id, _mm512_cvtepu8_epi32(numbers));
        // SAFETY: the array is as long as the vector.
        unsafe { _mm512_storeu_si512(segments.as_mut_ptr().cast(), ids) };
    }
    found.count += count;
}

/// 0, 1, ... 63.
static NUMBERS: [u8; LANES] = {
    let mut numbers = [0; LANES];
    let (mut index, mut number) = (0, 0);
    while index < LANES {
        numbers[index] = number;
        index += 1;
        number += 1;
    }
    numbers
};

#[target_feature(enable = "avx512f")]
#[inline]
fn load(lanes: &[u8; LANES]) -> __m512i {
    // SAFETY: the array is as long as the vector.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(lanes: &mut [u8; LANES], vector: __m512i) {
    // SAFETY: the array is as long as the vector.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) }
}
