//! The selection of `scalar.rs` with POPCNT and BMI.

use super::scalar::select_on_words;

/// As `scalar::select`.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn select(planes: &[u64], used_planes: usize, columns: usize, winners: &mut [u16]) {
    select_on_words(planes, used_planes, columns, winners);
}
