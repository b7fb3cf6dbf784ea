//! What the benches share: the bundled series, models trained on them, and the naive code to compare with.

pub mod naive_memory;
pub mod naive_pooler;
pub mod series;
pub mod trained;
