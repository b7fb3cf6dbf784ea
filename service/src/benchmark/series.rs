//! A series of a file: `timestamp,value`, and `label` where points are labelled.
//!
//! Columns are found by their headings, in any order; others are ignored. Every bad line is an error that names it: a
//! benchmark over fewer rows than somebody else's would be another benchmark.

use std::fs;
use std::path::{Path, PathBuf};

use htm_core::encoder::Record;

use super::BenchmarkError;
use crate::timestamp::parse_time;

/// Largest file that is read.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most rows of a file: 19 years of 5-minute samples.
pub const MAX_ROWS: usize = 2_000_000;
/// Most files of one run.
pub const MAX_FILES: usize = 10_000;
/// Most rows of all files of a run; each needs some 150 bytes.
pub const MAX_RUN_ROWS: usize = 20_000_000;
/// Longest part of a bad field that an error repeats, in characters.
const MAX_SHOWN_CHARS: usize = 60;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRow {
    /// Time as the file has it.
    pub timestamp: String,
    /// Value as the file has it.
    pub value: String,
    /// Both as numbers.
    pub record: Record,
    /// Whether this point is labelled as an anomaly; false without a label column.
    pub is_labelled: bool,
}

/// A series with the name it is reported under.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Path below the folder of the run, parts joined by `/`.
    pub name: String,
    /// In the file's order.
    pub rows: Vec<SeriesRow>,
}

/// Whether a file must have a column `label` of 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// It must.
    Required,
    /// Not read.
    Ignored,
}

