//! One run: processes with the real roles, everything around them simulated, and what happens when.
//!
//! First things go wrong for a number of turns. Then nothing goes wrong any more, everything is sent, and the roles take turns
//! until all work is done; what must hold then is in `verification.rs`.
//!
//! All of it runs on one thread at a time: a role's turn is called, and another role's may be called in the middle of it. The
//! scheduler's worker thread works while the one that called it waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use htmengine::garbage::GarbageCollector;
use htmengine::monitoring::RandomBytes;
use htmengine::repository::RepositoryError;
use htmengine::scheduler::checkpoint_desk::CheckpointDesk;
use htmengine::scheduler::figures::SchedulerFigures;
use htmengine::scheduler::model_store::ModelStore;
use htmengine::storer::kept_lines::KEPT_LINES_FILE;
use tempfile::TempDir;

use super::bus::SharedBus;
use super::canary::Canary;
use super::clients::Clients;
use super::clock::SimulatedClock;
use super::expectation::Expectation;
use super::fault::Fault;
use super::files::{Disk, SimulatedFiles};
use super::lone_model::TEMPLATES;
use super::operator::Operator;
use super::plan::{BusKind, Plan};
use super::processes::panic_text;
use super::queue::Confirming;
use super::random_bytes::SimulatedRandom;
use super::repository::SimulatedRepository;
use super::results_book::ResultsBook;
use super::role::{Role, RoleKind};
use super::stage::{Caller, Stage, is_kill};
use super::tables::Tables;
use super::verdict::Violation;

/// Where model files lie.
const MODELS: &str = "/models";
/// Longest outage.
const MAX_OUTAGE_MS: usize = 20_000;
/// Every sample is older than that.
const GARBAGE_DAYS: u32 = 1;
/// One interruption in so many is by the operator.
const OPERATOR_ONE_IN: usize = 10;
/// The wall clock is never off by more.
pub(super) const MAX_SKEW_S: usize = 7_200;

/// The world of one run.
pub(super) struct World {
    pub(super) stage: Arc<Stage>,
    pub(super) plan: Plan,
    pub(super) bus: SharedBus,
    pub(super) tables: Arc<Mutex<Tables>>,
    disk: Arc<Mutex<Disk>>,
    pub(super) clients: Mutex<Clients>,
    operator: Mutex<Operator>,
    /// Where a stop keeps lines that it could not store; `None` with a broker.
    kept: Option<TempDir>,
    pub(super) slots: Vec<Slot>,
    /// Processes that live; a dead one that was not buried yet is among them.
    pub(super) callers: Mutex<Vec<Option<Caller>>>,
    pub(super) expectation: Mutex<Expectation>,
    pub(super) results: Mutex<ResultsBook>,
    /// Of the scheduler's present life.
    pub(super) desk: Mutex<Arc<CheckpointDesk>>,
    pub(super) figures: Arc<Mutex<SchedulerFigures>>,
}

/// A role's place in its process; empty while it takes its turn, and while the process is dead.
pub(super) struct Slot {
    pub(super) process: usize,
    pub(super) kind: RoleKind,
    pub(super) role: Mutex<Option<Role>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A kill may unwind through anything; what is shared is only ever changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(seed: u64, canary: Option<Canary>, keeps_trace: bool) -> Arc<Self> {
        let plan = Plan::of(seed);
        let stage = Stage::new(seed, plan.rates, canary, keeps_trace);
        let tables: Arc<Mutex<Tables>> = Arc::default();
        let random: Arc<dyn RandomBytes> = Arc::new(SimulatedRandom::new(&stage));
        let operator_process = plan.processes.len();
        let caller = stage.begin_life(operator_process, None);
        let repository = Arc::new(SimulatedRepository::new(caller, Arc::clone(&tables)));
        let places = plan.processes.iter().enumerate();
        let slots = places
            .flat_map(|(process, kinds)| kinds.iter().map(move |kind| (process, *kind)))
            .map(|(process, kind)| Slot { process, kind, role: Mutex::new(None) })
            .collect();
        let world = Arc::new(Self {
            bus: SharedBus::new(&plan),
            disk: Arc::default(),
            clients: Mutex::new(Clients::new(&stage, &plan)),
            operator: Mutex::new(Operator::new(repository, random, &plan.metrics)),
            kept: (plan.bus == BusKind::Memory).then(|| tempfile::tempdir().expect("a folder")),
            slots,
            callers: Mutex::new(vec![None; plan.processes.len()]),
            expectation: Mutex::default(),
            results: Mutex::default(),
            desk: Mutex::default(),
            figures: Arc::default(),
            tables,
            stage,
            plan,
        });
        let weak: Weak<Self> = Arc::downgrade(&world);
        world.stage.set_interruption(Box::new(move |kind| {
            weak.upgrade().is_some_and(|world| world.interrupt(kind))
        }));
        world
    }

