//! Promise: what the original's listener published makes our roles publish what the original published, over a real
//! broker and a real database; and the rows carry exactly the scores of a replay.
//!
//! One run serves all tests: the captured messages go to the data queue byte for byte, in the steps in which they were
//! captured, and every role is a process of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use flate2::read::{GzDecoder, ZlibDecoder};
use htm_tests::private_mariadb::runtime;
use htm_tests::program::{command, succeed};
use htm_tests::recording::{data_path, series_path, unix_seconds};
use htm_tests::services::Services;
use htm_tests::stored::{row_count, rows, scored_count};
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::repository::metric_data::MetricRow;
use htmengine::scheduler::workers::WAITING_PER_STEPPING;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const METRIC: &str = "nab.realKnownCause.nyc_taxi";
const MIN: f64 = -7829.8;
const MAX: f64 = 47034.8;
/// Captured samples.
const ROWS: i64 = 1513;
/// Rows whose results were captured.
const CAPTURED_RESULTS: i64 = 113;
/// Worker threads that the scheduler is told to have.
const CONCURRENCY: usize = 3;

/// A message of the results exchange, as a client sees it.
struct Published {
    /// Headers that are text; `None` where the message has no headers at all.
    headers: Option<Vec<(String, String)>>,
    /// Properties beside headers, which must be the delivery mode alone.
    properties: BasicProperties,
    /// As it came.
    packed: Vec<u8>,
    /// Unpacked.
    text: String,
}

/// What the run left behind.
struct Run {
    published: Vec<Published>,
    rows: Vec<MetricRow>,
    uid: String,
    /// `SELECT` of the columns that a client would read as text.
    texts: String,
}

/// The inference message's schema: these keys, all of them, no others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InferenceMessage {
    metric: MetricPart,
    results: Vec<ResultPart>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricPart {
    uid: String,
    #[serde(deserialize_with = "required")]
    name: Option<String>,
    #[serde(deserialize_with = "required")]
    description: Option<String>,
    #[serde(deserialize_with = "required")]
    resource: Option<String>,
    #[serde(deserialize_with = "required")]
    location: Option<String>,
    datasource: String,
    spec: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultPart {
    rowid: i64,
    ts: f64,
    value: f64,
    #[serde(rename = "rawAnomaly")]
    raw_anomaly: f64,
    anomaly: f64,
    #[serde(rename = "multiStepBestPredictions", deserialize_with = "required")]
    multi_step_best_predictions: Option<Map<String, Value>>,
}

/// The command result's schema: the two last keys may be missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CommandMessage {
    method: Method,
    model_id: String,
    command_id: String,
    status: i64,
    error_message: Option<String>,
    model_info: Option<ModelInfo>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Method {
    DefineModel,
    DeleteModel,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ModelInfo {
    metric_name: String,
    resource: String,
    model_spec: Map<String, Value>,
}

/// Without this a missing key would read as null.
fn required<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)
}

impl Published {
    fn is_command(&self) -> bool {
        self.headers.is_some()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }
}

/// Lines of a gzip file among the captures.
fn captured(name: &str) -> Vec<String> {
    let path = data_path(&format!("captures/{name}"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    BufReader::new(GzDecoder::new(file)).lines().map(|line| line.expect("text")).collect()
}

/// Captured results: body, and whether the header of commands was there.
fn captured_results() -> Vec<(bool, Value)> {
    captured("nyc_taxi_results.jsonl.gz")
        .iter()
        .map(|line| {
            let message: Value = serde_json::from_str(line).expect("JSON");
            let packed = from_base64(message["body_b64"].as_str().expect("text"));
            let body = serde_json::from_str(&unpacked(&packed)).expect("JSON");
            let properties = &message["properties"];
            assert_eq!(properties["delivery_mode"], 2);
            (properties["headers"]["dataType"] == "model-cmd-result", body)
        })
        .collect()
}

/// RFC 4648, without a check: the input is a file of ours.
fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter_map(|byte| (0_u32..).zip(ALPHABET).find(|(_, one)| **one == byte)) {
        bits = bits << 6 | digit.0;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff).to_le_bytes()[0]);
        }
    }
    bytes
}

fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    ZlibDecoder::new(packed).read_to_string(&mut text).expect("zlib");
    text
}

/// Processes of roles; killed when the run ends in whatever way.
struct Roles(Vec<Child>);

impl Roles {
    fn start(folder: &Path, services: &Services) -> Self {
        let concurrency = CONCURRENCY.to_string();
        let roles: [&[&str]; 4] = [
            &["anomaly"],
            &["scheduler", "--concurrency", &concurrency],
            &["storer"],
            &["listener", "--host", "127.0.0.1", "--port", "0"],
        ];
        let children = roles.map(|arguments| {
            let log = File::create(folder.join(format!("{}.log", arguments[0]))).expect("a file");
            let mut role = command(arguments);
            role.arg("--data-dir").arg(folder.join("data")).args(services.flags());
            role.stdout(Stdio::null()).stderr(log).spawn().expect("the program can be run")
        });
        Self(children.into())
    }

    /// Threads of the scheduler that step models.
    fn workers(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0[1].id())).expect("a running process");
        let names = tasks.map(|task| std::fs::read_to_string(task.expect("a thread").path().join("comm")));
        names.filter(|name| name.as_ref().is_ok_and(|name| name.starts_with("model worker"))).count()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Gone already, or a test that failed and reports its own reason.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client at the broker, as the seeds' programs are.
struct Client {
    channel: Channel,
    queue: String,
    _connection: Connection,
}

impl Client {
    fn connect(services: &Services) -> Self {
        let exchange = services.broker.results_exchange.as_str();
        let data_queue = services.broker.data_queue.as_str();
        runtime().block_on(async {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&services.broker_url(), properties).await.expect("a broker");
            let channel = connection.create_channel().await.expect("a channel");
            channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            for queue in ["audit", data_queue] {
                let declared = channel.queue_declare(queue.into(), durable, FieldTable::default()).await;
                declared.expect("a queue");
            }
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel
                .exchange_declare(exchange.into(), ExchangeKind::Fanout, durable, FieldTable::default())
                .await
                .expect("an exchange");
            let options = QueueBindOptions::default();
            channel
                .queue_bind("audit".into(), exchange.into(), "".into(), options, FieldTable::default())
                .await
                .expect("bound");
            Self { channel, queue: data_queue.to_owned(), _connection: connection }
        })
    }

    fn publish(&self, body: &str) {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        runtime().block_on(async {
            let queue = self.queue.as_str();
            let sent =
                self.channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties);
            let confirmation = sent.await.expect("sent").await.expect("confirmed");
            assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "the queue took it");
        });
    }

    fn receive(&self) -> Option<Published> {
        runtime().block_on(async {
            let got = self.channel.basic_get("audit".into(), BasicGetOptions::default()).await;
            let delivery = got.expect("a queue")?.delivery;
            delivery.acker.ack(BasicAckOptions::default()).await.expect("acknowledged");
            let headers = delivery.properties.headers().clone().map(|headers| {
                let texts = headers.into_iter().map(|(name, value)| {
                    let AMQPValue::LongString(text) = value else { panic!("header {name} is {value:?}") };
                    (name.to_string(), text.to_string())
                });
                texts.collect()
            });
            Some(Published {
                headers,
                properties: delivery.properties,
                text: unpacked(&delivery.data),
                packed: delivery.data,
            })
        })
    }
}

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(replay_traffic)
}

