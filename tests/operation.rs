//! Promise: an operator can see what the engine does, have it save its models, and have a model rebuilt, with the engine
//! running; and is told when that is not possible.

use std::fs;
use std::path::{Path, PathBuf};

use htm_core::encoder::Record;
use htm_tests::lone_run::{assert_equal, padded_range};
use htm_tests::program::{Server, fail, run, succeed};
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, monitor, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::engine::MODELS_FOLDER;
use htmengine::repository::Repository;
use htmengine::repository::metric_data::RowUpdate;
use htmengine::row_detection::RowDetection;
use serde_json::Value;

fn samples(count: usize) -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(count).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn status(data_dir: &Path) -> Value {
    json(&succeed(["status", "--json", "--data-dir", text(data_dir)]))
}

fn model_file(data_dir: &Path, repository: &dyn Repository, name: &str) -> PathBuf {
    let uid = metric(repository, name).expect("stored").uid.to_string();
    data_dir.join(MODELS_FOLDER).join(&uid[..2]).join(format!("{uid}.model"))
}

#[test]
fn a_checkpoint_saves_models_in_memory_and_models_that_left_it() {
    let samples = samples(30);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), ["--memory-budget-mib", "2"]);
    let (repository, data_dir) = (server.repository(), server.data_dir().to_owned());
    let names: Vec<String> = (0..12).map(|number| format!("speed.{number}")).collect();
    for name in &names {
        monitor(&repository, name, Some(padded_range(&samples)));
    }
    for part in [0..29, 29..30] {
        for name in &names {
            send(server.address(), lines(name, &samples[part.clone()]).as_bytes());
            wait_for_scores(&repository, name, part.end);
        }
    }
    let answer = json(&succeed(["checkpoint", "--json", "--data-dir", text(&data_dir)]));
    assert!(answer["saved"].as_u64().is_some_and(|saved| saved > 0) && answer["failed"] == 0, "{answer}");
    for name in &names {
        let file = fs::read(model_file(&data_dir, &repository, name)).expect("a saved model");
        let header = htm_core::format::header::Header::of(&file).expect("a whole file");
        assert_eq!(header.last_stepped_row_id.0, 30, "{name}");
    }
    let again = succeed(["checkpoint", "--data-dir", text(&data_dir)]);
    assert_eq!(again, "0 models were saved\n");
    wait_until("figures of this moment", || {
        status(&data_dir)["checkpoints"].as_u64().is_some_and(|count| count >= 12)
    });
    let now = status(&data_dir);
    assert_eq!(now["is_running"], true);
    assert_eq!(now["known_models"], 12);
    assert_eq!(now["memory_budget_bytes"], 2 << 20);
    assert!(now["swaps_in"].as_u64() > Some(12) && now["minor_page_faults"].as_u64() > Some(0), "{now}");
    let table = succeed(["status", "--data-dir", text(&data_dir)]);
    assert!(table.contains("running, process") && table.contains("of 12 known"), "{table}");

    assert!(server.terminate().success(), "a good end");
    assert!(succeed(["status", "--data-dir", text(&data_dir)]).contains("stopped in order"));
    fail(["checkpoint", "--data-dir", text(&data_dir)], 1, &["no engine runs over", "htmengine serve"]);
    fail(["status", "--data-dir", text(folder.path())], 1, &["no engine has run over"]);
}

#[test]
fn a_model_is_rebuilt_from_its_rows_with_and_without_a_running_engine() {
    let samples = samples(400);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), ["--checkpoint-rows", "50"]);
    let (repository, data_dir) = (server.repository(), server.data_dir().to_owned());
    let rebuild = || succeed(["rebuild", "speed", "--data-dir", text(&data_dir)]);
    monitor(&repository, "speed", Some(range));
    send(server.address(), lines("speed", &samples[..300]).as_bytes());
    wait_for_scores(&repository, "speed", 300);
    assert_eq!(rebuild(), "speed is rebuilt: every score of 300 rows equals the stored one\n");
    let file = model_file(&data_dir, &repository, "speed");
    assert!(file.with_extension("model.unusable").exists(), "the old file is kept");
    send(server.address(), lines("speed", &samples[300..350]).as_bytes());
    assert_equal("running", &wait_for_scores(&repository, "speed", 350), &samples[..350], range);
    server.kill();

    fs::write(&file, b"rubbish").expect("written");
    assert!(rebuild().contains("every score of 350 rows equals"));
    let server = Server::start(folder.path(), ["--checkpoint-rows", "50"]);
    send(server.address(), lines("speed", &samples[350..]).as_bytes());
    assert_equal("restarted", &wait_for_scores(&repository, "speed", 400), &samples, range);
    assert!(!server.log().contains("cannot be used"), "the rebuilt file is used: {}", server.log());

    let uid = metric(&repository, "speed").expect("stored").uid;
    let forged = RowUpdate {
        row_id: htm_core::ids::RowId(7),
        raw_anomaly_score: 0.25,
        anomaly_score: 0.5,
        display_value: 0,
        best_predictions: None,
        detection: RowDetection::default(),
    };
    let written =
        repository.transact(&mut |tx| tx.complete_rows(&uid, std::slice::from_ref(&forged)).map(|_| ()));
    written.expect("a writable database");
    let asked = ["rebuild", "speed", "--data-dir", text(&data_dir)];
    fail(asked, 1, &["1 of 400 scores differ", "row 7", "0.25"]);
    fail(["rebuild", "none", "--data-dir", text(&data_dir)], 1, &["there is no metric named 'none'"]);
    assert!(server.terminate().success(), "a good end");
}

/// Ports that nobody uses beside limits that nothing has.
const SETTINGS: &str = "graphite = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nmemory_budget_mib = 99999999\n\
                        max_connections = 1000000000\n";

#[test]
fn a_doctor_names_limits_and_what_should_be_changed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("htmengine.toml");
    fs::write(&config, SETTINGS).expect("written");
    let finished = run(["doctor", "--config", text(&config), "--data-dir", text(folder.path())]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for part in [
        "processor",
        "instruction sets            scalar",
        "vm.max_map_count",
        "open files, soft limit",
        "disk free MiB",
        "warning: the memory budget",
        "warning: 1000000000 connections",
        "set vm.max_map_count",
    ] {
        assert!(finished.stdout.contains(part), "`{part}` is not in:\n{}", finished.stdout);
    }
    let report =
        json(&succeed(["doctor", "--json", "--config", text(&config), "--data-dir", text(folder.path())]));
    assert!(report["memory_MiB"].as_u64().is_some_and(|mib| mib > 0), "{report}");
    assert!(report["warnings"].is_array(), "{report}");
}
