//! Where a MySQL or MariaDB database is and how to reach it.

use std::path::PathBuf;

use mysql_async::SslOpts;

use crate::repository::RepositoryError;
use crate::tls;

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub struct MysqlSettings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password; empty for none.
    pub password: String,
    /// Database.
    pub database: String,
    /// Whether to speak TLS. Whom we speak to is then always verified.
    pub use_tls: bool,
    /// PEM file of the authorities that may vouch for the server, alone; without one, those that browsers trust may.
    pub ca: Option<PathBuf>,
    /// Connections at most.
    pub max_connections: usize,
}

impl Default for MysqlSettings {
    /// The original's template.
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 3306,
            user: "root".to_owned(),
            password: String::new(),
            database: "htmengine".to_owned(),
            use_tls: false,
            ca: None,
            max_connections: 16,
        }
    }
}

impl MysqlSettings {
    /// How the driver is to speak TLS, if it is to.
    pub fn tls_options(&self) -> Option<SslOpts> {
        let options = SslOpts::default().with_disable_built_in_roots(self.ca.is_some());
        let roots = self.ca.iter().map(|file| file.clone().into()).collect();
        self.use_tls.then(|| options.with_root_certs(roots))
    }

    /// Whether the authorities can be read, as the driver tells a file that is not there from a server that is not.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] with the file and what is wrong with it.
    pub(super) fn check_authorities(&self) -> Result<(), RepositoryError> {
        let Some(file) = self.ca.as_ref().filter(|_| self.use_tls) else { return Ok(()) };
        let refused =
            |reason| RepositoryError::Fatal { reason: format!("the database's authorities (ca=): {reason}") };
        tls::read_certificates(file).map(drop).map_err(refused)
    }

    /// For messages: never the password.
    pub(super) fn shown(&self) -> String {
        format!("mysql://{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl std::fmt::Debug for MysqlSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MysqlSettings")
            .field("address", &self.shown())
            .field("use_tls", &self.use_tls)
            .field("ca", &self.ca)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let shown =
            format!("{:?}", MysqlSettings { password: "geheim".to_owned(), ..MysqlSettings::default() });
        assert!(!shown.contains("geheim") && shown.contains("mysql://root@127.0.0.1:3306"), "{shown}");
    }
}
