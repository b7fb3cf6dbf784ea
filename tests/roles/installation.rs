//! An installation of role processes over one broker and one database, and the load on it.

use std::fs::{File, read_to_string};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use htm_core::encoder::Record;
use htm_tests::lone_run::{ScorePair, assert_scored, assert_stored, padded_range, scores};
use htm_tests::private_mariadb::runtime;
use htm_tests::program::command;
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{monitor_all, row_count, rows, scored_count};
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::repository::Repository;
use htmengine::repository::mysql::{MysqlRepository, MysqlSettings};
use tempfile::TempDir;

/// Metrics share their values with others, so that a few lone runs tell the scores of all.
const SERIES: [&str; 3] = ["speed_7578", "nyc_taxi", "art_daily_jumpsup"];

/// Where the roles are started.
pub(crate) struct Installation {
    folder: TempDir,
    database: MysqlSettings,
    settings: Vec<String>,
    /// Where the listener takes lines, the same over all of its lives.
    listener: Mutex<Option<SocketAddr>>,
}

impl Installation {
    pub(crate) fn new(broker: &RabbitSettings, database: &MysqlSettings) -> Self {
        let vhost = broker.virtual_host.replace('/', "%2f");
        let broker =
            format!("amqp://{}:{}@{}:{}/{vhost}", broker.user, broker.password, broker.host, broker.port);
        let url =
            format!("mysql://{}@{}:{}/{}", database.user, database.host, database.port, database.database);
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("data").display().to_string();
        let settings = ["--data-dir", &data_dir, "--database", &url, "--broker", &broker];
        let settings = settings.map(str::to_owned).into();
        Self { folder, database: database.clone(), settings, listener: Mutex::new(None) }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A verb and what follows it, over this installation.
    pub(crate) fn arguments(&self, verb: &[&str]) -> Vec<String> {
        let has_broker = !["status", "checkpoint"].contains(&verb[0]);
        let settings = if has_broker { &self.settings[..] } else { &self.settings[..2] };
        verb.iter().map(|part| (*part).to_owned()).chain(settings.iter().cloned()).collect()
    }

    /// Starts a role, which may have to wait before it is ready.
    pub(crate) fn start(&self, role: &'static str) -> RoleProcess {
        let mut arguments = self.arguments(&[role]);
        if role == "listener" {
            let port = self.listener.lock().unwrap_or_else(PoisonError::into_inner).map_or(0, |it| it.port());
            arguments.extend(["--host", "127.0.0.1", "--port", &port.to_string()].map(str::to_owned));
        }
        if role == "scheduler" {
            arguments.extend(["--concurrency", "2", "--checkpoint-rows", "40"].map(str::to_owned));
        }
        RoleProcess::start(self.folder.path(), role, &arguments)
    }

    /// Where the listener takes lines; waits until one said so.
    pub(crate) fn listener_address(&self) -> SocketAddr {
        let mut known = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        *known.get_or_insert_with(|| {
            let output = self.folder.path().join("listener.out");
            wait_for("the listener's address", || {
                let said = read_to_string(&output).ok()?;
                let rest = said.split_once("on TCP ")?.1;
                rest.split([' ', '\n']).next()?.parse().ok()
            })
        })
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        send(self.listener_address(), bytes);
    }

    /// Sends a sample and waits until it is stored: everything that was sent before it is, too.
    pub(crate) fn flush(&self, name: &str) {
        self.send(format!("{name} 1 1400000000\n").as_bytes());
        let repository = self.repository();
        wait_until("a sentinel row", || row_count(&*repository, name) == 1);
    }

    pub(crate) fn repository(&self) -> Arc<dyn Repository> {
        wait_for("the database", || MysqlRepository::connect(&self.database, runtime()).ok())
    }
}

/// A running role; killed when the test ends in whatever way.
pub(crate) struct RoleProcess {
    role: &'static str,
    child: Mutex<Child>,
    /// How much of the output other lives have left.
    output_before: usize,
    folder: PathBuf,
}

impl RoleProcess {
    fn start(folder: &Path, role: &'static str, arguments: &[String]) -> Self {
        let open = |ending: &str| {
            let path = folder.join(format!("{role}.{ending}"));
            File::options().create(true).append(true).open(path).expect("a file")
        };
        let output_before = read_to_string(folder.join(format!("{role}.out"))).map_or(0, |text| text.len());
        let mut program = command(arguments);
        program.stdin(Stdio::null()).stdout(open("out")).stderr(open("log"));
        let child = Mutex::new(program.spawn().expect("the program can be run"));
        Self { role, child, output_before, folder: folder.to_owned() }
    }

