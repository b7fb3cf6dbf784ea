//! How a model is started: column `model_params`, fixed when its metric becomes `CreatePending`.
//!
//! The text is the original's: `modelConfig`, `inferenceArgs`, `inputRecordSchema`. Ours has one more key, `htmengine`.
//! A text without it was written by the original; its model is adopted: made from those parameters and the stored rows.

use htm_core::ids::RowId;
use htm_core::params::{ModelParams, ValueRange};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::complete::CompleteParams;
use super::standard;
use super::{SpecError, check_min_resolution};

/// Hexadecimal digits of a generation.
pub const GENERATION_CHARS: usize = 32;

/// The generation of a model that the original started.
pub const ADOPTED_GENERATION: &str = "00000000000000000000000000000000";

/// How a model is started.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelStart {
    /// Names this life of the model: [`GENERATION_CHARS`] lower-case hexadecimal digits.
    pub generation: String,
    /// Range the resolution was taken from; `None` if all parameters were given, or the original wrote the text.
    pub range: Option<ValueRange>,
    /// As in the specification.
    pub min_resolution: Option<f64>,
    /// Row up to which `range` was learned; `None` of one that was declared, which is never changed.
    pub learned_up_to: Option<RowId>,
    /// Rows up to this one were scored by earlier lives of the model, over narrower ranges.
    pub continues_after: Option<RowId>,
    /// `completeModelParams` that make the model: given by a client, or those of a standard model.
    complete: Map<String, Value>,
}

impl ModelStart {
    /// A start for this range, with the resolution that follows from it, of a model without classifier.
    pub fn new(generation: String, range: ValueRange, min_resolution: Option<f64>) -> Self {
        let resolution = range.resolution(min_resolution);
        let complete = standard_params(resolution, false);
        Self {
            generation,
            range: Some(range),
            min_resolution,
            learned_up_to: None,
            continues_after: None,
            complete,
        }
    }

    /// The same over a range that was learned from the rows up to this one.
    #[must_use]
    pub fn learned(self, up_to: RowId) -> Self {
        Self { learned_up_to: Some(up_to), ..self }
    }

    /// The next life of a model whose learned range was outgrown with row `up_to`, over a wider one.
    #[must_use]
    pub fn widened(&self, range: ValueRange, up_to: RowId) -> Self {
        // Any other number will do; a fixed one makes lives reproducible.
        let number = u128::from_str_radix(&self.generation, 16).unwrap_or_default().wrapping_add(1);
        let generation = format!("{number:0GENERATION_CHARS$x}");
        let next = Self::new(generation, range, self.min_resolution).with_classifier(self.has_classifier());
        Self { continues_after: Some(up_to), ..next.learned(up_to) }
    }

    fn has_classifier(&self) -> bool {
        let config = self.complete.get("modelConfig");
        config.and_then(|config| config.pointer("/modelParams/clEnable")) == Some(&Value::Bool(true))
    }

    /// The same with or without classifier.
    #[must_use]
    pub fn with_classifier(mut self, enable_classifier: bool) -> Self {
        if let Some(range) = self.range {
            self.complete = standard_params(range.resolution(self.min_resolution), enable_classifier);
        }
        self
    }

    /// A start with all parameters given: a specification's `completeModelParams`.
    pub fn complete(generation: String, complete: Map<String, Value>) -> Self {
        Self {
            generation,
            range: None,
            min_resolution: None,
            learned_up_to: None,
            continues_after: None,
            complete,
        }
    }

    /// The parameters of the model.
    ///
    /// # Errors
    /// [`SpecError`] names the parameter that is missing, wrong or not supported.
    pub fn params(&self) -> Result<ModelParams, SpecError> {
        CompleteParams::of(&self.complete)?.params()
    }

