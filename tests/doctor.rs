//! Promise: `htmengine doctor` names what is wrong before the engine does, with what was found and what to do, and exit code
//! 1; whoever does not answer costs a few seconds at most. Every cause here is a real one.

use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use htm_tests::old_configuration::OldConfiguration;
use htm_tests::private_mariadb::PrivateMariadb;
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::program::{Server, command, run};
use htmengine::backends::start_runtime;
use htmengine::repository::mysql::MysqlSettings;
use htmengine::repository::mysql::migration::{MigrationTarget, migrate};
use serde_json::Value;

/// What a doctor said.
#[derive(Debug)]
struct Visit {
    code: i32,
    report: Value,
}

impl Visit {
    fn texts(&self, level: &str, subject: &str) -> Vec<String> {
        let findings = self.report["findings"].as_array().expect("a list");
        let of = findings.iter().filter(|it| it["level"] == level && it["subject"] == subject);
        of.map(|it| it["says"].as_str().expect("text").to_owned()).collect()
    }

    /// There is one problem with `subject`, it says all of `parts`, and the exit code is 1.
    #[track_caller]
    fn assert_problem(&self, subject: &str, parts: &[&str]) {
        assert_eq!(self.code, 1, "{self:#?}");
        let problems = self.texts("problem", subject);
        assert_eq!(problems.len(), 1, "{self:#?}");
        for part in parts {
            assert!(problems[0].contains(part), "`{part}` is not in: {}", problems[0]);
        }
    }

    #[track_caller]
    fn assert_good(&self, subject: &str, part: &str) {
        let good = self.texts("ok", subject);
        assert!(good.iter().any(|says| says.contains(part)), "`{part}` is not in: {good:#?}");
        assert_eq!(self.texts("problem", subject), [""; 0], "{self:#?}");
    }
}

/// A doctor's visit with a data folder and settings of its own.
struct Practice {
    folder: tempfile::TempDir,
    toml: String,
}

/// Without it the default port is looked at, which another engine of this machine may hold.
const NO_HTTP: &str = "http = \"127.0.0.1:0\"\n";

impl Practice {
    fn new() -> Self {
        // Ports that nobody uses, so that no other program of this machine matters.
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            toml: format!("graphite = \"127.0.0.1:0\"\n{NO_HTTP}"),
        }
    }

    fn with(toml: &str) -> Self {
        Self { toml: toml.to_owned(), ..Self::new() }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn visit(&self, flags: &[&str]) -> Visit {
        let toml = self.folder.path().join("htmengine.toml");
        fs::write(&toml, &self.toml).expect("written");
        let mut doctor = command(["doctor", "--json", "--config"]);
        doctor.arg(toml).arg("--data-dir").arg(self.data_dir()).args(flags);
        let output = doctor.output().expect("the program can be run");
        let stdout = String::from_utf8(output.stdout).expect("text");
        assert!(!stdout.contains("geheim"), "{stdout}");
        let report = serde_json::from_str(&stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {stdout} {:?}", output.stderr));
        Visit { code: output.status.code().expect("no signal"), report }
    }
}

fn address(settings: &MysqlSettings, user: &str, password: &str) -> String {
    format!("mysql://{user}:{password}@127.0.0.1:{}/{}", settings.port, settings.database)
}

fn migrated() -> MysqlSettings {
    let settings = PrivateMariadb::shared().fresh_database();
    let runtime = start_runtime().expect("threads");
    migrate(&settings, MigrationTarget::Head, runtime.handle()).expect("migrated");
    settings
}

/// A port of this machine where nobody listens.
fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("bound").port()
}

#[test]
fn a_healthy_machine_gets_no_complaints() {
    let practice = Practice::new();
    let visit = practice.visit(&[]);
    assert_eq!(visit.code, 0, "{visit:#?}");
    visit.assert_good("configuration", "can be read");
    visit.assert_good("folder", "is not there yet and can be made");
    visit.assert_good("database", "made at the first start");
    visit.assert_good("broker", "no broker is needed");
    assert!(!practice.data_dir().exists(), "a doctor makes nothing");
}

