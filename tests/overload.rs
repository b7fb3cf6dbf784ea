//! Promise: whatever load or malice comes, the engine's memory stays within what its settings allow, what is shed is counted
//! by reason, everybody else is served, and it recovers without a restart.
//!
//! `HTMENGINE_OVERLOAD_CONNECTIONS=10000` opens so many connections instead of 2,000, as far as the limit on open files goes.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use htm_tests::http_client::get;
use htm_tests::program::{Server, succeed};
use htm_tests::sender::{connect, finish, send};
use htm_tests::stored::{metric, row_count, wait_for_rejects, wait_for_rows};
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::reject::RejectReason;
use htmengine::repository::Repository;

#[path = "overload/pickle.rs"]
mod pickle;

/// Memory that hostile input may cost at most.
const MAX_GROWTH_BYTES: u64 = 100 << 20;

/// A server with these settings that monitors nothing.
fn start(folder: &Path, settings: &str) -> Server {
    let path = folder.join("htmengine.toml");
    fs::write(&path, settings).expect("written");
    Server::start(folder, ["--no-monitor", "--http", "127.0.0.1:0", "--config", path.to_str().expect("text")])
}

/// Where it takes datagrams.
fn udp_address(server: &Server) -> SocketAddr {
    let address =
        server.announcement()[0].split_once(" and UDP ").and_then(|(_, address)| address.parse().ok());
    address.expect("announced")
}

/// Rows of all metrics.
fn all_rows(server: &Server) -> i64 {
    let sums = server.repository().status_sums(0).expect("a readable database");
    sums.iter().map(|sum| sum.stored_rows).sum()
}

fn rejects(server: &Server, reason: RejectReason) -> u64 {
    let entries = server.repository().rejects().expect("a readable database");
    entries.iter().find(|entry| entry.reason == reason).map_or(0, |entry| entry.count)
}

/// One of the engine's own figures; 0 if it was never counted.
fn figure(http: SocketAddr, name: &str) -> u64 {
    let text = get(http, "/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a whole number"))
}

/// Files that tests beside this one may have open in this process: 657 and 301 clients, pickles, files of their own.
const OTHER_FILES: usize = 1_100;

/// As many connections as wanted, or as this process may have open beside everything else.
fn connection_count() -> usize {
    let wanted =
        env::var("HTMENGINE_OVERLOAD_CONNECTIONS").map_or(2_000, |text| text.parse().expect("a number"));
    let limits = fs::read_to_string("/proc/self/limits").expect("readable");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a known limit");
    let soft = line.split_whitespace().next().expect("a number");
    soft.parse::<usize>().map_or(wanted, |soft| wanted.min(soft.saturating_sub(OTHER_FILES).max(1)))
}

#[test]
fn thousands_of_connections_are_all_served_and_cost_little() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), "");
    let before = server.memory_bytes("VmRSS");
    let count = connection_count();
    // Each sends a line and begins another one.
    let mut clients: Vec<TcpStream> = (0..count)
        .map(|index| {
            let mut client = connect(server.address());
            write!(client, "many.{index} 1 1443197361\nmany.{index} 2").expect("sent");
            client
        })
        .collect();
    let rows = |times: usize| i64::try_from(times * count).expect("few");
    wait_until("a row of each", || all_rows(&server) == rows(1));
    for client in &mut clients {
        client.write_all(b" 1443197362\n").expect("sent");
    }
    wait_until("two rows of each", || all_rows(&server) == rows(2));
    let growth = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_BYTES, "{count} connections cost {growth} bytes");
    // Half of them go without a word.
    clients.truncate(count / 2);
    send(server.address(), b"others 1 1443197361\n");
    wait_for_rows(&server.repository(), "others", 1);
    drop(clients);
    assert!(server.terminate().success(), "a good end");
}

