//! Promise: `models_per_core` measures every kind of round, says what it could not do, and leaves nothing behind but
//! the aged models.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn run(store: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_models_per_core"))
        .args(["--age", "40", "--distinct", "2", "--rounds", "2", "--jobs", "2", "--store"])
        .arg(store)
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn measures_every_kind_of_round_and_cleans_up() {
    let store = tempfile::tempdir().expect("a folder");
    let output = run(store.path(), &["--models", "6", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["models_per_core"].as_f64().expect("a number") > 0.0);
    let rounds = report["ages"][0]["rounds"].as_array().expect("rounds");
    let modes: Vec<_> = rounds.iter().map(|round| (round["mode"].as_str(), round["jobs"].as_u64())).collect();
    let (one, two) = (Some(1), Some(2));
    let expected =
        [(Some("Resident"), one), (Some("Resident"), two), (Some("Cached"), one), (Some("Cached"), two)];
    assert_eq!(modes[..4], expected);
    // Without permission to make control groups, pages are dropped instead, and that is said.
    let (mode, note) = (modes[4].0, &rounds[4]["note"]);
    assert!((mode == Some("Limited") && note.is_null()) || (mode == Some("Forgotten") && note.is_string()));
    for round in rounds {
        assert_eq!(round["records"], 12, "two rounds of six models: {round}");
    }
    assert_eq!(names(store.path()), ["aged"]);
    let aged = names(&store.path().join("aged"));
    assert_eq!(aged.len(), 4, "two models and what their rows cost: {aged:?}");
}

#[test]
fn refuses_what_does_not_fit_before_it_writes() {
    let store = tempfile::tempdir().expect("a folder");
    let output = run(store.path(), &["--models", "1000000"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("MiB left: use --models"), "{message}");
    let output = run(store.path(), &["--models", "6", "--memory-limit", "1MiB"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("memory limit of 1 MiB is too small"), "{message}");
    assert_eq!(names(store.path()), ["aged"]);
}