/// The CSV files directly in `folder`, by name.
///
/// # Errors
/// If the folder cannot be read or has more than [`MAX_FILES`].
pub fn csv_files(folder: &Path) -> Result<Vec<PathBuf>, BenchmarkError> {
    let failed = |error| BenchmarkError::of_file(folder, format_args!("cannot be read: {error}"));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "csv") && path.is_file() {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            let reason = format_args!("has more than {MAX_FILES} CSV files; give a smaller folder");
            return Err(BenchmarkError::of_file(folder, reason));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads one file.
///
/// # Errors
/// [`BenchmarkError`] names file and line, what was found and what was expected.
pub fn read_series(path: &Path, name: &str, labels: Labels) -> Result<Series, BenchmarkError> {
    check_size(path)?;
    let unreadable = |error| BenchmarkError::of_file(path, format_args!("cannot be read: {error}"));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(unreadable)?;
    let columns = Columns::of(reader.headers().map_err(unreadable)?, labels)
        .map_err(|reason| BenchmarkError::of_file(path, format_args!("line 1: {reason}")))?;
    let mut rows = Vec::new();
    for fields in reader.records() {
        let fields = fields.map_err(unreadable)?;
        let line = fields.position().map_or(0, csv::Position::line);
        let row = columns
            .row(&fields)
            .map_err(|reason| BenchmarkError::of_file(path, format_args!("line {line}: {reason}")))?;
        if rows.len() == MAX_ROWS {
            let reason = format_args!("line {line}: more than {MAX_ROWS} rows; split the file");
            return Err(BenchmarkError::of_file(path, reason));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(BenchmarkError::of_file(path, "has no rows; expected some below the headings"));
    }
    Ok(Series { name: name.to_owned(), rows })
}

/// Whether so many rows fit into one run.
///
/// # Errors
/// If they are more than [`MAX_RUN_ROWS`].
pub fn check_run_rows(folder: &Path, row_count: usize) -> Result<(), BenchmarkError> {
    if row_count > MAX_RUN_ROWS {
        let reason = format_args!("holds more than {MAX_RUN_ROWS} rows; give a smaller folder");
        return Err(BenchmarkError::of_file(folder, reason));
    }
    Ok(())
}

/// The text of a file that is not larger than [`MAX_FILE_BYTES`].
pub(super) fn read_text(path: &Path) -> Result<String, BenchmarkError> {
    check_size(path)?;
    fs::read_to_string(path)
        .map_err(|error| BenchmarkError::of_file(path, format_args!("cannot be read: {error}")))
}

fn check_size(path: &Path) -> Result<(), BenchmarkError> {
    let size = fs::metadata(path)
        .map_err(|error| BenchmarkError::of_file(path, format_args!("cannot be read: {error}")))?
        .len();
    if size > MAX_FILE_BYTES {
        let reason = format_args!("has {size} bytes; expected at most {MAX_FILE_BYTES}");
        return Err(BenchmarkError::of_file(path, reason));
    }
    Ok(())
}

/// Where in a line the fields are.
struct Columns {
    timestamp: usize,
    value: usize,
    label: Option<usize>,
}

impl Columns {
    fn of(headings: &csv::StringRecord, labels: Labels) -> Result<Self, String> {
        let column = |name: &str| {
            headings.iter().position(|heading| heading.trim() == name).ok_or_else(|| {
                let found: Vec<&str> = headings.iter().collect();
                format!("the headings are `{}`; expected one named `{name}`", shown(&found.join(",")))
            })
        };
        let label = match labels {
            Labels::Required => Some(column("label")?),
            Labels::Ignored => None,
        };
        Ok(Self { timestamp: column("timestamp")?, value: column("value")?, label })
    }

    fn row(&self, fields: &csv::StringRecord) -> Result<SeriesRow, String> {
        let field = |column: usize| {
            let found = fields.len();
            fields.get(column).map(str::trim).ok_or_else(|| {
                format!("{found} fields; expected at least {}, as many as headings need", column + 1)
            })
        };
        let (timestamp, value) = (field(self.timestamp)?, field(self.value)?);
        let number: f64 = value
            .parse()
            .map_err(|_| format!("the value is `{}`; expected a decimal number", shown(value)))?;
        if !number.is_finite() {
            return Err(format!("the value is `{}`; expected a finite number", shown(value)));
        }
        let seconds = parse_time(timestamp).map_err(|error| error.to_string())?;
        let is_labelled = match self.label.map(field).transpose()? {
            None | Some("0" | "0.0") => false,
            Some("1" | "1.0") => true,
            Some(other) => return Err(format!("the label is `{}`; expected 0 or 1", shown(other))),
        };
        Ok(SeriesRow {
            timestamp: timestamp.to_owned(),
            value: value.to_owned(),
            record: Record { timestamp: seconds, value: number },
            is_labelled,
        })
    }
}

fn shown(text: &str) -> String {
    text.chars().flat_map(char::escape_debug).take(MAX_SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, labels: Labels) -> Result<Series, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        fs::write(&path, text).expect("written");
        read_series(&path, "a.csv", labels).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_found_by_their_headings() {
        let series = read("label,value,x,timestamp\n1,2.5,,1970-01-01 00:01:00\n", Labels::Required);
        let rows = series.expect("reads").rows;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].record, Record { timestamp: 60, value: 2.5 });
        assert!(rows[0].is_labelled && rows[0].value == "2.5");
    }

    #[test]
    fn bad_files_are_refused_with_file_and_line() {
        for (text, expected) in [
            (
                "timestamp,value\n0,1\n",
                "line 1: the headings are `timestamp,value`; expected one named `label`",
            ),
            ("timestamp,value,label\n0,1,0\n0,x,0\n", "line 3: the value is `x`"),
            ("timestamp,value,label\n0,inf,0\n", "line 2: the value is `inf`"),
            ("timestamp,value,label\n0,1,2\n", "line 2: the label is `2`; expected 0 or 1"),
            ("timestamp,value,label\n0,1\n", "line 2: 2 fields; expected at least 3"),
            ("timestamp,value,label\nnoon,1,0\n", "line 2: `noon` is not a time"),
            ("timestamp,value,label\n", "has no rows"),
        ] {
            let error = read(text, Labels::Required).expect_err(text);
            assert!(error.contains(expected) && error.contains("a.csv: "), "{error}");
        }
        assert!(read("timestamp,value\n0,1\n", Labels::Ignored).is_ok());
        assert!(check_run_rows(Path::new("a"), MAX_RUN_ROWS).is_ok());
        let error = check_run_rows(Path::new("a"), MAX_RUN_ROWS + 1).expect_err("too many").to_string();
        assert!(error.contains("a: holds more than 20000000 rows"), "{error}");
    }
}
