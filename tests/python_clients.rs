//! Promise: the four uses that applications made of htmengine from Python work with an engine of ours, over a real broker
//! and a real database: publishing samples, asking for a model, reading rows, consuming results.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use htm_core::encoder::Record;
use htm_tests::lone_run::{assert_scored, assert_stored, scores};
use htm_tests::program::Server;
use htm_tests::python::{run, succeed};
use htm_tests::recording::series;
use htm_tests::sender::lines;
use htm_tests::services::Services;
use htm_tests::stored::{metric, status, wait_for_rows, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::best_predictions::BestPredictions;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::MetricRow;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An engine over services of its own.
struct Installation {
    services: Services,
    server: Server,
    _folder: TempDir,
}

impl Installation {
    fn start() -> Self {
        let services = Services::fresh();
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("htmengine.toml");
        fs::write(&config, "http = \"127.0.0.1:0\"\nweb_app = \"127.0.0.1:0\"\n").expect("written");
        let config = config.display().to_string();
        let arguments = ["--no-monitor", "--config", &config].map(str::to_owned);
        let server = Server::start(folder.path(), arguments.into_iter().chain(services.flags()));
        Self { services, server, _folder: folder }
    }

    fn url(&self, announced: &str) -> String {
        let address: SocketAddr = self.server.announced(announced);
        format!("http://{address}")
    }

    fn publish(&self, arguments: &[&str], input: &str) -> String {
        let broker = self.services.broker_url();
        succeed("publish_samples.py", [&["--broker", &broker], arguments].concat(), input)
    }

    fn consume(&self, arguments: &[&str]) -> Vec<Value> {
        let broker = self.services.broker_url();
        let shared = ["--broker", &broker, "--queue", "an.application"];
        let printed = succeed("consume_results.py", [&shared[..], arguments].concat(), "");
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The metric and its rows.
    fn read(&self, arguments: &[&str]) -> (Value, Vec<Value>) {
        let database = &self.services.database;
        let port = database.port.to_string();
        let shared = ["--host", &database.host, "--port", &port, "--database", &database.database];
        let printed = succeed("read_metric_data.py", [&shared[..], arguments].concat(), "");
        let mut lines = printed.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        (lines.next().expect("the metric"), lines.collect())
    }
}

fn samples(name: &str, count: usize) -> Vec<Record> {
    series(name).into_iter().map(|(_, record)| record).take(count).collect()
}

/// What a client reads of a row.
fn as_read(row: &MetricRow) -> Value {
    json!({
        "rowid": row.row_id.0,
        "timestamp": htmengine::timestamp::format_seconds(row.timestamp).expect("a time"),
        "metric_value": row.value,
        "raw_anomaly_score": row.raw_anomaly_score,
        "anomaly_score": row.anomaly_score,
        "display_value": row.display_value,
        "multi_step_best_predictions": BestPredictions::column_text(row.best_predictions.as_ref()),
    })
}

#[test]
fn an_application_publishes_reads_and_consumes_as_it_did() {
    let installation = Installation::start();
    let repository = installation.services.repository();
    // The queue is there before anything happens, so that nothing is missed.
    assert!(installation.consume(&["--bind-only"]).is_empty());

    let samples = samples("speed_7578", 320);
    let (first, rest) = samples.split_at(1);
    let value = htm_core::float_text::repr(first[0].value);
    let said = installation.publish(&["cpu.percent", &value, &first[0].timestamp.to_string()], "");
    assert_eq!(said, "published 1 samples in 1 messages to htmengine.metric.custom.data\n");
    wait_for_rows(&*repository, "cpu.percent", 1);
    assert_eq!(status(&*repository, "cpu.percent"), Some(MetricStatus::Unmonitored));

    let api = installation.url("HTTP API: http://");
    let asked = ["--min", "0", "--max", "100", "--resource", "web1", "--unit", "Percent"];
    let user_info = ["--user-info", r#"{"symbol": "X"}"#, "cpu.percent"];
    let arguments = [&["--api", &api], &asked[..], &user_info].concat();
    let uid = succeed("create_model.py", arguments.clone(), "");
    let found = metric(&*repository, "cpu.percent").expect("stored");
    assert_eq!(uid.trim(), found.uid.as_str());
    let again = run("create_model.py", arguments, "");
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("409") && said.contains("MetricAlreadyMonitored"), "{said}");

    let said = installation.publish(&[], &lines("cpu.percent", rest));
    assert_eq!(said, "published 319 samples in 2 messages to htmengine.metric.custom.data\n");
    let rows = wait_for_scores(&*repository, "cpu.percent", samples.len());
    assert_stored("published from Python", &rows, &samples);
    let range = htm_core::params::ValueRange::new(0.0, 100.0).expect("a range");
    assert_scored("published from Python", &rows, &scores(&samples, range));

    let (metric, read) = installation.read(&["cpu.percent"]);
    assert_eq!(read, rows.iter().map(as_read).collect::<Vec<_>>(), "every bit of every double");
    assert_eq!((&metric["uid"], &metric["status"]), (&uid.trim().into(), &1.into()));
    assert_eq!(metric["server"], "web1");
    let metric_spec =
        json!({"metric": "cpu.percent", "resource": "web1", "unit": "Percent", "userInfo": {"symbol": "X"}});
    let model_params = json!({"min": 0.0, "max": 100.0});
    let spec = json!({"datasource": "custom", "metricSpec": metric_spec, "modelParams": model_params});
    assert_eq!(metric["parameters"], spec);
    let (_, high) = installation.read(&["--min-score", "0.9", "--after", "50", "cpu.percent"]);
    let expected = rows.iter().filter(|row| row.row_id.0 > 50 && row.anomaly_score >= Some(0.9));
    assert_eq!(high, expected.map(as_read).collect::<Vec<_>>());

    let mut consumed = installation.consume(&["--idle-seconds", "3"]);
    let command = consumed.remove(0);
    assert_eq!(command["kind"], "command");
    assert_eq!(command["message"]["modelInfo"]["modelSpec"], spec);
    assert_eq!(command["message"]["modelId"], uid.trim());
    let mut published = BTreeMap::new();
    for message in consumed {
        assert_eq!(
            (&message["kind"], &message["message"]["metric"]["spec"]),
            (&"inference".into(), &metric_spec)
        );
        for row in message["message"]["results"].as_array().expect("rows") {
            published.insert(row["rowid"].as_i64().expect("a number"), row.clone());
        }
    }
    let expected = rows.iter().map(|row| {
        #[expect(clippy::cast_precision_loss, reason = "unix seconds are exact in an f64")]
        let time = row.timestamp as f64;
        let scores = (row.raw_anomaly_score, row.anomaly_score);
        let row_id = row.row_id.0;
        let row = json!({"rowid": row_id, "ts": time, "value": row.value, "rawAnomaly": scores.0,
                         "anomaly": scores.1, "multiStepBestPredictions": null});
        (row_id, row)
    });
    assert_eq!(published, expected.collect::<BTreeMap<_, _>>());
}

#[test]
fn a_client_of_the_web_application_gets_a_model_with_predictions() {
    let installation = Installation::start();
    let repository = installation.services.repository();
    installation.consume(&["--bind-only"]);
    let web_app = installation.url("web application: http://");
    let asked = ["--min", "0", "--max", "40000", "--enable-classifier", "taxi;city=nyc"];
    let arguments = [&["--web-app", &web_app], &asked[..]].concat();
    let uid = succeed("create_model.py", arguments.clone(), "");
    let found = metric(&*repository, "taxi;city=nyc").expect("made by name alone");
    assert_eq!(uid.trim(), found.uid.as_str());
    let again = run("create_model.py", arguments, "");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    wait_until("the model", || status(&*repository, "taxi;city=nyc") == Some(MetricStatus::Active));

    let samples = samples("nyc_taxi", 60);
    installation.publish(&[], &lines("taxi;city=nyc", &samples));
    let rows = wait_for_scores(&*repository, "taxi;city=nyc", samples.len());
    let (_, read) = installation.read(&["taxi;city=nyc"]);
    assert_eq!(read, rows.iter().map(as_read).collect::<Vec<_>>());
    let text = read[59]["multi_step_best_predictions"].as_str().expect("text");
    let predictions: Value = serde_json::from_str(text).expect("JSON");
    assert!(predictions["1"].is_f64(), "{text}");

    let consumed = installation.consume(&["--idle-seconds", "3"]);
    let results = consumed.iter().filter(|message| message["kind"] == "inference");
    let last = results.flat_map(|message| message["message"]["results"].as_array().expect("rows")).last();
    assert_eq!(last.expect("rows")["multiStepBestPredictions"], predictions);
}
