//! A checkout of the Numenta Anomaly Benchmark on disk, and results in its layout.
//!
//! Read are `data/CATEGORY/*.csv`, `labels/combined_windows.json` and `config/profiles.json`. Written are
//! `DETECTOR/CATEGORY/DETECTOR_FILE.csv` with the columns that NAB's `run.py --score` reads, and `thresholds.json` and
//! `final_results.json`, in which other detectors' entries are kept, as NAB does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use htm_core::float_text::repr;
use serde_json::{Map, Value};

use super::BenchmarkError;
use super::profile::{Profile, read_profiles};
use super::series::{Labels, MAX_FILES, Series, check_run_rows, csv_files, read_series, read_text};
use super::window::{Window, windows_of_limits};
use crate::timestamp::parse_time;

const WINDOWS_FILE: &str = "labels/combined_windows.json";
const PROFILES_FILE: &str = "config/profiles.json";

/// A series and its windows.
#[derive(Debug, Clone, PartialEq)]
pub struct NabFile {
    /// Named `CATEGORY/FILE.csv`.
    pub series: Series,
    /// As NAB ships them.
    pub windows: Vec<Window>,
}

/// All that a checkout holds.
#[derive(Debug, Clone, PartialEq)]
pub struct NabCorpus {
    /// By name.
    pub files: Vec<NabFile>,
    /// NAB's own three first.
    pub profiles: Vec<Profile>,
    /// Names that have windows but no data here: a checkout that is not whole.
    pub missing: Vec<String>,
}

/// Windows of each file, as pairs of times.
type Limits = BTreeMap<String, Vec<(String, String)>>;

impl NabCorpus {
    /// Reads a checkout.
    ///
    /// # Errors
    /// [`BenchmarkError`] names the file, and the line or window, that cannot be used.
    pub fn read(folder: &Path) -> Result<Self, BenchmarkError> {
        let profiles_path = folder.join(PROFILES_FILE);
        let profiles = read_profiles(&read_text(&profiles_path)?)
            .map_err(|reason| BenchmarkError::of_file(&profiles_path, reason))?;
        let windows_path = folder.join(WINDOWS_FILE);
        let mut limits: Limits = serde_json::from_str(&read_text(&windows_path)?).map_err(|error| {
            let expected = "expected for each file a list of [first, last] times";
            BenchmarkError::of_file(&windows_path, format_args!("{error}; {expected}"))
        })?;
        let mut files = Vec::new();
        let mut row_count = 0;
        for category in folders(&folder.join("data"))? {
            for path in csv_files(&folder.join("data").join(&category))? {
                let file_name = path.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("{category}/{file_name}");
                let limits = limits.remove(&name).ok_or_else(|| {
                    let reason = format_args!("has no entry `{name}`; expected one, if only an empty list");
                    BenchmarkError::of_file(&windows_path, reason)
                })?;
                let series = read_series(&path, &name, Labels::Ignored)?;
                row_count += series.rows.len();
                check_run_rows(folder, row_count)?;
                let windows = windows_of(&series, &limits)
                    .map_err(|reason| BenchmarkError::of_file(&windows_path, reason))?;
                files.push(NabFile { series, windows });
            }
            if files.len() > MAX_FILES {
                let reason = format_args!("holds more than {MAX_FILES} series");
                return Err(BenchmarkError::of_file(folder, reason));
            }
        }
        if files.is_empty() {
            let reason = "has no data/CATEGORY/*.csv; expected a checkout of numenta/NAB";
            return Err(BenchmarkError::of_file(folder, reason));
        }
        Ok(Self { files, profiles, missing: limits.into_keys().collect() })
    }
}

/// Writes the scores of one series, one per row, below `out`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_scores(
    out: &Path,
    detector: &str,
    file: &NabFile,
    scores: &[f64],
) -> Result<(), BenchmarkError> {
    let (category, file_name) = file.series.name.split_once('/').unwrap_or(("", &file.series.name));
    let folder = out.join(detector).join(category);
    let path = folder.join(format!("{detector}_{file_name}"));
    let write = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        let mut text = BufWriter::new(File::create(&path)?);
        writeln!(text, "timestamp,value,anomaly_score,label")?;
        for (row_idx, (row, &score)) in file.series.rows.iter().zip(scores).enumerate() {
            let label = u8::from(file.windows.iter().any(|window| window.contains(row_idx)));
            writeln!(text, "{},{},{},{label}", row.timestamp, row.value, repr(score))?;
        }
        text.flush()
    };
    write().map_err(|error| BenchmarkError::of_file(&path, format_args!("cannot be written: {error}")))
}

