//! Messages on their way to the broker: a bounded window that is emptied in order, each message held until the broker
//! has confirmed it.
//!
//! Publishing puts a message into the window and returns; a task sends what has gathered there, waits until all of it is
//! confirmed, and takes the next. So one waiting for the disk of the broker serves many messages. When anything fails the
//! task makes a fresh channel and sends all that was not confirmed again: at least once, in order.
//!
//! Invariants:
//! - At most [`WINDOW_MESSAGES`] wait and as many are unconfirmed.
//! - [`Publisher::settle`] returns `Ok` only after everything published before it was confirmed. Whoever acknowledges a
//!   message because it has published another one settles first.
//! - A queue that is missing is declared, and the window is sent again.
//! - [`Publisher::take_back`] ends that: what was not confirmed is whoever's who took it, and may have arrived all the same.
//!
//! Source: publishing in `message_bus_connector.py` of nta.utils, which confirmed each message by itself. Departures: the
//! window, and back-pressure: with `max_ready` the task waits while the queue holds so many messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::link::{Backoff, Link, raised, short};
use super::topology::{QueueSpec, declare_exchange};
use crate::bus::BusError;
use crate::self_metrics;

/// Messages that may wait for their turn; as many more may wait to be confirmed.
pub const WINDOW_MESSAGES: usize = 256;
/// While publishing, the depth of a bounded queue is looked at this often.
const DEPTH_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// While a bounded queue is full, its depth is looked at this often.
const FULL_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// A wait for confirms that lasts is logged this often.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(30);

/// One message as bytes.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) body: Vec<u8>,
    pub(super) properties: BasicProperties,
}

/// Where a publisher's messages go.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// To one queue, which is never left unroutable. With `max_ready`, publishing waits while it holds so many.
    Queue { spec: QueueSpec, max_ready: Option<u32> },
    /// To a fanout exchange; if nobody listens the message is gone.
    Fanout(String),
}

impl Target {
    fn name(&self) -> &str {
        match self {
            Self::Queue { spec, .. } => &spec.name,
            Self::Fanout(name) => name,
        }
    }
}

/// Why a message was not taken.
pub(super) enum NotTaken {
    /// The window is full.
    Full,
    /// The publisher is closed.
    Closed,
}

/// The near end of the window.
pub(super) struct Publisher {
    handle: Handle,
    sender: Mutex<Option<mpsc::Sender<Outgoing>>>,
    is_closed: watch::Sender<bool>,
    taken: AtomicU64,
    confirmed: watch::Receiver<u64>,
    is_given_up: watch::Sender<bool>,
    /// What the task held when it was given up.
    leftover: Mutex<Option<oneshot::Receiver<Vec<Outgoing>>>>,
}

impl Publisher {
    /// Starts the task; it connects when the first message comes.
    pub(super) fn start(handle: &Handle, link: &Arc<Link>, target: Target) -> Self {
        let (sender, window) = mpsc::channel(WINDOW_MESSAGES);
        let (confirmed_sender, confirmed) = watch::channel(0);
        let (is_closed, is_given_up) = (watch::Sender::new(false), watch::Sender::new(false));
        let (leftover_sender, leftover) = oneshot::channel();
        let worker = Worker {
            link: Arc::clone(link),
            target,
            channel: None,
            confirmed: confirmed_sender,
            is_closed: is_closed.subscribe(),
            last_look: None,
        };
        handle.spawn(worker.run(window, is_given_up.subscribe(), leftover_sender));
        Self {
            handle: handle.clone(),
            sender: Mutex::new(Some(sender)),
            is_closed,
            taken: AtomicU64::new(0),
            confirmed,
            is_given_up,
            leftover: Mutex::new(Some(leftover)),
        }
    }

