//! Who may ask: whoever shows a key whose role suffices, if there are keys; and no page of another site.
//!
//! The key comes as `Authorization: Bearer KEY`, as `X-API-Key: KEY`, or as the user name or the password of
//! `Authorization: Basic`: as Taurus took it, as a browser asks for it by itself, and as Grafana sends one. Without a key
//! everybody who reaches the port may do everything, which is why `server.rs` then serves on loopback addresses only,
//! unless told otherwise. What a request needs is said in `needed_role.rs`.
//!
//! A browser sends what another site's page makes it send, to loopback addresses too, and with the key it remembers. So a
//! request that changes something is refused if the browser says that it comes from elsewhere, and one for a host that is
//! not ours (`host.rs`).
//!
//! Invariant: keys are told by name, in the log too; nothing here shows a key or a part of one.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::host::Hosts;
use super::needed_role::NeededRole;
use crate::api_key::{ApiKey, KeyRole};
use crate::live_setting::LiveSetting;

/// What browsers show when they ask.
const REALM: &str = "Basic realm=\"htmengine: the API key is the user name\", charset=\"UTF-8\"";
/// Keys in one request that are looked at.
const MAX_GIVEN: usize = 4;

/// Who is let in.
#[derive(Clone)]
pub(super) struct Access {
    /// Without any, everybody.
    pub(super) keys: LiveSetting<Vec<ApiKey>>,
    /// What requests need.
    pub(super) needed_role: NeededRole,
    /// What hosts they may name.
    pub(super) hosts: Hosts,
    /// What a refusal looks like.
    pub(super) refusal: fn(StatusCode, &str, &str) -> Response,
}

/// Goes along with a request that was let in: the keys that there were then.
#[derive(Clone)]
pub(super) struct CheckedKeys(pub(super) Arc<Vec<ApiKey>>);

impl Access {
    /// The answer to a request that may not go on.
    fn refused(&self, keys: &[ApiKey], request: &Request) -> Option<Response> {
        if let Some(host) = self.hosts.refused(request.uri(), request.headers(), !keys.is_empty()) {
            let message = format!(
                "the request is for the host '{host}', which is none of ours: ask for localhost or 127.0.0.1, or name \
                 the host in the setting `http_hosts`"
            );
            return Some((self.refusal)(StatusCode::MISDIRECTED_REQUEST, "UnknownHost", &message));
        }
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        if let Some(needed) = (self.needed_role)(path, request.method())
            && !keys.is_empty()
            && let Some(refusal) = self.refused_for(needed, keys, request)
        {
            return Some(refusal);
        }
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !is_reading && is_from_elsewhere(request.headers()) {
            let message = "a page of another site asked for this; changes are taken from our own pages and from programs";
            return Some((self.refusal)(StatusCode::FORBIDDEN, "OtherSite", message));
        }
        None
    }

    /// The answer to a request without a key of this role.
    fn refused_for(&self, needed: KeyRole, keys: &[ApiKey], request: &Request) -> Option<Response> {
        let (method, path) = (request.method(), request.uri().path());
        let role = needed.name();
        let Some(key) = known_key(keys, request.headers()) else {
            tracing::debug!(%method, path, "a request without a known key was refused");
            let found =
                if given_keys(request.headers()).is_empty() { "no key" } else { "a key that is not known" };
            let message = format!(
                "this needs an API key with the role {role}, and the request shows {found}: send \
                 `Authorization: Bearer KEY`, `X-API-Key: KEY`, or the key as user name where a browser asks; \
                 `htmengine key new` makes one"
            );
            let mut refusal = (self.refusal)(StatusCode::UNAUTHORIZED, "KeyNeeded", &message);
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(REALM));
            return Some(refusal);
        };
        let (name, has) = (key.name(), key.role().name());
        if key.role() < needed {
            tracing::debug!(%method, path, key = name, role = has, needed = role, "a key's role did not suffice");
            let message = format!(
                "the key '{name}' has the role {has}, and this needs {role}: use a key with that role; `htmengine key \
                 new --role {role}` makes one"
            );
            return Some((self.refusal)(StatusCode::FORBIDDEN, "RoleNeeded", &message));
        }
        if needed == KeyRole::Admin {
            tracing::info!(%method, path, key = name, "an admin's request");
        } else {
            tracing::debug!(%method, path, key = name, "a request with a key");
        }
        None
    }
}

