//! A database and a virtual host of a test's own, in the MariaDB and the RabbitMQ that all tests of a process share, with
//! the addresses to reach them by.

use std::sync::Arc;

use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::repository::Repository;
use htmengine::repository::mysql::{MysqlRepository, MysqlSettings};

use crate::private_mariadb::{PrivateMariadb, runtime};
use crate::private_rabbitmq::PrivateRabbitMq;

/// How to reach both.
#[derive(Debug, Clone)]
pub struct Services {
    /// A migrated database, otherwise empty.
    pub database: MysqlSettings,
    /// An empty virtual host.
    pub broker: RabbitSettings,
}

impl Services {
    /// New ones, in servers that are started if need be.
    ///
    /// # Panics
    /// If a server does not start.
    pub fn fresh() -> Self {
        let database = PrivateMariadb::shared().migrated_database();
        Self { database, broker: PrivateRabbitMq::shared().fresh_settings() }
    }

    /// `mysql://...`, for `--database`.
    pub fn database_url(&self) -> String {
        let MysqlSettings { user, host, port, database, .. } = &self.database;
        format!("mysql://{user}@{host}:{port}/{database}")
    }

    /// `amqp://...`, for `--broker` and for clients.
    pub fn broker_url(&self) -> String {
        let RabbitSettings { user, password, host, port, .. } = &self.broker;
        format!("amqp://{user}:{password}@{host}:{port}/{}", self.broker.virtual_host.replace('/', "%2f"))
    }

    /// The flags with which every verb finds both.
    pub fn flags(&self) -> [String; 4] {
        ["--database".to_owned(), self.database_url(), "--broker".to_owned(), self.broker_url()]
    }

    /// The rows, through a connection of our own.
    ///
    /// # Panics
    /// If the database cannot be reached.
    pub fn repository(&self) -> Arc<dyn Repository> {
        MysqlRepository::connect(&self.database, runtime()).unwrap_or_else(|error| panic!("{error}"))
    }
}
