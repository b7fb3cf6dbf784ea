//! The scripts in `tests/python`, run with a Python that has pika and `PyMySQL`.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::source_tree;

/// Debian's own Python comes first: its packages are there, whatever another one in the path has.
const CANDIDATES: [&str; 2] = ["/usr/bin/python3", "python3"];

/// The interpreter.
fn interpreter() -> &'static str {
    static FOUND: OnceLock<&str> = OnceLock::new();
    FOUND.get_or_init(|| {
        let has_packages = |python: &&&str| {
            let tried = Command::new(python).args(["-c", "import pika, pymysql"]).output();
            tried.is_ok_and(|output| output.status.success())
        };
        CANDIDATES.iter().find(has_packages).unwrap_or_else(|| {
            panic!(
                "no Python 3 with pika and PyMySQL: install Debian's packages python3-pika and python3-pymysql, as \
                 packaging/test does"
            )
        })
    })
}

/// A script with its arguments, writing no compiled files beside itself.
pub fn script<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(interpreter());
    command.arg("-B").arg(source_tree::root().join("tests/python").join(name)).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Runs a script to its end with `input` on standard input.
///
/// # Panics
/// If it cannot be run.
pub fn run<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>, input: &str) -> Output {
    let mut command = script(name, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the script can be run");
    // A script that ends without reading says why itself.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("our own child")
}

/// Runs a script to its end, which must be a good one; returns what it printed.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn succeed<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>, input: &str) -> String {
    let output = run(name, arguments, input);
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("scripts write text")
}
