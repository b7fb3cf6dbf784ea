//! The ways in: path segments, query options and bodies, with errors as JSON.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use htm_core::ids::RowId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wildmatch::WildMatch;

use super::answer::ApiError;
use crate::operations::listing::status_from_text;
use crate::operations::metric_filter::MetricFilter;
use crate::operations::row_format::RowFormat;
use crate::operations::rows::{RowOrder, RowReader};
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::metric_data::DataQuery;
use crate::timestamp::parse_time;

/// Largest body of a request that has no limit of its own.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;
/// Largest body of samples.
pub(super) const MAX_SAMPLES_BYTES: usize = 8 << 20;
/// Largest body of an import.
pub(super) const MAX_IMPORT_BYTES: usize = 32 << 20;
/// Largest body of any request.
const MAX_ANY_BYTES: usize = MAX_IMPORT_BYTES;

/// The one parameter of a path, percent-decoded.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(segment)| Self(segment)).map_err(|error| {
            ApiError::bad_request(&format!("the path cannot be read: {}", error.body_text()))
        })
    }
}

/// The options after `?`.
pub(super) struct Options<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Options<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(options)| Self(options)).map_err(|error| {
            ApiError::bad_request(&format!("an option cannot be read: {}", error.body_text()))
        })
    }
}

impl<T: DeserializeOwned> Options<T> {
    /// Of a request at hand.
    pub(super) async fn of(request: Request) -> Result<Self, ApiError> {
        Self::from_request_parts(&mut request.into_parts().0, &()).await
    }
}

/// The whole body, within its limit.
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let too_large = || {
            let message = "the body is too large; send it in several parts";
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", message)
        };
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        // No route takes so much: nothing of it is waited for.
        if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > MAX_ANY_BYTES)
        {
            return Err(too_large());
        }
        Bytes::from_request(request, state).await.map(Self).map_err(|error| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return too_large();
            }
            ApiError::bad_request(&format!("the body cannot be read: {}", error.body_text()))
        })
    }
}

impl Whole {
    /// Of a request at hand.
    pub(super) async fn of(request: Request) -> Result<Self, ApiError> {
        Self::from_request(request, &()).await
    }

    /// As text.
    pub(super) fn text(&self) -> Result<&str, ApiError> {
        str::from_utf8(&self.0).map_err(|_| ApiError::bad_request("the body is not UTF-8 text"))
    }
}

/// Which rows of a metric, and how to show them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowOptions {
    #[serde(alias = "since")]
    from: Option<String>,
    #[serde(alias = "until")]
    to: Option<String>,
    first_row: Option<i64>,
    last_row: Option<i64>,
    #[serde(alias = "min_score")]
    score: Option<f64>,
    scored: Option<bool>,
    limit: Option<usize>,
    order: Option<String>,
    format: Option<String>,
}

impl RowOptions {
    /// The reader of a metric's rows.
    pub(super) fn reader(&self, metric: &Metric) -> Result<RowReader, ApiError> {
        let order = match self.order.as_deref() {
            None | Some("asc") => RowOrder::OldestFirst,
            Some("desc") => RowOrder::NewestFirst,
            Some(other) => {
                return Err(ApiError::bad_request(&format!("order is `{other}`; expected asc or desc")));
            }
        };
        Ok(RowReader::new(metric.uid.clone(), self.query()?, order))
    }

    /// The newest rows up to the limit, newest first, if there is a limit and no other order is asked for.
    pub(super) fn newest(&self, metric: &Metric) -> Result<Option<RowReader>, ApiError> {
        if self.limit.is_none() || self.order.is_some() {
            return Ok(None);
        }
        Ok(Some(RowReader::new(metric.uid.clone(), self.query()?, RowOrder::NewestFirst)))
    }

    /// Rows from this one on, oldest first, without a limit; none if there is no such row.
    pub(super) fn reader_from(&self, metric: &Metric, first: Option<RowId>) -> Result<RowReader, ApiError> {
        let limit = first.is_none().then_some(0);
        let query = DataQuery { first_row: first, limit, ..self.query()? };
        Ok(RowReader::new(metric.uid.clone(), query, RowOrder::OldestFirst))
    }

