//! Every invariant of a model file.
//!
//! The checksums say that the bytes are those that were written; this says that they are a model: that each index
//! stays inside its array, and that what is stored twice agrees. It takes some ten times as long as reading the file,
//! so the engine does not do it when it swaps a model in; the kernels stay sound without it.

mod classifier;
mod plain_memory;
mod spatial_pooler;
mod temporal_memory;

use std::sync::Arc;

use super::FormatError;
use super::checkpoint::{self, Trust};
use super::header::Header;
use super::mapping::Region;
use crate::encoder::random_distributed_scalar::RandomDistributedScalarEncoder;
use crate::model::Model;
use crate::model::memory::Memory;
use crate::model::plain_memory::PlainMemory;
use crate::model::template::Templates;
use crate::params::ModelParams;

/// The section that describes the parameters.
const PARAMETERS: u32 = 1;

/// Checks a whole file by itself: header, checksums and every invariant of the model in it.
///
/// # Errors
/// The first thing that is wrong.
pub fn file(region: Region, templates: &Templates) -> Result<Model, FormatError> {
    let header = Header::of(region.bytes())?;
    header.check_sections(region.bytes())?;
    let range = header.section(PARAMETERS).map_or(0..0, |section| section.range.clone());
    let description = &region.bytes()[range];
    let description = String::from_utf8_lossy(description).into_owned();
    let params = ModelParams::from_description(&description)
        .ok_or(FormatError::UnknownParameters { found: description })?;
    header.check_room(region.bytes())?;
    checkpoint::open(region, &Arc::new(params), &header.generation, templates, Trust::Nothing)
}

/// Checks every invariant of an opened model.
///
/// # Errors
/// The first one that does not hold.
pub fn model(model: &Model) -> Result<(), FormatError> {
    let mut encoders = model.encoder().random_distributed_scalars();
    let buckets = encoders.all(RandomDistributedScalarEncoder::are_bits_valid);
    ensure(buckets, || "a bucket's bit lies outside the encoder".to_owned())?;
    spatial_pooler::check(model.spatial_pooler())?;
    match model.memory() {
        Memory::Backtracking(memory) => temporal_memory::check(memory)?,
        Memory::Plain(memory) => plain_memory::check(memory)?,
    }
    ensure(model.detector().is_possible(), || "the detection score's state is impossible".to_owned())?;
    let (detected, scored) = (model.detector().record_count(), model.likelihood().row_count());
    ensure(detected == scored, || format!("it has detected on {detected} records and scored {scored}"))?;
    model.classifier().map_or(Ok(()), classifier::check)
}

/// Checks every invariant of a plain memory by itself.
///
/// # Errors
/// The first one that does not hold.
pub fn plain_memory(memory: &PlainMemory) -> Result<(), FormatError> {
    plain_memory::check(memory)
}

fn ensure(is_valid: bool, reason: impl FnOnce() -> String) -> Result<(), FormatError> {
    if is_valid { Ok(()) } else { Err(FormatError::Bounds { reason: reason() }) }
}
