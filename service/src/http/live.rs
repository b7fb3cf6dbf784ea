//! `/api/v1/stream`: finished rows as they come, as Server-Sent Events.
//!
//! Each reader has a thread that waits at the bus and a short queue to its connection. A reader that takes nothing loses
//! the oldest messages at the bus and is told how many (`event: lost`); it never slows the engine down. When the API keys
//! change, all streams end: a browser connects anew by itself, and whoever may not any more is refused then.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::access::CheckedKeys;
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
    Extension(CheckedKeys(known)): Extension<CheckedKeys>,
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
    let keys = shared.site.keys.clone();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::middleware::from_fn_with_state;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{sleep, timeout};

    use super::super::access::{self, Access};
    use super::super::host::Hosts;
    use super::super::needed_role;
    use super::super::server::refused;
    use super::super::shared::MAX_BLOCKING;
    use super::*;
    use crate::api_key::{ApiKey, KeyRole};
    use crate::live_setting::LiveSetting;

    /// Takes every thread until it may end.
    async fn busy(shared: &Shared, may_end: &Arc<AtomicBool>) {
        let at_work = Arc::new(AtomicUsize::new(0));
        for _ in 0..MAX_BLOCKING {
            let (shared, may_end, at_work) = (shared.clone(), Arc::clone(may_end), Arc::clone(&at_work));
            tokio::spawn(async move {
                let waited = shared.run(move |_| {
                    at_work.fetch_add(1, Ordering::Relaxed);
                    while !may_end.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Ok(())
                });
                waited.await.expect("carried out");
            });
        }
        while at_work.load(Ordering::Relaxed) < MAX_BLOCKING {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The list of keys was taken after the wait, and was the new one already.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_whose_key_is_taken_out_while_it_waits_for_its_turn_does_not_follow() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = |name| vec![ApiKey::of_plain(name, KeyRole::Read, name)];
        let keys = LiveSetting::new(key("gone"));
        let shared = Shared::over(folder.path(), keys.clone());
        let access = Access {
            keys: keys.clone(),
            needed_role: needed_role::of_api,
            hosts: Hosts::new(&[], true),
            refusal: refused,
        };
        let router = routes().layer(from_fn_with_state(access, access::check)).with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut reader = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let may_end = Arc::new(AtomicBool::new(false));
        busy(&shared, &may_end).await;
        let head =
            "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: gone\r\n\r\n";
        reader.write_all(head.as_bytes()).await.expect("sent");
        while shared.readers.available_permits() == MAX_READERS {
            sleep(Duration::from_millis(1)).await;
        }
        keys.set(key("another"));
        may_end.store(true, Ordering::Relaxed);
        let mut answer = String::new();
        let ended = timeout(Duration::from_secs(30), reader.read_to_string(&mut answer)).await;
        ended.expect("an end").expect("text");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}