    /// Puts a message into the window; waits for room.
    pub(super) fn publish(&self, message: Outgoing) -> Result<(), BusError> {
        let Some(sender) = self.sender() else { return Err(BusError::Closed) };
        let permit = match sender.try_reserve() {
            Ok(permit) => permit,
            Err(TrySendError::Closed(())) => return Err(BusError::Closed),
            Err(TrySendError::Full(())) => self.handle.block_on(async {
                tokio::select! {
                    permit = sender.reserve() => permit.map_err(|_| BusError::Closed),
                    () = raised(self.is_closed.subscribe()) => Err(BusError::Closed),
                }
            })?,
        };
        self.taken.fetch_add(1, Ordering::SeqCst);
        permit.send(message);
        Ok(())
    }

    /// Puts a message into the window if there is room; only then is it made.
    pub(super) fn try_publish(&self, message: impl FnOnce() -> Outgoing) -> Result<(), NotTaken> {
        let Some(sender) = self.sender() else { return Err(NotTaken::Closed) };
        let permit = sender.try_reserve().map_err(|error| match error {
            TrySendError::Full(()) => NotTaken::Full,
            TrySendError::Closed(()) => NotTaken::Closed,
        })?;
        self.taken.fetch_add(1, Ordering::SeqCst);
        permit.send(message());
        Ok(())
    }

