//! What browsers are told, and what they are not let do: headers on every answer, no page through a name that was made to
//! point here, and bounds on requests.

use std::io::{Read, Write};
use std::net::SocketAddr;

use htm_tests::http_client::{Answer, exchange, get, request};
use htm_tests::sender::connect;

use super::{Site, new_key};

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.header(name).unwrap_or_else(|| panic!("no {name} in {answer:?}"))
}

fn assert_secured(answer: &Answer) {
    assert_eq!(header(answer, "x-content-type-options"), "nosniff");
    assert_eq!(header(answer, "referrer-policy"), "no-referrer");
    assert_eq!(header(answer, "x-frame-options"), "DENY");
    assert_eq!(header(answer, "cross-origin-resource-policy"), "same-origin");
    let policy = header(answer, "content-security-policy");
    assert!(policy.contains("default-src 'none'") || policy.contains("default-src 'self'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") || policy.contains("sandbox"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
}

#[test]
fn every_answer_tells_browsers_what_not_to_do_with_it() {
    let site = Site::start("");
    for path in
        ["/", "/assets/script/app.js", "/healthz", "/metrics", "/api/v1/overview", "/render?target=a", "/no"]
    {
        assert_secured(&get(site.api(), path));
    }
    assert_secured(&request(site.api(), "PATCH", "/api/v1/metrics", ""));
    assert_secured(&request(site.api(), "POST", "/api/v1/models", &" ".repeat((1 << 20) + 1)));
    assert!(header(&get(site.api(), "/"), "content-security-policy").starts_with("default-src 'self';"));
    for path in ["/none", "/data/pathDetails"] {
        assert_secured(&get(site.web_app(), path));
    }
    let (_, stanza) = new_key("read", "a");
    let refused = get(Site::start(&stanza).api(), "/");
    assert_eq!(refused.status, 401);
    assert_secured(&refused);
}

fn ask_as(address: SocketAddr, host: &str) -> Answer {
    exchange(&mut connect(address), host, "GET", "/api/v1/overview", &[], "")
}

#[test]
fn without_a_key_only_our_own_names_are_answered() {
    let site = Site::start("http_hosts = [\"htm.example\"]\n");
    for address in [site.api(), site.web_app()] {
        for host in
            ["localhost", &format!("localhost:{}", address.port()), "127.0.0.1", "[::1]:80", "htm.example:80"]
        {
            assert_ne!(ask_as(address, host).status, 421, "{host}");
        }
        for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.0.0.1"] {
            let answer = ask_as(address, host);
            assert_eq!(answer.status, 421, "{host}: {answer:?}");
            assert!(answer.body.contains("http_hosts"), "{answer:?}");
        }
    }
    let (key, stanza) = new_key("read", "a");
    let site = Site::start(&stanza);
    let headers = [("X-API-Key", key.as_str())];
    let answer = exchange(&mut connect(site.api()), "any.example", "GET", "/api/v1/overview", &headers, "");
    assert_eq!(answer.status, 200, "whoever has the key may call us by any name");
}

#[test]
fn requests_are_bounded_in_every_part() {
    let site = Site::start("");
    let address = site.api();
    let refused = |request: String| -> u16 {
        let mut stream = connect(address);
        // A server that refuses early closes before it has read all.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|code| code.parse().ok());
        status.unwrap_or(0)
    };
    let long = "a".repeat(1 << 20);
    for (what, request, expected) in [
        ("a head", format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"), [431, 0]),
        ("a path", format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), [414, 431]),
        (
            "headers",
            format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(10_000)),
            [431, 0],
        ),
        (
            "a body by its length",
            "POST /api/v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
                .to_owned(),
            [413, 413],
        ),
    ] {
        let status = refused(request);
        assert!(expected.contains(&status), "{what}: {status}");
    }
    assert_eq!(get(address, "/readyz").status, 200, "and it goes on");
}
