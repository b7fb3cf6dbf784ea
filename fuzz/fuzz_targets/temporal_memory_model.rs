//! The temporal memory against what its segments alone say, after every step of a life read from the bytes.
//!
//! The suite runs the same lives and checks, bounded, as `tests/temporal_memory_invariants.rs`. Not covered: which
//! cells learn and which synapses are drawn, which the recordings of the reference check.
#![no_main]

use htm_tests::memory_scenario::Scenario;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    Scenario::from_bytes(data).live();
});
