//! See `tests/src/fuzzing/render_target.rs`.
#![no_main]

use htm_tests::fuzzing::render_target::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
