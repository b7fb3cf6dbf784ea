//! How many requests are worked off at once, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::self_metrics;

/// Requests worked off at once; more wait.
const MAX_REQUESTS: usize = 64;
/// From the end of a request's head to the head of its answer: receiving its body, waiting for its turn and working it
/// off. Rows of an answer may take longer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Lets requests in; one for each server.
#[derive(Clone)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    /// What a request hears that took too long.
    too_slow: fn(StatusCode, &str) -> Response,
}

impl Gate {
    pub(super) fn new(too_slow: fn(StatusCode, &str) -> Response) -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_REQUESTS)), too_slow }
    }
}

/// The middleware.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let answered = timeout(REQUEST_TIMEOUT, async {
        // Closed never; then there would be no bound, not no answer.
        let _place = gate.places.acquire().await;
        next.run(request).await
    });
    let response = match answered.await {
        Ok(response) => response,
        Err(_) => (gate.too_slow)(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("the request was not answered within {} s; try again later", REQUEST_TIMEOUT.as_secs()),
        ),
    };
    self_metrics::count_request(response.status().as_u16(), started.elapsed());
    response
}
