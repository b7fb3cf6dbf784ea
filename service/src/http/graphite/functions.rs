//! `/functions` and `/functions/NAME`: what targets may call.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer;
use super::parameters::Parameters;
use crate::graphite::function_index;
use crate::http::answer::ApiError;
use crate::http::extract::Segment;

/// `GET /functions`, of one `group` or all, `grouped` or not.
pub(super) async fn functions(parameters: Parameters) -> Response {
    answer(&function_index::index(parameters.one("group"), parameters.is_set("grouped")))
}

/// `GET /functions/NAME`.
pub(super) async fn function(Segment(name): Segment) -> Result<Response, ApiError> {
    function_index::entry(&name).map(|entry| answer(&entry)).ok_or_else(|| {
        let shown: String = name.chars().take(60).collect();
        let message = format!("there is no function `{}`; /functions lists them", shown.escape_debug());
        ApiError::new(StatusCode::NOT_FOUND, "ObjectNotFoundError", &message)
    })
}
