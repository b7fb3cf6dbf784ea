//! Promise: what is seen over HTTP is what is stored: rankings, heat, charts, explanations, live rows and the engine's own
//! figures; hostile names come back as they went in; and with an API key nobody is let in without it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;

use htm_core::detection::ALERT_THRESHOLD;
use htm_tests::http_client::{Answer, get, request, request_with};
use htm_tests::program::{self, Server};
use htm_tests::recording::series;
use htm_tests::sender::{connect, lines, send};
use htm_tests::stored::{rows, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::repository::metric_data::MetricRow;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Site {
    server: Server,
    address: SocketAddr,
    _folder: TempDir,
}

impl Site {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let all = ["--http", "127.0.0.1:0"].iter().chain(arguments);
        let server = Server::start(folder.path(), all);
        let address = server.announced("HTTP API: http://");
        Self { server, address, _folder: folder }
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let answer = get(self.address, path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    #[track_caller]
    fn refused(&self, path: &str) -> Answer {
        let answer = get(self.address, path);
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_i64()),
            (400, Some(4)),
            "{path}: {answer:?}"
        );
        answer
    }
}

fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().filter_map(|entry| entry[key].as_str()).collect()
}

#[test]
fn what_was_odd_is_ranked_drawn_and_explained() {
    let site = Site::start(&[]);
    let taxi: Vec<_> = series("nyc_taxi").into_iter().map(|(_, record)| record).collect();
    send(site.server.address(), lines("taxi;city=NYC", &taxi).as_bytes());
    send(site.server.address(), lines("calm;city=NYC", &taxi[..400]).as_bytes());
    let repository = site.server.repository();
    wait_for_scores(&repository, "taxi;city=NYC", taxi.len());
    wait_for_scores(&repository, "calm;city=NYC", 400);
    let stored = rows(&repository, "taxi;city=NYC");
    let marathon = the_marathon_is_the_oddest_of_its_days(&site, &stored);
    let episodes = episodes_add_up_by_metric_and_by_tag(&site, &stored);
    cells_are_the_largest_scores_of_their_time(&site, &stored);
    charts_keep_what_an_eye_looks_for(&site, &stored, episodes);
    an_explanation_says_what_is_stored(&site, marathon);
    for bad in [
        "anomalies?group_by=colour",
        "anomalies?from=soon",
        "anomalies?from=2015-01-01&until=2014-01-01",
        "anomalies?min_score=x",
        "anomalies?tag=city",
        "anomalies?colour=red",
        "heat?colour=red",
        "metrics?after=calm",
        "heat?cells=0",
        "heat?cells=501",
        "heat?sort=size",
        "metrics/calm;city=NYC/series?points=0",
        "metrics/calm;city=NYC/series?points=10001",
    ] {
        site.refused(&format!("/api/v1/{bad}"));
    }
}

fn detection_of(row: &MetricRow) -> f64 {
    row.detection.map_or(0.0, |detection| detection.score)
}

fn the_marathon_is_the_oddest_of_its_days<'a>(site: &Site, stored: &'a [MetricRow]) -> &'a MetricRow {
    let ranking = site.get("/api/v1/anomalies?from=2014-11-01&until=2014-11-03");
    let marathon = &ranking["anomalies"][0];
    assert_eq!(marathon["metric"], "taxi;city=NYC", "{ranking}");
    let peak = stored.iter().find(|row| Some(row.row_id.0) == marathon["peak_rowid"].as_i64());
    let peak = peak.expect("a row");
    assert_eq!(marathon["max_score"].as_f64(), Some(detection_of(peak)));
    assert_eq!(marathon["peak_value"].as_f64(), Some(peak.value));
    assert_eq!(marathon["peak_at"].as_i64(), Some(peak.timestamp));
    assert!((1_414_886_400..1_414_972_800).contains(&peak.timestamp), "2 November: {}", peak.timestamp);
    peak
}

