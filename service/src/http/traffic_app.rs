//! The routes of the traffic tutorial's own server, on the web application's port: `/data/...`.
//!
//! A route of the tutorial is a metric here: one that is named like it, or that has it as its tag `route`; its borough is
//! the tag `borough`. Scores are anomaly scores, times are New York's as the tutorial's pages expect them.
//!
//! Source: the Express server of htmengine-traffic-tutorial.
//! Departures: `anomalyAverage` takes one pass over the rows instead of one for each time; `anomalyAbove` says why it
//! fails; the matrix and the averages take `since` and `until` too and end with an error beyond [`MAX_ROWS`] rows, where
//! the original ran out of memory; the matrix is bounded by [`MAX_CELLS`], too. The rows of one route come page by page,
//! however many they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use htm_core::float_text::repr;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{ApiError, NOSNIFF, RowWriter, json_answer, rows_answer};
use super::extract::{Options, Segment};
use super::shared::Shared;
use crate::operations::metric_filter::tags_of;
use crate::operations::rows::{RowOrder, RowReader};
use crate::operations::{OperationError, Operations};
use crate::repository::metric::Metric;
use crate::repository::metric_data::{DataQuery, MetricRow};

/// Rows that one answer is made of.
pub(super) const MAX_ROWS: usize = 2_000_000;
/// Times of the matrix times its routes.
const MAX_CELLS: usize = 20_000_000;
/// Scores from this on count in the averages, as in the original.
const HIGH_SCORE: f64 = 0.9;
/// The media type of tables.
const CSV: &str = "text/csv; charset=utf-8";
/// Seconds to either side that an average looks at.
const AVERAGE_SPAN_S: i64 = 300;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/data/pathDetails", get(path_details))
        .route("/data/anomalies", get(anomalies))
        .route("/data/anomalyAverage", get(anomaly_average))
        .route("/data/anomalyAbove", get(anomaly_above))
        .route("/data/{route}", get(data))
}

#[derive(Debug, Default, Deserialize)]
struct RouteOptions {
    id: Option<String>,
    borough: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    limit: Option<usize>,
    threshold: Option<f64>,
}

impl RouteOptions {
    /// `until` is exclusive there.
    fn query(&self) -> DataQuery {
        let until = self.until.map(|until| until.saturating_sub(1));
        DataQuery { since: self.since, until, limit: self.limit, keep_oldest: true, ..DataQuery::default() }
    }
}

/// One route of the tutorial.
struct Route {
    id: String,
    metric: Metric,
}

impl Route {
    fn of(metric: Metric) -> Self {
        let tagged = tags_of(&metric.name).get("route").map(|id| (*id).to_owned());
        let id = tagged.unwrap_or_else(|| metric.name.trim_start_matches('/').to_owned());
        Self { id, metric }
    }
}

/// The routes of a borough, or all; by number where they are numbers.
fn all_routes(operations: &Operations, borough: Option<&str>) -> Result<Vec<Route>, OperationError> {
    let metrics = operations.repository().metrics(&[])?;
    let is_there =
        |metric: &Metric| borough.is_none_or(|it| tags_of(&metric.name).get("borough") == Some(&it));
    let mut routes: Vec<Route> = metrics.into_iter().filter(is_there).map(Route::of).collect();
    routes.sort_by(|one, other| {
        let number = |route: &Route| route.id.parse::<u64>().unwrap_or(u64::MAX);
        (number(one), &one.id).cmp(&(number(other), &other.id))
    });
    Ok(routes)
}

fn find_route(operations: &Operations, id: &str) -> Result<Metric, OperationError> {
    let found = operations.metric(id).or_else(|_| operations.metric(&format!("/{id}")));
    match found {
        Err(OperationError::ObjectNotFound { reason }) => {
            let routes = all_routes(operations, None)?;
            let route = routes.into_iter().find(|route| route.id == id);
            route.map(|route| route.metric).ok_or(OperationError::ObjectNotFound { reason })
        }
        found => found,
    }
}

