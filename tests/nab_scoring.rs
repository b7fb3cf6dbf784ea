//! Promise: `htmengine nab` scores as the Numenta Anomaly Benchmark does, to 0.01.
//!
//! The expected figures were computed by NAB's own sweeper over recorded scores of the original software: see
//! `data/nab/scoring/README.md`. The same recordings say what `htmengine nab` must write for every record.

use std::fs;
use std::path::Path;

use htm_tests::nab_checkout::{RECORDED, checkout};
use htm_tests::program::{fail, succeed};
use htm_tests::recording::{data_path, golden};
use htmengine::benchmark::nab_corpus::NabCorpus;
use htmengine::benchmark::nab_score::{JudgedSeries, best_score, score_at};
use serde_json::Value;

/// Short series for runs of the program.
const SHORT: [(&str, &str); 2] =
    [("realAWSCloudwatch", "iio_us-east-1_i-a2eb1cd9_NetworkIn"), ("realTraffic", "speed_7578")];
/// As close as we promise to be to NAB's own figures.
const TOLERANCE: f64 = 0.01;

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One column of a CSV text as numbers.
fn column(text: &str, name: &str) -> Vec<f64> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let at = reader.headers().expect("headings").iter().position(|heading| heading == name);
    let at = at.unwrap_or_else(|| panic!("no column {name}"));
    reader.records().map(|row| row.expect("a row")[at].parse().expect("a number")).collect()
}

#[track_caller]
fn assert_close(what: &str, found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{what}: no figure to compare with"));
    assert!((found - expected).abs() < TOLERANCE, "{what}: found {found}, NAB's sweeper says {expected}");
}

/// Our figures for recorded scores against those of NAB's sweeper.
#[track_caller]
fn check_sweeper(detector: &str, memory: &str, score_column: &str) {
    let folder = checkout(&RECORDED);
    let corpus = NabCorpus::read(folder.path()).expect("a checkout");
    let series: Vec<JudgedSeries> = corpus
        .files
        .iter()
        .zip(RECORDED)
        .map(|(file, (_, name))| {
            assert!(file.series.name.contains(name));
            let scores = column(&golden(&format!("{name}__{memory}.rec.csv.gz")), score_column);
            JudgedSeries::new(&file.series.name, &scores, file.windows.clone())
        })
        .collect();
    let series: Vec<&JudgedSeries> = series.iter().collect();
    let figures: Value = json(&data_path("nab/scoring/sweeper_figures.json"));
    assert_eq!(corpus.profiles.len(), 3);
    for profile in &corpus.profiles {
        let expected = &figures[detector][&profile.name];
        let best = best_score(&series, profile);
        let what = |figure: &str| format!("{figure} of {detector}, {}", profile.name);
        assert_close(&what("threshold"), best.outcome.threshold, &expected["threshold"]);
        assert_close(&what("points"), best.outcome.points, &expected["points"]);
        assert_close(&what("score"), best.normalised.expect("windows"), &expected["score"]);
        assert_eq!(Some(best.outcome.false_alarm_rows as u64), expected["false_alarm_rows"].as_u64());
        for one in &series {
            let found = score_at(&[one], profile, best.outcome.threshold).outcome.points;
            assert_close(&what(&one.name), found, &expected["files"][&one.name]);
        }
    }
}

#[test]
fn figures_of_recorded_likelihoods_equal_those_of_nabs_sweeper() {
    check_sweeper("likelihood", "cpp", "log");
    check_sweeper("likelihood_tm", "tm_cpp", "log");
}

#[test]
fn figures_of_recorded_raw_scores_equal_those_of_nabs_sweeper() {
    check_sweeper("raw", "cpp", "anomaly");
}

