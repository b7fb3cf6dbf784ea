//! Parameters as text: one line of JSON in which every number reads back to the same bits.
//!
//! It is the section `parameters` of a model file. Equal texts mean equal behaviour, and a text names everything that
//! behaviour depends on, so that a file can be verified by itself.
//!
//! Invariant: what [`read`] returns has passed the limits, whoever wrote the text.

use htm_kernels::backtracking_tm::BacktrackingTmParams;
use htm_kernels::spatial_pooler::SpatialPoolerParams;
use htm_kernels::temporal_memory::TemporalMemoryParams;
use serde::{Deserialize, Serialize};

use super::{MemoryParams, ModelParams};
use crate::classifier::ClassifierParams;
use crate::encoder::date::{DateEncoder, Holiday};
use crate::encoder::random_distributed_scalar::RandomDistributedScalarParams;
use crate::encoder::scalar::{ScalarEncoder, ScalarParams};
use crate::encoder::{EncoderParams, FieldParams, UnknownField};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    encoder: Vec<(String, FieldDescription)>,
    #[serde(with = "SpatialPoolerFields")]
    spatial_pooler: SpatialPoolerParams,
    temporal_memory: MemoryDescription,
    classifier: Option<ClassifierParams>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FieldDescription {
    Date(Box<DateDescription>),
    Scalar(ScalarParams),
    RandomDistributedScalar(RandomDistributedScalarParams),
    Unknown(UnknownField),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DateDescription {
    season: Option<ScalarParams>,
    day_of_week: Option<ScalarParams>,
    weekend: Option<ScalarParams>,
    custom_days: Option<(ScalarParams, Vec<u8>)>,
    holiday: Option<(ScalarParams, Vec<Holiday>)>,
    time_of_day: Option<ScalarParams>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MemoryDescription {
    Backtracking(#[serde(with = "BacktrackingFields")] BacktrackingTmParams),
    Plain(#[serde(with = "PlainFields")] TemporalMemoryParams),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SpatialPoolerParams", deny_unknown_fields)]
struct SpatialPoolerFields {
    input_bits: usize,
    columns: usize,
    active_columns: usize,
    potential_share: f32,
    active_increment: f32,
    inactive_decrement: f32,
    connected_permanence: f32,
    min_overlap_duty_share: f32,
    duty_cycle_period: u32,
    seed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "BacktrackingTmParams", deny_unknown_fields)]
struct BacktrackingFields {
    columns: usize,
    cells_per_column: usize,
    activation_threshold: usize,
    min_threshold: usize,
    new_synapse_count: usize,
    max_segments_per_cell: usize,
    max_synapses_per_segment: usize,
    initial_permanence: f32,
    connected_permanence: f32,
    permanence_increment: f32,
    permanence_decrement: f32,
    permanence_max: f32,
    pam_length: u32,
    max_sequence_length: u32,
    max_infer_backtrack: usize,
    max_learn_backtrack: usize,
    seed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TemporalMemoryParams", deny_unknown_fields)]
struct PlainFields {
    columns: usize,
    cells_per_column: usize,
    activation_threshold: usize,
    min_threshold: usize,
    new_synapse_count: usize,
    max_segments_per_cell: usize,
    max_synapses_per_segment: usize,
    initial_permanence: f32,
    connected_permanence: f32,
    permanence_increment: f32,
    permanence_decrement: f32,
    predicted_segment_decrement: f32,
    seed: u64,
}

/// The text of parameters that are within their limits.
///
/// # Panics
/// Never: finite numbers and names are always JSON.
pub(super) fn text(
    encoder: &EncoderParams,
    spatial_pooler: &SpatialPoolerParams,
    memory: &MemoryParams,
    classifier: Option<&ClassifierParams>,
) -> String {
    let fields = encoder.fields().iter().map(|(key, field)| (key.clone(), FieldDescription::of(field)));
    let description = Description {
        encoder: fields.collect(),
        spatial_pooler: *spatial_pooler,
        temporal_memory: match memory {
            MemoryParams::Backtracking(params) => MemoryDescription::Backtracking(*params),
            MemoryParams::Plain(params) => MemoryDescription::Plain(*params),
        },
        classifier: classifier.cloned(),
    };
    serde_json::to_string(&description).expect("finite numbers and names are always JSON")
}

/// The parameters that a text describes; `None` if it describes none within the limits.
pub(super) fn read(text: &str) -> Option<ModelParams> {
    let description: Description = serde_json::from_str(text).ok()?;
    let field_of = |(key, field): (String, FieldDescription)| Some((key, field.into_params()?));
    let fields: Option<Vec<_>> = description.encoder.into_iter().map(field_of).collect();
    let memory = match description.temporal_memory {
        MemoryDescription::Backtracking(params) => MemoryParams::Backtracking(params),
        MemoryDescription::Plain(params) => MemoryParams::Plain(params),
    };
    let encoder = EncoderParams::new(fields?);
    ModelParams::new(encoder, description.spatial_pooler, memory, description.classifier).ok()
}

impl FieldDescription {
    fn of(field: &FieldParams) -> Self {
        match field {
            FieldParams::Date(encoder) => Self::Date(Box::new(DateDescription::of(encoder))),
            FieldParams::Scalar(encoder) => Self::Scalar(*encoder.params()),
            FieldParams::RandomDistributedScalar(params) => Self::RandomDistributedScalar(*params),
            FieldParams::Unknown(field) => Self::Unknown(field.clone()),
        }
    }

    fn into_params(self) -> Option<FieldParams> {
        Some(match self {
            Self::Date(parts) => FieldParams::Date(Box::new(parts.into_encoder()?)),
            Self::Scalar(params) => FieldParams::Scalar(ScalarEncoder::new(params).ok()?),
            Self::RandomDistributedScalar(params) => FieldParams::RandomDistributedScalar(params),
            Self::Unknown(field) => FieldParams::Unknown(field),
        })
    }
}

impl DateDescription {
    fn of(encoder: &DateEncoder) -> Self {
        let numbers = |part: &Option<ScalarEncoder>| part.as_ref().map(|part| *part.params());
        Self {
            season: numbers(&encoder.season),
            day_of_week: numbers(&encoder.day_of_week),
            weekend: numbers(&encoder.weekend),
            custom_days: encoder.custom_days.as_ref().map(|(part, days)| (*part.params(), days.clone())),
            holiday: encoder.holiday.as_ref().map(|(part, days)| (*part.params(), days.clone())),
            time_of_day: numbers(&encoder.time_of_day),
        }
    }

    /// Only ranges that the parts of a date stay within are taken.
    fn into_encoder(self) -> Option<DateEncoder> {
        let part = |params: Option<ScalarParams>, max: f64, is_periodic: bool| match params {
            None => Some(None),
            Some(params) => {
                let is_right = params.min.to_bits() == 0
                    && params.max.to_bits() == max.to_bits()
                    && params.is_periodic == is_periodic;
                if is_right { ScalarEncoder::new(params).ok().map(Some) } else { None }
            }
        };
        let (custom_days, days) =
            self.custom_days.map_or((None, None), |(part, days)| (Some(part), Some(days)));
        let (holiday, holidays) = self.holiday.map_or((None, None), |(part, days)| (Some(part), Some(days)));
        Some(DateEncoder {
            season: part(self.season, 366.0, true)?,
            day_of_week: part(self.day_of_week, 7.0, true)?,
            weekend: part(self.weekend, 1.0, false)?,
            custom_days: part(custom_days, 1.0, false)?.zip(days),
            holiday: part(holiday, 1.0, false)?.zip(holidays),
            time_of_day: part(self.time_of_day, 24.0, true)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::classifier::ClassifierParams;
    use crate::encoder::date::{CHRISTMAS, DateEncoder, time_of_day, weekend};
    use crate::encoder::random_distributed_scalar::RandomDistributedScalarParams;
    use crate::encoder::scalar::{ScalarEncoder, ScalarParams, ScalarSize};
    use crate::encoder::{EncoderParams, FieldParams, UnknownField};
    use crate::params::{
        MemoryParams, ModelParams, standard_plain_memory, standard_spatial_pooler, standard_temporal_memory,
    };

    #[test]
    fn a_description_names_its_parameters() {
        for resolution in [0.001, 422.035_384_615_384_66, 1.0, 1e-7, 1e22] {
            let params = ModelParams::single_metric(resolution).expect("valid");
            assert_eq!(ModelParams::from_description(params.description()), Some(params.clone()));
            let other = params.description().replacen("\"columns\":2048", "\"columns\":1024", 1);
            assert_ne!(other, params.description());
            assert_eq!(ModelParams::from_description(&other), None, "the memory has other columns");
            let spaced = params.description().replacen(':', ": ", 1);
            assert_eq!(ModelParams::from_description(&spaced), None, "not as this program writes it");
        }
        assert_eq!(ModelParams::from_description("resolution: "), None);
        assert_eq!(ModelParams::from_description("{}"), None);
    }

    #[test]
    fn every_kind_of_field_is_described() {
        let scalar = ScalarParams {
            run_bits: 21,
            min: -0.1,
            max: 0.3,
            is_periodic: false,
            clips: true,
            size: ScalarSize::Bits(60),
        };
        let date = DateEncoder {
            weekend: Some(weekend(5, 1.0).expect("valid")),
            custom_days: Some((weekend(5, 1.0).expect("valid"), vec![0, 6])),
            holiday: Some((weekend(5, 1.0).expect("valid"), vec![CHRISTMAS])),
            time_of_day: Some(time_of_day(21, 9.49).expect("valid")),
            ..DateEncoder::default()
        };
        let value = RandomDistributedScalarParams {
            offset: Some(-1e-300),
            ..RandomDistributedScalarParams::with_resolution(0.1).expect("valid")
        };
        let other =
            RandomDistributedScalarParams { width: 200, run_bits: 11, offset: None, seed: 3, ..value };
        let unknown = UnknownField { name: "volume".to_owned(), width: 50 };
        let encoder = EncoderParams::new(vec![
            ("z".to_owned(), FieldParams::Unknown(unknown)),
            ("a".to_owned(), FieldParams::RandomDistributedScalar(other)),
            ("s".to_owned(), FieldParams::Scalar(ScalarEncoder::new(scalar).expect("valid"))),
            ("t".to_owned(), FieldParams::Date(Box::new(date))),
        ]);
        let params = ModelParams::new(
            encoder,
            standard_spatial_pooler(0),
            MemoryParams::Plain(standard_plain_memory()),
            Some(ClassifierParams { steps: vec![1, 5], alpha: 0.1 }),
        )
        .expect("valid");
        assert_eq!(ModelParams::from_description(params.description()), Some(params));
    }

    proptest! {
        #[test]
        fn numbers_read_back_bit_for_bit(
            increment in 0.000_01_f32..0.1,
            decrement in 0.0_f32..0.1,
            connected in 0.1_f32..0.9,
            share in 0.01_f32..1.0,
            resolution in prop_oneof![1e-9..1e9_f64, 0.0..1e-300_f64],
            seed in 1_u64..,
        ) {
            prop_assume!(resolution > 0.0);
            let spatial_pooler = htm_kernels::spatial_pooler::SpatialPoolerParams {
                active_increment: increment,
                inactive_decrement: decrement,
                connected_permanence: connected,
                potential_share: share,
                seed,
                ..standard_spatial_pooler(0)
            };
            let memory = htm_kernels::backtracking_tm::BacktrackingTmParams {
                permanence_increment: decrement,
                initial_permanence: increment,
                ..standard_temporal_memory()
            };
            let encoder = EncoderParams::time_of_day_and_value(resolution).expect("valid");
            let params = ModelParams::new(encoder, spatial_pooler, MemoryParams::Backtracking(memory), None);
            let params = params.expect("within the limits");
            let read = ModelParams::from_description(params.description());
            prop_assert_eq!(read.map(|read| read.spatial_pooler().active_increment.to_bits()), Some(increment.to_bits()));
        }
    }
}
