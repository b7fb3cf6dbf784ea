//! See `tests/src/fuzzing/http_request.rs`.
#![no_main]

use htm_tests::fuzzing::http_request::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
