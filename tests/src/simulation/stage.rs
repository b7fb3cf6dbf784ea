//! What decides everything in one run: a seeded generator, a clock, and how long each process lives.
//!
//! Every part of the simulated world calls [`Caller::touch`] where a real one would talk to the outside. There the time moves a
//! little, the calling process may be killed, and another role may take a turn in between, as if this one's thread had been
//! put aside. A kill unwinds the stack up to whoever started the role's turn ([`is_kill`]); whatever the dead process
//! still calls on its way unwinds again, so nothing that happens after a kill leaves a trace in what survives.
//!
//! Invariant: no lock of the stage is held while another role runs.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::canary::Canary;
use super::fault::Fault;
use super::plan::Rates;
use super::trace::Trace;
use super::verdict::Violation;
use crate::seeded_random::SeededRandom;

/// Unix seconds at which every run begins.
pub(super) const EPOCH_S: i64 = 1_600_000_000;
/// Roles on top of one another.
const MAX_DEPTH: usize = 3;
/// Most that one call to the outside takes, in microseconds.
const MAX_CALL_US: usize = 300;
/// More violations than this say nothing new.
const MAX_VIOLATIONS: usize = 20;

/// Why a stack is unwound.
#[derive(Debug)]
struct Killed;

/// Whether a turn ended because its process was killed.
pub(super) fn is_kill(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Killed>()
}

/// Runs a turn of another role, of a certain one if it is named.
pub(super) type Interruption = dyn Fn(Option<super::role::RoleKind>) -> bool + Send + Sync;

/// The stage of one run.
pub(super) struct Stage {
    state: Mutex<State>,
    interruption: OnceLock<Box<Interruption>>,
    rates: Rates,
    canary: Option<Canary>,
}

struct State {
    random: SeededRandom,
    now: Duration,
    /// Seconds that the wall clock is off.
    skew_s: i64,
    trace: Trace,
    counts: BTreeMap<Fault, u64>,
    outages: BTreeMap<Fault, Duration>,
    /// Whether anything may go wrong now.
    is_rough: bool,
    lives: Vec<Life>,
    depth: usize,
    violations: Vec<Violation>,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    number: u32,
    is_over: bool,
    /// Calls to the outside that are left to it.
    calls_left: Option<usize>,
}

enum Then {
    GoOn,
    Die,
    Interrupt,
}

impl Stage {
    pub(super) fn new(seed: u64, rates: Rates, canary: Option<Canary>, keeps_trace: bool) -> Arc<Self> {
        let state = State {
            random: SeededRandom::new(!seed),
            now: Duration::ZERO,
            skew_s: 0,
            trace: Trace::new(keeps_trace),
            counts: BTreeMap::new(),
            outages: BTreeMap::new(),
            is_rough: false,
            lives: Vec::new(),
            depth: 0,
            violations: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), interruption: OnceLock::new(), rates, canary })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Kills unwind through everything but never while this is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What takes turns of other roles; set once.
    pub(super) fn set_interruption(&self, interruption: Box<Interruption>) {
        let is_first = self.interruption.set(interruption).is_ok();
        assert!(is_first, "a stage has one world");
    }

    pub(super) fn canary(&self) -> Option<Canary> {
        self.canary
    }

    /// Whether the canary is this one and shows itself now.
    pub(super) fn sings(&self, canary: Canary, one_in: usize) -> bool {
        self.canary == Some(canary) && self.below(one_in) == 0
    }

    pub(super) fn below(&self, limit: usize) -> usize {
        self.lock().random.below(limit)
    }

    pub(super) fn bytes(&self) -> [u8; 16] {
        let bytes = self.lock().random.bytes(16);
        bytes.try_into().expect("so many were asked for")
    }

    pub(super) fn now(&self) -> Duration {
        self.lock().now
    }

    pub(super) fn unix_seconds(&self) -> i64 {
        let state = self.lock();
        EPOCH_S + i64::try_from(state.now.as_secs()).unwrap_or(i64::MAX) + state.skew_s
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        self.lock().now += time;
    }

    pub(super) fn skew_wall_clock(&self, seconds: i64) {
        self.lock().skew_s = seconds;
    }

    /// Whether things go wrong from now on; nothing lasts beyond the end of it.
    pub(super) fn set_rough(&self, is_rough: bool) {
        let mut state = self.lock();
        state.is_rough = is_rough;
        if !is_rough {
            state.outages.clear();
            for life in &mut state.lives {
                life.calls_left = None;
            }
        }
    }

    pub(super) fn is_rough(&self) -> bool {
        self.lock().is_rough
    }

    /// One event.
    pub(super) fn note(&self, event: fmt::Arguments<'_>) {
        let mut state = self.lock();
        let now = state.now;
        state.trace.add(now, event);
    }

    /// Whether this fault happens now, by its rate; counts it.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let mut state = self.lock();
        let rate = self.rates.of(fault);
        if !state.is_rough || rate == 0 || state.random.below(rate) != 0 {
            return false;
        }
        state.count(fault);
        true
    }

    pub(super) fn counts(&self) -> BTreeMap<Fault, u64> {
        self.lock().counts.clone()
    }

    /// Something is away for so long.
    pub(super) fn begin_outage(&self, fault: Fault, time: Duration) {
        let mut state = self.lock();
        let until = state.now + time;
        state.outages.insert(fault, until);
    }

    /// Until when something is away, if it is.
    pub(super) fn outage(&self, fault: Fault) -> Option<Duration> {
        let state = self.lock();
        state.outages.get(&fault).copied().filter(|until| *until > state.now)
    }

    pub(super) fn violate(&self, violation: Violation) {
        let mut state = self.lock();
        let now = state.now;
        state.trace.add(now, format_args!("VIOLATION {violation}"));
        if state.violations.len() < MAX_VIOLATIONS {
            state.violations.push(violation);
        }
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// Digest and kept lines of what happened.
    pub(super) fn take_trace(&self) -> Trace {
        std::mem::replace(&mut self.lock().trace, Trace::new(false))
    }

    /// A process begins its next life, which lasts for so many calls to the outside.
    pub(super) fn begin_life(self: &Arc<Self>, process: usize, calls_left: Option<usize>) -> Caller {
        let mut state = self.lock();
        while state.lives.len() <= process {
            state.lives.push(Life { number: 0, is_over: true, calls_left: None });
        }
        let life = &mut state.lives[process];
        *life = Life { number: life.number + 1, is_over: false, calls_left };
        let number = life.number;
        drop(state);
        Caller { stage: Arc::clone(self), process, life: number }
    }

    /// Ends a life from outside.
    pub(super) fn end_life(&self, process: usize) {
        self.lock().lives[process].is_over = true;
    }

    /// Takes a turn of another role, if there is one that can: `false` if not.
    pub(super) fn interrupt(&self, role: Option<super::role::RoleKind>) -> bool {
        let Some(interruption) = self.interruption.get() else { return false };
        self.lock().depth += 1;
        // A kill of the interrupting process ends within it.
        let has_run = interruption(role);
        self.lock().depth -= 1;
        has_run
    }
}

