//! The routes of Taurus, the application on top of the original, with their JSON: `/_metrics`, `/_models`, `/_instances`.
//!
//! Source: `taurus_engine/webservices`.
//! Departures: no API key; data only as JSON (no msgpack stream) and one metric at a time; specifications take what
//! `/api/v1/models` takes; a bad one of a list does not stop those after it.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{ApiError, json_answer, json_text_answer};
use super::extract::{MAX_IMPORT_BYTES, Options, Segment, Whole, time};
use super::models::{check_count, model, read_json};
use super::overview;
use super::shared::Shared;
use crate::operations::listing::MONITORED;
use crate::operations::metric_json::{error_json, metric_json};
use crate::operations::row_format::time_text;
use crate::operations::rows::{PAGE_ROWS, RowOrder, RowReader};
use crate::operations::{OperationError, Operations};
use crate::repository::metric::{DATASOURCE_CUSTOM, Metric};
use crate::repository::metric_data::DataQuery;

/// Rows in one answer.
const MAX_ROWS: usize = 20 * PAGE_ROWS;
/// Servers in one request.
const MAX_SERVERS: usize = 1_000;
/// Seconds that Taurus reckoned for one row.
const ROW_S: f64 = 0.05;

pub(super) fn routes() -> Router<Shared> {
    let models = get(models).post(create).put(create).layer(DefaultBodyLimit::max(MAX_IMPORT_BYTES));
    Router::new()
        .route("/_metrics", get(datasources))
        .route("/_metrics/datasources", get(datasources))
        .route("/_metrics/custom", get(metrics))
        .route("/_metrics/custom/{metric}", delete(delete_metric))
        .route("/_models", models)
        .route("/_models/data/stats", get(stats))
        .route("/_models/export", get(export_all))
        .route("/_models/{metric}", get(show).delete(unmonitor))
        .route("/_models/{metric}/data", get(data))
        .route("/_models/{metric}/export", get(export))
        .route("/_instances", get(overview::instances).delete(unmonitor_servers))
}

async fn datasources() -> Response {
    json_answer(StatusCode::OK, json!([DATASOURCE_CUSTOM]))
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let metrics = shared.run(|operations| Ok(operations.repository().metrics(&[])?)).await?;
    Ok(json_answer(StatusCode::OK, metrics.iter().map(metric_json).collect()))
}

async fn delete_metric(
    State(shared): State<Shared>,
    Segment(reference): Segment,
) -> Result<Response, ApiError> {
    shared.run(move |operations| operations.delete_metric(&reference)).await?;
    Ok(done())
}

async fn models(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let metrics = shared.run(monitored).await?;
    Ok(json_answer(StatusCode::OK, metrics.iter().map(metric_json).collect()))
}

async fn show(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let metric = shared.run(move |operations| model(operations, &reference)).await?;
    Ok(json_answer(StatusCode::OK, json!([metric_json(&metric)])))
}

async fn create(State(shared): State<Shared>, body: Whole) -> Result<Response, ApiError> {
    let made = shared.run_large(move |operations| create_all(operations, body)).await?;
    let rows: Vec<Value> = made.iter().map(|it| it.as_ref().map_or_else(error_json, metric_json)).collect();
    if rows.len() == 1
        && let Some(Err(error)) = made.into_iter().next()
    {
        return Err(error.into());
    }
    let has_errors = rows.iter().any(|row| row.get("error").is_some());
    let status = if has_errors { StatusCode::MULTI_STATUS } else { StatusCode::CREATED };
    Ok(json_answer(status, rows.into()))
}

/// Of each specification by itself what came of it.
fn create_all(
    operations: &Operations,
    body: Whole,
) -> Result<Vec<Result<Metric, OperationError>>, OperationError> {
    let specs = match read_json(&body)? {
        Value::Array(specs) => specs,
        one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            vec![one]
        }
    };
    drop(body);
    check_count(&specs)?;
    Ok(specs.into_iter().map(|spec| create_one(operations, spec)).collect())
}

/// One that is monitored already is shown as it is.
fn create_one(operations: &Operations, spec: Value) -> Result<Metric, OperationError> {
    let spec = nested(spec);
    let has_data = spec.get("data").and_then(Value::as_array).is_some_and(|data| !data.is_empty());
    let made = if has_data {
        operations.import(spec)
    } else {
        let mut spec = spec;
        spec.as_object_mut().and_then(|spec| spec.remove("data"));
        operations.monitor_metric(&spec.to_string())
    };
    match made {
        Ok(monitored) => operations.metric(monitored.uid.as_str()),
        Err(OperationError::MetricAlreadyMonitored { uid, .. }) => operations.metric(uid.as_str()),
        Err(error) => Err(error),
    }
}

/// `{"uid", "datasource", "min", "max"}`, as older clients wrote it, in the form of a model specification.
fn nested(mut spec: Value) -> Value {
    let Some(object) = spec.as_object_mut().filter(|object| !object.contains_key("metricSpec")) else {
        return spec;
    };
    let mut metric_spec = Map::new();
    for key in ["uid", "metric"] {
        metric_spec.extend(object.remove(key).map(|value| (key.to_owned(), value)));
    }
    let mut model_params = Map::new();
    for key in ["min", "max", "minResolution"] {
        model_params.extend(object.remove(key).map(|value| (key.to_owned(), value)));
    }
    object.insert("metricSpec".to_owned(), metric_spec.into());
    if !model_params.is_empty() && !object.contains_key("modelParams") {
        object.insert("modelParams".to_owned(), model_params.into());
    }
    spec
}

