//! No name becomes a path: metrics called like files go every way that a metric goes, and no file but ours appears, is read
//! or disappears.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use htm_tests::http_client::{form, get, request};
use htm_tests::program::{run, succeed};
use htm_tests::sender::send;
use htm_tests::stored::wait_for_scores;
use htm_tests::waiting::wait_until;
use htmengine::repository::Repository;
use serde_json::json;

use super::Site;

const NAMES: [&str; 7] = [
    "../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "../serve.log",
    "..",
    "~/.profile",
    "file:///etc/passwd",
];

/// All files below a folder, by their paths in it.
fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if path.is_dir() {
            found.extend(files_below(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.insert(name);
        }
    }
    found
}

fn encoded(name: &str) -> String {
    form(&[("", name)]).trim_start_matches('=').to_owned()
}

#[test]
fn a_metric_called_like_a_file_touches_none() {
    let site = Site::start("");
    let (api, data) = (site.api(), site.server.data_dir().to_str().expect("text").to_owned());
    let passwd = fs::read("/etc/passwd").expect("every Unix has it");
    let repository = site.server.repository();
    for (number, name) in NAMES.into_iter().enumerate() {
        // Declared over HTTP, with a model; sent as a line, over HTTP and to the web application.
        let spec = json!({"datasource": "custom", "metricSpec": {"metric": name}, "modelParams": {"min": 0, "max": 9}});
        assert_eq!(request(api, "POST", "/api/v1/models", &spec.to_string()).status, 201, "{name}");
        send(site.server.address(), format!("{name} 1 1000\n").as_bytes());
        wait_for_scores(&repository, name, 1);
        let path = format!("/api/v1/metrics/{}/samples", encoded(name));
        assert_eq!(request(api, "POST", &path, "2 1060\n").status, 200, "{name}");
        wait_for_scores(&repository, name, 2);
        let sent = request(api, "POST", "/api/v1/ingest", &format!("{name} 3 1120\n"));
        assert_eq!(sent.status, 200, "{sent:?}");
        wait_for_scores(&repository, name, 3);
        for way in ["data", "series", "stats", "explain"] {
            let answer = get(api, &format!("/api/v1/metrics/{}/{way}", encoded(name)));
            assert!(!answer.body.contains("root:"), "{name} {way}: {answer:?}");
        }
        let answer = get(api, &format!("/api/v1/models/{}/export", encoded(name)));
        assert_eq!(answer.status, 200, "{answer:?}");
        let exported = succeed(["export", name, "--data-dir", &data]);
        assert!(!exported.contains("root:"), "{name}");
        assert!(!get(api, &format!("/render?{}", form(&[("target", name)]))).body.contains("root:"));
        assert_eq!(repository.metrics(&[]).expect("metrics").len(), number + 1);
    }
    succeed(["checkpoint", "--data-dir", &data]);
    let models = site.server.data_dir().join("models");
    // Two digits of the id, and the id.
    let is_by_id = |path: &String| {
        let id = path.strip_suffix(".model").and_then(|path| path.split_once('/'));
        let is_id = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        id.is_some_and(|(start, id)| is_id(id) && id.starts_with(start))
    };
    let saved = files_below(&models);
    assert!(saved.len() >= NAMES.len() && saved.iter().all(is_by_id), "{saved:?}");
    let around = files_below(site.folder.path());
    let ours = |name: &String| {
        ["htmengine.toml", "serve.log"].contains(&name.as_str()) || name.starts_with("htmengine-data/")
    };
    assert!(around.iter().all(ours), "{around:?}");
    for (number, name) in NAMES.into_iter().enumerate() {
        if number % 2 == 0 {
            succeed(["delete", name, "--data-dir", &data]);
        } else {
            assert_eq!(request(api, "DELETE", &format!("/api/v1/metrics/{}", encoded(name)), "").status, 200);
        }
    }
    wait_until("no model files", || files_below(&models).is_empty());
    let left: BTreeSet<String> = around.into_iter().filter(|name| !name.contains("models/")).collect();
    assert!(left.is_subset(&files_below(site.folder.path())), "nothing else is gone");
    assert_eq!(fs::read("/etc/passwd").expect("still there"), passwd);
}

#[test]
fn what_no_name_may_hold_is_refused_and_files_of_the_dashboard_are_its_own() {
    let site = Site::start("");
    let api = site.api();
    send(site.server.address(), b"nul\0name 1 1000\n../ok 1 1000\n");
    let repository = site.server.repository();
    wait_until("the good one", || repository.metric_by_name("../ok").expect("readable").is_some());
    assert_eq!(repository.metrics(&[]).expect("metrics").len(), 1);
    for path in ["/api/v1/metrics/nul%00name", "/api/v1/metrics/a%0Ab"] {
        assert_eq!(request(api, "PUT", path, "").status, 400, "{path}");
    }
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets//etc/passwd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/script/app.js%00",
        "/../../etc/passwd",
    ] {
        let answer = get(api, path);
        assert!([400, 404].contains(&answer.status) && !answer.body.contains("root:"), "{path}: {answer:?}");
        assert!(!get(site.web_app(), path).body.contains("root:"), "{path}");
    }
    let missing =
        run(["verify", "../../etc/passwd", "--data-dir", site.server.data_dir().to_str().expect("text")]);
    assert!(!missing.stdout.contains("root:") && !missing.stderr.contains("root:"), "{missing:?}");
}
