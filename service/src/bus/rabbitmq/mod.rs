//! The bus over RabbitMQ, for roles that run as processes of their own.
//!
//! Two connections, one to publish and one to consume, so that a broker that holds back publishers does not hold back
//! acknowledgements. Each queue has a `publisher` and a `consumer`, tasks on the runtime of
//! [`crate::backends::start_runtime`]; roles call from plain threads and wait there.
//!
//! Invariants:
//! - Queues and exchange are declared as the original declared them (`topology`), so that both can use one broker.
//! - Whatever is lost on the way is published or delivered again: at least once, in order.
//! - An acknowledgement that must wait for a broker which holds back publishers is made up for by a later receive.
//! - The password is in no message and no log.
//!
//! What became of an outage: everything reconnects by itself, with pauses from [`link::FIRST_RETRY_DELAY`] to
//! [`link::MAX_RETRY_DELAY`]. Meanwhile publishing waits once the window is full, and receiving answers
//! [`BusError::Transient`].
//!
//! Source: `message_bus_connector.py` of nta.utils, which gave up after ten seconds.

pub mod check;
mod consumer;
pub mod depth_figures;
mod fanout;
mod link;
mod publisher;
mod queue;
mod reject_desk;
mod settings;
mod topology;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use tokio::runtime::Handle;

pub use self::check::BrokerFinding;
use self::consumer::ConsumerOptions;
pub use self::consumer::DRAIN_LIMIT;
use self::fanout::RabbitFanout;
use self::link::Link;
pub use self::link::{ANSWER_TIMEOUT, FIRST_RETRY_DELAY, HEARTBEAT_SECONDS, MAX_RETRY_DELAY};
pub use self::publisher::WINDOW_MESSAGES;
use self::publisher::{NotTaken, Outgoing, Publisher, Target};
use self::queue::RabbitQueue;
use self::reject_desk::RejectDesk;
pub use self::settings::{DEFAULT_MAX_DATA_MESSAGES, RabbitSettings};
pub use self::topology::{ALERTS_SUFFIX, MAX_REJECTED_MESSAGES, REJECTED_SUFFIX};
use self::topology::{QueueSpec, declare_exchange};
use self::transport::PERSISTENT;
use super::message::{DataMessage, ModelHint, ModelOutput, ResultMessage};
use super::{Bus, BusError, Fanout, Queue, RejectedMessage};

/// Data messages delivered and not acknowledged: two turns of the storer.
pub const DATA_PREFETCH: u16 = 400;
/// Hints delivered and not acknowledged.
pub const HINTS_PREFETCH: u16 = 4_096;
/// Score messages delivered and not acknowledged: a few turns of the anomaly role.
pub const SCORES_PREFETCH: u16 = 128;
/// While the scores queue holds so many messages, the scheduler waits.
pub const MAX_SCORE_MESSAGES: u32 = 10_000;
/// While the hints queue holds so many messages, whoever hints waits.
pub const MAX_HINTS: u32 = 1_000_000;

/// The bus.
pub struct RabbitBus {
    handle: Handle,
    links: [Arc<Link>; 2],
    data: RabbitQueue<DataMessage>,
    hints: RabbitQueue<ModelHint>,
    scores: RabbitQueue<ModelOutput>,
    results: RabbitFanout,
    alerts: Publisher,
    desk: Arc<RejectDesk>,
}

impl fmt::Debug for RabbitBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RabbitBus")
            .field("settings", self.links[0].settings())
            .finish_non_exhaustive()
    }
}

