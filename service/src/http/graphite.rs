//! The read side of Graphite over HTTP: what Grafana's built-in data source, and any client of graphite-web, asks for.
//!
//! `/render`, `/metrics/find`, `/metrics/expand`, `/metrics/index.json`, `/tags...`, `/functions...`, `/events/get_data` and
//! `/version`, each also below `/graphite`, with or without a slash at the end, by GET and by POST with a form. What they
//! compute lies in [`crate::graphite`]; here are parameters and answers only.
//!
//! Invariants: `jsonp` is refused everywhere, since it would let any page read what a visitor may; at most [`MAX_RENDERS`]
//! renders work at once, as each may hold millions of points.
//!
//! Source: graphite-web 1.1.10. Departures: the answer to `/render` without a format is JSON, as no pictures are drawn;
//! `from` and `until` of `/metrics/find` are checked and otherwise mean nothing; errors are this API's JSON.

mod events;
mod find;
mod functions;
mod parameters;
mod render;
mod tags;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{ApiError, NOSNIFF};
use super::shared::Shared;
use crate::graphite::catalog::Catalog;
use crate::graphite::catalog_cache::CatalogCache;
use crate::operations::{OperationError, Operations};

/// Renders at work at once; more wait.
const MAX_RENDERS: usize = 4;
/// The version of graphite-web whose interface this is; Grafana asks for tags and functions of 1.1 and later only.
const VERSION: &str = "1.1.10";

pub(super) fn routes() -> Router<Shared> {
    let room = Room { catalog: Arc::default(), renders: Arc::new(Semaphore::new(MAX_RENDERS)) };
    let routes = paths();
    Router::new().merge(routes.clone()).nest("/graphite", routes).layer(Extension(room))
}

/// What the handlers share beside the operations.
#[derive(Clone)]
struct Room {
    catalog: Arc<CatalogCache>,
    renders: Arc<Semaphore>,
}

impl Room {
    /// A place to render in. It belongs to the work, not to the request, as that may be given up while the work goes on.
    async fn render_place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.renders).acquire_owned().await.map_err(|_| ApiError::stopping())
    }

    /// Carries out `work` with the catalog on a thread that may wait.
    async fn run<T: Send + 'static>(
        &self,
        shared: &Shared,
        work: impl FnOnce(&Operations, &Catalog) -> Result<T, OperationError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let cache = Arc::clone(&self.catalog);
        shared.run(move |operations| work(operations, &*cache.current(operations)?)).await
    }
}

fn paths() -> Router<Shared> {
    let both: [(&str, MethodRouter<Shared>); 11] = [
        ("/render", get(render::render).post(render::render)),
        ("/metrics/find", get(find::find).post(find::find)),
        ("/metrics/expand", get(find::expand).post(find::expand)),
        ("/metrics/index.json", get(find::index).post(find::index)),
        ("/tags", get(tags::tags).post(tags::tags)),
        ("/tags/findSeries", get(tags::find_series).post(tags::find_series)),
        ("/tags/autoComplete/tags", get(tags::complete_tags).post(tags::complete_tags)),
        ("/tags/autoComplete/values", get(tags::complete_values).post(tags::complete_values)),
        ("/functions", get(functions::functions)),
        ("/events/get_data", get(events::events).post(events::events)),
        ("/version", get(version)),
    ];
    let mut routes = Router::new()
        .route("/tags/{tag}", get(tags::values).post(tags::values))
        .route("/functions/{function}", get(functions::function));
    for (path, methods) in both {
        routes = routes.route(&format!("{path}/"), methods.clone()).route(path, methods);
    }
    routes
}

/// `GET /version`: a text, as graphite-web answers it.
async fn version() -> Response {
    let media_type = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    ([media_type, NOSNIFF], format!("{VERSION}\n")).into_response()
}

/// JSON that must not be kept: the next sample changes it.
fn answer(value: &Value) -> Response {
    body_answer(value.to_string(), "application/json")
}

fn body_answer(body: impl Into<Body>, media_type: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        NOSNIFF,
    ];
    (headers, body.into()).into_response()
}
