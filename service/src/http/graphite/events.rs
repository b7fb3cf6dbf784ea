//! `/events/get_data`: anomalies as Grafana's annotations.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::parameters::Parameters;
use super::{Room, answer};
use crate::graphite::events::{Event, TagFilter, anomalies};
use crate::graphite::time::parse_time;
use crate::http::answer::ApiError;
use crate::http::shared::Shared;

/// `GET` and `POST /events/get_data`: from the beginning up to now unless said otherwise; of several `tags` all must be
/// there, or with `set=union` any.
pub(super) async fn events(
    State(shared): State<Shared>,
    Extension(room): Extension<Room>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let zone = parameters.zone()?;
    let filter =
        TagFilter::new(parameters.one("tags").unwrap_or_default(), parameters.one("set") == Some("union"))?;
    let place = room.render_place().await?;
    let list = room
        .run(&shared, move |operations, catalog| {
            let _place = place;
            let now = operations.now();
            let from = parse_time(parameters.one("from").unwrap_or("0"), &zone, now)?;
            let until = parse_time(parameters.one("until").unwrap_or("now"), &zone, now)?;
            let found = anomalies(operations.repository(), catalog, &filter, from, until)?;
            Ok(Value::from(found.iter().map(Event::to_json).collect::<Vec<_>>()))
        })
        .await?;
    Ok(answer(&list))
}