    /// Messages published and not confirmed.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.taken.load(Ordering::SeqCst).saturating_sub(*self.confirmed.borrow())
    }

    /// Waits until everything published before this is confirmed; `false` if that takes longer than `limit`.
    pub(super) async fn settle(&self, limit: Duration) -> bool {
        let target = self.taken.load(Ordering::SeqCst);
        let mut confirmed = self.confirmed.clone();
        let settled = confirmed.wait_for(|confirmed| *confirmed >= target);
        matches!(timeout(limit, settled).await, Ok(Ok(_)))
    }

    /// Takes nothing more. What is in the window is still sent.
    pub(super) fn close(&self) {
        self.is_closed.send_replace(true);
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Closes, stops sending, and hands back what was not confirmed, oldest first.
    pub(super) async fn take_back(&self) -> Vec<Outgoing> {
        self.close();
        self.is_given_up.send_replace(true);
        let leftover = self.leftover.lock().unwrap_or_else(PoisonError::into_inner).take();
        match leftover {
            // An error is a task that ended with everything confirmed.
            Some(leftover) => leftover.await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    fn sender(&self) -> Option<mpsc::Sender<Outgoing>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The far end of the window.
struct Worker {
    link: Arc<Link>,
    target: Target,
    /// Open, in confirm mode, with its target declared; `None` after a failure.
    channel: Option<Channel>,
    confirmed: watch::Sender<u64>,
    /// Then nothing waits for room any more: what was taken must get out.
    is_closed: watch::Receiver<bool>,
    last_look: Option<Instant>,
}

impl Worker {
    async fn run(
        mut self,
        mut window: mpsc::Receiver<Outgoing>,
        is_given_up: watch::Receiver<bool>,
        leftover: oneshot::Sender<Vec<Outgoing>>,
    ) {
        let mut messages = Vec::with_capacity(WINDOW_MESSAGES);
        while window.recv_many(&mut messages, WINDOW_MESSAGES).await > 0 {
            tokio::select! {
                () = self.deliver(&messages) => {}
                () = raised(is_given_up.clone()) => {
                    // It is closed: the window ends.
                    while window.recv_many(&mut messages, WINDOW_MESSAGES).await > 0 {}
                    self.count_confirmed(messages.len());
                    // Nobody waits for them if the bus is dropped meanwhile.
                    let _ = leftover.send(messages);
                    return;
                }
            }
            self.count_confirmed(messages.len());
            messages.clear();
        }
    }

    fn count_confirmed(&self, count: usize) {
        self.confirmed.send_modify(|confirmed| *confirmed += count as u64);
    }

    /// Until it succeeds.
    async fn deliver(&mut self, messages: &[Outgoing]) {
        let mut backoff = Backoff::new();
        let mut is_warned = false;
        loop {
            let attempt = match self.wait_for_room().await {
                Ok(()) => self.send(messages).await,
                Err(error) => Err(error),
            };
            let Err(error) = attempt else { break };
            self.channel = None;
            if !is_warned {
                self_metrics::count_bus_error();
                tracing::warn!("{} messages for `{}` wait: {error}", messages.len(), self.target.name());
                is_warned = true;
            }
            backoff.pause().await;
        }
        if is_warned {
            tracing::info!("publishing to `{}` goes on", self.target.name());
        }
    }

    async fn open(&mut self) -> Result<Channel, BusError> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let channel = self.link.channel().await?;
        self.link
            .answer("asking for confirms", channel.confirm_select(ConfirmSelectOptions::default()))
            .await?;
        match &self.target {
            Target::Queue { spec, .. } => {
                spec.declare(&self.link, &channel).await?;
            }
            Target::Fanout(name) => declare_exchange(name, &self.link, &channel).await?,
        }
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// Waits while a bounded queue is full.
    async fn wait_for_room(&mut self) -> Result<(), BusError> {
        let Target::Queue { spec, max_ready: Some(max_ready) } = self.target.clone() else { return Ok(()) };
        if self.last_look.is_some_and(|last| last.elapsed() < DEPTH_CHECK_INTERVAL) {
            return Ok(());
        }
        let mut is_warned = false;
        loop {
            let channel = self.open().await?;
            let state = spec.declare(&self.link, &channel).await?;
            if state.ready < max_ready || *self.is_closed.borrow() {
                break;
            }
            if !is_warned {
                tracing::warn!(
                    "queue `{}` holds {} messages, {max_ready} are allowed: publishing waits until its {} \
                     consumers have read some",
                    spec.name,
                    state.ready,
                    state.consumers
                );
                is_warned = true;
            }
            tokio::time::sleep(FULL_CHECK_INTERVAL).await;
        }
        self.last_look = Some(Instant::now());
        Ok(())
    }

    async fn send(&mut self, messages: &[Outgoing]) -> Result<(), BusError> {
        let channel = self.open().await?;
        let name = short(self.target.name())?;
        let (exchange, routing_key, mandatory) = match self.target {
            Target::Queue { .. } => ("".into(), name, true),
            Target::Fanout(_) => (name, "".into(), false),
        };
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let mut confirms = Vec::with_capacity(messages.len());
        for Outgoing { body, properties } in messages {
            let sent = channel.basic_publish(
                exchange.clone(),
                routing_key.clone(),
                options,
                body,
                properties.clone(),
            );
            confirms.push(self.link.answer("publishing", sent).await?);
        }
        let waiting = self.confirm(confirms);
        tokio::pin!(waiting);
        loop {
            if let Ok(result) = timeout(CONFIRM_PATIENCE, &mut waiting).await {
                return result;
            }
            tracing::warn!(
                "{} messages for `{}` are not confirmed after {} s more; is the broker short of memory or disk?",
                messages.len(),
                self.target.name(),
                CONFIRM_PATIENCE.as_secs()
            );
        }
    }

    async fn confirm(&self, confirms: Vec<PublisherConfirm>) -> Result<(), BusError> {
        let mut returned: Option<BasicReturnMessage> = None;
        let mut is_refused = false;
        for confirm in confirms {
            match confirm.await.map_err(|error| self.link.explain("publishing", &error))? {
                // With one answer to many messages a returned one may be handed to a neighbour, so all are sent again.
                Confirmation::Ack(message) => returned = message.or(returned),
                Confirmation::Nack(message) => {
                    is_refused = true;
                    returned = message.or(returned);
                }
                Confirmation::NotRequested => is_refused = true,
            }
        }
        let name = self.target.name();
        match returned {
            Some(message) => Err(BusError::Transient {
                reason: format!("queue `{name}` is missing ({}); it is declared again", message.reply_text),
            }),
            None if is_refused => Err(BusError::Transient {
                reason: format!("the broker did not take a message for `{name}`; is it short of disk?"),
            }),
            None => Ok(()),
        }
    }
}
