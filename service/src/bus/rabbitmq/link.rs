//! One connection to the broker, made when it is first needed and made again when it was lost.
//!
//! Whoever needs a channel asks for one, and asks again when that channel has failed: everything here that talks to the
//! broker is written as "do it over a fresh channel, on failure wait and do all of it again". lapin's own recovery is
//! not used: it gives up after a number of attempts, and it cannot tell which deliveries belong to which connection.

use std::time::Duration;

use lapin::protocol::constants;
use lapin::runtime::default_runtime;
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{ReplyCode, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::RabbitSettings;
use crate::bus::BusError;
use crate::tls;

/// Longest time that connecting, and any one answer of the broker, may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a sign of life for twice as long is lost. The broker may ask for less.
pub const HEARTBEAT_SECONDS: u16 = 30;
/// Pause after the first failure; doubles up to [`MAX_RETRY_DELAY`].
pub const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Longest such pause.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Reply code for a wrong password, and for a queue that another consumer has for itself.
pub(super) const ACCESS_REFUSED: ReplyCode = 403;
/// Reply code for a queue that does not exist.
pub(super) const NOT_FOUND: ReplyCode = 404;
/// Reply code for a queue or exchange that was declared differently.
const PRECONDITION_FAILED: ReplyCode = 406;
/// Reply code of a connection that is refused: unknown virtual host, or no permission for it.
const NOT_ALLOWED: ReplyCode = 530;

/// A failure, with the reply code if it was the broker's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokerError {
    /// See the specification of AMQP 0-9-1, section 1.2.
    pub(super) code: Option<ReplyCode>,
    /// What it means to a role.
    pub(super) error: BusError,
}

impl From<BrokerError> for BusError {
    fn from(error: BrokerError) -> Self {
        error.error
    }
}

impl From<BusError> for BrokerError {
    fn from(error: BusError) -> Self {
        Self { code: None, error }
    }
}

/// A connection for one purpose.
pub(super) struct Link {
    settings: RabbitSettings,
    purpose: &'static str,
    connection: Mutex<Option<Connection>>,
}

impl Link {
    /// Not connected yet. `purpose` is shown to who looks at the broker's connections.
    pub(super) fn new(settings: &RabbitSettings, purpose: &'static str) -> Self {
        Self { settings: settings.clone(), purpose, connection: Mutex::new(None) }
    }