    /// Things go wrong.
    pub(super) fn live_roughly(&self) {
        self.stage.set_rough(true);
        for process in 0..self.plan.processes.len() {
            self.begin(process);
        }
        for _ in 0..self.plan.rough_turns {
            self.rough_turn();
            self.look_after_processes();
        }
        self.stage.set_rough(false);
    }

    fn rough_turn(&self) {
        let stage = &self.stage;
        match stage.below(100) {
            0..=49 => drop(self.take_turn(stage.below(self.slots.len()))),
            50..=64 => lock(&self.clients).send_some(),
            65..=79 => {
                let count = [1, 3, usize::MAX][stage.below(3)];
                self.bus.flush(stage, stage.below(self.plan.processes.len()), count);
            }
            80..=89 => {
                let pause_ms = [1, 50, 300, 2_000, 40_000][stage.below(5)];
                stage.pass(Duration::from_millis(pause_ms));
            }
            90..=95 => self.operate(),
            _ => self.collect_garbage(),
        }
        for fault in [Fault::DatabaseAway, Fault::BrokerAway, Fault::DiskFull] {
            if stage.strikes(fault) {
                let pause_ms = u64::try_from(stage.below(MAX_OUTAGE_MS)).expect("a small number");
                stage.begin_outage(fault, Duration::from_millis(pause_ms));
            }
        }
        if stage.strikes(Fault::ClockSkew) {
            let seconds = i64::try_from(stage.below(2 * MAX_SKEW_S)).expect("a small number");
            stage.skew_wall_clock(seconds - i64::try_from(MAX_SKEW_S).expect("a small number"));
        }
        if stage.strikes(Fault::HintsLost) {
            drop(self.bus.hints.forget());
        }
        if stage.strikes(Fault::ScoresLost) {
            self.note_results(false);
            let lost = self.bus.scores.forget();
            lock(&self.results).forget(lost, &lock(&self.tables));
        }
        if stage.below(40) == 0 {
            lock(&self.desk).ask();
        }
        if stage.strikes(Fault::PowerFailure) {
            for process in 0..self.plan.processes.len() {
                stage.end_life(process);
            }
            self.bury_the_dead();
            lock(&self.disk).fail(stage);
        }
        if stage.strikes(Fault::Restart) {
            self.stop(stage.below(self.plan.processes.len()));
        }
    }

    /// Lets the operator do what is due.
    pub(super) fn operate(&self) {
        let clients = lock(&self.clients);
        let sent: Vec<usize> = (0..self.plan.metrics.len()).map(|metric| clients.sent(metric)).collect();
        drop(clients);
        // Somebody who is at it already goes on first.
        let Ok(mut operator) = self.operator.try_lock() else { return };
        for said in operator.work(|metric| sent[metric]) {
            self.stage.note(format_args!("operator: {said}"));
        }
    }

    pub(super) fn has_operator_finished(&self) -> bool {
        lock(&self.operator).is_done()
    }

    /// Model files, as a process sees them.
    pub(super) fn model_store(&self, caller: &Caller) -> ModelStore {
        let (disk, tables) = (Arc::clone(&self.disk), Arc::clone(&self.tables));
        let files = Arc::new(SimulatedFiles::new(caller.clone(), disk, tables));
        ModelStore::new(files, MODELS.into()).with_templates(Arc::clone(&TEMPLATES))
    }

    /// Old rows are deleted, as a thread beside the scheduler does it.
    fn collect_garbage(&self) {
        let process = self.slot(RoleKind::Scheduler).process;
        let Some(caller) = lock(&self.callers)[process].clone().filter(|_| self.plan.collects_garbage) else {
            return;
        };
        let collector = GarbageCollector {
            repository: Arc::new(SimulatedRepository::new(caller.clone(), Arc::clone(&self.tables))),
            store: self.model_store(&caller),
            clock: Arc::new(SimulatedClock::new(caller)),
            threshold_days: GARBAGE_DAYS,
        };
        let collected = catch_unwind(AssertUnwindSafe(|| collector.run_once(&AtomicBool::new(false))));
        match collected {
            Ok(Ok(rows)) => self.stage.note(format_args!("{rows} old rows were deleted")),
            Ok(Err(error)) => self.stage.note(format_args!("old rows stay: {error}")),
            Err(payload) if is_kill(&*payload) => {}
            Err(payload) => self.end_with(process, "the garbage collector", &panic_text(&*payload)),
        }
    }

    /// A turn in the middle of another role's.
    fn interrupt(&self, kind: Option<RoleKind>) -> bool {
        if kind.is_none() && self.stage.below(OPERATOR_ONE_IN) == 0 {
            self.operate();
            return true;
        }
        let at = match kind {
            Some(kind) => self.slots.iter().position(|slot| slot.kind == kind),
            None => Some(self.stage.below(self.slots.len())),
        };
        at.and_then(|at| self.take_turn(at)).is_some()
    }

