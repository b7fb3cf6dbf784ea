//! A queue between roles, in their process or at a broker.
//!
//! What both keep: messages come in publishing order, at least once, and are gone only after their acknowledgement. What a
//! broker adds: publishing returns before a message is there, nothing more comes while as much is held as its prefetch, what
//! is held comes again when the connection is lost and never before, and both may be away. What a process adds: the queue
//! dies with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use htmengine::bus::{BusError, Delivery, DeliveryTag, Queue, TryPublishError};

use super::canary::Canary;
use super::fault::Fault;
use super::role::RoleKind;
use super::stage::{Caller, Stage};
use super::verdict::Violation;
use super::window::Window;

/// Turns of the consumer that a publisher waits for.
const MAX_TURNS_WAITED: usize = 64;

/// A queue, wherever it is.
pub(super) struct SharedQueue<T> {
    pub(super) name: &'static str,
    consumer: RoleKind,
    is_local: bool,
    limit: usize,
    window_limit: usize,
    prefetch: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    ready: VecDeque<Waiting<T>>,
    ends: Vec<End<T>>,
    is_closed: bool,
    /// Everything that was ever accepted, in order, if it is wanted.
    accepted: Option<Vec<T>>,
}

/// A message that can be delivered.
struct Waiting<T> {
    message: T,
    /// The process that has it in its hands, or had, although its connection was lost.
    held_by: Option<usize>,
}

/// A message that the broker lost.
pub(super) struct Lost<T> {
    pub(super) message: T,
    /// Whether it had been delivered to the present life of its consumer.
    pub(super) was_held: bool,
}

/// What one process has of it.
struct End<T> {
    window: Window<T>,
    held: VecDeque<(u64, T)>,
    last_tag: u64,
    lost_up_to: u64,
    /// Up to where an acknowledgement is owed that had to wait.
    owed: Option<u64>,
}

impl<T> Default for End<T> {
    fn default() -> Self {
        Self { window: Window::default(), held: VecDeque::new(), last_tag: 0, lost_up_to: 0, owed: None }
    }
}

impl<T> End<T> {
    /// Forgets what is held up to this delivery.
    fn release(&mut self, tag: u64) {
        let count = self.held.partition_point(|(held, _)| *held <= tag);
        self.held.drain(..count);
        self.owed.take_if(|owed| *owed <= tag);
    }
}

/// What a queue may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits {
    pub(super) messages: usize,
    pub(super) window: usize,
    /// Delivered to one process and not acknowledged.
    pub(super) prefetch: usize,
}

impl<T: Clone + Send> SharedQueue<T> {
    /// Empty; `window` is `None` within a process.
    pub(super) fn new(
        name: &'static str,
        consumer: RoleKind,
        limits: QueueLimits,
        is_local: bool,
        processes: usize,
    ) -> Self {
        let ends = (0..processes).map(|_| End::default()).collect();
        let state = State { ready: VecDeque::new(), ends, is_closed: false, accepted: None };
        let QueueLimits { messages: limit, window: window_limit, prefetch } = limits;
        Self { name, consumer, is_local, limit, window_limit, prefetch, state: Mutex::new(state) }
    }

    /// Keeps a copy of everything that is accepted.
    pub(super) fn keep_accepted(&self) {
        self.lock().accepted = Some(Vec::new());
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was accepted since the last call.
    pub(super) fn take_accepted(&self) -> Vec<T> {
        self.lock().accepted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many of the last accepted ones are not acknowledged.
    pub(super) fn open(&self) -> usize {
        self.lock().open()
    }

    /// Whether nothing waits and nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.open() == 0 && inner.ends.iter().all(|end| end.window.len() == 0)
    }

    /// What is where, for people.
    pub(super) fn summary(&self) -> String {
        let inner = self.lock();
        let held: usize = inner.ends.iter().map(|end| end.held.len()).sum();
        let windows: usize = inner.ends.iter().map(|end| end.window.len()).sum();
        format!("{} {} ready, {held} held, {windows} on their way", self.name, inner.ready.len())
    }

    /// Brings messages of a process nearer to the broker.
    pub(super) fn flush(&self, stage: &Stage, process: usize, count: usize) {
        if self.is_local || stage.outage(Fault::BrokerAway).is_some() {
            return;
        }
        let mut inner = self.lock();
        let room = self.limit.saturating_sub(inner.ready.len());
        let sent = inner.ends[process].window.send(stage, count.min(room));
        Self::accept(&mut inner, sent.messages);
    }

    fn accept(inner: &mut State<T>, messages: Vec<T>) {
        for message in messages {
            if let Some(accepted) = &mut inner.accepted {
                accepted.push(message.clone());
            }
            inner.ready.push_back(Waiting { message, held_by: None });
        }
    }

    /// A process lost its connection: what it holds is delivered again.
    pub(super) fn lose_connection(&self, process: usize) {
        self.lock().give_back(process);
    }

    /// A process is gone.
    pub(super) fn end_life(&self, stage: &Stage, process: usize) {
        let mut inner = self.lock();
        if self.is_local {
            inner.ready.clear();
            inner.is_closed = false;
        } else {
            let arrived = inner.ends[process].window.end(stage);
            Self::accept(&mut inner, arrived.messages);
            inner.give_back(process);
            for waiting in &mut inner.ready {
                waiting.held_by.take_if(|by| *by == process);
            }
        }
        inner.ends[process] = End::default();
    }

    /// Nothing more is published to a queue within a process.
    pub(super) fn close(&self) {
        self.lock().is_closed = self.is_local;
    }

    /// The broker forgets what is ready.
    pub(super) fn forget(&self) -> Vec<Lost<T>> {
        let lost =
            |waiting: Waiting<T>| Lost { message: waiting.message, was_held: waiting.held_by.is_some() };
        self.lock().ready.drain(..).map(lost).collect()
    }
}

impl<T> State<T> {
    /// Accepted and not acknowledged.
    fn open(&self) -> usize {
        self.ready.len() + self.ends.iter().map(|end| end.held.len()).sum::<usize>()
    }