/// Returns how many there are.
fn episodes_add_up_by_metric_and_by_tag(site: &Site, stored: &[MetricRow]) -> usize {
    let all = "from=2014-07-01&until=newest&limit=1000";
    let elevated = stored.iter().filter(|row| detection_of(row) >= ALERT_THRESHOLD).count();
    let counted = |grouping: &str| -> (usize, u64, u64) {
        let ranking = site.get(&format!("/api/v1/anomalies?{all}&group_by={grouping}&glob=taxi*"));
        let entries = ranking["anomalies"].as_array().expect("a list").clone();
        let scores: Vec<f64> = entries.iter().filter_map(|entry| entry["max_score"].as_f64()).collect();
        assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
        let sum = |key: &str| entries.iter().filter_map(|entry| entry[key].as_u64()).sum();
        (entries.len(), sum("episodes"), sum("rows"))
    };
    let (episodes, _, rows_of_episodes) = counted("episode");
    assert_eq!(rows_of_episodes, elevated as u64);
    assert_eq!(counted("metric"), (1, episodes as u64, elevated as u64));
    assert_eq!(counted("tag:city"), (1, episodes as u64, elevated as u64));
    assert_eq!(counted("tag:country"), (0, 0, 0));
    episodes
}

fn cells_are_the_largest_scores_of_their_time(site: &Site, stored: &[MetricRow]) {
    let heat = site.get("/api/v1/heat?from=2014-07-01&until=newest&cells=50&sort=score");
    assert_eq!(texts(&heat["rows"], "metric"), ["taxi;city=NYC", "calm;city=NYC"]);
    let (from, seconds) = (heat["from"].as_i64().expect("a time"), heat["cell_s"].as_i64().expect("seconds"));
    let mut wanted: BTreeMap<i64, f64> = BTreeMap::new();
    for row in stored.iter().filter(|row| detection_of(row) >= 0.1) {
        let cell = wanted.entry((row.timestamp - from) / seconds).or_default();
        *cell = cell.max(detection_of(row));
    }
    let cells = heat["rows"][0]["cells"].as_array().expect("cells");
    let found: BTreeMap<i64, f64> =
        (0..).zip(cells).filter_map(|(at, cell)| Some((at, cell.as_f64()?))).collect();
    assert_eq!((cells.len(), &found), (50, &wanted));
}

fn charts_keep_what_an_eye_looks_for(site: &Site, stored: &[MetricRow], episodes: usize) {
    let name = "/api/v1/metrics/taxi%3Bcity%3DNYC/series";
    let fine = site.get(&format!("{name}?from=2014-11-01&until=2014-11-03"));
    let values: Vec<f64> =
        fine["value"].as_array().expect("values").iter().filter_map(Value::as_f64).collect();
    let days = 1_414_800_000..=1_414_972_800;
    let of_days: Vec<f64> =
        stored.iter().filter(|row| days.contains(&row.timestamp)).map(|row| row.value).collect();
    assert_eq!(values, of_days);
    assert_eq!(fine["range"]["learned"], true);
    let coarse = site.get(&format!("{name}?points=200"));
    let column = |key: &str| -> Vec<f64> {
        coarse[key].as_array().expect("a column").iter().filter_map(Value::as_f64).collect()
    };
    let most = |numbers: Vec<f64>| numbers.into_iter().fold(f64::NEG_INFINITY, f64::max).to_bits();
    assert!(column("time").len() <= 200 && coarse["rows"] == 10_320, "{}", coarse["rows"]);
    assert_eq!(most(column("value_max")), most(stored.iter().map(|row| row.value).collect()));
    assert_eq!(most(column("detection")), most(stored.iter().map(detection_of).collect()));
    assert_eq!(coarse["anomalies"].as_array().map(Vec::len), Some(episodes));
}

