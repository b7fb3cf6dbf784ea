//! Promise: signals do what an operator expects. SIGHUP takes up what can change without a restart and names the rest;
//! SIGTERM stores what was taken in, in time, and what cannot be stored in time is stored by the next engine; a second SIGTERM
//! ends the process at once, and what is stored is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use htm_core::encoder::Record;
use htm_tests::http_client::get;
use htm_tests::lone_run::{assert_equal, padded_range};
use htm_tests::private_mariadb::{PrivateMariadb, runtime};
use htm_tests::process_signal::send_signal;
use htm_tests::program::{Server, open_repository};
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, monitor_all, row_count, rows, status, wait_for_rows, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::repository::Repository;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::mysql::MysqlRepository;
use serde_json::Value;

/// Lines that could not be stored in time.
const KEPT: &str = "unstored.lines";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

fn samples(count: usize) -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(count).collect()
}

fn shown_setting(server: &Server, name: &str) -> Value {
    let settings = get(server.announced("HTTP API: http://"), "/api/v1/settings").json();
    let settings = settings["settings"].as_array().expect("a list");
    settings.iter().find(|entry| entry["name"] == name).expect("a known setting")["value"].clone()
}

#[test]
fn a_reload_takes_up_what_it_can_and_names_the_rest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("htmengine.toml");
    fs::write(&config, "monitor = [\"a.*\"]\njobs = 1\n").expect("written");
    let server = Server::start(folder.path(), ["--config", text(&config), "--http", "127.0.0.1:0"]);
    let (repository, http) = (server.repository(), server.announced("HTTP API: http://"));
    let arrives = |name: &str| {
        send(server.address(), format!("{name} 1 1500000000\n").as_bytes());
        wait_for_rows(&repository, name, 1);
        status(&repository, name).expect("stored")
    };
    assert_eq!((arrives("a.1"), arrives("b.1")), (MetricStatus::PendingData, MetricStatus::Unmonitored));
    assert!(!server.log().contains("DEBUG"), "{}", server.log());

    let rule = "[[alert.channel]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n\
                [[alert.rule]]\nname = \"odd\"\nchannels = [\"ops\"]\n";
    let changed = format!("monitor = [\"b.*\"]\njobs = 2\nlog = \"debug\"\nretention_days = 30\n{rule}");
    fs::write(&config, changed).expect("written");
    let log = server.reload("settings changed");
    for part in [
        "`monitor` is now [\"b.*\"]",
        "`retention_days` is now 30",
        "`log` is now \"debug\"",
        "`alert` is now",
        "`jobs` was changed; that takes effect with a restart",
        "5 settings changed, 4 of them took effect",
    ] {
        assert!(log.contains(part), "`{part}` is not in: {log}");
    }
    assert_eq!((arrives("a.2"), arrives("b.2")), (MetricStatus::Unmonitored, MetricStatus::PendingData));
    let rules = get(http, "/api/v1/alerts/rules").json().to_string();
    assert!(rules.contains("\"odd\""), "{rules}");
    assert_eq!(shown_setting(&server, "monitor").to_string(), "[\"b.*\"]");
    assert_eq!(shown_setting(&server, "jobs"), 1, "what is in effect is shown");
    wait_until("requests in the log", || server.log().contains("path=\"/api/v1/alerts/rules\" status=200"));

    // A file that is not right changes nothing, and cannot forge lines of the log.
    fs::write(&config, "monitor = [\"c.*\"]\ngrafite = 1 # \u{202e}\u{2028}\u{85}x\n").expect("written");
    let log = server.reload("grafite");
    assert!(log.contains("all settings stay as they were") && !log.contains("took effect"), "{log}");
    assert!(log.contains("\\u{202e}\\u{2028}\\u{85}x"), "{log}");
    assert!(!log.contains(['\u{202e}', '\u{2028}', '\u{85}']), "{log}");
    assert_eq!((arrives("b.3"), arrives("c.1")), (MetricStatus::PendingData, MetricStatus::Unmonitored));

    fs::write(&config, "jobs = 2\n").expect("written");
    server.reload("`alert`");
    assert_eq!(arrives("z.1"), MetricStatus::PendingData, "everything, as by default");
    assert!(server.terminate().success(), "a good end");
}