/// The captured steps: some samples, then monitoring, then single samples, a burst, a backlog.
fn replay_traffic() -> Run {
    let services = Services::fresh();
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::connect(&services);
    let roles = Roles::start(folder.path(), &services);
    let repository = services.repository();
    let bodies: Vec<String> = captured("nyc_taxi_samples.jsonl.gz")
        .iter()
        .map(|line| {
            let message: Value = serde_json::from_str(line).expect("JSON");
            message["body_text"].as_str().expect("text").to_owned()
        })
        .collect();
    client.publish(&bodies[0]);
    wait_until("the rows before the model", || row_count(&*repository, METRIC) == 3);
    monitor(folder.path(), &services);
    let mut published = Vec::new();
    let mut follow = |count: i64| {
        wait_until("scores", || scored_count(&*repository, METRIC) >= count);
        wait_for("results", || {
            published.extend(std::iter::from_fn(|| client.receive()));
            (result_count(&published) >= count).then_some(())
        });
    };
    follow(3);
    let workers = CONCURRENCY * (1 + WAITING_PER_STEPPING);
    assert_eq!(roles.workers(), workers, "--concurrency is the number of threads that step models at once");
    for (count, body) in (4..=13).zip(&bodies[1..11]) {
        client.publish(body);
        follow(count);
    }
    client.publish(&bodies[11]);
    follow(CAPTURED_RESULTS);
    for body in &bodies[12..] {
        client.publish(body);
    }
    follow(ROWS);
    assert!(client.receive().is_none(), "nothing is published twice without a crash");
    let metric = repository.metric_by_name(METRIC).expect("readable").expect("stored");
    let texts = "SELECT DISTINCT multi_step_best_predictions FROM metric_data";
    Run {
        published,
        rows: rows(&*repository, METRIC),
        uid: metric.uid.to_string(),
        texts: htm_tests::private_mariadb::PrivateMariadb::shared().query(&services.database.database, texts),
    }
}

/// As it was monitored when the traffic was captured.
fn monitor(folder: &Path, services: &Services) {
    let spec = folder.join("spec.json");
    let user_info = json!({"k": "v"});
    let metric_spec = json!({"metric": METRIC, "resource": "nyc", "unit": "Count", "userInfo": user_info});
    let model_params = json!({"min": MIN, "max": MAX});
    let text = json!({"datasource": "custom", "metricSpec": metric_spec, "modelParams": model_params});
    std::fs::write(&spec, text.to_string()).expect("written");
    let data_dir = folder.join("data").display().to_string();
    let spec = spec.display().to_string();
    let arguments = ["monitor", "--spec", &spec, "--data-dir", &data_dir].map(str::to_owned);
    succeed(arguments.into_iter().chain(services.flags()));
}

/// Rows among the results.
fn result_count(published: &[Published]) -> i64 {
    let rows = |message: &Published| message.json()["results"].as_array().map_or(0, Vec::len);
    published.iter().map(rows).sum::<usize>().try_into().expect("a small number")
}

#[test]
fn messages_follow_the_originals_schemas() {
    let run = run();
    let mut next_row = 1;
    for (index, message) in run.published.iter().enumerate() {
        assert_eq!(message.packed[..2], [0x78, 0x9c], "zlib at its default level");
        assert_eq!(message.is_command(), index == 0, "the model is told of once, and before its rows");
        let mut expected = BasicProperties::default().with_delivery_mode(2);
        if let Some(headers) = &message.headers {
            assert_eq!(*headers, [("dataType".to_owned(), "model-cmd-result".to_owned())]);
            expected =
                expected.with_headers(message.properties.headers().clone().expect("they are those headers"));
            let command: CommandMessage = serde_json::from_str(&message.text).expect("the schema");
            assert_eq!((command.method, command.status), (Method::DefineModel, 0));
            assert_eq!((&command.model_id, command.error_message), (&run.uid, None));
            assert!(
                command.command_id.len() == 32 && command.command_id.bytes().all(|b| b.is_ascii_hexdigit())
            );
            let info = command.model_info.expect("of a model that was made");
            assert_eq!((info.metric_name.as_str(), info.resource.as_str()), (METRIC, "nyc"));
            assert_eq!(info.model_spec["datasource"], "custom");
        } else {
            let inference: InferenceMessage = serde_json::from_str(&message.text).expect("the schema");
            let metric = inference.metric;
            assert_eq!((&metric.uid, metric.name.as_deref()), (&run.uid, Some(METRIC)));
            assert_eq!((metric.datasource.as_str(), metric.resource.as_deref()), ("custom", Some("nyc")));
            assert_eq!(metric.description, Some(format!("Custom metric {METRIC}")));
            assert_eq!(
                (metric.location.as_deref(), metric.spec["metric"].as_str()),
                (Some(""), Some(METRIC))
            );
            for row in inference.results {
                assert_eq!(row.rowid, next_row, "every row once and in order");
                assert!(row.ts.fract() == 0.0 && row.value.is_finite());
                assert!([row.raw_anomaly, row.anomaly].iter().all(|score| (0.0..=1.0).contains(score)));
                assert_eq!(row.multi_step_best_predictions, None);
                next_row += 1;
            }
        }
        assert_eq!(message.properties, expected, "the delivery mode, headers of commands, and nothing else");
    }
    assert_eq!(next_row, ROWS + 1);
    assert_eq!(run.texts, "null\n", "the text, as the original stored it for scored rows");
}

