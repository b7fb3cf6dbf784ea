//! The bus of a single process: bounded queues and a fanout in memory, no broker and nothing to set up.
//!
//! Every role of one process shares one [`MemoryBus`]. What waits here is lost with the process; that is safe for
//! all but the data queue, because hints, scores and results can be made again from the repository's rows. Lines
//! on the data queue that the storer has not committed are gone after a crash, as they are from any buffer that a
//! sender was not told about.
//!
//! Invariants:
//! - No buffer grows past its limit: publishers wait (queues) or slow readers lose the oldest (fanout).
//! - A delivered message belongs to its receiver alone. There is no redelivery within a process, so the only
//!   bookkeeping is the number of the last tag handed out.
//! - No lock is held while waiting, and none is taken while another queue's is held.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::message::{DataMessage, ModelHint, ModelOutput, ResultMessage};
use super::{Bus, BusError, Delivery, DeliveryTag, Fanout, Queue, Subscription, TryPublishError};

/// Default of [`MemoryBusLimits::data_messages`].
pub const DEFAULT_DATA_MESSAGES: usize = 1_024;
/// Default of [`MemoryBusLimits::hints`].
pub const DEFAULT_HINTS: usize = 65_536;
/// Default of [`MemoryBusLimits::score_messages`].
pub const DEFAULT_SCORE_MESSAGES: usize = 1_024;
/// Default of [`MemoryBusLimits::subscriber_messages`].
pub const DEFAULT_SUBSCRIBER_MESSAGES: usize = 8_192;

/// How many messages may wait at each meeting point. 0 is read as 1: a queue without room could never move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBusLimits {
    /// Batches of lines from listener to storer.
    pub data_messages: usize,
    /// Hints from storer to scheduler.
    pub hints: usize,
    /// Score messages from scheduler to anomaly.
    pub score_messages: usize,
    /// Results waiting for each single subscriber.
    pub subscriber_messages: usize,
}

impl Default for MemoryBusLimits {
    fn default() -> Self {
        Self {
            data_messages: DEFAULT_DATA_MESSAGES,
            hints: DEFAULT_HINTS,
            score_messages: DEFAULT_SCORE_MESSAGES,
            subscriber_messages: DEFAULT_SUBSCRIBER_MESSAGES,
        }
    }
}

/// The four meeting points in memory.
///
/// Hints may be lost, so whoever must not wait for the scheduler uses [`Queue::try_publish`] on
/// [`Bus::hints`] and forgets the hint when there is no room.
pub struct MemoryBus {
    data: MemoryQueue<DataMessage>,
    hints: MemoryQueue<ModelHint>,
    scores: MemoryQueue<ModelOutput>,
    results: MemoryFanout<ResultMessage>,
}

impl MemoryBus {
    /// Empty and open.
    pub fn new(limits: MemoryBusLimits) -> Self {
        Self {
            data: MemoryQueue::new(limits.data_messages),
            hints: MemoryQueue::new(limits.hints),
            scores: MemoryQueue::new(limits.score_messages),
            results: MemoryFanout::new(limits.subscriber_messages),
        }
    }
}

impl Bus for MemoryBus {
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

    fn close(&self) {
        self.data.close();
        self.hints.close();
        self.scores.close();
        self.results.close();
    }
}

/// A bounded queue for any number of publishers and receivers.
pub struct MemoryQueue<T> {
    capacity: usize,
    state: Mutex<QueueState<T>>,
    has_message: Condvar,
    has_room: Condvar,
}

struct QueueState<T> {
    messages: VecDeque<T>,
    /// Tag of the latest delivery; 0 before the first.
    last_tag: u64,
    is_closed: bool,
}

impl<T> MemoryQueue<T> {
    /// Empty and open, with room for `capacity` messages (at least 1).
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::new(QueueState { messages: VecDeque::new(), last_tag: 0, is_closed: false }),
            has_message: Condvar::new(),
            has_room: Condvar::new(),
        }
    }

    // A panic elsewhere cannot leave the state half changed: every change below is one step.
    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, state: &mut QueueState<T>, message: T) {
        state.messages.push_back(message);
        self.has_message.notify_one();
    }
}