    /// A fresh channel, over a fresh connection if there is none that works.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_none_or(|connection| !connection.status().connected()) {
            *connection = None;
            *connection = Some(self.connect().await?);
        }
        let connection = connection.as_ref().expect("connected above");
        self.answer("opening a channel", connection.create_channel()).await
    }

    /// Waits for the broker's answer to `doing`, with a limit.
    pub(super) async fn answer<T>(
        &self,
        doing: &str,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, BrokerError> {
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.explain(doing, &error)),
            Err(_) => Err(self.transient(doing, &format!("no answer in {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    /// The settings, for messages.
    pub(super) fn settings(&self) -> &RabbitSettings {
        &self.settings
    }

    /// Says the broker's goodbye, if it still listens.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // A connection that cannot be closed is gone already.
            let _ =
                timeout(ANSWER_TIMEOUT, connection.close(constants::REPLY_SUCCESS, "stopped".into())).await;
        }
    }

    /// What a failure means to a role.
    pub(super) fn explain(&self, doing: &str, error: &lapin::Error) -> BrokerError {
        let RabbitSettings { host, port, virtual_host, user, .. } = &self.settings;
        if let ErrorKind::IOError(error) = error.kind()
            && tls::is_distrust(error)
        {
            let reason = format!(
                "TLS with the broker at {host}:{port} failed: {error}; name its authority's certificate with ca=FILE in \
                 the broker's address, and call it by a name that its certificate has"
            );
            return BrokerError { code: None, error: BusError::Refused { reason } };
        }
        let ErrorKind::ProtocolError(said) = error.kind() else {
            return self.transient(doing, &error.to_string());
        };
        let code = Some(said.get_id());
        let text = said.get_message();
        let reason = match said.get_id() {
            ACCESS_REFUSED if doing == CONNECTING => format!(
                "the broker at {host}:{port} refuses user `{user}` or its password ({text}); correct the \
                 credentials in rabbitmq.conf, or add the user with `rabbitmqctl add_user`"
            ),
            NOT_ALLOWED => format!(
                "the broker at {host}:{port} has no virtual host `{virtual_host}` that user `{user}` may use \
                 ({text}); correct virtual_host in rabbitmq.conf, or use `rabbitmqctl add_vhost` and \
                 `rabbitmqctl set_permissions`"
            ),
            PRECONDITION_FAILED => format!(
                "{doing}: it exists on {host}:{port}, virtual host `{virtual_host}`, but was declared \
                 differently ({text}); delete it there once it is empty, or configure another name"
            ),
            _ => return BrokerError { code, ..self.transient(doing, &error.to_string()) },
        };
        BrokerError { code, error: BusError::Refused { reason } }
    }

    fn transient(&self, doing: &str, what: &str) -> BrokerError {
        let RabbitSettings { host, port, .. } = &self.settings;
        let reason = format!("{doing} at RabbitMQ {host}:{port}: {what}");
        BrokerError { code: None, error: BusError::Transient { reason } }
    }

    async fn connect(&self) -> Result<Connection, BrokerError> {
        let settings = &self.settings;
        let uri = AMQPUri {
            scheme: if settings.use_tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: settings.user.clone(),
                    password: settings.password.clone(),
                },
                host: settings.host.clone(),
                port: settings.port,
            },
            vhost: settings.virtual_host.clone(),
            query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECONDS), ..AMQPQueryString::default() },
        };
        let name = format!("htmengine {} (process {})", self.purpose, std::process::id());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = default_runtime().map_err(|error| self.explain(CONNECTING, &error))?;
        let tls = self.tls_config()?;
        let connecting = Connection::connect_uri_with_config(uri, properties, tls, runtime);
        self.answer(CONNECTING, connecting).await
    }

    /// Authorities that this machine does not know, read anew for each connection, as they are renewed.
    fn tls_config(&self) -> Result<OwnedTLSConfig, BrokerError> {
        let Some(file) = self.settings.ca.as_ref().filter(|_| self.settings.use_tls) else {
            return Ok(OwnedTLSConfig::default());
        };
        let refused = |reason| BrokerError {
            code: None,
            error: BusError::Refused { reason: format!("the broker's authorities (ca=): {reason}") },
        };
        tls::read_certificates(file).map_err(refused)?;
        let text = String::from_utf8(tls::read_pem(file).map_err(refused)?);
        let text = text.map_err(|_| refused(format!("{} is no text", file.display())))?;
        Ok(OwnedTLSConfig { cert_chain: Some(text), ..OwnedTLSConfig::default() })
    }
}

const CONNECTING: &str = "connecting";

/// Pauses between attempts, longer and longer.
pub(super) struct Backoff {
    delay: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { delay: FIRST_RETRY_DELAY }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.delay = FIRST_RETRY_DELAY;
    }

    /// After a failure.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.delay).await;
        self.delay = (self.delay * 2).min(MAX_RETRY_DELAY);
    }
}

/// Waits until `signal` is raised, or nobody is left to raise it.
pub(super) async fn raised(mut signal: watch::Receiver<bool>) {
    // An error is the latter.
    let _ = signal.wait_for(|is_raised| *is_raised).await;
}

/// A name as the protocol carries it.
///
/// # Errors
/// [`BusError::Refused`] for one that is longer than 255 bytes.
pub(super) fn short(name: &str) -> Result<ShortString, BusError> {
    ShortString::try_new(name).map_err(|error| BusError::Refused {
        reason: format!(
            "`{name}` cannot be the name of a queue or exchange: {error}; configure a shorter one"
        ),
    })
}
