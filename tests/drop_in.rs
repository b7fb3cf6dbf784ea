//! Promise: a drop-in. The configuration folder of the original's skeleton application starts all services of ours under a
//! real supervisord; its database is the original's, our additions aside; and the Python programs beside it work.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::lone_run::{assert_equal, assert_stored};
use htm_tests::private_mariadb::PrivateMariadb;
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::program::{command, program};
use htm_tests::python;
use htm_tests::recording::{data_path, series};
use htm_tests::sender::{lines, send};
use htm_tests::services::Services;
use htm_tests::stored::{metric, wait_for_rows, wait_for_scores};
use htm_tests::waiting::{wait_for, wait_until};
use htm_tests::{source_tree, stored};
use serde_json::Value;
use tempfile::TempDir;

/// The services and the log of each, in the group `htmengine`.
const SERVICES: [&str; 4] = ["anomaly_service", "metric_listener", "metric_storer", "model_scheduler"];
/// Tables that the original has not.
const ADDED_TABLES: [&str; 7] = [
    "alert_cursor",
    "alert_delivery",
    "alert_episode",
    "change",
    "htmengine_version",
    "reject",
    "score_progress",
];
/// What the original's tables have not: an index, so that a metric is found by its name, and the detection score.
const ADDITIONS: [&str; 4] = [
    ",\n  KEY `name_idx` (`name`(191))",
    "  `detection_score` double DEFAULT NULL,\n",
    "  `alert_score` double DEFAULT NULL,\n",
    "  `detection_components` varchar(120) DEFAULT NULL,\n",
];
const DATA_QUEUE: &str = "skeleton.metric.custom.data";
const RESULTS_EXCHANGE: &str = "skeleton.model.results";

/// Ends supervisord when its standard input closes: when the test ends, in whatever way.
const WATCHDOG: &str = r#"
trap '' HUP INT QUIT
"$@" </dev/null &
supervisord=$!
read -r order
kill -s TERM "$supervisord"
wait "$supervisord"
"#;

/// An application's folder: `conf`, `logs`, models.
struct Application {
    folder: TempDir,
    services: Services,
    listener: SocketAddr,
}

impl Application {
    /// Fills in names and ports, and nothing else.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let services = Services {
            database: PrivateMariadb::shared().fresh_database(),
            broker: PrivateRabbitMq::shared().fresh_settings(),
        };
        let application = Self { listener: free_address(), services, folder };
        let conf = application.conf();
        fs::create_dir(&conf).expect("a folder");
        fs::create_dir(application.folder.path().join("logs")).expect("a folder");
        let database = &application.services.database;
        let replacements = [
            ("@DATABASE@", database.database.clone()),
            ("@DATABASE_PORT@", database.port.to_string()),
            ("@LISTENER_PORT@", application.listener.port().to_string()),
            ("@BROKER_PORT@", application.services.broker.port.to_string()),
            ("@VIRTUAL_HOST@", application.services.broker.virtual_host.clone()),
            ("@FOLDER@", application.folder.path().display().to_string()),
        ];
        copy(&data_path("skeleton_conf"), &conf, &replacements);
        let socket = application.folder.path().join("supervisor.sock").display().to_string();
        let replacements =
            [("/tmp/htmengine-supervisor.sock", socket), ("127.0.0.1:9001", free_address().to_string())];
        copy(&source_tree::root().join("packaging/supervisord"), &conf, &replacements);
        application
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("conf")
    }

    /// A verb of ours, which finds everything by the one variable that the original needed.
    fn htmengine(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("APPLICATION_CONFIG_PATH", self.conf()).current_dir(self.folder.path());
        command
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.htmengine(arguments).output().expect("the program can be run");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn supervisorctl(&self, arguments: &[&str]) -> Output {
        let conf = self.conf().join("supervisord.conf");
        let mut command = Command::new("supervisorctl");
        command.arg("-c").arg(conf).args(arguments).output().expect("Debian's package supervisor")
    }

    /// Names of the services in this state, and their process ids.
    fn in_state(&self, state: &str) -> Vec<(String, u32)> {
        let said = String::from_utf8(self.supervisorctl(&["status"]).stdout).expect("text");
        said.lines()
            .filter_map(|line| {
                let (name, rest) = line.split_once(' ')?;
                let mut words = rest.split_whitespace();
                let id =
                    (words.next()? == state).then(|| words.nth(1))??.trim_end_matches(',').parse().ok()?;
                Some((name.strip_prefix("htmengine:")?.to_owned(), id))
            })
            .collect()
    }

    /// What the logs say, for a test that failed.
    fn logs(&self) -> String {
        let logs = SERVICES.iter().chain(&["supervisord"]);
        let log_of = |name: &&str| {
            let path = self.folder.path().join(format!("logs/{name}.log"));
            format!("{name}:\n{}\n", fs::read_to_string(path).unwrap_or_default())
        };
        logs.map(log_of).collect()
    }

    fn python(&self, name: &str, arguments: &[&str], input: &str) -> String {
        let broker = self.services.broker_url();
        let broker_arguments = match name {
            "publish_samples.py" => vec!["--broker", &broker, "--queue", DATA_QUEUE],
            "consume_results.py" => {
                vec!["--broker", &broker, "--exchange", RESULTS_EXCHANGE, "--queue", "skeleton.audit"]
            }
            _ => Vec::new(),
        };
        let port = self.services.database.port.to_string();
        let database_arguments = match name {
            "read_metric_data.py" => vec!["--port", &port, "--database", &self.services.database.database],
            _ => Vec::new(),
        };
        python::succeed(name, [&broker_arguments[..], &database_arguments, arguments].concat(), input)
    }
}

