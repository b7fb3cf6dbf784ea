//! `/v1/metrics`: metrics and their rows.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, json_answer, rows_answer};
use super::extract::{MAX_SAMPLES_BYTES, Options, RowOptions, Segment, Whole, status};
use super::samples;
use super::shared::Shared;
use crate::operations::listing::MetricQuery;
use crate::operations::metric_json::metric_json;
use crate::operations::row_format::{RowFormat, row_json};

/// Metrics in one answer unless the limit says less.
const MAX_LISTED: usize = 10_000;

pub(super) fn routes() -> Router<Shared> {
    let samples = post(samples::add).layer(DefaultBodyLimit::max(MAX_SAMPLES_BYTES));
    Router::new()
        .route("/v1/metrics", get(list))
        .route("/v1/metrics/{metric}", get(show).put(create).delete(delete))
        .route("/v1/metrics/{metric}/data", get(data))
        .route("/v1/metrics/{metric}/stats", get(stats))
        .route("/v1/metrics/{metric}/signals", get(signals))
        .route("/v1/metrics/{metric}/samples", samples)
}

/// What to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOptions {
    server: Option<String>,
    status: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

impl ListOptions {
    pub(super) fn query(self) -> Result<MetricQuery, ApiError> {
        let statuses = self
            .status
            .as_deref()
            .map_or(Ok(Vec::new()), |text| text.split(',').map(status).collect::<Result<Vec<_>, _>>())?;
        let limit = Some(self.limit.unwrap_or(MAX_LISTED).min(MAX_LISTED));
        Ok(MetricQuery { server: self.server, statuses, after: self.after, limit })
    }
}

/// `GET /v1/metrics`: by name; `after` is the last name of the page before.
async fn list(
    State(shared): State<Shared>,
    Options(options): Options<ListOptions>,
) -> Result<Response, ApiError> {
    let query = options.query()?;
    let metrics = shared.run(move |operations| operations.metrics(&query)).await?;
    Ok(json_answer(StatusCode::OK, metrics.iter().map(metric_json).collect()))
}

/// `GET /v1/metrics/NAME`.
async fn show(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let value = shared
        .run(move |operations| {
            let metric = operations.metric(&reference)?;
            let counts = operations.row_counts(&metric)?;
            let newest = operations.newest_row(&metric.uid)?;
            let mut value = metric_json(&metric);
            value["rows"] = counts.rows.into();
            value["scored_rows"] = counts.scored.into();
            value["newest_row"] = newest.as_ref().map_or(Value::Null, row_json);
            Ok(value)
        })
        .await?;
    Ok(json_answer(StatusCode::OK, value))
}

/// `PUT /v1/metrics/NAME`: makes an unmonitored metric.
async fn create(
    State(shared): State<Shared>,
    Segment(name): Segment,
    body: Whole,
) -> Result<Response, ApiError> {
    if !body.text()?.trim().is_empty() {
        return Err(ApiError::bad_request(
            "a metric is made without a body; post a specification to /v1/models to have it monitored",
        ));
    }
    let metric = shared.run(move |operations| operations.create_metric(&name)).await?;
    Ok(json_answer(StatusCode::CREATED, metric_json(&metric)))
}

/// `DELETE /v1/metrics/NAME`: with its rows and its model.
async fn delete(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let metric = shared.run(move |operations| operations.delete_metric(&reference)).await?;
    let value = json!({"uid": metric.uid.as_str(), "name": metric.name, "deleted": true});
    Ok(json_answer(StatusCode::OK, value))
}

/// `GET /v1/metrics/NAME/data`.
async fn data(
    State(shared): State<Shared>,
    Segment(reference): Segment,
    Options(options): Options<RowOptions>,
) -> Result<Response, ApiError> {
    let metric = shared.run(move |operations| operations.metric(&reference)).await?;
    let format = options.format(RowFormat::Json)?;
    let reader = options.reader(&metric)?;
    rows_answer(shared, reader, metric.name, format, format.media_type()).await
}

/// `GET /v1/metrics/NAME/signals`.
async fn signals(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let signals = shared.run(move |operations| operations.signals(&reference)).await?;
    Ok(json_answer(StatusCode::OK, json!(signals)))
}

/// `GET /v1/metrics/NAME/stats`.
async fn stats(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let value = shared
        .run(move |operations| {
            let stats = operations.metric_stats(&reference)?;
            let counts = operations.row_counts(&operations.metric(&reference)?)?;
            Ok(json!({"min": stats.min, "max": stats.max, "rows": counts.rows, "scored_rows": counts.scored}))
        })
        .await?;
    Ok(json_answer(StatusCode::OK, value))
}
