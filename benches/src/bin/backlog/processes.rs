//! Roles in processes of their own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

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