/// A running supervisord; ended when the test ends, and at the latest with this process.
struct Supervisord(Child);

impl Supervisord {
    fn start(application: &Application) -> Self {
        let folder_of_program = program().parent().expect("a folder").display().to_string();
        let path = std::env::var("PATH").expect("a search path");
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCHDOG, "sh", "supervisord", "--nodaemon", "-c"]);
        shell.arg(application.conf().join("supervisord.conf")).current_dir(application.folder.path());
        // The lines marked EDIT: the program is on the path, and the configuration beside the file.
        shell.env("PATH", format!("{folder_of_program}:{path}"));
        let said = fs::File::create(application.folder.path().join("supervisord.out")).expect("a file");
        shell.stdin(Stdio::piped()).stdout(said.try_clone().expect("an open file")).stderr(said);
        Self(shell.spawn().expect("a shell"))
    }

    /// Ends it in order and waits until all is over.
    fn stop(&mut self) {
        if let Some(mut orders) = self.0.stdin.take() {
            let _ = orders.write_all(b"stop\n");
        }
        wait_for("the end of supervisord", || self.0.try_wait().expect("our own child"));
    }
}

impl Drop for Supervisord {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The process that serves the web application, which the original started by hand; killed when the test ends.
struct WebApp(Child);

impl Drop for WebApp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket")
}

/// Copies a folder's files, with texts replaced; every one of them must be somewhere.
fn copy(from: &Path, to: &Path, replacements: &[(&str, String)]) {
    let mut found = vec![false; replacements.len()];
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("a readable folder").path();
        let mut text = fs::read_to_string(&path).expect("text");
        for (index, (old, new)) in replacements.iter().enumerate() {
            found[index] |= text.contains(old);
            text = text.replace(old, new);
        }
        fs::write(to.join(path.file_name().expect("a name")), text).expect("written");
    }
    assert!(found.iter().all(|found| *found), "{}: {replacements:?}: {found:?}", from.display());
}

/// Definitions of a dump by table.
fn tables(dump: &str) -> Vec<(String, String)> {
    let definitions = dump.split("CREATE TABLE `").skip(1);
    definitions
        .map(|rest| {
            let (name, rest) = rest.split_once('`').expect("a name");
            (name.to_owned(), rest.split_once(';').expect("an end").0.to_owned())
        })
        .collect()
}

