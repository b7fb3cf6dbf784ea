//! The simulated bus: what all processes share of it, and what one process sees.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use htmengine::bus::memory::MemoryFanout;
use htmengine::bus::message::{DataMessage, ModelHint, ModelOutput, ResultMessage};
use htmengine::bus::rabbitmq::{DATA_PREFETCH, HINTS_PREFETCH, SCORES_PREFETCH};
use htmengine::bus::{Bus, BusError, Fanout, Queue, Subscription};

use super::fault::Fault;
use super::plan::{BusKind, Plan};
use super::queue::{Confirming, QueueEnd, QueueLimits, SharedQueue};
use super::role::RoleKind;
use super::stage::{Caller, Stage};
use super::verdict::Violation;
use super::window::{Sent, Window};

/// Results that wait for one reader.
const READER_MESSAGES: usize = 64;
/// Attempts to bring results to the broker that a publisher waits for.
const MAX_ATTEMPTS_WAITED: usize = 256;

/// Queues and exchange, at a broker or in the only process.
pub(super) struct SharedBus {
    pub(super) data: Arc<SharedQueue<DataMessage>>,
    pub(super) hints: Arc<SharedQueue<ModelHint>>,
    pub(super) scores: Arc<SharedQueue<ModelOutput>>,
    pub(super) results: Arc<Exchange>,
}

impl SharedBus {
    pub(super) fn new(plan: &Plan) -> Self {
        let is_local = plan.bus == BusKind::Memory;
        let processes = plan.processes.len();
        let limits = |messages, prefetch| QueueLimits {
            messages,
            window: plan.window,
            prefetch: plan.prefetch.unwrap_or(usize::from(prefetch)),
        };
        let (data, hints, scores) = (
            limits(plan.data_messages, DATA_PREFETCH),
            limits(plan.hints, HINTS_PREFETCH),
            limits(plan.score_messages, SCORES_PREFETCH),
        );
        let data = SharedQueue::new("data", RoleKind::Storer, data, is_local, processes);
        data.keep_accepted();
        let hints = SharedQueue::new("hints", RoleKind::Scheduler, hints, is_local, processes);
        let scores = SharedQueue::new("scores", RoleKind::Anomaly, scores, is_local, processes);
        Self {
            data: Arc::new(data),
            hints: Arc::new(hints),
            scores: Arc::new(scores),
            results: Arc::new(Exchange::new(is_local, processes, plan.results_window)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.hints.is_empty() && self.scores.is_empty() && self.results.is_empty()
    }

    pub(super) fn summary(&self) -> String {
        format!("{}; {}; {}", self.data.summary(), self.hints.summary(), self.scores.summary())
    }

    /// Brings messages of a process nearer to the broker.
    pub(super) fn flush(&self, stage: &Stage, process: usize, count: usize) {
        self.data.flush(stage, process, count);
        self.hints.flush(stage, process, count);
        self.scores.flush(stage, process, count);
        self.results.flush(stage, process, count);
    }

    pub(super) fn end_life(&self, stage: &Stage, process: usize) {
        self.data.end_life(stage, process);
        self.hints.end_life(stage, process);
        self.scores.end_life(stage, process);
        self.results.end_life(stage, process);
    }
}

/// The exchange of results.
pub(super) struct Exchange {
    is_local: bool,
    window_limit: usize,
    state: Mutex<ExchangeState>,
    readers: MemoryFanout<ResultMessage>,
}

struct ExchangeState {
    windows: Vec<Window<ResultMessage>>,
    /// Everything that was ever published, in order.
    published: Vec<ResultMessage>,
    /// What readers were sent, repetitions included.
    arrived: u64,
    /// Whether what is published gets lost.
    is_muted: bool,
}

impl Exchange {
    fn new(is_local: bool, processes: usize, window_limit: usize) -> Self {
        let windows = (0..processes).map(|_| Window::default()).collect();
        let state = Mutex::new(ExchangeState { windows, published: Vec::new(), arrived: 0, is_muted: false });
        Self { is_local, window_limit, state, readers: MemoryFanout::new(READER_MESSAGES) }
    }

    fn lock(&self) -> MutexGuard<'_, ExchangeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.lock().windows.iter().all(|window| window.len() == 0)
    }

    /// What was published since the last call.
    pub(super) fn take_published(&self) -> Vec<ResultMessage> {
        std::mem::take(&mut self.lock().published)
    }

    /// Loses what is published from now on, or no more.
    pub(super) fn mute(&self, is_muted: bool) {
        self.lock().is_muted = is_muted;
    }

    /// Messages that each reader was sent, if it was there from the beginning.
    pub(super) fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    /// A reader of its own, as the results role has one for each client.
    pub(super) fn subscribe(&self) -> Box<dyn Subscription<ResultMessage>> {
        self.readers.subscribe()
    }

    /// What a publisher repeats, readers see again; it is not noted twice.
    fn arrive(&self, inner: &mut ExchangeState, sent: Sent<ResultMessage>) {
        for (at, message) in sent.messages.into_iter().enumerate() {
            inner.arrived += 1;
            self.readers.publish(message.clone()).expect("it is never closed");
            if at >= sent.repeated {
                inner.published.push(message);
            }
        }
    }

    fn flush(&self, stage: &Stage, process: usize, count: usize) {
        if self.is_local || stage.outage(Fault::BrokerAway).is_some() {
            return;
        }
        let mut inner = self.lock();
        let sent = inner.windows[process].send(stage, count);
        self.arrive(&mut inner, sent);
    }

    fn end_life(&self, stage: &Stage, process: usize) {
        let mut inner = self.lock();
        let arrived = inner.windows[process].end(stage);
        self.arrive(&mut inner, arrived);
    }
}

impl Confirming for Exchange {
    fn settle(&self, stage: &Stage, process: usize) -> bool {
        self.flush(stage, process, usize::MAX);
        self.is_settled(process)
    }

