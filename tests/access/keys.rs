//! Keys and roles: every route needs the one that it is listed with, and no more.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use htm_tests::http_client::{Answer, get, request_with};
use htm_tests::program::{fail, succeed};
use htm_tests::source_tree::read;
use htmengine::http::needed_role::{API_ROUTES, GRAPHITE_PREFIX, OPEN_PATHS};
use serde_json::Value;

use super::{Site, new_key};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

fn ask(address: SocketAddr, method: &str, path: &str, key: Option<&str>) -> Answer {
    let value = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
    request_with(address, method, path, &headers, "")
}

/// A path of the route, about nothing that is there. A stream that never ends is refused for its options instead.
fn example(route: &str) -> String {
    let mut path = route.replace("{*path}", "none");
    while let (Some(start), Some(end)) = (path.find('{'), path.find('}')) {
        path.replace_range(start..=end, "none");
    }
    if path == "/api/v1/stream" { format!("{path}?colour=red") } else { path }
}

#[test]
fn every_route_needs_its_role_and_no_more() {
    let roles = ["read", "write", "admin"];
    let keys = roles.map(|role| new_key(role, &format!("{role}er")));
    let site = Site::start(&keys.each_ref().map(|(_, stanza)| stanza.as_str()).concat());
    let address = site.api();
    for (route, methods) in API_ROUTES {
        let path = example(route);
        for method in METHODS {
            let Some((_, needed)) = methods.iter().find(|(listed, _)| *listed == method) else {
                let answer = ask(address, method, &path, Some(&keys[2].0));
                // One parameter matches what is a route of its own with other methods.
                assert!([405, 404].contains(&answer.status), "{method} {path}: {answer:?}");
                continue;
            };
            let answer = ask(address, method, &path, None);
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
            assert!(
                answer.header("www-authenticate").is_some_and(|it| it.starts_with("Basic ")),
                "{answer:?}"
            );
            assert!(answer.body.contains("htmengine key new"), "{answer:?}");
            for (role, (key, _)) in roles.iter().zip(&keys) {
                let answer = ask(address, method, &path, Some(key));
                let rank = |role: &str| roles.iter().position(|known| *known == role);
                if rank(role) < rank(needed.name()) {
                    assert_eq!(answer.status, 403, "{method} {path} as {role}: {answer:?}");
                    let message =
                        answer.json()["error"]["message"].as_str().map(str::to_owned).expect("a message");
                    let told = [format!("'{role}er'"), role.to_string(), format!("--role {}", needed.name())];
                    assert!(told.iter().all(|part| message.contains(part)), "{message}");
                } else {
                    assert!(
                        ![401, 403, 405].contains(&answer.status),
                        "{method} {path} as {role}: {answer:?}"
                    );
                }
            }
        }
    }
    for path in OPEN_PATHS {
        assert_eq!(get(address, path).status, 200, "{path}");
    }
    for path in ["/nowhere", "/api/v2"] {
        let status = |key| ask(address, "POST", path, key).status;
        assert_eq!((status(None), status(Some(&keys[0].0))), (401, 404), "{path}");
    }
    for path in ["/render/", "/graphite/render", "/graphite/metrics/find/", "/graphite/tags/none"] {
        assert!(path.starts_with(GRAPHITE_PREFIX) || path.ends_with('/'));
        let status = |key| ask(address, "POST", path, key).status;
        assert_eq!(status(None), 401, "{path}");
        assert!(![401, 403, 404].contains(&status(Some(&keys[0].0))), "{path}");
    }
    let web_app = site.web_app();
    for (method, least) in [("GET", 0), ("POST", 1), ("PUT", 1), ("DELETE", 2)] {
        assert_eq!(ask(web_app, method, "/none", None).status, 401, "{method}");
        for (rank, (key, _)) in keys.iter().enumerate() {
            let is_refused = [401, 403].contains(&ask(web_app, method, "/none", Some(key)).status);
            assert_eq!(is_refused, rank < least, "{method} {rank}");
        }
    }
    assert!(site.server.terminate().success());
}

#[test]
fn the_description_names_the_role_of_every_route() {
    let described: Value = serde_json::from_str(&read("service/src/http/openapi.json")).expect("JSON");
    let mut there = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            if !operation.is_object() || OPEN_PATHS.contains(&path.as_str()) {
                continue;
            }
            let role = operation["x-role"].as_str().unwrap_or("read");
            there.insert((path.as_str(), method.to_uppercase(), role));
        }
    }
    let listed: BTreeSet<_> = API_ROUTES
        .iter()
        .filter(|(path, _)| path.starts_with("/api/") || ["/readyz", "/metrics"].contains(path))
        .flat_map(|(path, methods)| {
            methods.iter().map(|(method, role)| (*path, (*method).to_owned(), role.name()))
        })
        .collect();
    assert_eq!(there, listed);
}