fn an_explanation_says_what_is_stored(site: &Site, row: &MetricRow) {
    let name = "/api/v1/metrics/taxi%3Bcity%3DNYC/explain";
    let why = site.get(&format!("{name}?rowid={}", row.row_id));
    let unpredicted = why["unpredicted_columns"].as_f64().expect("columns") / 40.0;
    assert!((unpredicted - row.raw_anomaly_score.expect("scored")).abs() < 1e-6, "{why}");
    let open = row.detection.and_then(|detection| detection.open_predictions);
    assert_eq!(why["open_predictions"].as_u64(), open.map(u64::from));
    assert!(why["usual_range"]["high"].as_f64().is_some_and(|high| high < row.value), "{why}");
    assert!(why["fired"].as_array().is_some_and(|fired| !fired.is_empty()), "{why}");
    assert!(why["text"][0].as_str().is_some_and(|text| text.contains("of the 40 columns")), "{why}");
    let none = get(site.address, &format!("{name}?rowid=99999"));
    assert_eq!((none.status, none.json()["error"]["code"].as_i64()), (404, Some(3)));
}

#[test]
fn lists_are_filtered_and_paged() {
    let site = Site::start(&["--no-monitor"]);
    let names: Vec<String> = (0..25)
        .map(|at| format!("speed;borough={};route={at:02}", if at % 5 == 0 { "Bronx" } else { "Queens" }))
        .collect();
    let all: Vec<String> = names.iter().map(|name| format!("{name} 1 1700000000\n")).collect();
    let answer = request(site.address, "POST", "/api/v1/ingest", &(all.concat() + "bad line\nNaN;\n"));
    let verdict = answer.json();
    assert_eq!(
        (verdict["handed_over"].as_i64(), verdict["refused_count"].as_i64()),
        (Some(25), Some(2)),
        "{verdict}"
    );
    assert_eq!(texts(&verdict["refused"], "reason"), ["wrong_field_count", "wrong_field_count"]);
    wait_until("25 metrics", || site.get("/api/v1/metrics")["total"] == 25);
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = site.get(&format!("/api/v1/metrics?limit=10{cursor}"));
        found.extend(texts(&page["metrics"], "name").into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={}", next.replace(';', "%3B").replace('=', "%3D"));
    }
    assert_eq!(found, {
        let mut sorted = names.clone();
        sorted.sort();
        sorted
    });
    let total = |options: &str| site.get(&format!("/api/v1/metrics?{options}"))["total"].clone();
    assert_eq!(total("tag=borough=Bronx"), 5);
    assert_eq!(total("tag=borough=Bronx;route=10"), 1);
    assert_eq!(total("glob=*route=0?"), 10);
    assert_eq!(total("search=QUEENS"), 20);
    assert_eq!(total("status=active"), 0);
    let one = site.get("/api/v1/metrics?tag=route=07");
    let metric = &one["metrics"][0];
    assert_eq!(metric["tags"], json!({"borough": "Queens", "route": "07"}));
    assert_eq!(
        (metric["state"].as_str(), metric["newest_row"]["value"].as_f64()),
        (Some("unmonitored"), Some(1.0))
    );
}

