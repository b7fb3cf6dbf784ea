//! A metric as JSON, with the keys of its row and of Taurus' REST interface.

use serde_json::{Value, json};

use super::{Monitored, OperationError};
use crate::repository::metric::Metric;

/// A metric; `parameters` is parsed, `status_name` says what the number means.
pub fn metric_json(metric: &Metric) -> Value {
    json!({
        "uid": metric.uid.as_str(),
        "datasource": metric.datasource,
        "name": metric.name,
        "description": metric.description,
        "server": metric.server,
        "location": metric.location,
        "parameters": parsed(metric.parameters.as_deref()),
        "status": metric.status.code(),
        "status_name": metric.status.label(),
        "message": metric.message,
        "poll_interval": metric.poll_interval_s,
        "tag_name": metric.tag_name,
        "last_rowid": metric.last_rowid.0,
        "display_name": metric.name,
    })
}

/// A metric that was just monitored or activated.
pub fn monitored_json(monitored: &Monitored) -> Value {
    json!({
        "uid": monitored.uid.as_str(),
        "name": monitored.name,
        "status": monitored.status.code(),
        "status_name": monitored.status.label(),
    })
}

/// `{"error": {"name", "code", "message", "uid"}}`; `uid` only of an error about one metric.
pub fn error_json(error: &OperationError) -> Value {
    let class = error.class();
    let mut inner = json!({"name": class.name, "code": class.code, "message": error.to_string()});
    if let Some(uid) = error.uid() {
        inner["uid"] = uid.as_str().into();
    }
    json!({ "error": inner })
}

/// JSON text of a column; text that is none is shown as text.
pub(super) fn parsed(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_else(|_| text.into()))
}