#[test]
fn a_log_of_json_is_json_and_names_requests() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("htmengine.toml");
    fs::write(&config, "log = \"info,htmengine::http=debug\"\n").expect("written");
    let flags = ["--config", text(&config), "--http", "127.0.0.1:0", "--log-json"];
    let server = Server::start(folder.path(), flags);
    let http = server.announced("HTTP API: http://");
    assert_eq!(get(http, "/api/v1/metrics/none%0aforged?secret=1").status, 404);
    wait_until("the request in the log", || server.log().contains("none%0aforged"));
    let log = server.log();
    let parsed: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let asked =
        parsed.iter().find(|line| line["fields"]["path"] == "/api/v1/metrics/none%0aforged").expect("there");
    let fields = &asked["fields"];
    assert_eq!((&fields["method"], &fields["status"]), (&Value::from("GET"), &Value::from(404)), "{asked}");
    assert!(fields["request"].as_u64() > Some(0) && fields["elapsed"].is_string(), "{asked}");
    assert!(!log.contains("secret"), "{log}");
    assert!(server.terminate().success(), "a good end");
}

const NAMES: [&str; 8] = ["s.0", "s.1", "s.2", "s.3", "s.4", "s.5", "s.6", "s.7"];

/// An engine whose time to drain is `seconds`, with monitored metrics.
fn start_with_drain(folder: &Path, seconds: u32, range: htm_core::params::ValueRange) -> Server {
    let config = folder.join("htmengine.toml");
    fs::write(&config, format!("drain_s = {seconds}\n")).expect("written");
    let server = Server::start(folder, ["--config", text(&config)]);
    if metric(&server.repository(), NAMES[0]).is_none() {
        monitor_all(&server.repository(), &NAMES, Some(range));
    }
    server
}

fn all_lines(samples: &[Record]) -> String {
    samples.iter().flat_map(|sample| NAMES.map(|name| lines(name, &[*sample]))).collect()
}

/// Holds the write lock of an engine's database until it is let go.
struct Lock {
    let_go: Sender<()>,
    thread: JoinHandle<()>,
}

impl Lock {
    fn take(data_dir: &Path) -> Self {
        let (let_go, wait) = channel();
        let (taken, is_taken) = channel();
        let data_dir: PathBuf = data_dir.to_owned();
        let thread = thread::spawn(move || {
            let held = open_repository(&data_dir).transact(&mut |_| {
                taken.send(()).expect("waited for");
                wait.recv().expect("let go in order");
                Ok(())
            });
            held.expect("nothing was changed");
        });
        is_taken.recv().expect("taken");
        Self { let_go, thread }
    }

    fn let_go(self) {
        self.let_go.send(()).expect("it waits");
        self.thread.join().expect("let go");
    }
}

#[test]
fn a_stop_without_time_keeps_what_it_could_not_store_for_the_next_start() {
    let samples = samples(300);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start_with_drain(folder.path(), 0, range);
    send(server.address(), all_lines(&samples).as_bytes());
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().success(), "no time is no failure");
    let server = start_with_drain(folder.path(), 60, range);
    for name in NAMES {
        assert_equal(name, &wait_for_scores(&server.repository(), name, 300), &samples, range);
    }
    wait_until("kept lines are stored", || !data_dir.join(KEPT).exists());
    assert!(server.terminate().success(), "a good end");
}

