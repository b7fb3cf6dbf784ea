//! Who may send lines: networks, and an address for each of the listener's sockets.

use std::io::{Read, Write};
use std::net::UdpSocket;

use htm_tests::program::{Server, succeed};
use htm_tests::sender::{connect, send};
use htm_tests::stored::{rows, wait_for_rejects};
use htm_tests::waiting::wait_until;
use htmengine::reject::RejectReason;
use htmengine::repository::Repository;

use super::Site;

fn udp_address(server: &Server) -> String {
    let line = server.announcement().iter().find(|line| line.contains(" and UDP ")).expect("UDP").clone();
    line.split(" and UDP ").nth(1).expect("an address").to_owned()
}

#[test]
fn senders_of_other_networks_are_refused_and_counted() {
    let site = Site::start("graphite_allow = [\"10.0.0.0/8\", \"::1\"]\n");
    let mut stream = connect(site.server.address());
    let _ = stream.write_all(b"a 1 1000\n");
    let read = stream.read(&mut [0; 1]);
    assert!(matches!(read, Ok(0) | Err(_)), "the connection is closed: {read:?}");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    datagrams.send_to(b"a 1 1000\n", udp_address(&site.server)).expect("sent");
    let repository = site.server.repository();
    let (count, example) = wait_for_rejects(&repository, RejectReason::NetworkNotAllowed, 2);
    assert!(count == 2 && example.starts_with("127.0.0.1:"), "{count} {example}");
    let data_dir = site.server.data_dir().to_str().expect("text");
    let told = succeed(["metrics", "--rejects", "--data-dir", data_dir]);
    assert!(told.contains("graphite_allow"), "what to do is told: {told}");
    assert!(repository.metrics(&[]).expect("metrics").is_empty());
    assert_eq!(site.server.log().matches("a sender was refused").count(), 1, "once a minute");
}

#[test]
fn senders_of_a_network_that_may_are_served() {
    let site = Site::start_with(
        "graphite_allow = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n",
        &["--graphite-udp", "127.0.0.1:0"],
    );
    assert_ne!(udp_address(&site.server), site.server.address().to_string());
    send(site.server.address(), b"a 1 1000\n");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    datagrams.send_to(b"b 1 1000\n", udp_address(&site.server)).expect("sent");
    let repository = site.server.repository();
    let is_there =
        |name: &str| repository.metrics(&[]).expect("metrics").iter().any(|metric| metric.name == name);
    wait_until("both metrics", || is_there("a") && is_there("b"));
    assert_eq!(rows(&repository, "a").len(), 1);
    assert!(repository.rejects().expect("a readable database").is_empty());
}