/// Hands every matching row on; all of them together are bounded.
fn each_row(
    operations: &Operations,
    routes: &[Route],
    query: &DataQuery,
    mut take: impl FnMut(usize, &MetricRow),
) -> Result<(), OperationError> {
    let mut left = MAX_ROWS;
    for (at, route) in routes.iter().enumerate() {
        let mut reader = RowReader::new(route.metric.uid.clone(), *query, RowOrder::OldestFirst);
        loop {
            let page = reader.next_page(operations.repository())?;
            if page.is_empty() {
                break;
            }
            left = left.checked_sub(page.len()).ok_or_else(|| {
                OperationError::invalid(format!(
                    "there are more than {MAX_ROWS} rows; ask for fewer with since, until or borough"
                ))
            })?;
            for row in &page {
                take(at, row);
            }
        }
    }
    Ok(())
}

/// `GET /data/ROUTE`: time, value and score of each row.
async fn data(
    State(shared): State<Shared>,
    Segment(id): Segment,
    Options(options): Options<RouteOptions>,
) -> Result<Response, ApiError> {
    let metric = shared.run(move |operations| find_route(operations, &id)).await?;
    let reader = RowReader::new(metric.uid, options.query(), RowOrder::OldestFirst);
    rows_answer(shared, reader, RouteRows { zone: new_york() }, CSV).await
}

/// Time, value and score of each row, as the tutorial's pages read them.
struct RouteRows {
    zone: TimeZone,
}

impl RowWriter for RouteRows {
    fn opening(&self) -> Vec<u8> {
        b"timestamp,value,anomaly\n".to_vec()
    }

    fn write_page(&self, bytes: &mut Vec<u8>, rows: &[MetricRow], _: bool) {
        for row in rows {
            let score = row.anomaly_score.map_or_else(String::new, |score| format!(",{}", repr(score)));
            let line = format!("{},{}{score}\n", local_time(row.timestamp, &self.zone), repr(row.value));
            bytes.extend_from_slice(line.as_bytes());
        }
    }

    fn closing(&self) -> &'static [u8] {
        b""
    }
}

/// `GET /data/pathDetails`: what is known of some routes, or of all in a borough.
async fn path_details(
    State(shared): State<Shared>,
    Options(options): Options<RouteOptions>,
) -> Result<Response, ApiError> {
    let value = shared
        .run_large(move |operations| {
            let wanted: Option<Vec<&str>> = options.id.as_deref().map(|ids| ids.split(',').collect());
            let routes = all_routes(operations, options.borough.as_deref())?;
            let mut paths = Map::new();
            for route in routes {
                if wanted.as_ref().is_none_or(|ids| ids.contains(&route.id.as_str())) {
                    let tags = tags_of(&route.metric.name);
                    let details = json!({
                        "Borough": tags.get("borough").map_or(Value::Null, |it| Value::from(*it)),
                        "linkName": route.metric.description,
                        "linkId": route.id,
                        "metric": route.metric.name,
                    });
                    paths.insert(route.id, details);
                }
            }
            Ok(json!({"count": paths.len(), "paths": paths}))
        })
        .await?;
    Ok(json_answer(StatusCode::OK, value))
}

/// `GET /data/anomalies`: a line a time, a column a route.
async fn anomalies(
    State(shared): State<Shared>,
    Options(options): Options<RouteOptions>,
) -> Result<Response, ApiError> {
    let text = shared
        .run_large(move |operations| {
            let routes = all_routes(operations, options.borough.as_deref())?;
            // Of each time the routes in order that have a score then.
            let mut matrix: BTreeMap<i64, Vec<(usize, f64)>> = BTreeMap::new();
            each_row(operations, &routes, &options.query(), |at, row| {
                let scores = matrix.entry(row.timestamp).or_default();
                // The last of rows of one time.
                let _ = scores.pop_if(|(last, _)| *last == at);
                scores.extend(row.anomaly_score.map(|score| (at, score)));
            })?;
            check_cells(matrix.len(), routes.len())?;
            let zone = new_york();
            let mut text = "timestamp".to_owned();
            for route in &routes {
                text.extend([",", &route.id]);
            }
            text.push('\n');
            for (timestamp, scores) in matrix {
                text.push_str(&local_time(timestamp, &zone));
                let mut columns = 0;
                for (at, score) in scores {
                    text.extend(iter::repeat_n(',', at + 1 - columns));
                    text.push_str(&repr(score));
                    columns = at + 1;
                }
                text.extend(iter::repeat_n(',', routes.len() - columns));
                text.push('\n');
            }
            Ok(text)
        })
        .await?;
    Ok(csv_answer(text))
}

