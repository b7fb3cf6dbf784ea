//! What the promise tests share: reading the recorded data, digests of deep state, lives of a temporal memory with
//! the checks that go with them, and reading the source tree.

pub mod memory_invariants;
pub mod memory_scenario;
pub mod recording;
pub mod source_text;
pub mod source_tree;
pub mod state_digest;