    /// Takes a turn of the role at this place; whether it had nothing to do. `None` if there is no role that could take one.
    pub(super) fn take_turn(&self, at: usize) -> Option<bool> {
        let mut is_idle = false;
        self.with_role(at, |role| {
            let said = role.run_once()?;
            is_idle = said == "Idle";
            self.stage.note(format_args!("{}: {said}", role.kind().name()));
            if role.kind() == RoleKind::Anomaly && said != "Postponed" {
                self.note_empty_hands(self.slots[at].process);
            }
            self.check_memory();
            Ok(())
        })
        .then_some(is_idle)
    }

    /// Models keep within their memory, but for a lone one that is larger; also while they are stepped.
    fn check_memory(&self) {
        let figures = lock(&self.figures);
        let (models, bytes) = (figures.resident_models, figures.resident_bytes);
        let is_over = models > 1 && bytes > self.plan.memory_budget_bytes;
        let peak = figures.peak_reserved_bytes;
        let was_over = self.plan.every_model_fits() && peak > self.plan.memory_budget_bytes;
        if is_over || was_over || models > self.plan.max_resident_models {
            let what = format!("{models} models take {bytes} bytes of memory, at most {peak}");
            self.stage.violate(Violation::Bound { what });
        }
    }

    /// Does something with a role; whether it was there.
    pub(super) fn with_role(
        &self,
        at: usize,
        work: impl FnOnce(&mut Role) -> Result<(), RepositoryError>,
    ) -> bool {
        let Slot { process, kind, role: place } = &self.slots[at];
        let Some(caller) = lock(&self.callers)[*process].clone() else { return false };
        let Some(mut role) = lock(place).take() else { return false };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut role)));
        match outcome {
            Ok(Ok(())) => {
                if caller.is_alive() {
                    *lock(place) = Some(role);
                }
            }
            Ok(Err(error)) => self.end_with(*process, kind.name(), &error.to_string()),
            Err(payload) if is_kill(&*payload) => {}
            Err(payload) => self.end_with(*process, kind.name(), &panic_text(&*payload)),
        }
        true
    }

    /// Takes note of results; with `is_cut_off` whoever reads them has to look into the database from here.
    pub(super) fn note_results(&self, is_cut_off: bool) {
        let published = self.bus.results.take_published();
        let (mut results, tables) = (lock(&self.results), lock(&self.tables));
        for violation in results.add(&published, &tables) {
            self.stage.violate(violation);
        }
        if is_cut_off {
            results.excuse(&tables);
        }
    }

    /// Takes note that the anomaly role in this process has published everything that it received.
    fn note_empty_hands(&self, process: usize) {
        if self.bus.results.is_settled(process) {
            lock(&self.results).empty_hands();
        }
    }

    /// The file of lines that a stop kept, whether there is one or not; `None` with a broker.
    pub(super) fn kept_lines(&self) -> Option<PathBuf> {
        self.kept.as_ref().map(|folder| folder.path().join(KEPT_LINES_FILE))
    }

    /// Whether lines wait in that file.
    pub(super) fn has_kept_lines(&self) -> bool {
        self.kept_lines().is_some_and(|path| path.exists())
    }

    /// Works out what of the accepted messages must be stored. Of the last `open` ones, which were not acknowledged when their
    /// process was killed, some may be: the first ones, as many as the storer had in its hands. While it has lines to store
    /// that were kept, it takes none, and what is kept is stored later.
    pub(super) fn settle_accepted(&self, open: usize) {
        let messages = self.bus.data.take_accepted();
        let (clients, tables) = (lock(&self.clients), lock(&self.tables));
        let mut expectation = lock(&self.expectation);
        let certain = messages.len().saturating_sub(open);
        let fold = |expectation: &mut Expectation, message| {
            if let Err(what) = expectation.fold(message, clients.meanings()) {
                self.stage.violate(Violation::Rows { metric: "?".to_owned(), what });
            }
        };
        for message in &messages[..certain] {
            fold(&mut expectation, message);
        }
        if self.has_kept_lines() {
            return;
        }
        let mut possible = expectation.clone();
        for message in &messages[certain..] {
            if possible.difference(&tables).is_none() {
                break;
            }
            fold(&mut possible, message);
        }
        if possible.difference(&tables).is_none() {
            *expectation = possible;
        } else if let Some((metric, what)) = expectation.difference(&tables) {
            self.stage.violate(Violation::Rows { metric, what });
        }
    }

    /// How many roles there are.
    pub(super) fn role_count(&self) -> usize {
        self.slots.len()
    }

    /// Lines that listeners hold.
    pub(super) fn held_line_count(&self) -> usize {
        self.slots.iter().map(|slot| lock(&slot.role).as_ref().map_or(0, Role::held_line_count)).sum()
    }

    /// Lets go of everything: the roles know the world.
    pub(super) fn end(&self) {
        for slot in &self.slots {
            drop(lock(&slot.role).take());
        }
    }
}