async fn unmonitor(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    shared.run(move |operations| operations.unmonitor_metric(&reference)).await?;
    Ok(done())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataOptions {
    from: Option<String>,
    to: Option<String>,
    anomaly: Option<f64>,
    limit: Option<usize>,
}

/// Scored rows, newest first, or oldest first from a time on.
async fn data(
    State(shared): State<Shared>,
    Segment(reference): Segment,
    Options(options): Options<DataOptions>,
) -> Result<Response, ApiError> {
    let order = if options.from.is_some() { RowOrder::OldestFirst } else { RowOrder::NewestFirst };
    let query = DataQuery {
        since: time(options.from.as_deref())?,
        until: time(options.to.as_deref())?,
        min_anomaly_score: options.anomaly.filter(|score| *score > 0.0),
        is_scored: true,
        limit: Some(options.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS)),
        ..DataQuery::default()
    };
    let text = shared
        .run_large(move |operations| {
            let metric = operations.metric(&reference)?;
            let mut reader = RowReader::new(metric.uid, query, order);
            let mut list: Vec<Value> = Vec::new();
            loop {
                let page = reader.next_page(operations.repository())?;
                if page.is_empty() {
                    let names = ["timestamp", "value", "anomaly_score", "rowid"];
                    return Ok(json!({"names": names, "data": list}).to_string());
                }
                list.extend(page.iter().map(|row| {
                    json!([time_text(row.timestamp), row.value, row.anomaly_score, row.row_id.0])
                }));
            }
        })
        .await?;
    Ok(json_text_answer(text))
}

async fn stats(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let (_, rows) = shared.run(Operations::counts).await?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let left_s = (rows.unscored as f64 * ROW_S).ceil();
    Ok(json_answer(StatusCode::OK, json!({ "processing_time_remaining": left_s })))
}

async fn export(State(shared): State<Shared>, Segment(reference): Segment) -> Result<Response, ApiError> {
    let text = shared
        .run_large(move |operations| Ok(json!([operations.export_model(&reference)?]).to_string()))
        .await?;
    Ok(json_text_answer(text))
}

/// One model after another, so that no more than one at a time is in memory.
async fn export_all(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let metrics = shared.run(monitored).await?.into_iter();
    let asked = shared.clone();
    let exports = stream::try_unfold(Some((metrics, "[")), move |left| {
        let shared = asked.clone();
        async move {
            let Some((mut metrics, opening)) = left else { return Ok::<_, ApiError>(None) };
            let Some(metric) = metrics.next() else {
                let end = if opening == "[" { "[]" } else { "]" };
                return Ok(Some((Bytes::from_static(end.as_bytes()), None)));
            };
            let export =
                move |operations: &Operations| Ok(format!("{opening}{}", operations.export(&metric)?));
            let text = shared.run_large(export).await?;
            Ok(Some((shared.unsent.hold(text.into())?, Some((metrics, ",")))))
        }
    });
    let mut exports = Box::pin(exports);
    // Before the answer begins, so that a failure still is an error with a status; a later one breaks the answer off.
    let first = exports.try_next().await?;
    let rest = exports.map_err(move |error| shared.broken_off("exporting a model", &error));
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((json, Body::from_stream(stream::iter(first.map(Ok)).chain(rest))).into_response())
}

/// `DELETE /_instances` with a list of servers: gives up all their models.
async fn unmonitor_servers(State(shared): State<Shared>, body: Whole) -> Result<Response, ApiError> {
    let servers: Vec<String> = serde_json::from_slice(&body.0)
        .map_err(|error| ApiError::bad_request(&format!("expected a list of servers: {error}")))?;
    if servers.len() > MAX_SERVERS {
        let message = format!("{} servers; at most {MAX_SERVERS} are taken at once", servers.len());
        return Err(ApiError::bad_request(&message));
    }
    let unknown = shared
        .run(move |operations| {
            let mut unknown = Vec::new();
            for server in servers {
                let mut metrics = operations.repository().metrics(&MONITORED)?;
                metrics.retain(|metric| metric.server.as_ref() == Some(&server));
                for metric in &metrics {
                    operations.unmonitor_metric(metric.uid.as_str())?;
                }
                if metrics.is_empty() {
                    unknown.push(server);
                }
            }
            Ok(unknown)
        })
        .await?;
    if unknown.is_empty() {
        return Ok(done());
    }
    let message = format!("nothing is monitored of {}; the others were given up", unknown.join(", "));
    Err(OperationError::ObjectNotFound { reason: message }.into())
}

fn monitored(operations: &Operations) -> Result<Vec<Metric>, OperationError> {
    Ok(operations.repository().metrics(&MONITORED)?)
}

fn done() -> Response {
    json_answer(StatusCode::OK, json!({"result": "success"}))
}
