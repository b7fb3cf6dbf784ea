//! Likelihood (A): how rare the last hour's average of raw anomaly scores is among all such averages.
//!
//! A normal distribution is fitted every hundred records to the averages of the last 8,600, kept as sums of blocks. Unlike
//! [`crate::anomaly::likelihood`], which fills the `anomaly_score` column, only averages above the mean are odd, and the
//! result is the logarithm of the tail, so that it still tells apart what the other rounds to 1.
//!
//! Source: component A of our specification of the fused score. Where that is silent our recordings decided: after the
//! first fit the record's index is a multiple of 100 at every fit; beyond five standard deviations the tail is the first
//! term of its asymptotic series, with the constants below.

use std::f64::consts::SQRT_2;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::anomaly::complementary_error::erfc;

/// Records before the first whose average counts.
pub(super) const SKIP_RECORDS: u64 = 300;
/// Record of the first fit.
const FIRST_FIT: u64 = SKIP_RECORDS + 50;
const BLOCK_RECORDS: u64 = 100;
/// Blocks fitted to: 30 days of 5-minute samples, less the records before the first.
const FITTED_BLOCKS: u64 = 86;
/// The block being filled as well.
const BLOCKS: usize = 87;
const MIN_MEAN: f64 = 0.03;
const MIN_VARIANCE: f64 = 0.0003;
/// At the mean and below, the component shrinks from this; about `-log10(0.5)`, where the tail takes over.
const AT_MEAN: f64 = 0.3;
/// Standard deviations from which on the tail is asymptotic.
const FAR: f64 = 5.0;
/// ln(sqrt(2 pi)) and ln 10 with the digits that the recordings were made with.
const LN_ROOT_TWO_PI: f64 = 0.918_938_533_2;
#[expect(clippy::approx_constant, reason = "the recordings follow from this literal")]
const LN_TEN: f64 = 2.302_585_093;
/// A hundred averages of 1, and their rounding.
const MAX_SUM: f64 = 100.000_1;
/// Tails of 10^-15 and less are all the same.
const MAX_EXPONENT: f64 = 15.0;

/// The fitted distribution and what the next one will be fitted to.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Likelihood {
    /// Of the averages; 0 before the first fit.
    mean: f64,
    stdev: f64,
    /// A ring: block `number` since record 300 lies at `number % 87`.
    blocks: [Block; BLOCKS],
}

/// Sums over a hundred averages.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Block {
    sum: f64,
    square_sum: f64,
}

impl Likelihood {
    /// Takes in the next record's average of raw anomaly scores, 0..=1, and returns the component, 0..=1.
    pub(super) fn take_in(&mut self, record_idx: u64, average: f64) -> f64 {
        let Some(counted) = record_idx.checked_sub(SKIP_RECORDS) else { return 0.0 };
        let component = if record_idx < FIRST_FIT {
            0.0
        } else {
            if record_idx == FIRST_FIT || counted.is_multiple_of(BLOCK_RECORDS) {
                self.fit(counted);
            }
            exponent((average - self.mean) / self.stdev).min(MAX_EXPONENT) / MAX_EXPONENT
        };
        let block = &mut self.blocks[ring_idx(counted / BLOCK_RECORDS)];
        if counted.is_multiple_of(BLOCK_RECORDS) {
            *block = Block::default();
        }
        block.sum += average;
        block.square_sum += average * average;
        component
    }

    /// Fits to the `counted` averages so far, at most the last 86 full blocks of them.
    fn fit(&mut self, counted: u64) {
        let end = counted.div_ceil(BLOCK_RECORDS);
        let first = end.saturating_sub(FITTED_BLOCKS);
        let mut total = Block::default();
        for block in (first..end).map(|number| &self.blocks[ring_idx(number)]) {
            total.sum += block.sum;
            total.square_sum += block.square_sum;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 8,600")]
        let records = (counted - first * BLOCK_RECORDS) as f64;
        let mean = total.sum / records;
        let variance = total.square_sum / records - mean * mean;
        self.mean = mean.max(MIN_MEAN);
        self.stdev = variance.max(MIN_VARIANCE).sqrt();
    }

    /// Whether it can be the state of the component; to be asked of one read from a file.
    pub(super) fn is_possible(&self, record_count: u64) -> bool {
        let is_fitted =
            (MIN_MEAN..=1.0).contains(&self.mean) && (MIN_VARIANCE.sqrt()..=1.0).contains(&self.stdev);
        let is_sum = |sum: &f64| (0.0..=MAX_SUM).contains(sum);
        let are_sums = |block: &Block| is_sum(&block.sum) && is_sum(&block.square_sum);
        (is_fitted || record_count <= FIRST_FIT) && self.blocks.iter().all(are_sums)
    }
}

/// `-log10` of the probability of lying above `z` standard deviations; below the mean a number that falls towards 0.
fn exponent(z: f64) -> f64 {
    if z > FAR {
        (z * z / 2.0 + z.ln() + LN_ROOT_TWO_PI) / LN_TEN
    } else if z > 0.0 {
        -(0.5 * erfc(z / SQRT_2)).log10()
    } else {
        AT_MEAN * z.exp()
    }
}

fn ring_idx(number: u64) -> usize {
    usize::try_from(number % BLOCKS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn the_exponent_has_no_visible_steps() {
        assert!((exponent(0.0) - 0.3).abs() < 1e-15);
        assert!((exponent(1e-9) - 2_f64.log10()).abs() < 1e-6);
        assert!((exponent(5.0) - 6.542_646).abs() < 1e-6);
        assert!((exponent(5.000_001) - 6.526_746).abs() < 1e-5, "the first term is 4 % too much");
        assert!(exponent(-800.0).abs() < 1e-300);
    }

    #[test]
    fn the_fit_is_to_the_last_blocks() {
        let average = |record_idx: u64| if record_idx.is_multiple_of(2) { 0.2 } else { 0.4 };
        let mut likelihood = Likelihood::new_zeroed();
        for record_idx in 0..20_000 {
            // What came before the last 8,600 must not matter.
            let raw = if record_idx < 11_300 { 0.9 } else { average(record_idx) };
            likelihood.take_in(record_idx, raw);
            assert!(likelihood.is_possible(record_idx + 1), "record {record_idx}");
        }
        assert!(likelihood.take_in(20_000, 0.4) > 0.0);
        assert!((likelihood.mean - 0.3).abs() < 1e-12, "mean {}", likelihood.mean);
        assert!((likelihood.stdev - 0.1).abs() < 1e-12, "standard deviation {}", likelihood.stdev);
    }
}
