//! `POST /v1/metrics/NAME/samples`: lines of `value unix_seconds`.
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
    let limits = shared.limits;
    let (name, judged) = shared
        .run(move |operations| {
            let name = operations.name_for_samples(&reference)?;
            let judged = operations.judge_lines(&name, &body, &limits);
            operations.hand_over(&name, &judged.samples)?;
            Ok((name, judged))
        })
        .await?;
    let is_all_bad = judged.samples.is_empty() && !judged.refused.is_empty();
    let status = if is_all_bad { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let refused: Vec<Value> = judged.refused.iter().take(MAX_TOLD).map(refused_json).collect();
    let mut answer = json!({
        "metric": name,
        "handed_over": judged.samples.len(),
        "refused_count": judged.refused.len(),
        "refused": refused,
    });
    if is_all_bad {
        let message = "no line is a sample; `refused` says why";
        answer["error"] = ApiError::bad_request(message).into_body()["error"].take();
    }
    Ok(json_answer(status, answer))
}

fn refused_json(line: &RefusedLine) -> Value {
    json!({
        "line": line.number,
        "text": line.text,
        "reason": line.reason.name(),
        "advice": line.reason.advice(),
    })
}
