//! Promise: models of `enableClassifier` and of `completeModelParams` are made, used and refused as the original's were.
//!
//! These restate what `custom_datasource_adapter_test.py` and `model_runner_test.py` of htmengine ask about such models.

use std::sync::Arc;

use htm_core::encoder::Record;
use htm_tests::recording::series;
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, rows, status, wait_for_rows, wait_for_scores};
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::bus::message::ResultMessage;
use htmengine::clock::{Clock, SystemClock};
use htmengine::model_params::{ModelSpec, SpecError};
use htmengine::monitoring::{self, SystemRandom};
use htmengine::operations::Operations;
use htmengine::repository::Repository;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::MetricRow;
use serde_json::{Value, json};

fn monitor_by(repository: &dyn Repository, spec: &Value) -> MetricStatus {
    let random = SystemRandom::open().expect("/dev/urandom");
    let spec = ModelSpec::from_json(&spec.to_string()).unwrap_or_else(|error| panic!("{error}"));
    monitoring::in_transaction::<_, monitoring::MonitorError>(repository, |tx| {
        let metric = monitoring::create_metric(tx, &spec.metric_name, &random)?;
        monitoring::monitor(tx, &metric, &spec, &random)
    })
    .expect("monitored")
}

fn samples(count: usize) -> Vec<Record> {
    series("nyc_taxi").into_iter().map(|(_, record)| record).take(count).collect()
}

/// A configuration of all numbers, as one that a client would keep in a file: one scalar encoder, and date encoders that
/// are left out; without `clEnable`.
fn model_config(fieldname: &str) -> Value {
    json!({
        "model": "HTMPrediction",
        "version": 1,
        "predictAheadTime": null,
        "aggregationInfo": {"seconds": 0, "minutes": 0, "hours": 0, "fields": []},
        "modelParams": {
            "inferenceType": "TemporalAnomaly",
            "sensorParams": {
                "verbosity": 0,
                "sensorAutoReset": null,
                "encoders": {
                    fieldname: {"type": "ScalarEncoder", "fieldname": fieldname, "name": fieldname,
                                "minval": 0.0, "maxval": 50_000.0, "n": 272, "w": 21, "clipInput": true},
                    "timestamp_timeOfDay": null,
                    "timestamp_dayOfWeek": null,
                    "timestamp_weekend": null,
                },
            },
            "spEnable": true,
            "spParams": {"spatialImp": "cpp", "columnCount": 2048, "globalInhibition": 1, "inputWidth": 0,
                         "numActiveColumnsPerInhArea": 40, "potentialPct": 0.8, "seed": 1956,
                         "synPermActiveInc": 0.003, "synPermConnected": 0.2, "synPermInactiveDec": 0.0005,
                         "boostStrength": 0.0, "spVerbosity": 0},
            "tmEnable": true,
            "tmParams": {"temporalImp": "cpp", "columnCount": 2048, "cellsPerColumn": 32, "inputWidth": 2048,
                         "activationThreshold": 13, "minThreshold": 10, "newSynapseCount": 20,
                         "initialPerm": 0.21, "permanenceInc": 0.1, "permanenceDec": 0.1,
                         "maxSegmentsPerCell": 128, "maxSynapsesPerSegment": 32, "globalDecay": 0.0,
                         "maxAge": 0, "pamLength": 3, "outputType": "normal", "seed": 1960, "verbosity": 0},
            "clParams": {"regionName": "SDRClassifierRegion", "alpha": 0.035, "steps": "1", "verbosity": 0},
            "trainSPNetOnlyIfRequested": false,
            "anomalyParams": {"anomalyCacheRecords": null, "autoDetectThreshold": null,
                              "autoDetectWaitRecords": 2184},
        },
    })
}

fn complete_spec(metric: &str, encoder: &str) -> Value {
    json!({
        "datasource": "custom",
        "metricSpec": {"metric": metric},
        "completeModelParams": {
            "modelConfig": model_config(encoder),
            "inferenceArgs": {"predictionSteps": [1], "predictedField": "volume", "inputPredictedField": "auto"},
            "timestampFieldName": "timestamp",
            "valueFieldName": "volume",
        },
    })
}

fn refused(spec: &Value) -> SpecError {
    ModelSpec::from_json(&spec.to_string()).expect_err("refused")
}