    /// The text of column `model_params`.
    pub fn to_json(&self) -> String {
        let part = |key: &str| self.complete.get(key).cloned().unwrap_or_default();
        let ours = OursJson {
            generation: self.generation.clone(),
            min: self.range.map(|range| range.min),
            max: self.range.map(|range| range.max),
            min_resolution: self.min_resolution,
            learned_up_to: self.learned_up_to.map(|row_id| row_id.0),
            continues_after: self.continues_after.map(|row_id| row_id.0),
        };
        json!({
            "modelConfig": part("modelConfig"),
            "inferenceArgs": part("inferenceArgs"),
            "inputRecordSchema": [
                [part("timestampFieldName"), "datetime", "T"],
                [part("valueFieldName"), "float", ""],
            ],
            "htmengine": ours,
        })
        .to_string()
    }

    /// Reads what [`Self::to_json`] or the original wrote. Whether the parameters can be used, [`Self::params`] says.
    ///
    /// # Errors
    /// [`SpecError`] names the missing or bad part.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        let mut read: StartJson = serde_json::from_str(text)
            .map_err(|error| SpecError::new(format!("model_params cannot be read: {error}")))?;
        let ours = read.htmengine.take().unwrap_or_else(|| OursJson {
            generation: ADOPTED_GENERATION.to_owned(),
            min: None,
            max: None,
            min_resolution: None,
            learned_up_to: None,
            continues_after: None,
        });
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if ours.generation.len() != GENERATION_CHARS || !ours.generation.bytes().all(is_digit) {
            return Err(SpecError::new(format!(
                "generation `{}` of model_params; expected {GENERATION_CHARS} lower-case hexadecimal digits",
                ours.generation.escape_debug()
            )));
        }
        check_min_resolution(ours.min_resolution)?;
        let range = match (ours.min, ours.max) {
            (Some(min), Some(max)) => Some(ValueRange::new(min, max)?),
            _ => None,
        };
        let complete = read.into_complete()?;
        Ok(Self {
            generation: ours.generation,
            range,
            min_resolution: ours.min_resolution,
            learned_up_to: ours.learned_up_to.map(RowId),
            continues_after: ours.continues_after.map(RowId),
            complete,
        })
    }
}

fn standard_params(resolution: f64, enable_classifier: bool) -> Map<String, Value> {
    complete_of(
        standard::model_config(resolution, enable_classifier),
        standard::inference_args(),
        standard::TIMESTAMP_FIELD.into(),
        standard::VALUE_FIELD.into(),
    )
}

fn complete_of(config: Value, inference_args: Value, timestamp: Value, value: Value) -> Map<String, Value> {
    let parts = [
        ("modelConfig", config),
        ("inferenceArgs", inference_args),
        ("timestampFieldName", timestamp),
        ("valueFieldName", value),
    ];
    parts.into_iter().map(|(key, part)| (key.to_owned(), part)).collect()
}

/// Keys beside these are passed over: the original kept the state of its likelihood here too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartJson {
    model_config: Value,
    inference_args: Value,
    /// Name, type and special meaning of each field.
    input_record_schema: Vec<(String, String, String)>,
    htmengine: Option<OursJson>,
}

