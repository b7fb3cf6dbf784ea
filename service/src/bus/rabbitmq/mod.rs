//! The bus over RabbitMQ, for roles that run as processes of their own.

use std::fmt;

use super::message::{DataMessage, ModelHint, ModelOutput, ResultMessage};
use super::{Bus, BusError, Fanout, Queue};

/// Where the broker is and what its queues are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RabbitSettings {
    /// Host name or address.
    pub host: String,
    /// AMQP port.
    pub port: u16,
    /// Virtual host, `/` by default.
    pub virtual_host: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
    /// Whether to speak TLS.
    pub use_tls: bool,
    /// Queue of the listener's lines.
    pub data_queue: String,
    /// Queue of hints to the scheduler.
    pub hints_queue: String,
    /// Queue of the scheduler's scores.
    pub scores_queue: String,
    /// Fanout exchange of finished results.
    pub results_exchange: String,
}

impl Default for RabbitSettings {
    /// The original's template.
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 5672,
            virtual_host: "/".to_owned(),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            use_tls: false,
            data_queue: "htmengine.metric.custom.data".to_owned(),
            hints_queue: "htmengine.mswapper.scheduler.notification".to_owned(),
            scores_queue: "htmengine.mswapper.results".to_owned(),
            results_exchange: "htmengine.model.results".to_owned(),
        }
    }
}

/// The bus.
pub struct RabbitBus {}

impl fmt::Debug for RabbitBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RabbitBus").finish_non_exhaustive()
    }
}

impl RabbitBus {
    /// Connects.
    ///
    /// # Errors
    /// [`BusError`] from the broker.
    pub fn connect(_settings: &RabbitSettings, _runtime: &tokio::runtime::Handle) -> Result<Self, BusError> {
        Err(BusError::Transient { reason: "not built yet".to_owned() })
    }
}

impl Bus for RabbitBus {
    fn data(&self) -> &dyn Queue<DataMessage> {
        unreachable!()
    }

    fn hints(&self) -> &dyn Queue<ModelHint> {
        unreachable!()
    }

    fn scores(&self) -> &dyn Queue<ModelOutput> {
        unreachable!()
    }

    fn results(&self) -> &dyn Fanout<ResultMessage> {
        unreachable!()
    }
}
