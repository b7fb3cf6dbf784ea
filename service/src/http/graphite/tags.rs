//! `/tags`, `/tags/TAG`, `/tags/findSeries`, `/tags/autoComplete/tags` and `/values`.
//!
//! What there is nothing of is an empty list, never 404: an editor would take that for a broken server.

use std::collections::BTreeSet;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::{Room, answer};
use crate::graphite::field::NAMESPACE;
use crate::graphite::tag_expression::{TagExpression, anchored, parse_all};
use crate::http::answer::ApiError;
use crate::http::extract::Segment;
use crate::http::shared::Shared;
use crate::operations::OperationError;

/// Completions unless a limit is given.
const COMPLETIONS: usize = 100;
/// Most entries of any list.
const MAX_LISTED: usize = 100_000;

/// How many entries are wanted.
fn limit(parameters: &Parameters, default: usize) -> Result<usize, ApiError> {
    Ok(parameters.count("limit")?.filter(|limit| *limit > 0).unwrap_or(default).min(MAX_LISTED))
}

/// The regular expression `filter`, anchored at the start; everything without one.
fn filter(parameters: &Parameters) -> Result<impl Fn(&str) -> bool + Send + use<>, ApiError> {
    let regex = parameters.one("filter").filter(|text| !text.is_empty()).map(anchored).transpose();
    let regex = regex.map_err(|why| ApiError::bad_request(&format!("filter: {why}")))?;
    Ok(move |text: &str| regex.as_ref().is_none_or(|regex| regex.is_match(text)))
}

/// `GET /tags`.
pub(super) async fn tags(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let (limit, is_wanted) = (limit(&parameters, MAX_LISTED)?, filter(&parameters)?);
    let list = room
        .run(&shared, move |_, catalog| {
            let tags = catalog.tags().into_keys().filter(|tag| is_wanted(tag)).take(limit);
            let shown = (1..).zip(tags).map(|(id, tag): (i64, String)| json!({"id": id, "tag": tag}));
            Ok(Value::from(shown.collect::<Vec<_>>()))
        })
        .await?;
    Ok(answer(&list))
}

/// `GET /tags/TAG`.
pub(super) async fn values(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    Segment(tag): Segment,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let (limit, is_wanted) = (limit(&parameters, MAX_LISTED)?, filter(&parameters)?);
    let value = room
        .run(&shared, move |_, catalog| {
            let values = catalog.tags().remove(&tag).unwrap_or_default();
            let values = values.into_iter().filter(|(value, _)| is_wanted(value)).take(limit);
            let shown = (1..).zip(values).map(|(id, (value, count)): (i64, (String, usize))| {
                json!({"id": id, "value": value, "count": count})
            });
            Ok(json!({"tag": tag, "values": shown.collect::<Vec<_>>()}))
        })
        .await?;
    Ok(answer(&value))
}

/// `GET` and `POST /tags/findSeries`.
pub(super) async fn find_series(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let expressions = parse_all(&parameters.all("expr"))?;
    let names = room
        .run(&shared, move |_, catalog| {
            let found = catalog.tagged(&expressions)?.into_iter().map(|series| Value::from(series.name));
            Ok(Value::from(found.take(MAX_LISTED).collect::<Vec<_>>()))
        })
        .await?;
    Ok(answer(&names))
}

/// `GET` and `POST /tags/autoComplete/tags`: tags of the series that meet the expressions, without those in them.
pub(super) async fn complete_tags(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let limit = limit(&parameters, COMPLETIONS)?;
    let prefix = parameters.one("tagPrefix").unwrap_or_default().to_owned();
    let expressions = expressions(&parameters, None)?;
    let list = room
        .run(&shared, move |_, catalog| {
            let tags: BTreeSet<String> = if expressions.is_empty() {
                catalog.tags().into_keys().collect()
            } else {
                let found = catalog.tagged(&expressions)?;
                let field = (!found.is_empty()).then(|| NAMESPACE.to_owned());
                let tags = found.into_iter().flat_map(|series| series.tags.into_keys()).chain(field);
                let tags: BTreeSet<String> = tags.collect();
                let is_asked = |tag: &String| expressions.iter().any(|expression| expression.tag == *tag);
                tags.into_iter().filter(|tag| !is_asked(tag)).collect()
            };
            Ok(completions(tags, &prefix, limit))
        })
        .await?;
    Ok(answer(&list))
}

/// `GET` and `POST /tags/autoComplete/values`: values of a tag that series have that meet the expressions.
pub(super) async fn complete_values(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let limit = limit(&parameters, COMPLETIONS)?;
    let prefix = parameters.one("valuePrefix").unwrap_or_default().to_owned();
    let Some(tag) = parameters.one("tag").filter(|tag| !tag.is_empty()).map(str::to_owned) else {
        return Err(ApiError::bad_request("tag is missing; expected the tag whose values are wanted"));
    };
    let expressions = expressions(&parameters, Some(&tag))?;
    let list = room
        .run(&shared, move |_, catalog| {
            let values: BTreeSet<String> = if expressions.is_empty() {
                catalog.tags().remove(&tag).unwrap_or_default().into_keys().collect()
            } else {
                let found = catalog.tagged(&expressions)?;
                found.into_iter().filter_map(|mut series| series.tags.remove(&tag)).collect()
            };
            Ok(completions(values, &prefix, limit))
        })
        .await?;
    Ok(answer(&list))
}

/// The expressions of a completion, if there are any; `tag` must then be there too.
fn expressions(parameters: &Parameters, tag: Option<&str>) -> Result<Vec<TagExpression>, OperationError> {
    let mut texts = parameters.all("expr");
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    texts.extend(tag.map(|tag| format!("{tag}!=")));
    parse_all(&texts)
}

fn completions(all: BTreeSet<String>, prefix: &str, limit: usize) -> Value {
    let found = all.into_iter().filter(|text| text.starts_with(prefix)).take(limit);
    Value::from(found.map(Value::from).collect::<Vec<_>>())
}