#[test]
fn whoever_holds_most_unfinished_goes_when_memory_for_it_is_used_up() {
    const HOSTILE: usize = 300;
    const HELD_BYTES: usize = 60_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), "max_unfinished_mib = 2\n");
    let before = server.memory_bytes("VmRSS");
    let mut modest = connect(server.address());
    modest.write_all(b"modest 1").expect("sent");
    let hostile: Vec<TcpStream> = (0..HOSTILE)
        .map(|_| {
            let mut client = connect(server.address());
            // It may be closed at any moment.
            let _ = client.write_all(&vec![b'x'; HELD_BYTES]);
            client
        })
        .collect();
    // A buffer is a power of two: 32 of 64 KiB fit.
    let (count, example) =
        wait_for_rejects(&server.repository(), RejectReason::TooMuchUnfinished, (HOSTILE - 32) as u64);
    assert!(count <= HOSTILE as u64 && example == "127.0.0.1", "{count} {example}");
    let growth = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(growth < MAX_GROWTH_BYTES / 2, "memory grew by {growth} bytes");
    modest.write_all(b" 1443197361\n").expect("sent");
    finish(modest);
    wait_for_rows(&server.repository(), "modest", 1);
    drop(hostile);
}

#[test]
fn a_line_that_drips_is_cut_off_and_a_silent_connection_is_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), "line_timeout_s = 1\n");
    let mut silent = connect(server.address());
    silent.write_all(b"silent 1 1443197361\n").expect("sent");
    let mut dripping = connect(server.address());
    wait_until("the end of patience", || {
        // Every byte is a sign of life, and none of them ends the line.
        let _ = dripping.write_all(b"x");
        rejects(&server, RejectReason::LineTimeout) == 1
    });
    wait_until("a closed connection", || dripping.write_all(b"x").is_err());
    silent.write_all(b"silent 2 1443197362\n").expect("still open");
    finish(silent);
    wait_for_rows(&server.repository(), "silent", 2);
}

#[test]
fn a_flood_of_new_names_is_bounded_and_known_metrics_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), "max_metrics = 30\nmax_new_metrics = 20\n");
    let http = server.announced("HTTP API: http://");
    let lines = |name: &str, count: usize, time: i64| -> String {
        let all: Vec<String> = (0..count).map(|index| format!("{name}.{index} 1 {time}\n")).collect();
        all.concat()
    };
    send(server.address(), lines("known", 10, 1_443_197_361).as_bytes());
    send(server.address(), lines("flood", 500, 1_443_197_361).as_bytes());
    assert_eq!(wait_for_rejects(&server.repository(), RejectReason::TooManyNewMetrics, 490).0, 490);
    assert_eq!(get(http, "/api/v1/overview").json()["health"]["status"], "ok", "there is room for others");
    // Another sender, until all are too many.
    let other = UdpSocket::bind("127.0.0.2:0").expect("Linux has all of 127.0.0.0/8");
    let datagram = lines("other", 100, 1_443_197_361);
    other.send_to(datagram.as_bytes(), udp_address(&server)).expect("sent");
    let (count, example) = wait_for_rejects(&server.repository(), RejectReason::TooManyMetrics, 90);
    assert!(count == 90 && example.starts_with("other."), "{count} {example}");
    let health = get(http, "/api/v1/overview").json()["health"].clone();
    let problem = health["problems"][0].as_str().unwrap_or_default();
    assert!(problem.contains("max_metrics is 30") && problem.contains("known metrics go on"), "{health}");
    assert_eq!(figure(http, "htmengine_metrics_limit"), 30);
    assert_eq!(figure(http, "htmengine_rejects_total{reason=\"too_many_metrics\"}"), 90);
    assert_eq!(figure(http, "htmengine_rejects_total{reason=\"too_many_new_metrics\"}"), 490);
    // Whoever is known is not asked.
    send(server.address(), lines("known", 10, 1_443_197_362).as_bytes());
    wait_until("second rows", || {
        (0..10).all(|index| row_count(&server.repository(), &format!("known.{index}")) == 2)
    });
    assert_eq!(server.repository().metrics(&[]).expect("readable").len(), 30);
    // Room that somebody makes is found without a restart.
    succeed(["delete", "flood.3", "--data-dir", server.data_dir().to_str().expect("text")]);
    wait_until("a new metric", || {
        other.send_to(b"late.comer 1 1443197361", udp_address(&server)).expect("sent");
        metric(&server.repository(), "late.comer").is_some()
    });
}

