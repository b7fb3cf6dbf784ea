//! The lives of a world's processes: how one begins with its roles, or is found dead and buried.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use htmengine::anomaly::Anomaly;
use htmengine::bus::Bus;
use htmengine::clock::Clock;
use htmengine::repository::Repository;
use htmengine::scheduler::checkpoint_desk::CheckpointDesk;
use htmengine::scheduler::rescan::RESCAN_INTERVAL;
use htmengine::scheduler::workers::Workers;
use htmengine::scheduler::{Scheduler, SchedulerOptions, SchedulerParts};
use htmengine::storer::{Storer, StorerOptions, StorerParts};

use super::bus::SimulatedBus;
use super::canary::Canary;
use super::clock::SimulatedClock;
use super::intake::Intake;
use super::plan::{BusKind, DatabaseKind};
use super::random_bytes::SimulatedRandom;
use super::repository::SimulatedRepository;
use super::role::{Role, RoleKind};
use super::stage::{Caller, is_kill};
use super::storing::Storing;
use super::verdict::Violation;
use super::world::{Slot, World, lock};

impl World {
    pub(super) fn look_after_processes(&self) {
        self.bury_the_dead();
        self.note_results(false);
        for process in 0..self.plan.processes.len() {
            if lock(&self.callers)[process].is_none() && self.stage.below(3) == 0 {
                self.begin(process);
            }
        }
    }

    /// Starts every process that does not live.
    pub(super) fn begin_all(&self) {
        self.bury_the_dead();
        for process in 0..self.plan.processes.len() {
            if lock(&self.callers)[process].is_none() {
                self.begin(process);
            }
        }
    }

    pub(super) fn begin(&self, process: usize) {
        let stage = &self.stage;
        let mean = self.plan.calls_per_life.filter(|_| stage.is_rough());
        let caller = stage.begin_life(process, mean.map(|mean| 1 + stage.below(2 * mean)));
        lock(&self.callers)[process] = Some(caller.clone());
        stage.note(format_args!("p{process} begins"));
        match catch_unwind(AssertUnwindSafe(|| self.roles(process, &caller))) {
            Ok(roles) => {
                for role in roles {
                    let slot = self.slot(role.kind());
                    *lock(&slot.role) = Some(role);
                }
            }
            Err(payload) if is_kill(&*payload) => {}
            Err(payload) => self.end_with(process, "its start", &panic_text(&*payload)),
        }
    }

    pub(super) fn slot(&self, kind: RoleKind) -> &Slot {
        self.slots.iter().find(|slot| slot.kind == kind).expect("every role has its place")
    }

    fn roles(&self, process: usize, caller: &Caller) -> Vec<Role> {
        let bus: Arc<dyn Bus> = Arc::new(SimulatedBus::new(caller, &self.bus));
        let tables = Arc::clone(&self.tables);
        let repository: Arc<dyn Repository> = Arc::new(SimulatedRepository::new(caller.clone(), tables));
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(caller.clone()));
        let ledger = Arc::default();
        let role = |kind: &RoleKind| match kind {
            RoleKind::Intake => {
                let sockets = Arc::clone(lock(&self.clients).sockets());
                Role::Intake(Box::new(Intake::new(caller, Arc::clone(&bus), Arc::clone(&ledger), sockets)))
            }
            RoleKind::Storer => {
                let storer = Storer::new(StorerParts {
                    bus: Arc::clone(&bus),
                    repository: Arc::clone(&repository),
                    clock: Arc::clone(&clock),
                    ledger: Arc::clone(&ledger),
                    random: Arc::new(SimulatedRandom::new(&self.stage)),
                    options: self.storer_options(),
                });
                Role::Storer(Box::new(Storing::new(caller, Arc::clone(&bus), storer, self.kept_lines())))
            }
            RoleKind::Scheduler => {
                Role::Scheduler(Box::new(self.scheduler(caller, &bus, &repository, &clock)))
            }
            RoleKind::Anomaly => {
                let (bus, repository) = (Arc::clone(&bus), Arc::clone(&repository));
                Role::Anomaly(Box::new(Anomaly::new(bus, repository, Arc::clone(&clock))))
            }
        };
        self.plan.processes[process].iter().map(role).collect()
    }

    fn storer_options(&self) -> StorerOptions {
        let forgets = self.stage.canary() == Some(Canary::ForgottenPatterns);
        StorerOptions {
            monitor: if forgets { Vec::new() } else { vec!["learned.*".to_owned()] },
            learning_rows: Some(self.plan.learning_rows),
            ..StorerOptions::default()
        }
    }

    fn scheduler(
        &self,
        caller: &Caller,
        bus: &Arc<dyn Bus>,
        repository: &Arc<dyn Repository>,
        clock: &Arc<dyn Clock>,
    ) -> Scheduler {
        let desk: Arc<CheckpointDesk> = Arc::default();
        lock(&self.desk).clone_from(&desk);
        let is_alone = self.plan.bus == BusKind::Memory && self.plan.database == DatabaseKind::File;
        Scheduler::new(SchedulerParts {
            bus: Arc::clone(bus),
            repository: Arc::clone(repository),
            clock: Arc::clone(clock),
            store: self.model_store(caller),
            // One, so that models are stepped in the same order each time.
            workers: Workers::start(1, 0).expect("a thread"),
            desk: Arc::clone(&desk),
            figures: Arc::clone(&self.figures),
            options: SchedulerOptions {
                checkpoint_rows: self.plan.checkpoint_rows,
                memory_budget_bytes: self.plan.memory_budget_bytes,
                max_resident_models: self.plan.max_resident_models,
                rescan_interval: (!is_alone).then_some(RESCAN_INTERVAL),
            },
        })
    }

    pub(super) fn end_with(&self, process: usize, who: &str, reason: &str) {
        self.stage.violate(Violation::RoleEnded { what: format!("{who}: {reason}") });
        self.stage.end_life(process);
    }

    /// Removes what dead processes leave: their roles, and whatever was only in their memory.
    pub(super) fn bury_the_dead(&self) {
        for process in 0..self.plan.processes.len() {
            let is_dead = lock(&self.callers)[process].as_ref().is_some_and(|caller| !caller.is_alive());
            if !is_dead {
                continue;
            }
            self.stage.note(format_args!("p{process} is gone"));
            for slot in self.slots.iter().filter(|slot| slot.process == process) {
                drop(lock(&slot.role).take());
            }
            if self.plan.processes[process].contains(&RoleKind::Intake) {
                lock(&self.clients).lose_listener();
            }
            if self.plan.bus == BusKind::Memory {
                self.settle_accepted(self.bus.data.open());
            }
            self.bus.end_life(&self.stage, process);
            self.note_results(self.plan.bus == BusKind::Memory);
            if self.plan.processes[process].contains(&RoleKind::Anomaly) {
                lock(&self.results).lose_hands(&lock(&self.tables));
            }
            lock(&self.callers)[process] = None;
        }
    }
}

pub(super) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}
