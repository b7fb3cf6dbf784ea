//! Messages from the broker: a task keeps a consumer on one queue, reads what is delivered, and lays it where
//! [`Consumer::receive`] finds it.
//!
//! Invariants:
//! - At most `prefetch` messages are here, received by a role or not, until they are acknowledged.
//! - What was delivered over a connection that is lost is forgotten here, because the broker delivers it again; an
//!   acknowledgement of it fails and says so. A number of ours names each delivery, ascending over all connections.
//! - A message that cannot be read goes to the queue of rejected messages first, with the reason, and is acknowledged
//!   once that is confirmed. It costs nobody else anything.
//!
//! The task starts with the first [`Consumer::receive`], so that a role consumes only what it asks for.
//!
//! Source: consumers in `message_bus_connector.py` of nta.utils. Departures: queues that have exactly one reader are
//! consumed exclusively, and unreadable messages are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::link::{ACCESS_REFUSED, Backoff, BrokerError, Link, raised, short};
use super::publisher::Publisher;
use super::reject_desk::RejectDesk;
use super::topology::QueueSpec;
use super::transport::Transport;
use crate::bus::{BusError, Delivery, DeliveryTag};
use crate::self_metrics;

/// After closing, a queue that holds more is read no longer than this; the rest stays at the broker.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// While draining, a queue that delivers nothing for so long is asked whether it is empty.
const DRAIN_QUIET: Duration = Duration::from_millis(50);
/// A queue that was deleted is left to whoever publishes to it for so long. Made by a reader in the middle of a window it would
/// take in the window's end first, and its beginning only when all of it is sent again.
const PUBLISHER_LEAD: Duration = Duration::from_secs(5);

/// How a queue is consumed.
#[derive(Debug, Clone)]
pub(super) struct ConsumerOptions {
    /// The queue.
    pub(super) spec: QueueSpec,
    /// Messages delivered and not acknowledged.
    pub(super) prefetch: u16,
    /// `Some` if only one consumer may read it, with what that is.
    pub(super) only_reader: Option<&'static str>,
}

/// The near end.
pub(super) struct Consumer<T> {
    shared: Arc<Shared<T>>,
    handle: Handle,
}

struct Shared<T> {
    link: Arc<Link>,
    options: ConsumerOptions,
    /// To the same queue; what this process has published itself is drained too.
    publisher: Arc<Publisher>,
    desk: Arc<RejectDesk>,
    is_closed: watch::Sender<bool>,
    state: Mutex<State<T>>,
    has_news: Condvar,
}

struct State<T> {
    is_started: bool,
    /// Delivered and not received.
    ready: VecDeque<(T, Acker)>,
    /// Received and not acknowledged, with their tags.
    held: VecDeque<(u64, Acker)>,
    last_tag: u64,
    /// Tags up to this one came over connections that are lost.
    lost_up_to: u64,
    /// Why nothing can come at present.
    trouble: Option<BusError>,
    is_finished: bool,
}

impl<T: Transport> Consumer<T> {
    /// Not consuming yet.
    pub(super) fn new(
        handle: &Handle,
        link: &Arc<Link>,
        options: ConsumerOptions,
        publisher: &Arc<Publisher>,
        desk: &Arc<RejectDesk>,
    ) -> Self {
        let state = State {
            is_started: false,
            ready: VecDeque::new(),
            held: VecDeque::new(),
            last_tag: 0,
            lost_up_to: 0,
            trouble: None,
            is_finished: false,
        };
        let shared = Shared {
            link: Arc::clone(link),
            options,
            publisher: Arc::clone(publisher),
            desk: Arc::clone(desk),
            is_closed: watch::Sender::new(false),
            state: Mutex::new(state),
            has_news: Condvar::new(),
        };
        Self { shared: Arc::new(shared), handle: handle.clone() }
    }

