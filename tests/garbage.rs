//! Promise: rows are deleted by age, and never one that a model needs: after a purge, a kill and a restart its scores go
//! on as if every row were there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::workspace::Workspace;
use htm_core::params::ValueRange;
use htm_tests::hand_clock::HandClock;
use htm_tests::lone_run::{assert_scored, padded_range, scores};
use htm_tests::program::{Server, fail, succeed};
use htm_tests::recording::series;
use htm_tests::refusing_files::RefusingFiles;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, monitor, monitor_all, rows, wait_for_rows, wait_for_scores};
use htm_tests::turn_by_turn::TurnByTurn;
use htmengine::clock::{Clock, SystemClock};
use htmengine::file_system::DiskFiles;
use htmengine::garbage::GarbageCollector;
use htmengine::model_params::ModelStart;
use htmengine::monitoring::{self, SystemRandom};
use htmengine::repository::Repository;
use htmengine::repository::metric_data::{RowUpdate, StoredSample};
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use htmengine::row_detection::RowDetection;
use htmengine::scheduler::model_store::ModelStore;
use serde_json::Value;

const DAY_S: i64 = 86_400;

fn samples(count: usize) -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(count).collect()
}

fn purge(data_dir: &Path) -> i64 {
    let data_dir = data_dir.to_str().expect("plain characters");
    let said =
        succeed(["collect-garbage", "--threshold-days", "30", "--once", "--json", "--data-dir", data_dir]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    said["deleted"].as_i64().expect("a count")
}

#[test]
fn after_a_purge_a_kill_and_a_restart_scores_go_on_equal() {
    let samples = samples(150);
    let expected = scores(&samples, padded_range(&samples));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), ["--no-monitor"]);
    let data_dir = server.data_dir().to_owned();
    monitor(&server.repository(), "speed", Some(padded_range(&samples)));
    send(server.address(), lines("speed", &samples[..80]).as_bytes());
    wait_for_scores(&server.repository(), "speed", 80);
    assert_eq!(purge(&data_dir), 0, "there is no model file yet: every row is needed");
    succeed(["checkpoint", "--data-dir", data_dir.to_str().expect("plain characters")]);
    send(server.address(), lines("speed", &samples[80..100]).as_bytes());
    wait_for_scores(&server.repository(), "speed", 100);
    assert_eq!(purge(&data_dir), 79, "all before the one where the file stands");
    assert_eq!(purge(&data_dir), 0);
    let left = rows(&server.repository(), "speed");
    assert_eq!(left.first().map(|row| row.row_id), Some(RowId(80)));
    let rebuild = ["rebuild", "speed", "--data-dir", data_dir.to_str().expect("plain characters")];
    fail(rebuild, 1, &["cannot be rebuilt", "before row 80", "nothing was changed"]);
    server.kill();

    // The file stands at row 80: the next twenty are stepped again, from their rows.
    let server = Server::start(folder.path(), ["--no-monitor"]);
    send(server.address(), lines("speed", &samples[100..120]).as_bytes());
    wait_for_scores(&server.repository(), "speed", 120);
    server.kill();
    let server = Server::start(folder.path(), ["--no-monitor"]);
    send(server.address(), lines("speed", &samples[120..]).as_bytes());
    let stored = wait_for_scores(&server.repository(), "speed", 150);
    assert_eq!(stored.len(), 71);
    assert_scored("after purge and kills", &stored, &expected[79..]);
    assert!(!server.log().contains("cannot be used"), "the model file was taken: {}", server.log());
    assert!(server.terminate().success());

    // Saved by the stop, so only the last row is needed now; and the model goes on from it.
    assert_eq!(purge(&data_dir), 70);
    let server = Server::start(folder.path(), ["--no-monitor"]);
    let more = Record { timestamp: samples[149].timestamp + 300, value: 50.0 };
    send(server.address(), lines("speed", &[more]).as_bytes());
    let stored = wait_for_scores(&server.repository(), "speed", 151);
    let all: Vec<Record> = samples.iter().copied().chain([more]).collect();
    assert_scored("after a second purge", &stored, &scores(&all, padded_range(&samples))[149..]);
}

#[test]
fn serve_deletes_old_rows_by_itself_when_told_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), ["--no-monitor"]);
    send(server.address(), lines("old", &samples(3)).as_bytes());
    wait_for_rows(&server.repository(), "old", 3);
    assert!(server.terminate().success());
    let server = Server::start(folder.path(), ["--no-monitor", "--retention-days", "30"]);
    htm_tests::waiting::wait_until("old rows to go", || rows(&server.repository(), "old").len() == 1);
    assert!(server.terminate().success());
}

