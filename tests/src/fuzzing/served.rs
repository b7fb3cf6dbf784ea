//! The engine that the targets of HTTP ask: in this process, with a few metrics, and nothing in it may panic.

use std::net::SocketAddr;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;

use signal_hook::consts::SIGPIPE;

use crate::running_engine::RunningEngine;
use crate::sender;
use crate::stored::wait_for_rows;

/// Samples of each metric.
const ROWS: usize = 50;
/// When they begin.
pub(super) const BEGIN: i64 = 1_700_000_000;
/// Their interval.
const STEP_S: i64 = 60;
const NAMES: [&str; 4] = ["servers.a.cpu", "servers.b.cpu", "servers.a.memory", "disk;dc=fra;host=a"];

static PANICS: AtomicUsize = AtomicUsize::new(0);

static ENGINE: LazyLock<(RunningEngine, SocketAddr)> = LazyLock::new(|| {
    count_panics();
    survive_closed_connections();
    let engine = RunningEngine::start(|options| options.http = Some(SocketAddr::from(([127, 0, 0, 1], 0))));
    let line = |name: &str, row: usize| {
        let row = i32::try_from(row).expect("few");
        format!("{name} {} {}\n", f64::from(row * 7 % 13), BEGIN + i64::from(row) * STEP_S)
    };
    for name in NAMES {
        let lines: String = (0..ROWS).map(|row| line(name, row)).collect();
        sender::send(engine.address(), lines.as_bytes());
        wait_for_rows(engine.repository(), name, ROWS);
    }
    let address = engine.engine().http_address().expect("asked for");
    (engine, address)
});

/// Whatever panics in a thread that no test runs in is counted; the hook before stays.
fn count_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // Tests run in threads named after them or in the first one; the runtime's and the roles' are these.
        let roles = ["backend", "listener", "storer", "scheduler", "anomaly", "model worker", "control"];
        let current = thread::current();
        if current.name().is_some_and(|name| roles.iter().any(|role| name.starts_with(role))) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
}

/// A program with Rust's `main` ignores SIGPIPE from its first moment, so that writing to a connection that the other side
/// has closed is an error and nothing more. The fuzzer has a `main` of its own.
fn survive_closed_connections() {
    signal_hook::flag::register(SIGPIPE, Arc::default()).expect("a signal that may be handled");
}

/// Where it serves HTTP.
pub(super) fn address() -> SocketAddr {
    ENGINE.1
}

/// That nothing in it has panicked.
///
/// # Panics
/// If something has.
pub(super) fn assert_well() {
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something in the engine panicked");
}
