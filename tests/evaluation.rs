//! Promise: `htmengine evaluate` measures precision, recall and false alarms on labelled series, for the engine and for
//! simple baselines, and draws them.

use std::fs;
use std::path::Path;

use htm_tests::program::{fail, succeed};
use htm_tests::recording::data_path;
use serde_json::Value;

const DETECTORS: [&str; 5] = ["fused", "likelihood", "range-rule", "hourly-z-score", "random-cut-forest"];
const FILES: [&str; 3] = ["app1-05.csv", "outbound-02.csv", "purchase-06.csv"];

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

#[test]
fn series_are_evaluated_beside_baselines_and_drawn() {
    let folder = data_path("cloud-monitoring");
    let out = tempfile::tempdir().expect("a temporary folder");
    let printed = succeed(["evaluate", text(&folder), "--out", text(out.path()), "--plots"]);
    for part in ["DETECTOR", "PRECISION", "PER 10K", "MEDIAN DELAY", "best F1", "outbound-02.csv"]
        .iter()
        .chain(&DETECTORS)
    {
        assert!(printed.contains(part), "`{part}` is not in:\n{printed}");
    }
    let results = fs::read_to_string(out.path().join("results.json")).expect("results");
    let report: Value = serde_json::from_str(&results).expect("JSON");
    assert_eq!((&report["files"], &report["rows"]), (&3.into(), &2667.into()));
    for detector in DETECTORS {
        let figures = &report["detectors"][detector];
        let count = |of: &Value, key: &str| of[key].as_u64().unwrap_or_else(|| panic!("{detector} {key}"));
        for key in ["windows", "windows_hit", "false_episodes"] {
            let sum: u64 = FILES.iter().map(|file| count(&figures["files"][file], key)).sum();
            assert_eq!(sum, count(&figures["total"], key), "{detector} {key}");
        }
        assert!(count(&figures["total"], "windows_hit") <= count(&figures["total"], "windows"));
        let best = &figures["best_f1"];
        assert!(best.is_null() || best["f1"].as_f64().is_some_and(|f1| (0.0..=1.0).contains(&f1)), "{best}");
    }
    for file in FILES {
        let scores = fs::read_to_string(out.path().join(file)).expect("scores");
        let heading =
            "timestamp,value,label,window,fused,likelihood,range-rule,hourly-z-score,random-cut-forest\n";
        assert!(scores.starts_with(heading), "{scores}");
        let rows = fs::read_to_string(folder.join(file)).expect("a series").lines().count();
        assert_eq!(scores.lines().count(), rows);
        let picture = fs::read_to_string(out.path().join(file).with_extension("svg")).expect("a picture");
        assert!(
            picture.starts_with("<svg") && picture.contains(file) && picture.contains("random-cut-forest")
        );
    }
}

/// Ten days with one clear spike on the seventh, when every detector knows its metric: what the figures must be can be
/// said beforehand.
#[test]
fn a_spike_is_found_without_false_alarms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = |at: u32| {
        let value = if at == 2000 { 1000 } else { 50 + at * 7919 % 13 };
        let (day, hour, minute) = (1 + at / 288, at / 12 % 24, at % 12 * 5);
        format!("2020-01-{day:02} {hour:02}:{minute:02}:00,{value},{}\n", u8::from(at == 2000))
    };
    let rows: String = (0..2880).map(row).collect();
    fs::write(folder.path().join("spike.csv"), format!("timestamp,value,label\n{rows}")).expect("written");
    let printed = succeed(["evaluate", text(folder.path()), "--json", "--range", "learned"]);
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    for detector in ["range-rule", "hourly-z-score", "likelihood", "fused"] {
        let total = &report["detectors"][detector]["total"];
        assert_eq!(total["windows"], 1, "{detector}: {total}");
        assert_eq!(
            (&total["recall"], &total["median_delay_s"]),
            (&1.0.into(), &0.into()),
            "{detector}: {total}"
        );
    }
    let total = &report["detectors"]["range-rule"]["total"];
    assert_eq!(
        (&total["precision"], &total["f1"], &total["false_episodes"]),
        (&1.0.into(), &1.0.into(), &0.into())
    );
    // At a threshold that the engine's own scores do not reach it alerts no more; baselines keep theirs.
    let printed = succeed(["evaluate", text(folder.path()), "--json", "--threshold", "1"]);
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(report["detectors"]["fused"]["threshold"], 1.0);
    assert_eq!(report["detectors"]["range-rule"]["threshold"], 0.5);
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = text(folder.path());
    fail(
        ["evaluate", path],
        1,
        &["has no CSV files; expected some with the columns timestamp, value and label"],
    );
    fs::write(folder.path().join("a.csv"), "timestamp,value\n0,1\n").expect("written");
    fail(
        ["evaluate", path],
        1,
        &["a.csv: line 1: the headings are `timestamp,value`; expected one named `label`"],
    );
    fs::write(folder.path().join("a.csv"), "timestamp,value,label\n0,1,0\n60,1,yes\n").expect("written");
    fail(["evaluate", path], 1, &["a.csv: line 3: the label is `yes`; expected 0 or 1"]);
    fail(
        ["evaluate", path, "--threshold", "2"],
        1,
        &["--threshold is 2; expected a number above 0 and up to 1"],
    );
    fail(["evaluate", "/nonexistent"], 1, &["/nonexistent: cannot be read"]);
    fail(["evaluate", path, "--plots"], 2, &["--out"]);
}