#[test]
fn a_database_that_waits_pushes_senders_back_and_everything_is_stored_or_counted() {
    const LINES: usize = 350_000;
    const DATAGRAMS: usize = 20_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), "");
    let http = server.announced("HTTP API: http://");
    send(server.address(), b"known 1 1443197361\n");
    wait_for_rows(&server.repository(), "known", 1);
    let before = server.memory_bytes("VmRSS");
    let (unlock, locked) = mpsc::channel::<()>();
    let repository = server.repository();
    let (sent, is_held) = (AtomicUsize::new(0), AtomicBool::new(false));
    let datagrams_end = thread::scope(|scope| {
        let (server, sent, is_held) = (&server, &sent, &is_held);
        // Somebody else's transaction that does not end.
        scope.spawn(move || {
            repository
                .transact(&mut |_| {
                    is_held.store(true, Ordering::Release);
                    // The sender of this is dropped by a test that fails.
                    let _ = locked.recv();
                    Ok(())
                })
                .expect("the write lock");
        });
        wait_until("the lock", || is_held.load(Ordering::Acquire));
        scope.spawn(move || {
            let mut client = connect(server.address());
            let name = format!("pushed.{}", "x".repeat(200));
            for part in 0..LINES / 1_000 {
                let lines =
                    (part * 1_000..(part + 1) * 1_000).map(|at| format!("{name} 1 {}\n", 1_000_000_000 + at));
                client.write_all(lines.collect::<String>().as_bytes()).expect("sent in the end");
                sent.fetch_add(1_000, Ordering::Relaxed);
            }
            finish(client);
        });
        wait_until("a pause of reading", || figure(http, "htmengine_back_pressure_pauses_total") > 0);
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for at in 0..DATAGRAMS {
            udp.send_to(format!("shed 1 {}", 1_000_000_000 + at).as_bytes(), udp_address(server))
                .expect("sent");
        }
        assert!(sent.load(Ordering::Relaxed) < LINES, "the sender is pushed back");
        let growth = server.memory_bytes("VmHWM").saturating_sub(before);
        assert!(growth < 2 * MAX_GROWTH_BYTES, "memory grew by {growth} bytes");
        unlock.send(()).expect("it waits for this");
        1_000_000_000 + i64::try_from(DATAGRAMS).expect("few")
    });
    wait_for_rows(&server.repository(), &format!("pushed.{}", "x".repeat(200)), LINES);
    // One that is read: drops are told with the look after it.
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    udp.send_to(format!("shed 1 {datagrams_end}").as_bytes(), udp_address(&server)).expect("sent");
    let (stored, dropped) = wait_for("stored and dropped datagrams", || {
        let stored = u64::try_from(row_count(&server.repository(), "shed")).expect("a count");
        let dropped = rejects(&server, RejectReason::DatagramDropped);
        (stored + dropped == DATAGRAMS as u64 + 1).then_some((stored, dropped))
    });
    assert!(stored > 0 && dropped > 0, "{stored} stored, {dropped} dropped");
    assert_eq!(figure(http, "htmengine_rejects_total{reason=\"datagram_dropped\"}"), dropped);
    let growth = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(growth < 2 * MAX_GROWTH_BYTES, "memory grew by {growth} bytes");
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start_changed(folder.path(), ["--http", "127.0.0.1:0"], |command| {
        let full = File::options().write(true).open("/dev/full").expect("a device");
        command.env("HTMENGINE_LOG", "debug").stderr(full);
    });
    send(server.address(), b"a 1 1500000000\nno sample\na 2 1500000300\n");
    assert_eq!(wait_for_rows(&server.repository(), "a", 2).len(), 2);
    assert!(server.terminate().success(), "a good end");
}

/// Senders could take every file that the process may open, and the database was then told to be unusable.
#[test]
fn connections_leave_the_files_that_the_engine_needs() {
    const FILES: u64 = 300 + 256;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = File::options().create(true).append(true).open(folder.path().join("serve.log"));
    let server = Server::start_changed(folder.path(), ["--no-monitor", "--http", "127.0.0.1:0"], |serve| {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={FILES}:{FILES}")).arg(serve.get_program()).args(serve.get_args());
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.expect("a log file"));
        *serve = limited;
    });
    assert!(server.log().contains("of max_connections = 16384 only 44 are taken"), "{}", server.log());
    // They say nothing, and need no key for that.
    let http = server.announced("HTTP API: http://");
    let browsers: Vec<_> = (0..256).map(|_| connect(http)).collect();
    let mut first = connect(server.address());
    let held: Vec<_> = (0..400).map(|_| connect(server.address())).collect();
    wait_until("connections that are refused", || rejects(&server, RejectReason::TooManyConnections) >= 350);
    first.write_all(b"m 1 1\n").expect("taken");
    finish(first);
    wait_for_rows(&server.repository(), "m", 1);
    drop((browsers, held));
}
