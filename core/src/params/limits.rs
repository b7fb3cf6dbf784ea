//! Which parameters a model can be made of.
//!
//! Every limit is either the algorithm's own or a width in the layout of `htm_kernels` (a cell index is 16 bits, a
//! segment's counts are 8). What passes here never makes a kernel refuse its parameters.

use std::fmt::Display;
use std::ops::RangeInclusive;

use htm_kernels::backtracking_tm::{BacktrackingTmParams, CELL_STRIDE, MAX_SYNAPSES_PER_SEGMENT};
use htm_kernels::spatial_pooler::{MAX_INPUT_BITS, SpatialPoolerParams};
use htm_kernels::temporal_memory::TemporalMemoryParams;
use htm_kernels::{MAX_ACTIVE_COLUMNS, MAX_COLUMNS};

use super::{MemoryParams, ParamsError};
use crate::classifier::{self, ClassifierParams};
use crate::encoder::date::{DateEncoder, MAX_HOLIDAYS};
use crate::encoder::{EncoderParams, FieldParams};

/// Most fields of an encoder.
const MAX_FIELDS: usize = 64;
/// Longest key or name of a field, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Most patterns that the backtracking memory may fall back to.
const MAX_BACKTRACK: usize = 100;
/// Longest period of a spatial pooler's duty cycles, and longest sequence of a backtracking memory: beyond it an
/// `f32` no longer counts every step.
const MAX_STEPS: u32 = 1 << 24;
/// Segments of a cell have slots of one byte.
const MAX_SEGMENTS_PER_CELL: usize = 255;

/// Checks all parts, and that they fit together.
pub(super) fn check(
    encoder: &EncoderParams,
    spatial_pooler: &SpatialPoolerParams,
    memory: &MemoryParams,
    classifier: Option<&ClassifierParams>,
) -> Result<(), ParamsError> {
    check_encoder(encoder)?;
    check_spatial_pooler(spatial_pooler)?;
    let columns = match memory {
        MemoryParams::Backtracking(params) => {
            check_backtracking(params)?;
            params.columns
        }
        MemoryParams::Plain(params) => {
            check_plain(params)?;
            params.columns
        }
    };
    if columns != spatial_pooler.columns {
        return Err(ParamsError::out_of_range(
            "tmParams.columnCount",
            columns,
            format!("{}, the spatial pooler's", spatial_pooler.columns),
        ));
    }
    let Some(classifier) = classifier else { return Ok(()) };
    if !encoder.has_value() {
        return Err(ParamsError::out_of_range(
            "clEnable",
            true,
            "false: no encoder reads the value, so there is nothing to predict",
        ));
    }
    check_classifier(classifier)
}

fn check_encoder(encoder: &EncoderParams) -> Result<(), ParamsError> {
    within("number of encoders", encoder.fields().len(), 1..=MAX_FIELDS)?;
    for (key, field) in encoder.fields() {
        within("length of an encoder's key", key.len(), 0..=MAX_NAME_BYTES)?;
        match field {
            FieldParams::Date(date) => check_date(date)?,
            FieldParams::Scalar(_) => {}
            FieldParams::RandomDistributedScalar(params) => params.check()?,
            FieldParams::Unknown(field) => {
                within("length of an encoder's fieldname", field.name.len(), 0..=MAX_NAME_BYTES)?;
                within("width of an encoder", field.width, 1..=MAX_INPUT_BITS)?;
            }
        }
        within("width of an encoder", field.width(), 1..=MAX_INPUT_BITS)?;
    }
    within("width of all encoders together", encoder.width(), 1..=MAX_INPUT_BITS)
}

fn check_date(date: &DateEncoder) -> Result<(), ParamsError> {
    if let Some((_, days)) = &date.custom_days {
        within("number of customDays", days.len(), 1..=7)?;
        for &day in days {
            within("day of customDays", day, 0..=6)?;
        }
    }
    if let Some((_, holidays)) = &date.holiday {
        within("number of holidays", holidays.len(), 1..=MAX_HOLIDAYS)?;
        for holiday in holidays {
            if !holiday.is_possible() {
                return Err(ParamsError::out_of_range(
                    "holidays",
                    format!("{holiday:?}"),
                    "days of the calendar, as [month, day] or [year, month, day]",
                ));
            }
        }
    }
    Ok(())
}

