//! AVX2: the words of eight cells are gathered at a time.

#![expect(unsafe_code, reason = "vector loads and gathers")]

use core::arch::x86_64::{
    _mm_loadu_si128, _mm256_and_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi8, _mm256_cvtepu16_epi32,
    _mm256_i32gather_epi32, _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_movemask_ps,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_sllv_epi32, _mm256_srli_epi32, _mm256_sub_epi32,
};

use super::{Question, Rows, predict_each};
use crate::backtracking_tm::state::{CellSet, SYNAPSE_CHUNK, SegmentArrays};

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
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
#[target_feature(enable = "avx2")]
#[inline]
fn connected(codes: &[u8; SYNAPSE_CHUNK], connected_from: u8) -> u32 {
    // SAFETY: the array is as long as the vector.
    let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
    let connected_from = _mm256_set1_epi8(connected_from.cast_signed());
    _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(codes, connected_from), codes)).cast_unsigned()
}

/// A bit for each of the cells that is in the set.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::backtracking_tm) fn active(cells: &[u16; SYNAPSE_CHUNK], set: &CellSet) -> u32 {
    let (eights, _) = cells.as_chunks::<8>();
    let mut bits = 0;
    for (cells, first) in eights.iter().zip((0..).step_by(8)) {
        // SAFETY: the array is as long as the vector.
        let cells = unsafe { _mm_loadu_si128(cells.as_ptr().cast()) };
        let cells = _mm256_cvtepu16_epi32(cells);
        let columns = _mm256_srli_epi32::<5>(cells);
        // SAFETY: 16 bits without the lower five are below 2048, the length of the set.
        let words = unsafe { _mm256_i32gather_epi32::<4>(set.as_ptr().cast(), columns) };
        // The bit of the cell goes to the top, where it is read as a sign.
        let cell_in_column = _mm256_and_si256(cells, _mm256_set1_epi32(31));
        let tops = _mm256_sllv_epi32(words, _mm256_sub_epi32(_mm256_set1_epi32(31), cell_in_column));
        bits |= _mm256_movemask_ps(_mm256_castsi256_ps(tops)).cast_unsigned() << first;
    }
    bits
}
