//! Messages that cannot be read: each is kept in the queue `<data queue>.rejected` with the reason, for a person to look
//! at, and reported to the storer, which counts it.
//!
//! The body is as it came; header `queue` says where from, `reason` why. The queue keeps the latest
//! [`super::topology::MAX_REJECTED_MESSAGES`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use tokio::runtime::Handle;

use super::link::{ANSWER_TIMEOUT, Link};
use super::publisher::{NotTaken, Outgoing, Publisher, Target};
use super::topology::QueueSpec;
use super::transport::PERSISTENT;
use crate::bus::{BusError, RejectedMessage};

/// Reports that wait for [`RejectDesk::drain`]; the oldest give way.
const MAX_REPORTS: usize = 1_024;

/// Where unreadable messages are handed in.
pub(super) struct RejectDesk {
    publisher: Publisher,
    reports: Mutex<VecDeque<RejectedMessage>>,
}

impl RejectDesk {
    /// For the process whose data queue is called so.
    pub(super) fn new(handle: &Handle, link: &Arc<Link>, data_queue: &str) -> Self {
        let target = Target::Queue { spec: QueueSpec::rejected(data_queue), max_ready: None };
        Self { publisher: Publisher::start(handle, link, target), reports: Mutex::default() }
    }

    /// Keeps the message; returns once the broker has confirmed it.
    pub(super) async fn reject(&self, queue: &str, body: Vec<u8>, reason: &str) -> Result<(), BusError> {
        tracing::warn!("a message of queue `{queue}` cannot be read and is rejected: {reason}");
        let mut headers = FieldTable::default();
        headers.insert("queue".into(), AMQPValue::LongString(queue.into()));
        headers.insert("reason".into(), AMQPValue::LongString(reason.into()));
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
        let unkept = |what: &str| {
            Err(BusError::Transient { reason: format!("a rejected message could not be kept: {what}") })
        };
        match self.publisher.try_publish(|| Outgoing { body, properties }) {
            Ok(()) => {}
            Err(NotTaken::Full) => return unkept("too many at once"),
            Err(NotTaken::Closed) => return unkept("the bus is closed"),
        }
        if !self.publisher.settle(ANSWER_TIMEOUT).await {
            return unkept("no confirmation in time");
        }
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() >= MAX_REPORTS {
            reports.pop_front();
        }
        reports.push_back(RejectedMessage { queue: queue.to_owned(), reason: reason.to_owned() });
        Ok(())
    }

    /// What was rejected since the last call.
    pub(super) fn drain(&self) -> Vec<RejectedMessage> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Keeps nothing more.
    pub(super) fn close(&self) {
        self.publisher.close();
    }
}
