//! See `tests/src/fuzzing/model_file.rs`.
#![no_main]

use std::panic;
use std::sync::Once;

use htm_tests::fuzzing::model_file::check;
use libfuzzer_sys::fuzz_target;

static SILENCE: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // A step may panic, which the engine contains; libFuzzer's own hook would take it for a crash.
    SILENCE.call_once(|| panic::set_hook(Box::new(|_| {})));
    check(bytes);
});
