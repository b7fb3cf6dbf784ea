//! The queues and the exchange: what they are called and how they are declared, exactly as htmengine declared them.
//!
//! | object | durable | arguments |
//! |---|---|---|
//! | data queue | yes | none |
//! | hints queue | no | none |
//! | scores queue | yes | none |
//! | results exchange, fanout | yes | none |
//! | `<results exchange>.alerts`, ours, fanout; made by the first alert | yes | none |
//! | `<data queue>.rejected`, ours | yes | `x-max-length`, `x-overflow` = `drop-head` |
//!
//! Source: `message_bus_connector.py` of nta.utils. Departures: the queue of rejected messages, the exchange of alerts.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::link::{BrokerError, Link, short};

/// Added to the name of the results exchange.
pub const ALERTS_SUFFIX: &str = ".alerts";
/// Added to the name of the data queue.
pub const REJECTED_SUFFIX: &str = ".rejected";
/// Rejected messages kept; the oldest give way.
pub const MAX_REJECTED_MESSAGES: u32 = 10_000;

/// One queue of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueSpec {
    /// Its name, which is also its routing key.
    pub(super) name: String,
    /// Whether it survives a restart of the broker.
    pub(super) is_durable: bool,
    /// Messages it may hold at the broker; `None` for any number.
    pub(super) max_length: Option<u32>,
}

/// How many messages wait in a queue and who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueState {
    /// Ready messages: not delivered to anyone.
    pub(super) ready: u32,
    /// Consumers.
    pub(super) consumers: u32,
}

impl QueueSpec {
    /// A durable queue without arguments.
    pub(super) fn durable(name: &str) -> Self {
        Self { name: name.to_owned(), is_durable: true, max_length: None }
    }

    /// A queue that is gone when the broker restarts.
    pub(super) fn transient(name: &str) -> Self {
        Self { is_durable: false, ..Self::durable(name) }
    }

    /// The queue of messages that could not be read.
    pub(super) fn rejected(data_queue: &str) -> Self {
        let name = format!("{data_queue}{REJECTED_SUFFIX}");
        Self { name, is_durable: true, max_length: Some(MAX_REJECTED_MESSAGES) }
    }

    /// Makes it if it is missing.
    pub(super) async fn declare(&self, link: &Link, channel: &Channel) -> Result<QueueState, BrokerError> {
        let options = QueueDeclareOptions { durable: self.is_durable, ..QueueDeclareOptions::default() };
        self.ask(link, channel, options, bounded(self.max_length)).await
    }

    /// Looks at it without making it; a channel is closed by the broker if the queue is missing.
    pub(super) async fn look(&self, link: &Link, channel: &Channel) -> Result<QueueState, BrokerError> {
        let options = QueueDeclareOptions::default().passive();
        self.ask(link, channel, options, FieldTable::default()).await
    }

    async fn ask(
        &self,
        link: &Link,
        channel: &Channel,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<QueueState, BrokerError> {
        let doing = format!("declaring queue `{}`", self.name);
        let queue =
            link.answer(&doing, channel.queue_declare(short(&self.name)?, options, arguments)).await?;
        Ok(QueueState { ready: queue.message_count(), consumers: queue.consumer_count() })
    }
}

/// The arguments of a queue that drops its oldest message when it is full.
pub(super) fn bounded(max_length: Option<u32>) -> FieldTable {
    let mut arguments = FieldTable::default();
    if let Some(max_length) = max_length {
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(i64::from(max_length)));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
    }
    arguments
}

/// Makes a durable fanout exchange if it is missing.
pub(super) async fn declare_exchange(name: &str, link: &Link, channel: &Channel) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let doing = format!("declaring exchange `{name}`");
    let declared =
        channel.exchange_declare(short(name)?, ExchangeKind::Fanout, options, FieldTable::default());
    link.answer(&doing, declared).await
}
