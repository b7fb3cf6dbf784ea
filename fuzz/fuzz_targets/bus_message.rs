//! See `tests/src/fuzzing/bus_message.rs`.
#![no_main]

use htm_tests::fuzzing::bus_message::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
