//! Addresses of a database or broker in one line: `scheme://user:password@host:port/name?option=value`.
//!
//! User, password and name may hold any characters, written as `%XX` where they are not plain. What is left out has the
//! template's value, never that of a weaker layer. A refused address is told without its password.

use std::path::PathBuf;

use super::layer::{Layer, Secret, Setting};
use super::table::Said;
use crate::bus::rabbitmq::RabbitSettings;
use crate::repository::mysql::MysqlSettings;

/// What a database address says when the rows are to lie in the data folder.
pub const SQLITE: &str = "sqlite";
/// What a broker address says when the roles are to meet in one process.
pub const MEMORY: &str = "memory";

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// In the data folder.
    Sqlite,
    /// In MySQL or MariaDB.
    Mysql,
}

/// Where roles meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// In one process.
    Memory,
    /// At RabbitMQ.
    Rabbitmq,
}

/// The parts of an address, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    scheme: String,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    /// After the first `/`; empty if nothing is there.
    name: String,
    options: Vec<(String, String)>,
}

/// Reads `mysql://user:password@host:port/db?tls=true`, or `sqlite`, as settings of one layer.
///
/// # Errors
/// What was found and expected, without the password.
pub fn database(text: &str, layer: &Layer) -> Result<Said, String> {
    let expected = "expected mysql://user:password@host:port/database[?tls=true[&ca=FILE]], or sqlite";
    let mut said = Said::default();
    let is = |kind| Some(Setting::new(kind, layer.clone()));
    if text == SQLITE {
        said.database = is(DatabaseKind::Sqlite);
        return Ok(said);
    }
    let refused = |what: String| format!("'{}' {what}; {expected}", without_password(text));
    let address = Address::parse(text).map_err(refused)?;
    if !["mysql", "mariadb"].contains(&address.scheme.as_str()) {
        return Err(refused(format!("begins with {}://", address.scheme)));
    }
    if address.name.is_empty() {
        return Err(refused("names no database after the host".to_owned()));
    }
    let (mut tls, mut ca) = (false, None);
    for (name, value) in &address.options {
        match (name.as_str(), value.as_str()) {
            ("tls", "true") => tls = true,
            ("tls", "false") => tls = false,
            ("ca", file) if !file.is_empty() => ca = Some(PathBuf::from(file)),
            _ => return Err(refused(format!("has the unknown option {name}"))),
        }
    }
    if ca.is_some() && !tls {
        return Err(refused("names authorities with ca= and asks for no TLS with tls=true".to_owned()));
    }
    said.database = is(DatabaseKind::Mysql);
    said.database_host = Some(Setting::new(address.host, layer.clone()));
    let MysqlSettings { port, user, .. } = MysqlSettings::default();
    said.database_port = Some(Setting::new(address.port.unwrap_or(port), layer.clone()));
    said.database_user = Some(Setting::new(address.user.unwrap_or(user), layer.clone()));
    let password = Secret::new(address.password.unwrap_or_default());
    said.database_password = Some(Setting::new(password, layer.clone()));
    said.database_name = Some(Setting::new(address.name, layer.clone()));
    said.database_tls = Some(Setting::new(tls, layer.clone()));
    said.database_ca = ca.map(|file| Setting::new(file, layer.clone()));
    Ok(said)
}

/// Reads `amqp(s)://user:password@host:port/vhost`, or `memory`, as settings of one layer. An empty virtual host is `/`.
///
/// # Errors
/// What was found and expected, without the password.
pub fn broker(text: &str, layer: &Layer) -> Result<Said, String> {
    let expected = "expected amqp://user:password@host:port/vhost, amqps://...[?ca=FILE] for TLS, or memory";
    let mut said = Said::default();
    let is = |kind| Some(Setting::new(kind, layer.clone()));
    if text == MEMORY {
        said.broker = is(BrokerKind::Memory);
        return Ok(said);
    }
    let refused = |what: String| format!("'{}' {what}; {expected}", without_password(text));
    let address = Address::parse(text).map_err(refused)?;
    let is_tls = match address.scheme.as_str() {
        "amqp" => false,
        "amqps" => true,
        other => return Err(refused(format!("begins with {other}://"))),
    };
    let mut ca = None;
    for (name, value) in &address.options {
        match name.as_str() {
            "ca" if is_tls && !value.is_empty() => ca = Some(PathBuf::from(value)),
            "ca" => return Err(refused("has ca= without a file, or without amqps://".to_owned())),
            _ => return Err(refused(format!("has the unknown option {name}"))),
        }
    }
    let name = if address.name.is_empty() { "/".to_owned() } else { address.name };
    let port = address.port.unwrap_or(if is_tls { 5671 } else { 5672 });
    said.broker = is(BrokerKind::Rabbitmq);
    said.broker_host = Some(Setting::new(address.host, layer.clone()));
    said.broker_port = Some(Setting::new(port, layer.clone()));
    said.broker_vhost = Some(Setting::new(name, layer.clone()));
    let RabbitSettings { user, password, .. } = RabbitSettings::default();
    // The default password is the default user's.
    let (user, password) = address.user.zip(address.password).unwrap_or((user, password));
    said.broker_user = Some(Setting::new(user, layer.clone()));
    said.broker_password = Some(Setting::new(Secret::new(password), layer.clone()));
    said.broker_tls = Some(Setting::new(is_tls, layer.clone()));
    said.broker_ca = ca.map(|file| Setting::new(file, layer.clone()));
    Ok(said)
}

