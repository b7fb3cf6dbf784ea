//! Who may reach the engine, as the settings say it: keys, certificates, hosts and networks, checked when they are read.
//!
//! Files are not opened here: every verb reads the settings, and few of their users may read a private key. Who opens them
//! is `crate::tls`, when a server starts and when `htmengine doctor` looks.

use std::ops::Range;

use toml::Spanned;

use super::layer::{Layer, Setting};
use super::table::Said;
use crate::api_key::{ApiKey, KeyStanza};
use crate::listener::allow_list::{Network, read_networks};
use crate::tls::TlsFiles;

/// Names in `http_hosts` at most.
const MAX_HOSTS: usize = 100;

/// What a settings file says of keys and networks.
#[derive(Debug, Default)]
pub(super) struct AccessStanzas<'a> {
    pub(super) api_key: Option<&'a Spanned<Vec<KeyStanza>>>,
    pub(super) graphite_allow: Option<&'a Spanned<Vec<String>>>,
    pub(super) http_hosts: Option<&'a Spanned<Vec<String>>>,
}

impl AccessStanzas<'_> {
    /// As settings with their lines.
    ///
    /// # Errors
    /// What is wrong with the first bad one.
    pub(super) fn said(&self, layer: &dyn Fn(Range<usize>) -> Layer) -> Result<Said, String> {
        let mut said = Said::default();
        if let Some(stanzas) = self.api_key {
            let keys = ApiKey::from_file(stanzas.get_ref(), &|span| layer(span).to_string())?;
            said.api_keys = Some(Setting::new(keys, layer(stanzas.span())));
        }
        if let Some(texts) = self.graphite_allow {
            let layer = layer(texts.span());
            let networks = read_networks(texts.get_ref());
            let networks = networks.map_err(|reason| format!("graphite_allow ({layer}): {reason}"))?;
            said.graphite_allow = Some(Setting::new(networks, layer));
        }
        if let Some(names) = self.http_hosts {
            let layer = layer(names.span());
            check_hosts(names.get_ref()).map_err(|reason| format!("http_hosts ({layer}): {reason}"))?;
            said.http_hosts = Some(Setting::new(names.get_ref().clone(), layer));
        }
        Ok(said)
    }
}

fn check_hosts(names: &[String]) -> Result<(), String> {
    if names.len() > MAX_HOSTS {
        return Err(format!("{} names; expected at most {MAX_HOSTS}", names.len()));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    match names.iter().find(|name| name.is_empty() || !name.chars().all(is_plain)) {
        Some(name) => Err(format!(
            "'{name}' is no name of a host; expected one as browsers send it, without scheme and port, such as \
             htm.example.com"
        )),
        None => Ok(()),
    }
}

/// Certificate and key of the HTTP servers.
pub(super) fn http_tls(said: &Said) -> Option<TlsFiles> {
    let (certificate, key) = said.http_tls_cert.as_ref().zip(said.http_tls_key.as_ref())?;
    Some(TlsFiles { certificate: certificate.value.clone(), key: key.value.clone() })
}

/// What cannot be together, or not alone.
pub(super) fn problems(said: &Said) -> Vec<String> {
    let alone = |name: &str, layer: &Layer, other: &str| {
        format!(
            "{name} ({layer}) is set and {other} is not; TLS needs both the certificate and its private key"
        )
    };
    match (&said.http_tls_cert, &said.http_tls_key) {
        (Some(setting), None) => vec![alone("http_tls_cert", &setting.layer, "http_tls_key")],
        (None, Some(setting)) => vec![alone("http_tls_key", &setting.layer, "http_tls_cert")],
        (Some(_), Some(_)) | (None, None) => Vec::new(),
    }
}

/// Networks as they are written.
pub(super) fn shown_networks(networks: &[Network]) -> Vec<String> {
    networks.iter().map(Network::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_without_scheme() {
        let check = |name: &str| check_hosts(&[name.to_owned()]);
        assert!(check("htm.example.com").is_ok() && check("[fd00::1]").is_ok());
        for name in ["", "http://htm", "a b", "a/b"] {
            assert!(check(name).expect_err("refused").contains("no name of a host"), "{name}");
        }
    }
}
