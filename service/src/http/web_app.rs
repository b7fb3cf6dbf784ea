//! The routes of the original's skeleton web application: `PUT`, `POST`, `GET` and, ours, `DELETE` of `/<metric>`.
//!
//! Answers are plain text called `text/html`, as its clients know them. A metric is named by the path: without its leading
//! slash, unless slash names are asked for; texts always show the path.
//!
//! Invariant: a request is judged whole before anything is done, so a refused one changed nothing.
//!
//! Source: skeleton-htmengine-app's `webapp.py`.
//! Departures: an empty `PUT` body means no parameters; a bad one no longer starts a model all the same; a `POST` with a
//! bad line is refused whole with 400 (the original broke off in its middle); values may be separated from times by
//! any blanks, times may be fractions, `-1` or `N`; an unknown metric is 404; other methods are 405; `GET` takes `since`,
//! `until`, `limit` (the newest so many, which are then read at once) and `format`; a policy header keeps browsers from
//! running what a name may say.

use std::fmt::Write;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::answer::{ApiError, Failure, FormattedRows, NOSNIFF, rows_answer};
use super::extract::{MAX_SAMPLES_BYTES, Options, RowOptions, Whole};
use super::shared::Shared;
use super::traffic_app;
use crate::model_params::ModelSpec;
use crate::operations::OperationError;
use crate::operations::row_format::RowFormat;
use crate::operations::samples::JudgedLines;
use crate::repository::metric::DATASOURCE_CUSTOM;

/// Bad lines told one by one.
const MAX_TOLD: usize = 20;

pub(super) fn routes() -> Router<Shared> {
    let metrics = Router::new().fallback(handle).layer(DefaultBodyLimit::max(MAX_SAMPLES_BYTES));
    traffic_app::routes().merge(metrics)
}

/// A refusal as text.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into() }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { status: error.status, text: format!("{}\n", error.message()) }
    }
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response {
    let answered = match metric_of(request.uri().path(), shared.site.slash_names) {
        Err(refusal) => Err(refusal),
        Ok(target) => match *request.method() {
            Method::PUT => put(shared, target, request).await,
            Method::POST => post(shared, target, request).await,
            Method::GET => get(shared, target, request).await,
            Method::DELETE => delete(shared, target, request).await,
            _ => Err(Refusal {
                status: StatusCode::METHOD_NOT_ALLOWED,
                text: "expected PUT, POST, GET or DELETE of /<metric>\n".to_owned(),
            }),
        },
    };
    answered.unwrap_or_else(|refusal| text_answer(refusal.status, refusal.text))
}

/// Which metric a path is about.
struct Target {
    /// Its name.
    name: String,
    /// What texts call it.
    shown: String,
}

fn metric_of(path: &str, slash_names: bool) -> Result<Target, Refusal> {
    let decoded = percent_decoded(path).ok_or_else(|| Refusal::bad("the path is not UTF-8 text\n"))?;
    let bare = decoded.strip_prefix('/').unwrap_or(&decoded);
    if bare.is_empty() {
        let text = "name a metric: /<metric>\n".to_owned();
        return Err(Refusal { status: StatusCode::NOT_FOUND, text });
    }
    if bare.chars().any(|c| c.is_ascii_whitespace() || c.is_control()) {
        return Err(Refusal::bad("a metric name may hold neither blanks nor control characters\n"));
    }
    let name = if slash_names { decoded.clone() } else { bare.to_owned() };
    Ok(Target { name, shown: format!("/{bare}") })
}

/// `PUT /<metric>`: monitors it with the body as `modelParams`.
async fn put(shared: Shared, target: Target, request: Request) -> Result<Response, Refusal> {
    let body = Whole::of(request).await?;
    let unreadable = |why: String| Refusal::bad(format!("Unable to parse request: {why}\n"));
    let params: Map<String, Value> = if body.0.trim_ascii().is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(&body.0).map_err(|error| unreadable(error.to_string()))?
    };
    let mut spec = json!({"datasource": DATASOURCE_CUSTOM, "metricSpec": {"metric": target.name}});
    if !params.is_empty() {
        spec["modelParams"] = params.into();
    }
    let (_, spec) =
        ModelSpec::from_json_with_uid(&spec.to_string()).map_err(|error| unreadable(error.to_string()))?;
    let made = shared
        .run(move |operations| match operations.monitor(None, spec) {
            Ok(monitored) => Ok(Some(monitored)),
            Err(OperationError::MetricAlreadyMonitored { .. }) => Ok(None),
            Err(error) => Err(error),
        })
        .await?;
    match made {
        Some(monitored) => Ok(text_answer(StatusCode::CREATED, format!("Created {}\n", monitored.uid))),
        None => Err(Refusal::bad(format!("Model already exists for {}", target.shown))),
    }
}

