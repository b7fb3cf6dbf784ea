//! The ways out: JSON, errors as JSON, and rows of any number, page by page.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::shared::Shared;
use crate::operations::OperationError;
use crate::operations::error::{ERR, ERR_INVALID_ARG};
use crate::operations::metric_json::error_json;
use crate::operations::row_format::RowFormat;
use crate::operations::rows::RowReader;
use crate::repository::metric_data::MetricRow;

/// Rows of an answer that are read, written and in memory at once, until their client has taken them.
const PAGE_ROWS: usize = 1_000;

/// JSON with this status.
pub(super) fn json_answer(status: StatusCode, value: Value) -> Response {
    (status, Json(value)).into_response()
}

/// JSON that was written already, where it is too much for the runtime's threads.
pub(super) fn json_text_answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// `{"error": {...}}`.
    body: Value,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, name: &str, message: &str) -> Self {
        let code = if status == StatusCode::BAD_REQUEST { ERR_INVALID_ARG } else { ERR };
        Self { status, body: json!({"error": {"name": name, "code": code, "message": message}}) }
    }

    /// A bad part of the request.
    pub(super) fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValueError", message)
    }

    /// The server is about to end.
    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "BusAwayError", "the engine is stopping")
    }

    /// What went wrong, for people.
    pub(super) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// The JSON, for a part of a larger answer.
    pub(super) fn into_body(self) -> Value {
        self.body
    }
}

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        let status =
            StatusCode::from_u16(error.class().http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, body: error_json(&error) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let failure = Failure(self.message().to_owned());
        let mut response = json_answer(self.status, self.body);
        response.extensions_mut().insert(failure);
        response
    }
}

/// Goes along with an answer for the log: what went wrong.
#[derive(Clone)]
pub(super) struct Failure(pub(super) String);

/// For paths that are none.
pub(super) async fn no_such_route() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "NoSuchRoute",
        "there is nothing at this path; /api/v1/openapi.json lists what there is",
    )
}

/// For methods that a path does not have.
pub(super) async fn no_such_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "NoSuchMethod",
        "this path has no such method; the header Allow lists those it has",
    )
}

/// What an error looks like that the gate makes.
pub(super) fn error_answer(status: StatusCode, message: &str) -> Response {
    ApiError::new(status, "DatabaseAwayError", message).into_response()
}

/// How rows become bytes.
pub(super) trait RowWriter: Send + 'static {
    /// What comes before all rows.
    fn opening(&self) -> Vec<u8>;

    /// Appends some rows; `is_first` if none came before them.
    fn write_page(&self, bytes: &mut Vec<u8>, rows: &[MetricRow], is_first: bool);

    /// What comes after all rows.
    fn closing(&self) -> &'static [u8];
}

/// Rows in one of the usual forms.
pub(super) struct FormattedRows {
    pub(super) format: RowFormat,
    /// What the text form calls the metric.
    pub(super) name: String,
}

impl RowWriter for FormattedRows {
    fn opening(&self) -> Vec<u8> {
        self.format.opening()
    }

    fn write_page(&self, bytes: &mut Vec<u8>, rows: &[MetricRow], is_first: bool) {
        for (index, row) in rows.iter().enumerate() {
            self.format.write_row(bytes, &self.name, row, is_first && index == 0);
        }
        if self.format == RowFormat::Json && !rows.is_empty() {
            bytes.push(b'\n');
        }
    }

    fn closing(&self) -> &'static [u8] {
        self.format.closing()
    }
}

/// All rows of a reader. The first page is read before the answer begins, so that a failure then still is an error
/// with a status; a later one breaks the answer off.
pub(super) async fn rows_answer(
    shared: Shared,
    reader: RowReader,
    writer: impl RowWriter,
    media_type: &'static str,
) -> Result<Response, ApiError> {
    let (rows, reader) = read_page(&shared, reader.in_pages_of(PAGE_ROWS)).await?;
    let mut bytes = writer.opening();
    writer.write_page(&mut bytes, &rows, true);
    let first =
        Page { shared, reader, writer, is_first: rows.is_empty(), is_done: false, bytes: Some(bytes) };
    let pages = stream::try_unfold(first, |mut page| async move {
        if let Some(bytes) = page.bytes.take() {
            return Ok(Some((Bytes::from(bytes), page)));
        }
        if page.is_done {
            return Ok(None);
        }
        let (rows, reader) = read_page(&page.shared, page.reader)
            .await
            .map_err(|error| page.shared.broken_off("reading rows", &error))?;
        page.reader = reader;
        let mut bytes = Vec::new();
        if rows.is_empty() {
            page.is_done = true;
            bytes.extend_from_slice(page.writer.closing());
        } else {
            page.writer.write_page(&mut bytes, &rows, page.is_first);
            page.is_first = false;
        }
        Ok::<_, std::io::Error>(Some((Bytes::from(bytes), page)))
    });
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(media_type)), NOSNIFF];
    Ok((headers, Body::from_stream(pages)).into_response())
}

/// Keeps browsers from guessing what a text is.
pub(super) const NOSNIFF: (HeaderName, HeaderValue) =
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

struct Page<W> {
    shared: Shared,
    reader: RowReader,
    writer: W,
    is_first: bool,
    is_done: bool,
    bytes: Option<Vec<u8>>,
}

async fn read_page(shared: &Shared, mut reader: RowReader) -> Result<(Vec<MetricRow>, RowReader), ApiError> {
    shared
        .run(move |operations| {
            let rows = reader.next_page(operations.repository())?;
            Ok((rows, reader))
        })
        .await
}