fn check_spatial_pooler(params: &SpatialPoolerParams) -> Result<(), ParamsError> {
    within("columnCount", params.columns, 1..=MAX_COLUMNS)?;
    let most_active = params.columns.min(MAX_ACTIVE_COLUMNS);
    within("numActiveColumnsPerInhArea", params.active_columns, 1..=most_active)?;
    within("potentialPct", params.potential_share, f32::MIN_POSITIVE..=1.0)?;
    if params.pool_size() == 0 {
        return Err(ParamsError::out_of_range(
            "potentialPct",
            params.potential_share,
            format!("a share of at least one of {} inputs", params.input_bits),
        ));
    }
    within("synPermActiveInc", params.active_increment, 0.0..=1.0)?;
    within("synPermInactiveDec", params.inactive_decrement, 0.0..=1.0)?;
    within("synPermConnected", params.connected_permanence, 0.0..=1.0)?;
    if params.trim_threshold() >= params.connected_threshold() {
        return Err(ParamsError::out_of_range(
            "synPermConnected",
            params.connected_permanence,
            format!("more than half of synPermActiveInc, {}", params.active_increment),
        ));
    }
    within("minPctOverlapDutyCycle", params.min_overlap_duty_share, 0.0..=1.0)?;
    within("dutyCyclePeriod", params.duty_cycle_period, 1..=MAX_STEPS)?;
    within("spParams.seed", params.seed, 1..=u64::MAX)
}

fn check_backtracking(params: &BacktrackingTmParams) -> Result<(), ParamsError> {
    within("cellsPerColumn", params.cells_per_column, 2..=CELL_STRIDE)?;
    within("activationThreshold", params.activation_threshold, 1..=MAX_SYNAPSES_PER_SEGMENT)?;
    within("minThreshold", params.min_threshold, 1..=params.activation_threshold)?;
    within("maxSynapsesPerSegment", params.max_synapses_per_segment, 1..=MAX_SYNAPSES_PER_SEGMENT)?;
    within("newSynapseCount", params.new_synapse_count, 1..=params.max_synapses_per_segment)?;
    within("maxSegmentsPerCell", params.max_segments_per_cell, 1..=MAX_SEGMENTS_PER_CELL)?;
    within("permanenceMax", params.permanence_max, f32::MIN_POSITIVE..=1.0)?;
    within("initialPerm", params.initial_permanence, f32::MIN_POSITIVE..=params.permanence_max)?;
    within("connectedPerm", params.connected_permanence, f32::MIN_POSITIVE..=1.0)?;
    within("permanenceInc", params.permanence_increment, 0.0..=1.0)?;
    within("permanenceDec", params.permanence_decrement, 0.0..=1.0)?;
    within("pamLength", params.pam_length, 0..=MAX_STEPS)?;
    within("maxSeqLength", params.max_sequence_length, 1..=MAX_STEPS)?;
    within("maxInfBacktrack", params.max_infer_backtrack, 0..=MAX_BACKTRACK)?;
    within("maxLrnBacktrack", params.max_learn_backtrack, 0..=MAX_BACKTRACK)?;
    within("tmParams.seed", params.seed, 1..=u64::MAX)
}

fn check_plain(params: &TemporalMemoryParams) -> Result<(), ParamsError> {
    use htm_kernels::temporal_memory::{MAX_SEGMENTS_PER_CELL, MAX_SYNAPSES_PER_SEGMENT, MIN_INCREMENT};
    within("cellsPerColumn", params.cells_per_column, 1..=CELL_STRIDE)?;
    within("maxSynapsesPerSegment", params.max_synapses_per_segment, 1..=MAX_SYNAPSES_PER_SEGMENT)?;
    within("activationThreshold", params.activation_threshold, 1..=MAX_SYNAPSES_PER_SEGMENT)?;
    // Every active segment must be a matching one too, or it could be evicted while it is active.
    within("minThreshold", params.min_threshold, 1..=params.activation_threshold)?;
    within("newSynapseCount", params.new_synapse_count, 1..=params.max_synapses_per_segment)?;
    within("maxSegmentsPerCell", params.max_segments_per_cell, 1..=MAX_SEGMENTS_PER_CELL)?;
    within("initialPerm", params.initial_permanence, f32::MIN_POSITIVE..=1.0)?;
    within("connectedPerm", params.connected_permanence, f32::MIN_POSITIVE..=1.0)?;
    within("permanenceInc", params.permanence_increment, MIN_INCREMENT..=1.0)?;
    within("permanenceDec", params.permanence_decrement, 0.0..=1.0)?;
    within("predictedSegmentDecrement", params.predicted_segment_decrement, 0.0..=1.0)?;
    within("tmParams.seed", params.seed, 1..=u64::MAX)?;
    match params.objection() {
        None => Ok(()),
        Some(objection) => Err(ParamsError::out_of_range("tmParams", "not possible", objection)),
    }
}

