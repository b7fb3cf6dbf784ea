//! `/api/v1/alerts`: episodes, rules and channels, and trying a channel.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, json_answer};
use super::extract::{Options, Whole, time};
use super::shared::Shared;
use crate::operations::alerts::ListedEpisode;
use crate::repository::alert::EpisodeQuery;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/alerts", get(list))
        .route("/api/v1/alerts/rules", get(rules))
        .route("/api/v1/alerts/test", post(test))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListOptions {
    state: Option<String>,
    metric: Option<String>,
    rule: Option<String>,
    from: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/alerts`: episodes, the latest first.
async fn list(
    State(shared): State<Shared>,
    Options(options): Options<ListOptions>,
) -> Result<Response, ApiError> {
    let is_open = match options.state.as_deref() {
        None | Some("all") => false,
        Some("open") => true,
        Some(other) => {
            let message = format!("state is `{}`; expected open or all", other.escape_debug());
            return Err(ApiError::bad_request(&message));
        }
    };
    let (from, until) = (time(options.from.as_deref())?, time(options.until.as_deref())?);
    let episodes = shared
        .run(move |operations| {
            let uid = options.metric.map(|name| operations.metric(&name)).transpose()?;
            let uid = uid.map(|metric| metric.uid);
            let query = EpisodeQuery { is_open, uid, rule: options.rule, from, until, limit: options.limit };
            operations.alert_episodes(&query)
        })
        .await?;
    let episodes: Vec<Value> = episodes.iter().map(ListedEpisode::json).collect();
    Ok(json_answer(StatusCode::OK, json!({"episodes": episodes})))
}

/// `GET /api/v1/alerts/rules`: rules and channels, without secrets.
async fn rules(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let shown = shared.run(|operations| Ok(operations.alert_settings().shown())).await?;
    Ok(json_answer(StatusCode::OK, shown))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestBody {
    channel: String,
}

/// `POST /api/v1/alerts/test`: sends a test message, once, and says what came of it.
async fn test(State(shared): State<Shared>, body: Whole) -> Result<Response, ApiError> {
    let TestBody { channel } = serde_json::from_slice(&body.0)
        .map_err(|error| ApiError::bad_request(&format!("expected {{\"channel\": NAME}}: {error}")))?;
    let verdict = shared.run(move |operations| operations.test_alert_channel(&channel)).await?;
    let value = json!({
        "delivered": verdict.is_delivered(),
        "status": verdict.status,
        "error": verdict.error,
    });
    Ok(json_answer(StatusCode::OK, value))
}
