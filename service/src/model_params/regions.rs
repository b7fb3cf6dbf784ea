//! `spParams`, `tmParams` (or the older `tpParams`) and `clParams` as the parameters of a model.
//!
//! A key that is missing has the value of the standard set, which is mostly the reference's default too. Every key that
//! the reference's constructors take is either mapped, refused unless it changes nothing, or listed as without effect.
//!
//! Source: the constructors of nupic's `SPRegion`, `TMRegion`, `SpatialPooler`, `BacktrackingTMCPP`, `TMCPPShim` and
//! `SDRClassifierRegion`. Departure: implementations other than the C++ ones are refused, since their draws differ.

use htm_core::classifier::{ClassifierParams, STANDARD_ALPHA};
use htm_core::params::{
    BacktrackingTmParams, MemoryParams, SpatialPoolerParams, TemporalMemoryParams, standard_plain_memory,
    standard_spatial_pooler, standard_temporal_memory,
};
use serde_json::Value;

use super::SpecError;
use super::json_section::{Section, is_zero, whole_of};

/// The spatial pooler; its number of inputs follows from the encoders.
pub(super) fn spatial_pooler(mut section: Section<'_>) -> Result<SpatialPoolerParams, SpecError> {
    let standard = standard_spatial_pooler(0);
    section.only("spatialImp", |value| value == "cpp", "\"cpp\", the only implementation here")?;
    section.only(
        "globalInhibition",
        |value| whole_of(value) == Some(1) || value == true,
        "1: inhibition is global",
    )?;
    section.only("localAreaDensity", is_below_0, "a number below 0: numActiveColumnsPerInhArea counts")?;
    section.only("stimulusThreshold", is_zero, "0: there is no stimulus threshold")?;
    section.only("boostStrength", is_zero, "0: there is no boosting")?;
    section.only(
        "maxBoost",
        |value| value.as_f64().is_some_and(|number| number <= 1.0),
        "1: there is no boosting",
    )?;
    section.only("potentialRadius", is_zero, "0: the potential pool reaches over the whole input")?;
    section.only("randomSP", is_zero, "0: the spatial pooler learns")?;
    section.only("wrapAround", |value| value == true || whole_of(value) == Some(1), "true")?;
    // The reference sets the first from the encoders; without boosting the second is read by nobody.
    section.without_effect(&["inputWidth", "minPctActiveDutyCycle", "spVerbosity", "verbosity"]);
    let params = SpatialPoolerParams {
        columns: section.size("columnCount", standard.columns)?,
        active_columns: section.size("numActiveColumnsPerInhArea", standard.active_columns)?,
        potential_share: section.single("potentialPct", standard.potential_share)?,
        active_increment: section.single("synPermActiveInc", standard.active_increment)?,
        inactive_decrement: section.single("synPermInactiveDec", standard.inactive_decrement)?,
        connected_permanence: section.single("synPermConnected", standard.connected_permanence)?,
        min_overlap_duty_share: section.single("minPctOverlapDutyCycle", standard.min_overlap_duty_share)?,
        duty_cycle_period: section.count("dutyCyclePeriod", standard.duty_cycle_period)?,
        seed: section.whole("seed")?.unwrap_or(standard.seed),
        ..standard
    };
    section.finish()?;
    Ok(params)
}

/// The temporal memory, chosen by `temporalImp`.
pub(super) fn memory(mut section: Section<'_>, columns: usize) -> Result<MemoryParams, SpecError> {
    let implementation = section.text("temporalImp")?.unwrap_or("cpp");
    section.only("globalDecay", is_zero, "0: permanences do not decay by themselves")?;
    section.only("maxAge", is_zero, "0: permanences do not decay by themselves")?;
    section.only("doPooling", is_zero, "false: the memory does not pool")?;
    section.only(
        "outputType",
        |value| value == "normal" || value == "activeState",
        "\"normal\" or \"activeState\", of which scores are the same",
    )?;
    // Inputs are the spatial pooler's columns; the others are for people and for debugging. The last is 1 without
    // pooling, whatever is given.
    section.without_effect(&[
        "inputWidth",
        "verbosity",
        "burnIn",
        "collectStats",
        "checkSynapseConsistency",
        "computePredictedActiveCellIndices",
        "anomalyMode",
        "topDownMode",
        "segUpdateValidDuration",
    ]);
    match implementation {
        "cpp" => backtracking(section, columns).map(MemoryParams::Backtracking),
        "tm_cpp" => plain(section, columns).map(MemoryParams::Plain),
        other => {
            let expected = "\"cpp\" (with backtracking) or \"tm_cpp\" (plain)";
            Err(section.refusal("temporalImp", &Value::from(other), expected))
        }
    }
}

