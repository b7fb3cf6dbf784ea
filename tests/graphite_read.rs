//! Promise: Grafana's Graphite data source, and any client of graphite-web, reads from a running engine unchanged; where
//! both know a series and a function, the points are those of graphite-web; scores keep their peaks.
//!
//! What graphite-web answers was recorded, see `data/graphite_web/README.md`.

use std::net::SocketAddr;

use htm_core::detection::ALERT_THRESHOLD;
use htm_core::encoder::Record;
use htm_tests::http_client::{Answer, form, get, post_form, request_with};
use htm_tests::program::Server;
use htm_tests::recording::{data_path, series};
use htm_tests::sender::{lines, send};
use htm_tests::stored::{rows, wait_for_rows, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::repository::metric_data::MetricRow;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Graphite {
    server: Server,
    address: SocketAddr,
    _folder: TempDir,
}

impl Graphite {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(folder.path(), [arguments, &["--http", "127.0.0.1:0"]].concat());
        let address = server.announced("HTTP API: http://");
        Self { server, address, _folder: folder }
    }

    fn send(&self, name: &str, samples: &[Record]) {
        send(self.server.address(), lines(name, samples).as_bytes());
    }

    #[track_caller]
    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        let answer = get(self.address, &format!("{path}?{}", form(fields)));
        assert_eq!(answer.status, 200, "{path} {fields:?}: {answer:?}");
        answer.json()
    }

    #[track_caller]
    fn render(&self, target: &str, from: i64, until: i64) -> Value {
        let (from, until) = (from.to_string(), until.to_string());
        self.get("/render", &[("target", target), ("from", &from), ("until", &until), ("format", "json")])
    }

    /// The points of the only series of a target.
    #[track_caller]
    fn points(&self, target: &str, from: i64, until: i64) -> Vec<(Option<f64>, i64)> {
        let found = self.render(target, from, until);
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{target}: {found}");
        points(&found[0])
    }

    #[track_caller]
    fn refused(&self, path: &str, fields: &[(&str, &str)], reason: &str) {
        let answer = get(self.address, &format!("{path}?{}", form(fields)));
        assert_eq!(answer.status, 400, "{path} {fields:?}: {answer:?}");
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(reason), "{path} {fields:?}: {message}");
    }

    /// Names are seen a second after their metrics at the latest.
    fn wait_for_names(&self, names: &[&str]) {
        wait_until("all names", || {
            let index = self.get("/metrics/index.json", &[]);
            let known =
                |name: &&str| index.as_array().is_some_and(|all| all.iter().any(|found| found == name));
            names.iter().all(known)
        });
    }
}

fn points(series: &Value) -> Vec<(Option<f64>, i64)> {
    let listed = series["datapoints"].as_array().expect("points");
    listed.iter().map(|point| (point[0].as_f64(), point[1].as_i64().expect("a time"))).collect()
}

/// Equal, but for numbers that lie within 1e-9 of each other.
#[track_caller]
fn assert_alike(what: &str, found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}: {found:?} {expected:?}");
            for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_alike(&format!("{what}[{number}]"), found, expected);
            }
        }
        (Value::Object(found), Value::Object(expected)) => {
            let keys = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(found), keys(expected), "{what}");
            for (key, found) in found {
                assert_alike(&format!("{what}.{key}"), found, &expected[key]);
            }
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().expect("small"), expected.as_f64().expect("small"));
            assert!((found - expected).abs() < 1e-9, "{what}: {found} {expected}");
        }
        _ => assert_eq!(found, expected, "{what}"),
    }
}

