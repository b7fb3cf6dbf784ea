//! An orderly stop of a process, the way a sample goes: what was accepted is stored, or kept where the next life finds it.

use std::time::Duration;

use htmengine::repository::RepositoryError;

use super::canary::Canary;
use super::fault::Fault;
use super::plan::BusKind;
use super::role::{Role, RoleKind};
use super::stage::Caller;
use super::verdict::Violation;
use super::world::{World, lock};

/// Attempts of a listener to publish what it has to a full bus.
const MAX_LISTENER_TURNS: usize = 200;

impl World {
    /// Stops a process in order.
    pub(super) fn stop(&self, process: usize) {
        if lock(&self.callers)[process].is_none() {
            return;
        }
        self.stage.note(format_args!("p{process} is asked to stop"));
        self.finish_listener(process);
        self.bus.data.close();
        self.finish_storer(process);
        // The scheduler takes no more turns, but its models are saved last, when their scores are committed.
        let mut has_finished = false;
        self.with(process, RoleKind::Scheduler, |role| {
            self.finish_anomaly(process);
            has_finished = true;
            match role {
                Role::Scheduler(scheduler) => scheduler.save_all().map(drop),
                Role::Intake(_) | Role::Storer(_) | Role::Anomaly(_) => Ok(()),
            }
        });
        if !has_finished {
            self.finish_anomaly(process);
        }
        self.check_published(process);
        self.stage.end_life(process);
        self.bury_the_dead();
    }

    fn lives(&self, process: usize) -> bool {
        lock(&self.callers)[process].as_ref().is_some_and(Caller::is_alive)
    }

    /// The listener reads all that has come, while the storer makes room on the bus.
    fn finish_listener(&self, process: usize) {
        if self.slot(RoleKind::Intake).process != process {
            return;
        }
        let away = [Fault::DatabaseAway, Fault::BrokerAway];
        let is_calm = away.into_iter().all(|fault| self.stage.outage(fault).is_none());
        self.with(process, RoleKind::Intake, |role| {
            for _ in 0..MAX_LISTENER_TURNS {
                if role.run_once()? == "Idle" {
                    break;
                }
                self.bus.data.flush(&self.stage, process, usize::MAX);
                if role.held_line_count() > 0 {
                    self.stage.interrupt(Some(RoleKind::Storer));
                }
            }
            Ok(())
        });
        let has_storer = lock(&self.slot(RoleKind::Storer).role).is_some();
        let held = self.held_line_count();
        if is_calm && has_storer && self.lives(process) && held > 0 {
            let what = format!("a listener that was stopped in order holds {held} lines");
            self.stage.violate(Violation::NotDrained { what });
        }
    }

    /// The storer stores what has come. Without a broker, what it cannot store is kept in a file, and all of it is in one or
    /// the other place.
    fn finish_storer(&self, process: usize) {
        let mut kept = None;
        self.with(process, RoleKind::Storer, |role| {
            if let Role::Storer(storing) = role {
                kept = Some(storing.finish()?);
            }
            Ok(())
        });
        if self.plan.bus != BusKind::Memory || !self.lives(process) {
            return;
        }
        if kept == Some(0) && self.bus.data.open() > 0 {
            let what = format!("a storer that was stopped in order leaves {}", self.bus.data.summary());
            self.stage.violate(Violation::NotDrained { what });
        }
        self.settle_accepted(0);
    }

    /// Readers in the process are served to the end: what is scored is published. A commit whose answer was lost is the
    /// exception, since the role ends without having learned of it.
    fn check_published(&self, process: usize) {
        let is_whole = self.bus.scores.open() == 0 || self.plan.rates.of(Fault::CommitAnswerLost) == 0;
        if self.plan.bus != BusKind::Memory || !self.lives(process) || !is_whole {
            return;
        }
        self.note_results(false);
        for violation in lock(&self.results).unpublished(&lock(&self.tables)) {
            self.stage.violate(violation);
        }
    }

    fn finish_anomaly(&self, process: usize) {
        self.bus.scores.close();
        self.bus.results.mute(self.stage.canary() == Some(Canary::SilentStop));
        let is_local = self.plan.bus == BusKind::Memory;
        self.with(process, RoleKind::Anomaly, |role| match role {
            Role::Anomaly(anomaly) => anomaly.run(|| false, || !is_local, || false, Duration::ZERO),
            Role::Intake(_) | Role::Storer(_) | Role::Scheduler(_) => Ok(()),
        });
        self.bus.results.mute(false);
    }

    /// Does something with a role if it is in this process.
    fn with(
        &self,
        process: usize,
        kind: RoleKind,
        work: impl FnOnce(&mut Role) -> Result<(), RepositoryError>,
    ) {
        let at = self.slots.iter().position(|slot| slot.kind == kind && slot.process == process);
        if let Some(at) = at {
            self.with_role(at, |role| match work(role) {
                // The database is away, and nobody waits for it any more.
                Err(RepositoryError::Transient { .. }) => Ok(()),
                other => other,
            });
        }
    }
}