    /// Takes up to `limit` messages; waits up to `wait` for the first.
    pub(super) fn receive(&self, limit: usize, wait: Duration) -> Result<Vec<Delivery<T>>, BusError> {
        let mut state = self.shared.lock();
        if !state.is_started {
            state.is_started = true;
            self.handle.spawn(Arc::clone(&self.shared).run());
        }
        let is_waiting = |state: &mut State<T>| state.ready.is_empty() && !state.is_finished && limit > 0;
        let waited = self.shared.has_news.wait_timeout_while(state, wait, is_waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ready.is_empty() {
            return match &state.trouble {
                _ if state.is_finished => Err(BusError::Closed),
                Some(trouble) => Err(trouble.clone()),
                None => Ok(Vec::new()),
            };
        }
        let count = limit.min(state.ready.len());
        let taken: Vec<_> = state.ready.drain(..count).collect();
        let mut deliveries = Vec::with_capacity(count);
        for (message, acker) in taken {
            state.last_tag += 1;
            let tag = state.last_tag;
            state.held.push_back((tag, acker));
            deliveries.push(Delivery { tag: DeliveryTag(tag), message });
        }
        Ok(deliveries)
    }

    /// Acknowledges every received message up to `tag`.
    pub(super) fn acknowledge(&self, tag: DeliveryTag) -> Result<(), BusError> {
        let queue = &self.shared.options.spec.name;
        let transient = |reason: String| Err(BusError::Transient { reason });
        let last = {
            let mut state = self.shared.lock();
            if tag.0 > state.last_tag {
                return transient(format!(
                    "tag {} of queue `{queue}` was acknowledged but only tags up to {} were delivered",
                    tag.0, state.last_tag
                ));
            }
            if tag.0 <= state.lost_up_to {
                return transient(format!(
                    "the connection over which messages of queue `{queue}` came is lost; they will come again"
                ));
            }
            let count = state.held.partition_point(|(held, _)| *held <= tag.0);
            state.held.drain(..count).next_back()
        };
        // Acknowledged before.
        let Some((_, acker)) = last else { return Ok(()) };
        let acknowledged = acker.ack(BasicAckOptions { multiple: true });
        let doing = format!("acknowledging messages of queue `{queue}`");
        match self.handle.block_on(self.shared.link.answer(&doing, acknowledged)) {
            Ok(true) => Ok(()),
            Ok(false) => transient(format!("{doing}: the connection is lost; they will come again")),
            Err(error) => Err(error.error),
        }
    }

    /// Lets the role drain what is ready, and finish then.
    pub(super) fn close(&self) {
        self.shared.is_closed.send_replace(true);
    }

    /// Messages delivered to this process that no role has received.
    pub(super) fn ready_count(&self) -> usize {
        self.shared.lock().ready.len()
    }
}

impl<T: Transport> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every change below is one step, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let queue = &self.options.spec.name;
        let mut backoff = Backoff::new();
        let mut deleted_at = None;
        loop {
            let mut channel = None;
            let ended = self.consume(&mut channel, &mut backoff, &mut deleted_at).await;
            let Err(error) = ended else {
                self.finish();
                // The role has yet to acknowledge what it drained, and that needs the channel.
                return self.keep(channel).await;
            };
            self_metrics::count_bus_error();
            tracing::warn!("reading queue `{queue}` waits: {error}");
            self.forget(error);
            if *self.is_closed.borrow() {
                return self.finish();
            }
            tokio::select! {
                () = backoff.pause() => {}
                () = raised(self.is_closed.subscribe()) => {}
            }
        }
    }

    /// Reads until closed and drained (`Ok`) or until something fails. `deleted_at` is when the queue was, if it was.
    async fn consume(
        &self,
        kept: &mut Option<Channel>,
        backoff: &mut Backoff,
        deleted_at: &mut Option<Instant>,
    ) -> Result<(), BusError> {
        let ConsumerOptions { spec, prefetch, only_reader } = &self.options;
        let link = &self.link;
        let channel = kept.insert(link.channel().await?).clone();
        let limit = channel.basic_qos(*prefetch, BasicQosOptions::default());
        link.answer("limiting deliveries", limit).await?;
        if deleted_at.is_some_and(|at| at.elapsed() < PUBLISHER_LEAD) {
            spec.look(link, &channel).await?;
        } else {
            spec.declare(link, &channel).await?;
        }
        *deleted_at = None;
        let options =
            BasicConsumeOptions { exclusive: only_reader.is_some(), ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(short(&spec.name)?, "".into(), options, FieldTable::default());
        let mut consumer = link.answer("consuming", consumer).await.map_err(|error| self.taken(error))?;
        backoff.reset();
        if self.lock().trouble.take().is_some() {
            tracing::info!("reading queue `{}` goes on", spec.name);
        }
        let closed = raised(self.is_closed.subscribe());
        tokio::pin!(closed);
        loop {
            tokio::select! {
                biased;
                () = &mut closed => break,
                delivered = consumer.next() => {
                    if delivered.is_none() {
                        *deleted_at = Some(Instant::now());
                    }
                    self.take(delivered).await?;
                }
            }
        }
        self.publisher.settle(DRAIN_LIMIT).await;
        let deadline = Instant::now() + DRAIN_LIMIT;
        while Instant::now() < deadline {
            match timeout(DRAIN_QUIET, consumer.next()).await {
                Ok(delivered) => self.take(delivered).await?,
                Err(_) if spec.look(link, &channel).await?.ready == 0 => break,
                Err(_) => {}
            }
        }
        Ok(())
    }

    async fn take(&self, delivered: Option<lapin::Result<lapin::message::Delivery>>) -> Result<(), BusError> {
        let queue = &self.options.spec.name;
        let delivery = match delivered {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(self.link.explain("reading", &error).error),
            None => {
                let reason = format!("the broker ended the reading of queue `{queue}`; was it deleted?");
                return Err(BusError::Transient { reason });
            }
        };
        match T::read(&delivery.data, &delivery.properties) {
            Ok(Some(message)) => {
                self.lock().ready.push_back((message, delivery.acker));
                self.has_news.notify_one();
                return Ok(());
            }
            Ok(None) => tracing::info!("a message of queue `{queue}` that the original left is dropped"),
            Err(unreadable) => {
                self.desk.reject(queue, delivery.data, &unreadable.reason).await?;
            }
        }
        let acknowledged = delivery.acker.ack(BasicAckOptions::default());
        self.link.answer("acknowledging an unreadable message", acknowledged).await?;
        Ok(())
    }

    /// Says who else reads a queue that has one reader.
    fn taken(&self, error: BrokerError) -> BusError {
        let ConsumerOptions { spec, only_reader, .. } = &self.options;
        match only_reader {
            Some(reader) if error.code == Some(ACCESS_REFUSED) => BusError::Transient {
                reason: format!(
                    "queue `{}` is read by somebody else, and only one {reader} may run on it; stop the other \
                     one ({})",
                    spec.name, error.error
                ),
            },
            _ => error.error,
        }
    }

    /// After a lost connection.
    fn forget(&self, error: BusError) {
        let mut state = self.lock();
        state.ready.clear();
        state.held.clear();
        state.lost_up_to = state.last_tag;
        state.trouble = Some(error);
        self.has_news.notify_one();
    }

    fn finish(&self) {
        self.lock().is_finished = true;
        self.has_news.notify_all();
    }

    /// Until nobody can acknowledge any more.
    async fn keep(self: Arc<Self>, channel: Option<Channel>) {
        let shared = Arc::downgrade(&self);
        drop(self);
        while shared.strong_count() > 0 {
            tokio::time::sleep(DRAIN_QUIET).await;
        }
        drop(channel);
    }
}
