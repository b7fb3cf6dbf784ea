//! A MariaDB of a test's own: a real server in a temporary directory on a free loopback port.
//!
//! [`PrivateMariadb::shared`] is one server for all tests of a process, in which every test makes itself a fresh
//! database; [`PrivateMariadb::start_own`] is for tests that stop or kill their server. Tables are latin1 unless
//! asked otherwise, as in the days of the original, and `root` has no password.
//!
//! Invariant: no server stays behind, however the test ends. A shell stands between test and server and reads its
//! standard input, a pipe that only this process holds: when it closes (a drop, a panic, the end or the killing of
//! this process), the shell kills the server and removes its directory. It ignores the signals of a terminal.
//!
//! Invariant: nothing is shared with another server, the directory of temporary tables least of all: a server that starts
//! removes whatever looks like one of its own there, and another then fails over a table that has gone.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use htmengine::backends::start_runtime;
use htmengine::repository::mysql::MysqlSettings;
use htmengine::repository::mysql::migration::{MigrationTarget, migrate};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

use crate::certificates::Certificate;
use crate::waiting::wait_for;

/// Ports tried before giving up: another process may take one between our asking for it and the server's start.
const MAX_PORTS_TRIED: usize = 5;
/// What to do where there is no server.
const NOT_INSTALLED: &str = "install Debian's package `mariadb-server`, as packaging/test does";

/// First argument: the directory to remove at the end. The others: the server's command line.
const WATCHDOG: &str = r#"
trap '' HUP INT QUIT TERM
folder="$1"
shift
"$@" </dev/null >>"$folder/server.log" 2>&1 &
server=$!
echo "$server"
if read -r order; then
    kill -s "$order" "$server"
    wait "$server"
else
    kill -s KILL "$server"
    wait "$server"
    rm -rf "$folder"
fi
"#;

/// A running server, or one that was stopped and may be started again.
#[derive(Debug)]
pub struct PrivateMariadb {
    folder: TempDir,
    port: u16,
    /// Of the server, beside those that all have.
    arguments: Vec<String>,
    server: Mutex<Option<Watched>>,
}

/// The shell and the server it watches.
#[derive(Debug)]
struct Watched {
    shell: Child,
    server_id: u32,
}

impl PrivateMariadb {
    /// The server that all tests of this process share, started when first asked for. It must not be stopped.
    ///
    /// # Panics
    /// If it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PrivateMariadb> = OnceLock::new();
        SHARED.get_or_init(Self::start_own)
    }

    /// A server for one test alone.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_own() -> Self {
        Self::start_with(Vec::new())
    }

    /// As [`PrivateMariadb::start_own`], of a server that shows this certificate to clients who ask for TLS.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with_tls(certificate: &Certificate) -> Self {
        let option = |name: &str, file: &Path| format!("--ssl-{name}={}", file.display());
        Self::start_with(vec![
            option("ca", &certificate.authority),
            option("cert", &certificate.certificate),
            option("key", &certificate.key),
        ])
    }

    fn start_with(arguments: Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("mariadb").tempdir().expect("a temporary directory");
        install(folder.path());
        let tried = (0..MAX_PORTS_TRIED).find_map(|_| {
            let port = free_port();
            Watched::start(folder.path(), port, &arguments).map(|server| (port, server))
        });
        let (port, server) = tried.unwrap_or_else(|| panic!("{}", server_log(folder.path())));
        Self { folder, port, arguments, server: Mutex::new(Some(server)) }
    }

    /// Its port on 127.0.0.1; the same after [`PrivateMariadb::start`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process.
    ///
    /// # Panics
    /// If it is stopped.
    pub fn process_id(&self) -> u32 {
        self.watched().as_ref().expect("a running server").server_id
    }

    /// How to reach `database` in it.
    pub fn settings(&self, database: &str) -> MysqlSettings {
        MysqlSettings { port: self.port, database: database.to_owned(), ..MysqlSettings::default() }
    }

    /// Makes an empty database with a name of its own.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn fresh_database(&self) -> MysqlSettings {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.query("mysql", &format!("CREATE DATABASE {name}"));
        self.settings(&name)
    }

    /// Makes an empty database at the newest schema, our tables included.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn migrated_database(&self) -> MysqlSettings {
        let settings = self.fresh_database();
        let migrated = migrate(&settings, MigrationTarget::Head, runtime());
        migrated.unwrap_or_else(|error| panic!("{error}"));
        settings
    }

    /// Runs SQL with the server's own command-line client, and returns what it printed: one line for each row,
    /// columns parted by tabs.
    ///
    /// # Panics
    /// If any statement fails.
    #[track_caller]
    pub fn query(&self, database: &str, sql: &str) -> String {
        let mut command = self.client("mariadb");
        let mut client = command
            .args(["--batch", "--skip-column-names", "--default-character-set=utf8mb4", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client `mariadb` can be run");
        let written = client.stdin.take().expect("piped").write_all(sql.as_bytes());
        let output = client.wait_with_output().expect("our own child");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && written.is_ok(), "{sql}: {errors}");
        String::from_utf8(output.stdout).expect("the client writes text")
    }

    /// The schema of `database`, as `mysqldump --no-data` writes it, without comments.
    ///
    /// # Panics
    /// If it cannot be dumped.
    pub fn dump_schema(&self, database: &str) -> String {
        let mut command = self.client("mariadb-dump");
        let output = command.args(["--no-data", "--skip-comments", database]).output();
        let output = output.expect("the client `mariadb-dump` can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the client writes text")
    }

    /// Stops the server in order; what is committed stays.
    ///
    /// # Panics
    /// If it is stopped already.
    pub fn stop(&self) {
        self.watched().take().expect("a running server").end("TERM");
    }

    /// Kills the server with SIGKILL; what is committed stays.
    ///
    /// # Panics
    /// If it is stopped already.
    pub fn kill(&self) {
        self.watched().take().expect("a running server").end("KILL");
    }

    /// Starts the server again over the same data, on the same port.
    ///
    /// # Panics
    /// If it runs already, or does not start.
    pub fn start(&self) {
        let mut watched = self.watched();
        assert!(watched.is_none(), "the server runs already");
        let started = Watched::start(self.folder.path(), self.port, &self.arguments);
        *watched = Some(started.unwrap_or_else(|| panic!("{}", server_log(self.folder.path()))));
    }

    fn watched(&self) -> MutexGuard<'_, Option<Watched>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["--no-defaults", "--user=root", "--host=127.0.0.1", "--protocol=tcp"]);
        command.arg(format!("--port={}", self.port));
        command
    }
}