#[test]
fn a_changed_range_starts_the_model_over_and_loses_no_row() {
    let site = Site::start(&["--no-monitor"]);
    let samples: Vec<_> = series("speed_7578").into_iter().map(|(_, record)| record).take(60).collect();
    send(site.server.address(), lines("speed", &samples).as_bytes());
    let spec = json!({"datasource": "custom", "metricSpec": {"metric": "speed"}, "modelParams": {"min": 0, "max": 10}});
    assert_eq!(request(site.address, "POST", "/api/v1/models", &spec.to_string()).status, 201);
    let repository = site.server.repository();
    let before = wait_for_scores(&repository, "speed", 60);
    wait_until("an active metric", || site.get("/api/v1/models/speed")["status"] == 1);
    let changed = request(site.address, "PUT", "/api/v1/metrics/speed/range", r#"{"min": 0, "max": 200}"#);
    assert_eq!((changed.status, changed.json()["status_name"].as_str()), (200, Some("create pending")));
    let again = wait_for_scores(&repository, "speed", 60);
    let range = site.get("/api/v1/metrics/speed")["range"].clone();
    assert_eq!(range, json!({"min": 0.0, "max": 200.0, "learned": false}));
    let scores =
        |rows: &[MetricRow]| -> Vec<Option<f64>> { rows.iter().map(|row| row.raw_anomaly_score).collect() };
    assert_ne!(scores(&before), scores(&again), "another range, another model");
    let bad = request(site.address, "PUT", "/api/v1/metrics/speed/range", r#"{"min": 5, "max": 1}"#);
    assert_eq!(bad.status, 400, "{bad:?}");
    assert_eq!(request(site.address, "PUT", "/api/v1/metrics/speed/range", "{}").status, 400);
}

#[test]
fn hostile_names_come_back_as_they_went_in() {
    let site = Site::start(&[]);
    let long = "x".repeat(255);
    let names = [
        "a'b\"c",
        "<script>alert(1)</script>",
        "x/../../etc/passwd",
        "100%25",
        "\u{43c}\u{435}\u{442}\u{440}\u{438}\u{43a}\u{430}",
        "=cmd|'/c'!A1",
        "a;--DROP=TABLE",
        &long,
    ];
    let text: Vec<String> = names.iter().map(|name| format!("{name} 1 1700000000\n")).collect();
    send(site.server.address(), text.concat().as_bytes());
    wait_until("all names", || site.get("/api/v1/metrics")["total"] == names.len());
    let listed = site.get("/api/v1/metrics");
    let listed: BTreeSet<&str> = texts(&listed["metrics"], "name").into_iter().collect();
    assert_eq!(listed, names.into_iter().collect());
    for name in names {
        let encoded: Vec<String> = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let encoded = encoded.concat();
        assert_eq!(site.get(&format!("/api/v1/metrics/{encoded}"))["name"], name);
        let csv = get(site.address, &format!("/api/v1/metrics/{encoded}/data?format=csv"));
        assert_eq!(csv.body.lines().count(), 2, "{csv:?}");
        assert_eq!(site.get(&format!("/api/v1/metrics?search={encoded}"))["total"], 1, "{name}");
    }
    assert_eq!(site.get("/api/v1/metrics?search=%27%20OR%201%3D1")["total"], 0);
}

#[test]
fn rows_are_followed_live() {
    let site = Site::start(&["--no-monitor"]);
    let spec = json!({"datasource": "custom", "metricSpec": {"metric": "live"}, "modelParams": {"min": 0, "max": 100}});
    request(site.address, "POST", "/api/v1/models", &spec.to_string());
    request(site.address, "POST", "/api/v1/models", &spec.to_string().replace("live", "other"));
    let mut stream = connect(site.address);
    write!(stream, "GET /api/v1/stream?metric=live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("asked");
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).expect("a line"), 0, "the stream goes on");
        line.trim_end().to_owned()
    };
    while !next().is_empty() {}
    let samples: Vec<_> = series("speed_7578").into_iter().map(|(_, record)| record).take(30).collect();
    send(site.server.address(), lines("other", &samples).as_bytes());
    send(site.server.address(), lines("live", &samples).as_bytes());
    let stored = wait_for_scores(&site.server.repository(), "live", 30);
    let mut seen = Vec::new();
    while seen.len() < 30 {
        let line = next();
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(event["metric"], "live");
        seen.extend(
            event["rows"]
                .as_array()
                .expect("rows")
                .iter()
                .map(|row| (row["rowid"].as_i64(), row["raw"].as_f64(), row["detection"].as_f64())),
        );
    }
    let wanted: Vec<_> = stored
        .iter()
        .map(|row| {
            (Some(row.row_id.0), row.raw_anomaly_score, row.detection.map(|detection| detection.score))
        })
        .collect();
    assert_eq!(seen, wanted);
}

