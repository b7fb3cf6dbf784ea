//! Where the model's value range comes from.
//!
//! `declared`: the smallest and largest value of the whole file, widened by 20 % on each side, as NAB hands it to every
//! detector: a look ahead, kept for comparison with published figures. `learned`: what the engine does with a metric
//! nobody declared a range for; the model exists only from the row on with which the range is known.

use clap::ValueEnum;
use htm_core::encoder::Record;
use htm_core::params::{ParamsError, ValueRange};

use super::BenchmarkError;
use super::series::Series;
use crate::learned_range::{self, MAX_RANGE_ROWS};
use crate::model_params::DEFAULT_LEARNING_ROWS;

/// Where a model's value range comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RangePolicy {
    /// From the first rows, as the engine does for a metric without a declared range
    Learned,
    /// From the whole file, as NAB hands it to its detectors
    Declared,
}

impl RangePolicy {
    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Declared => "declared",
        }
    }

    /// The range that is known before the first row.
    ///
    /// # Errors
    /// If the values lie too far apart for a range.
    pub fn known_range(self, series: &Series) -> Result<Option<ValueRange>, BenchmarkError> {
        match self {
            Self::Learned => Ok(None),
            Self::Declared => {
                let values = series.rows.iter().map(|row| row.record.value);
                let (min, max) = ends(values);
                let range = ValueRange::padded(min, max);
                range.map(Some).map_err(|error| BenchmarkError::new(format!("{}: {error}", series.name)))
            }
        }
    }
}

/// The range as soon as the records seen so far tell it; `None` while they are too few.
///
/// # Errors
/// If the values lie too far apart for a range.
pub fn learned_range(seen: &[Record]) -> Result<Option<ValueRange>, ParamsError> {
    if u32::try_from(seen.len()).is_ok_and(|seen_count| seen_count < DEFAULT_LEARNING_ROWS) {
        return Ok(None);
    }
    learned_range::learned_range(&recent_values(seen))
}

/// The range that the records seen so far need, if the newest has outgrown `range`, which was learned from earlier ones.
///
/// # Errors
/// If the values lie too far apart for a range.
pub fn outgrown(range: ValueRange, seen: &[Record]) -> Result<Option<ValueRange>, ParamsError> {
    if seen.last().is_none_or(|newest| range.contains(newest.value)) {
        return Ok(None);
    }
    learned_range::outgrown(range, &recent_values(seen))
}

fn recent_values(seen: &[Record]) -> Vec<f64> {
    let first = seen.len().saturating_sub(MAX_RANGE_ROWS);
    seen[first..].iter().map(|record| record.value).collect()
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(value), max.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_learned_from_the_rows_the_engine_waits_for() {
        let record = |value| Record { timestamp: 0, value };
        let mut seen: Vec<Record> = (0..287_u32).map(|at| record(f64::from(at))).collect();
        assert_eq!(learned_range(&seen), Ok(None));
        seen.push(record(1000.0));
        assert_eq!(learned_range(&seen), Ok(Some(ValueRange { min: -600.0, max: 1600.0 })));
    }
}