/// The middleware.
pub(super) async fn check(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let keys = access.keys.get();
    if let Some(refusal) = access.refused(&keys, &request) {
        return refusal;
    }
    request.extensions_mut().insert(CheckedKeys(keys));
    next.run(request).await
}

/// The key that the request shows, if it is known; of several, the one that may do most.
fn known_key<'a>(keys: &'a [ApiKey], headers: &HeaderMap) -> Option<&'a ApiKey> {
    let given = given_keys(headers);
    let known = given.iter().take(MAX_GIVEN).filter_map(|given| ApiKey::find(keys, given));
    known.max_by_key(|key| key.role())
}

/// Keys that the request shows, wherever it does.
fn given_keys(headers: &HeaderMap) -> Vec<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut keys: Vec<String> = text("x-api-key").map(str::to_owned).into_iter().collect();
    if let Some((scheme, rest)) = text("authorization").and_then(|value| value.split_once(' ')) {
        if scheme.eq_ignore_ascii_case("bearer") {
            keys.push(rest.trim().to_owned());
        } else if scheme.eq_ignore_ascii_case("basic")
            && let Ok(decoded) = STANDARD.decode(rest.trim())
            && let Ok(pair) = String::from_utf8(decoded)
        {
            let (user, password) = pair.split_once(':').unwrap_or((pair.as_str(), ""));
            keys.extend([user, password].map(str::to_owned));
        }
    }
    keys.retain(|key| !key.is_empty());
    keys
}

/// Whether a browser says that another site's page asked.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => origin.split_once("://").map(|(_, of)| of) != Some(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().expect("a name"), HeaderValue::from_static(value)))
            .collect()
    }

    fn is_known(key: &str, pairs: &[(&'static str, &'static str)]) -> bool {
        known_key(&[ApiKey::of_plain("key", KeyRole::Read, key)], &headers(pairs)).is_some()
    }

    #[test]
    fn the_key_is_taken_wherever_it_may_stand() {
        assert!(!is_known("k:e y", &[]));
        assert!(is_known("k:e y", &[("x-api-key", "k:e y")]));
        assert!(is_known("k:e y", &[("authorization", "bearer k:e y")]));
        for wrong in ["k:e ", "k:e y2", "", "K:E Y"] {
            assert!(!is_known("k:e y", &[("x-api-key", wrong)]), "{wrong}");
        }
        let basic = |value| is_known("key", &[("authorization", value)]);
        assert!(basic("Basic a2V5Og=="), "key:");
        assert!(basic("Basic a2V5"), "key");
        assert!(basic("Basic OmtleQ=="), ":key");
        assert!(basic("Basic Z3JhZmFuYTprZXk="), "grafana:key");
        assert!(!basic("Basic Z3JhZmFuYTprZXky"), "grafana:key2");
        assert!(!basic("Basic %%%") && !basic("Basic Og=="));
        assert!(!is_known("", &[("authorization", "Basic Og==")]), "nothing is no key");
    }

    #[test]
    fn a_page_of_another_site_is_told_from_our_own_and_from_programs() {
        let from = |pairs| is_from_elsewhere(&headers(pairs));
        assert!(!from(&[("host", "h:80")]));
        assert!(!from(&[("host", "h:80"), ("origin", "http://h:80")]));
        assert!(from(&[("host", "h:80"), ("origin", "http://evil.example")]));
        assert!(from(&[("host", "h:80"), ("origin", "null")]));
        assert!(from(&[("sec-fetch-site", "cross-site")]) && from(&[("sec-fetch-site", "same-site")]));
        assert!(!from(&[("sec-fetch-site", "same-origin")]) && !from(&[("sec-fetch-site", "none")]));
    }
}
