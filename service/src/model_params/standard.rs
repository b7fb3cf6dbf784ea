//! The `modelConfig` of a model for one metric, as JSON: NuPIC 1.0.5's parameter set with the metric's resolution.
//!
//! Departure from htmengine 2017, which pinned NuPIC 0.3.4: the range is divided into 130 buckets instead of 114, so
//! resolutions are 12 % finer for the same range.

use serde_json::{Value, json};

/// Name of the timestamp in records of such models.
pub(super) const TIMESTAMP_FIELD: &str = "c0";
/// Name of the value.
pub(super) const VALUE_FIELD: &str = "c1";

/// `inferenceArgs` of such models.
pub(super) fn inference_args() -> Value {
    json!({"predictionSteps": [1], "predictedField": VALUE_FIELD, "inputPredictedField": "auto"})
}

/// `modelConfig` with this resolution of the value encoder.
pub(super) fn model_config(resolution: f64, enable_classifier: bool) -> Value {
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
            "clEnable": enable_classifier,
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
