//! The two JSON texts that a monitored metric carries in its row.
//!
//! Column `parameters` holds a [`ModelSpec`]: what somebody asked for. Column `model_params` holds a
//! [`ModelStart`]: what follows from it, fixed when the model is started. Monitoring writes both, the scheduler
//! reads the second, results show the `metricSpec` of the first.
//!
//! Invariants: a value that was made here or read here is valid (finite numbers, both or neither end of the range,
//! `min <= max`), and floats survive writing and reading bit for bit.
//!
//! Source: htmengine's `model_spec_schema.json`, `custom_metric_spec_schema.json` and the parameters its
//! `generateSwarmParams` took from NuPIC 1.0.5's `anomaly_params_random_encoder`.
//! Departures: unknown keys are refused by name (the original ignored them unless a caller validated);
//! `completeModelParams` and `enableClassifier: true` are refused; `min > max` is refused; `model_params` has our
//! own top-level key `htmengine`, which names the life of the model and the range it was started with, and has no
//! `anomalyLikelihoodParams`, since likelihood state lives in the model's image.

use std::fmt;

use htm_core::ids::ModelId;
use htm_core::params::{ParamsError, ValueRange};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::repository::metric::DATASOURCE_CUSTOM;

/// Hexadecimal digits of a generation.
pub const GENERATION_CHARS: usize = 32;

/// What somebody asked for when monitoring a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Name of the metric.
    pub metric_name: String,
    /// Goes into the metric's `server` column.
    pub resource: Option<String>,
    /// Unit of the values, for people.
    pub unit: Option<String>,
    /// Handed through to readers of results.
    pub user_info: Option<Map<String, Value>>,
    /// Expected values; `None` means estimate from the first rows.
    pub range: Option<ValueRange>,
    /// Smallest encoder resolution, in units of the metric; not negative.
    pub min_resolution: Option<f64>,
    /// Whether the model predicts values.
    pub enable_classifier: bool,
    /// Every parameter of the model, instead of range, resolution and classifier; JSON as the original took it.
    pub complete_model_params: Option<Map<String, Value>>,
}

impl ModelSpec {
    /// A specification that leaves everything to be estimated.
    pub fn for_metric(name: &str) -> Self {
        Self {
            metric_name: name.to_owned(),
            resource: None,
            unit: None,
            user_info: None,
            range: None,
            min_resolution: None,
            enable_classifier: false,
            complete_model_params: None,
        }
    }

    /// Makes a range of two optional ends, as callers get them from a command line or JSON.
    ///
    /// # Errors
    /// [`SpecError`] if only one is given, or for a bad range.
    pub fn range_of(min: Option<f64>, max: Option<f64>) -> Result<Option<ValueRange>, SpecError> {
        match (min, max) {
            (None, None) => Ok(None),
            (Some(min), Some(max)) => Ok(Some(ValueRange::new(min, max)?)),
            (Some(min), None) => Err(one_end_missing("min", min, "max")),
            (None, Some(max)) => Err(one_end_missing("max", max, "min")),
        }
    }

    /// Whether its numbers may be used; what [`Self::from_json`] returned always passes.
    ///
    /// # Errors
    /// [`SpecError`] names the number.
    pub fn validate(&self) -> Result<(), SpecError> {
        if let Some(range) = self.range {
            ValueRange::new(range.min, range.max)?;
        }
        check_min_resolution(self.min_resolution)?;
        if self.metric_name.is_empty() {
            return Err(SpecError::new(
                "metricSpec.metric is empty; expected the name of a metric".to_owned(),
            ));
        }
        Ok(())
    }

