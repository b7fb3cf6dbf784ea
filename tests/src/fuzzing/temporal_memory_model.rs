//! The temporal memory against what its segments alone say, after every step of a life read from the bytes.
//!
//! Not covered: which cells learn and which synapses are drawn, which the recordings of the reference check.

use crate::memory_scenario::Scenario;

/// Lives the life.
///
/// # Panics
/// If the memory contradicts itself.
pub fn check(bytes: &[u8]) {
    Scenario::from_bytes(bytes).live();
}
