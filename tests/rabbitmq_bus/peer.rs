//! What the tests share: a bus with the runtime it needs, and a third party that talks to the broker by itself.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use htm_core::ids::ModelId;
use htm_tests::waiting::wait_for;
use htmengine::backends::start_runtime;
use htmengine::bus::message::{DataMessage, ModelHint};
use htmengine::bus::rabbitmq::{RabbitBus, RabbitSettings};
use htmengine::bus::{BusError, Queue};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::runtime::Runtime;

/// Long enough for one message on any machine; waits end as soon as it is there.
pub(crate) const WAIT: Duration = Duration::from_millis(200);

/// The runtime of all buses and peers of this process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| start_runtime().expect("a runtime"))
}

/// A bus over these settings.
#[track_caller]
pub(crate) fn connect(settings: &RabbitSettings) -> RabbitBus {
    RabbitBus::connect(settings, runtime().handle()).unwrap_or_else(|error| panic!("{error}"))
}

/// A message of these lines.
pub(crate) fn lines<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> DataMessage {
    DataMessage::new(lines.into_iter().map(|line| line.as_ref().to_vec()).collect())
}

/// A hint at this model.
pub(crate) fn hint(id: &str) -> ModelHint {
    ModelHint { model_id: ModelId::new(id).expect("an id"), is_changed: false }
}

/// Receives until `count` messages are there, without acknowledging. An outage meanwhile is waited for.
#[track_caller]
pub(crate) fn receive<T>(queue: &dyn Queue<T>, count: usize) -> Vec<htmengine::bus::Delivery<T>> {
    let mut received = Vec::new();
    wait_for("messages", || {
        match queue.receive(count - received.len(), WAIT) {
            Ok(deliveries) => received.extend(deliveries),
            Err(BusError::Transient { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        (received.len() >= count).then_some(())
    });
    received
}

/// A message as the third party sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
}

impl Seen {
    /// The headers that are text.
    pub(crate) fn headers(&self) -> BTreeMap<String, String> {
        let headers = self.properties.headers().clone().unwrap_or_default();
        headers
            .into_iter()
            .map(|(name, value)| {
                let AMQPValue::LongString(text) = value else { panic!("header {name} is {value:?}") };
                (name.to_string(), text.to_string())
            })
            .collect()
    }
}

/// A client of its own.
pub(crate) struct Peer {
    connection: Connection,
}

impl Peer {
    pub(crate) fn new(settings: &RabbitSettings) -> Self {
        let RabbitSettings { host, port, virtual_host, .. } = settings;
        let uri = format!("amqp://guest:guest@{host}:{port}/{virtual_host}");
        let connected = Connection::connect(&uri, ConnectionProperties::default());
        Self { connection: runtime().block_on(connected).expect("a running broker") }
    }

    fn channel(&self) -> Channel {
        runtime().block_on(self.connection.create_channel()).expect("a channel")
    }

    /// Publishes to a queue, as the seeds do: persistent, confirmed.
    pub(crate) fn publish(&self, queue: &str, body: &[u8]) {
        let channel = self.channel();
        let properties = BasicProperties::default().with_delivery_mode(2);
        runtime().block_on(async {
            channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let sent = channel.basic_publish("".into(), queue.into(), options, body, properties).await;
            let confirmation = sent.expect("sent").await.expect("confirmed");
            assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "{queue} took it");
        });
    }

    /// Takes the next message of a queue, waiting for it.
    #[track_caller]
    pub(crate) fn take(&self, queue: &str) -> Seen {
        let channel = self.channel();
        wait_for("a message", || {
            let got = channel.basic_get(queue.into(), BasicGetOptions::default());
            let delivery = runtime().block_on(got).expect("an answer")?.delivery;
            runtime().block_on(delivery.acker.ack(BasicAckOptions::default())).expect("acknowledged");
            Some(Seen { body: delivery.data, properties: delivery.properties })
        })
    }

    /// Ready messages and consumers.
    pub(crate) fn look(&self, queue: &str) -> (u32, u32) {
        let passive = QueueDeclareOptions::default().passive();
        let declared =
            self.channel().queue_declare(queue.into(), passive, FieldTable::default()).await_here();
        let queue = declared.expect("the queue exists");
        (queue.message_count(), queue.consumer_count())
    }

    /// Declares a queue; an error if it exists and is different.
    pub(crate) fn declare(&self, queue: &str, durable: bool) -> lapin::Result<()> {
        let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
        self.channel().queue_declare(queue.into(), options, FieldTable::default()).await_here().map(|_| ())
    }

    /// Declares an exchange; an error if it exists and is different.
    pub(crate) fn declare_exchange(
        &self,
        name: &str,
        kind: ExchangeKind,
        durable: bool,
    ) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
        self.channel().exchange_declare(name.into(), kind, options, FieldTable::default()).await_here()
    }

    /// A queue that sees what is published to an exchange from now on.
    pub(crate) fn bind(&self, exchange: &str) -> String {
        let channel = self.channel();
        runtime().block_on(async {
            let options = QueueDeclareOptions::exclusive();
            let queue =
                channel.queue_declare("".into(), options, FieldTable::default()).await.expect("a queue");
            let name = queue.name().clone();
            let options = QueueBindOptions::default();
            let bound =
                channel.queue_bind(name.clone(), exchange.into(), "".into(), options, FieldTable::default());
            bound.await.expect("bound");
            name.to_string()
        })
    }

    /// Deletes a queue.
    pub(crate) fn delete(&self, queue: &str) {
        self.channel()
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await_here()
            .expect("deleted");
    }
}

trait AwaitHere: Future + Sized {
    fn await_here(self) -> Self::Output {
        runtime().block_on(self)
    }
}

impl<F: Future> AwaitHere for F {}