#[test]
fn a_broker_that_is_down_is_told() {
    let broker = format!("amqp://guest:geheim@127.0.0.1:{}/test", free_port());
    let visit = Practice::new().visit(&["--broker", &broker]);
    visit.assert_problem("broker", &["nothing listens at 127.0.0.1:", "start RabbitMQ", "flag --broker"]);
}

#[test]
fn a_database_that_is_down_is_told_with_the_line_that_named_it() {
    let toml =
        format!("graphite = \"127.0.0.1:0\"\ndatabase = \"mysql://a:geheim@127.0.0.1:{}/d\"\n", free_port());
    let visit = Practice::with(&toml).visit(&[]);
    visit.assert_problem("database", &["nothing listens at", "start MySQL or MariaDB", "htmengine.toml:2"]);
}

#[test]
fn a_wrong_password_is_told() {
    let settings = migrated();
    let visit = Practice::new().visit(&["--database", &address(&settings, "root", "geheim")]);
    visit.assert_problem("database", &["Access denied for user 'root'", "check user and password"]);
}

#[test]
fn missing_tables_are_told() {
    let server = PrivateMariadb::shared();
    let settings = migrated();
    let url = address(&settings, "root", "");
    let visit = Practice::new().visit(&["--database", &url]);
    assert_eq!(visit.code, 0, "{visit:#?}");
    visit.assert_good("database", "answers, lets us in, and has the tables");
    visit.assert_good("database", "all tables may be read and written");
    assert!(visit.texts("warning", "database").is_empty(), "{visit:#?}");

    server.query(&settings.database, "DROP TABLE metric_data");
    let visit = Practice::new().visit(&["--database", &url]);
    visit.assert_problem("database", &["a table `metric_data`", "missing", "restore it"]);

    let empty = server.fresh_database();
    let visit = Practice::new().visit(&["--database", &address(&empty, "root", "")]);
    visit.assert_problem("database", &["has no tables of htmengine", "run `htmengine migrate`"]);

    let visit = Practice::new().visit(&["--database", &address(&server.settings("nowhere"), "root", "")]);
    visit.assert_problem("database", &["Unknown database 'nowhere'", "CREATE DATABASE"]);
}

#[test]
fn tables_of_the_original_alone_are_a_warning_and_missing_rights_a_problem() {
    let server = PrivateMariadb::shared();
    let settings = server.fresh_database();
    let runtime = start_runtime().expect("threads");
    migrate(&settings, MigrationTarget::Original, runtime.handle()).expect("migrated");
    let database = &settings.database;
    for host in ["localhost", "127.0.0.1"] {
        server.query(
            database,
            &format!(
                "CREATE USER reader_{database}@'{host}' IDENTIFIED BY 'pw'; \
                 GRANT SELECT ON {database}.* TO reader_{database}@'{host}'; \
                 GRANT INSERT, UPDATE, DELETE ON {database}.metric TO reader_{database}@'{host}'; \
                 GRANT INSERT, UPDATE, DELETE ON {database}.`lock` TO reader_{database}@'{host}'"
            ),
        );
    }
    let url = address(&settings, &format!("reader_{database}"), "pw");
    let visit = Practice::new().visit(&["--database", &url]);
    visit.assert_problem("database", &["may not INSERT, UPDATE, DELETE on table metric_data", "GRANT"]);
    let warnings = visit.texts("warning", "database");
    assert!(
        warnings[0].contains("score_progress") && warnings[0].contains("htmengine migrate"),
        "{warnings:?}"
    );
}

#[test]
fn a_broker_is_looked_at_and_a_wrong_login_told() {
    let broker = PrivateRabbitMq::shared();
    let vhost = broker.fresh_vhost();
    let place = broker.address();
    let visit = Practice::new().visit(&["--broker", &format!("amqp://guest:guest@{place}/{vhost}")]);
    assert_eq!(visit.code, 0, "{visit:#?}");
    visit.assert_good("broker", "htmengine.metric.custom.data");
    let visit = Practice::new().visit(&["--broker", &format!("amqp://guest:geheim@{place}/{vhost}")]);
    visit.assert_problem("broker", &["guest", &place.port().to_string()]);
    let visit = Practice::new().visit(&["--broker", &format!("amqp://guest:guest@{place}/nowhere")]);
    visit.assert_problem("broker", &["nowhere"]);
}

