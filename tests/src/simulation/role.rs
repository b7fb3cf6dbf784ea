//! The roles of the engine, as the simulated world takes turns of them.

use std::time::Duration;

use htmengine::anomaly::Anomaly;
use htmengine::repository::RepositoryError;
use htmengine::scheduler::Scheduler;

use super::intake::Intake;
use super::storing::Storing;

/// Which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RoleKind {
    Intake,
    Storer,
    Scheduler,
    Anomaly,
}

impl RoleKind {
    pub(super) const ALL: [Self; 4] = [Self::Intake, Self::Storer, Self::Scheduler, Self::Anomaly];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Intake => "listener",
            Self::Storer => "storer",
            Self::Scheduler => "scheduler",
            Self::Anomaly => "anomaly",
        }
    }
}

/// A role at work.
pub(super) enum Role {
    Intake(Box<Intake>),
    Storer(Box<Storing>),
    Scheduler(Box<Scheduler>),
    Anomaly(Box<Anomaly>),
}

impl Role {
    pub(super) fn kind(&self) -> RoleKind {
        match self {
            Self::Intake(_) => RoleKind::Intake,
            Self::Storer(_) => RoleKind::Storer,
            Self::Scheduler(_) => RoleKind::Scheduler,
            Self::Anomaly(_) => RoleKind::Anomaly,
        }
    }

    /// Lines that a listener holds because the bus has not taken them.
    pub(super) fn held_line_count(&self) -> usize {
        match self {
            Self::Intake(intake) => intake.line_count(),
            Self::Storer(_) | Self::Scheduler(_) | Self::Anomaly(_) => 0,
        }
    }

    /// One turn; says how it ended.
    pub(super) fn run_once(&mut self) -> Result<String, RepositoryError> {
        match self {
            Self::Intake(intake) => Ok(intake.run_once()),
            Self::Storer(storing) => storing.run_once(),
            Self::Scheduler(scheduler) => scheduler.run_once(Duration::ZERO).map(|turn| format!("{turn:?}")),
            Self::Anomaly(anomaly) => anomaly.run_once(Duration::ZERO).map(|turn| format!("{turn:?}")),
        }
    }
}
