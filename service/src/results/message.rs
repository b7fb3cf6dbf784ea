//! The JSON of a result message: the original's inference and command-result messages, keys and all.
//!
//! Source: `model_inference_results_msg_schema.json` and `model_command_result_amqp_message.json` of htmengine. Floats are the shortest text that reads back to
//! the same number.

use serde::Serialize;

use crate::bus::message::{CommandResultMessage, ModelInfo, ResultMessage, ResultMetric, ResultRow};

#[derive(Serialize)]
struct Inference<'a> {
    metric: &'a ResultMetric,
    #[serde(rename = "results")]
    rows: &'a [ResultRow],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Command<'a> {
    method: &'static str,
    model_id: &'a str,
    #[serde(rename = "commandId")]
    id: &'a str,
    status: i64,
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_info: Option<&'a ModelInfo>,
}

/// One line of JSON, without a line end.
///
/// # Panics
/// Never: text and finite numbers are always JSON.
pub fn to_json(message: &ResultMessage) -> String {
    let text = match message {
        ResultMessage::Inference(message) => {
            serde_json::to_string(&Inference { metric: &message.metric, rows: &message.results })
        }
        ResultMessage::Command(message) => serde_json::to_string(&command(message)),
    };
    text.expect("text and finite numbers are always JSON")
}

fn command(message: &CommandResultMessage) -> Command<'_> {
    let CommandResultMessage { result, model_info } = message;
    Command {
        method: result.method.name(),
        model_id: result.model_id.as_str(),
        id: &result.command_id,
        status: result.status,
        error_message: result.error_message.as_deref(),
        model_info: model_info.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::InferenceResults;

    #[test]
    fn has_the_keys_of_the_original() {
        let message = ResultMessage::Inference(InferenceResults {
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
                detection: None,
            }],
        });
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
