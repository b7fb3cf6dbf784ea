//! Promise: a metric's model may be any that the original could be asked for: with a classifier, with all parameters
//! given, with the plain temporal memory, or one that the original itself had started. Scores and predictions are those
//! of a lone model, whatever was saved and restarted in between; a model that no row fits says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::{ModelParams, ValueRange};
use htm_tests::hand_clock::HandClock;
use htm_tests::lone_run::{LoneScores, assert_scored};
use htm_tests::program::{run, succeed};
use htm_tests::recording::{params_with, series};
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, rows, status, wait_for_rows, wait_for_scores};
use htm_tests::turn_by_turn::TurnByTurn;
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::best_predictions::BestPredictions;
use htmengine::model_params::ModelSpec;
use htmengine::monitoring::{self, SystemRandom};
use htmengine::repository::Repository;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::MetricRow;
use htmengine::scheduler::rescan::RESCAN_INTERVAL;
use serde_json::{Value, json};

/// Resolution 1.
const RANGE: ValueRange = ValueRange { min: 0.0, max: 130.0 };

fn samples(count: usize) -> Vec<Record> {
    series("ec2_cpu_utilization_5f5533").into_iter().map(|(_, record)| record).take(count).collect()
}

fn monitor(repository: &dyn Repository, spec: &ModelSpec) {
    let random = SystemRandom::open().expect("/dev/urandom");
    monitoring::in_transaction::<_, monitoring::MonitorError>(repository, |tx| {
        let metric = monitoring::create_metric(tx, &spec.metric_name, &random)?;
        monitoring::monitor(tx, &metric, spec, &random)
    })
    .expect("monitored");
}

/// Sends the samples in two lives of the engine, and compares all rows with a model that has nothing else to do.
fn check_against_a_lone_model(spec: &ModelSpec, params: ModelParams) -> Vec<MetricRow> {
    let name = &*spec.metric_name;
    let samples = samples(260);
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(folder.path());
    monitor(first.repository(), spec);
    send(first.address(), lines(name, &samples[..150]).as_bytes());
    wait_for_scores(first.repository(), name, 150);
    first.stop();
    let second = start(folder.path());
    send(second.address(), lines(name, &samples[150..]).as_bytes());
    let rows = wait_for_scores(second.repository(), name, samples.len());
    second.stop();
    check_rows(name, &rows, &samples, params);
    rows
}

fn start(folder: &Path) -> RunningEngine {
    RunningEngine::start_in(folder, |options| options.checkpoint_rows = 40)
}

fn check_rows(name: &str, rows: &[MetricRow], samples: &[Record], params: ModelParams) {
    let mut model = Model::new(Arc::new(params), &Templates::new());
    let mut workspace = Workspace::new();
    let scores: Vec<_> = (1..)
        .zip(samples)
        .map(|(row, &record)| model.step(&mut workspace, RowId(row), record).expect("a usable sample"))
        .collect();
    assert_scored(name, rows, &scores.iter().map(LoneScores::from).collect::<Vec<_>>());
    for (row, scores) in rows.iter().zip(scores) {
        let expected = scores.best_predictions;
        let expected = (!expected.is_empty()).then(|| BestPredictions::new(expected));
        assert_eq!(row.best_predictions, expected, "{name}: predictions of row {}", row.row_id);
    }
}

/// `completeModelParams` of a standard model of resolution 1, with another temporal memory.
fn complete_params(temporal_memory: &Value) -> Value {
    json!({
        "timestampFieldName": "when", "valueFieldName": "load",
        "inferenceArgs": {"predictedField": "load", "predictionSteps": [1], "inputPredictedField": "auto"},
        "modelConfig": {
            "model": "HTMPrediction", "version": 1,
            "modelParams": {
                "inferenceType": "TemporalAnomaly", "clEnable": false,
                "sensorParams": {"encoders": {
                    "a": {"type": "DateEncoder", "fieldname": "when", "timeOfDay": [21, 9.49]},
                    "b": {"type": "RandomDistributedScalarEncoder", "fieldname": "load", "resolution": 1.0}
                }},
                "spParams": {},
                "tmParams": temporal_memory
            }
        }
    })
}

fn spec_with(name: &str, complete: &Value) -> ModelSpec {
    ModelSpec { complete_model_params: complete.as_object().cloned(), ..ModelSpec::for_metric(name) }
}

