//! Series of the Numenta Anomaly Benchmark, read whole: the bundled ones and those of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use htm_core::encoder::Record;
use htm_core::params::{ModelParams, ValueRange};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The series that every measurement names: 10,320 half-hours of New York taxi passengers.
pub const NYC_TAXI: &str = "nyc_taxi";

/// All bundled series.
pub const ALL: [&str; 5] =
    [NYC_TAXI, "art_daily_jumpsup", "art_flatline", "ec2_cpu_utilization_5f5533", "speed_7578"];

/// One series and the parameters of its model.
#[derive(Debug, Clone)]
pub struct Series {
    /// Parameters as the anomaly benchmark chooses them: the observed range, padded.
    pub params: Arc<ModelParams>,
    /// All rows.
    pub records: Vec<Record>,
}

impl Series {
    /// Reads a bundled series.
    ///
    /// # Panics
    /// If it is not there or not a series.
    pub fn read(name: &str) -> Self {
        Self::read_file(&path_of(name)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads a file with a heading and rows of timestamp and value.
    ///
    /// # Errors
    /// If it cannot be read, or has no rows, or others.
    pub fn read_file(path: &Path) -> io::Result<Self> {
        let error = |reason: &str| io::Error::other(format!("{}: {reason}", path.display()));
        let mut reader = csv::Reader::from_path(path).map_err(|cause| error(&cause.to_string()))?;
        let mut records = Vec::new();
        for row in reader.records() {
            let row = row.map_err(|cause| error(&cause.to_string()))?;
            let field = |index| row.get(index).unwrap_or_default();
            let timestamp =
                unix_seconds(field(0)).ok_or_else(|| error("no timestamp in the first column"))?;
            let value = field(1).parse().map_err(|_| error("no number in the second column"))?;
            records.push(Record { timestamp, value });
        }
        let values = || records.iter().map(|record| record.value);
        let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let range = ValueRange::padded(min, max).map_err(|cause| error(&cause.to_string()))?;
        let params = ModelParams::single_metric(range.resolution(None)).map_err(io::Error::other)?;
        Ok(Self { params: Arc::new(params), records })
    }

    /// The first `rows` records of the series repeated without end, time moving on.
    ///
    /// # Panics
    /// If the series has fewer than two records.
    pub fn repeated(&self, rows: usize) -> impl Iterator<Item = Record> + '_ {
        let (first, second) = (self.records[0].timestamp, self.records[1].timestamp);
        let last = self.records[self.records.len() - 1].timestamp;
        let period = last - first + (second - first).max(1);
        let rounds = (0i64..).map(move |round| round * period);
        let records = rounds.flat_map(move |shift| {
            self.records.iter().map(move |record| Record { timestamp: record.timestamp + shift, ..*record })
        });
        records.take(rows)
    }
}

/// Files of the bundled series and all `.csv` files under `folder`, by name; of equal names the bundled one.
///
/// # Errors
/// If the folder cannot be read.
pub fn files(folder: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = ALL.iter().map(|name| path_of(name)).collect();
    if let Some(folder) = folder {
        add_files(folder, &mut files)?;
    }
    files.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
    files.dedup_by(|a, b| a.file_stem() == b.file_stem());
    Ok(files)
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let error = |cause| io::Error::other(format!("{}: {cause}", folder.display()));
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry?.path();
        if path.is_dir() {
            add_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            files.push(path);
        }
    }
    Ok(())
}

fn path_of(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if name == NYC_TAXI {
        root.join("service/data/nyc_taxi.csv")
    } else {
        root.join(format!("tests/data/nab/{name}.csv"))
    }
}

fn unix_seconds(text: &str) -> Option<i64> {
    let time: DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}
