//! Promise: over HTTP every operation follows the rules it has everywhere else; errors are JSON with the original's names
//! and numbers; and what is asked for over HTTP is what the running engine does.

use std::io::{Read, Write};
use std::net::SocketAddr;

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::http_client::{Answer, get, request};
use htm_tests::lone_run::assert_equal;
use htm_tests::program::{Server, fail, succeed};
use htm_tests::python;
use htm_tests::recording::series;
use htm_tests::sender::connect;
use htm_tests::stored::{rows, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::backends::DATABASE_FILE;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Api {
    server: Server,
    address: SocketAddr,
    _folder: TempDir,
}

impl Api {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(folder.path(), ["--no-monitor", "--http", "127.0.0.1:0"]);
        let address = server.announced("HTTP API: http://");
        Self { server, address, _folder: folder }
    }

    fn get(&self, path: &str) -> Value {
        let answer = get(self.address, path);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.address, method, path, body)
    }

    #[track_caller]
    fn refused(&self, method: &str, path: &str, body: &str, status: u16, name: &str, code: i64) -> Value {
        let answer = self.send(method, path, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let error = answer.json()["error"].clone();
        assert_eq!((error["name"].as_str(), error["code"].as_i64()), (Some(name), Some(code)), "{error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        error
    }
}

fn samples(count: usize) -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(count).collect()
}

