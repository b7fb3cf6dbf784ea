//! A checkout of the Numenta Anomaly Benchmark, made of the series that are bundled.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::recording::{data_path, series_path};

/// Category and name of the series whose scores were recorded.
pub const RECORDED: [(&str, &str); 5] = [
    ("artificialNoAnomaly", "art_flatline"),
    ("artificialWithAnomaly", "art_daily_jumpsup"),
    ("realAWSCloudwatch", "ec2_cpu_utilization_5f5533"),
    ("realKnownCause", "nyc_taxi"),
    ("realTraffic", "speed_7578"),
];
/// A checkout of NAB with these series, each a category and a name.
///
/// # Panics
/// If it cannot be made.
pub fn checkout(series: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = |from: &Path, to: &str| {
        let to = folder.path().join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::copy(from, to).expect("copied");
    };
    for (category, name) in series {
        copy(&series_path(name), &format!("data/{category}/{name}.csv"));
    }
    copy(&data_path("nab/scoring/profiles.json"), "config/profiles.json");
    let text = fs::read_to_string(data_path("nab/scoring/combined_windows.json")).expect("bundled");
    let all: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("JSON");
    let windows: serde_json::Map<String, Value> = all
        .into_iter()
        .filter(|(file, _)| series.iter().any(|(category, name)| *file == format!("{category}/{name}.csv")))
        .collect();
    fs::create_dir_all(folder.path().join("labels")).expect("made");
    let path = folder.path().join("labels/combined_windows.json");
    fs::write(path, Value::Object(windows).to_string()).expect("written");
    folder
}
