//! See `tests/src/fuzzing/pickle.rs`.
#![no_main]

use htm_tests::fuzzing::pickle::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
