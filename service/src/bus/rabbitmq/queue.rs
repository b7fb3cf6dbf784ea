//! One queue as roles see it: a publisher and a consumer of the same name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lapin::Channel;
use tokio::runtime::Handle;

use super::consumer::{Consumer, ConsumerOptions};
use super::link::{ANSWER_TIMEOUT, Link};
use super::publisher::{NotTaken, Outgoing, Publisher, Target};
use super::reject_desk::RejectDesk;
use super::topology::QueueSpec;
use super::transport::Transport;
use crate::bus::{BusError, Delivery, DeliveryTag, Queue, TryPublishError};

/// [`Queue::depth`] asks the broker at most this often.
const DEPTH_FRESH: Duration = Duration::from_millis(200);
/// Longest such question.
const DEPTH_TIMEOUT: Duration = Duration::from_secs(1);

/// A queue at the broker.
pub(super) struct RabbitQueue<T> {
    handle: Handle,
    link: Arc<Link>,
    spec: QueueSpec,
    publisher: Arc<Publisher>,
    consumer: Consumer<T>,
    /// Whose messages must be confirmed before one of this queue is acknowledged.
    settled_first: Vec<Arc<Publisher>>,
    /// Up to which delivery an acknowledgement is owed that waited for them in vain. The connection on which it came may
    /// stay, and then nothing of it comes again: without it a full prefetch would end the reading.
    owed: Mutex<Option<DeliveryTag>>,
    depth: Mutex<DepthDesk>,
}

/// What was last known of the depth.
#[derive(Default)]
struct DepthDesk {
    channel: Option<Channel>,
    ready: u32,
    asked_at: Option<Instant>,
}

impl<T: Transport> RabbitQueue<T> {
    /// Publishes over `publishing` and consumes over `consuming`.
    pub(super) fn new(
        handle: &Handle,
        [publishing, consuming]: [&Arc<Link>; 2],
        options: ConsumerOptions,
        max_ready: Option<u32>,
        desk: &Arc<RejectDesk>,
        settled_first: Vec<Arc<Publisher>>,
    ) -> Self {
        let spec = options.spec.clone();
        let target = Target::Queue { spec: spec.clone(), max_ready };
        let publisher = Arc::new(Publisher::start(handle, publishing, target));
        Self {
            handle: handle.clone(),
            link: Arc::clone(consuming),
            spec,
            consumer: Consumer::new(handle, consuming, options, &publisher, desk),
            publisher,
            settled_first,
            owed: Mutex::default(),
            depth: Mutex::default(),
        }
    }

    /// Its publisher, for queues that wait for it.
    pub(super) fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    fn owed(&self) -> MutexGuard<'_, Option<DeliveryTag>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acknowledges what is owed once everything that was published because of it is confirmed.
    fn pay(&self) {
        let mut owed = self.owed();
        let Some(tag) = *owed else { return };
        if self.settled_first.iter().any(|publisher| publisher.unconfirmed() > 0) {
            return;
        }
        *owed = None;
        match self.consumer.acknowledge(tag) {
            Ok(()) => tracing::info!("messages of queue `{}` are acknowledged after all", self.spec.name),
            // Of a lost connection: they come again.
            Err(error) => tracing::debug!("an acknowledgement is owed no longer: {error}"),
        }
    }

    async fn ask(&self, desk: &mut DepthDesk) -> Result<u32, BusError> {
        let channel = match desk.channel.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.link.channel().await?,
        };
        let ready = self.spec.look(&self.link, &channel).await?.ready;
        desk.channel = Some(channel);
        Ok(ready)
    }
}

impl<T: Transport> Queue<T> for RabbitQueue<T> {
    fn publish(&self, message: T) -> Result<(), BusError> {
        self.publisher.publish(message.outgoing())
    }

    fn try_publish(&self, message: T) -> Result<(), TryPublishError<T>> {
        match self.publisher.try_publish(|| message.outgoing()) {
            Ok(()) => Ok(()),
            Err(NotTaken::Full) => Err(TryPublishError::Full(message)),
            Err(NotTaken::Closed) => Err(TryPublishError::Closed(message)),
        }
    }

    fn receive(&self, limit: usize, wait: Duration) -> Result<Vec<Delivery<T>>, BusError> {
        self.pay();
        self.consumer.receive(limit, wait)
    }

    fn acknowledge(&self, tag: DeliveryTag) -> Result<(), BusError> {
        for publisher in &self.settled_first {
            if publisher.unconfirmed() > 0 && !self.handle.block_on(publisher.settle(ANSWER_TIMEOUT)) {
                let reason = format!(
                    "messages of queue `{}` are not acknowledged yet: what was published because of them is not \
                     confirmed; they are once it is (is the broker short of memory or disk?)",
                    self.spec.name
                );
                let mut owed = self.owed();
                *owed = (*owed).max(Some(tag));
                return Err(BusError::Transient { reason });
            }
        }
        // This one stands for all before it.
        self.owed().take_if(|owed| *owed <= tag);
        self.consumer.acknowledge(tag)
    }

    fn close(&self) {
        self.publisher.close();
        self.consumer.close();
    }

    fn settle(&self, limit: Duration) -> bool {
        self.publisher.unconfirmed() == 0 || self.handle.block_on(self.publisher.settle(limit))
    }

    fn take_back(&self) -> Vec<T> {
        self.close();
        let outgoing = self.handle.block_on(self.publisher.take_back());
        // Written here, so that all can be read.
        let read = |it: Outgoing| T::read(&it.body, &it.properties).ok().flatten();
        outgoing.into_iter().filter_map(read).collect()
    }

    /// Of the broker, asked a moment ago, with what is on its way in this process. While the broker is away, what was
    /// last known.
    fn depth(&self) -> usize {
        let mut desk = self.depth.lock().unwrap_or_else(PoisonError::into_inner);
        if desk.asked_at.is_none_or(|at| at.elapsed() >= DEPTH_FRESH) {
            let asked = async { tokio::time::timeout(DEPTH_TIMEOUT, self.ask(&mut desk)).await };
            if let Ok(Ok(ready)) = self.handle.block_on(asked) {
                desk.ready = ready;
            }
            desk.asked_at = Some(Instant::now());
        }
        let unconfirmed = usize::try_from(self.publisher.unconfirmed()).unwrap_or(usize::MAX);
        let ready = usize::try_from(desk.ready).unwrap_or(usize::MAX);
        ready.saturating_add(unconfirmed).saturating_add(self.consumer.ready_count())
    }
}
