//! `/api/v1/metrics/NAME/series` and `/explain`: one metric for the eye.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use htm_core::detection::ALERT_THRESHOLD;
use htm_core::ids::RowId;
use serde::Deserialize;
use serde_json::json;

use super::answer::{ApiError, json_answer, json_text_answer};
use super::extract::{Options, Segment};
use super::shared::Shared;
use crate::operations::Operations;
use crate::operations::chart::ChartQuery;

/// Parts of a chart unless somebody says otherwise.
const DEFAULT_POINTS: usize = 1_500;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/metrics/{metric}/series", get(series))
        .route("/api/v1/metrics/{metric}/explain", get(explain))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesOptions {
    from: Option<String>,
    until: Option<String>,
    points: Option<usize>,
    min_score: Option<f64>,
}

/// `GET /api/v1/metrics/NAME/series`.
async fn series(
    State(shared): State<Shared>,
    Segment(reference): Segment,
    Options(options): Options<SeriesOptions>,
) -> Result<Response, ApiError> {
    let text = shared
        .run(move |operations| {
            let metric = operations.metric(&reference)?;
            let moment = |text: Option<String>| text.map(|text| operations.moment(&text)).transpose();
            let query = ChartQuery {
                since: moment(options.from)?,
                until: moment(options.until)?,
                points: options.points.unwrap_or(DEFAULT_POINTS),
                min_score: options.min_score.filter(|score| score.is_finite()).unwrap_or(ALERT_THRESHOLD),
            };
            let mut value = json!(operations.chart(&metric, &query)?);
            value["metric"] = metric.name.as_str().into();
            value["uid"] = metric.uid.as_str().into();
            value["range"] = Operations::range(&metric).into();
            // Here, since ten thousand numbers are too many for the runtime's threads.
            Ok(value.to_string())
        })
        .await?;
    Ok(json_text_answer(text))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainOptions {
    rowid: i64,
}

/// `GET /api/v1/metrics/NAME/explain`.
async fn explain(
    State(shared): State<Shared>,
    Segment(reference): Segment,
    Options(options): Options<ExplainOptions>,
) -> Result<Response, ApiError> {
    let explanation = shared
        .run(move |operations| {
            let metric = operations.metric(&reference)?;
            operations.explain(&metric, RowId(options.rowid))
        })
        .await?;
    Ok(json_answer(StatusCode::OK, json!(explanation)))
}