#[test]
fn the_likelihood_detector_writes_the_recorded_scores_in_nabs_layout() {
    let nab = checkout(&SHORT[1..]);
    let out = tempfile::tempdir().expect("a temporary folder");
    let paths = [nab.path(), out.path()].map(|path| path.to_str().expect("plain characters"));
    succeed(["nab", "--nab", paths[0], "--out", paths[1], "--range", "declared", "--detector", "likelihood"]);
    let written = out.path().join("likelihood/realTraffic/likelihood_speed_7578.csv");
    let written = fs::read_to_string(written).expect("results");
    assert!(written.starts_with("timestamp,value,anomaly_score,label\n2015-09-08 11:39:00,73"), "{written}");
    let recorded = column(&golden("speed_7578__cpp.rec.csv.gz"), "log");
    let (scores, values) = (column(&written, "anomaly_score"), column(&written, "value"));
    assert_eq!(scores.len(), recorded.len());
    let mut spatial_count = 0;
    for (row_idx, (score, recorded)) in scores.iter().zip(&recorded).enumerate() {
        // The recording is without the detector's rule for values far outside all before.
        let before = &values[..row_idx];
        let max = before.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = before.iter().copied().fold(f64::INFINITY, f64::min);
        let tolerance = (max - min) * 0.05;
        let is_outside =
            min < max && (values[row_idx] > max + tolerance || values[row_idx] < min - tolerance);
        spatial_count += usize::from(is_outside);
        let expected = if is_outside { 1.0 } else { *recorded };
        assert_eq!(score.to_bits(), expected.to_bits(), "row {row_idx}");
    }
    assert!(spatial_count > 0, "the series has no such value");
    let labelled = column(&written, "label").into_iter().filter(|&label| label > 0.5).count();
    assert_eq!(labelled, 116, "rows in windows");
    let thresholds: Value = json(&out.path().join("thresholds.json"));
    let finals: Value = json(&out.path().join("final_results.json"));
    for profile in ["standard", "reward_low_FP_rate", "reward_low_FN_rate"] {
        assert!(thresholds["likelihood"][profile]["threshold"].is_f64(), "{thresholds}");
        assert!(finals["likelihood"][profile].is_f64(), "{finals}");
    }
}

#[test]
fn every_detector_runs_and_its_figures_are_for_people_and_programs() {
    let nab = checkout(&SHORT);
    let out = tempfile::tempdir().expect("a temporary folder");
    let paths = [nab.path(), out.path()].map(|path| path.to_str().expect("plain characters"));
    for detector in ["fused", "raw", "likelihood", "range-rule", "hourly-z-score", "random-cut-forest"] {
        let printed = succeed([
            "nab",
            "--nab",
            paths[0],
            "--out",
            paths[1],
            "--detector",
            detector,
            "--json",
            "--jobs",
            "1",
        ]);
        let report: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!((&report["detector"], &report["range"]), (&detector.into(), &"learned".into()));
        assert_eq!((&report["files"], &report["rows"]), (&2.into(), &2370.into()));
        let standard = &report["profiles"]["standard"];
        assert_eq!(standard["windows"], 6);
        assert!(standard["score"].as_f64().is_some_and(|score| (0.0..=100.0).contains(&score)), "{report}");
        let categories = standard["categories"].as_object().expect("categories");
        let points = |value: &Value| value["points"].as_f64().expect("points");
        let sum: f64 = categories.values().map(points).sum();
        assert!((sum - points(standard)).abs() < 1e-9, "categories make up the whole: {report}");
    }
    let finals: Value = json(&out.path().join("final_results.json"));
    assert_eq!(finals.as_object().map(serde_json::Map::len), Some(6), "{finals}");
    let printed = succeed(["nab", "--nab", paths[0], "--out", paths[1], "--detector", "range-rule"]);
    for part in [
        "PROFILE",
        "reward_low_FN_rate",
        "CATEGORY",
        "realTraffic",
        "ARTime",
        "> htmengine range-rule",
        "not comparable",
    ] {
        assert!(printed.contains(part), "`{part}` is not in:\n{printed}");
    }
}

#[test]
fn what_cannot_be_used_is_named_with_file_and_line() {
    let nab = checkout(&SHORT[1..]);
    let data = nab.path().join("data/realTraffic/speed_7578.csv");
    let arguments =
        ["nab", "--nab", nab.path().to_str().expect("plain characters"), "--out", "/nonexistent/x"];
    let mut text = fs::read_to_string(&data).expect("copied");
    // The series ends without a newline.
    text.push_str("\n2015-09-17 17:00:00,fast\n");
    fs::write(&data, text).expect("written");
    fail(arguments, 1, &["speed_7578.csv: line 1129: the value is `fast`; expected a decimal number"]);
    fs::write(nab.path().join("labels/combined_windows.json"), "{}").expect("written");
    fail(arguments, 1, &["combined_windows.json: has no entry `realTraffic/speed_7578.csv`"]);
    fs::remove_file(nab.path().join("config/profiles.json")).expect("removed");
    fail(arguments, 1, &["config/profiles.json: cannot be read"]);
}