impl Address {
    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("has no scheme://")?;
        let (rest, options) = rest.split_once('?').map_or((rest, None), |(rest, it)| (rest, Some(it)));
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, host) =
            authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
            None => (None, None),
        };
        let (host, port) = host_and_port(host)?;
        let options = options.into_iter().flat_map(|options| options.split('&'));
        let option = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            Ok::<_, String>((name.to_owned(), decoded(value)?))
        };
        Ok(Self {
            scheme: scheme.to_lowercase(),
            user,
            password,
            host,
            port,
            name: decoded(name)?,
            options: options.map(option).collect::<Result<_, _>>()?,
        })
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("has '[' without ']'")?;
            (host.to_owned(), rest.strip_prefix(':'))
        }
        None => text
            .rsplit_once(':')
            .map_or((text.to_owned(), None), |(host, port)| (host.to_owned(), Some(port))),
    };
    if host.is_empty() {
        return Err("names no host".to_owned());
    }
    // Not told what stands there: a password with a '/' that is not written as %2F ends there.
    let number = |port: &str| port.parse().map_err(|_| "has no port, 0 to 65535, after the ':'".to_owned());
    Ok((host, port.map(number).transpose()?))
}

fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.ok_or("has a '%' that is not followed by two hexadecimal digits; write it as %25")?);
    }
    String::from_utf8(bytes).map_err(|_| "is no UTF-8 when decoded".to_owned())
}

/// The address as it may be shown.
fn without_password(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    let (host, options) = rest.split_once('?').map_or((rest, ""), |(host, _)| (host, "?***"));
    if let Some(login) = login {
        let user = login.split(':').next().unwrap_or_default();
        return format!("{scheme}://{user}:***@{host}{options}");
    }
    // Without a host after it, a login looks like a host with a port.
    match host.split_once(':') {
        Some((name, port)) if port.parse::<u16>().is_err() => {
            format!("{scheme}://{name}:***")
        }
        _ if scheme.is_empty() => format!("{host}{options}"),
        _ => format!("{scheme}://{host}{options}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<T>(setting: Option<Setting<T>>) -> T {
        setting.expect("said").value
    }

    #[test]
    fn a_database_address_is_taken_apart() {
        let said =
            database("mysql://a%40b:p%2Fw:%25@[::1]:3307/my%20db?tls=true", &Layer::Default).expect("valid");
        assert_eq!(value(said.database), DatabaseKind::Mysql);
        assert_eq!(value(said.database_host), "::1");
        assert_eq!(value(said.database_port), 3307);
        assert_eq!(value(said.database_user), "a@b");
        assert_eq!(value(said.database_password).reveal(), "p/w:%");
        assert_eq!(value(said.database_name), "my db");
        assert!(value(said.database_tls));
        let said = database("mysql://h/d?tls=true&ca=/a%20b.pem", &Layer::Default).expect("valid");
        assert_eq!(value(said.database_ca), PathBuf::from("/a b.pem"));
        let said = broker("amqps://h?ca=/ca.pem", &Layer::Default).expect("valid");
        assert_eq!(value(said.broker_ca), PathBuf::from("/ca.pem"));
        let refused = broker("amqp://h?ca=/ca.pem", &Layer::Default).expect_err("no TLS");
        assert!(refused.contains("amqps://"), "{refused}");
        let said = database("mysql://db.example/x", &Layer::Default).expect("valid");
        assert_eq!(value(said.database_port), 3306, "a whole address leaves nothing to weaker layers");
        assert_eq!(value(said.database_user), "root");
        assert_eq!(value(database(SQLITE, &Layer::Default).expect("valid").database), DatabaseKind::Sqlite);
    }

    #[test]
    fn a_broker_address_is_taken_apart() {
        for (text, port, vhost, is_tls) in [
            ("amqp://h", 5672, "/", false),
            ("amqp://h/", 5672, "/", false),
            ("amqps://u:p@h/%2Fa", 5671, "/a", true),
            ("amqp://u@h:1/v", 1, "v", false),
        ] {
            let said = broker(text, &Layer::Default).expect("valid");
            assert_eq!(value(said.broker_port), port, "{text}");
            assert_eq!(value(said.broker_vhost), vhost, "{text}");
            assert_eq!(value(said.broker_tls), is_tls, "{text}");
        }
        assert_eq!(value(broker(MEMORY, &Layer::Default).expect("valid").broker), BrokerKind::Memory);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, part) in [
            ("postgres://u:geheim@h/d", "begins with postgres://"),
            ("mysql://u:geheim@h", "names no database"),
            ("mysql://u:geheim@h:x/d", "has no port"),
            ("mysql://u:geheim/x@h/d", "has no port"),
            ("mysql://u:geheim", "has no port"),
            ("mysql://u:geheim@/d", "names no host"),
            ("mysql://u:geheim%@h/d", "a '%' that is not followed"),
            ("mysql://u:geheim@h/d?ssl=1", "the unknown option ssl"),
            ("mysql://u:geheim@h/d?ca=/a.pem", "asks for no TLS"),
            ("mysql://u:geheim@h/d?password=geheim", "the unknown option password;"),
            ("h/d", "has no scheme"),
        ] {
            let error = database(text, &Layer::Default).expect_err("refused");
            assert!(error.contains(part) && error.contains("expected mysql://"), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
