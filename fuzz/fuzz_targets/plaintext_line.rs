//! See `tests/src/fuzzing/plaintext_line.rs`.
#![no_main]

use htm_tests::fuzzing::plaintext_line::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
