//! The roles of an engine, and which of them one process plays.

use std::fmt;

/// One role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes Graphite lines.
    Listener,
    /// Makes rows of lines.
    Storer,
    /// Steps models over rows. It owns the folder of model files, figures and requests.
    Scheduler,
    /// Completes rows with scores.
    Anomaly,
    /// Serves finished rows, and raises alerts.
    Results,
    /// Serves the HTTP API and the web application.
    Http,
}

impl Role {
    /// Every role, the scheduler first: whoever is refused is told of the one that matters most.
    pub const ALL: [Self; 6] =
        [Self::Scheduler, Self::Listener, Self::Storer, Self::Anomaly, Self::Results, Self::Http];

    /// Lower-case word, also its verb on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Storer => "storer",
            Self::Scheduler => "scheduler",
            Self::Anomaly => "anomaly",
            Self::Results => "results",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which roles a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// All of them.
    All,
    /// One, the others being processes of their own.
    Only(Role),
}

impl Roles {
    /// Whether `role` is among them.
    pub fn has(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only == role,
        }
    }

    /// Whether rows are read or written by any of them.
    pub fn need_repository(self) -> bool {
        [Role::Storer, Role::Scheduler, Role::Anomaly, Role::Http].into_iter().any(|role| self.has(role))
    }
}
