//! AVX-512: the words of sixteen cells are gathered at a time.

#![expect(unsafe_code, reason = "vector loads and gathers")]

use core::arch::x86_64::{
    _mm256_cmpge_epu8_mask, _mm256_loadu_si256, _mm256_set1_epi8, _mm512_and_si512, _mm512_cvtepu16_epi32,
    _mm512_i32gather_epi32, _mm512_set1_epi32, _mm512_sllv_epi32, _mm512_srli_epi32, _mm512_test_epi32_mask,
};

use super::{Question, Rows, predict_each};
use crate::backtracking_tm::state::{CellSet, SYNAPSE_CHUNK, SegmentArrays};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn predict(
    question: &Question<'_>,
    rows: &Rows<'_>,
    segments: &SegmentArrays<'_>,
    candidates: &[u32],
    predicted: &mut [u32],
) {
    predict_each(question, rows, segments, candidates, predicted, |cells, codes| {
        connected(codes, rows.connected_from) & active(cells, question.active)
    });
}

/// A bit for each code from `connected_from` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn connected(codes: &[u8; SYNAPSE_CHUNK], connected_from: u8) -> u32 {
    // SAFETY: the array is as long as the vector.
    let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
    _mm256_cmpge_epu8_mask(codes, _mm256_set1_epi8(connected_from.cast_signed()))
}

/// A bit for each of the cells that is in the set.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
pub(in crate::backtracking_tm) fn active(cells: &[u16; SYNAPSE_CHUNK], set: &CellSet) -> u32 {
    let (halves, _) = cells.as_chunks::<16>();
    half(&halves[0], set) | half(&halves[1], set) << 16
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn half(cells: &[u16; 16], set: &CellSet) -> u32 {
    // SAFETY: the array is as long as the vector.
    let cells = unsafe { _mm256_loadu_si256(cells.as_ptr().cast()) };
    let cells = _mm512_cvtepu16_epi32(cells);
    let columns = _mm512_srli_epi32::<5>(cells);
    // SAFETY: 16 bits without the lower five are below 2048, the length of the set.
    let words = unsafe { _mm512_i32gather_epi32::<4>(columns, set.as_ptr().cast()) };
    let cell_in_column = _mm512_and_si512(cells, _mm512_set1_epi32(31));
    let bits = _mm512_sllv_epi32(_mm512_set1_epi32(1), cell_in_column);
    u32::from(_mm512_test_epi32_mask(words, bits))
}