#[test]
fn a_stop_while_the_database_stands_still_ends_in_time_and_loses_no_line() {
    let samples = samples(100);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start_with_drain(folder.path(), 1, range);
    let data_dir = server.data_dir().to_owned();
    send(server.address(), all_lines(&samples[..40]).as_bytes());
    for name in NAMES {
        wait_for_rows(&server.repository(), name, 40);
    }
    let lock = Lock::take(&data_dir);
    send(server.address(), all_lines(&samples[40..70]).as_bytes());
    let log = folder.path().join("serve.log");
    assert_eq!(server.terminate().code(), Some(1), "the storer was left behind");
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("1 s to drain are over") && log.contains("kept in"), "{log}");
    lock.let_go();
    let kept = fs::read_to_string(data_dir.join(KEPT)).expect("kept lines");
    assert_eq!(kept, all_lines(&samples[40..70]));

    let server = start_with_drain(folder.path(), 60, range);
    send(server.address(), all_lines(&samples[70..]).as_bytes());
    for name in NAMES {
        assert_equal(name, &wait_for_scores(&server.repository(), name, 100), &samples, range);
    }
    assert!(
        server.log().contains("240 lines that an earlier engine had taken in were stored"),
        "{}",
        server.log()
    );
    assert!(server.terminate().success(), "a good end");
}

/// Threads beside the roles that waited for the same server were waited for first, for minutes, and whoever supervised the
/// engine killed it before lines were kept.
#[test]
fn a_stop_while_a_mysql_server_stands_still_waits_for_no_thread_and_loses_no_line() {
    let samples = samples(60);
    let range = padded_range(&samples);
    let database = PrivateMariadb::start_own();
    let settings = database.migrated_database();
    let url = format!("mysql://root@127.0.0.1:{}/{}", settings.port, settings.database);
    let repository = MysqlRepository::connect(&settings, runtime()).expect("connects");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("htmengine.toml");
    let flags = ["--config", text(&config), "--database", &url];
    let basics = "drain_s = 1\nself_series = true\n[alert]\ncheck_interval_s = 1\n\
                  [[alert.channel]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n\
                  [[alert.rule]]\nname = \"odd\"\nchannels = [\"ops\"]\n";
    fs::write(&config, basics).expect("written");
    let server = Server::start(folder.path(), flags);
    monitor_all(&*repository, &NAMES, Some(range));
    send(server.address(), all_lines(&samples[..30]).as_bytes());
    for name in NAMES {
        wait_for_scores(&*repository, name, 30);
    }
    send_signal(database.process_id(), "STOP");
    send(server.address(), all_lines(&samples[30..]).as_bytes());
    // Begins to look for old rows at once.
    fs::write(&config, format!("retention_days = 30\n{basics}")).expect("written");
    server.reload("`retention_days` is now 30");
    let (data_dir, log) = (server.data_dir().to_owned(), folder.path().join("serve.log"));
    assert_eq!(server.terminate().code(), Some(1), "the storer was left behind");
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("1 s to drain are over") && log.contains("kept in"), "{log}");
    let kept = fs::read_to_string(data_dir.join(KEPT)).expect("kept lines");
    assert!(kept.ends_with(&all_lines(&samples[30..])), "{kept}");

    send_signal(database.process_id(), "CONT");
    fs::write(&config, "drain_s = 60\n").expect("written");
    let server = Server::start(folder.path(), flags);
    for name in NAMES {
        assert_equal(name, &wait_for_scores(&*repository, name, 60), &samples, range);
    }
    assert!(server.terminate().success(), "a good end");
}

#[test]
fn a_second_sigterm_ends_at_once_and_what_is_stored_is_whole() {
    let samples = samples(100);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start_with_drain(folder.path(), 60, range);
    let (data_dir, address) = (server.data_dir().to_owned(), server.address());
    send(address, all_lines(&samples[..60]).as_bytes());
    for name in NAMES {
        wait_for_rows(&server.repository(), name, 60);
    }
    let lock = Lock::take(&data_dir);
    send(address, all_lines(&samples[60..]).as_bytes());
    server.signal("TERM");
    wait_until("the stop has begun", || server.log().contains("stopping: "));
    assert_eq!(server.terminate().code(), Some(1), "at once");
    lock.let_go();
    let server = start_with_drain(folder.path(), 60, range);
    let repository = server.repository();
    for name in NAMES {
        let stored = rows(&repository, name).len();
        assert!(
            stored >= 60 && row_count(&repository, name) == i64::try_from(stored).expect("few"),
            "{name}"
        );
        send(server.address(), lines(name, &samples[stored..]).as_bytes());
        assert_equal(name, &wait_for_scores(&repository, name, 100), &samples, range);
    }
    assert!(server.terminate().success(), "a good end");
}
