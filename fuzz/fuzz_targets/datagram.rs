//! See `tests/src/fuzzing/datagram.rs`.
#![no_main]

use htm_tests::fuzzing::datagram::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
