//! What `htmengine doctor` finds at the broker. Looks only: nothing is declared.

use tokio::runtime::Handle;

use super::link::{BrokerError, Link, NOT_FOUND};
use super::topology::QueueSpec;
use super::{RabbitBus, RabbitSettings, specs};
use crate::bus::BusError;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerFinding {
    /// What: `broker`, or `queue` and a name.
    pub subject: String,
    /// Whether nothing has to be done about it.
    pub is_good: bool,
    /// What was found and, if it is not good, what to do.
    pub says: String,
}

impl RabbitBus {
    /// Connects with these settings and looks at the queues: how much waits, and who reads.
    ///
    /// # Panics
    /// If called from within the runtime.
    pub fn check(settings: &RabbitSettings, runtime: &Handle) -> Vec<BrokerFinding> {
        runtime.block_on(look(settings))
    }
}

async fn look(settings: &RabbitSettings) -> Vec<BrokerFinding> {
    let RabbitSettings { host, port, virtual_host, user, .. } = settings;
    let link = Link::new(settings, "doctor");
    let broker = match link.channel().await {
        Ok(_) => finding(
            "broker",
            true,
            format!("RabbitMQ at {host}:{port}, virtual host `{virtual_host}`, user `{user}`"),
        ),
        Err(error) => return vec![finding("broker", false, refused(settings, &error.error))],
    };
    let mut findings = vec![broker];
    let rejected = QueueSpec::rejected(&settings.data_queue);
    for spec in specs(settings).iter().chain([&rejected]) {
        findings.push(look_at_queue(&link, spec, *spec == rejected).await);
    }
    link.close().await;
    findings
}

async fn look_at_queue(link: &Link, spec: &QueueSpec, is_rejected: bool) -> BrokerFinding {
    let subject = format!("queue {}", spec.name);
    // A fresh channel each time: the broker closes it when the answer is no.
    let state = match link.channel().await {
        Ok(channel) => spec.look(link, &channel).await,
        Err(error) => Err(error),
    };
    match state {
        Ok(state) if is_rejected && state.ready > 0 => {
            let says = format!(
                "{} messages could not be read; each says why in its header `reason`: look at them, then purge the queue",
                state.ready
            );
            finding(&subject, false, says)
        }
        Ok(_) if is_rejected => finding(&subject, true, "empty".to_owned()),
        Ok(state) => match declared_alike(link, spec).await {
            Ok(()) => finding(
                &subject,
                true,
                format!("{} messages wait, {} consumers", state.ready, state.consumers),
            ),
            Err(error) => finding(&subject, false, error.error.to_string()),
        },
        Err(BrokerError { code: Some(NOT_FOUND), .. }) => {
            finding(&subject, true, "not there yet; it is made when it is first needed".to_owned())
        }
        Err(error) => finding(&subject, false, error.error.to_string()),
    }
}

/// Declaring a queue that exists changes nothing, and fails if it differs.
async fn declared_alike(link: &Link, spec: &QueueSpec) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    spec.declare(link, &channel).await.map(|_| ())
}

fn refused(settings: &RabbitSettings, error: &BusError) -> String {
    match error {
        BusError::Transient { reason } => format!(
            "{reason}; is RabbitMQ running there? Start it, or correct host and port in rabbitmq.conf (now {}:{})",
            settings.host, settings.port
        ),
        BusError::Refused { .. } | BusError::Closed | BusError::Lagged { .. } => error.to_string(),
    }
}

fn finding(subject: &str, is_good: bool, says: String) -> BrokerFinding {
    BrokerFinding { subject: subject.to_owned(), is_good, says }
}