/// A folder on a disk that may only be read, given back when the test ends in whatever way.
struct ReadOnlyDisk {
    folder: PathBuf,
}

impl ReadOnlyDisk {
    fn mount(folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).expect("made");
        let mount = ["-t", "tmpfs", "-o", "ro,size=1m", "htmengine-test"];
        let output =
            Command::new("mount").args(mount).arg(folder).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(Self { folder: folder.to_owned() });
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Drop for ReadOnlyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

#[test]
fn a_read_only_disk_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let models = folder.path().join("models");
    let _disk = match ReadOnlyDisk::mount(&models) {
        Ok(disk) => disk,
        Err(reason) => {
            writeln!(io::stderr(), "skipped: no tmpfs may be mounted here: {reason}")
                .expect("standard error");
            return;
        }
    };
    let toml = format!("graphite = \"127.0.0.1:0\"\nmodels_dir = \"{}\"\n", models.join("here").display());
    let visit = Practice::with(&toml).visit(&[]);
    visit.assert_problem("folder", &["the model folder", "read-only file system", "mount it writable"]);
}

#[test]
fn a_file_where_a_folder_should_be_is_told() {
    let practice = Practice::new();
    fs::write(practice.data_dir(), "no folder").expect("written");
    let visit = practice.visit(&[]);
    let problems = visit.texts("problem", "folder");
    assert_eq!((visit.code, problems.len()), (1, 2), "data and models: {visit:#?}");
    assert!(problems[0].contains("the data folder") && problems[0].contains("is a file"), "{problems:?}");
}

#[test]
fn ports_that_are_taken_are_told_with_their_holder() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("bound");
    let toml = format!("graphite = \"{address}\"\nudp = false\n{NO_HTTP}");
    let holder = format!("process {}", std::process::id());
    let visit = Practice::with(&toml).visit(&[]);
    visit.assert_problem(
        "port",
        &[&format!("TCP {address}"), "is taken by", &holder, "set graphite to another"],
    );

    // One whose TCP twin nobody holds, which would be told too.
    let twin = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = twin.local_addr().expect("bound");
    let _udp = UdpSocket::bind(address).expect("a free port");
    drop(twin);
    let visit = Practice::with(&format!("graphite = \"{address}\"\n{NO_HTTP}")).visit(&[]);
    visit.assert_problem("port", &[&format!("UDP {address}"), &holder]);

    let toml = format!("graphite = \"192.0.2.1:2003\"\nudp = false\n{NO_HTTP}");
    let visit = Practice::with(&toml).visit(&[]);
    visit.assert_problem("port", &["192.0.2.1:2003", "this machine has no such address"]);
}

#[test]
fn the_ports_of_the_running_engine_are_as_they_should_be() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start::<&str>(folder.path(), []);
    let toml = folder.path().join("htmengine.toml");
    fs::write(&toml, format!("graphite = \"{}\"\n", server.address())).expect("written");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let finished = run(["doctor", "--config", &text(&toml), "--data-dir", &text(server.data_dir())]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("is held by the running engine, process "), "{}", finished.stdout);
    assert!(server.terminate().success(), "a good end");
}

#[test]
fn a_configuration_that_cannot_be_used_is_told() {
    let config = OldConfiguration::new();
    config.replace("application.conf", "plaintext_port = 2003", "plaintext_port = 70000");
    let doctor = command(["doctor"]).env("APPLICATION_CONFIG_PATH", config.path()).output();
    let output = doctor.expect("the program can be run");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let problem =
        "option plaintext_port of [metric_listener] in application.conf is '70000'; expected a port";
    assert!(stdout.contains("problem: file ") && stdout.contains(problem), "{stdout}");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(stderr.contains("there is a problem, named above"), "{stderr}");
}