impl<T: Send> Queue<T> for MemoryQueue<T> {
    fn publish(&self, message: T) -> Result<(), BusError> {
        let is_waiting =
            |state: &mut QueueState<T>| !state.is_closed && state.messages.len() >= self.capacity;
        let mut state =
            self.has_room.wait_while(self.lock(), is_waiting).unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return Err(BusError::Closed);
        }
        self.append(&mut state, message);
        Ok(())
    }

    fn try_publish(&self, message: T) -> Result<(), TryPublishError<T>> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(TryPublishError::Closed(message));
        }
        if state.messages.len() >= self.capacity {
            return Err(TryPublishError::Full(message));
        }
        self.append(&mut state, message);
        Ok(())
    }

    fn receive(&self, limit: usize, wait: Duration) -> Result<Vec<Delivery<T>>, BusError> {
        let is_waiting =
            |state: &mut QueueState<T>| !state.is_closed && state.messages.is_empty() && limit > 0;
        let (mut state, _) = self
            .has_message
            .wait_timeout_while(self.lock(), wait, is_waiting)
            .unwrap_or_else(PoisonError::into_inner);
        if state.messages.is_empty() && state.is_closed {
            return Err(BusError::Closed);
        }
        let taken_count = limit.min(state.messages.len());
        let mut deliveries = Vec::with_capacity(taken_count);
        let mut tag = state.last_tag;
        for message in state.messages.drain(..taken_count) {
            tag += 1;
            deliveries.push(Delivery { tag: DeliveryTag(tag), message });
        }
        state.last_tag = tag;
        if taken_count > 0 {
            self.has_room.notify_all();
        }
        Ok(deliveries)
    }

    fn acknowledge(&self, tag: DeliveryTag) -> Result<(), BusError> {
        let last_tag = self.lock().last_tag;
        if tag.0 > last_tag {
            let reason =
                format!("tag {} was acknowledged but only tags up to {last_tag} were delivered", tag.0);
            return Err(BusError::Transient { reason });
        }
        Ok(())
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.has_message.notify_all();
        self.has_room.notify_all();
    }

    fn depth(&self) -> usize {
        self.lock().messages.len()
    }
}

/// Copies each message to every living subscription, each with a bounded buffer of its own.
pub struct MemoryFanout<T> {
    capacity: usize,
    state: Mutex<FanoutState<T>>,
}

struct FanoutState<T> {
    /// Weak, so that dropping a subscription is all it takes to unsubscribe.
    subscribers: Vec<Weak<Subscriber<T>>>,
    is_closed: bool,
}

struct Subscriber<T> {
    state: Mutex<SubscriberState<T>>,
    has_news: Condvar,
}

struct SubscriberState<T> {
    messages: VecDeque<T>,
    /// Messages dropped since the reader was last told.
    lost_count: u64,
    is_closed: bool,
}

impl<T> MemoryFanout<T> {
    /// No subscribers; each will have room for `capacity` messages (at least 1).
    pub fn new(capacity: usize) -> Self {
        let state = FanoutState { subscribers: Vec::new(), is_closed: false };
        Self { capacity: capacity.max(1), state: Mutex::new(state) }
    }

    /// No more publishing; subscribers drain what waits for them.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        for subscriber in state.subscribers.drain(..).filter_map(|subscriber| subscriber.upgrade()) {
            subscriber.close();
        }
    }

    /// Tells every subscriber that something may be missing from here on; it counts as one lost message.
    pub fn mark_gap(&self) {
        for subscriber in self.lock().subscribers.iter().filter_map(Weak::upgrade) {
            let mut state = subscriber.lock();
            state.lost_count += 1;
            subscriber.has_news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, FanoutState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for MemoryFanout<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Clone + Send + 'static> Fanout<T> for MemoryFanout<T> {
    fn publish(&self, message: T) -> Result<(), BusError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(BusError::Closed);
        }
        state.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(subscriber) => {
                subscriber.push(message.clone(), self.capacity);
                true
            }
            None => false,
        });
        Ok(())
    }

    fn subscribe(&self) -> Box<dyn Subscription<T>> {
        let mut state = self.lock();
        let subscriber = Arc::new(Subscriber {
            state: Mutex::new(SubscriberState {
                messages: VecDeque::new(),
                lost_count: 0,
                is_closed: state.is_closed,
            }),
            has_news: Condvar::new(),
        });
        if !state.is_closed {
            // Also here, so that readers who come and go leave nothing behind on an exchange without messages.
            state.subscribers.retain(|subscriber| subscriber.strong_count() > 0);
            state.subscribers.push(Arc::downgrade(&subscriber));
        }
        Box::new(MemorySubscription { subscriber })
    }
}