#[test]
fn the_schemas_tell_missing_and_foreign_keys() {
    let (_, command) = captured_results().swap_remove(0);
    let (_, inference) = captured_results().swap_remove(1);
    serde_json::from_value::<CommandMessage>(command.clone()).expect("the original's own");
    serde_json::from_value::<InferenceMessage>(inference.clone()).expect("the original's own");
    let mut missing = inference.clone();
    missing["metric"].as_object_mut().expect("an object").remove("location");
    serde_json::from_value::<InferenceMessage>(missing).expect_err("a key is missing");
    let mut foreign = inference;
    foreign["results"][0]["likelihood"] = 0.5.into();
    serde_json::from_value::<InferenceMessage>(foreign).expect_err("a key too many");
    let mut unknown = command;
    unknown["method"] = "cloneModel".into();
    serde_json::from_value::<CommandMessage>(unknown).expect_err("another method");
}

/// The rows of messages by number.
fn result_rows<'a>(messages: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    messages.flat_map(|message| message["results"].as_array().expect("rows").clone()).collect()
}

/// Numbers by value: Python wrote `0` where a score was missing, we write `0.0`.
fn with_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().expect("a double")),
        Value::Array(items) => items.iter().map(with_floats).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), with_floats(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// Fields that must differ, or may, are taken out: ids are random. Scores are compared in the next test.
#[test]
fn published_messages_equal_the_captured_ones() {
    let run = run();
    let theirs = captured_results();
    let ours: Vec<Value> = run.published.iter().map(|message| with_floats(&message.json())).collect();
    let without = |message: &Value, keys: &[&str]| {
        let mut message = with_floats(message);
        for key in keys {
            let removed = message.as_object_mut().expect("an object").remove(*key);
            assert!(removed.is_some(), "{key} in {message}");
        }
        message
    };
    let ids = ["modelId", "commandId"];
    assert_eq!(without(&ours[0], &ids), without(&theirs[0].1, &ids));
    assert!(theirs[0].0 && theirs[1..].iter().all(|(is_command, _)| !is_command));
    for message in &ours[1..] {
        let metric = without(&message["metric"], &["uid"]);
        assert_eq!(metric, without(&theirs[1].1["metric"], &["uid"]));
        assert_eq!(message["metric"]["uid"], run.uid.as_str());
    }
    let scores = ["rawAnomaly", "anomaly"];
    let theirs = result_rows(theirs[1..].iter().map(|(_, message)| message));
    assert_eq!(theirs.len(), usize::try_from(CAPTURED_RESULTS).expect("small"));
    for (ours, theirs) in result_rows(ours[1..].iter()).iter().zip(&theirs) {
        assert_eq!(without(ours, &scores), without(theirs, &scores));
    }
}

/// The traffic was captured from NuPIC 0.5.7; ours equals NuPIC 1.0.5, whose scores of a young model are the same.
const SAME_RAW_SCORES: usize = 69;
/// Rows before the first likelihood, which depends on the raw scores and, in the original, on batches.
const WITHOUT_LIKELIHOOD: usize = 100;

#[test]
fn scores_equal_the_captured_ones_where_both_engines_agree() {
    let ours = result_rows(run().published[1..].iter().map(Published::json).collect::<Vec<_>>().iter());
    let theirs = result_rows(captured_results()[1..].iter().map(|(_, message)| message));
    let bits = |row: &Value, key: &str| row[key].as_f64().expect("a number").to_bits();
    let agreeing =
        ours.iter().zip(&theirs).take_while(|(o, t)| bits(o, "rawAnomaly") == bits(t, "rawAnomaly"));
    assert_eq!(agreeing.count(), SAME_RAW_SCORES);
    for (ours, theirs) in ours.iter().zip(&theirs).take(WITHOUT_LIKELIHOOD) {
        assert_eq!((bits(ours, "anomaly"), bits(theirs, "anomaly")), (0, 0));
    }
    let near = |(ours, theirs): (&Value, &Value)| {
        (ours["anomaly"].as_f64().expect("a number") - theirs["anomaly"].as_f64().expect("a number")).abs()
            < 0.01
    };
    assert!(ours.iter().zip(&theirs).all(near), "the first likelihoods are all about one half");
}

/// Time, value and display value of the original's rows; its scores are those of the test above, cut to 15 digits.
#[test]
fn rows_equal_the_originals_rows() {
    let run = run();
    let mut lines = captured("nyc_taxi_rows.csv.gz").into_iter();
    assert_eq!(
        lines.next().as_deref(),
        Some(
            "uid,rowid,timestamp,metric_value,raw_anomaly_score,anomaly_score,display_value,\
             multi_step_best_predictions"
        )
    );
    let theirs: Vec<Vec<String>> = lines.map(|line| line.split(',').map(str::to_owned).collect()).collect();
    assert_eq!(theirs.len(), run.rows.len());
    let number = |text: &str| text.parse::<f64>().expect("a number");
    for (index, (ours, theirs)) in run.rows.iter().zip(&theirs).enumerate() {
        assert_eq!(ours.row_id.0.to_string(), theirs[1]);
        assert_eq!(ours.timestamp, unix_seconds(&theirs[2]));
        assert_eq!(ours.value.to_bits(), number(&theirs[3]).to_bits());
        if index < SAME_RAW_SCORES {
            let difference = ours.raw_anomaly_score.expect("scored") - number(&theirs[4]);
            assert!(difference.abs() < 1e-14, "row {}: {difference}", theirs[1]);
        }
        if index < usize::try_from(CAPTURED_RESULTS).expect("small") {
            assert_eq!(ours.display_value.map(|value| value.to_string()), Some(theirs[6].clone()));
        }
    }
}

#[test]
fn rows_equal_a_replay_bit_for_bit() {
    let run = run();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("in.csv");
    let whole = std::fs::read_to_string(series_path("nyc_taxi")).expect("bundled");
    let count = usize::try_from(ROWS).expect("small");
    let part: Vec<&str> = whole.lines().take(count + 1).collect();
    std::fs::write(&file, part.join("\n")).expect("written");
    let (file, min, max) = (file.display().to_string(), MIN.to_string(), MAX.to_string());
    let printed = succeed(["replay", &file, "--min", &min, "--max", &max]);
    let mut lines = printed.lines();
    let headings: Vec<&str> = lines.next().expect("headings").split(',').collect();
    let column = |name: &str| headings.iter().position(|heading| *heading == name).expect("a column");
    let (raw, anomaly) = (column("raw_anomaly_score"), column("anomaly_score"));
    let mut compared = 0;
    for (line, row) in lines.zip(&run.rows) {
        let fields: Vec<&str> = line.split(',').collect();
        let bits = |index: usize| Some(fields[index].parse::<f64>().expect("a number").to_bits());
        let found = [row.raw_anomaly_score, row.anomaly_score].map(|score| score.map(f64::to_bits));
        assert_eq!(found, [bits(raw), bits(anomaly)], "row {}", row.row_id);
        compared += 1;
    }
    assert_eq!(compared, count);
    // What was published is what is stored.
    let published = result_rows(run.published[1..].iter().map(Published::json).collect::<Vec<_>>().iter());
    for (published, row) in published.iter().zip(&run.rows) {
        let bits = |key: &str| published[key].as_f64().map(f64::to_bits);
        let stored = [row.raw_anomaly_score, row.anomaly_score].map(|score| score.map(f64::to_bits));
        assert_eq!([bits("rawAnomaly"), bits("anomaly")], stored, "row {}", row.row_id);
    }
}
