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
use crate::stored::rows;
use crate::waiting::wait_for;

const QUEUE: &str = "audit";

/// The reader.
pub struct Audit {
    settings: RabbitSettings,
}

/// Raw and anomaly score of each row of a metric, as bits, from row 1 on and without a gap: a row that comes for the first time
/// is the one after all that came before.
type Published = BTreeMap<String, Vec<(u64, u64)>>;

impl Audit {
    /// From now on every result is kept for it.
    ///
    /// # Panics
    /// If the broker refuses.
    pub fn start(settings: &RabbitSettings) -> Self {
        runtime().block_on(declare(settings));
        Self { settings: settings.clone() }
    }

    /// Whether every row in the database was published, with the scores it has there and, when it first was, in its order,
    /// and every model announced.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check(&self, load: &Load, repository: &dyn Repository) {
        let (mut published, mut defined) = (Published::new(), BTreeMap::<String, usize>::new());
        wait_for("every row among the results", || {
            for (is_command, body) in runtime().block_on(receive(&self.settings)) {
                if is_command {
                    assert_eq!((&body["method"], &body["status"]), (&"defineModel".into(), &0.into()));
                    let name = body["modelInfo"]["metricName"].as_str().expect("a name");
                    *defined.entry(name.to_owned()).or_default() += 1;
                } else {
                    note(&mut published, &body);
                }
            }
            let is_complete =
                |name: &String| published.get(name).is_some_and(|rows| rows.len() == load.rows());
            load.names().iter().all(is_complete).then_some(())
        });
        for name in load.names() {
            let bits = |score: Option<f64>| score.expect("scored").to_bits();
            let stored: Vec<_> = rows(repository, name)
                .iter()
                .map(|row| (bits(row.raw_anomaly_score), bits(row.anomaly_score)))
                .collect();
            assert_eq!(published[name], stored, "{name}");
            assert!(defined.get(name).is_some_and(|count| *count > 0), "{name} was announced");
        }
    }
}

/// Published again after a crash or not: the scores of a row never differ, and no row comes before the one before it.
#[track_caller]
fn note(published: &mut Published, body: &Value) {
    let name = body["metric"]["name"].as_str().expect("a name");
    let rows = published.entry(name.to_owned()).or_default();
    for row in body["results"].as_array().expect("rows") {
        let bits = |key: &str| row[key].as_f64().expect("a number").to_bits();
        let scores = (bits("rawAnomaly"), bits("anomaly"));
        let row_id = row["rowid"].as_u64().and_then(|id| usize::try_from(id).ok()).expect("a row id");
        let at = row_id.checked_sub(1).expect("row ids begin with 1");
        if let Some(earlier) = rows.get(at) {
            assert_eq!(*earlier, scores, "{name}: row {row_id} came with other scores before");
        } else {
            assert_eq!(at, rows.len(), "{name}: row {row_id} came before row {}", rows.len() + 1);
            rows.push(scores);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn noted(row_ids: &[i64]) -> usize {
        let mut published = Published::new();
        for row_id in row_ids {
            let row = json!({"rowid": row_id, "rawAnomaly": 0.5, "anomaly": 0.25});
            note(&mut published, &json!({"metric": {"name": "cpu"}, "results": [row]}));
        }
        published["cpu"].len()
    }

    #[test]
    fn rows_may_come_again_in_any_place() {
        assert_eq!(noted(&[1, 2, 3, 2, 3, 4, 1, 5]), 5);
    }

    #[test]
    #[should_panic(expected = "row 3 came before row 2")]
    fn a_row_that_skips_ahead_is_found() {
        noted(&[1, 3, 2, 3]);
    }
}