#[test]
fn a_classifier_predicts_the_next_value() {
    let spec = ModelSpec { range: Some(RANGE), enable_classifier: true, ..ModelSpec::for_metric("cpu") };
    let params = params_with("cpp", RANGE.resolution(None));
    let params = params.with_classifier(htm_core::classifier::ClassifierParams::standard()).expect("usable");
    let rows = check_against_a_lone_model(&spec, params);
    let predicted = rows.iter().filter_map(|row| row.best_predictions.as_ref()?.iter().next()?.1).count();
    assert!(predicted > 200, "{predicted} of {} rows", rows.len());
}

#[test]
fn a_repeating_metric_is_predicted_well() {
    let running = RunningEngine::start(|_| {});
    let spec = ModelSpec { range: Some(RANGE), enable_classifier: true, ..ModelSpec::for_metric("steps") };
    monitor(running.repository(), &spec);
    let value = |row: i64| f64::from(u8::try_from(row % 5 * 20).expect("small"));
    let samples: Vec<Record> =
        (0..400).map(|row| Record { timestamp: row * 3600, value: value(row) }).collect();
    send(running.address(), lines("steps", &samples).as_bytes());
    let rows = wait_for_scores(running.repository(), "steps", samples.len());
    let is_right = |row: &&MetricRow| {
        let predicted = row.best_predictions.as_ref().and_then(|predictions| predictions.iter().next());
        predicted == Some((1, Some(value(row.row_id.0))))
    };
    let right = rows[300..].iter().filter(is_right).count();
    assert!(right >= 95, "{right} of the last 100 predictions are right");
    running.stop();
}

#[test]
fn all_parameters_may_be_given() {
    let complete = complete_params(&json!({"temporalImp": "cpp"}));
    let spec = spec_with("complete", &complete);
    let params = spec.complete_params().expect("supported").expect("given");
    check_against_a_lone_model(&spec, params);
}

/// 643 bits in all, of which 84 are set.
#[test]
fn the_day_of_the_week_and_the_weekend_may_be_read_beside_the_time_of_day() {
    let mut complete = complete_params(&json!({"temporalImp": "cpp"}));
    complete["modelConfig"]["modelParams"]["sensorParams"]["encoders"]["a"] = json!({
        "type": "DateEncoder", "fieldname": "when", "timeOfDay": [21, 9.49], "dayOfWeek": [21, 1], "weekend": 21
    });
    let spec = spec_with("week", &complete);
    let params = spec.complete_params().expect("supported").expect("given");
    assert_eq!(params.encoder().width(), 54 + 147 + 42 + 400);
    let rows = check_against_a_lone_model(&spec, params);
    let predicted = rows.iter().filter(|row| row.raw_anomaly_score.is_some_and(|score| score < 0.5)).count();
    assert!(predicted > 20, "{predicted} of {} rows are predicted by half", rows.len());
}

#[test]
fn the_plain_memory_may_be_asked_for() {
    let spec = spec_with("plain", &complete_params(&json!({"temporalImp": "tm_cpp"})));
    let params = spec.complete_params().expect("supported").expect("given");
    let standard = params_with("tm_cpp", 1.0);
    assert_eq!(params.memory(), standard.memory());
    check_against_a_lone_model(&spec, params);
}

/// A database that the original left behind: an active metric whose `model_params` it wrote.
#[test]
fn a_model_of_the_original_goes_on_from_its_rows() {
    let complete = complete_params(&json!({"temporalImp": "cpp"}));
    let text = json!({
        "modelConfig": complete["modelConfig"], "inferenceArgs": complete["inferenceArgs"],
        "inputRecordSchema": [["when", "datetime", "T"], ["load", "float", ""]],
        "anomalyLikelihoodParams": {"last_rowid_for_stats": 5, "params": {}}
    });
    let samples = samples(120);
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(folder.path());
    send(first.address(), lines("old", &samples).as_bytes());
    wait_for_rows(first.repository(), "old", samples.len());
    let repository = first.repository();
    let uid = metric(repository, "old").expect("stored").uid;
    repository
        .transact(&mut |tx| {
            tx.set_status(&uid, &[MetricStatus::Unmonitored], MetricStatus::Active, None)?;
            let spec = spec_with("old", &complete).to_json();
            tx.set_model(&uid, Some(&spec), Some(&text.to_string()))
        })
        .expect("as the original left it");
    first.stop();
    let second = start(folder.path());
    let rows = wait_for_scores(second.repository(), "old", samples.len());
    let params = spec_with("old", &complete).complete_params().expect("supported").expect("given");
    check_rows("old", &rows, &samples, params);
    second.stop();
}

