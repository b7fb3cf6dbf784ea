//! A model as the bytes of a checkpoint file, and back.
//!
//! Writing the file safely (new name, sync, rename) is the caller's: this crate does no I/O.

use std::sync::Arc;

use htm_kernels::backtracking_tm::pattern::PATTERN_STRIDE;
use htm_kernels::backtracking_tm::{BacktrackingTmParams, CELL_STRIDE, TmScalars};
use htm_kernels::random::Random;
use htm_kernels::spatial_pooler::SpatialPoolerScalars;
use htm_kernels::word::words_for;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::FormatError;
use super::header::Header;
use super::section::{SectionReader, SectionWriter};
use super::validate;
use crate::anomaly::htmengine_likelihood::{HtmengineLikelihood, Measured};
use crate::anomaly::likelihood::LikelihoodState;
use crate::anomaly::score_window::ScoreWindow;
use crate::encoder::MultiEncoder;
use crate::encoder::random_distributed_scalar::{
    RandomDistributedScalarEncoder, RandomDistributedScalarState,
};
use crate::model::spatial_pooler::SpatialPooler;
use crate::model::template::Templates;
use crate::model::temporal_memory::TemporalMemory;
use crate::model::{Model, ModelParts};
use crate::params::ModelParams;

/// The value encoder's section.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct EncoderRecord {
    random: Random,
    min_bucket: u32,
    has_offset: u32,
    zero: u32,
    offset: f64,
}

/// The likelihood's section.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct LikelihoodRecord {
    row_count: u64,
    has_measured: u64,
    measured_row_id: i64,
    state: LikelihoodState,
}

/// As FORMAT.md says.
const _: () = assert!(size_of::<LikelihoodState>() == 208);

/// The bytes of a checkpoint of `model`, which lives its `generation`.
///
/// # Panics
/// If the generation is longer than [`super::header::MAX_GENERATION_BYTES`].
pub fn write(model: &Model, generation: &str) -> Vec<u8> {
    let description = model.params().description();
    let encoder =
        model.encoder().random_distributed_scalars().next().map(RandomDistributedScalarEncoder::state);
    let encoder = encoder.expect("the standard model has one value encoder");
    let encoder_record = [EncoderRecord {
        random: encoder.random.clone(),
        min_bucket: u32::try_from(encoder.min_bucket).expect("at most 1000 buckets"),
        has_offset: u32::from(encoder.offset.is_some()),
        zero: 0,
        offset: encoder.offset.unwrap_or(0.0),
    }];
    let likelihood = model.likelihood();
    let values: Vec<f64> = likelihood.window().values().collect();
    let raw_scores: Vec<f32> = likelihood.window().raw_scores().collect();
    let likelihood_record = [likelihood_record(likelihood)];

    let mut sections = SectionWriter::default();
    sections.push(1, description.as_bytes());
    sections.push(10, &encoder_record);
    sections.push(11, &encoder.bits);
    push_spatial_pooler(&mut sections, model.spatial_pooler());
    push_temporal_memory(&mut sections, model.temporal_memory());
    push_segments(&mut sections, model.temporal_memory());
    sections.push(70, &likelihood_record);
    sections.push(71, &values);
    sections.push(72, &raw_scores);
    let (mut file, section_count) = sections.finish();
    let last_stepped_row_id = model.last_stepped_row_id();
    Header { section_count, last_stepped_row_id, generation: generation.to_owned() }.write(&mut file);
    file
}

/// The model in a checkpoint.
///
/// # Errors
/// If the bytes are not a whole, undamaged checkpoint of a model with these parameters and this generation.
pub fn read(
    file: &[u8],
    params: &Arc<ModelParams>,
    generation: &str,
    templates: &Templates,
) -> Result<Model, FormatError> {
    let header = Header::of(file)?;
    if header.generation != generation {
        let expected = generation.to_owned();
        return Err(FormatError::Generation { found: header.generation, expected });
    }
    let mut sections = SectionReader::new(file, header.section_count)?;
    let description = String::from_utf8_lossy(&sections.take::<u8>(1)?).into_owned();
    if description != params.description() {
        return Err(FormatError::Parameters { found: description, expected: params.description() });
    }
    let parts = ModelParts {
        encoder: take_encoder(&mut sections, params)?,
        spatial_pooler: take_spatial_pooler(&mut sections, params, templates)?,
        temporal_memory: take_temporal_memory(&mut sections, params.temporal_memory())?,
        likelihood: take_likelihood(&mut sections)?,
        last_stepped_row_id: header.last_stepped_row_id,
    };
    sections.finish()?;
    Ok(Model::from_parts(Arc::clone(params), parts))
}

