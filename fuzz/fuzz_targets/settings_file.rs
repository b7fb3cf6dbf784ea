//! See `tests/src/fuzzing/settings_file.rs`.
#![no_main]

use htm_tests::fuzzing::settings_file::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