#[test]
fn a_threshold_is_a_number_of_days_above_zero() {
    fail(["collect-garbage", "--threshold-days", "0", "--once"], 2, &["threshold-days"]);
    fail(["collect-garbage", "--once"], 2, &["threshold-days"]);
}

#[test]
fn rows_go_by_age_where_no_model_needs_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows.sqlite");
    let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("a new database");
    let now = SystemClock::new().unix_seconds();
    let random = SystemRandom::open().expect("/dev/urandom");
    let ages = [92, 91, 89, 88, 0];
    monitor_all(&repository, &["waiting"], None);
    repository
        .transact(&mut |tx| {
            let samples: Vec<StoredSample> =
                ages.iter().map(|age| StoredSample { timestamp: now - age * DAY_S, value: 1.0 }).collect();
            for name in ["plain", "waiting"] {
                let metric = monitoring::create_metric(tx, name, &random)?;
                tx.append_rows(&metric.uid, &samples)?;
            }
            // More than one transaction's worth.
            let many: Vec<StoredSample> =
                (0..2_500).map(|row| StoredSample { timestamp: 1_000_000 + row, value: 1.0 }).collect();
            let metric = monitoring::create_metric(tx, "many", &random)?;
            tx.append_rows(&metric.uid, &many).map(|_| ())
        })
        .expect("stored");
    let repository: Arc<dyn Repository> = Arc::new(repository);
    let collector = GarbageCollector {
        repository: Arc::clone(&repository),
        store: ModelStore::new(Arc::new(DiskFiles), folder.path().join("models")),
        clock: Arc::new(SystemClock::new()),
        threshold_days: 90,
    };
    let go = AtomicBool::new(false);
    assert_eq!(collector.run_once(&go), Ok(2 + 2_499), "the newest row of a metric stays");
    assert_eq!(collector.run_once(&go), Ok(0));
    let left = rows(&*repository, "plain");
    assert_eq!(left.iter().map(|row| row.row_id.0).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(rows(&*repository, "waiting").len(), 5, "a range is still to come from them");
    let uid = repository.metric_by_name("many").ok().flatten().expect("there").uid;
    let last = repository
        .transact(&mut |tx| tx.append_rows(&uid, &[StoredSample { timestamp: now, value: 1.0 }]).map(|_| ()));
    assert_eq!(last, Ok(()));
    let left: Vec<RowId> = rows(&*repository, "many").iter().map(|row| row.row_id).collect();
    assert_eq!(left, [RowId(2_500), RowId(2_501)], "ids are not used again");
}

/// It was read again for every thousand rows that were deleted, however large; and one that stood beyond all scores, of rows that a
/// restored database no longer had, was believed, so that the model to be built instead lost its rows.
#[test]
fn a_model_file_is_read_once_a_pass_and_believed_only_within_the_scores() {
    const ROWS: usize = 2_500;
    let files = Arc::new(RefusingFiles::default());
    let turns = TurnByTurn::new(Arc::new(HandClock::default())).with_files(Arc::clone(&files) as _);
    let range = ValueRange { min: 0.0, max: 100.0 };
    monitor(turns.repository(), "old", Some(range));
    let samples: Vec<Record> =
        (1_i64..).take(ROWS).map(|timestamp| Record { timestamp, value: 1.0 }).collect();
    turns.add("old", &samples);
    let stored = metric(turns.repository(), "old").expect("stored");
    let start = ModelStart::from_json(stored.model_params.as_deref().expect("monitored")).expect("reads");
    // As after many more steps.
    let last = RowId(i64::try_from(ROWS).expect("small"));
    let store = turns.model_store();
    let mut model = store.new_model(&Arc::new(start.params().expect("usable"))).model;
    model.step(&mut Workspace::new(), last, samples[0]).expect("a usable sample");
    store.save(&stored.uid, &start.generation, &model).expect("saved");
    let collector = GarbageCollector {
        repository: turns.shared_repository(),
        store,
        clock: Arc::new(SystemClock::new()),
        threshold_days: 90,
    };
    let go = AtomicBool::new(false);
    assert_eq!(collector.run_once(&go), Ok(0), "no row is scored");
    let updates: Vec<RowUpdate> = (1..=last.0)
        .map(|row| RowUpdate {
            row_id: RowId(row),
            raw_anomaly_score: 0.0,
            anomaly_score: 0.0,
            display_value: 0,
            best_predictions: None,
            detection: RowDetection::default(),
        })
        .collect();
    let completed = turns.repository().transact(&mut |tx| tx.complete_rows(&stored.uid, &updates).map(drop));
    completed.expect("completed");
    files.take_opened();
    assert_eq!(collector.run_once(&go), Ok(ROWS - 1));
    assert_eq!(files.take_opened().len(), 1);
}
