//! A RabbitMQ broker of this test process alone: on free loopback ports, in a temporary directory, with a node name, a
//! cookie and a name server (epmd) of its own. It never sees, and is never seen by, another broker of the machine.
//!
//! [`PrivateRabbitMq::shared`] is started once for a test process; a test gets a virtual host of its own with
//! [`PrivateRabbitMq::fresh_vhost`]. A test that stops the broker starts one for itself, with [`PrivateRabbitMq::start`].
//!
//! Invariant: nothing outlives this process, however it ends. A watchdog shell knows the process ids and reads a pipe
//! that only this process holds open; at its end it kills them and removes the directory. A child does nothing before
//! the watchdog knows it.
//!
//! Source: Debian 12's RabbitMQ 3.10. The script in `/usr/sbin` changes the user and loses the environment, so the one
//! in `PROGRAMS` is called. `erl_call` takes milliseconds for what takes `rabbitmqctl` seconds.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use htmengine::bus::rabbitmq::RabbitSettings;
use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::process_signal::send_signal;
use crate::waiting::wait_for;

/// Where Debian's package `rabbitmq-server` has its programs.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const COOKIE: &str = "HTMENGINETESTS";
/// Free ports are chosen before they are used, so another process can be quicker.
const START_ATTEMPTS: usize = 3;
/// Longest wait for one answer to the AMQP greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Reads process ids, a line each time they change; at the end of the input ends these processes.
const WATCHDOG: &str = r#"
while read -r line; do pids="$line"; done
[ -z "$pids" ] || kill -KILL $pids
i=0; while [ $i -lt 50 ] && ! rm -rf "$1"; do i=$((i + 1)); sleep 0.1; done
"#;
/// Waits for a line, then becomes the program.
const AFTER_A_LINE: &str = r#"read -r go && exec "$@" </dev/null"#;

/// The broker; ended when it is dropped, and at the latest with this process.
#[derive(Debug)]
pub struct PrivateRabbitMq {
    amqp_port: u16,
    tls_port: u16,
    epmd_port: u16,
    dist_port: u16,
    node: String,
    vhost_count: AtomicUsize,
    state: Mutex<State>,
    // Last, so that it is removed after the processes have ended.
    directory: TempDir,
}

#[derive(Debug)]
struct State {
    watchdog: Child,
    watchdog_input: Option<ChildStdin>,
    epmd: Option<Child>,
    broker: Option<Child>,
}

impl PrivateRabbitMq {
    /// The one of this test process. Do not stop it: other tests are using it.
    ///
    /// # Panics
    /// As [`PrivateRabbitMq::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PrivateRabbitMq> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one, and waits until it takes connections.
    ///
    /// # Panics
    /// If RabbitMQ is not installed, or does not start.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// As [`PrivateRabbitMq::start`], of a broker that speaks TLS too, with this certificate.
    ///
    /// # Panics
    /// As [`PrivateRabbitMq::start`].
    pub fn start_with_tls(certificate: &Certificate) -> Self {
        Self::start_with(Some(certificate))
    }

    fn start_with(certificate: Option<&Certificate>) -> Self {
        let server = Path::new(PROGRAMS).join("rabbitmq-server");
        assert!(
            server.exists(),
            "{} does not exist: these tests need Debian's package rabbitmq-server (apt-get install \
             rabbitmq-server)",
            server.display()
        );
        let mut failures = Vec::new();
        for _ in 0..START_ATTEMPTS {
            let broker = Self::prepare(certificate);
            match broker.start_processes() {
                Ok(()) => return broker,
                Err(reason) => failures.push(reason),
            }
        }
        panic!("RabbitMQ did not start, tried {START_ATTEMPTS} times:\n{}", failures.join("\n---\n"));
    }

