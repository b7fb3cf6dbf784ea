//! See `tests/src/fuzzing/spatial_pooler_overlap.rs`.
#![no_main]

use htm_tests::fuzzing::spatial_pooler_overlap::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
