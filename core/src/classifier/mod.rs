//! Which value comes so many steps later: a vote of the temporal memory's active cells.
//!
//! For every cell and every number of steps ahead there is a small histogram: which value buckets were seen that many
//! steps after the cell was active, older sightings weighing exponentially less. With each record, the cells that were
//! active `s` steps ago learn the record's bucket; then the cells active now vote, each with its histogram for `s`,
//! and the running mean of the values of the bucket with the most votes is the prediction (of equal buckets the
//! lowest). A histogram's weights sum up to at most 1, and to less while it has seen little, so that cells that know
//! more have more say.
//!
//! Flow: [`crate::model::Model::step`] calls [`Classifier::step`] after the temporal memory, if the parameters have a
//! classifier. It reads the memory and never changes it: scores do not depend on it.
//!
//! Bounds, all named: [`MAX_STEP_COUNT`] numbers of steps up to [`MAX_STEPS_AHEAD`], [`BUCKETS_PER_CELL`] buckets in a
//! histogram (a new one takes the place of the lightest). Histograms exist in blocks of a column's 32 cells, made when
//! the column first learns, 1.5 KiB each; so a standard model takes 0.25 to 0.8 MiB for each number of steps, and
//! never more than 3 MiB.
//!
//! Layout and invariants: flat arrays addressed by index, which a model file holds as they are. A slot of a histogram
//! is empty exactly if its weight is 0. The same records give the same bits on every machine: sums run in the order of
//! columns, cells and slots, in `f32`.
//!
//! Source: the idea of the bit-history classifier of nupic (`cla_classifier.py`: votes of active bits with histories
//! that fade, mean values of buckets); the bounded histograms and their numbers are our own.

mod histogram;

use htm_kernels::MAX_ACTIVE_COLUMNS;
use htm_kernels::backtracking_tm::CELL_STRIDE;
use htm_kernels::word::Ones;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::array::Array;
use crate::encoder::random_distributed_scalar::MAX_BUCKETS;

/// Most different numbers of steps ahead.
pub const MAX_STEP_COUNT: usize = 8;
/// Furthest prediction.
pub const MAX_STEPS_AHEAD: u32 = 1024;
/// Buckets that one cell's histogram holds.
pub const BUCKETS_PER_CELL: usize = 8;
/// Weight of the newest sighting in a histogram unless asked for another, as in nupic's parameter files.
pub const STANDARD_ALPHA: f32 = 0.035_828_933;
/// Marks a column without histograms.
pub const NO_BLOCK: u16 = u16::MAX;

/// Slots of a column's histograms.
pub(crate) const BLOCK_SLOTS: usize = CELL_STRIDE * BUCKETS_PER_CELL;
/// Length of one remembered pattern: a count, or nothing, and the columns or their cells.
pub(crate) const PATTERN_SLOTS: usize = MAX_ACTIVE_COLUMNS + 1;
/// Part of a bucket's mean that a new value makes up.
const NEW_VALUE_SHARE: f64 = 0.3;
/// Blocks made room for at once beyond what is needed.
const HEADROOM_BLOCKS: usize = 16;

/// Fixed numbers of a classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierParams {
    /// Numbers of steps ahead, ascending; 1 to [`MAX_STEP_COUNT`] of 1 to [`MAX_STEPS_AHEAD`].
    pub steps: Vec<u32>,
    /// Weight of the newest sighting in a histogram, up to 1.
    pub alpha: f32,
}

impl ClassifierParams {
    /// One step ahead, as htmengine asks for.
    pub fn standard() -> Self {
        Self { steps: vec![1], alpha: STANDARD_ALPHA }
    }

    /// Patterns that must be remembered.
    pub(crate) fn depth(&self) -> usize {
        self.steps.last().map_or(0, |&steps| steps as usize)
    }
}

/// Single numbers of a classifier's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ClassifierScalars {
    /// Records taken in.
    pub record_count: u64,
    /// Blocks of histograms in use.
    pub block_count: u32,
    /// Zero.
    pub zero: u32,
}

/// Steps ahead and the most likely value then (`None` while nothing is known), ascending by steps.
pub type Predictions = Box<[(u32, Option<f64>)]>;

