//! Where a MySQL or MariaDB database is and how to reach it.

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
    fn the_password_is_not_shown() {
        let shown =
            format!("{:?}", MysqlSettings { password: "geheim".to_owned(), ..MysqlSettings::default() });
        assert!(!shown.contains("geheim") && shown.contains("mysql://root@127.0.0.1:3306"), "{shown}");
    }
}