    /// The text of column `parameters`, indented by two as the original's.
    pub fn to_json(&self) -> String {
        let mut spec = Map::new();
        spec.insert("datasource".to_owned(), DATASOURCE_CUSTOM.into());
        spec.insert("metricSpec".to_owned(), self.metric_spec());
        let numbers = [
            ("min", self.range.map(|range| range.min)),
            ("max", self.range.map(|range| range.max)),
            ("minResolution", self.min_resolution),
        ];
        let params: Map<String, Value> =
            numbers.into_iter().filter_map(|(key, number)| Some((key.to_owned(), number?.into()))).collect();
        if !params.is_empty() {
            spec.insert("modelParams".to_owned(), params.into());
        }
        format!("{:#}", Value::Object(spec))
    }

    /// The part that results carry as `metric.spec`.
    pub fn metric_spec(&self) -> Value {
        let mut spec = Map::new();
        spec.insert("metric".to_owned(), self.metric_name.clone().into());
        if let Some(resource) = &self.resource {
            spec.insert("resource".to_owned(), resource.clone().into());
        }
        if let Some(unit) = &self.unit {
            spec.insert("unit".to_owned(), unit.clone().into());
        }
        if let Some(user_info) = &self.user_info {
            spec.insert("userInfo".to_owned(), user_info.clone().into());
        }
        spec.into()
    }

    /// Reads a specification as [`Self::to_json`] or a client of the original wrote it.
    ///
    /// # Errors
    /// [`SpecError`] names the unknown or missing key, or the bad number.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        let read: SpecJson = serde_json::from_str(text)
            .map_err(|error| SpecError::new(format!("the model specification cannot be read: {error}")))?;
        if read.datasource != DATASOURCE_CUSTOM {
            return Err(SpecError::new(format!(
                "datasource is `{}`; expected `{DATASOURCE_CUSTOM}`, the only one there is",
                read.datasource
            )));
        }
        let params = read.model_params.unwrap_or_default();
        if params.enable_classifier == Some(true) {
            return Err(SpecError::new(
                "enableClassifier is true; expected false or nothing: this engine makes no predictions"
                    .to_owned(),
            ));
        }
        let spec = Self {
            metric_name: read.metric_spec.metric,
            resource: read.metric_spec.resource,
            unit: read.metric_spec.unit,
            user_info: read.metric_spec.user_info,
            range: Self::range_of(params.min, params.max)?,
            min_resolution: params.min_resolution,
            enable_classifier: false,
            complete_model_params: None,
        };
        spec.validate()?;
        Ok(spec)
    }
}

