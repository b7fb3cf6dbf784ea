//! Captured traffic of the original, in and out: objects, bodies, properties.

use std::time::Duration;

use flate2::read::ZlibDecoder;
use htm_core::ids::{ModelId, RowId};
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::source_tree;
use htmengine::bus::Bus;
use htmengine::bus::message::{CommandMethod, ModelHint, ModelOutput, ResultMessage, RowScore, ScoreMessage};
use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::bus::wire::{data, hints, results, scores};
use htmengine::row_detection::RowDetection;
use lapin::{BasicProperties, ExchangeKind};
use serde_json::Value;

use crate::peer::{Peer, connect, hint, lines, receive};

const COMMAND_HEADER: (&str, &str) = ("dataType", "model-cmd-result");

fn read(name: &str) -> String {
    let path = source_tree::root().join("tests/data/captures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Captured messages whose exchange and routing key are these.
fn captured(exchange: &str, routing_key: &str) -> Vec<Value> {
    let text = read("publishes.jsonl");
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found: Vec<_> =
        all.filter(|it| it["exchange"] == exchange && it["routing_key"] == routing_key).collect();
    assert!(!found.is_empty(), "nothing captured on `{exchange}` `{routing_key}`");
    found
}

fn body(message: &Value) -> &str {
    message["body_text"].as_str().expect("text")
}

fn is_command(message: &Value) -> bool {
    message["properties"]["headers"][COMMAND_HEADER.0] == COMMAND_HEADER.1
}

/// The captured results, as we read them.
pub(crate) fn captured_results() -> Vec<ResultMessage> {
    let packed = |message: &Value| {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body(message).as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    captured("htmengine.model.results", "")
        .iter()
        .map(|message| results::from_bytes(&packed(message), is_command(message)).expect("readable"))
        .collect()
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

#[test]
fn queues_and_exchange_are_those_of_the_original() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let _bus = connect(&settings);
    let peer = Peer::new(&settings);
    let objects: Value = serde_json::from_str(&read("broker_objects.json")).expect("JSON");
    let queues = objects["queues"].as_array().expect("a list");
    assert_eq!(queues.len(), 3);
    for queue in queues {
        let name = queue["name"].as_str().expect("a name");
        let durable = queue["durable"].as_bool().expect("a flag");
        assert_eq!((&queue["exclusive"], &queue["auto_delete"]), (&Value::Bool(false), &Value::Bool(false)));
        peer.look(name);
        peer.declare(name, durable).expect("declared alike");
        peer.declare(name, !durable).expect_err("the broker compares");
    }
    let exchange = objects["exchanges"][0]["name"].as_str().expect("a name");
    peer.declare_exchange(exchange, ExchangeKind::Fanout, true).expect("declared alike");
    peer.declare_exchange(exchange, ExchangeKind::Fanout, false).expect_err("the broker compares");
}

#[test]
fn lines_of_third_parties_and_of_the_original_are_received() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    let seeds =
        r#"{"protocol": "plain", "data": ["foo.bar.stats 21 1443197361", "foo.bar.stats 22 1443197661"]}"#;
    let captured = captured("", "htmengine.metric.custom.data");
    let bodies: Vec<&str> = captured.iter().map(body).chain([seeds]).collect();
    for body in &bodies {
        peer.publish(&settings.data_queue, body.as_bytes());
    }
    for (delivery, body) in receive(bus.data(), bodies.len()).iter().zip(&bodies) {
        let sent: Value = serde_json::from_str(body).expect("JSON");
        let expected: Vec<_> = sent["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|line| line.as_str().expect("text"))
            .collect();
        assert_eq!(delivery.message, lines(expected));
    }
}

#[test]
fn our_lines_are_a_message_of_the_original() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    for message in captured("", "htmengine.metric.custom.data") {
        bus.data().publish(data::from_bytes(body(&message).as_bytes()).expect("readable")).expect("open");
        let seen = peer.take(&settings.data_queue);
        let ours: Value = serde_json::from_slice(&seen.body).expect("JSON");
        assert_eq!(ours, serde_json::from_str::<Value>(body(&message)).expect("JSON"));
        assert_eq!(seen.properties, BasicProperties::default().with_delivery_mode(2));
    }
}

#[test]
fn our_hints_are_those_of_the_original_byte_for_byte() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    for message in captured("", "htmengine.mswapper.scheduler.notification") {
        let hint = hints::from_bytes(body(&message).as_bytes()).expect("readable");
        bus.hints().publish(hint).expect("open");
        let seen = peer.take(&settings.hints_queue);
        assert_eq!(String::from_utf8_lossy(&seen.body), body(&message));
        assert_eq!(seen.properties, BasicProperties::default());
    }
    let changed = ModelHint { is_changed: true, ..hint("a") };
    bus.hints().publish(changed.clone()).expect("open");
    assert_eq!(receive(bus.hints(), 1)[0].message, changed);
}

#[test]
fn scores_that_the_original_left_are_dropped_and_ours_arrive() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    for message in captured("", "htmengine.mswapper.results") {
        peer.publish(&settings.scores_queue, body(&message).as_bytes());
    }
    let sent = ModelOutput::Scores(ScoreMessage {
        model_id: ModelId::new("a").expect("an id"),
        generation: "0".repeat(32),
        scores: vec![RowScore {
            row_id: RowId(101),
            raw_anomaly_score: 0.949_999_988_079_071,
            anomaly_score: 0.499_900_263_473_494_7,
            best_predictions: None,
            detection: RowDetection::default(),
        }],
    });
    bus.scores().publish(sent.clone()).expect("open");
    let received = receive(bus.scores(), 1);
    assert_eq!(received[0].message, sent);
    bus.scores().acknowledge(received[0].tag).expect("delivered");
    drop(bus);
    assert_eq!(peer.look(&settings.scores_queue), (0, 0));
    assert!(scores::from_bytes(b"{}").is_err());
}