    /// Where it speaks AMQP. The same over all of its lives.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.amqp_port))
    }

    /// Where it speaks AMQP with TLS, if it does.
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.tls_port))
    }

    /// A new and empty virtual host, which user and password `guest` may use.
    ///
    /// # Panics
    /// If the broker does not run.
    pub fn fresh_vhost(&self) -> String {
        let vhost = format!("test-{}", self.vhost_count.fetch_add(1, Ordering::Relaxed));
        self.evaluate(&format!(
            "rabbit_vhost:add(<<\"{vhost}\">>, <<\"test\">>), rabbit_auth_backend_internal:set_permissions(\
             <<\"guest\">>, <<\"{vhost}\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)."
        ));
        vhost
    }

    /// How to reach a new virtual host, with the original's names for queues and exchange.
    ///
    /// # Panics
    /// As [`PrivateRabbitMq::fresh_vhost`].
    pub fn fresh_settings(&self) -> RabbitSettings {
        RabbitSettings {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.amqp_port,
            virtual_host: self.fresh_vhost(),
            ..RabbitSettings::default()
        }
    }

    /// Runs Erlang in the broker, such as `rabbit_vhost:exists(<<"/">>).`, and returns what it
    /// answered.
    ///
    /// # Panics
    /// If the broker does not run, or the answer is an error.
    pub fn evaluate(&self, erlang: &str) -> String {
        // Two at once would have one name among the Erlang nodes.
        let _alone = self.lock();
        let mut command = Command::new("erl_call");
        command.args(["-c", COOKIE, "-n", &self.node, "-e"]).envs(self.environment());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("erl_call, of Debian's package erlang-base");
        let mut input = child.stdin.take().expect("piped");
        writeln!(input, "{erlang}").expect("erl_call reads");
        drop(input);
        wait_for(erlang, || child.try_wait().expect("our own child"));
        let output = child.wait_with_output().expect("our own child");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_good = output.status.success() && answer.starts_with("{ok, ");
        assert!(is_good, "{erlang}: {answer} {}", String::from_utf8_lossy(&output.stderr));
        answer["{ok, ".len()..].trim_end().trim_end_matches('}').to_owned()
    }

    /// Ends every connection to a virtual host from the broker's side, as an operator would.
    ///
    /// # Panics
    /// If the broker does not run.
    pub fn close_connections(&self, vhost: &str) {
        self.evaluate(&format!(
            "[rabbit_networking:close_connection(element(6, Tracked), <<\"test\">>) || Tracked <- \
             rabbit_connection_tracking:list(<<\"{vhost}\">>)]."
        ));
    }

    /// Stops the broker in an orderly way and waits for its end. What is durable stays.
    ///
    /// # Panics
    /// If it was not running.
    pub fn stop(&self) {
        self.end_broker("TERM");
    }

    /// Kills the broker with SIGKILL. What was confirmed stays.
    ///
    /// # Panics
    /// If it was not running.
    pub fn kill(&self) {
        self.end_broker("KILL");
    }

    /// Starts the broker again, and waits until it takes connections.
    ///
    /// # Panics
    /// If it runs already, or does not start.
    pub fn start_again(&self) {
        self.start_broker().unwrap_or_else(|reason| panic!("RabbitMQ did not start again: {reason}"));
    }

    /// The broker's log.
    pub fn log(&self) -> String {
        let path = self.path("log").join(format!("{}.log", self.node));
        fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
    }

    fn prepare(certificate: Option<&Certificate>) -> Self {
        let directory = tempfile::Builder::new().prefix("htmengine-rabbitmq-").tempdir();
        let directory = directory.expect("a temporary directory");
        let [amqp_port, tls_port, epmd_port, dist_port] = free_ports();
        let node = format!("htmengine-{amqp_port}@localhost");
        let path = directory.path();
        for folder in ["mnesia", "log"] {
            fs::create_dir(path.join(folder)).expect("a folder in it");
        }
        let mut conf = format!("listeners.tcp.1 = 127.0.0.1:{amqp_port}\nloopback_users.guest = true\n");
        if let Some(Certificate { authority, certificate, key }) = certificate {
            let options = [("cacertfile", authority), ("certfile", certificate), ("keyfile", key)];
            let options = options.map(|(name, file)| format!("ssl_options.{name} = {}\n", file.display()));
            conf += &options.concat();
            conf += &["listeners.ssl.1 = 127.0.0.1:", &tls_port.to_string(), "\n"].concat();
            conf += "ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n";
        }
        fs::write(path.join("rabbitmq.conf"), conf).expect("a file in it");
        fs::write(path.join("enabled_plugins"), "[].").expect("a file in it");
        let cookie = path.join(".erlang.cookie");
        fs::write(&cookie, COOKIE).expect("a file in it");
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).expect("our own file");
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, "watchdog"]).arg(path).stdin(Stdio::piped()).process_group(0);
        // Its end must not keep a pipe open that whoever started the tests is reading.
        let mut watchdog =
            watchdog.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell can be run");
        let watchdog_input = watchdog.stdin.take();
        let state = State { watchdog, watchdog_input, epmd: None, broker: None };
        let vhost_count = AtomicUsize::new(0);
        Self {
            amqp_port,
            tls_port,
            epmd_port,
            dist_port,
            node,
            vhost_count,
            state: Mutex::new(state),
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held this has not left half a state behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name| self.path(name).to_str().expect("a temporary path is text").to_owned();
        vec![
            ("HOME", path("")),
            ("RABBITMQ_NODENAME", self.node.clone()),
            ("RABBITMQ_MNESIA_BASE", path("mnesia")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_CONF_ENV_FILE", path("no-rabbitmq-env.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_PID_FILE", path("rabbitmq.pid")),
            ("RABBITMQ_DIST_PORT", self.dist_port.to_string()),
            ("ERL_EPMD_ADDRESS", Ipv4Addr::LOCALHOST.to_string()),
            ("ERL_EPMD_PORT", self.epmd_port.to_string()),
            // With this the script becomes the broker instead of watching over it.
            ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} +sbwt none".to_owned(),
            ),
        ]
    }

    fn start_processes(&self) -> Result<(), String> {
        let mut state = self.lock();
        let mut epmd = Command::new("epmd");
        epmd.arg("-port").arg(self.epmd_port.to_string()).args(["-address", "127.0.0.1"]);
        state.epmd = Some(self.spawn_watched(&epmd, "epmd.log", &mut state)?);
        drop(state);
        self.wait_for_port(self.epmd_port, "epmd", |state| &mut state.epmd)?;
        self.start_broker()
    }

    fn start_broker(&self) -> Result<(), String> {
        let mut state = self.lock();
        assert!(state.broker.is_none(), "the broker runs already");
        let server = Command::new(Path::new(PROGRAMS).join("rabbitmq-server"));
        state.broker = Some(self.spawn_watched(&server, "stdout.log", &mut state)?);
        drop(state);
        self.wait_for_port(self.amqp_port, "the broker", |state| &mut state.broker)
            .map_err(|reason| format!("{reason}\n{}\n{}", self.read("stdout.log"), self.log()))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Starts `command` in a process group of its own, so that an interrupt at the terminal leaves it to the watchdog.
    fn spawn_watched(&self, command: &Command, log: &str, state: &mut State) -> Result<Child, String> {
        let log = fs::File::options().create(true).append(true).open(self.path(log)).expect("a log file");
        let mut shell = Command::new("sh");
        shell.args(["-c", AFTER_A_LINE, "sh"]).arg(command.get_program()).args(command.get_args());
        shell.envs(self.environment()).stdin(Stdio::piped()).process_group(0);
        shell.stdout(log.try_clone().expect("an open file")).stderr(log);
        let mut child = shell.spawn().map_err(|error| format!("{shell:?}: {error}"))?;
        let others: Vec<_> = [&state.epmd, &state.broker].into_iter().flatten().map(Child::id).collect();
        state.tell_watchdog(others.into_iter().chain([child.id()]));
        let mut input = child.stdin.take().expect("piped");
        writeln!(input, "go").map_err(|error| format!("{shell:?} ended: {error}"))?;
        Ok(child)
    }

    /// Waits until something listens. Of the broker, whose ports open last of all, an answer to its greeting is awaited.
    fn wait_for_port(
        &self,
        port: u16,
        what: &str,
        child: impl Fn(&mut State) -> &mut Option<Child>,
    ) -> Result<(), String> {
        wait_for(what, || {
            let ended = child(&mut self.lock()).as_mut().and_then(|child| child.try_wait().expect("our own"));
            if let Some(status) = ended {
                return Some(Err(format!("{what} ended: {status}")));
            }
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
            if port == self.amqp_port {
                stream.set_read_timeout(Some(GREETING_TIMEOUT)).ok()?;
                stream.write_all(b"AMQP\0\0\x09\x01").ok()?;
                stream.read_exact(&mut [0]).ok()?;
            }
            Some(Ok(()))
        })
    }

    fn end_broker(&self, signal: &str) {
        let mut state = self.lock();
        let mut broker = state.broker.take().expect("the broker runs");
        send_signal(broker.id(), signal);
        wait_for("the broker's end", || broker.try_wait().expect("our own child"));
        let epmd = state.epmd.as_ref().map(Child::id);
        state.tell_watchdog(epmd);
    }
}

