//! The results exchange: publishing, and one subscription of this process that serves all of its readers.
//!
//! A process that has readers declares a queue of its own (exclusive, deleted with the connection, bounded, oldest
//! messages first to go), binds it, and copies what comes into a [`MemoryFanout`], where each reader has a bounded buffer
//! and is told what it missed. After a lost connection readers are told that something may be missing.
//!
//! Invariant: readers never slow the broker down; messages are taken without acknowledgement as fast as they come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::link::{Backoff, Link, raised, short};
use super::publisher::{Publisher, Target};
use super::settings::RabbitSettings;
use super::topology::{bounded, declare_exchange};
use super::transport::Transport;
use crate::bus::memory::{DEFAULT_SUBSCRIBER_MESSAGES, MemoryFanout};
use crate::bus::message::ResultMessage;
use crate::bus::{BusError, Fanout, Subscription};

/// Messages that the broker keeps for a process that does not take them.
const MAX_QUEUED_RESULTS: u32 = 10_000;
/// Longest time that the first reader waits until it is sure to see everything published from then on.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The exchange.
pub(super) struct RabbitFanout {
    handle: Handle,
    publisher: Arc<Publisher>,
    is_extended: bool,
    shared: Arc<Shared>,
    /// Whether the subscription is in place; `None` before the first reader.
    bound: Mutex<Option<watch::Receiver<bool>>>,
}

struct Shared {
    link: Arc<Link>,
    exchange: String,
    readers: MemoryFanout<ResultMessage>,
    is_closed: watch::Sender<bool>,
}

impl RabbitFanout {
    /// Nothing is subscribed before somebody reads.
    pub(super) fn new(
        handle: &Handle,
        [publishing, consuming]: [&Arc<Link>; 2],
        settings: &RabbitSettings,
    ) -> Self {
        let exchange = &settings.results_exchange;
        let target = Target::Fanout(exchange.clone());
        let shared = Shared {
            link: Arc::clone(consuming),
            exchange: exchange.clone(),
            readers: MemoryFanout::new(DEFAULT_SUBSCRIBER_MESSAGES),
            is_closed: watch::Sender::new(false),
        };
        Self {
            handle: handle.clone(),
            publisher: Arc::new(Publisher::start(handle, publishing, target)),
            is_extended: settings.extended_results,
            shared: Arc::new(shared),
            bound: Mutex::new(None),
        }
    }

    /// Its publisher, for queues that wait for it.
    pub(super) fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// No more publishing; readers drain what has come.
    pub(super) fn close(&self) {
        self.publisher.close();
        self.shared.is_closed.send_replace(true);
        self.shared.readers.close();
    }
}

impl Fanout<ResultMessage> for RabbitFanout {
    fn publish(&self, mut message: ResultMessage) -> Result<(), BusError> {
        if !self.is_extended {
            message.keep_original_keys();
        }
        self.publisher.publish(message.outgoing())
    }

    fn subscribe(&self) -> Box<dyn Subscription<ResultMessage>> {
        let subscription = self.shared.readers.subscribe();
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let is_bound = bound.get_or_insert_with(|| {
            let (sender, receiver) = watch::channel(false);
            self.handle.spawn(Arc::clone(&self.shared).run(sender));
            receiver
        });
        let mut is_bound = is_bound.clone();
        drop(bound);
        let ready =
            async { timeout(SUBSCRIBE_TIMEOUT, is_bound.wait_for(|is_bound| *is_bound)).await.is_ok() };
        if !self.handle.block_on(ready) {
            tracing::warn!(
                "results of exchange `{}` will be read once the broker can be reached",
                self.shared.exchange
            );
        }
        subscription
    }
}

impl Shared {
    async fn run(self: Arc<Self>, is_bound: watch::Sender<bool>) {
        let mut backoff = Backoff::new();
        loop {
            let ended = tokio::select! {
                biased;
                () = raised(self.is_closed.subscribe()) => return,
                ended = self.read(&is_bound, &mut backoff) => ended,
            };
            if let Err(error) = ended {
                tracing::warn!("results of exchange `{}` are not read: {error}", self.exchange);
            }
            if is_bound.send_replace(false) {
                self.readers.mark_gap();
            }
            backoff.pause().await;
        }
    }

    async fn read(&self, is_bound: &watch::Sender<bool>, backoff: &mut Backoff) -> Result<(), BusError> {
        let link = &self.link;
        let channel = link.channel().await?;
        declare_exchange(&self.exchange, link, &channel).await?;
        let own = QueueDeclareOptions::exclusive().auto_delete();
        let declared = channel.queue_declare("".into(), own, bounded(Some(MAX_QUEUED_RESULTS)));
        let queue = link.answer("declaring a queue of our own", declared).await?.name().clone();
        let exchange = short(&self.exchange)?;
        let bound = channel.queue_bind(
            queue.clone(),
            exchange,
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        link.answer("binding it", bound).await?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let mut consumer = link.answer("consuming results", consumer).await?;
        is_bound.send_replace(true);
        backoff.reset();
        while let Some(delivered) = consumer.next().await {
            let delivery = delivered.map_err(|error| link.explain("reading results", &error))?;
            match ResultMessage::read(&delivery.data, &delivery.properties) {
                Ok(Some(message)) => self.readers.publish(message)?,
                Ok(None) => {}
                // Somebody else's: the exchange is public.
                Err(error) => {
                    tracing::warn!("a result of exchange `{}` cannot be read: {error}", self.exchange);
                }
            }
        }
        Ok(())
    }
}