#[test]
fn results_equal_the_captured_ones_field_by_field() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let peer = Peer::new(&settings);
    let queue = peer.bind(&settings.results_exchange);
    let captured = captured("htmengine.model.results", "");
    for (captured, message) in captured.iter().zip(captured_results()) {
        bus.results().publish(message).expect("open");
        let seen = peer.take(&queue);
        assert_eq!(seen.body[..2], [0x78, 0x9c]);
        let ours: Value = serde_json::from_reader(ZlibDecoder::new(&seen.body[..])).expect("JSON");
        let theirs: Value = serde_json::from_str(body(captured)).expect("JSON");
        assert_eq!(with_floats(&ours), with_floats(&theirs));
        follows_the_schema(&ours, is_command(captured));
        follows_the_schema(&theirs, is_command(captured));
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if is_command(captured) {
            assert_eq!(
                seen.headers(),
                [COMMAND_HEADER].map(|(key, value)| (key.into(), value.into())).into()
            );
            properties = properties.with_headers(seen.properties.headers().clone().expect("seen above"));
        }
        assert_eq!(seen.properties, properties);
    }
}

/// The original's two schemas: these keys, of these types, and no others.
fn follows_the_schema(message: &Value, is_command: bool) {
    let text: IsType = Value::is_string;
    let text_or_null: IsType = |value| value.is_string() || value.is_null();
    let object: IsType = Value::is_object;
    let integer: IsType = Value::is_i64;
    let number: IsType = Value::is_number;
    let float: IsType = Value::is_f64;
    if is_command {
        let mut keys = vec![
            ("method", text),
            ("modelId", text),
            ("commandId", text),
            ("status", integer),
            ("errorMessage", text_or_null),
        ];
        if message.get("modelInfo").is_some() {
            keys.push(("modelInfo", object));
            has_exactly(
                &message["modelInfo"],
                &[("metricName", text), ("resource", text), ("modelSpec", object)],
            );
        }
        return has_exactly(message, &keys);
    }
    has_exactly(message, &[("metric", object), ("results", Value::is_array)]);
    has_exactly(
        &message["metric"],
        &[
            ("uid", text),
            ("name", text_or_null),
            ("description", text_or_null),
            ("resource", text_or_null),
            ("location", text_or_null),
            ("datasource", text),
            ("spec", object),
        ],
    );
    for row in message["results"].as_array().expect("checked above") {
        has_exactly(
            row,
            &[
                ("rowid", integer),
                ("ts", float),
                ("value", number),
                ("rawAnomaly", number),
                ("anomaly", number),
                ("multiStepBestPredictions", |value| value.is_object() || value.is_null()),
            ],
        );
    }
}

