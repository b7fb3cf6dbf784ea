//! A `modelConfig` of the reference's online prediction framework as the parameters of a model.
//!
//! Read are both generations of names: NuPIC 1.0 (`HTMPrediction`, `tmParams`, `tmEnable`, `boostStrength`) and 0.3
//! (`CLA`, `tpParams`, `tpEnable`, `maxBoost`), which databases of the original hold. Numbers mean the same in both.
//!
//! Source: `HTMPredictionModel` of nupic and behaviour of htmengine's model runner, which passes the configuration on
//! as it is. As in the reference, a classifier is made unless `clEnable` is false.

#[cfg(test)]
mod tests;

use htm_core::params::ModelParams;
use serde_json::{Map, Value};

use super::SpecError;
use super::encoders::{self, FieldNames};
use super::json_section::{Section, is_zero};
use super::regions;

/// What fixes a model beside its configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) names: FieldNames<'a>,
    /// From the inference arguments; may be empty.
    pub(super) prediction_steps: &'a [u32],
}

/// The parameters of a model with this configuration.
///
/// # Errors
/// [`SpecError`] names the first parameter, with its path and value, that is wrong or not supported.
pub(super) fn params(
    config: &Map<String, Value>,
    arguments: Arguments<'_>,
) -> Result<ModelParams, SpecError> {
    let mut section = Section::new("modelConfig", config);
    let models = ["HTMPrediction", "CLA"];
    let is_model = |value: &Value| value.as_str().is_some_and(|name| models.contains(&name));
    section.only("model", is_model, "\"HTMPrediction\" or \"CLA\"")?;
    section.only("aggregationInfo", is_nothing, "all zeros: every row is a record of its own")?;
    section.only("predictAheadTime", is_nothing, "null: rows are predicted by their number")?;
    section.without_effect(&["version", "description"]);
    let params = section.needed_section("modelParams")?;
    section.finish()?;
    model_params(params, arguments)
}

fn model_params(mut section: Section<'_>, arguments: Arguments<'_>) -> Result<ModelParams, SpecError> {
    let anomaly = "TemporalAnomaly";
    section.only(
        "inferenceType",
        |value| value == anomaly,
        "\"TemporalAnomaly\": models here score anomalies",
    )?;
    for key in ["spEnable", "tmEnable", "tpEnable"] {
        let enabled = |value: &Value| value == true;
        section.only(key, enabled, "true: a model has a spatial pooler and a temporal memory")?;
    }
    section.only("trainSPNetOnlyIfRequested", is_zero, "false: the spatial pooler always learns")?;
    // What the reference's anomaly classifier and its reports take; neither changes a score or the best prediction.
    section.without_effect(&[
        "anomalyParams",
        "minLikelihoodThreshold",
        "maxPredictionsPerStep",
        "verbosity",
    ]);
    let mut sensor = section.needed_section("sensorParams")?;
    sensor.only("sensorAutoReset", is_nothing, "null: sequences are not reset by time")?;
    sensor.without_effect(&["verbosity"]);
    let encoder = encoders::encoder(sensor.needed_section("encoders")?, arguments.names)?;
    sensor.finish()?;
    let spatial_pooler = regions::spatial_pooler(section.needed_section("spParams")?)?;
    let memory = match (section.section("tmParams")?, section.section("tpParams")?) {
        (Some(_), Some(older)) => {
            let path = older.path();
            return Err(SpecError::new(format!("{path} is given beside tmParams; expected one of them")));
        }
        (Some(memory), None) | (None, Some(memory)) => memory,
        (None, None) => section.needed_section("tmParams")?,
    };
    let memory = regions::memory(memory, spatial_pooler.columns)?;
    let classifier = regions::classifier(section.section("clParams")?, arguments.prediction_steps)?;
    let classifier = section.flag("clEnable", true)?.then_some(classifier);
    section.finish()?;
    ModelParams::new(encoder, spatial_pooler, memory, classifier)
        .map_err(|error| SpecError::new(format!("modelConfig.modelParams: {error}")))
}

/// Zeros, falsehoods and nothing, however nested.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().all(is_nothing),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => is_zero(value),
    }
}