impl State {
    fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
        let now = self.now;
        self.trace.add(now, format_args!("fault: {}", fault.name()));
    }
}

/// One life of one process, as the parts of the world that it uses know it.
#[derive(Clone)]
pub(super) struct Caller {
    stage: Arc<Stage>,
    process: usize,
    life: u32,
}

impl Caller {
    pub(super) fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    pub(super) fn process(&self) -> usize {
        self.process
    }

    pub(super) fn is_alive(&self) -> bool {
        self.stage.lock().is_current(self)
    }

    /// A moment at which anything may happen.
    pub(super) fn touch(&self, what: &str) {
        self.touch_as(what, 1);
    }

    /// The same, but not the end of a life: of calls that mostly come to nothing there are so many that most lives would end
    /// there.
    pub(super) fn touch_idly(&self, what: &str) {
        self.touch_as(what, 0);
    }

    fn touch_as(&self, what: &str, calls: usize) {
        let then = {
            let mut state = self.stage.lock();
            let then = state.decide(self, calls, self.stage.rates.interruption_one_in());
            let (now, process) = (state.now, self.process);
            match then {
                Then::GoOn => state.trace.add(now, format_args!("p{process} {what}")),
                Then::Die => state.trace.add(now, format_args!("p{process} {what}: killed")),
                Then::Interrupt => state.trace.add(now, format_args!("p{process} {what}: interrupted")),
            }
            then
        };
        match then {
            Then::GoOn => return,
            Then::Die => resume_unwind(Box::new(Killed)),
            Then::Interrupt => {
                self.stage.interrupt(None);
            }
        }
        self.check();
    }

    /// The dead do nothing any more.
    pub(super) fn check(&self) {
        if !self.is_alive() {
            resume_unwind(Box::new(Killed));
        }
    }
}

impl State {
    fn is_current(&self, caller: &Caller) -> bool {
        self.lives.get(caller.process).is_some_and(|life| life.number == caller.life && !life.is_over)
    }

    fn decide(&mut self, caller: &Caller, calls: usize, interruption_one_in: usize) -> Then {
        if !self.is_current(caller) {
            return Then::Die;
        }
        let draw = self.random.below(MAX_CALL_US * interruption_one_in);
        self.now += Duration::from_micros((draw % MAX_CALL_US) as u64);
        let life = &mut self.lives[caller.process];
        if let Some(left) = &mut life.calls_left {
            *left = left.saturating_sub(calls);
            if *left == 0 {
                life.is_over = true;
                self.count(Fault::Kill);
                return Then::Die;
            }
        }
        let is_interrupted = draw / MAX_CALL_US == 0 && self.depth < MAX_DEPTH;
        if is_interrupted { Then::Interrupt } else { Then::GoOn }
    }
}
