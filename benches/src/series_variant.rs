//! An endless series made of a finite one, in variants that differ: begun elsewhere, and scaled.
//!
//! The rows repeat; each lap is moved by a whole number of days, so that time of day and value stay together. Scaling
//! keeps the parameters, so that a smaller scale uses fewer of the encoder's buckets. The same variant gives the
//! same row for a row id at any time: nothing has to be stored to go on with a model.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::params::ModelParams;
use serde::{Deserialize, Serialize};

use crate::series::Series;

const DAY_SECONDS: i64 = 86_400;
/// Each variant begins this share of the series later than the one before: no two begin at the same row soon.
const PHASE_STEP: f64 = 0.381_966;
/// Each variant is this much smaller than the one before.
const SCALE_STEP: f64 = 0.04;
const LEAST_SCALE: f64 = 0.2;

/// Which variant of which series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantId {
    /// The series' file.
    pub file: PathBuf,
    /// 0 is the series as it is.
    pub variant: u32,
}

/// An endless series.
#[derive(Debug, Clone)]
pub struct SeriesVariant {
    series: Arc<Series>,
    first_row: usize,
    scale: f64,
    lap_seconds: i64,
}

impl VariantId {
    /// `count` variants, evenly of `files`.
    ///
    /// # Panics
    /// If there are no files.
    pub fn spread(files: &[PathBuf], count: usize) -> Vec<Self> {
        assert!(!files.is_empty(), "no series");
        let variants = (0..).flat_map(|variant| files.iter().map(move |file| (file, variant)));
        variants.take(count).map(|(file, variant)| Self { file: file.clone(), variant }).collect()
    }

    /// The name of the series and the number of the variant.
    pub fn name(&self) -> String {
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{stem}-{}", self.variant)
    }

    /// Reads the series.
    ///
    /// # Errors
    /// As [`Series::read_file`].
    pub fn read(&self) -> io::Result<SeriesVariant> {
        SeriesVariant::of(&self.file, self.variant)
    }
}

impl SeriesVariant {
    fn of(file: &Path, variant: u32) -> io::Result<Self> {
        let series = Series::read_file(file)?;
        let rows = series.records.len();
        if rows < 2 {
            return Err(io::Error::other(format!("{}: fewer than two rows", file.display())));
        }
        let variant = f64::from(variant);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a row count"
        )]
        let first_row = ((variant * PHASE_STEP).fract() * rows as f64) as usize;
        let (first, last) = (series.records[0].timestamp, series.records[rows - 1].timestamp);
        let days = (last - first) / DAY_SECONDS + 1;
        Ok(Self {
            series: Arc::new(series),
            first_row,
            scale: (1.0 - variant * SCALE_STEP).max(LEAST_SCALE),
            lap_seconds: days * DAY_SECONDS,
        })
    }

    /// The parameters of its model: those of the unscaled series.
    pub fn params(&self) -> &Arc<ModelParams> {
        &self.series.params
    }

    /// The row of this id; the first is 1.
    ///
    /// # Panics
    /// If the id is below 1.
    pub fn record(&self, row_id: RowId) -> Record {
        let row = usize::try_from(row_id.0 - 1).expect("row ids begin at 1") + self.first_row;
        let rows = self.series.records.len();
        let Record { timestamp, value } = self.series.records[row % rows];
        let lap = i64::try_from(row / rows).expect("far fewer laps");
        Record { timestamp: timestamp + lap * self.lap_seconds, value: value * self.scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::files;

    #[test]
    fn laps_keep_the_time_of_day_and_go_forward() {
        let files = files(None).expect("bundled");
        let ids = VariantId::spread(&files, 7);
        assert_eq!((ids[5].variant, &ids[5].file), (1, &files[0]));
        let [plain, moved] = [&ids[0], &ids[5]].map(|id| id.read().expect("a bundled series"));
        let rows = i64::try_from(plain.series.records.len()).expect("few");
        let (first, again) = (plain.record(RowId(1)), plain.record(RowId(1 + rows)));
        assert_eq!((again.timestamp - first.timestamp) % DAY_SECONDS, 0);
        assert!(again.timestamp > plain.record(RowId(rows)).timestamp);
        assert_eq!(again.value.to_bits(), first.value.to_bits());
        assert_ne!(moved.record(RowId(1)), first);
    }
}