impl<T> Subscriber<T> {
    fn push(&self, message: T, capacity: usize) {
        let mut state = self.lock();
        if state.messages.len() >= capacity {
            state.messages.pop_front();
            state.lost_count += 1;
        }
        state.messages.push_back(message);
        self.has_news.notify_one();
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.has_news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, SubscriberState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemorySubscription<T> {
    subscriber: Arc<Subscriber<T>>,
}

impl<T: Send> Subscription<T> for MemorySubscription<T> {
    fn receive(&mut self, wait: Duration) -> Result<Option<T>, BusError> {
        let is_waiting = |state: &mut SubscriberState<T>| {
            !state.is_closed && state.messages.is_empty() && state.lost_count == 0
        };
        let (mut state, _) = self
            .subscriber
            .has_news
            .wait_timeout_while(self.subscriber.lock(), wait, is_waiting)
            .unwrap_or_else(PoisonError::into_inner);
        // Always the oldest are lost, so the gap lies just before the message that comes next.
        if state.lost_count > 0 {
            return Err(BusError::Lagged { lost: std::mem::take(&mut state.lost_count) });
        }
        match state.messages.pop_front() {
            Some(message) => Ok(Some(message)),
            None if state.is_closed => Err(BusError::Closed),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Long enough for any machine; reached only by a failing test.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn values<T: Send>(queue: &MemoryQueue<T>, limit: usize) -> Vec<T> {
        let deliveries = queue.receive(limit, Duration::ZERO).expect("open");
        deliveries.into_iter().map(|delivery| delivery.message).collect()
    }

    #[test]
    fn messages_come_in_publishing_order_with_ascending_tags() {
        let queue = MemoryQueue::new(8);
        for number in 0..5 {
            queue.publish(number).expect("open");
        }
        assert_eq!(queue.depth(), 5);
        let first = queue.receive(2, PATIENCE).expect("open");
        let rest = queue.receive(9, PATIENCE).expect("open");
        let all: Vec<_> =
            first.iter().chain(&rest).map(|delivery| (delivery.tag.0, delivery.message)).collect();
        assert_eq!(all, [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]);
        assert_eq!(queue.depth(), 0);
    }

    #[test]
    fn an_empty_queue_answers_nothing_in_time() {
        let queue = MemoryQueue::<u8>::new(1);
        assert_eq!(queue.receive(1, Duration::from_millis(1)), Ok(Vec::new()));
        assert_eq!(queue.receive(0, PATIENCE), Ok(Vec::new()));
    }

    #[test]
    fn a_full_queue_hands_the_message_back() {
        let queue = MemoryQueue::new(0);
        queue.try_publish("first").expect("room for one even if 0 was asked");
        assert!(matches!(queue.try_publish("second"), Err(TryPublishError::Full("second"))));
        assert_eq!(values(&queue, 1), ["first"]);
        queue.try_publish("third").expect("room again");
    }

    #[test]
    fn publish_waits_for_room() {
        let queue = MemoryQueue::new(1);
        thread::scope(|scope| {
            let publisher = scope.spawn(|| (0..100).try_for_each(|number| queue.publish(number)));
            let mut received = Vec::new();
            while received.len() < 100 {
                let deliveries = queue.receive(7, PATIENCE).expect("open");
                assert_eq!(deliveries.len(), 1, "never more than the capacity");
                received.extend(deliveries.into_iter().map(|delivery| delivery.message));
            }
            assert_eq!(received, (0..100).collect::<Vec<_>>());
            assert_eq!(publisher.join().expect("no panic"), Ok(()));
        });
    }

    #[test]
    fn closing_lets_receivers_drain_and_publishers_fail() {
        let queue = MemoryQueue::new(4);
        queue.publish(1).expect("open");
        queue.close();
        assert_eq!(queue.publish(2), Err(BusError::Closed));
        assert!(matches!(queue.try_publish(3), Err(TryPublishError::Closed(3))));
        assert_eq!(values(&queue, 9), [1]);
        assert_eq!(queue.receive(9, PATIENCE), Err(BusError::Closed));
    }

    #[test]
    fn closing_wakes_whoever_waits() {
        let full = MemoryQueue::new(1);
        full.publish(1).expect("open");
        let empty = MemoryQueue::<u8>::new(1);
        thread::scope(|scope| {
            let publisher = scope.spawn(|| full.publish(2));
            let receiver = scope.spawn(|| empty.receive(1, PATIENCE));
            full.close();
            empty.close();
            assert_eq!(publisher.join().expect("no panic"), Err(BusError::Closed));
            assert_eq!(receiver.join().expect("no panic"), Err(BusError::Closed));
        });
        assert_eq!(values(&full, 9), [1]);
    }

    #[test]
    fn only_delivered_tags_can_be_acknowledged() {
        let queue = MemoryQueue::new(4);
        queue.publish(1).expect("open");
        assert!(matches!(queue.acknowledge(DeliveryTag(1)), Err(BusError::Transient { .. })));
        let delivered = queue.receive(1, PATIENCE).expect("open");
        for _ in 0..2 {
            assert_eq!(queue.acknowledge(delivered[0].tag), Ok(()), "twice equals once");
        }
    }

    #[test]
    fn many_publishers_and_receivers_lose_and_repeat_nothing() {
        let queue = MemoryQueue::new(3);
        let mut received = thread::scope(|scope| {
            let publishers = [0, 1, 2].map(|lane| {
                scope.spawn({
                    let queue = &queue;
                    move || (0..200).try_for_each(|n| queue.publish(lane * 1_000 + n))
                })
            });
            let receivers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut own = Vec::new();
                    while let Ok(deliveries) = queue.receive(2, PATIENCE) {
                        own.extend(deliveries.into_iter().map(|delivery| delivery.message));
                    }
                    own
                })
            });
            for publisher in publishers {
                assert_eq!(publisher.join().expect("no panic"), Ok(()));
            }
            queue.close();
            receivers.map(|receiver| receiver.join().expect("no panic")).concat()
        });
        received.sort_unstable();
        let published: Vec<_> = (0..3_000).filter(|number| number % 1_000 < 200).collect();
        assert_eq!(received, published);
    }

