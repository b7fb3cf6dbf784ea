//! `/v1/instances`, `/v1/stats`, `/v1/health`: the engine as a whole.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, json_answer};
use super::extract::Options;
use super::shared::Shared;
use crate::operations::Operations;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/instances", get(instances))
        .route("/v1/stats", get(stats))
        .route("/v1/stats/display_value", get(display_value))
        .route("/v1/health", get(health))
}

/// `GET /v1/instances`: monitored metrics grouped by server.
pub(super) async fn instances(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let instances = shared.run(Operations::instances).await?;
    Ok(json_answer(StatusCode::OK, json!(instances)))
}

/// `GET /v1/stats`: how many metrics are in which status, and how many rows wait for their scores.
async fn stats(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let totals = shared.run(Operations::totals).await?;
    Ok(json_answer(StatusCode::OK, json!(totals)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodOptions {
    period_hours: Option<i64>,
}

/// `GET /v1/stats/display_value`: ids of metrics, the most anomalous of the last hours first.
async fn display_value(
    State(shared): State<Shared>,
    Options(options): Options<PeriodOptions>,
) -> Result<Response, ApiError> {
    let hours = options.period_hours.unwrap_or(24);
    let sums = shared.run(move |operations| operations.ids_by_display_value(hours)).await?;
    let list: Vec<Value> =
        sums.iter().map(|(id, sum)| json!({"uid": id.as_str(), "display_value": sum})).collect();
    Ok(json_answer(StatusCode::OK, list.into()))
}

/// `GET /v1/health`: 200 while the database answers.
async fn health(State(shared): State<Shared>) -> Result<Response, ApiError> {
    shared.run(|operations| Ok(operations.repository().newest_change()?)).await?;
    Ok(json_answer(StatusCode::OK, json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})))
}