fn body(samples: &[Record]) -> String {
    samples
        .iter()
        .map(|sample| format!("{:?} {}\n", sample.value, sample.timestamp))
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn a_metric_lives_its_whole_life_over_http() {
    let api = Api::start();
    let samples = samples(40);
    let spec = json!({"datasource": "custom", "metricSpec": {"metric": "speed", "resource": "road"},
        "modelParams": {"min": 0, "max": 100}});
    let made = api.send("POST", "/api/v1/models", &spec.to_string());
    assert_eq!((made.status, made.json()["status_name"].as_str()), (201, Some("create pending")));
    let uid = made.json()["uid"].as_str().expect("an id").to_owned();
    let sent = api.send("POST", "/api/v1/metrics/speed/samples", &body(&samples)).json();
    assert_eq!((sent["handed_over"].as_i64(), sent["refused_count"].as_i64()), (Some(40), Some(0)));
    let repository = api.server.repository();
    let stored = wait_for_scores(&repository, "speed", 40);
    let range = ValueRange::new(0.0, 100.0).expect("a range");
    assert_equal("over HTTP", &stored, &samples, range);

    wait_until("an active metric", || api.get("/api/v1/models/speed")["status"] == 1);
    let metric = api.get(&format!("/api/v1/metrics/{uid}"));
    assert_eq!((metric["rows"].as_i64(), metric["scored_rows"].as_i64()), (Some(40), Some(40)));
    assert_eq!((metric["server"].as_str(), metric["newest_row"]["rowid"].as_i64()), (Some("road"), Some(40)));
    assert_eq!(metric["parameters"]["modelParams"], json!({"min": 0.0, "max": 100.0}));
    assert_eq!(api.get("/api/v1/instances")[0]["server"], "road");
    let overview = api.get("/api/v1/overview");
    assert_eq!(
        (overview["metrics"]["active"].as_i64(), overview["rows"]["unscored"].as_i64()),
        (Some(1), Some(0))
    );
    assert_eq!(api.get("/healthz")["status"], "ok");
    assert_eq!(api.get("/readyz")["status"], "ok");
    assert_eq!(api.get("/api/v1/stats/display_value").as_array().map(Vec::len), Some(1));

    let gone = api.send("DELETE", &format!("/api/v1/models/{uid}"), "");
    assert_eq!((gone.status, gone.json()["status"].as_i64()), (200, Some(0)));
    assert!(rows(&repository, "speed").iter().all(|row| row.anomaly_score.is_none()));
    api.refused("GET", "/api/v1/models/speed", "", 404, "ObjectNotFoundError", 3);
    assert_eq!(api.send("DELETE", "/api/v1/metrics/speed", "").status, 200);
    api.refused("GET", "/api/v1/metrics/speed", "", 404, "ObjectNotFoundError", 3);
    assert!(api.server.terminate().success());
}

#[test]
fn rows_come_in_every_form_filtered_and_page_by_page() {
    let api = Api::start();
    // More than one page of rows.
    let lines: Vec<String> =
        (0..6_000).map(|row| format!("{} {}\n", row % 7, 1_000_000 + row * 60)).collect();
    let lines = lines.concat();
    api.send("POST", "/api/v1/metrics/many/samples", &lines);
    wait_until("6,000 rows", || get(api.address, "/api/v1/metrics/many/stats").json()["rows"] == 6_000);
    let all = api.get("/api/v1/metrics/many/data");
    let ids: Vec<i64> =
        all.as_array().expect("a list").iter().filter_map(|row| row["rowid"].as_i64()).collect();
    assert_eq!(ids, (1..=6_000).collect::<Vec<_>>());
    let ids = |options: &str| -> Vec<i64> {
        let rows = api.get(&format!("/api/v1/metrics/many/data?{options}"));
        rows.as_array().expect("a list").iter().filter_map(|row| row["rowid"].as_i64()).collect()
    };
    assert_eq!(ids("limit=2"), [1, 2]);
    assert_eq!(ids("limit=2&order=desc"), [6_000, 5_999]);
    assert_eq!(ids("first_row=3&last_row=4"), [3, 4]);
    assert_eq!(ids("from=1000060&to=1000120"), [2, 3]);
    assert_eq!(ids("from=1970-01-12T13:47:40Z&to=1000060"), [2]);
    assert_eq!(ids("scored=true"), [0_i64; 0]);
    assert_eq!(ids("order=desc").len(), 6_000);
    let text = |format: &str| get(api.address, &format!("/api/v1/metrics/many/data?limit=2&format={format}"));
    assert_eq!(text("text").body, "many 0.0 1000000 None\nmany 1.0 1000060 None\n");
    let csv = text("csv");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.body.lines().nth(2), Some("2,1970-01-12 13:47:40,1.0,,,,,"));
    assert_eq!(text("ndjson").body.lines().count(), 2);
    assert_eq!(text("json").json()[1]["anomaly_score"], Value::Null);
    assert_eq!(get(api.address, "/api/v1/metrics/many/data?first_row=7000").json(), json!([]));
    // Nothing has come since 1970, every value was another, and there is no model.
    let signals = json!([
        {"name": "no_data", "state": "on", "since": 1_000_000 + 5_999 * 60 + 180},
        {"name": "flat_line", "state": "off"},
        {"name": "out_of_range", "state": "unknown"},
        {"name": "saturated_encoder", "state": "unknown"},
    ]);
    assert_eq!(get(api.address, "/api/v1/metrics/many/signals").json(), signals);
    for options in ["order=up", "format=xml", "from=soon", "limit=-1", "colour=red", "score=-1"] {
        api.refused("GET", &format!("/api/v1/metrics/many/data?{options}"), "", 400, "ValueError", 4);
    }
}