    fn is_settled(&self, process: usize) -> bool {
        self.lock().windows[process].len() == 0
    }
}

/// A process's way to the exchange.
struct ExchangeEnd {
    caller: Caller,
    exchange: Arc<Exchange>,
}

impl ExchangeEnd {
    /// As a publisher that is held up until the broker has taken something.
    fn wait_for_room(&self) {
        let (stage, process) = (self.caller.stage(), self.caller.process());
        let has_room = || self.exchange.lock().windows[process].len() < self.exchange.window_limit;
        for _ in 0..MAX_ATTEMPTS_WAITED {
            if has_room() {
                return;
            }
            if let Some(until) = stage.outage(Fault::BrokerAway) {
                stage.pass(until.saturating_sub(stage.now()));
            }
            self.exchange.flush(stage, process, usize::MAX);
        }
        let what = format!("results still wait after {MAX_ATTEMPTS_WAITED} attempts to publish them");
        stage.violate(Violation::Bound { what });
    }
}

impl Fanout<ResultMessage> for ExchangeEnd {
    fn publish(&self, message: ResultMessage) -> Result<(), BusError> {
        self.caller.touch("publishes results");
        self.wait_for_room();
        let mut inner = self.exchange.lock();
        if inner.is_muted {
            return Ok(());
        }
        if self.exchange.is_local {
            self.exchange.arrive(&mut inner, Sent { messages: vec![message], repeated: 0 });
        } else {
            inner.windows[self.caller.process()].push(message);
        }
        drop(inner);
        self.caller.touch("published results");
        Ok(())
    }

    fn subscribe(&self) -> Box<dyn Subscription<ResultMessage>> {
        self.exchange.subscribe()
    }
}

/// The bus as one process sees it.
pub(super) struct SimulatedBus {
    data: QueueEnd<DataMessage>,
    hints: QueueEnd<ModelHint>,
    scores: QueueEnd<ModelOutput>,
    results: ExchangeEnd,
}

impl SimulatedBus {
    pub(super) fn new(caller: &Caller, shared: &SharedBus) -> Self {
        let hints: Arc<dyn Confirming> = Arc::clone(&shared.hints) as _;
        let results: Arc<dyn Confirming> = Arc::clone(&shared.results) as _;
        Self {
            data: QueueEnd::new(caller, &shared.data, Some(hints)),
            hints: QueueEnd::new(caller, &shared.hints, None),
            scores: QueueEnd::new(caller, &shared.scores, Some(results)),
            results: ExchangeEnd { caller: caller.clone(), exchange: Arc::clone(&shared.results) },
        }
    }
}

impl Bus for SimulatedBus {
    fn data(&self) -> &dyn Queue<DataMessage> {
        &self.data
    }

    fn hints(&self) -> &dyn Queue<ModelHint> {
        &self.hints
    }

    fn scores(&self) -> &dyn Queue<ModelOutput> {
        &self.scores
    }

    fn results(&self) -> &dyn Fanout<ResultMessage> {
        &self.results
    }
}