fn check_classifier(params: &ClassifierParams) -> Result<(), ParamsError> {
    within("number of predictionSteps", params.steps.len(), 1..=classifier::MAX_STEP_COUNT)?;
    for &steps in &params.steps {
        within("predictionSteps", steps, 1..=classifier::MAX_STEPS_AHEAD)?;
    }
    if !params.steps.is_sorted_by(|a, b| a < b) {
        return Err(ParamsError::out_of_range(
            "predictionSteps",
            format!("{:?}", params.steps),
            "ascending steps",
        ));
    }
    within("clParams.alpha", params.alpha, 0.000_01..=1.0)
}

/// Also false for what is not a number.
fn within<T: PartialOrd + Display>(
    name: &'static str,
    found: T,
    range: RangeInclusive<T>,
) -> Result<(), ParamsError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(ParamsError::out_of_range(name, found, format!("{} to {}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::date;
    use crate::encoder::random_distributed_scalar::RandomDistributedScalarParams;
    use crate::params::{ModelParams, standard_spatial_pooler, standard_temporal_memory};

    fn refusal(pooler: SpatialPoolerParams, memory: BacktrackingTmParams, alpha: f32) -> String {
        let encoder = EncoderParams::time_of_day_and_value(1.0).expect("valid");
        let classifier = ClassifierParams { steps: vec![1], alpha };
        let params = ModelParams::new(encoder, pooler, MemoryParams::Backtracking(memory), Some(classifier));
        params.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    }

    #[test]
    fn an_input_is_as_wide_as_the_spatial_pooler_takes_and_no_wider() {
        let with_width = |value_bits: usize| {
            let time = DateEncoder {
                time_of_day: Some(date::time_of_day(21, 9.49).expect("valid")),
                day_of_week: Some(date::day_of_week(21, 1.0).expect("valid")),
                weekend: Some(date::weekend(21, 1.0).expect("valid")),
                ..DateEncoder::default()
            };
            let standard = RandomDistributedScalarParams::with_resolution(1.0).expect("valid");
            let value = RandomDistributedScalarParams { width: value_bits, ..standard };
            let encoder = EncoderParams::new(vec![
                ("a".to_owned(), FieldParams::Date(Box::new(time))),
                ("b".to_owned(), FieldParams::RandomDistributedScalar(value)),
            ]);
            let memory = MemoryParams::Backtracking(standard_temporal_memory());
            ModelParams::new(encoder, standard_spatial_pooler(0), memory, None)
        };
        let width = |value_bits| with_width(value_bits).expect("accepted").spatial_pooler().input_bits;
        assert_eq!((width(400), width(3852)), (643, 4095));
        for (value_bits, expected) in [
            (3853, "width of all encoders together is 4096; expected 1 to 4095"),
            (4096, "width of an encoder is 4096; expected 1 to 4095"),
        ] {
            let error = with_width(value_bits).expect_err("refused");
            assert_eq!(error.to_string(), expected);
        }
        let params = with_width(3852).expect("accepted");
        assert_eq!(ModelParams::from_description(params.description()), Some(params));
    }

    #[test]
    fn a_number_outside_its_limits_is_refused_by_name() {
        let (pooler, memory) = (standard_spatial_pooler(454), standard_temporal_memory());
        assert_eq!(refusal(pooler, memory, 0.1), "accepted");
        for (found, expected) in [
            (
                refusal(SpatialPoolerParams { columns: 2049, ..pooler }, memory, 0.1),
                "columnCount is 2049; expected 1 to 2048",
            ),
            (
                refusal(SpatialPoolerParams { columns: 1024, ..pooler }, memory, 0.1),
                "tmParams.columnCount is 2048; expected 1024, the spatial pooler's",
            ),
            (
                refusal(SpatialPoolerParams { active_columns: 64, ..pooler }, memory, 0.1),
                "numActiveColumnsPerInhArea is 64; expected 1 to 63",
            ),
            (
                refusal(SpatialPoolerParams { active_increment: f32::NAN, ..pooler }, memory, 0.1),
                "synPermActiveInc is NaN; expected 0 to 1",
            ),
            (
                refusal(SpatialPoolerParams { seed: 0, ..pooler }, memory, 0.1),
                "spParams.seed is 0; expected 1 to 18446744073709551615",
            ),
            (
                refusal(pooler, BacktrackingTmParams { cells_per_column: 33, ..memory }, 0.1),
                "cellsPerColumn is 33; expected 2 to 32",
            ),
            (
                refusal(pooler, BacktrackingTmParams { new_synapse_count: 33, ..memory }, 0.1),
                "newSynapseCount is 33; expected 1 to 32",
            ),
            (refusal(pooler, memory, 2.0), "clParams.alpha is 2; expected 0.00001 to 1"),
        ] {
            assert_eq!(found, expected);
        }
    }
}
