//! See `tests/src/fuzzing/original_settings.rs`.
#![no_main]

use htm_tests::fuzzing::original_settings::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
