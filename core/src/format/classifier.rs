//! The sections of a classifier, which only files of models with one have.

use super::FormatError;
use super::checkpoint::{at_most, room};
use super::image::{ImageReader, ImageWriter};
use crate::classifier::{BLOCK_SLOTS, Classifier, ClassifierScalars, PATTERN_SLOTS};
use crate::encoder::random_distributed_scalar::MAX_BUCKETS;
use crate::params::ModelParams;

/// As FORMAT.md says.
const _: () = assert!(size_of::<ClassifierScalars>() == 16);

pub(super) fn push<'a>(image: &mut ImageWriter<'a>, classifier: &'a Classifier) {
    let blocks = classifier.scalars.block_count as usize;
    let block_room = if blocks == 0 { 0 } else { room(blocks, 4, classifier.column_blocks.len()) };
    let slots = blocks * BLOCK_SLOTS;
    image.push(80, std::slice::from_ref(&classifier.scalars), 1);
    image.push(81, &classifier.pattern_columns, 0);
    image.push(82, &classifier.pattern_cells, 0);
    image.push(83, &classifier.column_blocks, 0);
    image.push(84, &classifier.buckets[..slots], block_room * BLOCK_SLOTS);
    image.push(85, &classifier.weights[..slots], block_room * BLOCK_SLOTS);
    image.push(86, &classifier.bucket_means, 0);
    image.push(87, &classifier.has_bucket, 0);
}

/// Nothing if the parameters have no classifier.
pub(super) fn take(
    image: &mut ImageReader,
    params: &ModelParams,
) -> Result<Option<Box<Classifier>>, FormatError> {
    let Some(numbers) = params.classifier() else { return Ok(None) };
    let columns = params.spatial_pooler().columns;
    let scalars: ClassifierScalars = image.take_record(80)?;
    let patterns = numbers.depth() * PATTERN_SLOTS;
    let owners = numbers.steps.len() * columns;
    let slots = at_most("blocks of histograms", scalars.block_count, owners)? * BLOCK_SLOTS;
    Ok(Some(Box::new(Classifier {
        params: numbers.clone(),
        columns,
        scalars,
        pattern_columns: image.take_used(81, patterns)?,
        pattern_cells: image.take_used(82, patterns)?,
        column_blocks: image.take_used(83, owners)?,
        buckets: image.take_used(84, slots)?,
        weights: image.take_used(85, slots)?,
        bucket_means: image.take_used(86, MAX_BUCKETS)?,
        has_bucket: image.take_used(87, MAX_BUCKETS)?,
    })))
}
