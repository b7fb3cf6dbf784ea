//! The private MariaDB and RabbitMQ of a program run, and where a measured run finds its own part of them.

use std::path::Path;

use htm_tests::private_mariadb::PrivateMariadb;
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::services::Services;
use htmengine::backends::{BusChoice, RepositoryChoice};
use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::repository::mysql::MysqlSettings;

use crate::options::{Backend, BusKind, Case};

/// Those that the cases need, ended with this program.
pub(crate) struct Instances {
    mariadb: Option<PrivateMariadb>,
    rabbitmq: Option<PrivateRabbitMq>,
}

/// An empty database and an empty virtual host, or what stands for them.
pub(crate) struct Place {
    pub(crate) repository: RepositoryChoice,
    pub(crate) bus: BusChoice,
}

impl Instances {
    /// Starts what any of the cases needs.
    pub(crate) fn start(cases: &[Case]) -> Self {
        let needs_mariadb = cases.iter().any(|case| case.backend == Backend::Mysql);
        let needs_rabbitmq = cases.iter().any(|case| case.bus == BusKind::Rabbitmq);
        Self {
            mariadb: needs_mariadb.then(PrivateMariadb::start_own),
            rabbitmq: needs_rabbitmq.then(PrivateRabbitMq::start),
        }
    }

    /// Room for one run.
    pub(crate) fn place(&self, case: Case) -> Place {
        let mariadb = self.mariadb.as_ref().filter(|_| case.backend == Backend::Mysql);
        let rabbitmq = self.rabbitmq.as_ref().filter(|_| case.bus == BusKind::Rabbitmq);
        Place {
            repository: mariadb.map_or(RepositoryChoice::Sqlite, |server| {
                RepositoryChoice::Mysql(server.migrated_database())
            }),
            bus: rabbitmq.map_or(BusChoice::Memory, |broker| BusChoice::Rabbitmq(broker.fresh_settings())),
        }
    }

    /// Names and ids of the servers' processes that a case uses.
    pub(crate) fn processes(&self, case: Case) -> Vec<(&'static str, u32)> {
        let mariadb = self.mariadb.as_ref().filter(|_| case.backend == Backend::Mysql);
        let rabbitmq = self.rabbitmq.as_ref().filter(|_| case.bus == BusKind::Rabbitmq);
        let broker_id = |broker: &PrivateRabbitMq| {
            let said = broker.evaluate("os:getpid().");
            said.trim_matches('"').parse().expect("Erlang says its process id")
        };
        let mariadb = mariadb.map(|server| ("MariaDB", server.process_id()));
        mariadb.into_iter().chain(rabbitmq.map(|broker| ("RabbitMQ", broker_id(broker)))).collect()
    }
}

impl Place {
    /// The flags with which a process finds both.
    pub(crate) fn flags(&self, data_dir: &Path) -> Vec<String> {
        let (has_database, database) = match &self.repository {
            RepositoryChoice::Sqlite => (false, MysqlSettings::default()),
            RepositoryChoice::Mysql(settings) => (true, settings.clone()),
        };
        let broker = match &self.bus {
            BusChoice::Memory => RabbitSettings::default(),
            BusChoice::Rabbitmq(settings) => settings.clone(),
        };
        let services = Services { database, broker };
        let mut flags = vec!["--data-dir".to_owned(), data_dir.display().to_string()];
        flags.extend(["--broker".to_owned(), services.broker_url()]);
        if has_database {
            flags.extend(["--database".to_owned(), services.database_url()]);
        }
        flags
    }
}