#[test]
fn the_engines_own_figures_are_written_for_prometheus() {
    let site = Site::start(&[]);
    let samples: Vec<_> = series("speed_7578").into_iter().map(|(_, record)| record).take(300).collect();
    send(site.server.address(), lines("speed", &samples).as_bytes());
    send(site.server.address(), b"speed x 1\nspeed y 2\nnonsense\n");
    wait_for_scores(&site.server.repository(), "speed", 300);
    let figures = || -> BTreeMap<String, f64> {
        let answer = get(site.address, "/metrics");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let mut typed = BTreeSet::new();
        let mut figures = BTreeMap::new();
        for line in answer.body.lines().filter(|line| !line.is_empty()) {
            if let Some(of_type) = line.strip_prefix("# TYPE ") {
                assert!(typed.insert(of_type.split(' ').next().expect("a name").to_owned()), "twice: {line}");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("name and value");
                let family = name.split('{').next().expect("a name");
                let ends = ["_bucket", "_sum", "_count"];
                let base = ends.iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
                assert!(typed.contains(base) || typed.contains(family), "no type: {line}");
                figures.insert(name.to_owned(), value.parse().expect("a number"));
            }
        }
        figures
    };
    wait_until("figures of the scheduler", || figures().get("htmengine_models_resident") == Some(&1.0));
    let found = figures();
    let number = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("no {name} in {found:?}"));
    let wanted = [
        ("htmengine_lines_total", 303.0),
        ("htmengine_rows_stored_total", 300.0),
        ("htmengine_rows_scored_total", 300.0),
        ("htmengine_steps_total", 300.0),
        ("htmengine_step_seconds_count", 300.0),
        ("htmengine_rejects_total{reason=\"bad_value\"}", 2.0),
        ("htmengine_rejects_total{reason=\"wrong_field_count\"}", 1.0),
        ("htmengine_metrics{state=\"learning\"}", 1.0),
        ("htmengine_metrics{state=\"error\"}", 0.0),
        ("htmengine_rows_unscored", 0.0),
        ("htmengine_queue_depth{queue=\"data\"}", 0.0),
    ];
    for (name, value) in wanted {
        assert!((number(name) - value).abs() < 1e-9, "{name} is {}", number(name));
    }
    assert!(number("htmengine_resident_bytes") > 1e5);
    let rejects = site.get("/api/v1/rejects");
    assert_eq!(
        (rejects["total"].as_i64(), rejects["rejects"][0]["reason"].as_str()),
        (Some(3), Some("bad_value"))
    );
    assert_eq!(rejects["rejects"][0]["example"], "speed y 2");
    let overview = site.get("/api/v1/overview");
    assert_eq!(overview["health"]["status"], "ok", "{overview}");
    assert_eq!(
        (overview["metrics"]["learning"].as_i64(), overview["rows"]["scored_total"].as_i64()),
        (Some(1), Some(300))
    );
}

#[test]
fn the_engines_own_figures_may_be_metrics_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("htmengine.toml");
    std::fs::write(&config, "self_series = true\n").expect("written");
    let config = config.to_str().expect("plain characters");
    let server = Server::start(folder.path(), ["--no-monitor", "--http", "127.0.0.1:0", "--config", config]);
    let api = server.announced("HTTP API: http://");
    let total = |part: &str| get(api, &format!("/api/v1/metrics?search={part}")).json()["total"].clone();
    wait_until("a series of the engine's own", || {
        total("htmengine.agents.") != 0 && total(".metrics.error") == 1
    });
}

#[test]
fn without_the_key_nobody_is_let_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["--http", "127.0.0.1:0", "--web-app", "127.0.0.1:0"];
    let key = "a key: with blanks";
    let server = Server::start_changed(folder.path(), arguments, |command| {
        command.env("HTMENGINE_HTTP_KEY", key);
    });
    let api = server.announced("HTTP API: http://");
    let web_app = server.announced("web application: http://");
    for (method, path) in documented_routes(api, key) {
        if path == "/healthz" {
            continue;
        }
        let answer = request(api, &method, &path.replace("{metric}", "m"), "");
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        assert!(
            answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")),
            "{answer:?}"
        );
    }
    for path in ["/", "/_models", "/nothing/here", "/api/v1/metrics/../metrics"] {
        assert_eq!(get(api, path).status, 401, "{path}");
    }
    assert_eq!(get(web_app, "/m").status, 401);
    assert_eq!(get(api, "/healthz").status, 200);
    let with =
        |name: &str, value: &str| request_with(api, "GET", "/api/v1/metrics", &[(name, value)], "").status;
    assert_eq!(with("X-API-Key", key), 200);
    assert_eq!(with("Authorization", &format!("Bearer {key}")), 200);
    assert_eq!(with("X-API-Key", "a key: with blank"), 401);
    let settings = request_with(api, "GET", "/api/v1/settings", &[("X-API-Key", key)], "");
    assert!(settings.status == 200 && !settings.body.contains(key), "{settings:?}");
    assert!(!server.log().contains(key));
}

