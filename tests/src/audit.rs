//! A reader of results that misses nothing: a durable queue of its own at the exchange, as a third party has it.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::ZlibDecoder;
use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::repository::Repository;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

use crate::load::Load;
use crate::private_mariadb::runtime;
use crate::published::Published;
use crate::waiting::wait_for;

const QUEUE: &str = "audit";

/// The reader.
pub struct Audit {
    settings: RabbitSettings,
}

impl Audit {
    /// From now on every result is kept for it.
    ///
    /// # Panics
    /// If the broker refuses, or results are published without their detection scores.
    pub fn start(settings: &RabbitSettings) -> Self {
        assert!(settings.extended_results, "detection scores are looked for, too");
        runtime().block_on(declare(settings));
        Self { settings: settings.clone() }
    }

    /// Whether every row in the database was published, with the time, the value and the scores it has there and, when it
    /// first was, in its order, and every model announced.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check(&self, load: &Load, repository: &dyn Repository) {
        let (mut published, mut defined) = (Published::default(), BTreeMap::<String, usize>::new());
        wait_for("every row among the results", || {
            for (is_command, body) in runtime().block_on(receive(&self.settings)) {
                if is_command {
                    assert_eq!((&body["method"], &body["status"]), (&"defineModel".into(), &0.into()));
                    let name = body["modelInfo"]["metricName"].as_str().expect("a name");
                    *defined.entry(name.to_owned()).or_default() += 1;
                } else {
                    published.note(&body);
                }
            }
            published.is_complete(load).then_some(())
        });
        published.check(load, repository);
        for name in load.names() {
            assert!(defined.get(name).is_some_and(|count| *count > 0), "{name} was announced");
        }
    }
}

async fn open(settings: &RabbitSettings) -> (Connection, Channel) {
    let vhost = settings.virtual_host.replace('/', "%2f");
    let (user, password, host, port) = (&settings.user, &settings.password, &settings.host, settings.port);
    let url = format!("amqp://{user}:{password}@{host}:{port}/{vhost}");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

async fn declare(settings: &RabbitSettings) {
    let (connection, channel) = open(settings).await;
    let exchange = settings.results_exchange.as_str();
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(exchange.into(), ExchangeKind::Fanout, durable, FieldTable::default())
        .await
        .expect("an exchange");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await.expect("a queue");
    let plain = QueueBindOptions::default();
    channel
        .queue_bind(QUEUE.into(), exchange.into(), "".into(), plain, FieldTable::default())
        .await
        .expect("bound");
    connection.close(200, "".into()).await.expect("closed");
}

/// Takes what waits: whether it is the result of a command, and its JSON.
async fn receive(settings: &RabbitSettings) -> Vec<(bool, Value)> {
    let (connection, channel) = open(settings).await;
    let mut messages = Vec::new();
    while let Some(message) =
        channel.basic_get(QUEUE.into(), BasicGetOptions::default()).await.expect("a queue")
    {
        let delivery = message.delivery;
        let mut text = String::new();
        ZlibDecoder::new(&*delivery.data).read_to_string(&mut text).expect("zlib");
        let headers = delivery.properties.headers().as_ref();
        let is_command = headers.is_some_and(|headers| headers.inner().contains_key("dataType"));
        messages.push((is_command, serde_json::from_str(&text).expect("JSON")));
        delivery.acker.ack(BasicAckOptions::default()).await.expect("acknowledged");
    }
    connection.close(200, "".into()).await.expect("closed");
    messages
}
