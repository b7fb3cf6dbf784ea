//! Every setting there is: name, type, and how layers are laid over one another.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::access::shown_networks;
use super::address::{BrokerKind, DatabaseKind, MEMORY, SQLITE};
use super::layer::{Layer, Secret, Setting, Shown};
use crate::alerts::AlertSettings;
use crate::api_key::ApiKey;
use crate::listener::allow_list::Network;

/// One setting as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name; that of the TOML file where it has the setting.
    pub name: &'static str,
    /// Its value; null where there is none.
    pub value: Value,
    /// Where it was said.
    pub layer: Layer,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $field:ident $name:literal: $type:ty;)+) => {
        /// What one layer says, or several laid over one another; `None` where they say nothing.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Said {
            $($(#[doc = $doc])+ pub $field: Option<Setting<$type>>,)+
        }

        impl Said {
            /// `self` where it says something, else `weaker`.
            #[must_use]
            pub fn or(self, weaker: Self) -> Self {
                Self { $($field: self.$field.or(weaker.$field),)+ }
            }

            /// Names of the settings whose value is another one in `other`.
            pub fn differing(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field.as_ref().map(|it| &it.value) != other.$field.as_ref().map(|it| &it.value) {
                    names.push($name);
                })+
                names
            }

            /// All of them, in the order of the table.
            pub fn entries(&self) -> Vec<Entry> {
                vec![$(entry($name, self.$field.as_ref()),)+]
            }
        }
    };
}

