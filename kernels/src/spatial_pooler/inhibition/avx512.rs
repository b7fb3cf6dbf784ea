//! The selection of `scalar.rs` with VPOPCNTDQ and BMI.

use super::scalar::select_on_words;

/// As `scalar::select`.
#[target_feature(
    enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vpopcntdq"
)]
pub(super) fn select(planes: &[u64], used_planes: usize, columns: usize, winners: &mut [u16]) {
    select_on_words(planes, used_planes, columns, winners);
}
