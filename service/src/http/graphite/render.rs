//! `/render`: the points of targets.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::parameters::Parameters;
use super::{Room, body_answer};
use crate::graphite::evaluation::{Evaluation, MAX_TARGETS, Window};
use crate::graphite::render::{RenderFormat, RenderOptions, body};
use crate::graphite::row_source::RowSource;
use crate::graphite::target::parse;
use crate::http::answer::ApiError;
use crate::http::shared::Shared;

/// `GET` and `POST /render`.
pub(super) async fn render(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let targets = parameters.all("target");
    if targets.len() > MAX_TARGETS {
        let found = targets.len();
        let message =
            format!("{found} targets; at most {MAX_TARGETS} are taken: split the request, or use wildcards");
        return Err(ApiError::bad_request(&message));
    }
    let options = options(&parameters)?;
    let zone = parameters.zone()?;
    let place = room.render_place().await?;
    let media_type = options.format.media_type();
    let written = room
        .run(&shared, move |operations, catalog| {
            let _place = place;
            let now = match parameters.one("now") {
                None => operations.now(),
                Some(now) => crate::graphite::time::parse_time(now, &zone, operations.now())?,
            };
            let window = Window::new(parameters.one("from"), parameters.one("until"), &zone, now)?;
            let source = RowSource::new(operations.repository(), catalog);
            let mut evaluation = Evaluation::new(&source, window);
            let mut all = Vec::new();
            for target in targets.iter().filter(|target| !target.trim().is_empty()) {
                all.extend(evaluation.series(&parse(target)?)?);
            }
            body(all, &options)
        })
        .await?;
    Ok(body_answer(written, media_type))
}

fn options(parameters: &Parameters) -> Result<RenderOptions, ApiError> {
    let default = if parameters.one("rawData").is_some() { "raw" } else { "json" };
    let name = parameters.one("format").filter(|name| !name.is_empty()).unwrap_or(default);
    let format = RenderFormat::from_name(name).ok_or_else(|| {
        let shown: String = name.chars().take(60).collect();
        let shown = shown.escape_debug();
        ApiError::bad_request(&format!(
            "format is `{shown}`; expected json, csv, raw or msgpack (no pictures are drawn)"
        ))
    })?;
    Ok(RenderOptions {
        format,
        max_points: parameters.count("maxDataPoints")?.filter(|points| *points > 0),
        is_without_nulls: parameters.one("noNullPoints").is_some(),
        zone: parameters.zone()?,
    })
}
