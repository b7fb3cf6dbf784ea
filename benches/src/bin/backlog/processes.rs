//! Processes that take part: those of separate roles, and the CPU seconds of any.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The kernel tells CPU time of processes in hundredths of a second, whatever its own clock.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of `/proc/PID/stat` after the name, counted from 0: user and system time.
const USER_AND_SYSTEM: std::ops::Range<usize> = 11..13;

/// CPU seconds of a process so far, ended threads included.
pub(crate) fn cpu_s(process_id: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process_id}/stat"))?;
    // The name stands in brackets and may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(USER_AND_SYSTEM).unwrap_or_default().iter().map(|field| field.parse::<u32>());
    let ticks: Result<Vec<u32>, _> = ticks.collect();
    Ok(ticks.map_err(io::Error::other)?.into_iter().map(|ticks| f64::from(ticks) / TICKS_PER_SECOND).sum())
}

/// Roles in processes of their own; killed when dropped.
pub(crate) struct RoleProcesses {
    children: Vec<(&'static str, Child, BufReader<ChildStdout>)>,
    listener: SocketAddr,
}

impl RoleProcesses {
    /// Starts all roles and waits until each is at work. Their logs go to `folder`.
    pub(crate) fn start(program: &Path, folder: &Path, flags: &[String]) -> io::Result<Self> {
        let mut children = Vec::new();
        for role in ["anomaly", "scheduler", "storer", "listener"] {
            let mut command = Command::new(program);
            command.arg(role).args(flags).env_remove("APPLICATION_CONFIG_PATH").stdin(Stdio::null());
            if role == "listener" {
                command.args(["--host", "127.0.0.1", "--port", "0"]);
            }
            let log = File::create(folder.join(format!("{role}.log")))?;
            let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
            let said = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
            children.push((role, child, BufReader::new(said)));
        }
        let mut listener = None;
        for (role, _, said) in &mut children {
            let mut line = String::new();
            said.read_line(&mut line)?;
            if line.is_empty() {
                let log = fs::read_to_string(folder.join(format!("{role}.log")))?;
                return Err(io::Error::other(format!("the {role} did not start: {log}")));
            }
            let address = line.split_once("on TCP ").and_then(|(_, rest)| rest.split([' ', '\n']).next());
            listener = listener.or_else(|| address.and_then(|address| address.parse().ok()));
        }
        let listener = listener.ok_or_else(|| io::Error::other("the listener did not say where it is"))?;
        Ok(Self { children, listener })
    }

    /// Where lines are taken.
    pub(crate) fn listener(&self) -> SocketAddr {
        self.listener
    }

    /// Names and process ids.
    pub(crate) fn ids(&self) -> Vec<(&'static str, u32)> {
        self.children.iter().map(|(role, child, _)| (*role, child.id())).collect()
    }
}

impl Drop for RoleProcesses {
    fn drop(&mut self) {
        for (_, child, _) in &mut self.children {
            // Gone already, or nothing that matters any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
