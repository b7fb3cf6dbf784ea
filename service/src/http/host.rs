//! Which hosts a request may name, so that a page elsewhere cannot reach the engine through a name that it made point here.
//!
//! A browser that looks at `evil.example` lets its scripts ask `evil.example` again after that name has come to mean
//! 127.0.0.1 (DNS rebinding); to the browser it is still one site. Only the name in the request gives it away. A key stops
//! this by itself, since the browser has none for that name; without one, names are looked at.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// Which hosts are answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    is_checked_without_keys: bool,
    named: Vec<String>,
}

impl Hosts {
    /// Those of `named` and of this machine; all, where a key is asked for, or where others reach the address and nobody
    /// said by which names.
    pub(super) fn new(named: &[String], is_loopback: bool) -> Self {
        let named: Vec<String> = named.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { is_checked_without_keys: is_loopback || !named.is_empty(), named }
    }

    /// The host that this request names, if it is refused. Browsers always name one; programs need not.
    pub(super) fn refused<'a>(
        &self,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        has_keys: bool,
    ) -> Option<&'a str> {
        if has_keys || !self.is_checked_without_keys {
            return None;
        }
        let named = headers.get(header::HOST).map(|value| value.to_str().unwrap_or_default());
        uri.host().into_iter().chain(named).find(|host| !self.is_ours(host))
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_loopback = address.is_ok_and(|address| address.to_canonical().is_loopback());
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local || is_loopback || self.named.iter().any(|known| known == name)
    }
}

fn without_port(host: &str) -> &str {
    let end = host.rfind(']').map_or(0, |end| end + 1);
    let port = host[end..].find(':').map_or(host.len(), |at| end + at);
    // More than one colon without brackets is an address.
    if end == 0 && host.matches(':').count() > 1 { host } else { &host[..port] }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_of_this_machine_and_those_of_the_settings_are_answered() {
        let hosts = Hosts::new(&["HTM.example".to_owned(), "[fd00::1]".to_owned()], true);
        for name in [
            "localhost",
            "localhost:80",
            "a.localhost",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:80",
            "[::1]",
            "::1",
        ] {
            assert!(hosts.is_ours(name), "{name}");
        }
        for name in ["htm.example", "htm.EXAMPLE:8080", "[fd00::1]:1"] {
            assert!(hosts.is_ours(name), "{name}");
        }
        for name in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", ":80"]
        {
            assert!(!hosts.is_ours(name), "{name}");
        }
    }

    #[test]
    fn names_are_looked_at_only_where_nothing_else_keeps_strangers_out() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("evil.example:80"));
        let uri = Uri::from_static("/");
        let refused = |hosts: &Hosts, has_keys| hosts.refused(&uri, &headers, has_keys).map(str::to_owned);
        assert_eq!(refused(&Hosts::new(&[], true), false).as_deref(), Some("evil.example:80"));
        assert_eq!(refused(&Hosts::new(&["a".to_owned()], false), false).as_deref(), Some("evil.example:80"));
        assert_eq!(refused(&Hosts::new(&[], true), true), None);
        assert_eq!(refused(&Hosts::new(&[], false), false), None);
        let hosts = Hosts::new(&[], true);
        assert_eq!(hosts.refused(&uri, &HeaderMap::new(), false), None, "a program, no browser");
        let absolute = Uri::from_static("http://evil.example/");
        assert_eq!(hosts.refused(&absolute, &HeaderMap::new(), false), Some("evil.example"));
    }
}
