//! `/api/v1/anomalies` and `/api/v1/heat`: what was odd in a window, across metrics.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use htm_core::detection::ALERT_THRESHOLD;
use serde::Deserialize;
use serde_json::json;

use super::answer::{ApiError, json_answer};
use super::extract::{FilterOptions, Options, count, number};
use super::shared::Shared;
use crate::operations::anomalies::{AnomalyQuery, Grouping};
use crate::operations::heat::{HeatOrder, HeatQuery};

/// Entries of an answer unless the limit says otherwise.
const DEFAULT_LIMIT: usize = 50;
/// Parts of a window unless somebody says otherwise.
const DEFAULT_CELLS: usize = 96;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/anomalies", get(anomalies)).route("/api/v1/heat", get(heat))
}

#[derive(Debug, Deserialize)]
struct AnomalyOptions {
    #[serde(flatten)]
    filter: FilterOptions,
    from: Option<String>,
    until: Option<String>,
    min_score: Option<String>,
    limit: Option<String>,
    group_by: Option<String>,
}

/// `GET /api/v1/anomalies`.
async fn anomalies(
    State(shared): State<Shared>,
    Options(options): Options<AnomalyOptions>,
) -> Result<Response, ApiError> {
    let grouping = match options.group_by.as_deref() {
        None | Some("metric") => Grouping::Metric,
        Some("episode") => Grouping::Episode,
        Some(other) => match other.strip_prefix("tag:") {
            Some(key) if !key.is_empty() => Grouping::Tag(key.to_owned()),
            _ => {
                let message = format!("group_by is `{other}`; expected metric, episode or tag:KEY");
                return Err(ApiError::bad_request(&message));
            }
        },
    };
    let min_score = number("min_score", options.min_score.as_deref(), ALERT_THRESHOLD)?;
    let limit = count("limit", options.limit.as_deref(), DEFAULT_LIMIT)?;
    let filter = options.filter.filter()?;
    let (from, until) = (options.from, options.until);
    let (window, ranking) = shared
        .run(move |operations| {
            let window = operations.window(from.as_deref(), until.as_deref())?;
            let (since, until) = (window.since, window.until);
            let query = AnomalyQuery { since, until, min_score, filter, grouping, limit };
            Ok((window, operations.anomalies(&query)?))
        })
        .await?;
    let value = json!({
        "from": window.since,
        "until": window.until,
        "min_score": min_score,
        "truncated": ranking.is_truncated,
        "anomalies": ranking.anomalies,
    });
    Ok(json_answer(StatusCode::OK, value))
}

#[derive(Debug, Deserialize)]
struct HeatOptions {
    #[serde(flatten)]
    filter: FilterOptions,
    from: Option<String>,
    until: Option<String>,
    cells: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
    sort: Option<String>,
}

/// `GET /api/v1/heat`.
async fn heat(
    State(shared): State<Shared>,
    Options(options): Options<HeatOptions>,
) -> Result<Response, ApiError> {
    let order = match options.sort.as_deref() {
        None | Some("name") => HeatOrder::Name,
        Some("score") => HeatOrder::Score,
        Some(other) => {
            return Err(ApiError::bad_request(&format!("sort is `{other}`; expected name or score")));
        }
    };
    let cells = count("cells", options.cells.as_deref(), DEFAULT_CELLS)?;
    let limit = count("limit", options.limit.as_deref(), DEFAULT_LIMIT)?;
    let offset = count("cursor", options.cursor.as_deref(), 0)?;
    let filter = options.filter.filter()?;
    let (from, until) = (options.from, options.until);
    let (window, heat) = shared
        .run(move |operations| {
            let window = operations.window(from.as_deref(), until.as_deref())?;
            let (since, until) = (window.since, window.until);
            let query = HeatQuery { since, until, cells, filter, order, offset, limit };
            Ok((window, operations.heat(&query)?))
        })
        .await?;
    let next = offset + heat.rows.len();
    let value = json!({
        "from": window.since,
        "until": window.until,
        "cells": cells,
        "cell_s": heat.cell_s,
        "total": heat.total,
        "truncated": heat.is_truncated,
        "next_cursor": (next < heat.total).then(|| next.to_string()),
        "rows": heat.rows,
    });
    Ok(json_answer(StatusCode::OK, value))
}