#[test]
fn an_address_that_others_reach_needs_a_key_or_somebodys_word() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().to_str().expect("plain characters");
    let serve = ["serve", "--graphite", "127.0.0.1:0", "--http", "0.0.0.0:0", "--data-dir", data];
    program::fail(serve, 1, &["0.0.0.0:0", "no API key", "HTMENGINE_HTTP_KEY", "--http-open"]);
    let open = Server::start(folder.path(), ["--http", "0.0.0.0:0", "--http-open"]);
    let port = open.announced("HTTP API: http://").port();
    assert_eq!(get(SocketAddr::from(([127, 0, 0, 1], port)), "/api/v1/metrics").status, 200);
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let site = Site::start(&["--no-monitor"]);
    let post = |headers: &[(&str, &str)]| {
        request_with(site.address, "POST", "/api/v1/ingest", headers, "m 1 1700000000\n")
    };
    assert_eq!(post(&[("Origin", "http://elsewhere.example")]).status, 403);
    assert_eq!(post(&[("Sec-Fetch-Site", "cross-site")]).status, 403);
    assert_eq!(site.get("/api/v1/overview")["rows"]["stored_total"], 0);
    assert_eq!(post(&[("Origin", &format!("http://{}", site.address))]).status, 200);
}

#[test]
fn every_documented_route_is_there_and_rows_come_as_messagepack_too() {
    let site = Site::start(&["--no-monitor"]);
    request(site.address, "POST", "/api/v1/ingest", "m 1.5 1700000000\nm 2.5 1700000300\n");
    wait_until("two rows", || site.get("/api/v1/overview")["rows"]["stored_total"] == 2);
    for (method, path) in documented_routes(site.address, "") {
        if path == "/api/v1/stream" {
            continue;
        }
        // Asked for last of all, or the others would find nothing.
        if method == "DELETE" {
            continue;
        }
        let answer = request(site.address, &method, &path.replace("{metric}", "m"), "");
        let is_route = answer.status != 405 && !answer.body.contains("NoSuchRoute");
        assert!(is_route && answer.status < 500, "{method} {path}: {answer:?}");
    }
    for path in ["/api/v1/models/m", "/api/v1/metrics/m"] {
        assert_eq!(request(site.address, "DELETE", path, "").status, 200, "{path}");
    }
    request(site.address, "POST", "/api/v1/ingest", "n 1.5 1700000000\n");
    wait_until("a row", || get(site.address, "/api/v1/metrics/n/stats").status == 200);
    let packed = get(site.address, "/api/v1/metrics/n/data?format=msgpack");
    assert_eq!(packed.header("content-type"), Some("application/octet-stream"));
    // A map of one; an array of eight with row 1, the time as u32, 1.5, and five times nothing.
    assert_eq!(packed.bytes[0], 0x81);
    let row = [
        0x98, 1, 0xce, 0x65, 0x53, 0xf1, 0x00, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0xc0, 0xc0, 0xc0,
        0xc0,
    ];
    assert!(packed.bytes.ends_with(&row), "{:x?}", packed.bytes);
}

/// Method and path of every route in the document.
fn documented_routes(api: SocketAddr, key: &str) -> Vec<(String, String)> {
    let document = request_with(api, "GET", "/api/v1/openapi.json", &[("X-API-Key", key)], "").json();
    let paths = document["paths"].as_object().expect("paths").clone();
    let methods = ["get", "put", "post", "delete"];
    let routes: Vec<(String, String)> = paths
        .iter()
        .flat_map(|(path, of)| {
            methods
                .iter()
                .filter(|method| of.get(**method).is_some())
                .map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    assert!(routes.len() > 30, "{}", routes.len());
    routes
}