fn likelihood_record(likelihood: &HtmengineLikelihood) -> LikelihoodRecord {
    let measured = likelihood.measured();
    LikelihoodRecord {
        row_count: likelihood.row_count(),
        has_measured: u64::from(measured.is_some()),
        measured_row_id: measured.map_or(0, |measured| measured.row_id),
        state: measured.map_or_else(zerocopy::FromZeros::new_zeroed, |measured| measured.state),
    }
}

fn push_spatial_pooler<'a>(sections: &mut SectionWriter<'a>, pooler: &'a SpatialPooler) {
    let used = pooler.scalars.slot_count as usize * pooler.params().stride();
    sections.push(20, std::slice::from_ref(&pooler.scalars));
    sections.push(21, &pooler.column_slots);
    sections.push(22, &pooler.private_permanences[..used]);
    sections.push(23, &pooler.connected_rows);
    sections.push(24, &pooler.overlap_duty);
    sections.push(25, &pooler.active_duty);
}

fn push_temporal_memory<'a>(sections: &mut SectionWriter<'a>, memory: &'a TemporalMemory) {
    let queued = memory.scalars.queue_count as usize;
    let entries = memory.scalars.block_count as usize * CELL_STRIDE;
    sections.push(30, std::slice::from_ref(&memory.scalars));
    sections.push(31, &memory.infer_active);
    sections.push(32, &memory.infer_predicted);
    sections.push(33, &memory.learn_active);
    sections.push(34, &memory.learn_predicted);
    sections.push(35, &memory.learn_cells);
    sections.push(36, &memory.predicted_columns);
    sections.push(37, &memory.infer_history);
    sections.push(38, &memory.learn_history);
    sections.push(39, &memory.queue_segments[..queued]);
    sections.push(40, &memory.queue_picks[..queued]);
    sections.push(41, &memory.column_blocks);
    sections.push(42, &memory.cell_segment_counts[..entries]);
    sections.push(43, &memory.posting_offsets[..entries]);
    sections.push(44, &memory.posting_counts[..entries]);
    sections.push(45, &memory.posting_classes[..entries]);
    sections.push(46, &memory.postings.words[..memory.scalars.posting_words_used as usize]);
}

fn push_segments<'a>(sections: &mut SectionWriter<'a>, memory: &'a TemporalMemory) {
    let segments = &memory.segments;
    let count = memory.scalars.segment_count as usize;
    let synapses = count * memory.params().max_synapses_per_segment;
    sections.push(50, &segments.presynaptic_cells[..synapses]);
    sections.push(51, &segments.permanences[..synapses]);
    sections.push(52, &segments.counts[..count]);
    sections.push(53, &segments.connected_counts[..count]);
    sections.push(54, &segments.cells[..count]);
    sections.push(55, &segments.slots[..count]);
    sections.push(56, &segments.learn_activity[..count]);
    sections.push(57, &segments.positive_activations[..count]);
    sections.push(58, &segments.total_activations[..count]);
    sections.push(59, &segments.last_active_iterations[..count]);
    sections.push(60, &segments.duty_cycles[..count]);
    sections.push(61, &segments.duty_cycle_iterations[..count]);
}

fn take_encoder(sections: &mut SectionReader<'_>, params: &ModelParams) -> Result<MultiEncoder, FormatError> {
    let record: EncoderRecord = sections.take_one(10)?;
    let state = RandomDistributedScalarState {
        random: record.random,
        offset: (record.has_offset != 0).then_some(record.offset),
        min_bucket: record.min_bucket as usize,
        bits: sections.take(11)?,
    };
    let mut encoder = MultiEncoder::new(params.encoder());
    let is_restored =
        encoder.random_distributed_scalars_mut().next().is_some_and(|scalar| scalar.restore(&state));
    if is_restored {
        Ok(encoder)
    } else {
        Err(FormatError::Bounds { reason: "the value encoder's buckets are not possible".to_owned() })
    }
}

fn take_spatial_pooler(
    sections: &mut SectionReader<'_>,
    params: &ModelParams,
    templates: &Templates,
) -> Result<SpatialPooler, FormatError> {
    let params = *params.spatial_pooler();
    let mut pooler = SpatialPooler::new(params, templates.get(&params));
    let scalars: SpatialPoolerScalars = sections.take_one(20)?;
    pooler.scalars = scalars;
    pooler.column_slots = sections.take_exact(21, params.columns)?;
    let slots = validate::at_most("private columns", scalars.slot_count, params.columns)?;
    pooler.private_permanences = sections.take_exact(22, slots * params.stride())?;
    pooler.connected_rows = sections.take_exact(23, params.input_bits * params.row_words())?;
    pooler.overlap_duty = sections.take_exact(24, params.columns)?;
    pooler.active_duty = sections.take_exact(25, params.columns)?;
    validate::spatial_pooler(&pooler)?;
    Ok(pooler)
}