#[test]
fn complete_model_params_are_refused_with_the_originals_texts() {
    let whole = complete_spec("m", "volume");
    let without = |key: &str| {
        let mut spec = whole.clone();
        spec["completeModelParams"].as_object_mut().expect("an object").remove(key).expect("was there");
        spec
    };
    let mut both = whole.clone();
    both["modelParams"] = json!({"min": 0, "max": 100});
    let mut mismatch = whole.clone();
    mismatch["completeModelParams"]["valueFieldName"] = "bar".into();
    for (spec, start) in [
        (both, "Specify either modelParams or completeModelParams but not both."),
        (without("inferenceArgs"), "inferenceArgs must be specified in completeModelParams."),
        (without("timestampFieldName"), "timestampFieldName must be specified in completeModelParams."),
        (without("valueFieldName"), "valueFieldName must be specified in completeModelParams."),
        (mismatch, "Inference args' predictedField must match complete model params' valueFieldName"),
    ] {
        let said = refused(&spec).to_string();
        assert!(said.starts_with(start), "{said}");
    }
    ModelSpec::from_json(&whole.to_string()).expect("nothing is wrong with it");
}

/// Predictions and scores of rows.
fn told(rows: &[MetricRow]) -> Vec<(Option<String>, Option<u64>, Option<u64>)> {
    let bits = |score: Option<f64>| score.map(f64::to_bits);
    let predictions = |row: &MetricRow| row.best_predictions.as_ref().map(|text| format!("{text:?}"));
    rows.iter().map(|row| (predictions(row), bits(row.raw_anomaly_score), bits(row.anomaly_score))).collect()
}

#[test]
fn complete_model_params_start_a_model_at_once() {
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    let spec = complete_spec("volume", "volume");
    // Without a row, and without a range: both are needed for any other model.
    assert_eq!(monitor_by(repository, &spec), MetricStatus::CreatePending);
    wait_until("the model", || status(repository, "volume") == Some(MetricStatus::Active));
    let stored = metric(repository, "volume").expect("stored");
    let parameters: Value = serde_json::from_str(&stored.parameters.expect("monitored")).expect("JSON");
    assert_eq!(parameters, spec, "kept as it was asked for");
    let params: Value = serde_json::from_str(&stored.model_params.expect("started")).expect("JSON");
    assert_eq!(params["modelConfig"], model_config("volume"));
    assert_eq!(params["inputRecordSchema"], json!([["timestamp", "datetime", "T"], ["volume", "float", ""]]));
    let samples = samples(120);
    send(running.address(), lines("volume", &samples).as_bytes());
    let rows = wait_for_scores(repository, "volume", samples.len());
    assert_eq!(rows[0].raw_anomaly_score, Some(1.0), "nothing is expected of a first record");
    assert!(rows.iter().any(|row| row.raw_anomaly_score < Some(0.5)), "it learns");
}

#[test]
fn a_classifier_predicts_and_its_predictions_are_stored() {
    let samples = samples(160);
    let spec = json!({"datasource": "custom", "metricSpec": {"metric": "taxi"},
                      "modelParams": {"min": 0, "max": 40_000, "enableClassifier": true}});
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = RunningEngine::start_in(folder.path(), |_| {});
    let repository = running.repository();
    let mut results = running.engine().bus().results().subscribe();
    assert_eq!(monitor_by(repository, &spec), MetricStatus::CreatePending);
    let stored = metric(repository, "taxi").expect("stored");
    let params: Value = serde_json::from_str(&stored.model_params.expect("started")).expect("JSON");
    assert_eq!(params["modelConfig"]["modelParams"]["clEnable"], true);
    send(running.address(), lines("taxi", &samples[..80]).as_bytes());
    let first = wait_for_scores(repository, "taxi", 80);
    let mut published = Vec::new();
    wait_for("all rows among the results", || {
        let message = results.receive(std::time::Duration::from_millis(100)).expect("an open bus")?;
        if let ResultMessage::Inference(message) = message {
            published.extend(message.results.into_iter().map(|row| row.multi_step_best_predictions));
        }
        (published.len() == 80).then_some(())
    });
    let in_rows: Vec<_> = first.iter().map(|row| row.best_predictions.clone()).collect();
    assert_eq!(published, in_rows, "published as they are stored");
    assert!(in_rows.iter().skip(1).all(Option::is_some), "every row after the first has some");
    running.stop();

    // Stopped and started again, predictions and scores are those of an engine that was never stopped.
    let running = RunningEngine::start_in(folder.path(), |_| {});
    send(running.address(), lines("taxi", &samples[80..]).as_bytes());
    let stopped = wait_for_scores(running.repository(), "taxi", samples.len());
    let whole = RunningEngine::start(|_| {});
    monitor_by(whole.repository(), &spec);
    send(whole.address(), lines("taxi", &samples).as_bytes());
    assert_eq!(told(&stopped), told(&wait_for_scores(whole.repository(), "taxi", samples.len())));
}

