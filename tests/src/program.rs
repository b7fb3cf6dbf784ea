//! The `htmengine` program as users run it: built once for a test process, run as a child, never left behind.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, read_to_string};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;

use htmengine::backends::DATABASE_FILE;
use htmengine::config::DEFAULT_DATA_DIR;
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};

use crate::process_signal::send_signal;
use crate::source_tree;
use crate::waiting::{wait_for, wait_until};

/// Path of the program, of the same profile and target folder as this test.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| env::var_os(GIVEN_PROGRAM).map_or_else(build, PathBuf::from))
}

/// Cargo only hands out the path of a package's own programs, and does not build those of others; asking for a
/// program that is fresh costs a fraction of a second. The workspace and a test are named so that the packages get
/// the features that `cargo test` built them with, and are not built a second time; a program was built without any test.
fn build() -> PathBuf {
    let own = env::current_exe().expect("this program's own path");
    let folder = own.parent().expect("a program lies in a folder");
    // A test lies in TARGET/PROFILE/deps, a program in TARGET/PROFILE.
    let is_test = folder.ends_with("deps");
    let profile_folder = if is_test { folder.parent().expect("TARGET/PROFILE") } else { folder };
    let profile = profile_folder.file_name().and_then(OsStr::to_str).expect("a profile's name");
    let target_folder = profile_folder
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .expect("a target folder");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(source_tree::root()).args(["build", "--quiet", "--locked", "--workspace"]);
    command.args(["--bin", "htmengine"]).arg("--target-dir").arg(target_folder);
    if is_test {
        command.args(["--test", "tidy"]);
    }
    command.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    // With `--target`, the profile's folder lies in one named after the target.
    let between = profile_folder.parent().filter(|parent| *parent != target_folder);
    if let Some(triple) = between.and_then(Path::file_name) {
        command.arg("--target").arg(triple);
    }
    // What cargo tells this test of its own package is not for others: `ring` looks at it, and it and all that stands
    // on it would be built anew, now and by the next cargo that does not run inside a test.
    for (name, _) in env::vars_os() {
        let is_of_this_package =
            |text: &str| text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_of_this_package) {
            command.env_remove(name);
        }
    }
    let built = command.output().expect("cargo can be run");
    assert!(built.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&built.stderr));
    profile_folder.join(format!("htmengine{}", env::consts::EXE_SUFFIX))
}

/// Names a program that was built before, for long runs during which this tree changes.
const GIVEN_PROGRAM: &str = "HTM_TESTS_PROGRAM";
/// Environment variables that are settings of ours; with which instructions the kernels compute is left to whoever
/// tests.
const OUR_VARIABLES: [&str; 5] = [
    "HTMENGINE_LOG",
    "HTMENGINE_DATABASE",
    "HTMENGINE_BROKER",
    "HTMENGINE_HTTP_KEY",
    "HTMENGINE_RABBITMQ_CONF_PATH",
];

/// The program with these arguments, in an environment without settings of ours.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("APPLICATION_CONFIG_PATH");
    for (name, _) in env::vars_os() {
        let is_ours = |text: &str| OUR_VARIABLES.contains(&text) || text.starts_with("_NTA_UTILS_CONFIG__");
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a run of the program left behind.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs the program to its end.
///
/// # Panics
/// If it cannot be run.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Finished {
    Finished::new(command(arguments).output().expect("the program can be run"))
}

/// Runs the program to its end, which must be a good one; returns what it printed.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn succeed<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> String {
    let finished = run(arguments);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

/// Runs the program to its end, which must be exit code `code` with every one of `parts` said on standard error.
///
/// # Panics
/// If it ends otherwise.
#[track_caller]
pub fn fail<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, code: i32, parts: &[&str]) {
    let finished = run(arguments);
    assert_eq!(finished.code, Some(code), "{finished:?}");
    for part in parts {
        assert!(finished.stderr.contains(part), "`{part}` is not said in: {}", finished.stderr);
    }
    assert!(finished.stdout.is_empty(), "{finished:?}");
}