    fn give_back(&mut self, process: usize) {
        let end = &mut self.ends[process];
        end.lost_up_to = end.last_tag;
        end.owed = None;
        while let Some((_, message)) = end.held.pop_back() {
            self.ready.push_front(Waiting { message, held_by: Some(process) });
        }
    }
}

/// Something whose messages must be confirmed before others are acknowledged.
pub(super) trait Confirming: Send + Sync {
    /// Whether everything that `process` published is where it belongs.
    fn settle(&self, stage: &Stage, process: usize) -> bool;
    /// Whether it is already.
    fn is_settled(&self, process: usize) -> bool;
}

impl<T: Clone + Send> Confirming for SharedQueue<T> {
    fn settle(&self, stage: &Stage, process: usize) -> bool {
        self.flush(stage, process, usize::MAX);
        self.is_settled(process)
    }

    fn is_settled(&self, process: usize) -> bool {
        self.lock().ends[process].window.len() == 0
    }
}

/// A process's end of a queue.
pub(super) struct QueueEnd<T> {
    caller: Caller,
    queue: Arc<SharedQueue<T>>,
    settled_first: Option<Arc<dyn Confirming>>,
}

fn transient<T>(what: &str) -> Result<T, BusError> {
    Err(BusError::Transient { reason: format!("simulated: {what}") })
}

impl<T: Clone + Send> QueueEnd<T> {
    pub(super) fn new(
        caller: &Caller,
        queue: &Arc<SharedQueue<T>>,
        settled_first: Option<Arc<dyn Confirming>>,
    ) -> Self {
        Self { caller: caller.clone(), queue: Arc::clone(queue), settled_first }
    }

    fn has_room(&self) -> bool {
        let inner = self.queue.lock();
        if self.queue.is_local {
            inner.ready.len() < self.queue.limit
        } else {
            inner.ends[self.caller.process()].window.len() < self.queue.window_limit
        }
    }

    /// As a publisher that is held up: the consumer takes turns, or the broker comes back. A consumer that this publisher has
    /// interrupted cannot; then the message goes beyond the limit.
    fn wait_for_room(&self) {
        let stage = self.caller.stage();
        for _ in 0..MAX_TURNS_WAITED {
            if self.has_room() {
                return;
            }
            if self.queue.is_local {
                if !stage.interrupt(Some(self.queue.consumer)) {
                    return;
                }
                self.caller.check();
            } else {
                if let Some(until) = stage.outage(Fault::BrokerAway) {
                    stage.pass(until.saturating_sub(stage.now()));
                }
                self.queue.flush(stage, self.caller.process(), usize::MAX);
                if !self.has_room() && !stage.interrupt(Some(self.queue.consumer)) {
                    return;
                }
                self.caller.check();
            }
        }
        if !stage.is_rough() && !self.has_room() {
            let what = format!("{}, whatever turns its consumer takes", self.queue.summary());
            stage.violate(Violation::Bound { what });
        }
    }

    fn append(&self, message: T) {
        let mut inner = self.queue.lock();
        if self.queue.is_local {
            SharedQueue::accept(&mut inner, vec![message]);
        } else {
            inner.ends[self.caller.process()].window.push(message);
        }
    }

    fn is_bugged(&self, canary: Canary, name: &str) -> bool {
        self.queue.name == name && self.caller.stage().canary() == Some(canary)
    }