fn check_cells(times: usize, routes: usize) -> Result<(), OperationError> {
    if times.saturating_mul(routes) > MAX_CELLS {
        return Err(OperationError::invalid(format!(
            "{times} times of {routes} routes are more than {MAX_CELLS} cells; ask for fewer with since, until or borough"
        )));
    }
    Ok(())
}

/// `GET /data/anomalyAverage`: mean score, and how many are high, around each time.
async fn anomaly_average(
    State(shared): State<Shared>,
    Options(options): Options<RouteOptions>,
) -> Result<Response, ApiError> {
    let text = shared
        .run_large(move |operations| {
            let routes = all_routes(operations, options.borough.as_deref())?;
            // Of each time: sum, count, and how many are high.
            let mut times: BTreeMap<i64, (f64, u32, u32)> = BTreeMap::new();
            each_row(operations, &routes, &options.query(), |_, row| {
                if let Some(score) = row.anomaly_score {
                    let (sum, count, high) = times.entry(row.timestamp).or_default();
                    *sum += score;
                    *count += 1;
                    *high += u32::from(score > HIGH_SCORE);
                }
            })?;
            let zone = new_york();
            let mut text = "timestamp,average,above\n".to_owned();
            for &timestamp in times.keys() {
                let near = times.range(timestamp - AVERAGE_SPAN_S..=timestamp + AVERAGE_SPAN_S);
                let (sum, count, high) = near.fold((0.0, 0, 0), |(sum, count, high), (_, more)| {
                    (sum + more.0, count + more.1, high + more.2)
                });
                let mean = repr(sum / f64::from(count));
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{},{mean},{high}", local_time(timestamp, &zone));
            }
            Ok(text)
        })
        .await?;
    Ok(csv_answer(text))
}

/// `GET /data/anomalyAbove`: routes by how many of their scores lie above a threshold, the most first.
async fn anomaly_above(
    State(shared): State<Shared>,
    Options(options): Options<RouteOptions>,
) -> Result<Response, ApiError> {
    let list = shared
        .run_large(move |operations| {
            let threshold = options.threshold.filter(|it| it.is_finite()).unwrap_or(HIGH_SCORE);
            let routes = all_routes(operations, options.borough.as_deref())?;
            let mut counts = vec![0_u64; routes.len()];
            let query = DataQuery { min_anomaly_score: Some(threshold), ..options.query() };
            each_row(operations, &routes, &query, |at, row| {
                counts[at] += u64::from(row.anomaly_score.is_some_and(|score| score > threshold));
            })?;
            let mut ranked: Vec<(String, u64)> = routes
                .into_iter()
                .map(|route| route.id)
                .zip(counts)
                .filter(|(_, count)| *count > 0)
                .collect();
            // Stable, so that equal ones stay in the order of their ids.
            ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            Ok(ranked.into_iter().map(|(id, count)| json!({"id": id, "count": count})).collect::<Vec<_>>())
        })
        .await?;
    Ok(json_answer(StatusCode::OK, list.into()))
}

fn csv_answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(CSV)), NOSNIFF], text).into_response()
}

/// UTC if the zone were not known, which the bundled database rules out.
fn new_york() -> TimeZone {
    TimeZone::get("America/New_York").unwrap_or(TimeZone::UTC)
}

fn local_time(timestamp: i64, zone: &TimeZone) -> String {
    let local = Timestamp::from_second(timestamp).map(|time| time.to_zoned(zone.clone()));
    local.map_or_else(|_| timestamp.to_string(), |local| local.strftime("%Y/%m/%d %H:%M:%S").to_string())
}
