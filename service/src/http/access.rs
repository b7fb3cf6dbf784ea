//! Who may ask: whoever knows the API key, if there is one; and no page of another site.
//!
//! The key comes as `Authorization: Bearer KEY`, as `X-API-Key: KEY`, or as the user name of `Authorization: Basic`, as
//! Taurus took it; so a browser asks for it by itself. Without a key everybody who reaches the port may do everything,
//! which is why `server.rs` then serves on loopback addresses only, unless told otherwise.
//!
//! A browser sends what another site's page makes it send, to loopback addresses too, and with the key it remembers. So a
//! request that changes something is refused if the browser says that it comes from elsewhere.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::config::layer::Secret;

/// Paths that need no key: whether the process is there is no secret.
const OPEN_PATHS: [&str; 1] = ["/healthz"];
/// What browsers show when they ask.
const REALM: &str = "Basic realm=\"htmengine: the API key is the user name\", charset=\"UTF-8\"";

/// Who is let in.
#[derive(Clone)]
pub(super) struct Access {
    key: Option<Secret>,
    /// What a refusal looks like.
    refusal: fn(StatusCode, &str, &str) -> Response,
}

impl Access {
    pub(super) fn new(key: Option<Secret>, refusal: fn(StatusCode, &str, &str) -> Response) -> Self {
        Self { key, refusal }
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.key else { return true };
        given_keys(headers).iter().any(|given| is_equal(given.as_bytes(), key.reveal().as_bytes()))
    }
}

/// The middleware.
pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    if !OPEN_PATHS.contains(&request.uri().path()) && !access.is_known(request.headers()) {
        let message = "this needs the API key: `Authorization: Bearer KEY`, `X-API-Key: KEY`, or the key as user name \
                       where a browser asks";
        let mut refusal = (access.refusal)(StatusCode::UNAUTHORIZED, "KeyNeeded", message);
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(REALM));
        return refusal;
    }
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_reading && is_from_elsewhere(request.headers()) {
        let message =
            "a page of another site asked for this; changes are taken from our own pages and from programs";
        return (access.refusal)(StatusCode::FORBIDDEN, "OtherSite", message);
    }
    next.run(request).await
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
            keys.push(pair.split_once(':').map_or(pair.as_str(), |(user, _)| user).to_owned());
        }
    }
    keys
}

/// Takes the same time wherever they differ; only their lengths may be told from it.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.ct_eq(other).into()
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

    fn refusal(status: StatusCode, _: &str, _: &str) -> Response {
        Response::builder().status(status).body("".into()).expect("a response")
    }

    #[test]
    fn the_key_is_taken_wherever_it_may_stand() {
        let access = Access::new(Some(Secret::new("k:e y".to_owned())), refusal);
        let open = Access::new(None, refusal);
        assert!(open.is_known(&headers(&[])) && !access.is_known(&headers(&[])));
        assert!(access.is_known(&headers(&[("x-api-key", "k:e y")])));
        assert!(access.is_known(&headers(&[("authorization", "bearer k:e y")])));
        for wrong in ["k:e ", "k:e y2", "", "K:E Y"] {
            assert!(!access.is_known(&headers(&[("x-api-key", wrong)])), "{wrong}");
        }
        let simple = Access::new(Some(Secret::new("key".to_owned())), refusal);
        assert!(simple.is_known(&headers(&[("authorization", "Basic a2V5Og==")])), "key:");
        assert!(simple.is_known(&headers(&[("authorization", "Basic a2V5")])), "key");
        assert!(!simple.is_known(&headers(&[("authorization", "Basic OmtleQ==")])), ":key");
        assert!(!simple.is_known(&headers(&[("authorization", "Basic %%%")])));
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
