//! Promise: whatever arrives, the engine keeps serving: a bad line costs only itself and is counted under its reason
//! with an example, memory stays bounded, and everybody can see what was refused while the engine runs.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use htm_tests::program::{Server, succeed};
use htm_tests::seeded_random::SeededRandom;
use htm_tests::sender::{connect, finish, send};
use htm_tests::stored::{metric, row_count, rows, wait_for_rejects, wait_for_rows};
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::clock::{Clock, SystemClock};
use htmengine::reject::RejectReason;
use htmengine::repository::Repository;

/// Memory that hostile input may cost at most.
const MAX_GROWTH_BYTES: u64 = 100 << 20;

/// What the command line shows while the engine runs: reason, count, example.
fn listed_rejects(data_dir: &Path) -> Vec<(String, u64, String)> {
    let data_dir = data_dir.to_str().expect("text");
    let text = succeed(["metrics", "--rejects", "--json", "--data-dir", data_dir]);
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let entries = list.as_array().expect("a list");
    entries
        .iter()
        .map(|entry| {
            assert!(!entry["advice"].as_str().expect("advice").is_empty(), "{entry}");
            assert!(entry["last_seen"].as_i64().expect("a time") > 1_700_000_000, "{entry}");
            let text = |key: &str| entry[key].as_str().expect("text").to_owned();
            (text("reason"), entry["count"].as_u64().expect("a count"), text("example"))
        })
        .collect()
}

fn wait_for_total(data_dir: &Path, total: u64) -> Vec<(String, u64, String)> {
    wait_for("the ledger", || {
        let list = listed_rejects(data_dir);
        (list.iter().map(|(_, count, _)| count).sum::<u64>() >= total).then_some(list)
    })
}

/// Every kind of bad line, how often it is sent, and the start of the example that is kept (of the last one).
fn bad_lines(now: i64) -> Vec<(RejectReason, Vec<Vec<u8>>)> {
    let lines = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    let long_name = format!("{} 1 1443197361", "n".repeat(256));
    let (soon, later) = (format!("bad 1 {}", now + 90_000), "bad 1 95000000000");
    vec![
        (RejectReason::LineTooLong, vec![b"x".repeat(65_537), b"y".repeat(200_000)]),
        (RejectReason::NotText, vec![b"bad\xff 1 1443197361".to_vec(), b"bad 1 \xc3\x28".to_vec()]),
        (RejectReason::WrongFieldCount, lines(&["bad", "bad 1", "bad 1 2 3", "put bad 1443197361 1 host=a"])),
        (RejectReason::NameTooLong, lines(&[&long_name])),
        (
            RejectReason::BadName,
            lines(&["bad\u{1b}[31m 1 1443197361", "bad;tag 1 1", "bad;=1 1 1", ";a=b 1 1"]),
        ),
        (RejectReason::BadValue, lines(&["bad one 1443197361", "bad 0x10 1443197361", "bad 1,5 1443197361"])),
        (RejectReason::NanValue, lines(&["bad nan 1443197361", "bad NaN 1443197361"])),
        (RejectReason::InfiniteValue, lines(&["bad inf 1443197361", "bad 1e400 1443197361"])),
        (RejectReason::BadTimestamp, lines(&["bad 1 12:30PM", "bad 1 nan", "bad 1 inf"])),
        (RejectReason::NegativeTimestamp, lines(&["bad 1 -2", "bad 1 -1e300"])),
        (RejectReason::TimestampNotSeconds, lines(&["bad 1 1443197361000", "bad 1 253402300799"])),
        (RejectReason::FutureTimestamp, lines(&[&soon, later])),
        (RejectReason::LateSample, lines(&["good 1 1443197000", "good 1 0"])),
    ]
}

#[test]
fn every_kind_of_bad_line_costs_only_itself_and_is_counted_under_its_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start::<&str>(folder.path(), []);
    let bad_lines = bad_lines(SystemClock::new().unix_seconds());
    let mut sent = Vec::new();
    let mut good = 0;
    let mut good_line = |sent: &mut Vec<u8>| {
        good += 1;
        writeln!(sent, "good {good} {}", 1_443_197_360 + good).expect("a vector takes all");
        good
    };
    let mut last = good_line(&mut sent);
    for (_, lines) in &bad_lines {
        for line in lines {
            sent.extend(line);
            sent.push(b'\n');
            last = good_line(&mut sent);
        }
    }
    // The newest second once more.
    writeln!(sent, "good 77 {}", 1_443_197_360 + last).expect("a vector takes all");
    send(server.address(), &sent);
    let total: usize = bad_lines.iter().map(|(_, lines)| lines.len()).sum();
    let listed = wait_for_total(server.data_dir(), total as u64 + 1);
    for (reason, lines) in &bad_lines {
        let entry = listed.iter().find(|entry| entry.0 == reason.name());
        let (_, count, example) = entry.unwrap_or_else(|| panic!("no {} in {listed:?}", reason.name()));
        assert_eq!(*count, lines.len() as u64, "{}", reason.name());
        let last = String::from_utf8_lossy(lines.last().expect("at least one"));
        let shown: String = last.chars().flat_map(char::escape_debug).take(200).collect();
        assert_eq!(*example, shown, "{}", reason.name());
    }
    let duplicate = listed.iter().find(|entry| entry.0 == "duplicate_sample").expect("counted");
    assert_eq!((duplicate.1, duplicate.2.starts_with("good 77 ")), (1, true), "{duplicate:?}");
    assert_eq!(listed.len(), bad_lines.len() + 1, "and nothing else: {listed:?}");
    let repository = server.repository();
    let rows = rows(&repository, "good");
    assert!((1..).zip(&rows).all(|(index, row)| row.timestamp == 1_443_197_360 + index), "all neighbours");
    assert_eq!(row_count(&repository, "good"), last);
    assert_eq!(repository_names(&server), ["good"], "a refused line makes no metric");
}