impl ModelSpec {
    /// Reads a specification that may name its metric by `metricSpec.uid`, which wins over `metricSpec.metric`. With an
    /// id the name in the specification means nothing: whoever resolves the id puts the metric's own there.
    ///
    /// # Errors
    /// As [`Self::from_json`]; also if the id cannot be one, or neither id nor name is there.
    pub fn from_json_with_uid(text: &str) -> Result<(Option<ModelId>, Self), SpecError> {
        let mut value: Value = serde_json::from_str(text)
            .map_err(|error| SpecError::new(format!("the model specification cannot be read: {error}")))?;
        let metric_spec = value.get_mut("metricSpec").and_then(Value::as_object_mut);
        let Some(metric_spec) = metric_spec else { return Ok((None, Self::from_json(text)?)) };
        let Some(uid) = metric_spec.remove("uid").filter(|uid| !uid.is_null()) else {
            if !metric_spec.contains_key("metric") {
                return Err(SpecError::new(
                    "Neither uid nor metric name present in metricSpec; give one of them".to_owned(),
                ));
            }
            return Ok((None, Self::from_json(&value.to_string())?));
        };
        let id = uid.as_str().and_then(ModelId::new).ok_or_else(|| {
            SpecError::new(format!("metricSpec.uid is {uid}; expected the id of a metric, as text"))
        })?;
        metric_spec.insert("metric".to_owned(), id.as_str().into());
        Ok((Some(id), Self::from_json(&value.to_string())?))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpecJson {
    datasource: String,
    metric_spec: MetricSpecJson,
    model_params: Option<ModelParamsJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricSpecJson {
    metric: String,
    unit: Option<String>,
    resource: Option<String>,
    user_info: Option<Map<String, Value>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ModelParamsJson {
    min: Option<f64>,
    max: Option<f64>,
    min_resolution: Option<f64>,
    enable_classifier: Option<bool>,
}

/// How a model is started: fixed when its metric becomes `CreatePending`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelStart {
    /// Names this life of the model: [`GENERATION_CHARS`] lower-case hexadecimal digits.
    pub generation: String,
    /// Width of one encoder bucket, in units of the metric; finite, above 0.
    pub resolution: f64,
    /// Range the resolution was taken from.
    pub range: ValueRange,
    /// As in the specification.
    pub min_resolution: Option<f64>,
}

impl ModelStart {
    /// A start for this range, with the resolution that follows from it.
    pub fn new(generation: String, range: ValueRange, min_resolution: Option<f64>) -> Self {
        Self { generation, resolution: range.resolution(min_resolution), range, min_resolution }
    }

    /// The text of column `model_params`.
    pub fn to_json(&self) -> String {
        let ours = OursJson {
            generation: self.generation.clone(),
            min: self.range.min,
            max: self.range.max,
            min_resolution: self.min_resolution,
        };
        json!({
            "modelConfig": model_config(self.resolution),
            "inferenceArgs": {"predictionSteps": [1], "predictedField": "c1", "inputPredictedField": "auto"},
            "inputRecordSchema": [["c0", "datetime", "T"], ["c1", "float", ""]],
            "htmengine": ours,
        })
        .to_string()
    }

    /// Reads what [`Self::to_json`] wrote. Of `modelConfig` only the resolution counts: this engine has one
    /// parameter set.
    ///
    /// # Errors
    /// [`SpecError`] names the missing or bad part; a text by the original lacks `htmengine`.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| SpecError::new(format!("model_params cannot be read: {error}")))?;
        let ours = value.get("htmengine").cloned().ok_or_else(|| {
            SpecError::new(
                "model_params has no key `htmengine`, so another program wrote it; unmonitor and monitor the metric"
                    .to_owned(),
            )
        })?;
        let ours: OursJson = serde_json::from_value(ours)
            .map_err(|error| SpecError::new(format!("key `htmengine` of model_params: {error}")))?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if ours.generation.len() != GENERATION_CHARS || !ours.generation.bytes().all(is_digit) {
            return Err(SpecError::new(format!(
                "generation `{}` of model_params; expected {GENERATION_CHARS} lower-case hexadecimal digits",
                ours.generation.escape_debug()
            )));
        }
        let found = value.pointer(RESOLUTION_POINTER);
        let resolution = found.and_then(Value::as_f64).filter(|number| number.is_finite() && *number > 0.0);
        let resolution = resolution.ok_or_else(|| {
            let found = found.map_or("nothing".to_owned(), Value::to_string);
            SpecError::new(format!(
                "model_params has {found} at {RESOLUTION_POINTER}; expected a number above 0"
            ))
        })?;
        check_min_resolution(ours.min_resolution)?;
        Ok(Self {
            generation: ours.generation,
            resolution,
            range: ValueRange::new(ours.min, ours.max)?,
            min_resolution: ours.min_resolution,
        })
    }
}

const RESOLUTION_POINTER: &str = "/modelConfig/modelParams/sensorParams/encoders/c1/resolution";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OursJson {
    generation: String,
    min: f64,
    max: f64,
    min_resolution: Option<f64>,
}

fn model_config(resolution: f64) -> Value {
    json!({
        "aggregationInfo": {
            "years": 0, "months": 0, "weeks": 0, "days": 0, "hours": 0, "minutes": 0, "seconds": 0,
            "milliseconds": 0, "microseconds": 0, "fields": [],
        },
        "model": "HTMPrediction",
        "version": 1,
        "predictAheadTime": null,
        "modelParams": {
            "inferenceType": "TemporalAnomaly",
            "sensorParams": sensor_params(resolution),
            "spEnable": true,
            "spParams": sp_params(),
            "tmEnable": true,
            "tmParams": tm_params(),
            "clEnable": false,
            "clParams": {
                "regionName": "SDRClassifierRegion", "alpha": 0.035_828_933_612_158, "steps": "1", "verbosity": 0,
            },
            "anomalyParams": {
                "anomalyCacheRecords": null, "autoDetectThreshold": null, "autoDetectWaitRecords": 5030,
            },
            "trainSPNetOnlyIfRequested": false,
        },
    })
}

fn sensor_params(resolution: f64) -> Value {
    json!({
        "verbosity": 0,
        "sensorAutoReset": null,
        "encoders": {
            "c0_timeOfDay": {"type": "DateEncoder", "fieldname": "c0", "name": "c0", "timeOfDay": [21, 9.49]},
            "c0_dayOfWeek": null,
            "c0_weekend": null,
            "c1": {
                "type": "RandomDistributedScalarEncoder", "fieldname": "c1", "name": "c1", "seed": 42,
                "resolution": resolution,
            },
        },
    })
}

fn sp_params() -> Value {
    json!({
        "spatialImp": "cpp", "spVerbosity": 0, "seed": 1956, "columnCount": 2048, "inputWidth": 0,
        "numActiveColumnsPerInhArea": 40, "potentialPct": 0.8, "globalInhibition": 1, "boostStrength": 0.0,
        "synPermActiveInc": 0.003, "synPermInactiveDec": 0.0005, "synPermConnected": 0.2,
    })
}

fn tm_params() -> Value {
    json!({
        "temporalImp": "cpp", "verbosity": 0, "seed": 1960, "columnCount": 2048, "cellsPerColumn": 32,
        "inputWidth": 2048, "activationThreshold": 13, "minThreshold": 10, "newSynapseCount": 20,
        "initialPerm": 0.21, "permanenceInc": 0.1, "permanenceDec": 0.1, "maxSegmentsPerCell": 128,
        "maxSynapsesPerSegment": 32, "globalDecay": 0.0, "maxAge": 0, "pamLength": 3, "outputType": "normal",
    })
}

fn check_min_resolution(min_resolution: Option<f64>) -> Result<(), SpecError> {
    match min_resolution {
        Some(number) if !number.is_finite() || number < 0.0 => {
            Err(SpecError::new(format!("minResolution {number}: expected a finite number, 0 or above")))
        }
        _ => Ok(()),
    }
}

fn one_end_missing(given: &str, number: f64, missing: &str) -> SpecError {
    SpecError::new(format!(
        "min and max params must both be None or non-None; found {given} {number} and no {missing}: give both, or \
         neither to have them estimated"
    ))
}

/// Why parameters were refused: what was found, what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    reason: String,
}

impl SpecError {
    fn new(reason: String) -> Self {
        Self { reason }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for SpecError {}

impl From<ParamsError> for SpecError {
    fn from(error: ParamsError) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GENERATION: &str = "0123456789abcdef0123456789abcdef";

    fn range(min: f64, max: f64) -> ValueRange {
        ValueRange::new(min, max).expect("a range")
    }

    fn same_bits(left: f64, right: f64) -> bool {
        left.to_bits() == right.to_bits()
    }

    #[test]
    fn the_full_specification_round_trips() {
        let text = r#"{"datasource": "custom", "metricSpec": {"metric": "prod.web.14.memory", "unit": "Count",
            "resource": "prod.web1", "userInfo": {"symbol": "X"}},
            "modelParams": {"min": 0, "max": 100, "minResolution": 0.5, "enableClassifier": false}}"#;
        let spec = ModelSpec::from_json(text).expect("reads");
        assert_eq!(spec.metric_name, "prod.web.14.memory");
        assert_eq!((spec.resource.as_deref(), spec.unit.as_deref()), (Some("prod.web1"), Some("Count")));
        assert_eq!((spec.range, spec.min_resolution), (Some(range(0.0, 100.0)), Some(0.5)));
        assert_eq!(ModelSpec::from_json(&spec.to_json()), Ok(spec.clone()));
        assert_eq!(spec.metric_spec()["userInfo"]["symbol"], "X");
    }

