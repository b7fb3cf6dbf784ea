//! Configurations of both generations of names, read, mapped and refused.

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::{MemoryParams, ModelParams, standard_plain_memory, standard_temporal_memory};
use serde_json::{Map, Value, json};

use crate::model_params::{ADOPTED_GENERATION, ModelSpec, ModelStart, SpecError};

/// What htmengine 2017 wrote into `model_params` with NuPIC 0.3.4.
fn original() -> Value {
    json!({
        "inferenceArgs": {"predictionSteps": [1], "predictedField": "c1", "inputPredictedField": "auto"},
        "inputRecordSchema": [["c0", "datetime", "T"], ["c1", "float", ""]],
        "anomalyLikelihoodParams": {"last_rowid_for_stats": 4000, "params": {}},
        "modelConfig": {
            "model": "CLA", "version": 1, "predictAheadTime": null,
            "aggregationInfo": {
                "years": 0, "months": 0, "weeks": 0, "days": 0, "hours": 0, "minutes": 0, "seconds": 0,
                "milliseconds": 0, "microseconds": 0, "fields": []
            },
            "modelParams": {
                "inferenceType": "TemporalAnomaly", "spEnable": true, "tpEnable": true, "clEnable": true,
                "trainSPNetOnlyIfRequested": false,
                "sensorParams": {
                    "verbosity": 0, "sensorAutoReset": null,
                    "encoders": {
                        "c0_timeOfDay": {
                            "type": "DateEncoder", "fieldname": "c0", "name": "c0",
                            "timeOfDay": [21, 9.491_223_347_477_37]
                        },
                        "c0_dayOfWeek": null, "c0_weekend": null,
                        "c1": {
                            "type": "RandomDistributedScalarEncoder", "fieldname": "c1", "name": "c1", "seed": 42,
                            "resolution": 24.56
                        }
                    }
                },
                "spParams": {
                    "spatialImp": "cpp", "columnCount": 2048, "inputWidth": 0, "numActiveColumnsPerInhArea": 40,
                    "potentialPct": 0.8, "globalInhibition": 1, "synPermActiveInc": 0.0015,
                    "synPermInactiveDec": 0.0005, "synPermConnected": 0.1, "maxBoost": 1.0, "seed": 1956,
                    "spVerbosity": 0
                },
                "tpParams": {
                    "temporalImp": "cpp", "columnCount": 2048, "cellsPerColumn": 32, "inputWidth": 2048,
                    "activationThreshold": 13, "minThreshold": 10, "newSynapseCount": 20, "initialPerm": 0.21,
                    "permanenceInc": 0.1, "permanenceDec": 0.1, "maxSegmentsPerCell": 128,
                    "maxSynapsesPerSegment": 32, "globalDecay": 0.0, "maxAge": 0, "pamLength": 3,
                    "outputType": "normal", "seed": 1960, "verbosity": 0
                },
                "clParams": {
                    "regionName": "CLAClassifierRegion", "alpha": 0.035_828_933_612_158, "steps": "1",
                    "clVerbosity": 0
                },
                "anomalyParams": {
                    "anomalyCacheRecords": null, "autoDetectThreshold": null, "autoDetectWaitRecords": 5030
                }
            }
        }
    })
}

/// The same as a client gives it.
fn complete() -> Map<String, Value> {
    let Value::Object(mut map) = original() else { unreachable!("an object") };
    map.remove("inputRecordSchema");
    map.remove("anomalyLikelihoodParams");
    map.insert("timestampFieldName".to_owned(), "c0".into());
    map.insert("valueFieldName".to_owned(), "c1".into());
    map
}

/// Puts `value` at `pointer`, or takes away what is there.
fn changed(mut map: Map<String, Value>, pointer: &str, value: Option<Value>) -> Map<String, Value> {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let mut whole = Value::Object(std::mem::take(&mut map));
    let parent = whole.pointer_mut(parent).expect("a parent").as_object_mut().expect("an object");
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
    whole.as_object().expect("an object").clone()
}

fn params_of(complete: Map<String, Value>) -> Result<ModelParams, SpecError> {
    let spec = ModelSpec { complete_model_params: Some(complete), ..ModelSpec::for_metric("a") };
    spec.validate()?;
    // It survives being stored, and starting.
    let spec = ModelSpec::from_json(&spec.to_json())?;
    let complete = spec.complete_model_params.clone().expect("kept");
    let start = ModelStart::complete("a".repeat(32), complete);
    assert_eq!(ModelStart::from_json(&start.to_json()), Ok(start.clone()));
    assert_eq!(start.params(), spec.complete_params().map(|params| params.expect("given")));
    start.params()
}

