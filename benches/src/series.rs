//! The bundled series, read whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use htm_core::encoder::Record;
use htm_core::params::{ModelParams, ValueRange};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The series that every measurement names: 10,320 half-hours of New York taxi passengers.
pub const NYC_TAXI: &str = "nyc_taxi";

/// All bundled series, from the Numenta Anomaly Benchmark.
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
        Self::read_file(&path_of(name))
    }

    /// Reads any file of the benchmark's form: a heading, then timestamp and value.
    ///
    /// # Panics
    /// As [`Self::read`].
    pub fn read_file(path: &Path) -> Self {
        let mut reader =
            csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let record_of = |row: csv::StringRecord| Record {
            timestamp: unix_seconds(&row[0]),
            value: row[1].parse().expect("a number in the second column"),
        };
        let records: Vec<Record> =
            reader.records().map(|row| record_of(row.expect("a readable row"))).collect();
        let values = || records.iter().map(|record| record.value);
        let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let range = ValueRange::padded(min, max).expect("bundled values are finite");
        let resolution = range.resolution(None);
        let params = ModelParams::single_metric(resolution).expect("a resolution above 0 is valid");
        Self { params: Arc::new(params), records }
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

fn path_of(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if name == NYC_TAXI {
        root.join("service/data/nyc_taxi.csv")
    } else {
        root.join(format!("tests/data/nab/{name}.csv"))
    }
}

fn unix_seconds(text: &str) -> i64 {
    let time: DateTime = text.parse().expect("a timestamp in the first column");
    time.to_zoned(TimeZone::UTC).expect("a year the calendar knows").timestamp().as_second()
}
