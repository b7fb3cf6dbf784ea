//! Where a MySQL or MariaDB database is and how to reach it.

use mysql_async::{Opts, UrlError};

use crate::repository::RepositoryError;

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

impl MysqlSettings {
    /// Reads `mysql://user:password@host:port/database`; special characters are percent-encoded, and `?require_ssl=true`
    /// asks for TLS. What is left out is as in [`MysqlSettings::default`], but for the database, which is needed.
    ///
    /// # Errors
    /// [`RepositoryError::Fatal`] says what is wrong, without repeating the password.
    pub fn from_url(url: &str) -> Result<Self, RepositoryError> {
        let bad = |found: String| RepositoryError::Fatal {
            reason: format!(
                "the database's address {found}; expected mysql://user:password@host:port/database, special characters \
                 percent-encoded"
            ),
        };
        let options =
            Opts::from_url(url).map_err(|error: UrlError| bad(format!("cannot be read: {error}")))?;
        let standard = Self::default();
        let database = options.db_name().filter(|name| !name.is_empty());
        Ok(Self {
            host: options.ip_or_hostname().to_owned(),
            port: options.tcp_port(),
            user: options.user().unwrap_or(&standard.user).to_owned(),
            password: options.pass().unwrap_or_default().to_owned(),
            database: database.ok_or_else(|| bad("names no database".to_owned()))?.to_owned(),
            use_tls: options.ssl_opts().is_some(),
            max_connections: standard.max_connections,
        })
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
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_special_characters() {
        let read =
            MysqlSettings::from_url("mysql://u%40x:p%3A%2F%40@db.example:3307/htm").expect("an address");
        assert_eq!((read.host.as_str(), read.port, read.user.as_str()), ("db.example", 3307, "u@x"));
        assert_eq!((read.password.as_str(), read.database.as_str(), read.use_tls), ("p:/@", "htm", false));
        let short = MysqlSettings::from_url("mysql://localhost/htm").expect("an address");
        assert_eq!((short.port, short.user.as_str(), short.password.as_str()), (3306, "root", ""));
        assert!(MysqlSettings::from_url("mysql://h/d?require_ssl=true").expect("an address").use_tls);
    }

    #[test]
    fn a_bad_address_is_told_without_its_password() {
        for url in ["mysql://u:geheim@host", "postgres://u:geheim@host/d", "u:geheim@host", ""] {
            let told = MysqlSettings::from_url(url).expect_err(url).to_string();
            assert!(told.contains("expected mysql://") && !told.contains("geheim"), "{told}");
        }
        let shown =
            format!("{:?}", MysqlSettings { password: "geheim".to_owned(), ..MysqlSettings::default() });
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