fn take_temporal_memory(
    sections: &mut SectionReader<'_>,
    params: &BacktrackingTmParams,
) -> Result<TemporalMemory, FormatError> {
    let columns = params.columns;
    let mut memory = TemporalMemory::new(*params);
    let scalars: TmScalars = sections.take_one(30)?;
    let queued = validate::at_most("queued updates", scalars.queue_count, columns)?;
    let blocks = validate::at_most("column blocks", scalars.block_count, columns)?;
    let entries = blocks * CELL_STRIDE;
    memory.infer_active = sections.take_exact(31, columns)?;
    memory.infer_predicted = sections.take_exact(32, columns)?;
    memory.learn_active = sections.take_exact(33, columns)?;
    memory.learn_predicted = sections.take_exact(34, columns)?;
    memory.learn_cells.copy_from_slice(&sections.take_exact::<u16>(35, PATTERN_STRIDE)?);
    memory.predicted_columns = sections.take_exact(36, words_for(columns))?;
    memory.infer_history = sections.take_exact(37, params.infer_history_len())?;
    memory.learn_history = sections.take_exact(38, params.learn_history_len())?;
    memory.queue_segments[..queued].copy_from_slice(&sections.take_exact::<u32>(39, queued)?);
    memory.queue_picks[..queued].copy_from_slice(&sections.take_exact::<u64>(40, queued)?);
    memory.column_blocks = sections.take_exact(41, columns)?;
    memory.cell_segment_counts[..entries].copy_from_slice(&sections.take_exact::<u8>(42, entries)?);
    memory.posting_offsets[..entries].copy_from_slice(&sections.take_exact::<u32>(43, entries)?);
    memory.posting_counts[..entries].copy_from_slice(&sections.take_exact::<u32>(44, entries)?);
    memory.posting_classes[..entries].copy_from_slice(&sections.take_exact::<u8>(45, entries)?);
    memory.postings.words = sections.take_exact(46, scalars.posting_words_used as usize)?;
    take_segments(sections, &mut memory, scalars.segment_count as usize)?;
    memory.scalars = scalars;
    validate::temporal_memory(&memory)?;
    Ok(memory)
}

fn take_segments(
    sections: &mut SectionReader<'_>,
    memory: &mut TemporalMemory,
    count: usize,
) -> Result<(), FormatError> {
    let synapses = count.saturating_mul(memory.params().max_synapses_per_segment);
    let segments = &mut memory.segments;
    segments.presynaptic_cells = sections.take_exact(50, synapses)?;
    segments.permanences = sections.take_exact(51, synapses)?;
    segments.counts = sections.take_exact(52, count)?;
    segments.connected_counts = sections.take_exact(53, count)?;
    segments.cells = sections.take_exact(54, count)?;
    segments.slots = sections.take_exact(55, count)?;
    segments.learn_activity = sections.take_exact(56, count)?;
    segments.positive_activations = sections.take_exact(57, count)?;
    segments.total_activations = sections.take_exact(58, count)?;
    segments.last_active_iterations = sections.take_exact(59, count)?;
    segments.duty_cycles = sections.take_exact(60, count)?;
    segments.duty_cycle_iterations = sections.take_exact(61, count)?;
    Ok(())
}

