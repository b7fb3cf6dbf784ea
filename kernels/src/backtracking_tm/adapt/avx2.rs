//! AVX2: the table is two halves of sixteen codes in registers, so that a chunk of 32 synapses takes eight lookups.

#![expect(unsafe_code, reason = "vector loads and stores")]

use core::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_blendv_epi8, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
    _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_set1_epi8,
    _mm256_shuffle_epi8, _mm256_storeu_si256,
};

use super::ChunkChange;
use crate::backtracking_tm::state::{CellSet, SYNAPSE_CHUNK};
use crate::backtracking_tm::verify;
use crate::permanence::PermanenceCodes;

/// Codes that the halves hold.
pub(super) const MAX_CODES: usize = 32;

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn change(
    cells: &[u16; SYNAPSE_CHUNK],
    codes: &mut [u8; SYNAPSE_CHUNK],
    used: u32,
    active: &CellSet,
    table: &PermanenceCodes,
) -> ChunkChange {
    let active = verify::avx2::active(cells, active) & used;
    let before = load(codes);
    let up = look_up(table.incremented(), before);
    let down = look_up(table.decremented(), before);
    let after = _mm256_blendv_epi8(down, up, bytes_of(active));
    let after = _mm256_blendv_epi8(before, after, bytes_of(used));
    // SAFETY: the array is as long as the vector.
    unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), after) };
    let removed = mask(_mm256_cmpeq_epi8(after, _mm256_set1_epi8(-1))) & used;
    let connected_from = _mm256_set1_epi8(table.connected_from().cast_signed());
    let connected = mask(_mm256_cmpeq_epi8(_mm256_max_epu8(after, connected_from), after));
    ChunkChange { active, removed, connected: connected & used & !removed }
}

/// What `table` says of each code below 32.
#[target_feature(enable = "avx2")]
#[inline]
fn look_up(table: &[u8; 256], codes: __m256i) -> __m256i {
    let (halves, _) = table.as_chunks::<16>();
    let low = _mm256_shuffle_epi8(half(&halves[0]), codes);
    let high = _mm256_shuffle_epi8(half(&halves[1]), codes);
    let is_high = _mm256_cmpgt_epi8(codes, _mm256_set1_epi8(15));
    _mm256_blendv_epi8(low, high, is_high)
}

#[target_feature(enable = "avx2")]
#[inline]
fn half(table: &[u8; 16]) -> __m256i {
    // SAFETY: the array is as long as the vector.
    let half = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
    _mm256_broadcastsi128_si256(half)
}

/// Each bit as a byte of ones or zeros.
#[target_feature(enable = "avx2")]
#[inline]
fn bytes_of(bits: u32) -> __m256i {
    use core::arch::x86_64::{_mm256_and_si256, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi64x};
    let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits.cast_signed()), spread);
    let each = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
    _mm256_cmpeq_epi8(_mm256_and_si256(bytes, each), each)
}

#[target_feature(enable = "avx2")]
#[inline]
fn mask(bytes: __m256i) -> u32 {
    _mm256_movemask_epi8(bytes).cast_unsigned()
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(codes: &[u8; SYNAPSE_CHUNK]) -> __m256i {
    // SAFETY: the array is as long as the vector.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}
