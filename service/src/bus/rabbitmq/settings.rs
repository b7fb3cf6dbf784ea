//! Where the broker is and what its queues are called.

use std::fmt;
use std::path::PathBuf;

/// Default of [`RabbitSettings::max_data_messages`]: 20 million lines in full messages.
pub const DEFAULT_MAX_DATA_MESSAGES: u32 = 100_000;

/// Where the broker is and what its queues are called.
#[derive(Clone, PartialEq, Eq)]
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
    /// Whether to speak TLS. Whom we speak to is then always verified.
    pub use_tls: bool,
    /// PEM file of authorities that may vouch for the broker, beside those of this machine.
    pub ca: Option<PathBuf>,
    /// Queue of the listener's lines.
    pub data_queue: String,
    /// Queue of hints to the scheduler.
    pub hints_queue: String,
    /// Queue of the scheduler's scores.
    pub scores_queue: String,
    /// Fanout exchange of finished results.
    pub results_exchange: String,
    /// While the data queue holds so many messages, the listener waits.
    pub max_data_messages: u32,
    /// Whether published rows carry the key `detection`. The original's schema allows no keys but its own, so not unless
    /// asked for.
    pub extended_results: bool,
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
            ca: None,
            data_queue: "htmengine.metric.custom.data".to_owned(),
            hints_queue: "htmengine.mswapper.scheduler.notification".to_owned(),
            scores_queue: "htmengine.mswapper.results".to_owned(),
            results_exchange: "htmengine.model.results".to_owned(),
            max_data_messages: DEFAULT_MAX_DATA_MESSAGES,
            extended_results: false,
        }
    }
}

impl fmt::Debug for RabbitSettings {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, virtual_host, user, use_tls, .. } = self;
        let scheme = if *use_tls { "amqps" } else { "amqp" };
        write!(
            formatter,
            "RabbitSettings({scheme}://{user}@{host}:{port}, virtual host {virtual_host}, queues {}, {}, {}, exchange {})",
            self.data_queue, self.hints_queue, self.scores_queue, self.results_exchange
        )
    }
}