impl StartJson {
    /// The timestamp is the field with the special meaning `T`; the value is the predicted field.
    fn into_complete(self) -> Result<Map<String, Value>, SpecError> {
        let timestamp = self.input_record_schema.into_iter().find(|(_, _, special)| special == "T");
        let (timestamp, ..) = timestamp.ok_or_else(|| {
            SpecError::new(
                "inputRecordSchema of model_params has no field with special `T`; expected a timestamp",
            )
        })?;
        let value = self.inference_args.get("predictedField").cloned().unwrap_or_default();
        Ok(complete_of(self.model_config, self.inference_args, timestamp.into(), value))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OursJson {
    generation: String,
    min: Option<f64>,
    max: Option<f64>,
    min_resolution: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learned_up_to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    continues_after: Option<i64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model_params::ModelSpec;

    const GENERATION: &str = "0123456789abcdef0123456789abcdef";
    const RESOLUTION_POINTER: &str = "/modelConfig/modelParams/sensorParams/encoders/c1/resolution";

    fn range(min: f64, max: f64) -> ValueRange {
        ValueRange::new(min, max).expect("a range")
    }

    fn same_bits(left: f64, right: f64) -> bool {
        left.to_bits() == right.to_bits()
    }

    /// A few leaves of each part, against the parameter set the golden vectors were recorded with.
    #[test]
    fn a_start_has_the_originals_layout() {
        let start = ModelStart::new(GENERATION.to_owned(), range(-7829.8, 47034.8), None);
        let value: Value = serde_json::from_str(&start.to_json()).expect("JSON");
        for (pointer, expected) in [
            ("/modelConfig/model", json!("HTMPrediction")),
            ("/modelConfig/aggregationInfo/fields", json!([])),
            ("/modelConfig/modelParams/clEnable", json!(false)),
            ("/modelConfig/modelParams/sensorParams/encoders/c0_timeOfDay/timeOfDay", json!([21, 9.49])),
            (RESOLUTION_POINTER, json!(422.035_384_615_384_66)),
            ("/modelConfig/modelParams/spParams/synPermActiveInc", json!(0.003)),
            ("/modelConfig/modelParams/tmParams/seed", json!(1960)),
            (
                "/inferenceArgs",
                json!({"predictionSteps": [1], "predictedField": "c1", "inputPredictedField": "auto"}),
            ),
            ("/inputRecordSchema", json!([["c0", "datetime", "T"], ["c1", "float", ""]])),
            (
                "/htmengine",
                json!({"generation": GENERATION, "min": -7829.8, "max": 47034.8, "minResolution": null}),
            ),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
    }

    #[test]
    fn bad_starts_are_refused_with_what_was_found() {
        let good = ModelStart::new(GENERATION.to_owned(), range(0.0, 1.0), Some(0.5)).to_json();
        for (found, replacement, expected) in [
            ("\"inputRecordSchema\"", "\"schema\"", "inputRecordSchema"),
            ("\"T\"", "\"\"", "special `T`"),
            (GENERATION, "0123", "generation `0123`"),
            (GENERATION, "0123456789ABCDEF0123456789abcdef", "lower-case"),
            (
                "\"resolution\":0.5",
                "\"resolution\":0.0",
                "encoders.c1.resolution is 0.0; expected a number above 0",
            ),
            ("\"resolution\":0.5", "\"resolutions\":0.5", "encoders.c1.resolution is missing"),
            ("\"min\":0.0", "\"min\":2.0", "above max"),
            ("\"minResolution\":0.5", "\"minResolution\":-0.5", "minResolution -0.5"),
        ] {
            assert!(good.contains(found), "{found} is in {good}");
            let read = ModelStart::from_json(&good.replace(found, replacement));
            let error = read.and_then(|start| start.params()).expect_err(replacement).to_string();
            assert!(error.contains(expected), "{replacement}: {error}");
        }
    }

    proptest! {
        #[test]
        fn numbers_survive_bit_for_bit(
            min in -1e307_f64..1e307,
            width in prop_oneof![0.0..1e-9, 0.0..1e3, 0.0..1e307_f64],
            min_resolution in prop::option::of(prop_oneof![0.0..1.0_f64, 0.0..1e300]),
        ) {
            let range = range(min, min + width);
            let spec = ModelSpec { range: Some(range), min_resolution, ..ModelSpec::for_metric("a") };
            let read = ModelSpec::from_json(&spec.to_json()).expect("reads");
            let start = ModelStart::new(GENERATION.to_owned(), range, min_resolution);
            let started = ModelStart::from_json(&start.to_json()).expect("reads");
            for found in [read.range.expect("kept"), started.range.expect("kept")] {
                prop_assert!(same_bits(found.min, range.min) && same_bits(found.max, range.max));
            }
            let params = ModelParams::single_metric(range.resolution(min_resolution)).expect("usable");
            prop_assert_eq!(started.params(), Ok(params));
            prop_assert_eq!(started.min_resolution.map(f64::to_bits), min_resolution.map(f64::to_bits));
            prop_assert_eq!(read.min_resolution.map(f64::to_bits), min_resolution.map(f64::to_bits));
        }
    }
}