const SP: &str = "/modelConfig/modelParams/spParams";
const TP: &str = "/modelConfig/modelParams/tpParams";
const ENCODERS: &str = "/modelConfig/modelParams/sensorParams/encoders";

#[test]
fn a_model_of_the_original_is_adopted() {
    let start = ModelStart::from_json(&original().to_string()).expect("reads");
    assert_eq!((&*start.generation, start.range), (ADOPTED_GENERATION, None));
    let params = start.params().expect("supported");
    let pooler = params.spatial_pooler();
    assert_eq!(pooler.active_increment.to_bits(), 0.0015_f32.to_bits());
    assert_eq!(pooler.connected_permanence.to_bits(), 0.1_f32.to_bits());
    assert_eq!(params.memory(), &MemoryParams::Backtracking(standard_temporal_memory()));
    assert_eq!(params.classifier().map(|classifier| &*classifier.steps), Some(&[1][..]));
    assert_eq!(params.encoder().width(), 454);
}

#[test]
fn every_part_of_a_week_fits_beside_the_value() {
    let part = |key: &str, value: Value| {
        let mut encoder = json!({"type": "DateEncoder", "fieldname": "c0", "name": "c0"});
        encoder[key] = value;
        Some(encoder)
    };
    let week = part("dayOfWeek", json!([21, 1]));
    let map = changed(complete(), &format!("{ENCODERS}/c0_dayOfWeek"), week);
    let weekend = part("weekend", json!(21));
    let map = changed(map, &format!("{ENCODERS}/c0_weekend"), weekend);
    let params = params_of(map.clone()).expect("supported");
    assert_eq!(params.encoder().width(), 54 + 147 + 42 + 400);
    assert_eq!(params.spatial_pooler().input_bits, 643);
    let widest = changed(map, &format!("{ENCODERS}/c1/n"), Some(json!(3852)));
    assert_eq!(params_of(widest).expect("supported").encoder().width(), 4095);
}

#[test]
fn every_number_is_mapped() {
    for (pointer, value, expected) in [
        (format!("{SP}/columnCount"), json!(1024), "tmParams.columnCount is 2048; expected 1024"),
        (format!("{SP}/seed"), json!(7), "\"seed\":7"),
        (format!("{SP}/potentialPct"), json!(0.5), "\"potential_share\":0.5"),
        (format!("{SP}/minPctOverlapDutyCycle"), json!(0.01), "\"min_overlap_duty_share\":0.01"),
        (format!("{SP}/dutyCyclePeriod"), json!(500), "\"duty_cycle_period\":500"),
        (format!("{TP}/cellsPerColumn"), json!(16), "\"cells_per_column\":16"),
        (format!("{TP}/pamLength"), json!(1), "\"pam_length\":1"),
        (format!("{TP}/connectedPerm"), json!(0.4), "\"connected_permanence\":0.4"),
        (format!("{TP}/maxSeqLength"), json!(64), "\"max_sequence_length\":64"),
        (format!("{ENCODERS}/c1/n"), json!(200), "\"width\":200"),
        (format!("{ENCODERS}/c1/offset"), json!(5), "\"offset\":5.0"),
        ("/inferenceArgs/predictionSteps".to_owned(), json!([1]), "\"steps\":[1]"),
        ("/modelConfig/modelParams/clParams/steps".to_owned(), json!("5,1"), "\"steps\":[1,5]"),
        ("/modelConfig/modelParams/clEnable".to_owned(), json!(false), "\"classifier\":null"),
    ] {
        let found = params_of(changed(complete(), &pointer, Some(value)));
        let found = found.map_or_else(|error| error.to_string(), |params| params.description().to_owned());
        assert!(found.contains(expected), "{pointer}: {found}");
    }
}