/// Puts `entry` under the detector's name into the JSON object in the file, which may not exist yet.
///
/// # Errors
/// If there is something else in the file, or it cannot be written.
pub fn put_entry(path: &Path, detector: &str, entry: Value) -> Result<(), BenchmarkError> {
    let mut all = Map::new();
    if path.exists() {
        all = serde_json::from_str(&read_text(path)?).map_err(|error| {
            BenchmarkError::of_file(
                path,
                format_args!("{error}; expected a JSON object, one entry a detector"),
            )
        })?;
    }
    all.insert(detector.to_owned(), entry);
    fs::write(path, format!("{:#}\n", Value::Object(all)))
        .map_err(|error| BenchmarkError::of_file(path, format_args!("cannot be written: {error}")))
}

fn folders(data: &Path) -> Result<Vec<String>, BenchmarkError> {
    let failed = |error| BenchmarkError::of_file(data, format_args!("cannot be read: {error}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(data).map_err(failed)?.take(MAX_FILES) {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn windows_of(series: &Series, limits: &[(String, String)]) -> Result<Vec<Window>, String> {
    let mut times = Vec::with_capacity(limits.len());
    for (first, last) in limits {
        let time =
            |text: &str| parse_time(text).map_err(|error| format!("a window of `{}`: {error}", series.name));
        times.push((time(first)?, time(last)?));
    }
    let timestamps: Vec<i64> = series.rows.iter().map(|row| row.record.timestamp).collect();
    windows_of_limits(&timestamps, &times).map_err(|index| {
        let (first, last) = &limits[index];
        format!(
            "window {} of `{}` is {first} to {last}; expected times of rows of that file, in order",
            index + 1,
            series.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(windows: &str, rows: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["data/a", "labels", "config"] {
            fs::create_dir_all(folder.path().join(name)).expect("made");
        }
        let profiles =
            r#"{"standard": {"CostMatrix": {"tpWeight": 1.0, "fnWeight": 1.0, "fpWeight": 0.11}}}"#;
        for (name, text) in [(PROFILES_FILE, profiles), (WINDOWS_FILE, windows), ("data/a/x.csv", rows)] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    const ROWS: &str =
        "timestamp,value\n2020-01-01 00:00:00,1\n2020-01-01 00:05:00,2\n2020-01-01 00:10:00,3\n";

    #[test]
    fn a_checkout_is_read_with_its_windows() {
        let windows =
            r#"{"a/x.csv": [["2020-01-01 00:05:00.000000", "2020-01-01 00:10:00.000000"]], "a/y.csv": []}"#;
        let corpus = NabCorpus::read(checkout(windows, ROWS).path()).expect("reads");
        assert_eq!(corpus.files.len(), 1);
        assert_eq!(corpus.files[0].series.name, "a/x.csv");
        assert_eq!(corpus.files[0].windows, [Window { first: 1, last: 2 }]);
        assert_eq!(corpus.missing, ["a/y.csv"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (windows, rows, expected) in [
            (r#"{"a/z.csv": []}"#, ROWS, "combined_windows.json: has no entry `a/x.csv`"),
            (
                r#"{"a/x.csv": [["2020-01-01 00:05:00", "2020-01-01 00:06:00"]]}"#,
                ROWS,
                "window 1 of `a/x.csv`",
            ),
            (r#"{"a/x.csv": [["noon", "2020-01-01 00:06:00"]]}"#, ROWS, "`noon` is not a time"),
            (r#"{"a/x.csv": 1}"#, ROWS, "combined_windows.json: "),
            (r#"{"a/x.csv": []}"#, "timestamp,value\n2020-01-01,\n", "x.csv: line 2: the value is ``"),
        ] {
            let error = NabCorpus::read(checkout(windows, rows).path()).expect_err(windows).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = NabCorpus::read(Path::new("/nonexistent")).expect_err("nothing there").to_string();
        assert!(error.contains("/nonexistent/config/profiles.json: cannot be read"), "{error}");
    }

    #[test]
    fn results_of_other_detectors_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("final_results.json");
        put_entry(&path, "raw", 1.into()).expect("written");
        put_entry(&path, "likelihood", 2.into()).expect("written");
        put_entry(&path, "raw", 3.into()).expect("written");
        let all: Value = serde_json::from_str(&fs::read_to_string(&path).expect("there")).expect("JSON");
        assert_eq!(all, serde_json::json!({"raw": 3, "likelihood": 2}));
        fs::write(&path, "[]").expect("written");
        assert!(put_entry(&path, "raw", 1.into()).is_err());
    }
}
