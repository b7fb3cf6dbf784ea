//! An installation of role processes over one broker and one database.

use std::fs::{self, File, read_to_string};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::repository::Repository;
use htmengine::repository::mysql::{MysqlRepository, MysqlSettings};
use tempfile::TempDir;

use crate::private_mariadb::runtime;
use crate::process_signal::send_signal;
use crate::program::command;
use crate::sender::send;
use crate::stored::row_count;
use crate::waiting::{wait_for, wait_until};

/// Where the roles are started.
pub struct Installation {
    folder: TempDir,
    database: MysqlSettings,
    settings: Vec<String>,
    /// Where the listener takes lines, the same over all of its lives.
    listener: Mutex<Option<SocketAddr>>,
}

impl Installation {
    /// With a data folder of its own.
    ///
    /// # Panics
    /// If there can be none.
    pub fn new(broker: &RabbitSettings, database: &MysqlSettings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("htmengine.toml");
        // What there is no flag for.
        fs::write(&file, format!("extended_results = {}\n", broker.extended_results)).expect("written");
        let file = file.display().to_string();
        let vhost = broker.virtual_host.replace('/', "%2f");
        let broker =
            format!("amqp://{}:{}@{}:{}/{vhost}", broker.user, broker.password, broker.host, broker.port);
        let url =
            format!("mysql://{}@{}:{}/{}", database.user, database.host, database.port, database.database);
        let data_dir = folder.path().join("data").display().to_string();
        let settings = ["--data-dir", &data_dir, "--database", &url, "--broker", &broker];
        let settings = settings.map(str::to_owned).into_iter().chain(["--config".to_owned(), file]).collect();
        Self { folder, database: database.clone(), settings, listener: Mutex::new(None) }
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A verb and what follows it, over this installation.
    ///
    /// # Panics
    /// If there is no verb.
    pub fn arguments(&self, verb: &[&str]) -> Vec<String> {
        let has_broker = !["status", "checkpoint"].contains(&verb[0]);
        let settings = if has_broker { &self.settings[..] } else { &self.settings[..2] };
        verb.iter().map(|part| (*part).to_owned()).chain(settings.iter().cloned()).collect()
    }

    /// Starts a role, or with `serve` all, which may have to wait before it is ready.
    ///
    /// # Panics
    /// If the program cannot be run.
    pub fn start(&self, role: &'static str) -> RoleProcess {
        let mut arguments = self.arguments(&[role]);
        if role == "listener" {
            let port = self.listener.lock().unwrap_or_else(PoisonError::into_inner).map_or(0, |it| it.port());
            arguments.extend(["--host", "127.0.0.1", "--port", &port.to_string()].map(str::to_owned));
        }
        if role == "serve" {
            arguments.extend(["--graphite", "127.0.0.1:0", "--no-http"].map(str::to_owned));
        }
        if role == "scheduler" {
            arguments.extend(["--concurrency", "2", "--checkpoint-rows", "40"].map(str::to_owned));
        }
        RoleProcess::start(self.folder.path(), role, &arguments)
    }

    /// Where the listener takes lines; waits until one said so.
    ///
    /// # Panics
    /// If none does.
    pub fn listener_address(&self) -> SocketAddr {
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

    /// Sends lines over a connection of their own.
    ///
    /// # Panics
    /// If the listener does not take them.
    pub fn send(&self, bytes: &[u8]) {
        send(self.listener_address(), bytes);
    }

    /// Sends a sample and waits until it is stored: everything that was sent before it is, too.
    ///
    /// # Panics
    /// If it never is.
    pub fn flush(&self, name: &str) {
        self.send(format!("{name} 1 1400000000\n").as_bytes());
        let repository = self.repository();
        wait_until("a sentinel row", || row_count(&*repository, name) == 1);
    }

    /// The rows, through a connection of our own.
    ///
    /// # Panics
    /// If the database cannot be reached.
    pub fn repository(&self) -> Arc<dyn Repository> {
        wait_for("the database", || MysqlRepository::connect(&self.database, runtime()).ok())
    }
}

/// A running role; killed when the test ends in whatever way.
pub struct RoleProcess {
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

    /// Which role.
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// Waits until it is at work.
    ///
    /// # Panics
    /// If it ends instead.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        let output = self.folder.join(format!("{}.out", self.role));
        wait_until(&format!("the {}", self.role), || {
            let ended = self.child.lock().expect("no panic").try_wait().expect("our own child");
            assert!(ended.is_none(), "the {} ended: {}", self.role, self.log());
            read_to_string(&output).is_ok_and(|text| text[self.output_before..].ends_with('\n'))
        });
    }

    /// What it logged, over all lives.
    ///
    /// # Panics
    /// If the log cannot be read.
    pub fn log(&self) -> String {
        read_to_string(self.folder.join(format!("{}.log", self.role))).expect("a readable log")
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// If that is no good end.
    #[track_caller]
    pub fn terminate(self) -> ExitStatus {
        let mut child = self.child.lock().expect("no panic");
        let ended = child.try_wait().expect("our own child");
        assert!(ended.is_none(), "the {} ended by itself: {}", self.role, self.log());
        send_signal(child.id(), "TERM");
        let status = wait_for("the end of a role", || child.try_wait().expect("our own child"));
        assert!(status.success(), "the {} ended with {status}: {}", self.role, self.log());
        status
    }

    /// Its process.
    ///
    /// # Panics
    /// Never.
    pub fn process_id(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Panics
    /// If it had ended before.
    #[track_caller]
    pub fn kill(self) {
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
