//! The repository in MySQL or MariaDB: the original's schema, shared with whoever reads it.

use super::RepositoryError;

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Whether to speak TLS.
    pub use_tls: bool,
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
            max_connections: 16,
        }
    }
}

/// The repository.
#[derive(Debug)]
pub struct MysqlRepository {}

impl MysqlRepository {
    /// Connects and checks the schema.
    ///
    /// # Errors
    /// [`RepositoryError`] from the database.
    pub fn connect(
        _settings: &MysqlSettings,
        _runtime: &tokio::runtime::Handle,
    ) -> Result<std::sync::Arc<dyn super::Repository>, RepositoryError> {
        Err(RepositoryError::Transient { reason: "not built yet".to_owned() })
    }
}