#[test]
fn the_plain_memory_is_chosen_by_its_name() {
    let memory = json!({
        "temporalImp": "tm_cpp", "columnCount": 2048, "cellsPerColumn": 32, "inputWidth": 2048,
        "activationThreshold": 20, "minThreshold": 13, "newSynapseCount": 31, "initialPerm": 0.24,
        "permanenceInc": 0.04, "permanenceDec": 0.008, "predictedSegmentDecrement": 0.001,
        "maxSegmentsPerCell": 128, "maxSynapsesPerSegment": 128, "globalDecay": 0.0, "maxAge": 0, "pamLength": 3,
        "outputType": "normal", "seed": 1960, "verbosity": 0
    });
    let given = changed(complete(), TP, Some(memory.clone()));
    let params = params_of(given).expect("supported");
    assert_eq!(params.memory(), &MemoryParams::Plain(standard_plain_memory()));
    // Under its newer name, with the standard numbers left out.
    let newer = changed(complete(), TP, None);
    let newer = changed(newer, "/modelConfig/modelParams/tmParams", Some(json!({"temporalImp": "tm_cpp"})));
    assert_eq!(params_of(newer), Ok(params));
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_value() {
    let at = |section: &str, key: &str| format!("{section}/{key}");
    for (pointer, value, expected) in [
        (at(SP, "globalInhibition"), json!(0), "spParams.globalInhibition is 0; expected 1"),
        (at(SP, "maxBoost"), json!(2.0), "spParams.maxBoost is 2.0; expected 1"),
        (at(SP, "boostStrength"), json!(3), "spParams.boostStrength is 3; expected 0"),
        (at(SP, "spatialImp"), json!("py"), "spParams.spatialImp is \"py\""),
        (at(SP, "columnCount"), json!(4096), "columnCount is 4096; expected 1 to 2048"),
        (at(SP, "seed"), json!(-1), "spParams.seed is -1; expected a whole number"),
        (at(SP, "whatever"), json!(1), "spParams.whatever is 1; expected no such key"),
        (at(TP, "temporalImp"), json!("py"), "tpParams.temporalImp is \"py\"; expected \"cpp\""),
        (at(TP, "cellsPerColumn"), json!(33), "cellsPerColumn is 33; expected 2 to 32"),
        (at(TP, "maxSynapsesPerSegment"), json!(65), "maxSynapsesPerSegment is 65; expected 1 to 64"),
        (at(TP, "globalDecay"), json!(0.1), "tpParams.globalDecay is 0.1; expected 0"),
        (at(ENCODERS, "c2"), json!({"type": "LogEncoder", "fieldname": "c1"}), "c2.type is \"LogEncoder\""),
        (at(ENCODERS, "c2"), json!({"type": "ScalarEncoder"}), "c2.fieldname is missing"),
        (at(ENCODERS, "c1"), Value::Null, "clEnable is true; expected false"),
        (
            format!("{ENCODERS}/c1/n"),
            json!(4042),
            "width of all encoders together is 4096; expected 1 to 4095",
        ),
        (format!("{ENCODERS}/c1/n"), json!(4096), "width of an encoder is 4096; expected 1 to 4095"),
        (format!("{ENCODERS}/c1/numBuckets"), json!(130), "c1.numBuckets is 130; expected no such key"),
        ("/modelConfig/model".to_owned(), json!("HierarchicalModel"), "modelConfig.model is"),
        ("/modelConfig/aggregationInfo/hours".to_owned(), json!(1), "modelConfig.aggregationInfo is"),
        ("/modelConfig/modelParams/inferenceType".to_owned(), json!("TemporalMultiStep"), "inferenceType is"),
        (
            "/modelConfig/modelParams/sensorParams/sensorAutoReset".to_owned(),
            json!({"hours": 1}),
            "sensorParams.sensorAutoReset is",
        ),
        ("/inferenceArgs/inputPredictedField".to_owned(), json!("no"), "inputPredictedField is \"no\""),
        ("/inferenceArgs/predictionSteps".to_owned(), json!([0]), "inferenceArgs.predictionSteps is [0]"),
        ("/modelConfig/modelParams/clParams/alpha".to_owned(), json!(0), "clParams.alpha is 0"),
        ("/more".to_owned(), json!(1), "completeModelParams.more is 1; expected no such key"),
    ] {
        let error = params_of(changed(complete(), &pointer, Some(value))).expect_err(&pointer).to_string();
        assert!(error.contains(expected), "{pointer}: {error}");
    }
}

#[test]
fn the_parts_are_asked_for_in_the_originals_order() {
    let read = |complete: &Map<String, Value>, more: &str| {
        let text = format!(
            r#"{{"datasource": "custom", "metricSpec": {{"metric": "a"}}{more}, "completeModelParams": {}}}"#,
            Value::Object(complete.clone())
        );
        ModelSpec::from_json(&text).map(|_| ()).expect_err("refused").to_string()
    };
    let mut map = Map::new();
    let both = read(&map, r#", "modelParams": {}"#);
    assert!(both.starts_with("Specify either modelParams or completeModelParams but not both."), "{both}");
    let steps = [
        (
            "inferenceArgs must be specified in completeModelParams.",
            "inferenceArgs",
            json!({"predictedField": "b"}),
        ),
        ("timestampFieldName must be specified in completeModelParams.", "timestampFieldName", json!("c0")),
        ("valueFieldName must be specified in completeModelParams.", "valueFieldName", json!("c1")),
        (
            "Inference args' predictedField must match complete model params' valueFieldName",
            "inferenceArgs",
            json!({"predictedField": "c1"}),
        ),
        ("modelConfig must be specified in completeModelParams.", "modelConfig", json!({})),
        ("modelConfig.modelParams is missing", "modelConfig", json!({"modelParams": {}})),
    ];
    for (expected, key, mended) in steps {
        let found = read(&map, "");
        assert!(found.starts_with(expected), "{found}");
        map.insert(key.to_owned(), mended);
    }
}

/// The original's own test: names that no encoder has. The model can be defined, and its first row fails.
#[test]
fn a_field_that_no_row_has_is_named_by_the_first_row() {
    let mut map = changed(complete(), "/modelConfig/modelParams/clEnable", None);
    let volume = json!({
        "volume": {
            "type": "ScalarEncoder", "fieldname": "volume", "name": "volume", "minval": 0.0, "maxval": 5000.0,
            "n": 272, "w": 21, "clipInput": true
        },
        "timestamp_timeOfDay": null, "timestamp_dayOfWeek": null, "timestamp_weekend": null
    });
    map = changed(map, ENCODERS, Some(volume));
    map.insert("timestampFieldName".to_owned(), "foo".into());
    map.insert("valueFieldName".to_owned(), "bar".into());
    map.insert("inferenceArgs".to_owned(), json!({"predictionSteps": [1], "predictedField": "bar"}));
    let step = |map: Map<String, Value>| {
        let params = params_of(map).expect("can be defined");
        assert_eq!(params.encoder().width(), 272);
        let mut model = Model::new(std::sync::Arc::new(params), &Templates::new());
        let record = Record { timestamp: 0, value: 10.0 };
        model.step(&mut Workspace::new(), RowId(1), record).map(|scores| scores.bucket)
    };
    let error = step(map.clone()).expect_err("no such field").to_string();
    assert!(error.contains("the field `volume`"), "{error}");
    map.insert("valueFieldName".to_owned(), "volume".into());
    map.insert("inferenceArgs".to_owned(), json!({"predictionSteps": [1], "predictedField": "volume"}));
    assert_eq!(step(map), Ok(1));
}

#[test]
fn encoders_of_every_kind_are_read() {
    let encoders = json!({
        "when": {
            "type": "DateEncoder", "fieldname": "c0", "season": 3, "weekend": [3, 1.0], "holiday": 3,
            "holidays": [[1, 1], [2030, 5, 1]], "customDays": [3, ["mon", "Sunday"]], "timeOfDay": [5, 8.0]
        },
        "value": {
            "type": "ScalarEncoder", "fieldname": "c1", "minval": -1, "maxval": 1, "w": 5, "forced": true,
            "radius": 0.5, "periodic": true
        },
        "_classifierInput": {"classifierOnly": true, "type": "ScalarEncoder", "fieldname": "c1"}
    });
    let params = params_of(changed(complete(), ENCODERS, Some(encoders.clone()))).expect("supported");
    // season 3 * 366 / 91.5 = 12, weekend, custom days and holiday 6 each, 5 * 24 / 8 = 15 hours, 5 * 2 / 0.5 = 20.
    assert_eq!(params.encoder().width(), 12 + 6 + 6 + 6 + 15 + 20);
    for (pointer, value, expected) in [
        ("when/customDays", json!([3, ["moonday"]]), "when.customDays is"),
        ("when/holidays", json!([[13, 1]]), "holidays is"),
        ("when/timeOfDay", json!("all"), "when.timeOfDay is \"all\""),
        ("value/forced", json!(false), "value.w is 5; expected at least 21"),
        ("value/n", json!(30), "value has 2 of n, radius and resolution"),
        ("value/maxval", json!(-1), "value: a scalar encoder of 5 bits"),
    ] {
        let given = changed(complete(), ENCODERS, Some(encoders.clone()));
        let given = changed(given, &format!("{ENCODERS}/{pointer}"), Some(value));
        let error = params_of(given).expect_err(pointer).to_string();
        assert!(error.contains(expected), "{pointer}: {error}");
    }
}
