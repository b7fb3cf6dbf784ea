//! `/api/v1/models`: monitored metrics, monitoring and giving up, specifications with their data in and out.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::answer::{ApiError, json_answer, json_text_answer};
use super::extract::{MAX_IMPORT_BYTES, Options, Segment, Whole};
use super::metrics::{ListOptions, page};
use super::shared::Shared;
use crate::operations::listing::MONITORED;
use crate::operations::metric_json::{error_json, monitored_json};
use crate::operations::{Monitored, OperationError, Operations};
use crate::repository::metric::{Metric, MetricStatus};

/// Specifications in one request.
pub(super) const MAX_SPECS: usize = 1_000;

pub(super) fn routes() -> Router<Shared> {
    let import = post(import).layer(DefaultBodyLimit::max(MAX_IMPORT_BYTES));
    Router::new()
        .route("/api/v1/models", get(list).post(create))
        .route("/api/v1/models/import", import)
        .route("/api/v1/models/{metric}", get(show).delete(unmonitor))
        .route("/api/v1/models/{metric}/activate", post(activate))
        .route("/api/v1/models/{metric}/export", get(export))
}

/// `GET /api/v1/models`: metrics that are monitored.
async fn list(
    State(shared): State<Shared>,
    Options(options): Options<ListOptions>,
) -> Result<Response, ApiError> {
    let mut query = options.query()?;
    if query.filter.statuses.is_empty() {
        query.filter.statuses = MONITORED.to_vec();
    }
    Ok(json_answer(StatusCode::OK, page(&shared, query).await?))
}

/// `POST /api/v1/models`: one specification, or a list of them. Of a list each is taken by itself; the answer is a list in
/// the same order of models and errors, with status 207 if there are errors.
async fn create(State(shared): State<Shared>, body: Whole) -> Result<Response, ApiError> {
    let value = read_json(&body)?;
    let Value::Array(specs) = value else {
        let text = value.to_string();
        let monitored = shared.run(move |operations| operations.monitor_metric(&text)).await?;
        return Ok(json_answer(StatusCode::CREATED, monitored_json(&monitored)));
    };
    check_count(&specs)?;
    let monitor = |operations: &Operations, spec: Value| operations.monitor_metric(&spec.to_string());
    let answers = shared.run(move |operations| Ok(each(operations, specs, monitor))).await?;
    let has_errors = answers.iter().any(|answer| answer.get("error").is_some());
    let status = if has_errors { StatusCode::MULTI_STATUS } else { StatusCode::CREATED };
    Ok(json_answer(status, answers.into()))
}

/// Each by itself: a bad one costs only itself.
fn each(
    operations: &Operations,
    specs: Vec<Value>,
    monitor: impl Fn(&Operations, Value) -> Result<Monitored, OperationError>,
) -> Vec<Value> {
    let answer =
        |spec| monitor(operations, spec).map_or_else(|error| error_json(&error), |it| monitored_json(&it));
    specs.into_iter().map(answer).collect()
}

/// `GET /api/v1/models/NAME`.
async fn show(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let value = shared
        .run(move |operations| {
            let metric = model(operations, &reference)?;
            let mut value = operations.described(&metric)?;
            value["range"] = Operations::range(&metric).into();
            value["model"] = operations.model(&metric)?.into();
            Ok(value)
        })
        .await?;
    Ok(json_answer(StatusCode::OK, value))
}

/// The metric, if it is monitored.
pub(super) fn model(operations: &Operations, reference: &str) -> Result<Metric, OperationError> {
    let metric = operations.metric(reference)?;
    if metric.status == MetricStatus::Unmonitored {
        let reason = format!("metric `{}` has no model; monitor it first", metric.name);
        return Err(OperationError::ObjectNotFound { reason });
    }
    Ok(metric)
}

/// `DELETE /api/v1/models/NAME`: gives up the model; samples stay.
async fn unmonitor(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let metric = shared.run(move |operations| operations.unmonitor_metric(&reference)).await?;
    let value =
        json!({"uid": metric.uid.as_str(), "name": metric.name, "status": 0, "status_name": "unmonitored"});
    Ok(json_answer(StatusCode::OK, value))
}

/// `POST /api/v1/models/NAME/activate`: starts the model of a waiting metric over the rows it has.
async fn activate(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let monitored = shared.run(move |operations| operations.activate_model(&reference)).await?;
    Ok(json_answer(StatusCode::OK, monitored_json(&monitored)))
}

/// `GET /api/v1/models/NAME/export`.
async fn export(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let text =
        shared.run_large(move |operations| Ok(operations.export_model(&reference)?.to_string())).await?;
    Ok(json_text_answer(text))
}

/// `POST /api/v1/models/import`: what an export gave.
async fn import(State(shared): State<Shared>, body: Whole) -> Result<Response, ApiError> {
    body.text()?;
    let imported = shared
        .run_large(move |operations| operations.import_model(str::from_utf8(&body.0).unwrap_or_default()))
        .await?;
    Ok(json_answer(StatusCode::CREATED, monitored_json(&imported)))
}

pub(super) fn read_json(body: &Whole) -> Result<Value, OperationError> {
    serde_json::from_slice(&body.0)
        .map_err(|error| OperationError::invalid(format!("the body is no JSON: {error}")))
}

pub(super) fn check_count(specs: &[Value]) -> Result<(), OperationError> {
    if specs.len() > MAX_SPECS {
        let message = format!("{} specifications; at most {MAX_SPECS} are taken at once", specs.len());
        return Err(OperationError::invalid(message));
    }
    Ok(())
}