#[test]
fn bad_samples_cost_only_themselves_and_are_told() {
    let api = Api::start();
    let answer = api.send(
        "POST",
        "/api/v1/metrics/m/samples",
        "1 1000\nx 1001\n\n2  1002.5\r\nnan 1003\n5\n3\t1004\n",
    );
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!((answer["handed_over"].as_i64(), answer["refused_count"].as_i64()), (Some(3), Some(3)));
    let told: Vec<(i64, &str)> = answer["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|line| Some((line["line"].as_i64()?, line["reason"].as_str()?)))
        .collect();
    assert_eq!(told, [(2, "bad_value"), (5, "nan_value"), (6, "wrong_field_count")]);
    let stats = || get(api.address, "/api/v1/metrics/m/stats");
    wait_until("three rows", || stats().status == 200 && stats().json()["rows"] == 3);
    api.refused("POST", "/api/v1/metrics/m/samples", "x y\n", 400, "ValueError", 4);
    api.refused("POST", "/api/v1/metrics/a%20b/samples", "1 2\n", 400, "ValueError", 4);
    assert_eq!(api.send("POST", "/api/v1/metrics/m/samples", "").json()["handed_over"], 0);
}

#[test]
fn errors_are_json_with_the_originals_names_and_numbers() {
    let api = Api::start();
    assert_eq!(api.send("PUT", "/api/v1/metrics/m", "").status, 201);
    let error = api.refused("PUT", "/api/v1/metrics/m", "", 409, "MetricAlreadyExists", 2);
    let uid = error["uid"].as_str().expect("the id of the one there is").to_owned();
    assert_eq!(api.get("/api/v1/metrics/m")["uid"], uid.as_str());
    api.refused("PUT", "/api/v1/metrics/n", "{}", 400, "ValueError", 4);
    let spec = json!({"datasource": "custom", "metricSpec": {"uid": uid}}).to_string();
    assert_eq!(api.send("POST", "/api/v1/models", &spec).json()["status"], 8);
    api.refused("POST", "/api/v1/models", &spec, 409, "MetricAlreadyMonitored", 2);
    api.refused("POST", "/api/v1/models/m/activate", "", 409, "MetricStatisticsNotReadyError", 1);
    api.refused("POST", "/api/v1/models/none/activate", "", 404, "ObjectNotFoundError", 3);
    api.refused("POST", "/api/v1/models", "not JSON", 400, "ValueError", 4);
    api.refused("POST", "/api/v1/models", "{}", 400, "ValueError", 4);
    api.refused("GET", "/api/v1/nothing", "", 404, "NoSuchRoute", 1);
    api.refused("PATCH", "/api/v1/metrics", "", 405, "NoSuchMethod", 1);
    api.refused("GET", "/api/v1/metrics/%ff", "", 400, "ValueError", 4);
    api.refused("GET", "/api/v1/metrics?status=sleeping", "", 400, "ValueError", 4);
    api.refused("DELETE", "/api/v1/metrics/none", "", 404, "ObjectNotFoundError", 3);
    let large = " ".repeat((1 << 20) + 1);
    api.refused("POST", "/api/v1/models", &large, 413, "BodyTooLarge", 1);
    assert_eq!(api.get("/readyz")["status"], "ok", "and it goes on");
}

#[test]
fn of_a_list_a_bad_specification_costs_only_itself() {
    let api = Api::start();
    let spec = |name: &str, params: Value| json!({"datasource": "custom", "metricSpec": {"metric": name}, "modelParams": params});
    let list =
        json!([spec("a", json!({"min": 0, "max": 1})), spec("b", json!({"min": 0})), spec("c", json!({}))]);
    let answer = api.send("POST", "/api/v1/models", &list.to_string());
    assert_eq!(answer.status, 207);
    let answer = answer.json();
    assert_eq!((answer[0]["name"].as_str(), answer[2]["name"].as_str()), (Some("a"), Some("c")));
    assert_eq!(answer[1]["error"]["code"], 4);
    let names = |path: &str| -> Vec<String> {
        let list = api.get(path);
        list["metrics"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names("/api/v1/metrics"), ["a", "c"]);
    assert_eq!(names("/api/v1/models?status=pending_data"), ["c"]);
    assert_eq!(names("/api/v1/metrics?cursor=a"), ["c"]);
    assert_eq!(names("/api/v1/metrics?server=a&limit=1"), ["a"]);
}

#[test]
fn names_in_paths_are_percent_decoded() {
    let api = Api::start();
    assert_eq!(api.send("PUT", "/api/v1/metrics/disk%2Fsda;host=web%C3%A9", "").status, 201);
    assert_eq!(api.get("/api/v1/metrics")["metrics"][0]["name"], "disk/sda;host=web\u{e9}");
    assert_eq!(api.get("/api/v1/metrics/disk%2fsda%3Bhost=web%C3%A9")["rows"], 0);
}

#[test]
fn an_export_goes_into_another_engine_over_http_and_over_the_command_line() {
    let (from, to) = (Api::start(), Api::start());
    let now = htmengine::clock::Clock::unix_seconds(&htmengine::clock::SystemClock::new());
    let spec = json!({"datasource": "custom", "metricSpec": {"metric": "m", "unit": "Count"}});
    from.send("POST", "/api/v1/models", &spec.to_string());
    from.send("POST", "/api/v1/metrics/m/samples", &format!("0.1 {}\n2 {}\n", now - 600, now - 300));
    let stats = || get(from.address, "/api/v1/metrics/m/stats");
    wait_until("two rows", || stats().status == 200 && stats().json()["rows"] == 2);
    let export = get(from.address, "/api/v1/models/m/export").body;
    let imported = to.send("POST", "/api/v1/models/import", &export);
    assert_eq!((imported.status, imported.json()["status"].as_i64()), (201, Some(8)));
    assert_eq!(get(to.address, "/api/v1/models/m/export").body, export);

    let data_dir = to.server.data_dir().to_str().expect("plain characters").to_owned();
    let exported = succeed(["export", "m", "--data-dir", &data_dir]);
    assert_eq!(serde_json::from_str::<Value>(&exported).ok(), serde_json::from_str(&export).ok());
    succeed(["delete", "m", "--data-dir", &data_dir]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("[{exported}]")).expect("written");
    let path = file.path().to_str().expect("plain characters");
    assert_eq!(succeed(["import", path, "--data-dir", &data_dir]), "m has status pending data\n");
    let all: Value =
        serde_json::from_str(&succeed(["export", "--all", "--data-dir", &data_dir])).expect("JSON");
    assert_eq!(all[0], serde_json::from_str::<Value>(&export).expect("JSON"));
    assert_eq!(succeed(["activate", "m", "--data-dir", &data_dir]), "m has status create pending\n");
    wait_until("an active metric", || to.get("/api/v1/models/m")["status"] == 1);
    fail(["activate", "none", "--data-dir", &data_dir], 1, &["there is no metric", "none"]);
}

#[test]
fn verbs_follow_the_same_rules() {
    let api = Api::start();
    let data_dir = api.server.data_dir().to_str().expect("plain characters").to_owned();
    let made: Value =
        serde_json::from_str(&succeed(["create", "m", "--json", "--data-dir", &data_dir])).expect("JSON");
    let uid = made["uid"].as_str().expect("an id");
    fail(["create", "m", "--data-dir", &data_dir], 1, &["there is a metric named `m` already", uid]);
    let spec = tempfile::NamedTempFile::new().expect("a file");
    let path = spec.path().to_str().expect("plain characters");
    std::fs::write(
        spec.path(),
        json!({"datasource": "custom", "metricSpec": {"uid": uid, "resource": "r"}}).to_string(),
    )
    .expect("written");
    succeed(["monitor", "--spec", path, "--data-dir", &data_dir]);
    let listed =
        succeed(["metrics", "--server", "r", "--status", "pending_data", "--json", "--data-dir", &data_dir]);
    assert_eq!(serde_json::from_str::<Value>(&listed).expect("JSON")[0]["name"], "m");
    assert_eq!(succeed(["metrics", "--status", "error", "--data-dir", &data_dir]).lines().count(), 1);
    fail(["metrics", "--status", "asleep", "--data-dir", &data_dir], 1, &["asleep", "no status"]);
    assert!(succeed(["instances", "--data-dir", &data_dir]).contains("pending data"));
    succeed(["monitor", uid, "--min", "0", "--max", "5", "--data-dir", &data_dir]);
    wait_until("an active metric", || api.get("/api/v1/models/m")["status"] == 1);
    succeed(["unmonitor", uid, "--data-dir", &data_dir]);
    assert_eq!(api.get("/api/v1/metrics/m")["status"], 0);
    succeed(["delete", uid, "--data-dir", &data_dir]);
    api.refused("GET", "/api/v1/metrics/m", "", 404, "ObjectNotFoundError", 3);
}

#[test]
fn the_old_applications_routes_have_its_shapes() {
    let api = Api::start();
    assert_eq!(api.get("/_metrics"), json!(["custom"]));
    let samples = samples(5);
    api.send("POST", "/api/v1/metrics/m/samples", &body(&samples));
    wait_until("five rows", || get(api.address, "/api/v1/metrics/m/stats").json()["rows"] == 5);
    let uid = api.get("/_metrics/custom")[0]["uid"].as_str().expect("an id").to_owned();
    let flat = json!({"uid": uid, "datasource": "custom", "min": 0, "max": 100});
    let made = api.send("PUT", "/_models", &json!([flat]).to_string());
    assert_eq!((made.status, made.json()[0]["uid"].as_str()), (201, Some(uid.as_str())));
    assert_eq!(api.send("POST", "/_models", &flat.to_string()).status, 201, "monitored already is shown");
    wait_for_scores(&api.server.repository(), "m", 5);
    let data = api.get(&format!("/_models/{uid}/data?limit=2"));
    assert_eq!(data["names"], json!(["timestamp", "value", "anomaly_score", "rowid"]));
    assert_eq!((data["data"][0][3].as_i64(), data["data"][1][3].as_i64()), (Some(5), Some(4)));
    let from = api.get(&format!("/_models/{uid}/data?from=0"));
    assert_eq!((from["data"][0][3].as_i64(), from["data"][0][2].as_f64()), (Some(1), Some(0.0)));
    assert_eq!(api.get("/_models/data/stats"), json!({"processing_time_remaining": 0.0}));
    assert_eq!(api.get("/_models")[0]["display_name"], "m");
    assert_eq!(api.get("/_models/export")[0]["metricSpec"]["metric"], "m");
    assert_eq!(api.send("DELETE", "/_instances", "[\"m\"]").json(), json!({"result": "success"}));
    api.refused("DELETE", "/_instances", "[\"m\"]", 404, "ObjectNotFoundError", 3);
    assert_eq!(api.send("DELETE", "/_metrics/custom/m", "").status, 200);
    api.refused("DELETE", "/_metrics/custom/m", "", 404, "ObjectNotFoundError", 3);
    api.refused("POST", "/_models", "{\"datasource\": \"custom\"}", 400, "ValueError", 4);
}

#[test]
fn nonsense_on_a_connection_ends_only_that_connection() {
    let api = Api::start();
    for nonsense in [
        "\0\0\0\0\r\n\r\n",
        "GET /healthz SPDY/9\r\n\r\n",
        "POST /api/v1/models HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut stream = connect(api.address);
        stream.write_all(nonsense.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    }
    assert_eq!(api.get("/readyz")["status"], "ok");
    // One that never finishes its request does not keep the engine from stopping.
    let mut idle = connect(api.address);
    idle.write_all(b"GET /api/v1/health HTTP/1.1\r\n").expect("sent");
    assert!(api.server.terminate().success());
}

/// The client of the one sees an answer without an end, that of the other a status: why, only the log could tell, and did not.
#[test]
fn an_answer_that_breaks_off_and_a_failure_told_as_text_are_in_the_log_with_their_reasons() {
    const ROWS: usize = 60_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["--no-monitor", "--http", "127.0.0.1:0", "--web-app", "127.0.0.1:0"];
    let server = Server::start(folder.path(), arguments);
    let (http, web_app) =
        (server.announced("HTTP API: http://"), server.announced("web application: http://"));
    let lines: Vec<String> = (0..ROWS).map(|row| format!("1 {}\n", 1_000_000 + row * 60)).collect();
    assert_eq!(request(http, "POST", "/api/v1/metrics/many/samples", &lines.concat()).status, 200);
    wait_until("all rows", || get(http, "/api/v1/metrics/many/stats").json()["rows"] == ROWS);
    // More than the buffers on the way hold, so that there are pages left to read.
    let mut reader = connect(http);
    let head = "GET /api/v1/metrics/many/data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    reader.write_all(head.as_bytes()).expect("sent");
    let mut answer = vec![0; 1_024];
    let length = reader.read(&mut answer).expect("a head");
    answer.truncate(length);
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let database = server.data_dir().join(DATABASE_FILE).display().to_string();
    python::succeed("rename_table.py", [&database, "metric_data", "gone"], "");
    // However it ends.
    let _ = reader.read_to_end(&mut answer);
    assert!(!answer.ends_with(b"0\r\n\r\n"), "{} bytes and an end", answer.len());
    assert!(logged(&server, "an answer was broken off", "reading rows failed: "), "{}", server.log());
    assert_eq!(get(web_app, "/many").status, 500);
    assert!(logged(&server, "a request failed", "no such table"), "{}", server.log());
}

/// Whether a line of the log says both.
fn logged(server: &Server, event: &str, reason: &str) -> bool {
    server.log().lines().any(|line| line.contains(event) && line.contains(reason))
}