/// A client of the original knows no table of changes, and its models have no name of their life: what was known of the model
/// was kept, and its old parameters with it.
#[test]
fn a_metric_that_the_original_monitors_anew_gets_its_new_parameters() {
    let complete = |memory: &str| complete_params(&json!({"temporalImp": memory}));
    let samples = samples(40);
    let clock = Arc::new(HandClock::default());
    let mut turns = TurnByTurn::new(Arc::clone(&clock) as _);
    turns.options.rescan_interval = Some(RESCAN_INTERVAL);
    monitor(turns.repository(), &spec_with("old", &complete("cpp")));
    let uid = metric(turns.repository(), "old").expect("stored").uid;
    let start_as_the_original = |memory: &str| {
        let complete = complete(memory);
        let text = json!({
            "modelConfig": complete["modelConfig"], "inferenceArgs": complete["inferenceArgs"],
            "inputRecordSchema": [["when", "datetime", "T"], ["load", "float", ""]],
        });
        let started = turns.repository().transact(&mut |tx| {
            tx.set_status(&uid, &[MetricStatus::Active], MetricStatus::CreatePending, None)?;
            tx.clear_scores(&uid)?;
            let spec = spec_with("old", &complete).to_json();
            tx.set_model(&uid, Some(&spec), Some(&text.to_string()))
        });
        started.expect("as the original does it");
    };
    start_as_the_original("cpp");
    turns.add("old", &samples);
    let mut scheduler = turns.scheduler();
    // The last with nothing but a new life, of equal parameters.
    for memory in ["cpp", "tm_cpp", "tm_cpp"] {
        start_as_the_original(memory);
        for _ in 0..20 {
            clock.pass(RESCAN_INTERVAL / 4);
            scheduler.run_once(Duration::ZERO).expect("nothing is away");
            turns.commit_scores();
        }
        assert_eq!(status(turns.repository(), "old"), Some(MetricStatus::Active), "{memory}");
        let params =
            spec_with("old", &complete(memory)).complete_params().expect("supported").expect("given");
        check_rows(memory, &rows(turns.repository(), "old"), &samples, params);
    }
}

/// The original's own test data: a model whose encoder reads a field that no row has becomes active, and fails with its
/// first row.
#[test]
fn a_model_that_no_row_fits_says_which_field_is_missing() {
    let mut complete = complete_params(&json!({"temporalImp": "cpp"}));
    complete["modelConfig"]["modelParams"]["sensorParams"]["encoders"] = json!({
        "volume": {"type": "ScalarEncoder", "fieldname": "volume", "minval": 0, "maxval": 5000, "n": 272, "w": 21}
    });
    let running = RunningEngine::start(|_| {});
    monitor(running.repository(), &spec_with("foo", &complete));
    wait_until("the model is made", || status(running.repository(), "foo") == Some(MetricStatus::Active));
    send(running.address(), b"foo 1 100\n");
    let message = wait_for("an error", || {
        let metric = metric(running.repository(), "foo")?;
        (metric.status == MetricStatus::Error).then_some(metric.message?)
    });
    assert!(message.contains("the field `volume`"), "{message}");
    running.stop();
}

/// A model that refuses values above 100.
fn narrow_spec(name: &str) -> ModelSpec {
    let mut complete = complete_params(&json!({"temporalImp": "cpp"}));
    complete["modelConfig"]["modelParams"]["sensorParams"]["encoders"]["b"] = json!({
        "type": "ScalarEncoder", "fieldname": "load", "minval": 0, "maxval": 100, "n": 400, "w": 21
    });
    spec_with(name, &complete)
}

/// How the rows that a model scores before it refuses one come to be stepped.
#[derive(Debug, Clone, Copy)]
enum Batching {
    Together,
    /// A turn for each, with scores committed in between.
    Committed,
    /// The same, with scores committed only in the end.
    Uncommitted,
}

