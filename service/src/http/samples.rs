//! `POST /api/v1/metrics/NAME/samples`: lines of `value unix_seconds`; `POST /api/v1/ingest`: Graphite lines of any metrics.
//!
//! A bad line costs only itself. The answer says what was handed over to be stored; whether a sample is late or doubled
//! is found when it is stored, and counted there.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{ApiError, json_answer};
use super::extract::{Segment, Whole};
use super::shared::Shared;
use crate::operations::samples::RefusedLine;

/// Refused lines told one by one; the rest is counted.
const MAX_TOLD: usize = 100;

pub(super) async fn add(
    State(shared): State<Shared>,
    Segment(reference): Segment,
    Whole(body): Whole,
) -> Result<Response, ApiError> {
    let limits = shared.site.limits;
    let (name, judged) = shared
        .run(move |operations| {
            let name = operations.name_for_samples(&reference)?;
            let judged = operations.judge_lines(&name, &body, &limits);
            operations.hand_over(&name, &judged.samples)?;
            Ok((name, judged))
        })
        .await?;
    Ok(verdict(json!({"metric": name}), judged.samples.len(), &judged.refused))
}

/// `POST /api/v1/ingest`.
pub(super) async fn ingest(State(shared): State<Shared>, Whole(body): Whole) -> Result<Response, ApiError> {
    let limits = shared.site.limits;
    let (taken, refused) = shared
        .run(move |operations| {
            let judged = operations.judge_graphite(&body, &limits);
            let count = judged.lines.len();
            operations.hand_over_lines(&judged.lines)?;
            Ok((count, judged.refused))
        })
        .await?;
    Ok(verdict(json!({}), taken, &refused))
}

/// What became of the lines; an error if none was good.
fn verdict(mut answer: Value, taken: usize, refused: &[RefusedLine]) -> Response {
    let is_all_bad = taken == 0 && !refused.is_empty();
    let status = if is_all_bad { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    answer["handed_over"] = taken.into();
    answer["refused_count"] = refused.len().into();
    answer["refused"] = refused.iter().take(MAX_TOLD).map(refused_json).collect();
    if is_all_bad {
        let message = "no line is a sample; `refused` says why";
        answer["error"] = ApiError::bad_request(message).into_body()["error"].take();
    }
    json_answer(status, answer)
}

fn refused_json(line: &RefusedLine) -> Value {
    json!({
        "line": line.number,
        "text": line.text,
        "reason": line.reason.name(),
        "advice": line.reason.advice(),
    })
}
