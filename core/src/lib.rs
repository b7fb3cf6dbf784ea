//! One model: how a sample becomes a raw anomaly score and an anomaly score, and how its state is kept.
//!
//! This crate gives the kernels' slices meaning, memory and a place on disk. It knows nothing of metrics,
//! databases, queues or clocks: a record goes in, scores come out, and the same records always give the same
//! scores.
//!
//! Reading order: [`ids`], [`params`], [`sdr`], [`mod@array`], [`encoder`], [`model`], [`anomaly`], [`detection`],
//! [`classifier`], [`mod@format`], and [`trace`] for comparing every stage with another implementation.

/// Instruction sets, for those above this crate who choose and report one.
pub use htm_kernels::isa;

pub mod ids;

pub mod params;

pub mod sdr;

pub mod array;

pub mod encoder;

pub mod model;

pub mod anomaly;

pub mod detection;

pub mod classifier;

pub mod format;

pub mod float_text;

pub mod trace;

#[cfg(not(target_endian = "little"))]
compile_error!("model state and checkpoint files are little-endian, as is every machine this engine runs on");