fn backtracking(mut section: Section<'_>, columns: usize) -> Result<BacktrackingTmParams, SpecError> {
    let standard = standard_temporal_memory();
    let only_plain = "nothing: only the plain memory, \"tm_cpp\", has it";
    section.only("predictedSegmentDecrement", is_zero, only_plain)?;
    let params = BacktrackingTmParams {
        columns: section.size("columnCount", columns)?,
        cells_per_column: section.size("cellsPerColumn", standard.cells_per_column)?,
        activation_threshold: section.size("activationThreshold", standard.activation_threshold)?,
        min_threshold: section.size("minThreshold", standard.min_threshold)?,
        new_synapse_count: section.size("newSynapseCount", standard.new_synapse_count)?,
        max_segments_per_cell: section.size("maxSegmentsPerCell", standard.max_segments_per_cell)?,
        max_synapses_per_segment: section.size("maxSynapsesPerSegment", standard.max_synapses_per_segment)?,
        initial_permanence: section.single("initialPerm", standard.initial_permanence)?,
        connected_permanence: section.single("connectedPerm", standard.connected_permanence)?,
        permanence_increment: section.single("permanenceInc", standard.permanence_increment)?,
        permanence_decrement: section.single("permanenceDec", standard.permanence_decrement)?,
        permanence_max: section.single("permanenceMax", standard.permanence_max)?,
        pam_length: section.count("pamLength", standard.pam_length)?,
        max_sequence_length: section.count("maxSeqLength", standard.max_sequence_length)?,
        max_infer_backtrack: section.size("maxInfBacktrack", standard.max_infer_backtrack)?,
        max_learn_backtrack: section.size("maxLrnBacktrack", standard.max_learn_backtrack)?,
        seed: section.whole("seed")?.unwrap_or(standard.seed),
    };
    section.finish()?;
    Ok(params)
}

fn plain(mut section: Section<'_>, columns: usize) -> Result<TemporalMemoryParams, SpecError> {
    let standard = standard_plain_memory();
    section.only("permanenceMax", |value| whole_of(value) == Some(1), "1, which is fixed in this memory")?;
    // The reference's shim takes these and does nothing with them.
    section.without_effect(&["pamLength", "maxSeqLength", "maxInfBacktrack", "maxLrnBacktrack"]);
    let params = TemporalMemoryParams {
        columns: section.size("columnCount", columns)?,
        cells_per_column: section.size("cellsPerColumn", standard.cells_per_column)?,
        activation_threshold: section.size("activationThreshold", standard.activation_threshold)?,
        min_threshold: section.size("minThreshold", standard.min_threshold)?,
        new_synapse_count: section.size("newSynapseCount", standard.new_synapse_count)?,
        max_segments_per_cell: section.size("maxSegmentsPerCell", standard.max_segments_per_cell)?,
        max_synapses_per_segment: section.size("maxSynapsesPerSegment", standard.max_synapses_per_segment)?,
        initial_permanence: section.single("initialPerm", standard.initial_permanence)?,
        connected_permanence: section.single("connectedPerm", standard.connected_permanence)?,
        permanence_increment: section.single("permanenceInc", standard.permanence_increment)?,
        permanence_decrement: section.single("permanenceDec", standard.permanence_decrement)?,
        predicted_segment_decrement: section
            .single("predictedSegmentDecrement", standard.predicted_segment_decrement)?,
        seed: section.whole("seed")?.unwrap_or(standard.seed),
    };
    section.finish()?;
    Ok(params)
}

/// The classifier. Its own `steps` count, then `predictionSteps` of the inference arguments, then 1.
pub(super) fn classifier(
    section: Option<Section<'_>>,
    prediction_steps: &[u32],
) -> Result<ClassifierParams, SpecError> {
    let mut params = ClassifierParams { steps: prediction_steps.to_vec(), alpha: STANDARD_ALPHA };
    if let Some(mut section) = section {
        params.alpha = section.single("alpha", STANDARD_ALPHA)?;
        if let Some(value) = section.value("steps") {
            let expected = "whole numbers from 1 on, such as \"1,5\"";
            params.steps = steps_of(value).ok_or_else(|| section.refusal("steps", value, expected))?;
        }
        let regions = ["SDRClassifierRegion", "CLAClassifierRegion"];
        section.only(
            "regionName",
            |value| value.as_str().is_some_and(|name| regions.contains(&name)),
            "\"SDRClassifierRegion\" or \"CLAClassifierRegion\", for both of which this engine has its own classifier",
        )?;
        section.without_effect(&["verbosity", "clVerbosity", "implementation", "maxCategoryCount"]);
        section.finish()?;
    }
    if params.steps.is_empty() {
        params.steps = ClassifierParams::standard().steps;
    }
    params.steps.sort_unstable();
    params.steps.dedup();
    Ok(params)
}

/// Numbers of steps as a list, as text with commas, or as one number; `None` if one is no whole number from 1 on.
pub(super) fn steps_of(value: &Value) -> Option<Vec<u32>> {
    let checked = |steps: u64| u32::try_from(steps).ok().filter(|&steps| steps > 0);
    match value {
        Value::Array(list) => list.iter().map(|steps| whole_of(steps).and_then(checked)).collect(),
        Value::String(text) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| part.parse().ok().and_then(checked)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            whole_of(value).and_then(checked).map(|steps| vec![steps])
        }
    }
}

fn is_below_0(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number < 0.0)
}
