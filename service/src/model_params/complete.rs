//! `completeModelParams`: every parameter of a model, as a client of the original gave them.
//!
//! Source: htmengine's `generateSwarmParams` for user-supplied parameters; the errors that start with a fixed text of the
//! original come first and in its order, ours after them.

use htm_core::params::ModelParams;
use serde_json::{Map, Value};

use super::SpecError;
use super::encoders::FieldNames;
use super::json_section::Section;
use super::model_config::{self, Arguments};
use super::regions::steps_of;

/// What a client gave, taken apart.
#[derive(Debug)]
pub(super) struct CompleteParams<'a> {
    pub(super) model_config: &'a Map<String, Value>,
    pub(super) inference_args: &'a Map<String, Value>,
    pub(super) names: FieldNames<'a>,
}

impl<'a> CompleteParams<'a> {
    /// Takes `completeModelParams` apart and checks that the parts fit together.
    ///
    /// # Errors
    /// [`SpecError`], in the order of the original: inference arguments, timestamp, value, their names; then what else
    /// is missing or too much.
    pub(super) fn of(map: &'a Map<String, Value>) -> Result<Self, SpecError> {
        let mut section = Section::new("completeModelParams", map);
        let given = |value: Option<&'a Value>, what: &str| {
            value.ok_or_else(|| {
                SpecError::new(format!(
                    "{what} must be specified in completeModelParams. Found nothing: give all four of \
                    modelConfig, inferenceArgs, timestampFieldName and valueFieldName"
                ))
            })
        };
        let inference_args = given(section.value("inferenceArgs"), "inferenceArgs")?;
        given(section.value("timestampFieldName"), "timestampFieldName")?;
        given(section.value("valueFieldName"), "valueFieldName")?;
        let timestamp = section.text("timestampFieldName")?.unwrap_or_default();
        let value = section.text("valueFieldName")?.unwrap_or_default();
        let object = |key: &str, value: &'a Value| {
            let reason =
                || SpecError::new(format!("completeModelParams.{key} is {value}; expected an object"));
            value.as_object().ok_or_else(reason)
        };
        let inference_args = object("inferenceArgs", inference_args)?;
        check_predicted_field(inference_args, value)?;
        let model_config = object("modelConfig", given(section.value("modelConfig"), "modelConfig")?)?;
        section.finish()?;
        Ok(Self { model_config, inference_args, names: FieldNames { timestamp, value } })
    }

    /// The parameters of the model.
    ///
    /// # Errors
    /// [`SpecError`] names the parameter that is wrong or not supported.
    pub(super) fn params(&self) -> Result<ModelParams, SpecError> {
        let mut section = Section::new("inferenceArgs", self.inference_args);
        section.without_effect(&["predictedField"]);
        let is_used = |value: &Value| value == "auto" || value == "yes";
        section.only("inputPredictedField", is_used, "\"auto\" or \"yes\": the value is the input")?;
        let steps = match section.value("predictionSteps") {
            None => Vec::new(),
            Some(value) => {
                let expected = "a list of whole numbers from 1 on";
                steps_of(value).ok_or_else(|| section.refusal("predictionSteps", value, expected))?
            }
        };
        section.finish()?;
        let arguments = Arguments { names: self.names, prediction_steps: &steps };
        model_config::params(self.model_config, arguments)
    }
}

fn check_predicted_field(inference_args: &Map<String, Value>, value_field: &str) -> Result<(), SpecError> {
    let predicted = inference_args.get("predictedField").unwrap_or(&Value::Null);
    if predicted == value_field {
        return Ok(());
    }
    Err(SpecError::new(format!(
        "Inference args' predictedField must match complete model params' valueFieldName. Found {predicted} and \
         {value_field:?}"
    )))
}
