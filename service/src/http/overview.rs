//! `/api/v1/overview`, `instances`, `rejects`, `settings`, `stats`, and whether the engine is there: the engine as a whole.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, json_answer};
use super::extract::Options;
use super::shared::Shared;
use crate::operations::Operations;
use crate::repository::reject::RejectEntry;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/instances", get(instances))
        .route("/api/v1/rejects", get(rejects))
        .route("/api/v1/settings", get(settings))
        .route("/api/v1/stats/display_value", get(display_value))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
}

/// `GET /api/v1/overview`.
async fn overview(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let inside = shared.clone();
    let overview = shared.run(move |operations| operations.overview(&inside.site.gauge)).await?;
    let mut value = json!(overview);
    let engine = overview.engine.as_ref();
    let models = engine.map(|it| &it.models);
    value["queues"] = json!({
        "data": engine.map(|it| it.data_queue),
        "hints": engine.map(|it| it.hints_queue),
        "scores": engine.map(|it| it.scores_queue),
    });
    value["models"] = json!({
        "resident": models.map(|it| it.resident_models),
        "resident_bytes": models.map(|it| it.resident_bytes),
        "budget_bytes": models.map(|it| it.memory_budget_bytes),
        "known": models.map(|it| it.known_models),
        "hungry": models.map(|it| it.fresh_models + it.backlog_models),
    });
    value["started_at"] = json!(engine.map(|it| it.started_at));
    Ok(json_answer(StatusCode::OK, value))
}

/// `GET /api/v1/instances`: monitored metrics grouped by server.
pub(super) async fn instances(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let instances = shared.run(Operations::instances).await?;
    Ok(json_answer(StatusCode::OK, json!(instances)))
}

/// `GET /api/v1/rejects`: what was refused, by reason.
async fn rejects(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let entries = shared.run(|operations| Ok(operations.repository().rejects()?)).await?;
    let total: u64 = entries.iter().map(|entry| entry.count).sum();
    let rejects: Vec<Value> = entries.iter().map(RejectEntry::to_json).collect();
    Ok(json_answer(StatusCode::OK, json!({"rejects": rejects, "total": total})))
}

/// `GET /api/v1/settings`: those of this process, without secrets.
async fn settings(State(shared): State<Shared>) -> Response {
    let settings: Vec<Value> = shared
        .site
        .settings
        .get()
        .iter()
        .map(|entry| json!({"name": entry.name, "value": entry.value, "layer": entry.layer.to_string()}))
        .collect();
    json_answer(StatusCode::OK, json!({ "settings": settings }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodOptions {
    period_hours: Option<i64>,
}

/// `GET /api/v1/stats/display_value`: ids of metrics, the most anomalous of the last hours first.
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

/// `GET /healthz`: 200 while this process answers.
async fn healthz() -> Response {
    json_answer(StatusCode::OK, json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: 200 while the database answers too.
async fn readyz(State(shared): State<Shared>) -> Result<Response, ApiError> {
    shared.run(|operations| Ok(operations.repository().newest_change()?)).await?;
    Ok(healthz().await)
}

/// `GET /metrics`: the engine's own figures, for Prometheus.
async fn prometheus(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let inside = shared.clone();
    let text = shared.run(move |operations| operations.figures_text(&inside.site.gauge)).await?;
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}
