//! See `tests/src/fuzzing/temporal_memory_model.rs`.
#![no_main]

use htm_tests::fuzzing::temporal_memory_model::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