impl State {
    fn tell_watchdog(&mut self, pids: impl IntoIterator<Item = u32>) {
        let line = pids.into_iter().map(|pid| pid.to_string()).collect::<Vec<_>>().join(" ");
        let input = self.watchdog_input.as_mut().expect("open until the end");
        writeln!(input, "{line}").expect("the watchdog reads until the end");
    }
}

impl Drop for PrivateRabbitMq {
    fn drop(&mut self) {
        let mut state = self.lock();
        drop(state.watchdog_input.take());
        // It kills the others and removes the directory; nothing is left to do when it fails.
        let _ = state.watchdog.wait();
        for mut child in [state.broker.take(), state.epmd.take()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that nobody used a moment ago, all different.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners =
        [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port"));
    listeners.map(|listener| listener.local_addr().expect("a bound socket").port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_stops_starts_again_and_leaves_nothing_behind() {
        let broker = PrivateRabbitMq::start();
        let vhost = broker.fresh_vhost();
        assert_ne!(vhost, broker.fresh_vhost());
        broker.stop();
        assert!(TcpStream::connect(broker.address()).is_err());
        broker.start_again();
        assert_eq!(broker.evaluate(&format!("rabbit_vhost:exists(<<\"{vhost}\">>).")), "true");
        broker.kill();
        broker.start_again();
        let (address, directory) = (broker.address(), broker.directory.path().to_owned());
        let epmd_port = broker.epmd_port;
        drop(broker);
        assert!(TcpStream::connect(address).is_err());
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, epmd_port)).is_err());
        assert!(!directory.exists());
    }
}