    fn query(&self) -> Result<DataQuery, ApiError> {
        if self.score.is_some_and(|score| !score.is_finite() || score < 0.0) {
            return Err(ApiError::bad_request("score: expected a number, 0 or above"));
        }
        Ok(DataQuery {
            since: time(self.from.as_deref())?,
            until: time(self.to.as_deref())?,
            first_row: self.first_row.map(RowId),
            last_row: self.last_row.map(RowId),
            min_anomaly_score: self.score.filter(|score| *score > 0.0),
            is_scored: self.scored.unwrap_or(false) || self.score.is_some(),
            limit: self.limit,
            keep_oldest: false,
        })
    }

    /// How to show them; `default` without an option.
    pub(super) fn format(&self, default: RowFormat) -> Result<RowFormat, ApiError> {
        let Some(name) = self.format.as_deref() else { return Ok(default) };
        RowFormat::from_name(name).ok_or_else(|| {
            ApiError::bad_request(&format!("format is `{name}`; expected json, ndjson, csv, msgpack or text"))
        })
    }
}

/// A time as command lines take it.
pub(super) fn time(text: Option<&str>) -> Result<Option<i64>, ApiError> {
    text.map(parse_time).transpose().map_err(|error| ApiError::bad_request(&error.to_string()))
}

/// A status by number or by name (`pending_data` or `pending data`).
pub(super) fn status(text: &str) -> Result<MetricStatus, ApiError> {
    status_from_text(text).ok_or_else(|| {
        let message = format!(
            "status is `{text}`; expected unmonitored, active, create_pending, error, pending_data or their numbers"
        );
        ApiError::bad_request(&message)
    })
}

/// Which metrics are meant; among the options of a struct that this is flattened into.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FilterOptions {
    glob: Option<String>,
    tag: Option<String>,
    search: Option<String>,
    server: Option<String>,
    status: Option<String>,
    /// What neither these nor the struct around them knows: a flattened struct cannot deny it by itself.
    #[serde(flatten)]
    unknown: BTreeMap<String, String>,
}

impl FilterOptions {
    pub(super) fn filter(self) -> Result<MetricFilter, ApiError> {
        if let Some(name) = self.unknown.keys().next() {
            let message = format!(
                "there is no option `{}`; /api/v1/openapi.json lists those of each path",
                name.escape_debug()
            );
            return Err(ApiError::bad_request(&message));
        }
        let statuses =
            self.status.as_deref().map_or(Ok(Vec::new()), |text| text.split(',').map(status).collect());
        let pair = |text: &str| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(ApiError::bad_request(&format!(
                "tag is `{text}`; expected KEY=VALUE, several parted by `;`"
            ))),
        };
        let tags = self.tag.as_deref().map_or(Ok(Vec::new()), |text| text.split(';').map(pair).collect());
        Ok(MetricFilter {
            glob: self.glob.as_deref().map(WildMatch::new),
            tags: tags?,
            search: self.search.filter(|part| !part.is_empty()),
            server: self.server,
            statuses: statuses?,
        })
    }
}

/// A whole number among options that are read as text, as they are beside others that are flattened.
pub(super) fn count(name: &str, text: Option<&str>, default: usize) -> Result<usize, ApiError> {
    text.map_or(Ok(default), |text| {
        text.parse().map_err(|_| {
            ApiError::bad_request(&format!("{name} is `{text}`; expected a whole number, 0 or above"))
        })
    })
}

/// A number among them.
pub(super) fn number(name: &str, text: Option<&str>, default: f64) -> Result<f64, ApiError> {
    let read = text.map_or(Some(default), |text| text.parse().ok().filter(|number: &f64| number.is_finite()));
    read.ok_or_else(|| {
        ApiError::bad_request(&format!("{name} is `{}`; expected a number", text.unwrap_or_default()))
    })
}