fn take_likelihood(sections: &mut SectionReader<'_>) -> Result<HtmengineLikelihood, FormatError> {
    let record: LikelihoodRecord = sections.take_one(70)?;
    let (values, raw_scores) = (sections.take(71)?, sections.take(72)?);
    let window = ScoreWindow::from_rows(values, raw_scores).ok_or_else(|| FormatError::Bounds {
        reason: "the likelihood's window has more rows than it can hold, or scores without values".to_owned(),
    })?;
    let measured = Measured { state: record.state, row_id: record.measured_row_id };
    if record.has_measured != 0 {
        validate::likelihood(&measured.state)?;
    }
    Ok(HtmengineLikelihood::from_parts(
        window,
        record.row_count,
        (record.has_measured != 0).then_some(measured),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Record;
    use crate::ids::RowId;
    use crate::model::workspace::Workspace;
    use proptest::prelude::*;

    const GENERATION: &str = "0123456789abcdef0123456789abcdef";

    struct Bench {
        params: Arc<ModelParams>,
        templates: Templates,
        workspace: Workspace,
    }

    impl Bench {
        fn new() -> Self {
            let params = Arc::new(ModelParams::single_metric(1.0).expect("valid"));
            Self { params, templates: Templates::new(), workspace: Workspace::new() }
        }

        fn model(&self) -> Model {
            Model::new(Arc::clone(&self.params), &self.templates)
        }

        fn run(&mut self, model: &mut Model, rows: std::ops::RangeInclusive<i64>) -> Vec<(u32, u64)> {
            rows.map(|row| {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let value = (row % 24 * 3 + row * row % 7) as f64;
                let record = Record { timestamp: row * 3600, value };
                let scores = model.step(&mut self.workspace, RowId(row), record).expect("a good record");
                (scores.raw_anomaly_score.to_bits(), scores.anomaly_score.to_bits())
            })
            .collect()
        }
    }

    #[test]
    fn a_restored_model_goes_on_as_if_nothing_had_happened() {
        let mut bench = Bench::new();
        let mut original = bench.model();
        for cut in [0, 1, 60, 150, 330] {
            let first = original.last_stepped_row_id().0 + 1;
            bench.run(&mut original, first..=cut);
            let file = write(&original, GENERATION);
            let mut restored = read(&file, &bench.params, GENERATION, &bench.templates).expect("own bytes");
            assert_eq!(restored.last_stepped_row_id(), original.last_stepped_row_id());
            assert_eq!(write(&restored, GENERATION), file, "row {cut}: the bytes after reading");
            let mut copy = original.clone();
            let expected = bench.run(&mut copy, cut + 1..=cut + 60);
            assert_eq!(bench.run(&mut restored, cut + 1..=cut + 60), expected, "row {cut}");
            assert_eq!(write(&restored, GENERATION), write(&copy, GENERATION), "row {cut}: the bytes later");
        }
    }

    #[test]
    fn refuses_what_is_not_the_file_asked_for() {
        let mut bench = Bench::new();
        let mut model = bench.model();
        bench.run(&mut model, 1..=20);
        let file = write(&model, GENERATION);
        let read = |file: &[u8]| read(file, &bench.params, GENERATION, &bench.templates).map(|_| ());
        assert_eq!(read(&file), Ok(()));
        assert!(matches!(read(&[]), Err(FormatError::Size { .. })));
        assert!(matches!(read(&file[..file.len() - 1]), Err(FormatError::Size { .. })));
        let mut other = file.clone();
        other[0] ^= 1;
        assert!(matches!(read(&other), Err(FormatError::Magic { .. })));
        let mut other = file.clone();
        other[8] = 2;
        assert!(matches!(read(&other), Err(FormatError::Version { found: 2, expected: 1 })));
        let mut other = file.clone();
        other[40] ^= 1;
        assert!(matches!(read(&other), Err(FormatError::Checksum { part: "header", .. })));
        let mut other = file.clone();
        *other.last_mut().expect("not empty") ^= 1;
        assert!(matches!(read(&other), Err(FormatError::Checksum { part: "contents", .. })));
        assert!(matches!(read(&write(&model, "another")), Err(FormatError::Generation { .. })));
        let wide = Arc::new(ModelParams::single_metric(2.0).expect("valid"));
        let other = write(&Model::new(wide, &bench.templates), GENERATION);
        assert!(matches!(read(&other), Err(FormatError::Parameters { .. })));
    }

    /// Bytes changed by someone who also mends the checksums must never do worse than an error.
    fn read_forged(bench: &mut Bench, file: &mut [u8]) {
        let Ok(header) = Header::of_unchecked_for_tests(file) else { return };
        header.write(file);
        if let Ok(mut model) = read(file, &bench.params, GENERATION, &bench.templates) {
            // What the checks let through may be a wrong model, and may stop with a panic, but no more.
            let step = std::panic::AssertUnwindSafe(|| bench.run(&mut model, 21..=22));
            let _ = std::panic::catch_unwind(step);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn forged_bytes_never_do_worse_than_an_error(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bench = Bench::new();
            let mut model = bench.model();
            bench.run(&mut model, 1..=20);
            let mut file = write(&model, GENERATION);
            // Aim at the small sections, where counts and offsets are.
            for (index, byte) in changes {
                let at = 128 + index.index(8192);
                file[at] = byte;
            }
            std::panic::set_hook(Box::new(|_| {}));
            read_forged(&mut bench, &mut file);
            let _ = std::panic::take_hook();
        }
    }
}
