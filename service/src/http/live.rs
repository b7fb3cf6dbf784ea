//! `/api/v1/stream`: finished rows as they come, as Server-Sent Events.
//!
//! Each reader has a thread that waits at the bus and a short queue to its connection. A reader that takes nothing loses
//! the oldest messages at the bus and is told how many (`event: lost`); it never slows the engine down. When the API keys
//! change, all streams end: a browser connects anew by itself, and whoever may not any more is refused then.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::answer::ApiError;
use super::extract::{Options, number};
use super::shared::Shared;
use crate::bus::message::{InferenceResults, ResultMessage, ResultRow};
use crate::bus::{BusError, Subscription};

/// Readers at once; more are refused.
pub(super) const MAX_READERS: usize = 64;
/// Events between the thread and the connection of a reader.
const MAX_WAITING_EVENTS: usize = 64;
/// Metrics that a reader may name.
const MAX_METRICS: usize = 1_000;
/// How often a reader that nothing happens for is looked after.
const RECEIVE_WAIT: Duration = Duration::from_millis(500);
/// Pause while the broker is away.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often a comment keeps a quiet connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/stream", get(stream_rows))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    /// Names or ids, one a line.
    metric: Option<String>,
    min_score: Option<String>,
}

/// What a reader wants to hear of.
#[derive(Debug)]
struct Wanted {
    /// Names or ids; empty for all.
    metrics: HashSet<String>,
    /// Least detection score of a row.
    min_score: f64,
}

/// `GET /api/v1/stream`.
async fn stream_rows(
    State(shared): State<Shared>,
    Options(options): Options<StreamOptions>,
) -> Result<Response, ApiError> {
    let metrics: HashSet<String> =
        options.metric.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    if metrics.len() > MAX_METRICS {
        let message = format!("{} metrics; at most {MAX_METRICS} are followed by name", metrics.len());
        return Err(ApiError::bad_request(&message));
    }
    let wanted = Wanted { metrics, min_score: number("min_score", options.min_score.as_deref(), 0.0)? };
    let Ok(place) = shared.readers.clone().try_acquire_owned() else {
        let message = format!("{MAX_READERS} readers follow already; close one, or ask for /data instead");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TooManyReaders", &message));
    };
    let subscription = shared.run(|operations| Ok(operations.follow())).await?;
    let Some(subscription) = subscription else { return Err(ApiError::stopping()) };
    let (keys, known) = (shared.site.keys.clone(), shared.site.keys.get());
    let (events, received) = mpsc::channel(MAX_WAITING_EVENTS);
    std::thread::Builder::new()
        .name("live".to_owned())
        .spawn(move || {
            let _place = place;
            follow(subscription, &wanted, &events, || *keys.get() == *known);
        })
        .map_err(|_| ApiError::stopping())?;
    let stream = stream::unfold(received, |mut received| async move {
        let event = received.recv().await?;
        Some((Ok::<_, Infallible>(event), received))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// Until the reader or the bus has gone, or the reader may follow no more.
fn follow(
    mut subscription: Box<dyn Subscription<ResultMessage>>,
    wanted: &Wanted,
    events: &mpsc::Sender<Event>,
    may_follow: impl Fn() -> bool,
) {
    while may_follow() {
        let event = match subscription.receive(RECEIVE_WAIT) {
            Ok(Some(ResultMessage::Inference(results))) => wanted.event(&results),
            Ok(Some(ResultMessage::Command(_)) | None) => None,
            Err(BusError::Lagged { lost }) => Some(event("lost", &json!({ "lost": lost }))),
            Err(BusError::Closed) => return,
            Err(BusError::Transient { .. } | BusError::Refused { .. }) => {
                std::thread::sleep(RETRY_PAUSE);
                None
            }
        };
        let has_left = match event {
            Some(event) => events.blocking_send(event).is_err(),
            None => events.is_closed(),
        };
        if has_left {
            return;
        }
    }
}

impl Wanted {
    fn event(&self, results: &InferenceResults) -> Option<Event> {
        let metric = &results.metric;
        let is_wanted = self.metrics.is_empty()
            || self.metrics.contains(&metric.name)
            || self.metrics.contains(&metric.uid);
        let rows: Vec<Value> = if is_wanted {
            results
                .results
                .iter()
                .filter(|row| self.min_score <= 0.0 || score(row) >= self.min_score)
                .map(shown)
                .collect()
        } else {
            Vec::new()
        };
        let value = json!({"metric": metric.name, "uid": metric.uid, "rows": rows});
        (!rows.is_empty()).then(|| event("rows", &value))
    }
}

fn score(row: &ResultRow) -> f64 {
    row.detection.map_or(0.0, |detection| detection.score)
}

fn shown(row: &ResultRow) -> Value {
    json!({
        "rowid": row.rowid,
        "timestamp": row.ts,
        "value": row.value,
        "raw": row.raw_anomaly,
        "anomaly": row.anomaly,
        "detection": row.detection.map(|detection| detection.score),
        "alert": row.detection.map(|detection| detection.alert_score),
    })
}

fn event(name: &str, value: &Value) -> Event {
    Event::default().event(name).data(value.to_string())
}