#[test]
fn a_key_is_taken_from_wherever_clients_put_it_and_told_by_its_name_alone() {
    let (grafana, stanza) = new_key("read", "grafana");
    let site = Site::start(&format!("http_key = \"the plain one\"\n{stanza}"));
    let address = site.api();
    let status =
        |headers: &[(&str, &str)], method, path| request_with(address, method, path, headers, "").status;
    let basic = |text: &str| format!("Basic {}", base64(text));
    let as_user = basic(&format!("{grafana}:"));
    let as_password = basic(&format!("somebody:{grafana}"));
    for header in [
        ("Authorization", format!("Bearer {grafana}")),
        ("X-API-Key", grafana.clone()),
        ("Authorization", as_user),
        ("Authorization", as_password),
    ] {
        assert_eq!(status(&[(header.0, header.1.as_str())], "GET", "/api/v1/metrics"), 200, "{header:?}");
        assert_eq!(status(&[(header.0, header.1.as_str())], "GET", "/"), 200, "the dashboard: {header:?}");
        assert_eq!(status(&[(header.0, header.1.as_str())], "DELETE", "/api/v1/metrics/x"), 403);
    }
    assert_eq!(status(&[("X-API-Key", "the plain one")], "DELETE", "/api/v1/metrics/x"), 404, "an admin's");
    let wrong = format!("{grafana}x");
    for wrong in [wrong.as_str(), "", "grafana", stanza.lines().last().expect("a hash")] {
        assert_eq!(status(&[("X-API-Key", wrong)], "GET", "/api/v1/metrics"), 401, "{wrong}");
    }
    assert_eq!(get(address, &format!("/api/v1/metrics?key={grafana}")).status, 401, "never in an address");
    let log = site.server.log();
    assert!(log.contains("grafana") && log.contains("http_key"), "{log}");
    for secret in [grafana.as_str(), "the plain one", &stanza_hash(&stanza)] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let file = site.folder.path().join("htmengine.toml");
    let shown = succeed(["config", "show", "--config", file.to_str().expect("text")]);
    assert!(shown.contains("grafana (read)") && !shown.contains(&stanza_hash(&stanza)), "{shown}");
    assert!(!shown.contains("the plain one"), "{shown}");
}

fn stanza_hash(stanza: &str) -> String {
    let hash = stanza.split("sha256:").nth(1).expect("a hash");
    hash.trim_end().trim_end_matches('"').to_owned()
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn bad_keys_in_the_settings_are_told_without_what_stands_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("htmengine.toml");
    let config = file.to_str().expect("text");
    let (_, stanza) = new_key("read", "a");
    for (text, part) in [
        ("[[api_key]]\nname = \"a\"\nrole = \"read\"\nhash = \"geheim\"\n".to_owned(), "its hash is none"),
        (stanza.replace("\"read\"", "\"root\""), "expected one of `read`, `write`, `admin`"),
        (stanza.repeat(2), "twice"),
        ("http_key = 12345678\n".to_owned(), "not shown"),
        ("http_key = \"geheim\n".to_owned(), "not shown"),
        ("http_keyy = \"geheim\"\n".to_owned(), "unknown field `http_keyy`"),
        ("database = [\"geheim\"]\n".to_owned(), "not shown"),
        ("[alert.channel.headers]\nX-Token = geheim\n".to_owned(), "not shown"),
        ("[alert.channel]\nheaders = {\n  X-Token = 12345678\n}\n".to_owned(), "not shown"),
        ("http_key = \"\"\"\ngeheim".to_owned(), "not shown"),
        ("password geheim\n".to_owned(), "not shown"),
        ("database = \"mysql://user:7geheim\"\n".to_owned(), "database"),
        ("jobs = \"2 or so\"\n".to_owned(), "2 or so"),
        ("http_tls_cert = \"/a.pem\"\n".to_owned(), "http_tls_key is not"),
        ("http_hosts = [\"http://a\"]\n".to_owned(), "no name of a host"),
        ("graphite_allow = [\"10.0.0.1/8\"]\n".to_owned(), "10.0.0.0/8"),
    ] {
        fs::write(&file, &text).expect("written");
        fail(["config", "check", "--config", config], 1, &[part]);
        let told = htm_tests::program::run(["config", "check", "--config", config]).stderr;
        assert!(!told.contains("geheim") && !told.contains("12345678"), "{told}");
    }
    fail(["key", "new", "--role", "read", "--name", "a b"], 1, &["expected a name"]);
    fail(["key", "new", "--role", "root", "--name", "a"], 2, &["read, write, admin"]);
}