    #[test]
    fn every_subscriber_sees_every_message_from_now_on() {
        let fanout = MemoryFanout::new(4);
        let mut early = fanout.subscribe();
        fanout.publish(1).expect("open");
        let mut late = fanout.subscribe();
        fanout.publish(2).expect("open");
        assert_eq!(early.receive(PATIENCE), Ok(Some(1)));
        assert_eq!(early.receive(PATIENCE), Ok(Some(2)));
        assert_eq!(early.receive(Duration::ZERO), Ok(None));
        assert_eq!(late.receive(PATIENCE), Ok(Some(2)));
    }

    #[test]
    fn a_slow_subscriber_loses_the_oldest_and_is_told_once() {
        let fanout = MemoryFanout::new(2);
        let mut slow = fanout.subscribe();
        for number in 1..=5 {
            fanout.publish(number).expect("open");
        }
        assert_eq!(slow.receive(PATIENCE), Err(BusError::Lagged { lost: 3 }));
        assert_eq!(slow.receive(PATIENCE), Ok(Some(4)));
        assert_eq!(slow.receive(PATIENCE), Ok(Some(5)));
        assert_eq!(slow.receive(Duration::ZERO), Ok(None));
    }

    #[test]
    fn a_dropped_subscription_is_forgotten() {
        let fanout = MemoryFanout::new(2);
        drop(fanout.subscribe());
        let mut kept = fanout.subscribe();
        drop(fanout.subscribe());
        fanout.publish(1).expect("open");
        assert_eq!(fanout.lock().subscribers.len(), 1);
        assert_eq!(kept.receive(PATIENCE), Ok(Some(1)));
    }

    #[test]
    fn a_closed_fanout_is_drained_then_closed() {
        let fanout = MemoryFanout::new(2);
        let mut reader = fanout.subscribe();
        fanout.publish(1).expect("open");
        fanout.close();
        assert_eq!(fanout.publish(2), Err(BusError::Closed));
        assert_eq!(fanout.subscribe().receive(PATIENCE), Err(BusError::Closed));
        assert_eq!(reader.receive(PATIENCE), Ok(Some(1)));
        assert_eq!(reader.receive(PATIENCE), Err(BusError::Closed));
    }

    #[test]
    fn subscribers_notice_that_the_fanout_is_gone() {
        let fanout = MemoryFanout::<u8>::new(2);
        let mut reader = fanout.subscribe();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || reader.receive(PATIENCE));
            drop(fanout);
            assert_eq!(waiting.join().expect("no panic"), Err(BusError::Closed));
        });
    }

    #[test]
    fn the_default_limits_are_the_named_ones() {
        let bus = MemoryBus::new(MemoryBusLimits::default());
        for _ in 0..DEFAULT_DATA_MESSAGES {
            bus.data().try_publish(DataMessage::new(Vec::new())).expect("room");
        }
        let one_more = bus.data().try_publish(DataMessage::new(Vec::new()));
        assert!(matches!(one_more, Err(TryPublishError::Full(_))));
        bus.close();
        assert_eq!(bus.hints().receive(1, PATIENCE), Err(BusError::Closed));
        assert_eq!(bus.scores().receive(1, PATIENCE), Err(BusError::Closed));
        assert_eq!(bus.results().subscribe().receive(PATIENCE), Err(BusError::Closed));
    }
}
