//! What is published to the results exchange: [`to_json`] as a zlib stream. A message about a command carries the header
//! `dataType` with the text `model-cmd-result`; one with finished rows carries no header, and readers go by that.
//!
//! Source: `anomaly_service.py` of htmengine. Departure: the anomaly score of a row that has none yet is written `0.0`
//! where it was the integer `0`; both are the same JSON number.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::Deserialize;

use super::Unreadable;
use super::hints::model_id;
use crate::bus::message::{
    CommandMethod, CommandResult, CommandResultMessage, InferenceResults, ModelInfo, ResultMessage,
    ResultMetric, ResultRow,
};
use crate::results::message::to_json;

/// The header of a message about a command.
pub const DATA_TYPE_HEADER: &str = "dataType";
/// Its value.
pub const COMMAND_DATA_TYPE: &str = "model-cmd-result";
/// Largest message that is read: far more than a message of the most rows, far less than memory.
pub const MAX_JSON_BYTES: u64 = 64 << 20;

#[derive(Deserialize)]
struct Inference {
    metric: ResultMetric,
    results: Vec<ResultRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Command {
    method: String,
    model_id: String,
    #[serde(rename = "commandId")]
    id: String,
    status: i64,
    error_message: Option<String>,
    model_info: Option<ModelInfo>,
}

/// The body of a message.
///
/// # Panics
/// Never: memory takes any bytes.
pub fn to_bytes(message: &ResultMessage) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(to_json(message).as_bytes()).expect("memory takes any bytes");
    encoder.finish().expect("memory takes any bytes")
}

/// Whether a message carries [`DATA_TYPE_HEADER`].
pub fn is_command(message: &ResultMessage) -> bool {
    match message {
        ResultMessage::Command(_) => true,
        ResultMessage::Inference(_) => false,
    }
}

/// Reads a body; `is_command` is what its header says.
///
/// # Errors
/// [`Unreadable`] if it is no zlib stream of such a message, or too large.
pub fn from_bytes(body: &[u8], is_command: bool) -> Result<ResultMessage, Unreadable> {
    let mut json = Vec::new();
    let mut limited = ZlibDecoder::new(body).take(MAX_JSON_BYTES + 1);
    limited
        .read_to_end(&mut json)
        .map_err(|error| Unreadable::new(format!("expected a zlib stream: {error}")))?;
    if json.len() as u64 > MAX_JSON_BYTES {
        return Err(Unreadable::new(format!("the message is larger than {MAX_JSON_BYTES} bytes")));
    }
    if !is_command {
        let read: Inference = serde_json::from_slice(&json)
            .map_err(|error| Unreadable::json("an object with `metric` and `results`", &error))?;
        return Ok(ResultMessage::Inference(InferenceResults { metric: read.metric, results: read.results }));
    }
    let read: Command = serde_json::from_slice(&json)
        .map_err(|error| Unreadable::json("an object with `method` and `modelId`", &error))?;
    let method = match read.method.as_str() {
        "defineModel" => CommandMethod::DefineModel,
        "deleteModel" => CommandMethod::DeleteModel,
        other => {
            return Err(Unreadable::new(format!("`{}` is no command to a model", other.escape_debug())));
        }
    };
    let result = CommandResult {
        model_id: model_id(&read.model_id)?,
        method,
        command_id: read.id,
        status: read.status,
        error_message: read.error_message,
    };
    Ok(ResultMessage::Command(CommandResultMessage { result, model_info: read.model_info }))
}
