//! The JSON of a result message: the original's inference message, keys and all.
//!
//! Source: `model_inference_results_msg_schema.json` of htmengine. Floats are the shortest text that reads back to
//! the same number.

use serde::Serialize;

use crate::bus::message::{ResultMessage, ResultMetric, ResultRow};

#[derive(Serialize)]
struct Message<'a> {
    metric: &'a ResultMetric,
    results: &'a [ResultRow],
}

/// One line of JSON, without a line end.
///
/// # Panics
/// Never: text and finite numbers are always JSON.
pub fn to_json(message: &ResultMessage) -> String {
    let message = Message { metric: &message.metric, results: &message.results };
    serde_json::to_string(&message).expect("text and finite numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_keys_of_the_original() {
        let message = ResultMessage {
            metric: ResultMetric {
                uid: "1ebd".to_owned(),
                name: "foo.bar".to_owned(),
                description: Some("Custom metric foo.bar".to_owned()),
                resource: Some("foo.bar".to_owned()),
                location: Some(String::new()),
                datasource: "custom".to_owned(),
                spec: serde_json::json!({"metric": "foo.bar"}),
            },
            results: vec![ResultRow {
                rowid: 1,
                ts: 1_386_201_600.0,
                value: 5.0,
                raw_anomaly: 0.025_000_000_372_529_03,
                anomaly: 0.5,
                multi_step_best_predictions: None,
            }],
        };
        assert_eq!(
            to_json(&message),
            concat!(
                r#"{"metric":{"uid":"1ebd","name":"foo.bar","description":"Custom metric foo.bar","#,
                r#""resource":"foo.bar","location":"","datasource":"custom","spec":{"metric":"foo.bar"}},"#,
                r#""results":[{"rowid":1,"ts":1386201600.0,"value":5.0,"rawAnomaly":0.02500000037252903,"#,
                r#""anomaly":0.5,"multiStepBestPredictions":null}]}"#
            )
        );
    }
}
