//! What somebody asked for when monitoring a metric: column `parameters`, and the input of every client.

use std::ops::RangeInclusive;

use htm_core::ids::ModelId;
use htm_core::params::{ModelParams, ValueRange};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::complete::CompleteParams;
use super::{MAX_SPEC_BYTES, SpecError, check_min_resolution};
use crate::repository::metric::DATASOURCE_CUSTOM;

/// Rows that a range is learned from unless somebody says otherwise: a day of five-minute samples.
pub const DEFAULT_LEARNING_ROWS: u32 = 288;
/// How many there may be: fewer say nothing of a metric, more is a month of five-minute samples.
pub const LEARNING_ROWS: RangeInclusive<u32> = 20..=8_640;

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
    /// Rows that a range is learned from, if none is declared: [`LEARNING_ROWS`], by default [`DEFAULT_LEARNING_ROWS`].
    pub learning_rows: Option<u32>,
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
            learning_rows: None,
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

    /// Whether it may be used; what [`Self::from_json`] returned always passes.
    ///
    /// # Errors
    /// [`SpecError`] names the parameter.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.metric_name.is_empty() {
            return Err(SpecError::new("metricSpec.metric is empty; expected the name of a metric"));
        }
        self.validate_params()
    }

    fn validate_params(&self) -> Result<(), SpecError> {
        if self.complete_params()?.is_some() {
            let has_params =
                self.range.is_some() || self.min_resolution.is_some() || self.learning_rows.is_some();
            if has_params || self.enable_classifier {
                return Err(both_kinds_given());
            }
            return Ok(());
        }
        if let Some(range) = self.range {
            ValueRange::new(range.min, range.max)?;
        }
        if let Some(rows) = self.learning_rows
            && !LEARNING_ROWS.contains(&rows)
        {
            return Err(SpecError::new(format!(
                "learningRows is {rows}; expected {} to {}",
                LEARNING_ROWS.start(),
                LEARNING_ROWS.end()
            )));
        }
        check_min_resolution(self.min_resolution)
    }

    /// Rows that a metric without a declared range waits for.
    pub fn rows_to_learn_from(&self) -> i64 {
        self.learning_rows.unwrap_or(DEFAULT_LEARNING_ROWS).into()
    }

    /// The same of a metric whose column `parameters` is this; what cannot be read says nothing else than the default.
    pub fn stored_rows_to_learn_from(parameters: Option<&str>) -> i64 {
        let spec = parameters.and_then(|text| Self::from_json(text).ok());
        spec.map_or(DEFAULT_LEARNING_ROWS.into(), |spec| spec.rows_to_learn_from())
    }

    /// The parameters of the model if all of them were given.
    ///
    /// # Errors
    /// [`SpecError`] names the parameter that is missing, wrong or not supported.
    pub fn complete_params(&self) -> Result<Option<ModelParams>, SpecError> {
        let complete = self.complete_model_params.as_ref();
        complete.map(|map| CompleteParams::of(map)?.params()).transpose()
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
        let learning_rows = self.learning_rows.map(|rows| ("learningRows".to_owned(), rows.into()));
        let numbers = numbers.into_iter().filter_map(|(key, number)| Some((key.to_owned(), number?.into())));
        let mut params: Map<String, Value> = numbers.chain(learning_rows).collect();
        if self.enable_classifier {
            params.insert("enableClassifier".to_owned(), true.into());
        }
        if !params.is_empty() {
            spec.insert("modelParams".to_owned(), params.into());
        }
        if let Some(complete) = &self.complete_model_params {
            spec.insert("completeModelParams".to_owned(), complete.clone().into());
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
        let (uid, spec) = Self::from_json_with_uid(text)?;
        if let Some(uid) = uid {
            return Err(SpecError::new(format!(
                "metricSpec has the key `uid` ({uid}); expected `metric`, the name: ids are resolved before"
            )));
        }
        spec.validate()?;
        Ok(spec)
    }

    /// Reads a specification that names its metric by `uid`, by `metric` (its name) or both, of which the uid counts.
    /// The caller resolves it and puts the name into [`Self::metric_name`], which is empty if only the uid was given;
    /// a uid is never stored.
    ///
    /// # Errors
    /// As [`Self::from_json`]; also if there is neither, or the uid cannot be one.
    pub fn from_json_with_uid(text: &str) -> Result<(Option<ModelId>, Self), SpecError> {
        if text.len() > MAX_SPEC_BYTES {
            let found = text.len();
            return Err(SpecError::new(format!(
                "the model specification has {found} bytes; expected at most {MAX_SPEC_BYTES}"
            )));
        }
        let read: SpecJson = serde_json::from_str(text)
            .map_err(|error| SpecError::new(format!("the model specification cannot be read: {error}")))?;
        if read.datasource != DATASOURCE_CUSTOM {
            return Err(SpecError::new(format!(
                "datasource is `{}`; expected `{DATASOURCE_CUSTOM}`, the only one there is",
                read.datasource
            )));
        }
        let MetricSpecJson { uid, metric, unit, resource, user_info } = read.metric_spec;
        if uid.is_none() && metric.is_none() {
            return Err(SpecError::new(
                "Neither uid nor metric name present in metricSpec: give `metric`, the name of the metric",
            ));
        }
        let uid = uid.map(|uid| {
            ModelId::new(&uid).ok_or_else(|| {
                let uid = uid.escape_debug();
                SpecError::new(format!("metricSpec.uid is `{uid}`; expected the id of a metric, 32 digits"))
            })
        });
        let uid = uid.transpose()?;
        if read.model_params.is_some() && read.complete_model_params.is_some() {
            return Err(both_kinds_given());
        }
        let params = read.model_params.unwrap_or_default();
        let spec = Self {
            metric_name: metric.unwrap_or_default(),
            resource,
            unit,
            user_info,
            range: Self::range_of(params.min, params.max)?,
            min_resolution: params.min_resolution,
            learning_rows: params.learning_rows,
            enable_classifier: params.enable_classifier.unwrap_or(false),
            complete_model_params: read.complete_model_params,
        };
        spec.validate_params()?;
        Ok((uid, spec))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpecJson {
    datasource: String,
    metric_spec: MetricSpecJson,
    model_params: Option<ModelParamsJson>,
    complete_model_params: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricSpecJson {
    uid: Option<String>,
    metric: Option<String>,
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
    learning_rows: Option<u32>,
    enable_classifier: Option<bool>,
}

fn both_kinds_given() -> SpecError {
    SpecError::new(
        "Specify either modelParams or completeModelParams but not both. Range, resolution and classifier are part of \
         the complete parameters",
    )
}

fn one_end_missing(given: &str, number: f64, missing: &str) -> SpecError {
    SpecError::new(format!(
        "min and max params must both be None or non-None; found {given} {number} and no {missing}: give both, or \
         neither to have them estimated"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(min: f64, max: f64) -> ValueRange {
        ValueRange::new(min, max).expect("a range")
    }

    #[test]
    fn the_full_specification_round_trips() {
        let text = r#"{"datasource": "custom", "metricSpec": {"metric": "prod.web.14.memory", "unit": "Count",
            "resource": "prod.web1", "userInfo": {"symbol": "X"}},
            "modelParams": {"min": 0, "max": 100, "minResolution": 0.5, "learningRows": 100, "enableClassifier": true}}"#;
        let spec = ModelSpec::from_json(text).expect("reads");
        assert_eq!(spec.metric_name, "prod.web.14.memory");
        assert_eq!((spec.resource.as_deref(), spec.unit.as_deref()), (Some("prod.web1"), Some("Count")));
        assert_eq!((spec.range, spec.min_resolution), (Some(range(0.0, 100.0)), Some(0.5)));
        assert!(spec.enable_classifier);
        assert_eq!(spec.rows_to_learn_from(), 100);
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
            (with(r#"{"learningRows": 19}"#), "learningRows is 19; expected 20 to 8640"),
            (with(r#"{"maximum": 1}"#), "`maximum`"),
            (with(r#"{"enableClassifier": 1}"#), "boolean"),
            (r#"{"datasource": "custom", "metricSpec": {"metric": "a", "uid": "b"}}"#.to_owned(), "`uid`"),
            (
                r#"{"datasource": "custom", "metricSpec": {"metric": "a"}, "completeModelParams": {}}"#
                    .to_owned(),
                "inferenceArgs must be specified",
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

    #[test]
    fn a_metric_may_be_named_by_its_uid() {
        let read = |metric_spec: &str| {
            ModelSpec::from_json_with_uid(&format!(
                r#"{{"datasource": "custom", "metricSpec": {metric_spec}}}"#
            ))
        };
        let uid = "0123456789abcdef0123456789abcdef";
        let (found, spec) = read(&format!(r#"{{"uid": "{uid}", "resource": "box"}}"#)).expect("reads");
        assert_eq!((found.as_ref().map(ModelId::as_str), &*spec.metric_name), (Some(uid), ""));
        assert!(spec.validate().is_err(), "the caller puts the name in");
        let (found, spec) = read(&format!(r#"{{"uid": "{uid}", "metric": "a"}}"#)).expect("reads");
        assert_eq!((found.is_some(), &*spec.metric_name), (true, "a"));
        assert!(!spec.to_json().contains("uid"), "never stored");
        let error = read("{}").expect_err("neither").to_string();
        assert!(error.starts_with("Neither uid nor metric name present in metricSpec"), "{error}");
        assert!(read(r#"{"uid": "../x"}"#).is_err());
        let long = format!(r#"{{"metric": "{}"}}"#, "a".repeat(MAX_SPEC_BYTES));
        assert!(read(&long).expect_err("too long").to_string().contains("at most 60000"));
    }
}