    pub(crate) fn role(&self) -> &'static str {
        self.role
    }

    /// Waits until it is at work.
    #[track_caller]
    pub(crate) fn wait_until_ready(&self) {
        let output = self.folder.join(format!("{}.out", self.role));
        wait_until(&format!("the {}", self.role), || {
            let ended = self.child.lock().expect("no panic").try_wait().expect("our own child");
            assert!(ended.is_none(), "the {} ended: {}", self.role, self.log());
            read_to_string(&output).is_ok_and(|text| text[self.output_before..].ends_with('\n'))
        });
    }

    /// What it logged, over all lives.
    pub(crate) fn log(&self) -> String {
        read_to_string(self.folder.join(format!("{}.log", self.role))).expect("a readable log")
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub(crate) fn terminate(self) -> ExitStatus {
        let mut child = self.child.lock().expect("no panic");
        let ended = child.try_wait().expect("our own child");
        assert!(ended.is_none(), "the {} ended by itself: {}", self.role, self.log());
        let id = child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &id]).status();
        assert!(sent.expect("a shell").success(), "SIGTERM could not be sent");
        let status = wait_for("the end of a role", || child.try_wait().expect("our own child"));
        assert!(status.success(), "the {} ended with {status}: {}", self.role, self.log());
        status
    }

    /// Sends SIGKILL and waits for the end.
    #[track_caller]
    pub(crate) fn kill(self) {
        let mut child = self.child.lock().expect("no panic");
        let ended = child.try_wait().expect("our own child");
        assert!(ended.is_none(), "the {} ended by itself: {}", self.role, self.log());
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Gone already, or a test that failed and reports its own reason.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// So many metrics with so many rows each.
pub(crate) struct Load {
    names: Vec<String>,
    series: Vec<(Vec<Record>, Vec<ScorePair>)>,
    rows: usize,
}

impl Load {
    pub(crate) fn new(metrics: usize, rows: usize) -> Self {
        let series = SERIES.map(|name| {
            let samples: Vec<Record> =
                series(name).into_iter().map(|(_, record)| record).take(rows).collect();
            let scores = scores(&samples, padded_range(&samples));
            (samples, scores)
        });
        let names = (0..metrics).map(|number| format!("metric.{number}")).collect();
        Self { names, series: series.into(), rows }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn of(&self, index: usize) -> &(Vec<Record>, Vec<ScorePair>) {
        &self.series[index % self.series.len()]
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn monitor(&self, repository: &dyn Repository) {
        for (index, name) in self.names.iter().enumerate() {
            monitor_all(repository, &[name], Some(padded_range(&self.of(index).0)));
        }
    }

    /// Every row of every metric, by turns.
    pub(crate) fn all(&self) -> String {
        self.text(self.rows, &vec![0; self.names.len()])
    }

    /// What is not stored yet of the first `rows` rows of each metric.
    pub(crate) fn missing(&self, repository: &dyn Repository, rows: usize) -> String {
        let stored = |name: &String| usize::try_from(row_count(repository, name)).expect("not negative");
        self.text(rows, &self.names.iter().map(stored).collect::<Vec<_>>())
    }

    fn text(&self, rows: usize, stored: &[usize]) -> String {
        let mut text = String::new();
        for row in 0..rows.min(self.rows) {
            for (index, name) in self.names.iter().enumerate().filter(|(index, _)| stored[*index] <= row) {
                text.push_str(&lines(name, &self.of(index).0[row..=row]));
            }
        }
        text
    }

    /// Scored rows of all metrics together.
    pub(crate) fn scored(&self, repository: &dyn Repository) -> i64 {
        self.names.iter().map(|name| scored_count(repository, name)).sum()
    }

    pub(crate) fn wait_for_scores(&self, repository: &dyn Repository) {
        let all = i64::try_from(self.rows * self.names.len()).expect("a small number");
        wait_until("all scores", || self.scored(repository) >= all);
    }

    /// Whether the database has every sample once, with the scores of a lone run.
    #[track_caller]
    pub(crate) fn check(&self, repository: &dyn Repository) {
        for (index, name) in self.names.iter().enumerate() {
            let (samples, scores) = self.of(index);
            let rows = rows(repository, name);
            assert_stored(name, &rows, samples);
            assert_scored(name, &rows, scores);
        }
    }
}
