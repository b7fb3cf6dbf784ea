//! Promise: clients of the original's skeleton web application find the routes, status codes and texts they know.

use std::net::SocketAddr;

use htm_tests::http_client::{Answer, get, request};
use htm_tests::program::Server;
use htm_tests::stored::{metric, row_count, status, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::repository::metric::MetricStatus;
use tempfile::TempDir;

struct WebApp {
    server: Server,
    address: SocketAddr,
    _folder: TempDir,
}

impl WebApp {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = [&["--no-monitor", "--web-app", "127.0.0.1:0"], more].concat();
        let server = Server::start(folder.path(), arguments);
        let address = server.announced("web application: http://");
        Self { server, address, _folder: folder }
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, body: &str, status: u16, text: &str) -> Answer {
        let answer = request(self.address, method, path, body);
        assert_eq!((answer.status, answer.body.as_str()), (status, text));
        assert_eq!(answer.header("content-type"), Some("text/html"));
        answer
    }

    #[track_caller]
    fn refused(&self, method: &str, path: &str, body: &str, status: u16, part: &str) {
        let answer = request(self.address, method, path, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(part), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/html"));
    }
}

#[test]
fn put_post_and_get_answer_as_the_skeleton_did() {
    let app = WebApp::start(&[]);
    let repository = app.server.repository();
    let made = request(app.address, "PUT", "/cpu_percent", "{\"min\": 0, \"max\": 100}");
    let uid = metric(&repository, "cpu_percent").expect("made").uid;
    assert_eq!((made.status, made.body), (201, format!("Created {uid}\n")));
    app.check(
        "PUT",
        "/cpu_percent",
        "{\"min\": 0, \"max\": 100}",
        400,
        "Model already exists for /cpu_percent",
    );
    app.check(
        "POST",
        "/cpu_percent",
        "5.5 1386201600\n6 1386201900\n",
        200,
        "Saved /cpu_percent 5.500000 @ 1386201600\nSaved /cpu_percent 6.000000 @ 1386201900\n",
    );
    app.check("POST", "/cpu_percent", "", 200, "");
    wait_for_scores(&repository, "cpu_percent", 2);
    let rows = "/cpu_percent 5.5 1386201600 0.0\n/cpu_percent 6.0 1386201900 0.0\n";
    app.check("GET", "/cpu_percent", "", 200, rows);
}

#[test]
fn refused_requests_change_nothing() {
    let app = WebApp::start(&[]);
    let repository = app.server.repository();
    for body in ["not JSON", "[1]", "{\"min\": 0}", "{\"minimum\": 0}"] {
        app.refused("PUT", "/m", body, 400, "Unable to parse request");
    }
    app.refused("PUT", "/a%20b", "", 400, "blanks");
    app.refused("POST", "/a%20b", "1 2\n", 400, "blanks");
    app.refused("POST", "/m", "1 1000\nbad line\n2 1300\n", 400, "line 2 `bad line`");
    app.refused("POST", "/m", "1\n", 400, "Nothing was saved: 1 lines");
    app.refused("GET", "/m", "", 404, "there is no metric");
    app.refused("DELETE", "/m", "", 404, "there is no metric");
    app.refused("GET", "/", "", 404, "/<metric>");
    app.refused("PATCH", "/m", "", 405, "expected PUT, POST, GET or DELETE");
    assert_eq!(metric(&repository, "m"), None);
    assert_eq!(row_count(&repository, "m"), 0);
}

#[test]
fn an_empty_put_waits_for_data_and_post_takes_any_blanks_and_times() {
    let app = WebApp::start(&[]);
    let repository = app.server.repository();
    assert_eq!(request(app.address, "PUT", "/m", "").status, 201);
    assert_eq!(status(&repository, "m"), Some(MetricStatus::PendingData));
    let saved = request(app.address, "POST", "/m", "1   1000\n2\t1300.9\r\n\n3 N\n");
    assert_eq!(saved.status, 200, "{saved:?}");
    assert!(
        saved.body.starts_with("Saved /m 1.000000 @ 1000\nSaved /m 2.000000 @ 1300\nSaved /m 3.000000 @ ")
    );
    wait_until("three rows", || row_count(&repository, "m") == 3);
    let rows = get(app.address, "/m").body;
    assert!(rows.starts_with("/m 1.0 1000 None\n/m 2.0 1300 None\n/m 3.0 "), "{rows}");
    assert_eq!(get(app.address, "/m?since=1001&until=2000").body, "/m 2.0 1300 None\n");
    assert_eq!(get(app.address, "/m?limit=2&until=2000").body, "/m 1.0 1000 None\n/m 2.0 1300 None\n");
    assert_eq!(get(app.address, "/m?limit=1&until=2000").body, "/m 2.0 1300 None\n", "the newest");
    assert_eq!(get(app.address, "/m?limit=5&since=9000000000").body, "");
    let json = get(app.address, "/m?format=json&limit=1");
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(
        (json.json()[0]["value"].as_f64(), json.json()[0]["anomaly_score"].is_null()),
        (Some(3.0), true)
    );
    app.refused("GET", "/m?format=xml", "", 400, "format is `xml`");
}

#[test]
fn delete_gives_up_the_model_and_with_purge_the_metric() {
    let app = WebApp::start(&[]);
    let repository = app.server.repository();
    request(app.address, "PUT", "/m", "{\"min\": 0, \"max\": 1}");
    let uid = metric(&repository, "m").expect("made").uid;
    app.check("DELETE", "/m", "", 200, &format!("Unmonitored {uid}\n"));
    assert_eq!(status(&repository, "m"), Some(MetricStatus::Unmonitored));
    app.refused("DELETE", "/m?purge=maybe", "", 400, "purge is `maybe`");
    app.check("DELETE", "/m?purge=1", "", 200, &format!("Deleted {uid}\n"));
    assert_eq!(metric(&repository, "m"), None);
}

#[test]
fn names_lose_their_slash_unless_it_is_to_stay() {
    let app = WebApp::start(&[]);
    request(app.address, "PUT", "/disk/sda", "");
    assert!(metric(&app.server.repository(), "disk/sda").is_some());

    let app = WebApp::start(&["--compat-slash-names"]);
    app.check("POST", "/m", "1 1000\n", 200, "Saved /m 1.000000 @ 1000\n");
    let repository = app.server.repository();
    wait_until("a row", || row_count(&repository, "/m") == 1);
    app.check("GET", "/m", "", 200, "/m 1.0 1000 None\n");
    assert_eq!(metric(&repository, "m"), None);
}

#[test]
fn what_a_path_says_is_no_page() {
    let app = WebApp::start(&[]);
    let answer = request(app.address, "POST", "/m", "<script>alert(1)</script> 5\n");
    assert_eq!(answer.status, 400);
    assert!(
        answer.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

/// What the tutorial's client does: a model for each route, samples one by one, the whole history for the last time, and
/// its own server's questions.
#[test]
fn the_traffic_tutorials_client_finds_its_routes() {
    let app = WebApp::start(&[]);
    let routes = ["1", "2", "speed;borough=Bronx;route=10"];
    for route in routes {
        assert_eq!(
            request(app.address, "PUT", &format!("/{route}"), "{\"min\": 0, \"max\": 80}").status,
            201
        );
        assert_eq!(
            request(app.address, "PUT", &format!("/{route}"), "{\"min\": 0, \"max\": 80}").status,
            400
        );
        for sample in 0..4 {
            // 1 August 2015, 20:00 in New York.
            let body = format!("{} {}", 40 + sample, 1_438_473_600 + 600 * sample);
            assert_eq!(request(app.address, "POST", &format!("/{route}"), &body).status, 200);
        }
        wait_for_scores(&app.server.repository(), route, 4);
    }
    let last = get(app.address, "/1").body.lines().last().map(str::to_owned);
    assert_eq!(last.as_deref(), Some("/1 43.0 1438475400 0.0"));
    assert_eq!(
        get(app.address, "/data/1").body,
        "timestamp,value,anomaly\n2015/08/01 20:00:00,40.0,0.0\n2015/08/01 20:10:00,41.0,0.0\n\
         2015/08/01 20:20:00,42.0,0.0\n2015/08/01 20:30:00,43.0,0.0\n"
    );
    let some = get(app.address, "/data/10?since=1438474200&until=1438475400&limit=1");
    assert_eq!(some.body, "timestamp,value,anomaly\n2015/08/01 20:10:00,41.0,0.0\n");
    let details = get(app.address, "/data/pathDetails?id=1,10").json();
    assert_eq!(
        (details["count"].as_i64(), details["paths"]["10"]["Borough"].as_str()),
        (Some(2), Some("Bronx"))
    );
    let matrix = get(app.address, "/data/anomalies").body;
    assert_eq!(matrix.lines().next(), Some("timestamp,1,2,10"));
    assert_eq!(matrix.lines().nth(4), Some("2015/08/01 20:30:00,0.0,0.0,0.0"));
    assert_eq!(get(app.address, "/data/anomalies?borough=Bronx").body.lines().next(), Some("timestamp,10"));
    let average = get(app.address, "/data/anomalyAverage?borough=Bronx").body;
    assert_eq!(average.lines().nth(1), Some("2015/08/01 20:00:00,0.0,0"));
    assert_eq!(get(app.address, "/data/anomalyAbove?threshold=0.9").body, "[]");
    let above = get(app.address, "/data/anomalyAbove?threshold=-1&until=1438474200").json();
    assert_eq!(above[0]["count"], 1, "{above}");
    assert_eq!(get(app.address, "/data/nowhere").status, 404);
    assert_eq!(get(app.address, "/data/anomalyAbove?threshold=x").status, 400);
}
