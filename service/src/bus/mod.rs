//! How roles hand work to each other: three queues and one fanout exchange behind a trait.
//!
//! Flow: listener -> `data` -> storer -> `hints` -> scheduler -> `scores` -> anomaly -> `results` -> readers.
//!
//! Invariants:
//! - A queue delivers in publishing order and at least once; a message is gone only after
//!   [`Queue::acknowledge`]. Handling a message twice must equal handling it once.
//! - Every queue is bounded. `publish` waits for room, `try_publish` hands the message back.
//! - Nothing here is the truth: the repository's rows are. A lost hint costs time, never a score.
//!
//! [`memory`] is the embedded default. RabbitMQ is the same trait over another transport.

pub mod memory;
pub mod message;
pub mod rabbitmq;
pub mod wire;

use std::fmt;
use std::time::Duration;

use self::message::{DataMessage, ModelHint, ModelOutput, ResultMessage};

/// The four meeting points of the roles.
pub trait Bus: Send + Sync {
    /// Batches of framed, unparsed lines: listener to storer.
    fn data(&self) -> &dyn Queue<DataMessage>;
    /// "This model has new rows": storer to scheduler. May be lost or repeated.
    fn hints(&self) -> &dyn Queue<ModelHint>;
    /// Scores of stepped rows, and what became of models: scheduler to anomaly.
    fn scores(&self) -> &dyn Queue<ModelOutput>;
    /// Finished rows, and what became of models: anomaly to whoever listens.
    fn results(&self) -> &dyn Fanout<ResultMessage>;

    /// Publishes a message of alerts where other programs get it, and waits up to `limit` until it is safe there.
    ///
    /// # Errors
    /// [`BusError::Refused`] where there is no such place, as in one process; else what the transport said. Then it may come
    /// all the same.
    fn publish_alert(&self, _body: Vec<u8>, _limit: Duration) -> Result<(), BusError> {
        Err(BusError::Refused {
            reason: "there is no broker to publish alerts at; name one with `broker` in the settings"
                .to_owned(),
        })
    }

    /// Closes all queues and the fanout at once, and waits, with a limit, until everything published is where it
    /// belongs. An orderly stop closes the queues one by one before, upstream first.
    fn close(&self) {
        self.data().close();
        self.hints().close();
        self.scores().close();
    }

    /// Messages that could not be read since the last call, for whoever counts what is refused. They are kept where
    /// a person can look at them.
    fn take_rejected(&self) -> Vec<RejectedMessage> {
        Vec::new()
    }
}

/// A bounded queue with acknowledgement.
pub trait Queue<T>: Send + Sync {
    /// Appends `message`, waiting for room.
    ///
    /// # Errors
    /// [`BusError::Closed`] once the queue was closed.
    fn publish(&self, message: T) -> Result<(), BusError>;

    /// Appends `message` if there is room, else hands it back.
    ///
    /// # Errors
    /// [`TryPublishError`] holds the message.
    fn try_publish(&self, message: T) -> Result<(), TryPublishError<T>>;

    /// Takes up to `limit` messages in order; waits up to `wait` for the first, never for the rest.
    /// An empty answer means that none came in time.
    ///
    /// # Errors
    /// [`BusError::Closed`] once the queue was closed *and* is empty: what was published is delivered.
    fn receive(&self, limit: usize, wait: Duration) -> Result<Vec<Delivery<T>>, BusError>;

    /// Forgets every delivered message up to and including `tag`.
    ///
    /// # Errors
    /// [`BusError`] when the transport failed. The messages will then be delivered again or, where only this could not be
    /// done yet, forgotten by a later [`Queue::receive`]; nobody has to repeat it.
    fn acknowledge(&self, tag: DeliveryTag) -> Result<(), BusError>;

    /// No more publishing; receivers drain what is left.
    fn close(&self);

    /// Waits up to `limit` until everything published here is safe where it belongs; whether it is.
    fn settle(&self, _limit: Duration) -> bool {
        true
    }

    /// Closes, and takes back what was published here and is not safe yet, oldest first, for whoever must end without a
    /// broker. It may arrive all the same.
    fn take_back(&self) -> Vec<T> {
        Vec::new()
    }

    /// Messages waiting, not counting delivered ones.
    fn depth(&self) -> usize;
}

/// An exchange that copies each message to every subscriber.
pub trait Fanout<T>: Send + Sync {
    /// Hands `message` to every subscriber. A subscriber that lags by more than its bound loses the oldest
    /// messages and is told how many (see [`Subscription::receive`]): readers never slow the engine down.
    ///
    /// # Errors
    /// [`BusError`] when the transport failed.
    fn publish(&self, message: T) -> Result<(), BusError>;

    /// A new subscriber, which sees every message published from now on.
    fn subscribe(&self) -> Box<dyn Subscription<T>>;
}

/// One reader of a [`Fanout`].
pub trait Subscription<T>: Send {
    /// The next message, or `None` if none came within `wait`.
    ///
    /// # Errors
    /// [`BusError::Lagged`] once for each gap, [`BusError::Closed`] when the exchange is gone and drained.
    fn receive(&mut self, wait: Duration) -> Result<Option<T>, BusError>;
}

/// Names one delivery of one queue; ascending in delivery order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryTag(pub u64);

/// A message and the tag to acknowledge it by.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery<T> {
    /// Acknowledge with this.
    pub tag: DeliveryTag,
    /// The message.
    pub message: T,
}

/// A message that could not be read. Its neighbours were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedMessage {
    /// The queue it came from.
    pub queue: String,
    /// What was found and what was expected.
    pub reason: String,
}

/// What can go wrong on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusError {
    /// The queue or exchange was closed: stop the role.
    Closed,
    /// This subscriber was too slow and lost so many messages.
    Lagged {
        /// Messages dropped for this subscriber. A gap of unknown size, after a lost connection, counts as one.
        lost: u64,
    },
    /// The broker cannot be reached; try again with back-off.
    Transient {
        /// What the transport said.
        reason: String,
    },
    /// The broker refuses what is asked: the credentials, the virtual host, a queue that was declared differently. It
    /// goes on refusing until somebody changes something.
    Refused {
        /// What was refused and what to do.
        reason: String,
    },
}

impl fmt::Display for BusError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(formatter, "the bus is closed"),
            Self::Lagged { lost } => {
                write!(
                    formatter,
                    "this reader was too slow and missed {lost} messages; read them from the database"
                )
            }
            Self::Transient { reason } => write!(formatter, "the bus cannot be reached: {reason}"),
            Self::Refused { reason } => formatter.write_str(reason),
        }
    }
}

impl std::error::Error for BusError {}

/// Why [`Queue::try_publish`] handed the message back.
#[derive(Debug)]
pub enum TryPublishError<T> {
    /// No room now; keep it and try again.
    Full(T),
    /// The queue is closed.
    Closed(T),
}