    fn take(&self, limit: usize) -> Vec<Delivery<T>> {
        let stage = self.caller.stage();
        let mut inner = self.queue.lock();
        if self.queue.name == "scores" && inner.ready.len() > 1 && stage.sings(Canary::SwappedScores, 3) {
            inner.ready.swap(0, 1);
        }
        if self.queue.name == "scores" && stage.sings(Canary::DroppedScores, 10) {
            inner.ready.pop_front();
        }
        let held = inner.ends[self.caller.process()].held.len();
        let granted = if self.queue.is_local { usize::MAX } else { self.queue.prefetch.saturating_sub(held) };
        let most = limit.min(inner.ready.len()).min(granted);
        // What is closed is handed out as a whole, as by the queue within a process.
        let is_whole = inner.is_closed || !stage.is_rough();
        let count = if is_whole { most } else { stage.below(most + 1) };
        let State { ready, ends, .. } = &mut *inner;
        let end = &mut ends[self.caller.process()];
        let mut deliveries = Vec::with_capacity(count);
        for Waiting { message, .. } in ready.drain(..count) {
            end.last_tag += 1;
            end.held.push_back((end.last_tag, message.clone()));
            deliveries.push(Delivery { tag: DeliveryTag(end.last_tag), message });
        }
        if self.is_bugged(Canary::EarlyAcknowledgement, "data") {
            end.held.clear();
        }
        deliveries
    }

    /// Takes note of an acknowledgement that has to wait.
    fn owe(&self, tag: DeliveryTag) {
        let mut inner = self.queue.lock();
        let end = &mut inner.ends[self.caller.process()];
        if tag.0 > end.lost_up_to {
            end.owed = end.owed.max(Some(tag.0));
        }
    }

    /// Acknowledges what is owed once it may be. In quiet times what it waits for arrives by itself.
    fn pay(&self) {
        let (stage, process) = (self.caller.stage(), self.caller.process());
        let is_settled = self.settled_first.as_ref().is_none_or(|first| {
            if stage.is_rough() { first.is_settled(process) } else { first.settle(stage, process) }
        });
        let mut inner = self.queue.lock();
        let end = &mut inner.ends[process];
        if let Some(tag) = end.owed.filter(|_| is_settled) {
            end.release(tag);
        }
    }
}

impl<T: Clone + Send + Sync> Queue<T> for QueueEnd<T> {
    fn publish(&self, message: T) -> Result<(), BusError> {
        self.caller.touch("publishes");
        self.wait_for_room();
        if self.queue.lock().is_closed {
            return Err(BusError::Closed);
        }
        self.append(message);
        self.caller.touch("published");
        Ok(())
    }

    fn try_publish(&self, message: T) -> Result<(), TryPublishError<T>> {
        self.caller.touch("tries to publish");
        if self.queue.lock().is_closed {
            return Err(TryPublishError::Closed(message));
        }
        if !self.has_room() || self.caller.stage().strikes(Fault::QueueFull) {
            return Err(TryPublishError::Full(message));
        }
        self.append(message);
        self.caller.touch("published");
        Ok(())
    }

    fn receive(&self, limit: usize, wait: Duration) -> Result<Vec<Delivery<T>>, BusError> {
        self.caller.touch_idly("receives");
        let stage = self.caller.stage();
        if !self.queue.is_local {
            if stage.outage(Fault::BrokerAway).is_some() {
                stage.pass(wait);
                return transient("the broker is away");
            }
            if stage.strikes(Fault::ConnectionLost) {
                self.queue.lose_connection(self.caller.process());
                return transient("the connection is lost");
            }
            self.pay();
        }
        let inner = self.queue.lock();
        if inner.is_closed && inner.ready.is_empty() {
            return Err(BusError::Closed);
        }
        drop(inner);
        let deliveries = self.take(limit);
        if deliveries.is_empty() {
            stage.pass(wait);
        } else {
            stage.note(format_args!("{} delivered {}", self.queue.name, deliveries.len()));
            self.caller.touch("received");
        }
        Ok(deliveries)
    }

    fn acknowledge(&self, tag: DeliveryTag) -> Result<(), BusError> {
        self.caller.touch("acknowledges");
        let (stage, process) = (self.caller.stage(), self.caller.process());
        let is_bugged = self.is_bugged(Canary::EarlyAcknowledgement, "data")
            || self.is_bugged(Canary::HoardedScores, "scores");
        if is_bugged {
            return Ok(());
        }
        if !self.queue.is_local {
            if let Some(first) = &self.settled_first
                && !first.settle(stage, process)
            {
                self.owe(tag);
                return transient("what was published because of them is not confirmed yet");
            }
            if stage.outage(Fault::BrokerAway).is_some() {
                self.queue.lose_connection(process);
                return transient("the broker is away");
            }
            if stage.strikes(Fault::ConnectionLost) {
                self.queue.lose_connection(process);
                return transient("the connection is lost");
            }
        }
        let mut inner = self.queue.lock();
        let end = &mut inner.ends[process];
        if tag.0 > end.last_tag {
            return transient("that was not delivered");
        }
        if tag.0 <= end.lost_up_to {
            return transient("the connection is lost over which they came");
        }
        end.release(tag.0);
        drop(inner);
        self.caller.touch("acknowledged");
        Ok(())
    }

    fn close(&self) {
        self.queue.lock().is_closed = true;
    }

    fn depth(&self) -> usize {
        self.caller.check();
        let inner = self.queue.lock();
        inner.ready.len() + inner.ends[self.caller.process()].window.len()
    }
}
