//! What must hold in a classifier.

use htm_kernels::word::Ones;

use super::{FormatError, ensure};
use crate::classifier::{BUCKETS_PER_CELL, Classifier, NO_BLOCK, PATTERN_SLOTS};
use crate::encoder::random_distributed_scalar::MAX_BUCKETS;

/// Checks shapes, ranges, and that every block of histograms has one owner.
pub(super) fn check(classifier: &Classifier) -> Result<(), FormatError> {
    let owned = classifier.column_blocks.iter().copied().filter(|&block| block != NO_BLOCK);
    let mut owned: Vec<u32> = owned.map(u32::from).collect();
    owned.sort_unstable();
    ensure(owned.into_iter().eq(0..classifier.scalars.block_count), || {
        "a block of histograms has no or several owners".to_owned()
    })?;
    ensure(classifier.scalars.zero == 0, || "the classifier's reserved number is not 0".to_owned())?;
    patterns(classifier)?;
    let are_buckets = classifier.buckets.iter().all(|&bucket| usize::from(bucket) < MAX_BUCKETS);
    ensure(are_buckets, || "a histogram has a bucket that no encoder has".to_owned())?;
    let is_histogram = |weights: &[f32]| {
        let sum: f32 = weights.iter().sum();
        weights.iter().all(|weight| (0.0..=1.0).contains(weight)) && sum <= 1.001
    };
    ensure(classifier.weights.chunks(BUCKETS_PER_CELL).all(is_histogram), || {
        "the weights of a histogram are no shares of 1".to_owned()
    })?;
    let is_mean =
        |(&mean, &has): (&f64, &u8)| has <= 1 && mean.is_finite() && (has == 1 || mean.to_bits() == 0);
    ensure(classifier.bucket_means.iter().zip(&*classifier.has_bucket).all(is_mean), || {
        "a bucket's mean value is not possible".to_owned()
    })
}

/// Remembered columns ascend and have at least one active cell each.
fn patterns(classifier: &Classifier) -> Result<(), FormatError> {
    let columns = classifier.pattern_columns.chunks_exact(PATTERN_SLOTS);
    let is_pattern = |(columns, cells): (&[u16], &[u32])| {
        let count = usize::from(columns[0]);
        count < PATTERN_SLOTS
            && columns[1..=count].is_sorted_by(|a, b| a < b)
            && columns[1..=count].iter().all(|&column| usize::from(column) < classifier.columns)
            && cells[1..=count].iter().all(|&cells| Ones(u64::from(cells)).next().is_some())
    };
    ensure(columns.zip(classifier.pattern_cells.chunks_exact(PATTERN_SLOTS)).all(is_pattern), || {
        "a remembered pattern is not ascending, or has a column without cells".to_owned()
    })
}