/// A classifier and what it has seen.
#[derive(Debug, Clone)]
pub struct Classifier {
    pub(crate) params: ClassifierParams,
    pub(crate) columns: usize,
    pub(crate) scalars: ClassifierScalars,
    /// Ring of `depth x 64`: the count, then the active columns; record `r` lies at `r % depth`.
    pub(crate) pattern_columns: Array<u16>,
    /// Same shape: at the place of each column its active cells, one bit each.
    pub(crate) pattern_cells: Array<u32>,
    /// `steps x columns`: the column's block, or [`NO_BLOCK`].
    pub(crate) column_blocks: Array<u16>,
    /// `blocks x 32 x BUCKETS_PER_CELL`: bucket of each slot.
    pub(crate) buckets: Array<u16>,
    /// Same shape: its weight, 0 for an empty slot.
    pub(crate) weights: Array<f32>,
    /// Running mean of the values of each bucket.
    pub(crate) bucket_means: Array<f64>,
    /// 1 for a bucket that has had a value.
    pub(crate) has_bucket: Array<u8>,
}

/// A record as the classifier sees it.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// Active columns, ascending.
    pub columns: &'a [u16],
    /// Active cells of each, one bit a cell.
    pub cells: &'a [u32],
    /// Bucket of the value.
    pub bucket: usize,
    /// The value.
    pub value: f64,
}

impl Classifier {
    /// A classifier of a memory of `columns` columns that has seen nothing.
    pub fn new(params: ClassifierParams, columns: usize) -> Self {
        let (depth, steps) = (params.depth(), params.steps.len());
        Self {
            columns,
            scalars: ClassifierScalars { record_count: 0, block_count: 0, zero: 0 },
            pattern_columns: Array::zeroed(depth * PATTERN_SLOTS),
            pattern_cells: Array::zeroed(depth * PATTERN_SLOTS),
            column_blocks: Array::filled(steps * columns, NO_BLOCK),
            buckets: Array::empty(),
            weights: Array::empty(),
            bucket_means: Array::zeroed(MAX_BUCKETS),
            has_bucket: Array::zeroed(MAX_BUCKETS),
            params,
        }
    }

    /// Learns what the record says of earlier ones, and predicts from it. `votes` is scratch.
    ///
    /// # Panics
    /// If the record's columns or bucket are out of range, or the state is not one that this code wrote.
    pub fn step(&mut self, record: Sighting<'_>, votes: &mut Vec<f32>) -> Predictions {
        let bucket = u16::try_from(record.bucket).expect("at most 1000 buckets");
        self.learn_value(record.bucket, record.value);
        for index in 0..self.params.steps.len() {
            self.learn(index, bucket);
        }
        let predictions = (0..self.params.steps.len()).map(|index| {
            let best = self.most_likely_bucket(index, record, votes);
            (self.params.steps[index], best.map(|bucket| self.bucket_means[bucket]))
        });
        let predictions = predictions.collect();
        self.remember(record);
        predictions
    }

    /// The fixed numbers.
    pub fn params(&self) -> &ClassifierParams {
        &self.params
    }

    /// Bytes of memory that are no section of a file.
    pub fn own_bytes(&self) -> usize {
        self.pattern_columns.own_bytes()
            + self.pattern_cells.own_bytes()
            + self.column_blocks.own_bytes()
            + self.buckets.own_bytes()
            + self.weights.own_bytes()
            + self.bucket_means.own_bytes()
            + self.has_bucket.own_bytes()
    }

    fn learn_value(&mut self, bucket: usize, value: f64) {
        let mean = &mut self.bucket_means[bucket];
        if self.has_bucket[bucket] == 0 {
            self.has_bucket[bucket] = 1;
            *mean = value;
        } else {
            *mean += NEW_VALUE_SHARE * (value - *mean);
        }
    }

    /// The cells of the record so many steps ago learn that `bucket` came.
    fn learn(&mut self, index: usize, bucket: u16) {
        let steps = u64::from(self.params.steps[index]);
        let Some(record) = self.scalars.record_count.checked_sub(steps) else { return };
        let start = self.slot_of(record) * PATTERN_SLOTS;
        let count = usize::from(self.pattern_columns[start]);
        for place in start + 1..=start + count {
            let (column, cells) = (usize::from(self.pattern_columns[place]), self.pattern_cells[place]);
            let block = self.block_of(index, column);
            for cell in Ones(u64::from(cells)) {
                let first = (block * CELL_STRIDE + cell) * BUCKETS_PER_CELL;
                let buckets = &mut self.buckets[first..][..BUCKETS_PER_CELL];
                let weights = &mut self.weights[first..][..BUCKETS_PER_CELL];
                histogram::add(buckets, weights, bucket, self.params.alpha);
            }
        }
    }

