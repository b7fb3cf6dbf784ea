//! Files under `tests/data` and the bundled series, read whole.

use std::fs::{File, read_to_string};
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use htm_core::encoder::Record;
use htm_core::params::{MemoryParams, ModelParams, standard_plain_memory};

/// The recorded series.
pub const SERIES: [&str; 5] =
    ["art_daily_jumpsup", "art_flatline", "ec2_cpu_utilization_5f5533", "nyc_taxi", "speed_7578"];

/// Path of a file under `tests/data`.
pub fn data_path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(relative)
}

/// Path of a recorded series' `timestamp,value` file.
pub fn series_path(name: &str) -> PathBuf {
    if name == "nyc_taxi" {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../service/data/nyc_taxi.csv")
    } else {
        data_path(&format!("nab/{name}.csv"))
    }
}

/// A gzip file under `tests/data/golden` as text.
///
/// # Panics
/// If it cannot be read.
pub fn golden(name: &str) -> String {
    let path = data_path(&format!("golden/{name}"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}

/// A JSON file under `tests/data/golden`.
///
/// # Panics
/// If it cannot be read.
pub fn golden_json(name: &str) -> serde_json::Value {
    let path = data_path(&format!("golden/{name}"));
    let text = read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a `timestamp,value` file with their timestamps as written.
///
/// # Panics
/// If it cannot be read.
pub fn series(name: &str) -> Vec<(String, Record)> {
    let path = series_path(name);
    let mut reader =
        csv::Reader::from_path(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader
        .records()
        .map(|row| {
            let row = row.expect("a readable row");
            let value = row[1].parse().expect("a number");
            (row[0].to_owned(), Record { timestamp: unix_seconds(&row[0]), value })
        })
        .collect()
}

/// The standard parameters with the temporal memory that a recording's name says: `cpp` or `tm_cpp`.
///
/// # Panics
/// For another name, or a resolution that cannot be used.
pub fn params_with(memory: &str, resolution: f64) -> ModelParams {
    let params = ModelParams::single_metric(resolution).expect("usable");
    match memory {
        "cpp" => params,
        "tm_cpp" => params.with_memory(MemoryParams::Plain(standard_plain_memory())).expect("usable"),
        other => panic!("no recording has the memory {other}"),
    }
}

/// `YYYY-MM-DD HH:MM:SS` as unix seconds UTC.
///
/// # Panics
/// If the text has another form.
pub fn unix_seconds(text: &str) -> i64 {
    let time: jiff::civil::DateTime = text.parse().expect("a timestamp");
    time.to_zoned(jiff::tz::TimeZone::UTC).expect("in range").timestamp().as_second()
}