#[test]
fn a_migrated_database_is_the_originals_and_our_additions() {
    let application = Application::new();
    application.succeed(&["migrate"]);
    let database = &application.services.database.database;
    let ours = tables(&PrivateMariadb::shared().dump_schema(database));
    let captured = fs::read_to_string(data_path("captures/schema.sql")).expect("a capture");
    let original = tables(&captured);
    assert_eq!(original.len(), 5, "as captured");
    let added: Vec<&str> =
        ours.iter().map(|(name, _)| name.as_str()).filter(|name| ADDED_TABLES.contains(name)).collect();
    assert_eq!(added, ADDED_TABLES, "every addition is there");
    let rest = ours.iter().filter(|(name, _)| !ADDED_TABLES.contains(&name.as_str()));
    let mut additions = 0;
    let without_additions: Vec<(String, String)> = rest
        .map(|(name, definition)| {
            let mut original = definition.clone();
            for addition in ADDITIONS {
                additions += original.matches(addition).count();
                original = original.replace(addition, "");
            }
            (name.clone(), original)
        })
        .collect();
    assert_eq!(without_additions, original);
    assert_eq!(additions, ADDITIONS.len(), "each of them once");
    // The whole dump, not only its tables: nothing else is defined.
    let dump = PrivateMariadb::shared().dump_schema(database);
    for word in ["TRIGGER", "PROCEDURE", "VIEW", "EVENT"] {
        assert!(!dump.contains(&format!("CREATE {word}")), "{word}");
    }
}

fn samples(count: usize) -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(count).collect()
}

#[test]
fn the_skeletons_configuration_starts_all_services_and_its_clients_work() {
    let application = Application::new();
    application.succeed(&["migrate"]);
    application.succeed(&["config", "check"]);
    let mut supervisord = Supervisord::start(&application);
    wait_until("all services", || application.in_state("RUNNING").len() == SERVICES.len());
    let running = application.in_state("RUNNING");
    assert_eq!(running.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), SERVICES);

    // The application's own programs.
    let repository = application.services.repository();
    application.python("consume_results.py", &["--bind-only"], "");
    let samples = samples(240);
    let (first, second) = samples.split_at(120);
    application.python("publish_samples.py", &[], &lines("cpu", &first[..1]));
    wait_for_rows(&*repository, "cpu", 1);
    let address = free_address();
    let web_app = application
        .htmengine(&["http", "--web-app", &address.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("the program can be run");
    let _web_app = WebApp(web_app);
    wait_until("the web application", || std::net::TcpStream::connect(address).is_ok());
    let url = format!("http://{address}");
    let arguments = ["--web-app", &url, "--min", "0", "--max", "100", "cpu"];
    let uid = application.python("create_model.py", &arguments, "");
    assert_eq!(metric(&*repository, "cpu").expect("stored").uid.as_str(), uid.trim());
    application.python("publish_samples.py", &[], &lines("cpu", &first[1..]));
    let range = ValueRange::new(0.0, 100.0).expect("a range");
    assert_equal("published", &wait_for_scores(&*repository, "cpu", first.len()), first, range);

    // A client of the listener's port; a service restarted meanwhile.
    assert!(application.supervisorctl(&["restart", "htmengine:model_scheduler"]).status.success());
    send(application.listener, lines("cpu", second).as_bytes());
    let rows = wait_for_scores(&*repository, "cpu", samples.len());
    assert_equal("sent", &rows, &samples, range);
    assert_stored("sent", &stored::rows(&*repository, "cpu"), &samples);

    let printed = application.python("read_metric_data.py", &["cpu"], "");
    assert_eq!(printed.lines().count(), 1 + samples.len());
    let consumed = application.python("consume_results.py", &["--idle-seconds", "3"], "");
    let consumed: Vec<Value> =
        consumed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(consumed[0]["kind"], "command");
    assert_eq!(consumed[0]["message"]["modelId"], uid.trim());
    let published: usize =
        consumed.iter().filter_map(|message| message["message"]["results"].as_array()).map(Vec::len).sum();
    assert!(published >= samples.len(), "{published} rows were published");

    let running = application.in_state("RUNNING");
    assert_eq!(running.len(), SERVICES.len(), "{}", application.logs());
    supervisord.stop();
    for (name, id) in running {
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "{name} has ended");
        let log = fs::read_to_string(application.folder.path().join(format!("logs/{name}.log")));
        assert!(log.is_ok_and(|log| !log.is_empty()), "{name} has a log of its own");
    }
    let log = application.logs();
    for name in SERVICES {
        assert!(log.contains(&format!("stopped: {name} (exit status 0)")), "{log}");
    }
}
