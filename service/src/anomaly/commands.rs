//! The end of a command to a model moves the status of its metric, and is told to whoever listens.
//!
//! | result | metric | status becomes | published |
//! |---|---|---|---|
//! | `DeleteModel`, any | any | unchanged | yes |
//! | `DefineModel`, success | `CreatePending` | Active, message cleared | with the model's information |
//! | `DefineModel`, success | other | unchanged | with the model's information |
//! | `DefineModel`, success | gone, not monitored, or of a later life | unchanged | no |
//! | `DefineModel`, failure | any but Error | Error, with the message | yes |
//! | `DefineModel`, failure | Error, gone, or of a later life | unchanged | yes |
//!
//! Invariant: doing it twice is doing it once, but for the message, which readers may see again.
//!
//! Source: `anomaly_service.py` of htmengine. Departure: a command names the life (generation) of the model it is about,
//! so that the late result of a model that was given up does not move the status of its successor.

use serde_json::Value;

use super::Outcome;
use crate::bus::message::{CommandMethod, CommandResult, CommandResultMessage, ModelInfo, ResultMessage};
use crate::model_params::{GENERATION_CHARS, ModelStart};
use crate::repository::metric::{Metric, MetricStatus};
use crate::repository::{RepositoryError, Transaction};

/// Every status that a failed command moves to Error.
const NOT_IN_ERROR: [MetricStatus; 4] =
    [MetricStatus::Unmonitored, MetricStatus::Active, MetricStatus::CreatePending, MetricStatus::PendingData];

/// Works a result in and says what to publish of it.
pub(super) fn apply(tx: &mut dyn Transaction, result: &CommandResult) -> Result<Outcome, RepositoryError> {
    match result.method {
        CommandMethod::DeleteModel => Ok(publish(result, None)),
        CommandMethod::DefineModel if result.status == 0 => succeed(tx, result),
        CommandMethod::DefineModel => fail(tx, result),
    }
}

fn succeed(tx: &mut dyn Transaction, result: &CommandResult) -> Result<Outcome, RepositoryError> {
    let Some(metric) = tx.metric(&result.model_id)? else {
        return Ok(Outcome::dropped("its metric was deleted"));
    };
    let model_spec = metric.parameters.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(model_spec) = model_spec else {
        return Ok(Outcome::dropped("its metric is not monitored"));
    };
    if !is_of_this_life(&metric, result) {
        return Ok(Outcome::dropped("it is of an earlier model of its metric"));
    }
    let was_pending =
        tx.set_status(&metric.uid, &[MetricStatus::CreatePending], MetricStatus::Active, None)?;
    let info = ModelInfo { metric_name: metric.name, resource: metric.server, model_spec };
    let mut outcome = publish(result, Some(info));
    if !was_pending {
        let found = metric.status.label();
        outcome.remark = Some(format!("a model was made, but its metric is {found} already, which stays"));
    }
    Ok(outcome)
}

fn fail(tx: &mut dyn Transaction, result: &CommandResult) -> Result<Outcome, RepositoryError> {
    let mut outcome = publish(result, None);
    let Some(metric) = tx.metric(&result.model_id)? else {
        outcome.remark = Some("a model failed whose metric was deleted".to_owned());
        return Ok(outcome);
    };
    if !is_of_this_life(&metric, result) {
        outcome.remark = Some("an earlier model of the metric failed".to_owned());
        return Ok(outcome);
    }
    let message = result.error_message.as_deref();
    if !tx.set_status(&metric.uid, &NOT_IN_ERROR, MetricStatus::Error, message)? {
        outcome.remark = Some("a model failed whose metric was in error already".to_owned());
    }
    Ok(outcome)
}

fn publish(result: &CommandResult, model_info: Option<ModelInfo>) -> Outcome {
    let message = CommandResultMessage { result: result.clone(), model_info };
    Outcome { result: Some(ResultMessage::Command(message)), remark: None }
}

/// A metric whose parameters cannot be read has a model of unknown life, as has the command that found that out.
fn is_of_this_life(metric: &Metric, result: &CommandResult) -> bool {
    let start = metric.model_params.as_deref().map(ModelStart::from_json);
    match start {
        Some(Ok(start)) => start.generation == result.command_id,
        Some(Err(_)) => result.command_id == "0".repeat(GENERATION_CHARS),
        None => metric.status == MetricStatus::CreatePending,
    }
}
