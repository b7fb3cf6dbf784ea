//! SIGHUP takes up who is let in: keys, a certificate that was renewed, networks; and keeps what it had where that cannot be.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use htm_tests::certificates::{Authority, connect_tls};
use htm_tests::http_client::{exchange, request_with};
use htm_tests::sender::connect;
use htm_tests::stored::{wait_for_rejects, wait_for_rows};
use htm_tests::waiting::wait_until;
use htmengine::reject::RejectReason;

use super::{Site, new_key};

fn status(address: SocketAddr, key: &str) -> u16 {
    request_with(address, "GET", "/api/v1/overview", &[("X-API-Key", key)], "").status
}

#[test]
fn keys_come_and_go_without_a_restart() {
    let ((old, old_stanza), (new, new_stanza)) = (new_key("read", "old"), new_key("read", "new"));
    let site = Site::start(&old_stanza);
    let statuses = || [status(site.api(), &old), status(site.api(), &new), status(site.api(), "")];
    assert_eq!(statuses(), [200, 401, 401]);
    let log = site.reload(&format!("{old_stanza}{new_stanza}"));
    assert!(log.contains("`api_key` is now") && !log.contains(&new), "{log}");
    assert_eq!(statuses(), [200, 200, 401]);
    site.reload(&new_stanza);
    assert_eq!(statuses(), [401, 200, 401], "a key that was taken out is a key no more");
    site.reload("http_key = \"secret of an admin\"\n");
    assert_eq!(statuses(), [401, 401, 401]);
    assert_eq!(status(site.api(), "secret of an admin"), 200);
    site.reload("");
    assert_eq!(statuses(), [200, 200, 200], "on a loopback address everybody");
}

#[test]
fn a_reader_whose_key_was_taken_out_follows_no_longer() {
    let ((gone, gone_stanza), (_, stanza)) = (new_key("read", "gone"), new_key("read", "kept"));
    let site = Site::start(&format!("{gone_stanza}{stanza}"));
    let mut reader = connect(site.api());
    let head = format!(
        "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: {gone}\r\n\r\n"
    );
    reader.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 1_024];
    let length = reader.read(&mut answer).expect("a head");
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
    site.reload(&stanza);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("the stream's end");
    assert!(rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn the_last_key_of_a_server_that_others_reach_stays() {
    let (key, stanza) = new_key("read", "only");
    let site = Site::start_at("0.0.0.0:0", &stanza, &[]);
    let address = SocketAddr::from(([127, 0, 0, 1], site.api().port()));
    let log = site.reload("");
    assert!(log.contains("`api_key` was changed, and that could not take effect"), "{log}");
    assert!(log.contains("there is no API key"), "{log}");
    assert_eq!((status(address, &key), status(address, "")), (200, 401));
}

/// Whether the server shows a certificate that this authority vouches for.
fn is_vouched_for(address: SocketAddr, authority: &Path) -> bool {
    let mut stream = connect_tls(address, authority);
    let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    sent.is_ok() && stream.read(&mut [0; 1]).is_ok_and(|count| count == 1)
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections() {
    let (first, second) = (Authority::new(), Authority::new());
    let (ours, renewed) = (first.certificate("server"), second.certificate("server"));
    let settings = format!(
        "http_tls_cert = \"{}\"\nhttp_tls_key = \"{}\"\n",
        ours.certificate.display(),
        ours.key.display()
    );
    let site = Site::start(&settings);
    let address = site.server.announced("HTTP API: https://");
    let vouched = || [&ours, &renewed].map(|of| is_vouched_for(address, &of.authority));
    assert_eq!(vouched(), [true, false]);
    let mut open = connect_tls(address, &ours.authority);
    assert_eq!(exchange(&mut open, "localhost", "GET", "/healthz", &[], "").status, 200);

    // Half of a renewal: key and certificate do not belong together.
    std::fs::copy(&renewed.certificate, &ours.certificate).expect("replaced");
    let log = site.reload(&settings);
    assert!(
        log.contains("the certificate stays as it was") && log.contains("is not the private key"),
        "{log}"
    );
    assert_eq!(vouched(), [true, false]);

    std::fs::copy(&renewed.key, &ours.key).expect("replaced");
    let log = site.reload(&settings);
    assert!(log.contains("`http_tls_cert` and `http_tls_key` were read again"), "{log}");
    assert_eq!(vouched(), [false, true]);

    let log = site.reload("");
    assert!(log.contains("TLS ends with a restart only"), "{log}");
    assert_eq!(vouched(), [false, true]);
}

#[test]
fn networks_come_and_go_and_connections_with_them() {
    let site = Site::start("");
    let repository = site.server.repository();
    let mut stream = connect(site.server.address());
    stream.write_all(b"a 1 1000\n").expect("sent");
    wait_for_rows(&repository, "a", 1);
    site.reload("graphite_allow = [\"10.0.0.0/8\"]\n");
    let ended = stream.read(&mut [0; 1]);
    assert!(matches!(ended, Ok(0) | Err(_)), "the connection is closed: {ended:?}");
    let (count, example) = wait_for_rejects(&repository, RejectReason::NetworkNotAllowed, 1);
    assert!(count == 1 && example.starts_with("127.0.0.1"), "{count} {example}");
    wait_until("the log", || site.server.log().contains("has their networks no longer"));
    site.reload("graphite_allow = [\"127.0.0.0/8\"]\n");
    connect(site.server.address()).write_all(b"a 2 2000\n").expect("sent");
    wait_for_rows(&repository, "a", 2);
}