/// `htmengine serve` as a child on a free loopback port; killed when the test ends in whatever way.
#[derive(Debug)]
pub struct Server {
    child: Child,
    data_dir: PathBuf,
    log: PathBuf,
    announcement: Vec<String>,
}

impl Server {
    /// Starts one over `folder`, which gets the data, under the default name, and the log.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::start_changed(folder, arguments, |_| {})
    }

    /// As [`Server::start`], with something more to be said of the command, such as its environment.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_changed<A: AsRef<OsStr>>(
        folder: &Path,
        arguments: impl IntoIterator<Item = A>,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let data_dir = folder.join(DEFAULT_DATA_DIR);
        let log = folder.join("serve.log");
        let log_file = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut serve = command(["serve", "--graphite", "127.0.0.1:0", "--data-dir"]);
        serve.arg(&data_dir).args(arguments).stdout(Stdio::piped()).stderr(log_file);
        change(&mut serve);
        let child = serve.spawn().expect("the program can be run");
        let mut server = Self { child, data_dir, log, announcement: Vec::new() };
        let stdout = server.child.stdout.take().expect("piped");
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("text");
            let is_last = line.starts_with("then: ");
            server.announcement.push(line);
            if is_last {
                return server;
            }
        }
        panic!("serve ended at once: {}", server.log());
    }

    /// What it printed when it was ready.
    pub fn announcement(&self) -> &[String] {
        &self.announcement
    }

    /// Where it takes lines.
    ///
    /// # Panics
    /// If it did not say.
    pub fn address(&self) -> SocketAddr {
        self.announced("htmengine takes Graphite lines on TCP ")
    }

    /// The address announced after `prefix`.
    ///
    /// # Panics
    /// If there is none.
    pub fn announced(&self, prefix: &str) -> SocketAddr {
        let said = self.announcement.iter().find_map(|line| line.strip_prefix(prefix));
        let address = said.and_then(|rest| rest.split(' ').next()).and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no `{prefix}` in {:?}", self.announcement))
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its rows, through a connection of our own.
    ///
    /// # Panics
    /// If they cannot be opened.
    pub fn repository(&self) -> SqliteRepository {
        open_repository(&self.data_dir)
    }

    /// What it logged, over all lives in this folder.
    ///
    /// # Panics
    /// If the log cannot be read.
    pub fn log(&self) -> String {
        read_to_string(&self.log).expect("a readable log")
    }

    /// A line of `/proc/PID/status` that counts kibibytes, in bytes.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn memory_bytes(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = read_to_string(&path).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a known key");
        let kib = line.trim_start_matches(':').trim_end_matches("kB").trim();
        kib.parse::<u64>().expect("a number of kibibytes") * 1024
    }

    /// How many sockets it has open.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn socket_count(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a running process");
        // What was closed meanwhile cannot be read any more.
        let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// If it ended by itself.
    #[track_caller]
    pub fn check_running(&mut self) {
        let ended = self.child.try_wait().expect("our own child");
        assert_eq!(ended, None, "serve ended by itself: {}", self.log());
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// If it never ends.
    #[track_caller]
    pub fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.end()
    }

    /// Sends it a signal, by its name without SIG.
    ///
    /// # Panics
    /// If it has ended.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    /// Sends it SIGHUP and waits until `what` is in what it logs from now on; returns that.
    ///
    /// # Panics
    /// If that never comes.
    #[track_caller]
    pub fn reload(&self, what: &str) -> String {
        let before = self.log().len();
        self.signal("HUP");
        wait_until(&format!("`{what}` in the log"), || self.log()[before..].contains(what));
        self.log()[before..].to_owned()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it never ends.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        wait_for("the end of serve", || self.child.try_wait().expect("our own child"))
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Panics
    /// If it had ended before.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("our own child");
        assert_eq!(ended, None, "serve ended by itself: {}", self.log());
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, or a test that failed and reports its own reason.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rows of an engine, running or not.
///
/// # Panics
/// If they cannot be opened.
pub fn open_repository(data_dir: &Path) -> SqliteRepository {
    SqliteRepository::open(&data_dir.join(DATABASE_FILE), OpenMode::ReadWrite)
        .unwrap_or_else(|error| panic!("{error}"))
}