impl Watched {
    /// Starts the server and waits until it takes connections; `None` if it gave up, such as over a port taken.
    fn start(folder: &Path, port: u16, arguments: &[String]) -> Option<Self> {
        let data = data_of(folder);
        // Left by a server that was killed; a new one writes it when it is ready.
        let ready = data.join("mariadbd.pid");
        let _ = fs::remove_file(&ready);
        let log_start = server_log(folder).len();
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "sh"]).arg(folder).arg("mariadbd").args(["--no-defaults"]);
        command.args(server_arguments(folder)).args(["--bind-address=127.0.0.1"]);
        // Relative to the data, so that a long path of temporary directories does not matter.
        command.args(["--socket=mariadbd.sock", "--pid-file=mariadbd.pid"]).arg(format!("--port={port}"));
        command
            .args(["--innodb-buffer-pool-size=64M", "--skip-name-resolve", "--performance-schema=OFF"])
            .args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut shell = command.spawn().expect("a shell");
        let mut server_id = String::new();
        BufReader::new(shell.stdout.take().expect("piped"))
            .read_line(&mut server_id)
            .expect("the shell's word");
        let server_id = server_id.trim().parse().expect("a process id");
        let watched = Self { shell, server_id };
        let is_ready = wait_for("MariaDB to start", || {
            if ready.exists() && greets(port) {
                return Some(true);
            }
            let log = server_log(folder);
            let log = log.get(log_start..).unwrap_or_default();
            assert!(!log.contains("not found"), "there is no `mariadbd`: {NOT_INSTALLED}");
            log.contains("Aborting").then_some(false)
        });
        if is_ready {
            return Some(watched);
        }
        // The directory is left for another try.
        watched.end("KILL");
        None
    }

    /// Sends the server a signal, and waits for its end.
    fn end(mut self, signal: &str) {
        let mut orders = self.shell.stdin.take().expect("taken only here and by drop");
        orders.write_all(format!("{signal}\n").as_bytes()).expect("the shell takes orders");
        self.shell.wait().expect("our own child");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Closing the pipe is the order to kill the server and to remove its directory.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A runtime for the clients of this process's tests, which lives as long as the process.
///
/// # Panics
/// If it cannot be started.
pub fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| start_runtime().expect("threads")).handle()
}

/// Makes the system tables.
fn install(folder: &Path) {
    let mut command = Command::new("mariadb-install-db");
    command.arg("--no-defaults").args(server_arguments(folder));
    command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            panic!("mariadb-install-db failed: {}", said.join("\n"));
        }
        Err(error) => panic!("mariadb-install-db cannot be run ({error}): {NOT_INSTALLED}"),
    }
}

/// The places of data and of temporary tables; as root also the user, without which the server refuses to run as root.
fn server_arguments(folder: &Path) -> Vec<String> {
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary).expect("a folder in our own");
    let mut arguments =
        vec![format!("--datadir={}", data_of(folder).display()), format!("--tmpdir={}", temporary.display())];
    let id = Command::new("id").arg("--user").output().expect("`id` can be run");
    if id.stdout.trim_ascii() == b"0" {
        arguments.push("--user=root".to_owned());
    }
    arguments
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn server_log(folder: &Path) -> String {
    fs::read(folder.join("server.log"))
        .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a server says hello at this port.
fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect(address).and_then(|mut stream| stream.read_exact(&mut [0; 5])).is_ok()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}
