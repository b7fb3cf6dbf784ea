//! Signals to processes of a test.

use std::process::Command;

/// Sends the process a signal, by its name without SIG.
///
/// # Panics
/// If there is no such process.
#[track_caller]
pub fn send_signal(process_id: u32, name: &str) {
    let id = process_id.to_string();
    let sent = Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &id]).status();
    assert!(sent.expect("a shell").success(), "SIG{name} could not be sent");
}
