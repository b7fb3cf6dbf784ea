//! The roles of the engine, as the simulated world takes turns of them.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use htmengine::anomaly::Anomaly;
use htmengine::repository::RepositoryError;
use htmengine::scheduler::Scheduler;
use htmengine::storer::Storer;

use super::intake::Intake;

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
    Storer(Box<Storer>),
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

    /// One turn; says how it ended.
    pub(super) fn run_once(&mut self) -> Result<String, RepositoryError> {
        match self {
            Self::Intake(intake) => Ok(intake.run_once()),
            Self::Storer(storer) => storer.run_once(Duration::ZERO).map(|turn| format!("{turn:?}")),
            Self::Scheduler(scheduler) => scheduler.run_once(Duration::ZERO).map(|turn| format!("{turn:?}")),
            Self::Anomaly(anomaly) => anomaly.run_once(Duration::ZERO).map(|turn| format!("{turn:?}")),
        }
    }

    /// The last thing a role does in an orderly stop, when what it reads from is closed.
    pub(super) fn finish(&mut self, is_local: bool) -> Result<(), RepositoryError> {
        match self {
            Self::Intake(intake) => {
                intake.finish();
                Ok(())
            }
            // With a broker a role is told to end when it holds nothing, which may never be while the database is away.
            Self::Storer(storer) if is_local => storer.run(&AtomicBool::new(true)),
            Self::Storer(storer) => storer.run_until(&AtomicBool::new(true)),
            Self::Scheduler(_) => Ok(()),
            Self::Anomaly(anomaly) => anomaly.run(|| false, || !is_local, || false, Duration::ZERO),
        }
    }
}