    #[test]
    fn a_bare_specification_has_the_originals_layout() {
        let text = ModelSpec::for_metric("a").to_json();
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value, json!({"datasource": "custom", "metricSpec": {"metric": "a"}}));
        assert!(text.starts_with("{\n  \"datasource\""), "{text}");
    }

    #[test]
    fn bad_specifications_are_refused_with_what_was_found() {
        let with = |params: &str| {
            format!(r#"{{"datasource": "custom", "metricSpec": {{"metric": "a"}}, "modelParams": {params}}}"#)
        };
        for (text, expected) in [
            (with(r#"{"min": 1}"#), "min and max params must both be None or non-None"),
            (with(r#"{"max": 1, "min": null}"#), "min and max params must both be None or non-None"),
            (with(r#"{"min": 2, "max": 1}"#), "min 2 lies above max 1"),
            (with(r#"{"min": -1e308, "max": 1e308}"#), "too far apart"),
            (with(r#"{"min": 0, "max": 1e999}"#), "out of range"),
            (with(r#"{"minResolution": -1}"#), "minResolution -1"),
            (with(r#"{"maximum": 1}"#), "`maximum`"),
            (with(r#"{"enableClassifier": true}"#), "enableClassifier"),
            (r#"{"datasource": "custom", "metricSpec": {"metric": "a", "uid": "b"}}"#.to_owned(), "`uid`"),
            (
                r#"{"datasource": "custom", "metricSpec": {"metric": "a"}, "completeModelParams": {}}"#
                    .to_owned(),
                "`completeModelParams`",
            ),
            (r#"{"datasource": "cloud", "metricSpec": {"metric": "a"}}"#.to_owned(), "datasource is `cloud`"),
            (r#"{"datasource": "custom", "metricSpec": {}}"#.to_owned(), "`metric`"),
            (r#"{"datasource": "custom", "metricSpec": {"metric": ""}}"#.to_owned(), "empty"),
            ("{".to_owned(), "cannot be read"),
        ] {
            let error = ModelSpec::from_json(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(ValueRange::new(f64::NAN, 1.0).is_err());
        let built = ModelSpec { min_resolution: Some(f64::NAN), ..ModelSpec::for_metric("a") };
        assert!(built.validate().is_err());
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
            ("htmengine", "other", "another program"),
            (GENERATION, "0123", "generation `0123`"),
            (GENERATION, "0123456789ABCDEF0123456789abcdef", "lower-case"),
            ("\"resolution\":0.5", "\"resolution\":0.0", "0.0 at /modelConfig"),
            ("\"resolution\":0.5", "\"resolutions\":0.5", "nothing at /modelConfig"),
            ("\"min\":0.0", "\"min\":2.0", "above max"),
            ("\"minResolution\":0.5", "\"minResolution\":-0.5", "minResolution -0.5"),
        ] {
            assert!(good.contains(found), "{found} is in {good}");
            let error =
                ModelStart::from_json(&good.replace(found, replacement)).expect_err(replacement).to_string();
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
            for found in [read.range.expect("kept"), started.range] {
                prop_assert!(same_bits(found.min, range.min) && same_bits(found.max, range.max));
            }
            prop_assert!(same_bits(started.resolution, start.resolution));
            prop_assert_eq!(started.min_resolution.map(f64::to_bits), min_resolution.map(f64::to_bits));
            prop_assert_eq!(read.min_resolution.map(f64::to_bits), min_resolution.map(f64::to_bits));
        }
    }
}