/// Whether a value is of a type.
type IsType = fn(&Value) -> bool;

fn has_exactly(value: &Value, keys: &[(&str, IsType)]) {
    let fields = value.as_object().expect("an object");
    assert_eq!(fields.len(), keys.len(), "{value}");
    for (key, is_right) in keys {
        assert!(fields.get(*key).is_some_and(is_right), "{key} in {value}");
    }
}

#[test]
fn results_of_the_original_are_read_as_it_packed_them() {
    let packed: Vec<_> = captured("htmengine.model.results", "")
        .into_iter()
        .filter_map(|message| Some((from_base64(message["body_b64"].as_str()?), message)))
        .collect();
    assert_eq!(packed.len(), 3);
    for (bytes, message) in packed {
        match results::from_bytes(&bytes, is_command(&message)).expect("readable") {
            ResultMessage::Command(command) => {
                assert_eq!(command.result.method, CommandMethod::DefineModel);
                assert_eq!(
                    command.model_info.expect("of a model that was made").resource.as_deref(),
                    Some("nyc")
                );
            }
            ResultMessage::Inference(inference) => {
                assert_eq!(inference.metric.name, "nab.realKnownCause.nyc_taxi");
                assert!(!inference.results.is_empty());
            }
        }
    }
}

/// RFC 4648, without a check: the input is ours.
fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|&digit| digit == byte));
    let bits: Vec<bool> =
        digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1 == 1)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |value, &bit| value << 1 | u8::from(bit))).collect()
}

#[test]
fn readers_get_commands_and_rows_apart() {
    let settings = PrivateRabbitMq::shared().fresh_settings();
    let bus = connect(&settings);
    let mut reader = bus.results().subscribe();
    let messages = captured_results();
    for message in &messages {
        bus.results().publish(message.clone()).expect("open");
    }
    for message in messages {
        assert_eq!(reader.receive(Duration::from_secs(20)), Ok(Some(message)));
    }
}

#[test]
fn the_detection_score_is_published_only_where_it_is_asked_for() {
    let message = captured_results().into_iter().find_map(|message| match message {
        ResultMessage::Inference(mut results) => {
            let detection =
                RowDetection { score: 0.5, alert_score: 0.5, components: None, open_predictions: None };
            results.results.iter_mut().for_each(|row| row.detection = Some(detection));
            Some(ResultMessage::Inference(results))
        }
        ResultMessage::Command(_) => None,
    });
    let message = message.expect("captured");
    for extended_results in [false, true] {
        let settings = RabbitSettings { extended_results, ..PrivateRabbitMq::shared().fresh_settings() };
        let bus = connect(&settings);
        let peer = Peer::new(&settings);
        let queue = peer.bind(&settings.results_exchange);
        bus.results().publish(message.clone()).expect("open");
        let seen = peer.take(&queue);
        let json: Value = serde_json::from_reader(ZlibDecoder::new(&seen.body[..])).expect("JSON");
        let found = json["results"][0].get("detection");
        assert_eq!(found.is_some(), extended_results, "{json}");
        if extended_results {
            assert_eq!(results::from_bytes(&seen.body, false).ok(), Some(message.clone()), "it reads back");
        }
    }
}
