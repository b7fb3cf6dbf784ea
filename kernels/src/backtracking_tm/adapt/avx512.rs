//! AVX-512: one permutation looks up among 64 codes.

#![expect(unsafe_code, reason = "vector loads and stores")]

use core::arch::x86_64::{
    __m512i, _mm256_cmpeq_epi8_mask, _mm256_cmpge_epu8_mask, _mm256_loadu_si256, _mm256_mask_blend_epi8,
    _mm256_set1_epi8, _mm256_storeu_si256, _mm512_castsi256_si512, _mm512_castsi512_si256,
    _mm512_loadu_si512, _mm512_permutexvar_epi8,
};

use super::ChunkChange;
use crate::backtracking_tm::state::{CellSet, SYNAPSE_CHUNK};
use crate::backtracking_tm::verify;
use crate::permanence::PermanenceCodes;

/// Codes that one permutation tells apart.
pub(super) const MAX_CODES: usize = 64;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn change(
    cells: &[u16; SYNAPSE_CHUNK],
    codes: &mut [u8; SYNAPSE_CHUNK],
    used: u32,
    active: &CellSet,
    table: &PermanenceCodes,
) -> ChunkChange {
    let active = verify::avx512::active(cells, active) & used;
    // SAFETY: the array is as long as the vector.
    let before = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
    let wide = _mm512_castsi256_si512(before);
    let up = _mm512_castsi512_si256(_mm512_permutexvar_epi8(wide, start_of(table.incremented())));
    let down = _mm512_castsi512_si256(_mm512_permutexvar_epi8(wide, start_of(table.decremented())));
    let after = _mm256_mask_blend_epi8(active, down, up);
    let after = _mm256_mask_blend_epi8(used, before, after);
    // SAFETY: the array is as long as the vector.
    unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), after) };
    let removed = _mm256_cmpeq_epi8_mask(after, _mm256_set1_epi8(-1)) & used;
    let connected_from = _mm256_set1_epi8(table.connected_from().cast_signed());
    let connected = _mm256_cmpge_epu8_mask(after, connected_from) & used & !removed;
    ChunkChange { active, removed, connected }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn start_of(table: &[u8; 256]) -> __m512i {
    let (parts, _) = table.as_chunks::<MAX_CODES>();
    // SAFETY: the array is as long as the vector.
    unsafe { _mm512_loadu_si512(parts[0].as_ptr().cast()) }
}
