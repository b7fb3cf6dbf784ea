//! Pickled samples over a real socket, as senders write them with Python's own pickler, and pickles that nobody should
//! load.

use std::io::Write;
use std::net::SocketAddr;

use htm_tests::program::Server;
use htm_tests::python;
use htm_tests::seeded_random::SeededRandom;
use htm_tests::sender::{connect, finish, send};
use htm_tests::stored::{row_count, wait_for_rejects, wait_for_rows};
use htmengine::reject::RejectReason;

use crate::{MAX_GROWTH_BYTES, start};

fn started(folder: &std::path::Path) -> (Server, SocketAddr) {
    let server = start(folder, "pickle = \"127.0.0.1:0\"\n");
    let pickle = server.announced("pickled samples: on TCP ");
    (server, pickle)
}

fn python(address: SocketAddr, arguments: &[&str]) -> String {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let arguments = [&[&*host, &*port], arguments].concat();
    python::succeed("send_pickle.py", arguments, "")
}

/// A frame of this pickle.
#[expect(clippy::big_endian_bytes, reason = "the length is sent in network order")]
fn frame(pickle: &[u8]) -> Vec<u8> {
    let length = u32::try_from(pickle.len()).expect("short").to_be_bytes();
    [&length[..], pickle].concat()
}

#[test]
fn what_python_pickles_is_stored_as_if_it_were_lines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, address) = started(folder.path());
    for sender in ["relay", "diamond", "statsd", "protocols"] {
        assert_eq!(python(address, &[sender]), "end\n", "{sender}: everything was taken");
    }
    let repository = server.repository();
    for host in 0..50 {
        let found = wait_for_rows(&repository, &format!("relay.host{host}.cpu"), 40);
        let expected = (0..40).map(|turn| f64::from(turn * 50 + host) / 7.0);
        assert!(found.iter().map(|row| row.value).eq(expected), "host {host}");
        assert_eq!(found[39].timestamp, 1_443_197_361 + i64::from(39 * 50 + host));
    }
    let diamond = wait_for_rows(&repository, "servers.h-1.diamond;dc=a", 30);
    assert_eq!(
        (diamond[1].value.to_bits(), diamond[2].value.to_bits()),
        (1.0_f64.to_bits(), 2.25_f64.to_bits())
    );
    let statsd = wait_for_rows(&repository, "stats.counters.a", 30);
    assert_eq!(statsd[29].value.to_bits(), 29.5_f64.to_bits());
    for protocol in 0..6 {
        let found = wait_for_rows(&repository, &format!("protocol{protocol}.\u{fc}\u{4e2d}"), 5);
        let values: Vec<f64> = found.iter().map(|row| row.value).collect();
        assert_eq!(values, [-1.0, 2.0_f64.powi(80), 1e-300, 1.0, 2_147_483_648.0], "protocol {protocol}");
        assert_eq!(found[1].timestamp, 1_443_197_362, "fractions of a second are dropped");
    }
    assert_eq!(wait_for_rejects(&repository, RejectReason::BadName, 6).0, 6);
    assert_eq!(wait_for_rejects(&repository, RejectReason::NanValue, 6).0, 6);
}

#[test]
fn a_pickle_that_would_run_something_is_refused_by_name_and_its_neighbours_are_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, address) = started(folder.path());
    let proof = folder.path().join("executed");
    let ends = python(address, &["hostile", proof.to_str().expect("text")]);
    assert!(ends.lines().count() == 6 && !ends.contains("answer"), "{ends}");
    let (count, example) = wait_for_rejects(&server.repository(), RejectReason::UnsafePickle, 6);
    assert_eq!(count, 6);
    assert!(example.starts_with("127.0.0.1: STACK_GLOBAL (0x93) at byte "), "{example}");
    wait_for_rows(&server.repository(), "before.hostile", 6);
    assert_eq!(row_count(&server.repository(), "after.hostile"), 0, "all of a frame or nothing");
    assert!(!proof.exists(), "something was executed");
}

#[test]
fn frames_of_any_bytes_and_lengths_cost_their_connection_and_little_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, address) = started(folder.path());
    let before = server.memory_bytes("VmRSS");
    let mut random = SeededRandom::new(11);
    let explosive = |recalls: usize| {
        let name = [&b"](B\xe8\x03\x00\x00"[..], &[b'n'; 1_000], b"K\x01K\x02\x86\x86q\x01"].concat();
        frame(&[name, b"h\x01".repeat(recalls), b"e.".to_vec()].concat())
    };
    let mut hostile = vec![
        b"servers.a 1 1443197361\n".to_vec(),
        vec![0; 4],
        vec![0xff; 4],
        frame(&vec![b']'; 1 << 20]),
        frame(&vec![b'('; 1 << 20]),
        frame(&[&b"K\x01"[..], &vec![b'2'; (1 << 20) - 2]].concat()),
        frame(&b"]r\xff\xff\xff\x7f".repeat(100_000)),
        explosive(500_000),
    ];
    hostile.extend((0..40).map(|length| frame(&random.bytes(length * 50 + 1))));
    let count = hostile.len();
    for bytes in hostile {
        let mut stream = connect(address);
        // It may be closed before it has all been sent.
        let _ = stream.write_all(&bytes);
        drop(stream);
    }
    let refused = || {
        let rejects = server.repository();
        let entries = htmengine::repository::Repository::rejects(&rejects).expect("readable");
        let is_pickle = |reason| matches!(reason, RejectReason::BadPickle | RejectReason::UnsafePickle);
        entries.iter().filter(|entry| is_pickle(entry.reason)).map(|entry| entry.count).sum::<u64>()
    };
    htm_tests::waiting::wait_until("all refusals", || refused() == count as u64);
    // A frame that is never ended, and one that comes byte by byte.
    let mut slow = connect(address);
    for byte in frame(b"](U\x04slowK\x01K\x02\x86\x86e.") {
        slow.write_all(&[byte]).expect("sent");
    }
    let mut half = connect(address);
    half.write_all(&frame(&vec![0; 1 << 20])[..900_000]).expect("sent");
    finish(slow);
    wait_for_rows(&server.repository(), "slow", 1);
    send(server.address(), b"others 1 1443197361\n");
    wait_for_rows(&server.repository(), "others", 1);
    let growth = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_BYTES, "memory grew by {growth} bytes");
    drop(half);
    assert!(server.terminate().success(), "a good end");
}
