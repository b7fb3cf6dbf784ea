//! How many requests are worked off at once, and for how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::answer::Failure;
use crate::log_limiter::LogLimiter;
use crate::self_metrics;

/// Requests worked off at once; more wait.
const MAX_REQUESTS: usize = 64;
/// From the end of a request's head to the head of its answer: receiving its body, waiting for its turn and working it
/// off. Rows of an answer may take longer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// When to ask again, where an answer says that it is not to be had now.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("10");

/// Lets requests in; one for each server.
#[derive(Clone)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    /// Requests that came so far: their numbers in the log.
    requests: Arc<AtomicU64>,
    failures: Arc<Mutex<LogLimiter>>,
    since: Instant,
    /// What a request hears that took too long.
    too_slow: fn(StatusCode, &str) -> Response,
}

impl Gate {
    pub(super) fn new(too_slow: fn(StatusCode, &str) -> Response) -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
            requests: Arc::default(),
            failures: Arc::default(),
            since: Instant::now(),
            too_slow,
        }
    }
}

/// The middleware.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let number = gate.requests.fetch_add(1, Ordering::Relaxed) + 1;
    // Not the query: it may hold what is nobody's business.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = timeout(REQUEST_TIMEOUT, async {
        // Closed never; then there would be no bound, not no answer.
        let _place = gate.places.acquire().await;
        next.run(request).await
    });
    let mut response = match answered.await {
        Ok(response) => response,
        Err(_) => (gate.too_slow)(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("the request was not answered within {} s; try again later", REQUEST_TIMEOUT.as_secs()),
        ),
    };
    let (status, elapsed) = (response.status(), started.elapsed());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(RETRY_AFTER_S);
    }
    self_metrics::count_request(status.as_u16(), elapsed);
    let status = status.as_u16();
    if status >= 500 {
        let mut failures = gate.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repeats) = failures.pass(gate.since.elapsed()) {
            let reason = response.extensions().get::<Failure>().map_or("", |failure| &failure.0);
            tracing::warn!(request = number, %method, path, status, ?elapsed, reason, "a request failed{repeats}");
        }
    } else {
        tracing::debug!(request = number, %method, path, status, ?elapsed, "answered");
    }
    response
}