settings! {
    /// Where rows lie.
    database "database": DatabaseKind;
    /// Host name or address of the database.
    database_host "database.host": String;
    /// Its TCP port.
    database_port "database.port": u16;
    /// Its user.
    database_user "database.user": String;
    /// Its password.
    database_password "database.password": Secret;
    /// The database on that server.
    database_name "database.name": String;
    /// Whether to speak TLS with it.
    database_tls "database.tls": bool;
    /// Certificates of the authorities that may vouch for it, alone.
    database_ca "database.ca": PathBuf;
    /// Where roles meet.
    broker "broker": BrokerKind;
    /// Host name or address of the broker.
    broker_host "broker.host": String;
    /// Its AMQP port.
    broker_port "broker.port": u16;
    /// Its virtual host.
    broker_vhost "broker.vhost": String;
    /// Its user.
    broker_user "broker.user": String;
    /// Its password.
    broker_password "broker.password": Secret;
    /// Whether to speak TLS with it.
    broker_tls "broker.tls": bool;
    /// Certificates of authorities that may vouch for it, beside those of this machine.
    broker_ca "broker.ca": PathBuf;
    /// Queue of the listener's lines.
    data_queue "queues.data": String;
    /// Queue of hints to the scheduler.
    hints_queue "queues.hints": String;
    /// Queue of the scheduler's scores.
    scores_queue "queues.scores": String;
    /// Fanout exchange of finished rows.
    results_exchange "queues.results": String;
    /// Where embedded database, figures, locks and requests lie.
    data_dir "data_dir": PathBuf;
    /// Where model files lie.
    models_dir "models_dir": PathBuf;
    /// `ADDR:PORT` for Graphite lines.
    graphite "graphite": SocketAddr;
    /// Whether to listen on UDP too.
    udp "udp": bool;
    /// `ADDR:PORT` for frames of pickled samples.
    pickle "pickle": SocketAddr;
    /// `ADDR:PORT` for datagrams, if not that of `graphite`.
    graphite_udp "graphite_udp": SocketAddr;
    /// Networks whose addresses may send lines; without any, everybody.
    graphite_allow "graphite_allow": Vec<Network>;
    /// `ADDR:PORT` for live results.
    results "results": SocketAddr;
    /// `ADDR:PORT` for the HTTP interface.
    http "http": SocketAddr;
    /// What requests to the HTTP interface must show.
    http_key "http_key": Secret;
    /// Further keys, by name and role.
    api_keys "api_key": Vec<ApiKey>;
    /// Whether the HTTP interface may be served without a key on an address that others can reach.
    http_open "http_open": bool;
    /// PEM file with the certificate that the HTTP servers show.
    http_tls_cert "http_tls_cert": PathBuf;
    /// PEM file with its private key.
    http_tls_key "http_tls_key": PathBuf;
    /// Names by which requests may call the HTTP servers, beside those of this machine.
    http_hosts "http_hosts": Vec<String>;
    /// `ADDR:PORT` for the routes of the original's skeleton web application.
    web_app "web_app": SocketAddr;
    /// Whether rows published at the broker carry the detection score, a key that the original's schema does not allow.
    extended_results "extended_results": bool;
    /// Whether metrics of the web application keep the leading slash of their path in their name.
    web_app_slash_names "web_app_slash_names": bool;
    /// Rows older than so many days are deleted as far as no model needs them; 0 for never.
    retention_days "retention_days": u32;
    /// Rows that the range of such a metric is learned from.
    learning_rows "learning_rows": u32;
    /// Globs of metrics to monitor as they appear.
    monitor "monitor": Vec<String>;
    /// Whether the engine's own figures become metrics of its own, every minute.
    self_series "self_series": bool;
    /// Models stepped at once; 0 for one per core.
    jobs "jobs": usize;
    /// Rows between saves of a model.
    checkpoint_rows "checkpoint_rows": u32;
    /// Memory for models, in MiB.
    memory_budget_mib "memory_budget_mib": usize;
    /// Models in memory at once.
    max_resident_models "max_resident_models": usize;
    /// Page cache that model files may count on, in MiB.
    file_cache_mib "file_cache_mib": u64;
    /// How far ahead of the clock a sample may be.
    max_future_s "max_future_s": u32;
    /// Open connections at most.
    max_connections "max_connections": usize;
    /// Silent connections are closed after so long; 0 for never.
    idle_timeout_s "idle_timeout_s": u64;
    /// A line or frame that was begun must end within so long; 0 for never.
    line_timeout_s "line_timeout_s": u64;
    /// What all connections together may have begun and not ended, in MiB.
    max_unfinished_mib "max_unfinished_mib": usize;
    /// Metrics beyond which samples make no more; 0 for no limit.
    max_metrics "max_metrics": usize;
    /// Metrics that the samples of one address may make in an hour; 0 for no limit.
    max_new_metrics "max_new_metrics": usize;
    /// How long a stop may take to store what was taken in and to save models, in seconds.
    drain_s "drain_s": u32;
    /// What is logged, such as `info` or `warn,htmengine::storer=debug`.
    log "log": String;
    /// Whether the log has a line for every stage of the work.
    profiling "profiling": bool;
    /// Rules and channels of alerts.
    alert "alert": AlertSettings;
}

fn entry<T: Shown>(name: &'static str, setting: Option<&Setting<T>>) -> Entry {
    match setting {
        Some(Setting { value, layer }) => Entry { name, value: value.shown(), layer: layer.clone() },
        None => Entry { name, value: Value::Null, layer: Layer::Default },
    }
}

impl Shown for AlertSettings {
    /// Without what is secret of addresses, and without headers.
    fn shown(&self) -> Value {
        AlertSettings::shown(self)
    }
}

impl Shown for Vec<ApiKey> {
    /// Names and roles, no hashes.
    fn shown(&self) -> Value {
        self.iter().map(ApiKey::to_string).collect()
    }
}

impl Shown for Vec<Network> {
    fn shown(&self) -> Value {
        Value::from(shown_networks(self))
    }
}

impl Shown for DatabaseKind {
    fn shown(&self) -> Value {
        Value::from(match self {
            Self::Sqlite => SQLITE,
            Self::Mysql => "mysql",
        })
    }
}

impl Shown for BrokerKind {
    fn shown(&self) -> Value {
        Value::from(match self {
            Self::Memory => MEMORY,
            Self::Rabbitmq => "rabbitmq",
        })
    }
}
