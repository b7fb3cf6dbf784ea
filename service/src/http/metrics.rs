//! `/api/v1/metrics`: metrics and their rows.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, FormattedRows, json_answer, rows_answer};
use super::extract::{FilterOptions, MAX_SAMPLES_BYTES, Options, RowOptions, Segment, Whole, count};
use super::samples;
use super::shared::Shared;
use crate::operations::Operations;
use crate::operations::listing::{MetricPage, MetricQuery};
use crate::operations::metric_json::{metric_json, monitored_json};
use crate::operations::row_format::RowFormat;

/// Metrics in one answer unless the limit says less.
const DEFAULT_LISTED: usize = 100;
/// Metrics in one answer at most.
const MAX_LISTED: usize = 1_000;

pub(super) fn routes() -> Router<Shared> {
    let ingest = post(samples::ingest).layer(DefaultBodyLimit::max(MAX_SAMPLES_BYTES));
    let samples = post(samples::add).layer(DefaultBodyLimit::max(MAX_SAMPLES_BYTES));
    Router::new()
        .route("/api/v1/ingest", ingest)
        .route("/api/v1/metrics", get(list))
        .route("/api/v1/metrics/{metric}", get(show).put(create).delete(delete))
        .route("/api/v1/metrics/{metric}/range", put(change_range))
        .route("/api/v1/metrics/{metric}/data", get(data))
        .route("/api/v1/metrics/{metric}/stats", get(stats))
        .route("/api/v1/metrics/{metric}/signals", get(signals))
        .route("/api/v1/metrics/{metric}/samples", samples)
}

/// What to list.
#[derive(Debug, Deserialize)]
pub(super) struct ListOptions {
    #[serde(flatten)]
    filter: FilterOptions,
    limit: Option<String>,
    cursor: Option<String>,
}

impl ListOptions {
    pub(super) fn query(self) -> Result<MetricQuery, ApiError> {
        let limit = count("limit", self.limit.as_deref(), DEFAULT_LISTED)?.clamp(1, MAX_LISTED);
        Ok(MetricQuery { filter: self.filter.filter()?, after: self.cursor, limit: Some(limit) })
    }
}

/// `GET /api/v1/metrics`: by name.
async fn list(
    State(shared): State<Shared>,
    Options(options): Options<ListOptions>,
) -> Result<Response, ApiError> {
    let query = options.query()?;
    Ok(json_answer(StatusCode::OK, page(&shared, query).await?))
}

/// One page of metrics; the cursor of the next one is the last name.
pub(super) async fn page(shared: &Shared, query: MetricQuery) -> Result<Value, ApiError> {
    shared
        .run(move |operations| {
            let MetricPage { metrics, total, has_more } = operations.metrics(&query)?;
            let next_cursor = metrics.last().filter(|_| has_more).map(|metric| metric.name.clone());
            let metrics: Vec<Value> =
                metrics.iter().map(|metric| operations.described(metric)).collect::<Result<_, _>>()?;
            Ok(json!({"metrics": metrics, "next_cursor": next_cursor, "total": total}))
        })
        .await
}

/// `GET /api/v1/metrics/NAME`.
async fn show(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let value = shared
        .run(move |operations| {
            let metric = operations.metric(&reference)?;
            let counts = operations.row_counts(&metric)?;
            let mut value = operations.described(&metric)?;
            value["rows"] = counts.rows.into();
            value["scored_rows"] = counts.scored.into();
            value["range"] = Operations::range(&metric).into();
            value["model"] = operations.model(&metric)?.into();
            value["signals"] = json!(operations.signals(metric.uid.as_str())?);
            Ok(value)
        })
        .await?;
    Ok(json_answer(StatusCode::OK, value))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: f64,
    max: f64,
}

/// `PUT /api/v1/metrics/NAME/range`: the model starts over with this range, over all rows.
async fn change_range(
    State(shared): State<Shared>,
    Segment(reference): Segment,
    body: Whole,
) -> Result<Response, ApiError> {
    let Range { min, max } = serde_json::from_slice(&body.0).map_err(|error| {
        ApiError::bad_request(&format!("expected {{\"min\": NUMBER, \"max\": NUMBER}}: {error}"))
    })?;
    let monitored = shared.run(move |operations| operations.change_range(&reference, min, max)).await?;
    Ok(json_answer(StatusCode::OK, monitored_json(&monitored)))
}

/// `PUT /api/v1/metrics/NAME`: makes an unmonitored metric.
async fn create(
    State(shared): State<Shared>,
    Segment(name): Segment,
    body: Whole,
) -> Result<Response, ApiError> {
    if !body.text()?.trim().is_empty() {
        return Err(ApiError::bad_request(
            "a metric is made without a body; post a specification to /api/v1/models to have it monitored",
        ));
    }
    let metric = shared.run(move |operations| operations.create_metric(&name)).await?;
    Ok(json_answer(StatusCode::CREATED, metric_json(&metric)))
}

/// `DELETE /api/v1/metrics/NAME`: with its rows and its model.
async fn delete(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let metric = shared.run(move |operations| operations.delete_metric(&reference)).await?;
    let value = json!({"uid": metric.uid.as_str(), "name": metric.name, "deleted": true});
    Ok(json_answer(StatusCode::OK, value))
}

/// `GET /api/v1/metrics/NAME/data`.
async fn data(
    State(shared): State<Shared>,
    Segment(reference): Segment,
    Options(options): Options<RowOptions>,
) -> Result<Response, ApiError> {
    let metric = shared.run(move |operations| operations.metric(&reference)).await?;
    let format = options.format(RowFormat::Json)?;
    let reader = options.reader(&metric)?;
    let rows = FormattedRows { format, name: metric.name };
    rows_answer(shared, reader, rows, format.media_type()).await
}

/// `GET /api/v1/metrics/NAME/signals`.
async fn signals(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let signals = shared.run(move |operations| operations.signals(&reference)).await?;
    Ok(json_answer(StatusCode::OK, json!(signals)))
}

/// `GET /api/v1/metrics/NAME/stats`.
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
