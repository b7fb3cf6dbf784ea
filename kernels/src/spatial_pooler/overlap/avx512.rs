//! The adder tree of `scalar.rs` in registers of 512 bits.

use super::scalar::add_in_blocks;

/// As `scalar::add_rows`.
#[target_feature(
    enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq"
)]
pub(super) fn add_rows<const PLANES: usize>(rows: &[&[u64]], row_words: usize, planes: &mut [u64]) {
    add_in_blocks::<8, PLANES>(rows, row_words, planes);
}
