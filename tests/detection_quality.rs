//! Promise: a change that makes the engine detect worse is noticed.
//!
//! A few bundled series, the program as a user runs it, and the figures it had when they were recorded in
//! `data/detection_quality.json`. Better figures pass; record them, so that they stay. That the series are few is the
//! point: this is a gate, not a measurement.

use std::fs;

use htm_tests::nab_checkout::{RECORDED, checkout};
use htm_tests::program::succeed;
use htm_tests::recording::data_path;
use serde_json::{Value, json};

/// Rounding of the figures, and nothing else: scores are the same on every machine.
const TOLERANCE: f64 = 0.005;

/// Which way a figure is better.
#[derive(Clone, Copy)]
enum Better {
    Higher,
    Lower,
}

/// Lists what is worse than recorded, leaf by leaf.
fn compare(path: &str, found: &Value, recorded: &Value, worse: &mut Vec<String>) {
    if let Some(recorded) = recorded.as_object() {
        for (key, recorded) in recorded {
            compare(&format!("{path}/{key}"), &found[key], recorded, worse);
        }
        return;
    }
    let recorded = recorded.as_f64().unwrap_or_else(|| panic!("{path}: no figure is recorded"));
    let better = if path.ends_with("/false_episodes") { Better::Lower } else { Better::Higher };
    let is_worse = found.as_f64().is_none_or(|found| match better {
        Better::Higher => found < recorded - TOLERANCE,
        Better::Lower => found > recorded + TOLERANCE,
    });
    if is_worse {
        worse.push(format!("{path}: {found}, recorded {recorded}"));
    }
}

fn nab(range: &str) -> Value {
    let nab = checkout(&RECORDED);
    let out = tempfile::tempdir().expect("a temporary folder");
    let [nab, out] = [nab.path(), out.path()].map(|path| path.to_str().expect("plain characters"));
    let printed =
        succeed(["nab", "--nab", nab, "--out", out, "--detector", "fused", "--range", range, "--json"]);
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let profiles = report["profiles"].as_object().expect("profiles");
    profiles.iter().map(|(profile, figures)| (profile.clone(), figures["score"].clone())).collect()
}

fn cloud(range: &str) -> Value {
    let folder = data_path("cloud-monitoring");
    let folder = folder.to_str().expect("plain characters");
    let printed = succeed(["evaluate", folder, "--range", range, "--json"]);
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let total = &report["detectors"]["fused"]["total"];
    json!({"windows_hit": total["windows_hit"], "false_episodes": total["false_episodes"]})
}

#[test]
fn detection_is_no_worse_than_recorded() {
    let found = json!({
        "nab": {"learned": nab("learned"), "declared": nab("declared")},
        "cloud-monitoring": {"learned": cloud("learned"), "declared": cloud("declared")},
    });
    let text = fs::read_to_string(data_path("detection_quality.json")).expect("recorded figures");
    let recorded: Value = serde_json::from_str(&text).expect("JSON");
    let mut worse = Vec::new();
    compare("", &found, &recorded, &mut worse);
    assert!(
        worse.is_empty(),
        "detection is worse than recorded:\n{}\nall figures: {found:#}",
        worse.join("\n")
    );
}

#[test]
fn what_is_worse_is_told_and_what_is_better_passes() {
    let recorded = json!({"a": {"score": 50.0, "false_episodes": 3}});
    let worse = |found: Value| {
        let mut worse = Vec::new();
        compare("", &found, &recorded, &mut worse);
        worse
    };
    assert_eq!(worse(json!({"a": {"score": 49.999, "false_episodes": 3}})), [""; 0]);
    assert_eq!(worse(json!({"a": {"score": 60.0, "false_episodes": 0}})), [""; 0]);
    assert_eq!(worse(json!({"a": {"score": 49.9, "false_episodes": 3}})), ["/a/score: 49.9, recorded 50"]);
    assert_eq!(
        worse(json!({"a": {"score": 50.0, "false_episodes": 4}})),
        ["/a/false_episodes: 4, recorded 3"]
    );
    assert_eq!(worse(json!({"a": {"score": 50.0}})), ["/a/false_episodes: null, recorded 3"]);
}