#[test]
fn a_model_that_cannot_read_its_rows_puts_its_metric_into_error() {
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    // Nobody reads encoders when a model is defined, neither here nor in the original.
    assert_eq!(monitor_by(repository, &complete_spec("odd", "foo")), MetricStatus::CreatePending);
    wait_until("the model", || status(repository, "odd") == Some(MetricStatus::Active));
    let samples = samples(3);
    send(running.address(), lines("odd", &samples[..2]).as_bytes());
    wait_until("the error", || status(repository, "odd") == Some(MetricStatus::Error));
    let message = metric(repository, "odd").expect("stored").message.expect("a reason");
    assert!(message.contains("foo"), "the field is named: {message}");
    // Later samples are stored, for a model that somebody may start with better parameters.
    send(running.address(), lines("odd", &samples[2..]).as_bytes());
    wait_for_rows(repository, "odd", 3);
    let uid = metric(repository, "odd").expect("stored").uid;
    monitoring::in_transaction(repository, |tx| monitoring::unmonitor(tx, &uid)).expect("unmonitored");
    monitor_by(repository, &complete_spec("odd", "volume"));
    wait_for_scores(repository, "odd", 3);
    assert!(rows(repository, "odd").iter().all(|row| row.raw_anomaly_score.is_some()));
    assert_eq!(metric(repository, "odd").expect("stored").message, None);
}

/// The operations of HTTP and command line, over a running engine's database.
fn operations(running: &RunningEngine) -> Operations {
    let random = SystemRandom::open().expect("/dev/urandom");
    let repository = Arc::clone(running.engine().repository());
    Operations::new(repository, None, Arc::new(SystemClock::new()), Arc::new(random))
}

#[test]
fn activating_keeps_the_classifier() {
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    let spec = json!({"datasource": "custom", "metricSpec": {"metric": "few"},
                      "modelParams": {"enableClassifier": true}});
    assert_eq!(monitor_by(repository, &spec), MetricStatus::PendingData);
    let samples = samples(3);
    send(running.address(), lines("few", &samples[..2]).as_bytes());
    wait_for_rows(repository, "few", 2);
    let activated = operations(&running).activate_model("few").expect("activated");
    assert_eq!(activated.status, MetricStatus::CreatePending);
    let stored = metric(repository, "few").expect("stored");
    let params: Value = serde_json::from_str(&stored.model_params.expect("started")).expect("JSON");
    assert_eq!(params["modelConfig"]["modelParams"]["clEnable"], true);
    send(running.address(), lines("few", &samples[2..]).as_bytes());
    let rows = wait_for_scores(repository, "few", samples.len());
    assert!(rows[2].best_predictions.is_some());
    assert_eq!(status(repository, "few"), Some(MetricStatus::Active));
}

#[test]
fn complete_model_params_survive_export_and_import() {
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    let operations = operations(&running);
    let spec = complete_spec("volume", "volume");
    monitor_by(repository, &spec);
    // An export has the last days only.
    let now = SystemClock::new().unix_seconds();
    let recent: Vec<Record> = (1..)
        .zip(samples(40))
        .map(|(number, sample)| Record { timestamp: now - 86_400 + 300 * number, ..sample })
        .collect();
    send(running.address(), lines("volume", &recent).as_bytes());
    let before = wait_for_scores(repository, "volume", recent.len());
    let export = operations.export_model("volume").expect("exported");
    assert_eq!(export["completeModelParams"], spec["completeModelParams"]);
    assert_eq!(export["data"].as_array().map(Vec::len), Some(recent.len()));
    operations.delete_metric("volume").expect("deleted");
    let imported = operations.import_model(&export.to_string()).expect("imported");
    assert_eq!(imported.status, MetricStatus::CreatePending);
    let stored = metric(repository, "volume").expect("made anew");
    let parameters: Value = serde_json::from_str(&stored.parameters.expect("monitored")).expect("JSON");
    assert_eq!(parameters, spec);
    let after = wait_for_scores(repository, "volume", recent.len());
    assert_eq!(told(&after), told(&before), "the same rows, the same model, the same scores");
    assert_eq!(operations.export_model("volume").expect("exported"), export);
}