/// Scores that a share had made before the refused row were dropped with the model, and those on their way were dropped by the
/// anomaly role, for their metric was in error already.
#[test]
fn rows_before_a_refused_one_are_scored_however_they_come() {
    const GOOD: usize = 5;
    let spec = narrow_spec("narrow");
    let record =
        |row: usize, value: f64| Record { timestamp: i64::try_from(row).expect("small") * 300, value };
    let mut samples: Vec<Record> = (1..=GOOD).map(|row| record(row, 50.0)).collect();
    samples.extend([record(GOOD + 1, 101.0), record(GOOD + 2, 50.0)]);
    let params = spec.complete_params().expect("supported").expect("given");
    for batching in [Batching::Together, Batching::Committed, Batching::Uncommitted] {
        // A share that has no time to run out of takes all rows in one turn.
        let turns = TurnByTurn::new(Arc::new(HandClock::default()));
        monitor(turns.repository(), &spec);
        let mut scheduler = turns.scheduler();
        let mut turn = || {
            scheduler.run_once(Duration::ZERO).expect("nothing is away");
        };
        turn();
        turns.commit_scores();
        let at_once = if matches!(batching, Batching::Together) { samples.len() } else { 1 };
        for part in samples.chunks(at_once) {
            turns.add("narrow", part);
            turn();
            if matches!(batching, Batching::Committed) {
                turns.commit_scores();
            }
        }
        turns.commit_scores();
        turn();
        let metric = metric(turns.repository(), "narrow").expect("stored");
        assert_eq!(metric.status, MetricStatus::Error, "{batching:?}");
        let message = metric.message.expect("a reason");
        assert!(message.contains("row 6: the value 101"), "{batching:?}: {message}");
        let rows = rows(turns.repository(), "narrow");
        check_rows(&format!("{batching:?}"), &rows[..GOOD], &samples[..GOOD], params.clone());
        assert!(rows[GOOD..].iter().all(|row| row.raw_anomaly_score.is_none()), "{batching:?}");
    }
}

/// A request for a checkpoint was not answered, nor any after it, before the last scores of such a model were committed: never,
/// where the anomaly role was down.
#[test]
fn a_model_that_refused_a_row_keeps_no_checkpoint_waiting() {
    const TURNS: usize = 20;
    let record = |row: i64, value: f64| Record { timestamp: row * 300, value };
    for is_asked_before in [false, true] {
        let mut turns = TurnByTurn::new(Arc::new(HandClock::default()));
        // One leaves memory with a row that its file has not.
        turns.options.max_resident_models = 1;
        for name in ["narrow", "other"] {
            monitor(turns.repository(), &narrow_spec(name));
        }
        let mut scheduler = turns.scheduler();
        let mut take_turns = || {
            for _ in 0..TURNS {
                scheduler.run_once(Duration::ZERO).expect("nothing is away");
            }
        };
        take_turns();
        for name in ["narrow", "other"] {
            turns.add(name, &[record(1, 50.0)]);
            take_turns();
            turns.commit_scores();
        }
        turns.add("narrow", &[record(2, 50.0), record(3, 101.0)]);
        if !is_asked_before {
            take_turns();
        }
        let ticket = turns.desk().ask();
        take_turns();
        let answer = turns.desk().take_answer(ticket).expect("nothing is to be waited for");
        assert_eq!((answer.saved, answer.failed), (1, 0), "asked before: {is_asked_before}, {answer:?}");
        assert!(turns.model_file("other").exists());
        turns.commit_scores();
        take_turns();
        assert_eq!(status(turns.repository(), "narrow"), Some(MetricStatus::Error));
    }
}

#[test]
fn the_command_line_asks_for_parameters_and_classifier() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().to_str().expect("a plain path");
    let file = folder.path().join("params.json");
    std::fs::write(&file, complete_params(&json!({"temporalImp": "tm_cpp"})).to_string()).expect("written");
    let file = file.to_str().expect("a plain path");
    succeed(["monitor", "plain", "--params", file, "--data-dir", data_dir]);
    let range = ["--min", "0", "--max", "130"];
    let classified = ["monitor", "classified", "--enable-classifier", "--data-dir", data_dir];
    succeed(classified.into_iter().chain(range));
    let running = start(folder.path());
    let samples = samples(20);
    for name in ["plain", "classified"] {
        send(running.address(), lines(name, &samples).as_bytes());
        wait_for_scores(running.repository(), name, samples.len());
    }
    let uid = |name: &str| metric(running.repository(), name).expect("stored").uid.as_str().to_owned();
    let (plain, classified) = (uid("plain"), uid("classified"));
    running.stop();
    for (uid, memory, classifier) in [(plain, "tm_cpp", "none"), (classified, "cpp", "steps [1]")] {
        let path = folder.path().join("models").join(&uid[..2]).join(format!("{uid}.model"));
        let shown = succeed(["inspect", path.to_str().expect("a plain path")]);
        assert!(shown.contains(&format!("temporal memory   {memory}\n")), "{shown}");
        assert!(shown.contains(&format!("classifier        {classifier}\n")), "{shown}");
    }
    std::fs::write(file, "{}").expect("written");
    let failed = run(["monitor", "other", "--params", file, "--data-dir", data_dir]);
    assert!(failed.stderr.contains("inferenceArgs must be specified in completeModelParams."), "{failed:?}");
}
