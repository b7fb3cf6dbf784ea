//! What can happen to an engine from outside.

use std::thread;
use std::time::Duration;

use crate::process_signal::send_signal;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to the whole engine, and another one over the same folder.
    KillEngine,
    /// SIGSTOP, and SIGCONT a while later.
    FreezeEngine,
    /// No space left where its data lies, for a while.
    FillDisk,
    /// The clock of the day leaps, forward and back, up to a day.
    SkewClock,
    /// SIGKILL to one role's process, any of them.
    KillRole,
    /// SIGSTOP and SIGCONT to one role's process.
    FreezeRole,
    /// SIGKILL to the database server.
    KillDatabase,
    /// SIGKILL to the broker.
    KillBroker,
}

impl Fault {
    /// Those of an engine in one process over the embedded database.
    pub const EMBEDDED: [Self; 4] = [Self::KillEngine, Self::FreezeEngine, Self::FillDisk, Self::SkewClock];
    /// Those of roles in processes of their own over a broker and a database.
    pub const SEPARATE: [Self; 4] = [Self::KillRole, Self::FreezeRole, Self::KillDatabase, Self::KillBroker];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillEngine => "engine killed",
            Self::FreezeEngine => "engine frozen",
            Self::FillDisk => "disk full",
            Self::SkewClock => "clock skewed",
            Self::KillRole => "role killed",
            Self::FreezeRole => "role frozen",
            Self::KillDatabase => "database killed",
            Self::KillBroker => "broker killed",
        }
    }
}

/// Stops a process, and lets it go on after `pause`.
pub(super) fn freeze(process_id: u32, pause: Duration) {
    send_signal(process_id, "STOP");
    thread::sleep(pause);
    send_signal(process_id, "CONT");
}