#[test]
fn answers_equal_those_of_graphite_web() {
    let text = std::fs::read_to_string(data_path("graphite_web/answers.json")).expect("a recording");
    let recorded: Value = serde_json::from_str(&text).expect("JSON");
    let graphite = Graphite::start(&["--no-monitor"]);
    let mut names = Vec::new();
    for series in recorded["series"].as_array().expect("series") {
        let name = series["name"].as_str().expect("a name");
        let samples: Vec<Record> =
            series["samples"].as_array().expect("samples").iter().map(sample).collect();
        graphite.send(name, &samples);
        wait_for_rows(&graphite.server.repository(), name, samples.len());
        names.push(name);
    }
    graphite.wait_for_names(&names);
    let requests = recorded["requests"].as_array().expect("requests");
    assert!(requests.len() > 80, "{}", requests.len());
    for request in requests {
        let path = request["path"].as_str().expect("a path");
        let fields: Vec<(&str, &str)> = request["parameters"]
            .as_array()
            .expect("pairs")
            .iter()
            .map(|pair| (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a value")))
            .collect();
        let what = format!("{path} {fields:?}");
        for prefix in ["", "/graphite"] {
            let answer = get(graphite.address, &format!("{prefix}{path}?{}", form(&fields)));
            assert_eq!(Some(i64::from(answer.status)), request["status"].as_i64(), "{what}: {answer:?}");
            let media_type = |text: &str| text.split(';').next().map(str::to_owned);
            let expected_type = request["content_type"].as_str().expect("a type");
            assert_eq!(
                answer.header("content-type").and_then(media_type),
                media_type(expected_type),
                "{what}"
            );
            let expected = &request["answer"];
            match expected.as_str() {
                Some(text) => assert_eq!(answer.body.trim_end(), text.trim_end(), "{what}"),
                None => assert_alike(&what, &answer.json(), expected),
            }
        }
        // Grafana posts what it asks of `/render`.
        if path == "/render" && request["answer"].is_array() {
            assert_alike(&what, &post_form(graphite.address, path, &fields).json(), &request["answer"]);
        }
    }
}

fn sample(pair: &Value) -> Record {
    Record { timestamp: pair[0].as_i64().expect("a time"), value: pair[1].as_f64().expect("a value") }
}

/// The interval of the recorded traffic speeds.
const STEP: i64 = 300;
const ROWS: usize = 400;

fn traffic() -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(ROWS).collect()
}

/// An engine that has scored some traffic under a dotted name, and knows two tagged metrics.
fn scored() -> (Graphite, Vec<MetricRow>) {
    let graphite = Graphite::start(&["--monitor", "road.*"]);
    let samples = traffic();
    graphite.send("road.n7578.speed", &samples);
    graphite.send("disk.used;host=b;dc=eu.west", &samples[..10]);
    graphite.send("disk.used;host=a;dc=us", &samples[..10]);
    let repository = graphite.server.repository();
    let rows = wait_for_scores(&repository, "road.n7578.speed", ROWS);
    wait_for_rows(&repository, "disk.used;dc=eu.west;host=b", 10);
    wait_for_rows(&repository, "disk.used;dc=us;host=a", 10);
    graphite.wait_for_names(&["road.n7578.speed", "disk.used;dc=eu.west;host=b", "disk.used;dc=us;host=a"]);
    (graphite, rows)
}

fn span(rows: &[MetricRow]) -> (i64, i64) {
    (rows[0].timestamp - STEP, rows[rows.len() - 1].timestamp + STEP)
}

/// What a row says of a field.
type Of<'a> = &'a dyn Fn(&MetricRow) -> Option<f64>;

/// What the rows say on the engine's grid: the highest in each cell.
fn highest(rows: &[MetricRow], of: impl Fn(&MetricRow) -> Option<f64>, time: i64) -> Option<f64> {
    let inside = rows.iter().filter(|row| (time..time + STEP).contains(&row.timestamp));
    inside.filter_map(of).reduce(f64::max)
}

#[test]
fn every_field_of_a_metric_is_a_series_of_its_rows() {
    let (graphite, rows) = scored();
    let (from, until) = span(&rows);
    let score = |row: &MetricRow| row.detection.map(|detection| detection.score);
    let log = |row: &MetricRow| {
        row.anomaly_score.map(|s| (1.000_000_000_1 - s).ln() / (1.000_000_000_1_f64 - 1.0).ln())
    };
    let fields: [(&str, Of<'_>); 5] = [
        ("raw", &|row| row.raw_anomaly_score),
        ("likelihood", &|row| row.anomaly_score),
        ("detection", &score),
        ("score", &score),
        ("log", &log),
    ];
    for (field, of) in fields {
        let points = graphite.points(&format!("htm.road.n7578.{{speed,none}}.{field}"), from, until);
        assert!(points.windows(2).all(|pair| pair[1].1 - pair[0].1 == STEP), "{field}");
        assert!(points.iter().filter(|(value, _)| value.is_some()).count() > 300, "{field}");
        for (value, time) in points {
            let expected = highest(&rows, of, time);
            let is_alike =
                value.zip(expected).is_some_and(|(value, expected)| (value - expected).abs() < 1e-12);
            assert!(is_alike || value == expected, "{field} at {time}: {value:?} {expected:?}");
        }
    }
    // The value is the mean of its cell, under the bare name too.
    let values = graphite.points("htm.road.n7578.speed.value", from, until);
    assert_eq!(graphite.points("road.n7578.speed", from, until), values);
    for (value, time) in values {
        let inside: Vec<f64> = rows
            .iter()
            .filter(|row| (time..time + STEP).contains(&row.timestamp))
            .map(|row| row.value)
            .collect();
        let count = i32::try_from(inside.len()).expect("few");
        let expected = (count > 0).then(|| inside.iter().sum::<f64>() / f64::from(count));
        assert_eq!(value, expected, "at {time}");
    }
    // No classifier, no expectation; the metric is active (1).
    assert!(
        graphite
            .points("htm.road.n7578.speed.expected", from, until)
            .iter()
            .all(|(value, _)| value.is_none())
    );
    assert!(
        graphite
            .points("htm.road.n7578.speed.state", from, until)
            .iter()
            .all(|(value, _)| *value == Some(1.0))
    );
    let all = graphite.render("htm.road.*.speed.*", from, until);
    assert_eq!(all.as_array().map(Vec::len), Some(8));
}

#[test]
#[expect(clippy::float_cmp, reason = "the numbers of the rows, and nothing else")]
fn peaks_of_scores_survive_consolidation() {
    let (graphite, rows) = scored();
    let (from, until) = span(&rows);
    let peak =
        rows.iter().filter_map(|row| row.detection).map(|detection| detection.score).fold(0.0, f64::max);
    assert!(peak > ALERT_THRESHOLD, "{peak}");
    let coarse = |target: &str| -> f64 {
        let (from, until) = (from.to_string(), until.to_string());
        let fields = [
            ("target", target),
            ("from", &from),
            ("until", &until),
            ("format", "json"),
            ("maxDataPoints", "10"),
        ];
        let found = post_form(graphite.address, "/render", &fields).json();
        let points = points(&found[0]);
        assert!(points.len() <= 10, "{points:?}");
        points.into_iter().filter_map(|(value, _)| value).fold(0.0, f64::max)
    };
    assert_eq!(coarse("htm.road.n7578.speed.score"), peak);
    assert_eq!(coarse("maxSeries(htm.road.*.speed.score)"), peak);
    assert!(coarse("consolidateBy(htm.road.n7578.speed.score, 'average')") < peak / 2.0);
    let found = graphite.render("highestMax(htm.*.*.*.score, 1) | aliasByNode(2)", from, until);
    assert_eq!(found[0]["target"], "n7578");
    let odd = graphite.points("removeBelowValue(htm.road.n7578.speed.score, 0.135)", from, until);
    assert!(odd.iter().any(|(value, _)| *value == Some(peak)));
    assert!(odd.iter().all(|(value, _)| value.is_none_or(|value| value >= 0.135)));
}

#[test]
fn predictions_stand_at_the_time_they_are_for() {
    let graphite = Graphite::start(&["--no-monitor"]);
    let spec = json!({"datasource": "custom", "metricSpec": {"metric": "speed"},
        "modelParams": {"min": 0, "max": 100, "enableClassifier": true}});
    let spec_path = graphite.server.data_dir().join("spec.json");
    std::fs::write(&spec_path, spec.to_string()).expect("written");
    let data_dir = graphite.server.data_dir().to_str().expect("text").to_owned();
    let spec_path = spec_path.to_str().expect("text").to_owned();
    htm_tests::program::succeed(["monitor", "--spec", &spec_path, "--data-dir", &data_dir]);
    let samples: Vec<Record> = (0..60)
        .map(|row| Record {
            timestamp: 1_000_000_200 + row * STEP,
            value: f64::from(i32::try_from(row % 5).expect("small")),
        })
        .collect();
    graphite.send("speed", &samples);
    let rows = wait_for_scores(&graphite.server.repository(), "speed", 60);
    let predicted = |row: &MetricRow| {
        row.best_predictions.as_ref().and_then(|all| all.iter().next()).and_then(|(_, value)| value)
    };
    assert!(rows.iter().filter(|row| predicted(row).is_some()).count() > 30);
    graphite.wait_for_names(&["htm.speed.expected"]);
    // From the middle on, so that the first one was said before the window.
    let from = rows[20].timestamp;
    let points = graphite.points("htm.speed.expected", from, rows[59].timestamp);
    assert_eq!(points.len(), 39);
    for ((value, time), pair) in points.into_iter().zip(rows[20..].windows(2)) {
        assert_eq!((value, time), (predicted(&pair[0]), pair[1].timestamp));
    }
}

#[test]
fn grafana_finds_its_way() {
    let (graphite, rows) = scored();
    let (from, until) = span(&rows);
    let (from, until) = (from.to_string(), until.to_string());

    // "Save & test", then the metric selector, which sends the dashboard's times along.
    let root = graphite.get("/metrics/find", &[("query", "*")]);
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list");
        list.iter().map(|entry| entry["text"].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(texts(&root), ["htm", "road"]);
    assert_eq!(root[0], json!({"text": "htm", "id": "htm", "leaf": 0, "expandable": 1, "allowChildren": 1}));
    let times = [("from", from.as_str()), ("until", until.as_str())];
    let posted = post_form(
        graphite.address,
        &format!("/metrics/find?{}", form(&times)),
        &[("query", "htm.road.n7578.*")],
    );
    assert_eq!(
        posted.json(),
        json!([{"text": "speed", "id": "htm.road.n7578.speed", "leaf": 0, "expandable": 1, "allowChildren": 1}])
    );
    let leaves = graphite.get("/metrics/find", &[("query", "htm.road.n7578.speed.*"), times[0], times[1]]);
    assert_eq!(
        texts(&leaves),
        ["detection", "expected", "likelihood", "log", "raw", "score", "state", "value"]
    );
    assert_eq!(leaves[5]["leaf"], 1);
    let expanded = graphite.get("/metrics/expand", &[("query", "htm.road.*.*.score")]);
    assert_eq!(expanded, json!({"results": ["htm.road.n7578.speed.score"]}));

    editor(&graphite, &times);

    // A panel: relative and absolute times, several targets, hidden nulls.
    let now = [
        ("now", until.as_str()),
        ("from", "-1h"),
        ("until", "now"),
        ("format", "json"),
        ("maxDataPoints", "1024"),
    ];
    let targets = [
        ("target", "aliasByNode(htm.road.*.speed.score, 2)"),
        ("target", "seriesByTag('name=disk.used', 'dc=us', 'htm=state')"),
    ];
    let panel = post_form(graphite.address, "/render", &[&targets[..], &now[..]].concat()).json();
    assert_eq!(panel[0]["target"], "n7578");
    assert_eq!(panel[1]["target"], "disk.used;dc=us;host=a;htm=state");
    assert_eq!(panel[1]["tags"], json!({"name": "disk.used", "dc": "us", "host": "a", "htm": "state"}));
    let by_path =
        graphite.get("/render", &[("target", "htm.disk.used;host=b;dc=eu.west.value"), times[0], times[1]]);
    assert_eq!(
        by_path[0]["tags"],
        json!({"name": "disk.used", "dc": "eu.west", "host": "b", "htm": "value"})
    );
    assert_eq!(graphite.get("/render", &[("target", "no.such.metric"), times[0], times[1]]), json!([]));
    assert_eq!(graphite.get("/render", &[]), json!([]));

    annotations(&graphite, &rows, &times);
}

/// The editor's version check, functions, and tags.
fn editor(graphite: &Graphite, times: &[(&str, &str)]) {
    let version = get(graphite.address, "/version");
    assert_eq!((version.status, version.body.trim()), (200, "1.1.10"));
    let functions = graphite.get("/functions", &[]);
    assert_eq!(functions["summarize"]["params"][1]["type"], "interval");
    assert!(functions.as_object().is_some_and(|all| all.len() >= 40));
    assert_eq!(graphite.get("/functions/alias", &[])["group"], "Alias");
    assert_eq!(get(graphite.address, "/functions/nothing").status, 404);
    let tags = graphite.get("/tags", times);
    assert_eq!(tags[0], json!({"id": 1, "tag": "dc"}));
    assert_eq!(
        graphite.get("/tags/host", &[])["values"],
        json!([{"id": 1, "value": "a", "count": 1}, {"id": 2, "value": "b", "count": 1}])
    );
    assert_eq!(graphite.get("/tags/nothing", &[]), json!({"tag": "nothing", "values": []}));
    let complete =
        |what: &str, fields: &[(&str, &str)]| graphite.get(&format!("/tags/autoComplete/{what}"), fields);
    assert_eq!(complete("tags", &[("limit", "10000")]), json!(["dc", "host", "htm", "name"]));
    assert_eq!(complete("tags", &[("expr", "name=disk.used"), ("tagPrefix", "h")]), json!(["host", "htm"]));
    assert_eq!(complete("values", &[("tag", "dc"), ("expr", "name=disk.used")]), json!(["eu.west", "us"]));
    assert_eq!(
        complete("values", &[("tag", "htm"), ("expr[]", "name=disk.used"), ("valuePrefix", "s")]),
        json!(["score", "state"])
    );
    assert_eq!(complete("values", &[("tag", "nothing")]), json!([]));
    assert_eq!(
        graphite.get("/tags/findSeries", &[("expr", "host=~a|b"), ("expr", "htm=raw")]),
        json!(["disk.used;dc=eu.west;host=b;htm=raw", "disk.used;dc=us;host=a;htm=raw"])
    );
}

/// Annotations are the rows that would have raised an alert.
fn annotations(graphite: &Graphite, rows: &[MetricRow], times: &[(&str, &str)]) {
    let alerts =
        |row: &&MetricRow| row.detection.is_some_and(|detection| detection.alert_score >= ALERT_THRESHOLD);
    let expected: Vec<i64> = rows.iter().filter(alerts).map(|row| row.timestamp).collect();
    assert!(expected.len() >= 2, "{expected:?}");
    let when = |events: &Value| -> Vec<i64> {
        let events = events.as_array().expect("a list");
        events.iter().map(|event| event["when"].as_i64().expect("a time")).collect()
    };
    let events = graphite.get("/events/get_data", times);
    assert_eq!(when(&events), expected);
    assert_eq!(events[0]["what"], "anomaly: road.n7578.speed");
    assert_eq!(events[0]["tags"], json!(["anomaly", "road.n7578.speed"]));
    let value = rows.iter().find(|row| row.timestamp == expected[0]).map(|row| row.value);
    let value = format!("value {:?}", value.expect("a row"));
    assert!(events[0]["data"].as_str().is_some_and(|data| data.contains(&value)), "{}", events[0]);
    let tagged = |tags: &str| when(&graphite.get("/events/get_data", &[&[("tags", tags)], times].concat()));
    assert_eq!(tagged("anomaly road.*"), expected);
    assert_eq!(tagged("anomaly disk.*"), [0_i64; 0]);
    let last = expected[expected.len() - 1];
    let later = [("from", (last - 1).to_string()), ("until", last.to_string())];
    let later: Vec<(&str, &str)> = later.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(when(&graphite.get("/events/get_data", &later)), [last]);
    assert_eq!(when(&graphite.get("/events/get_data", &[])), expected);
}

#[test]
fn what_cannot_be_answered_is_refused_with_a_reason() {
    let graphite = Graphite::start(&["--no-monitor"]);
    graphite.send("a.b", &[Record { timestamp: 1_000_000_000, value: 1.0 }]);
    graphite.wait_for_names(&["a.b"]);
    let deep = format!("{}a.b{}", "absolute(".repeat(40), ")".repeat(40));
    let doubling = format!("{}a.b{}", "timeShift(".repeat(20), ",'1h')".repeat(20));
    for (target, reason) in [
        ("scale(a.b", "at character 10"),
        ("nothing(a.b)", "no function `nothing`"),
        ("scale(a.b, 'x')", "`factor` takes a number"),
        ("12e", "400"),
        ("timeShift(a.b, '9999999999d')", "100 years"),
        (deep.as_str(), "at most 32"),
        (doubling.as_str(), "the most for one request"),
        ("{a,b,c,d,e,f,g,h}{a,b,c,d,e,f,g,h}{a,b,c,d,e,f,g,h}{a,b,c,d,e,f,g,h}{a,b,c,d,e,f,g,h}.x", "10000"),
    ] {
        if reason == "400" {
            // A path that nothing is called.
            assert_eq!(graphite.get("/render", &[("target", target)]), json!([]));
        } else {
            graphite.refused("/render", &[("target", target)], reason);
        }
    }
    let target = ("target", "a.b");
    graphite.refused("/render", &[target, ("format", "png")], "no pictures");
    graphite.refused("/render", &[target, ("from", "-5m")], "unit");
    graphite.refused("/render", &[target, ("from", "5"), ("until", "5")], "same time");
    graphite.refused("/render", &[target, ("tz", "Mars/Base")], "time zone");
    graphite.refused("/render", &[target, ("maxDataPoints", "many")], "whole number");
    graphite.refused("/render", &[target, ("jsonp", "steal")], "jsonp");
    graphite.refused("/render", &[target; 501], "at most 500");
    graphite.refused("/metrics/find", &[], "query is missing");
    graphite.refused("/metrics/find", &[("query", "*"), ("jsonp", "x")], "jsonp");
    graphite.refused("/metrics/find", &[("query", "*"), ("format", "pickle")], "treejson");
    graphite.refused("/metrics/find", &[("query", "*"), ("from", "soon")], "no time");
    graphite.refused("/metrics/expand", &[], "1 to 500");
    graphite.refused("/tags/findSeries", &[("expr", "host=~(")], "regular expression");
    graphite.refused("/tags/findSeries", &[], "must ask for a tag");
    graphite.refused("/tags/autoComplete/values", &[], "tag is missing");
    let json =
        request_with(graphite.address, "POST", "/render", &[("Content-Type", "application/json")], "{}");
    assert_eq!(json.status, 415, "{json:?}");
    assert_eq!(get(graphite.address, "/functions/x/y").status, 404);

    // Times beyond all rows are no trouble.
    for target in ["timeShift(a.b, '99y')", "summarize(a.b, '99y')", "movingAverage(a.b, 100000)"] {
        assert_eq!(
            graphite.get("/render", &[("target", target), ("from", "19700102")])[0]["target"]
                .as_str()
                .map(|_| ()),
            Some(()),
            "{target}"
        );
    }

    // All there is, from 1970 on, and a window in which there is nothing.
    let all = graphite.points("a.b", 0, 2_000_000_000);
    assert_eq!(all.iter().filter_map(|(value, _)| *value).collect::<Vec<_>>(), [1.0]);
    assert!(all.len() <= 100_000, "{}", all.len());
    assert!(graphite.points("a.b", 100, 1_000).iter().all(|(value, _)| value.is_none()));
}

#[test]
fn strange_names_are_asked_for_and_shown_as_they_are() {
    let graphite = Graphite::start(&["--no-monitor"]);
    let names =
        ["=1+2", "<b>&'x'", "a/b%41", "caf\u{e9}.\u{4e2d}", "q\"q", "br{ace", "pa(ren)", "st*ar", "b\\s"];
    for name in names {
        graphite.send(name, &[Record { timestamp: 1_000_000_000, value: 2.5 }]);
    }
    graphite.wait_for_names(&names);
    for name in names {
        let escaped: String = name
            .chars()
            .flat_map(|character| {
                let is_special = "\\(){},'\"|*?[".contains(character);
                is_special.then_some('\\').into_iter().chain([character])
            })
            .collect();
        let fields = [("target", escaped.as_str()), ("from", "999999900"), ("until", "1000000100")];
        let found = graphite.get("/render", &fields);
        assert_eq!(found[0]["target"], name, "{escaped}: {found}");
        assert!(points(&found[0]).iter().any(|(value, _)| *value == Some(2.5)), "{found}");
        let csv: Answer = get(graphite.address, &format!("/render?{}&format=csv", form(&fields)));
        assert!(!csv.body.starts_with(['=', '+', '-', '@']), "{csv:?}");
        assert_eq!(csv.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(rows(&graphite.server.repository(), "=1+2").len(), 1);
}