/// `POST /<metric>`: lines of `value unix_seconds`, handed over as a client of the bus does.
async fn post(shared: Shared, target: Target, request: Request) -> Result<Response, Refusal> {
    let body = Whole::of(request).await?;
    let limits = shared.site.limits;
    let name = target.name;
    let saved = shared
        .run_large(move |operations| {
            let name = operations.name_for_samples(&name)?;
            let judged = operations.judge_lines(&name, &body.0, &limits);
            if !judged.refused.is_empty() {
                return Ok(Err(refused_text(&judged)));
            }
            operations.hand_over(&name, &judged.samples)?;
            let mut text = String::new();
            for sample in &judged.samples {
                // A string takes all.
                let _ = writeln!(text, "Saved {} {:.6} @ {}", target.shown, sample.value, sample.timestamp);
            }
            Ok(Ok(text))
        })
        .await?;
    saved.map(|text| text_answer(StatusCode::OK, text)).map_err(Refusal::bad)
}

fn refused_text(judged: &JudgedLines) -> String {
    let mut text = format!("Nothing was saved: {} lines are no samples\n", judged.refused.len());
    for line in judged.refused.iter().take(MAX_TOLD) {
        let _ = writeln!(text, "line {} `{}`: {}", line.number, line.text, line.reason.advice());
    }
    text
}

/// `GET /<metric>`: its rows, oldest first.
async fn get(shared: Shared, target: Target, request: Request) -> Result<Response, Refusal> {
    let options: RowOptions = Options::of(request).await?.0;
    let format = options.format(RowFormat::Text)?;
    let name = target.name;
    let metric = shared.run(move |operations| operations.metric(&name)).await?;
    let newest = options.newest(&metric)?;
    let reader = match newest {
        None => options.reader(&metric)?,
        // From the oldest of the newest so many on.
        Some(mut newest) => {
            let oldest = shared
                .run(move |operations| {
                    let mut oldest = None;
                    loop {
                        let rows = newest.next_page(operations.repository())?;
                        let Some(row) = rows.last() else { return Ok(oldest) };
                        oldest = Some(row.row_id);
                    }
                })
                .await?;
            options.reader_from(&metric, oldest)?
        }
    };
    let media_type = if format == RowFormat::Text { "text/html" } else { format.media_type() };
    let rows = FormattedRows { format, name: target.shown };
    let mut response = rows_answer(shared, reader, rows, media_type).await?;
    response.headers_mut().extend([POLICY]);
    Ok(response)
}

/// `DELETE /<metric>`: gives up its model; with `?purge=1` the metric and its rows too.
async fn delete(shared: Shared, target: Target, request: Request) -> Result<Response, Refusal> {
    let purge: PurgeOptions = Options::of(request).await?.0;
    let is_purge = match purge.purge.as_deref() {
        None | Some("0") => false,
        Some("1") => true,
        Some(other) => {
            return Err(Refusal::bad(format!("purge is `{other}`; expected 1 or 0\n")));
        }
    };
    let name = target.name;
    let metric = shared
        .run(
            move |operations| {
                if is_purge { operations.delete_metric(&name) } else { operations.unmonitor_metric(&name) }
            },
        )
        .await?;
    let done = if is_purge { "Deleted" } else { "Unmonitored" };
    Ok(text_answer(StatusCode::OK, format!("{done} {}\n", metric.uid)))
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeOptions {
    purge: Option<String>,
}

/// Text as the skeleton's clients expect it. One about a failure is for the log, too.
pub(super) fn text_answer(status: StatusCode, text: String) -> Response {
    let media_type = (header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let failure = status.is_server_error().then(|| Failure(text.trim_end().to_owned()));
    let mut response = (status, [media_type, NOSNIFF, POLICY], text).into_response();
    if let Some(failure) = failure {
        response.extensions_mut().insert(failure);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = HeaderValue::from_static("PUT, POST, GET, DELETE");
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// Names and lines of strangers stand in a text that browsers take for a page.
const POLICY: (HeaderName, HeaderValue) =
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));

/// The path with `%xx` replaced by its byte; `None` if that is no text. A `%` that no two digits follow stands for
/// itself.
fn percent_decoded(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| str::from_utf8(digits).ok());
        let is_hex = |text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let escaped = digits.filter(is_hex).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        for (path, name) in
            [("/a", "/a"), ("/a%20b", "/a b"), ("/a%2Fb", "/a/b"), ("/100%", "/100%"), ("/%2541", "/%41")]
        {
            assert_eq!(percent_decoded(path).as_deref(), Some(name));
        }
        assert_eq!(percent_decoded("/%ff"), None);
    }

    #[test]
    fn the_leading_slash_is_stripped_unless_it_is_wanted() {
        let name =
            |slash_names| metric_of("/cpu/0", slash_names).map(|target| (target.name, target.shown)).ok();
        assert_eq!(name(false), Some(("cpu/0".to_owned(), "/cpu/0".to_owned())));
        assert_eq!(name(true), Some(("/cpu/0".to_owned(), "/cpu/0".to_owned())));
        assert!(metric_of("/", false).is_err() && metric_of("/a%20b", false).is_err());
    }
}
