//! What every answer tells a browser not to do with it, errors and refusals too.
//!
//! Whoever makes an answer that may do more says so itself, as the dashboard does; what stands there already stays.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Answers are data: nothing in them is loaded, run or framed.
const DATA_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Each with what it keeps a browser from.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    // Running or showing anything that an answer holds.
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DATA_POLICY)),
    // Guessing that a text is a page.
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Telling others where it was, with names of metrics in it.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Framing, for browsers that do not know `frame-ancestors`.
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Letting pages of other sites load it.
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds what is missing.
pub(super) async fn secured(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}
