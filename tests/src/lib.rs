//! What the promise tests share: reading the recorded data, and digests of deep state.

pub mod recording;
pub mod state_digest;