    fn most_likely_bucket(&self, index: usize, record: Sighting<'_>, votes: &mut Vec<f32>) -> Option<usize> {
        votes.clear();
        votes.resize(MAX_BUCKETS, 0.0);
        for (&column, &cells) in record.columns.iter().zip(record.cells) {
            let block = self.column_blocks[index * self.columns + usize::from(column)];
            if block == NO_BLOCK {
                continue;
            }
            for cell in Ones(u64::from(cells)) {
                let first = (usize::from(block) * CELL_STRIDE + cell) * BUCKETS_PER_CELL;
                let slots = first..first + BUCKETS_PER_CELL;
                for (&bucket, &weight) in self.buckets[slots.clone()].iter().zip(&self.weights[slots]) {
                    votes[usize::from(bucket)] += weight;
                }
            }
        }
        histogram::heaviest(votes)
    }

    /// The block of a column, made if there is none.
    fn block_of(&mut self, index: usize, column: usize) -> usize {
        let known = self.column_blocks[index * self.columns + column];
        if known != NO_BLOCK {
            return usize::from(known);
        }
        let block = self.scalars.block_count as usize;
        let slots = (block + 1) * BLOCK_SLOTS;
        if slots > self.weights.len() || slots > self.buckets.len() {
            let roomy = slots + slots / 4 + HEADROOM_BLOCKS * BLOCK_SLOTS;
            self.buckets.grow(roomy);
            self.weights.grow(roomy);
        }
        let number = u16::try_from(block).expect("a block for each of 2048 columns and 8 numbers of steps");
        self.column_blocks[index * self.columns + column] = number;
        self.scalars.block_count += 1;
        block
    }

    fn remember(&mut self, record: Sighting<'_>) {
        let start = self.slot_of(self.scalars.record_count) * PATTERN_SLOTS;
        let count = record.columns.len();
        let columns = &mut self.pattern_columns[start..][..PATTERN_SLOTS];
        columns[0] = u16::try_from(count).expect("at most 63 columns");
        columns[1..=count].copy_from_slice(record.columns);
        self.pattern_cells[start..][..PATTERN_SLOTS][1..=count].copy_from_slice(&record.cells[..count]);
        self.scalars.record_count += 1;
    }

    fn slot_of(&self, record: u64) -> usize {
        let depth = self.params.depth() as u64;
        usize::try_from(record % depth).expect("at most 1024")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classifier(steps: &[u32]) -> Classifier {
        Classifier::new(ClassifierParams { steps: steps.to_vec(), alpha: 0.1 }, 64)
    }

    /// Value `v` activates cell 0 of column `v`.
    fn see(classifier: &mut Classifier, value: u16) -> Predictions {
        let record = Sighting {
            columns: &[value],
            cells: &[1],
            bucket: usize::from(value) + 500,
            value: f64::from(value),
        };
        classifier.step(record, &mut Vec::new())
    }

    #[test]
    fn a_sequence_seen_before_is_predicted() {
        let mut classifier = classifier(&[1, 3]);
        assert_eq!(*see(&mut classifier, 1), [(1, None), (3, None)]);
        for round in 0..3 {
            for value in 1..=5 {
                let found = see(&mut classifier, value);
                if round == 2 {
                    let after = |steps| Some(f64::from((value - 1 + steps) % 5 + 1));
                    assert_eq!(*found, [(1, after(1)), (3, after(3))], "after {value}");
                }
            }
        }
    }

    #[test]
    fn what_was_seen_lately_wins() {
        let mut classifier = classifier(&[1]);
        for _ in 0..20 {
            see(&mut classifier, 1);
            see(&mut classifier, 2);
        }
        assert_eq!(*see(&mut classifier, 1), [(1, Some(2.0))]);
        for _ in 0..20 {
            see(&mut classifier, 7);
            see(&mut classifier, 1);
        }
        assert_eq!(*see(&mut classifier, 1), [(1, Some(7.0))]);
    }

    #[test]
    fn the_prediction_is_the_mean_of_the_buckets_values() {
        let mut classifier = classifier(&[1]);
        let mut see = |column, value| {
            let record = Sighting { columns: &[column], cells: &[2], bucket: 3, value };
            classifier.step(record, &mut Vec::new())
        };
        see(1, 10.0);
        assert_eq!(*see(1, 20.0), [(1, Some(13.0))]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut classifier = classifier(&[1, 2, 1024]);
        let all: Vec<u16> = (0..63).collect();
        for round in 0..3000_u16 {
            let record = Sighting {
                columns: &all,
                cells: &[u32::MAX; 63],
                bucket: usize::from(round * 7 % 1000),
                value: f64::from(round),
            };
            classifier.step(record, &mut Vec::new());
        }
        assert_eq!(classifier.scalars.block_count, 3 * 63);
        assert!(classifier.own_bytes() < 3 * 80 * BLOCK_SLOTS * 6 + 1024 * 64 * 6 + 20_000);
    }
}
