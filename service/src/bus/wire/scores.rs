//! What the scheduler tells the anomaly role, on the queue that htmengine's `results_queue` names. The format is ours:
//! both ends belong to the same version of this program.
//!
//! `{"scores": {"model": id, "generation": hex, "rows": [[row, raw, anomaly, predictions, detection], ...]}}`, or
//! `{"command": {"model": id, "method": "defineModel", "id": hex, "status": 0, "error": null}}`. Numbers are the shortest
//! text that reads back to the same double.
//!
//! Messages that htmengine left in the queue (`modelID`, a line feed, a JSON array) are recognised: the rows they are
//! about have no scores yet, so they are scored again from the database, and the messages can be dropped.

use htm_core::ids::RowId;
use serde::{Deserialize, Serialize};

use super::Unreadable;
use super::hints::model_id;
use crate::best_predictions::BestPredictions;
use crate::bus::message::{CommandMethod, CommandResult, ModelOutput, RowScore, ScoreMessage};
use crate::row_detection::DetectionNumbers;

const EXPECTED: &str = "an object with `scores` or `command`, as this version of htmengine writes it";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Body {
    Scores(Scores),
    Command(Command),
}

#[derive(Serialize, Deserialize)]
struct Scores {
    model: String,
    generation: String,
    rows: Vec<Row>,
}

type Row = (i64, f64, f64, Option<BestPredictions>, DetectionNumbers);

#[derive(Serialize, Deserialize)]
struct Command {
    model: String,
    method: String,
    id: String,
    status: i64,
    error: Option<String>,
}

/// The body of a message.
///
/// # Panics
/// Never: text and numbers are always JSON.
pub fn to_bytes(output: &ModelOutput) -> Vec<u8> {
    let body = match output {
        ModelOutput::Scores(message) => Body::Scores(Scores {
            model: message.model_id.to_string(),
            generation: message.generation.clone(),
            rows: message.scores.iter().map(row).collect(),
        }),
        ModelOutput::Command(result) => Body::Command(Command {
            model: result.model_id.to_string(),
            method: result.method.name().to_owned(),
            id: result.command_id.clone(),
            status: result.status,
            error: result.error_message.clone(),
        }),
    };
    serde_json::to_vec(&body).expect("text and numbers are always JSON")
}

fn row(score: &RowScore) -> Row {
    let RowScore { row_id, raw_anomaly_score, anomaly_score, detection, best_predictions } = score;
    (row_id.0, *raw_anomaly_score, *anomaly_score, best_predictions.clone(), detection.into())
}

/// Reads a body; `None` for a message that htmengine left behind.
///
/// # Errors
/// [`Unreadable`] if it is neither that nor one of ours.
pub fn from_bytes(body: &[u8]) -> Result<Option<ModelOutput>, Unreadable> {
    if is_left_over(body) {
        return Ok(None);
    }
    let read: Body = serde_json::from_slice(body).map_err(|error| Unreadable::json(EXPECTED, &error))?;
    let output = match read {
        Body::Scores(message) if message.rows.is_empty() => {
            return Err(Unreadable::new("a message of scores without a row"));
        }
        Body::Scores(message) => ModelOutput::Scores(ScoreMessage {
            model_id: model_id(&message.model)?,
            generation: message.generation,
            scores: message.rows.into_iter().map(score).collect(),
        }),
        Body::Command(command) => ModelOutput::Command(CommandResult {
            model_id: model_id(&command.model)?,
            method: method(&command.method)?,
            command_id: command.id,
            status: command.status,
            error_message: command.error,
        }),
    };
    Ok(Some(output))
}

fn score((row_id, raw, anomaly, best_predictions, detection): Row) -> RowScore {
    RowScore {
        row_id: RowId(row_id),
        raw_anomaly_score: raw,
        anomaly_score: anomaly,
        detection: detection.into(),
        best_predictions,
    }
}

fn method(name: &str) -> Result<CommandMethod, Unreadable> {
    [CommandMethod::DefineModel, CommandMethod::DeleteModel]
        .into_iter()
        .find(|method| method.name() == name)
        .ok_or_else(|| Unreadable::new(format!("`{}` is no command to a model", name.escape_debug())))
}

/// Whether this is `modelID`, a line feed, and a list of results of commands or inferences.
fn is_left_over(body: &[u8]) -> bool {
    let Some(end) = body.iter().position(|&byte| byte == b'\n') else { return false };
    let (id, rest) = body.split_at(end);
    let is_id = std::str::from_utf8(id).is_ok_and(|text| model_id(text).is_ok());
    is_id && serde_json::from_slice::<Vec<serde_json::Value>>(&rest[1..]).is_ok()
}

#[cfg(test)]
mod tests {
    use htm_core::ids::ModelId;

    use super::*;
    use crate::row_detection::RowDetection;

    #[test]
    fn scores_come_back_with_every_bit() {
        let row = |row_id, raw: f64, anomaly: f64, best_predictions| RowScore {
            row_id: RowId(row_id),
            raw_anomaly_score: raw,
            anomaly_score: anomaly,
            detection: RowDetection {
                score: anomaly / 3.0,
                alert_score: raw,
                components: None,
                open_predictions: None,
            },
            best_predictions,
        };
        let predictions = BestPredictions::new([(1, Some(10_844.1)), (5, None)]);
        let sent = ModelOutput::Scores(ScoreMessage {
            model_id: ModelId::new("3f1a").expect("an id"),
            generation: "0".repeat(32),
            scores: vec![
                row(1, 0.025_000_000_372_529_03, 0.499_900_263_473_494_7, None),
                row(i64::MAX, f64::MIN_POSITIVE, 1.0 - f64::EPSILON, Some(predictions)),
            ],
        });
        assert_eq!(from_bytes(&to_bytes(&sent)), Ok(Some(sent)));
    }

    #[test]
    fn commands_come_back() {
        for method in [CommandMethod::DefineModel, CommandMethod::DeleteModel] {
            let sent = ModelOutput::Command(CommandResult {
                model_id: ModelId::new("3f1a").expect("an id"),
                method,
                command_id: "0".repeat(32),
                status: 1,
                error_message: Some("no \"room\"\n".to_owned()),
            });
            assert_eq!(from_bytes(&to_bytes(&sent)), Ok(Some(sent)));
        }
    }

    #[test]
    fn what_the_original_left_is_recognised() {
        for body in [
            "3f1abba3f4874e588d5a2d937ee78e19\n[[\"mcR\", \"2fc1\", \"defineModel\", 0, null, null]]",
            "3f1abba3f4874e588d5a2d937ee78e19\n[[\"iRv2\", 1, 0, 1.0, null, {\"1\": 10844.0}]]",
        ] {
            assert_eq!(from_bytes(body.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for body in [
            "",
            "[]",
            "3f1a\n{}",
            "a b\n[[]]",
            r#"{"scores": {"model": "a", "generation": "", "rows": []}}"#,
            r#"{"scores": {"model": "a", "generation": "", "rows": [[1, null, 0.0, null]]}}"#,
            r#"{"scores": {"model": "a b", "generation": "", "rows": [[1, 0.0, 0.0, null]]}}"#,
            r#"{"command": {"model": "a", "method": "cloneModel", "id": "", "status": 0, "error": null}}"#,
        ] {
            assert!(from_bytes(body.as_bytes()).is_err(), "{body}");
        }
    }
}