fn repository_names(server: &Server) -> Vec<String> {
    server.repository().metrics(&[]).expect("readable").into_iter().map(|metric| metric.name).collect()
}

#[test]
fn a_line_that_never_ends_and_random_bytes_cost_no_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start::<&str>(folder.path(), []);
    let before = server.memory_bytes("VmRSS");
    let mut endless = connect(server.address());
    let part = vec![b'a'; 1 << 20];
    for _ in 0..10 {
        endless.write_all(&part).expect("sent");
    }
    // It is refused while it is still being sent.
    let (count, example) = wait_for_rejects(&server.repository(), RejectReason::LineTooLong, 1);
    assert_eq!((count, example.len()), (1, 200));
    endless.write_all(b"\nafter.endless 1 1443197361\n").expect("sent");
    finish(endless);
    wait_for_rows(&server.repository(), "after.endless", 1);

    let noise = SeededRandom::new(3).bytes(4 << 20);
    let line_count = noise.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    let mut sent = noise;
    sent.extend(b"\nafter.noise 1 1443197361\n");
    send(server.address(), &sent);
    wait_for_rows(&server.repository(), "after.noise", 1);
    let listed = wait_for_total(server.data_dir(), 1 + line_count as u64);
    assert_eq!(listed.iter().map(|(_, count, _)| count).sum::<u64>(), 1 + line_count as u64, "{listed:?}");
    let growth = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_BYTES, "memory grew by {growth} bytes");
    assert!(server.terminate().success(), "a good end");
}

/// Half of what this process may open, in case that is little.
fn connection_count() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("readable");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a known limit");
    let soft = line.split_whitespace().next().expect("a number");
    soft.parse::<usize>().map_or(1000, |soft| (soft / 2).min(1000))
}

#[test]
fn a_thousand_half_open_connections_do_not_keep_others_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start::<&str>(folder.path(), []);
    let before = server.memory_bytes("VmRSS");
    let mut silent: Vec<TcpStream> = Vec::new();
    for index in 0..connection_count() {
        let mut stream = connect(server.address());
        if index % 2 == 0 {
            stream.write_all(b"half.a.line 1").expect("sent");
        }
        silent.push(stream);
    }
    send(server.address(), b"others 1 1443197361\n");
    wait_for_rows(&server.repository(), "others", 1);
    let growth = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_BYTES, "memory grew by {growth} bytes");
    // Whoever goes on is still heard.
    let mut patient = silent.swap_remove(0);
    patient.write_all(b"23 1443197361\n").expect("sent");
    let found = wait_for_rows(&server.repository(), "half.a.line", 1);
    assert_eq!(found[0].value.to_bits(), 123.0_f64.to_bits());
    drop(silent);
    send(server.address(), b"others 2 1443197362\n");
    wait_for_rows(&server.repository(), "others", 2);
}

#[test]
fn connections_beyond_the_limit_are_refused_and_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = folder.path().join("htmengine.toml");
    fs::write(&settings, "max_connections = 3\n").expect("written");
    let server = Server::start(folder.path(), ["--config", settings.to_str().expect("text")]);
    let mut first: Vec<TcpStream> = (0..3).map(|_| connect(server.address())).collect();
    for (index, stream) in first.iter_mut().enumerate() {
        writeln!(stream, "first.{index} 1 1443197361").expect("sent");
    }
    wait_until("three served clients", || {
        (0..3).all(|index| metric(&server.repository(), &format!("first.{index}")).is_some())
    });
    let more: Vec<TcpStream> = (0..5).map(|_| connect(server.address())).collect();
    let (count, example) = wait_for_rejects(&server.repository(), RejectReason::TooManyConnections, 5);
    assert_eq!(count, 5);
    assert!(example.parse::<SocketAddr>().is_ok(), "the example is who was refused: {example}");
    drop(more);
    // A place that is given up is free for another.
    finish(first.remove(0));
    wait_until("a free place", || {
        let mut stream = connect(server.address());
        let _ = stream.write_all(b"next 1 1443197361\n");
        drop(stream);
        row_count(&server.repository(), "next") > 0
    });
}