impl RabbitBus {
    /// Connects, and declares queues and exchange that are missing. One attempt; all later ones are made by the bus.
    ///
    /// # Errors
    /// [`BusError::Transient`] if the broker is away, [`BusError::Refused`] if it refuses the credentials, the virtual
    /// host, or one of our queues because it was declared differently.
    ///
    /// # Panics
    /// If called from within the runtime.
    pub fn connect(settings: &RabbitSettings, runtime: &Handle) -> Result<Self, BusError> {
        let publishing = Arc::new(Link::new(settings, "publishing"));
        let consuming = Arc::new(Link::new(settings, "consuming"));
        runtime.block_on(declare_all(settings, &publishing))?;
        let links = [&publishing, &consuming];
        let desk = Arc::new(RejectDesk::new(runtime, &publishing, &settings.data_queue));
        let results = RabbitFanout::new(runtime, links, settings);
        let [data, hints, scores] = specs(settings);
        let options = |spec, prefetch, only_reader| ConsumerOptions { spec, prefetch, only_reader };
        let hints = RabbitQueue::new(
            runtime,
            links,
            options(hints, HINTS_PREFETCH, Some("scheduler")),
            Some(MAX_HINTS),
            &desk,
            // They are acknowledged when they are known, whatever comes of them.
            Vec::new(),
        );
        let scores = RabbitQueue::new(
            runtime,
            links,
            options(scores, SCORES_PREFETCH, Some("anomaly role")),
            Some(MAX_SCORE_MESSAGES),
            &desk,
            vec![Arc::clone(results.publisher())],
        );
        let data = RabbitQueue::new(
            runtime,
            links,
            options(data, DATA_PREFETCH, None),
            Some(settings.max_data_messages),
            &desk,
            vec![Arc::clone(hints.publisher())],
        );
        let exchange = format!("{}{ALERTS_SUFFIX}", settings.results_exchange);
        let alerts = Publisher::start(runtime, &publishing, Target::Fanout(exchange));
        Ok(Self {
            handle: runtime.clone(),
            links: [publishing, consuming],
            data,
            hints,
            scores,
            results,
            alerts,
            desk,
        })
    }

    fn close_all(&self) {
        self.data.close();
        self.hints.close();
        self.scores.close();
        self.results.close();
        self.alerts.close();
        let publishers = [
            (&self.alerts, "alert"),
            (self.data.publisher(), "data"),
            (self.hints.publisher(), "hint"),
            (self.scores.publisher(), "score"),
            (self.results.publisher(), "result"),
        ];
        for (publisher, what) in publishers {
            let is_settled =
                publisher.unconfirmed() == 0 || self.handle.block_on(publisher.settle(DRAIN_LIMIT));
            if !is_settled {
                tracing::warn!(
                    "{} {what} messages could not be published before the end",
                    publisher.unconfirmed()
                );
            }
        }
    }
}

impl Bus for RabbitBus {
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

    fn publish_alert(&self, body: Vec<u8>, limit: Duration) -> Result<(), BusError> {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into());
        let away = |what: &str| BusError::Transient { reason: what.to_owned() };
        match self.alerts.try_publish(|| Outgoing { body, properties }) {
            Ok(()) => {}
            Err(NotTaken::Closed) => return Err(BusError::Closed),
            Err(NotTaken::Full) => return Err(away("alerts wait for the broker already")),
        }
        if self.handle.block_on(self.alerts.settle(limit)) {
            return Ok(());
        }
        Err(away(&format!("the broker did not confirm an alert within {} s", limit.as_secs())))
    }

    fn close(&self) {
        self.close_all();
    }

    fn take_rejected(&self) -> Vec<RejectedMessage> {
        self.desk.drain()
    }
}

impl Drop for RabbitBus {
    /// Closes the bus and its connections, after a bounded wait for confirms.
    fn drop(&mut self) {
        if Handle::try_current().is_ok() {
            // A runtime must not be made to wait from within.
            tracing::warn!("the bus is dropped within the runtime: what was not confirmed may be lost");
            return;
        }
        self.close_all();
        self.desk.close();
        for link in &self.links {
            self.handle.block_on(link.close());
        }
    }
}

/// Data, hints and scores.
fn specs(settings: &RabbitSettings) -> [QueueSpec; 3] {
    [
        QueueSpec::durable(&settings.data_queue),
        QueueSpec::transient(&settings.hints_queue),
        QueueSpec::durable(&settings.scores_queue),
    ]
}

async fn declare_all(settings: &RabbitSettings, link: &Link) -> Result<(), BusError> {
    let channel = link.channel().await?;
    for spec in specs(settings) {
        spec.declare(link, &channel).await?;
    }
    declare_exchange(&settings.results_exchange, link, &channel).await?;
    Ok(())
}
