//! What the benches share: series, models aged on them, meters, swapping, and the naive code to compare with.

pub mod series;

pub mod series_variant;

pub mod trained;

pub mod aged_models;

pub mod model_copies;

pub mod meter;

pub mod quantiles;

pub mod memory_group;

pub mod swap;

pub mod naive_memory;
