//! A model as the image of a file, and a model that works on such an image.
//!
//! Writing the file safely (new name, sync, rename) is the caller's: this crate maps and reads files, but never writes
//! one.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use htm_kernels::backtracking_tm::bank::{BANK_COUNTERS, banks_for};
use htm_kernels::backtracking_tm::pattern::PATTERN_STRIDE;
use htm_kernels::backtracking_tm::state::NO_COLUMN_BLOCK;
use htm_kernels::backtracking_tm::{BacktrackingTmParams, CELL_STRIDE, TmScalars};
use htm_kernels::permanence::PermanenceCodes;
use htm_kernels::spatial_pooler::SpatialPoolerScalars;
use htm_kernels::word::words_for;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::compact_postings::CompactPostings;
use super::header::Header;
use super::image::{Image, ImageReader, ImageWriter};
use super::mapping::Region;
use super::{FormatError, classifier, encoder, plain_memory, verify};
use crate::anomaly::htmengine_likelihood::{HtmengineLikelihood, Measured};
use crate::anomaly::likelihood::LikelihoodState;
use crate::anomaly::score_window::{ScoreWindow, WINDOW_ROWS};
use crate::detection::Detector;
use crate::model::memory::Memory;
use crate::model::spatial_pooler::SpatialPooler;
use crate::model::template::Templates;
use crate::model::temporal_memory::{Postings, Segments, StoredPermanences, TemporalMemory};
use crate::model::{Model, ModelParts};
use crate::params::{MemoryParams, ModelParams};

/// How much of a file is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// This process wrote the file or has checked it before, and it has not changed since: only its header and the
    /// sizes of its sections are checked, whatever its size.
    Known,
    /// Nothing is known of it: every section is compared with its checksum.
    Checksums,
    /// Its bytes may be forged: besides, everything that is used as an index or a count is bounded.
    Nothing,
}

/// The likelihood's section.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct LikelihoodRecord {
    row_count: u64,
    has_measured: u64,
    measured_row_id: i64,
    oldest: u64,
    state: LikelihoodState,
}

/// As FORMAT.md says.
const _: () = assert!(size_of::<LikelihoodState>() == 208);
const _: () = assert!(size_of::<TmScalars>() == 296);

/// The file of `model`, which lives its `generation`.
///
/// # Panics
/// If the generation is longer than [`super::header::MAX_GENERATION_BYTES`].
pub fn image<'a>(model: &'a Model, generation: &str) -> Image<'a> {
    let mut image = ImageWriter::new();
    image.push(1, model.params().description().as_bytes(), 0);
    encoder::push(&mut image, model.encoder());
    push_spatial_pooler(&mut image, model.spatial_pooler());
    match model.memory() {
        Memory::Backtracking(memory) => {
            push_temporal_memory(&mut image, memory);
            push_segments(&mut image, memory);
        }
        Memory::Plain(memory) => plain_memory::push(&mut image, memory),
    }
    push_likelihood(&mut image, model.likelihood());
    image.push(75, model.detector().state(), 1);
    if let Some(classifier) = model.classifier() {
        classifier::push(&mut image, classifier);
    }
    image.finish(model.last_stepped_row_id(), generation)
}

/// Same, as bytes, over the contents of `file`.
///
/// # Panics
/// As [`image`].
pub fn write(model: &Model, generation: &str, file: &mut Vec<u8>) {
    file.clear();
    for slice in image(model, generation).slices() {
        file.extend_from_slice(slice);
    }
}

/// A model that works on the image in `region`.
///
/// # Errors
/// If the bytes are not a whole, undamaged file of a model with these parameters and this generation, as far as
/// `trust` has them checked.
pub fn open(
    region: Region,
    params: &Arc<ModelParams>,
    generation: &str,
    templates: &Templates,
    trust: Trust,
) -> Result<Model, FormatError> {
    let header = Header::of(region.bytes())?;
    if trust != Trust::Known {
        header.check_sections(region.bytes())?;
    }
    if header.generation != generation {
        let expected = generation.to_owned();
        return Err(FormatError::Generation { found: header.generation, expected });
    }
    let image_bytes = region.memory_bytes();
    let mut image = ImageReader::new(region, &header);
    let (description, _) = image.take::<u8>(1)?;
    if description[..] != *params.description().as_bytes() {
        let found = String::from_utf8_lossy(&description).into_owned();
        return Err(FormatError::Parameters { found, expected: params.description().to_owned() });
    }
    let parts = ModelParts {
        encoder: encoder::take(&mut image, params)?,
        spatial_pooler: take_spatial_pooler(&mut image, params, templates)?,
        memory: take_memory(&mut image, params)?,
        likelihood: take_likelihood(&mut image)?,
        detector: Detector::of_state(image.take_used(75, 1)?),
        classifier: classifier::take(&mut image, params)?,
        last_stepped_row_id: header.last_stepped_row_id,
        image_bytes,
    };
    image.finish()?;
    let model = Model::from_parts(Arc::clone(params), parts);
    if trust == Trust::Nothing {
        verify::model(&model)?;
    }
    Ok(model)
}

/// Segments that a file has room for beyond those in use: about as many as one step can create.
const SEGMENT_HEADROOM: usize = 256;

/// Room for growing: a sixteenth of what is used, and at least `least`, but never more than `most`.
pub(super) fn room(used: usize, least: usize, most: usize) -> usize {
    used.saturating_add((used / 16).max(least)).min(most)
}

fn push_spatial_pooler<'a>(image: &mut ImageWriter<'a>, pooler: &'a SpatialPooler) {
    let (params, slots) = (pooler.params(), pooler.scalars.slot_count as usize);
    let used = slots * params.stride();
    image.push(20, std::slice::from_ref(&pooler.scalars), 1);
    image.push(21, &pooler.column_slots, 0);
    let slot_room = if slots == 0 { 0 } else { room(slots, 4, params.columns) };
    image.push(22, &pooler.private_permanences[..used], slot_room * params.stride());
    let rows = pooler.scalars.row_count as usize;
    let row_room = if rows == 0 { 0 } else { room(rows, 4, params.input_bits) };
    image.push(23, &pooler.row_slots, 0);
    image.push(24, &pooler.private_rows[..rows * params.row_words()], row_room * params.row_words());
    image.push(25, &pooler.overlap_duty, 0);
    image.push(26, &pooler.active_duty, 0);
}

fn push_temporal_memory<'a>(image: &mut ImageWriter<'a>, memory: &'a TemporalMemory) {
    let (params, blocks) = (memory.params(), memory.scalars.block_count as usize);
    let banks = banks_for(memory.scalars.segment_count as usize);
    let compact = CompactPostings::of_scattered(memory);
    let scalars = compact.as_ref().map_or_else(|| memory.scalars.clone(), |compact| compact.scalars(memory));
    image.push_owned(30, &[scalars], 1);
    image.push(31, &memory.infer_active, 0);
    image.push(32, &memory.infer_predicted, 0);
    image.push(33, &memory.learn_active, 0);
    image.push(34, &memory.learn_predicted, 0);
    image.push(35, &memory.learn_cells, 0);
    image.push(36, &memory.predicted_columns, 0);
    image.push(37, &memory.infer_history, 0);
    image.push(38, &memory.learn_history, 0);
    image.push(39, &memory.queue_segments, 0);
    image.push(40, &memory.queue_picks, 0);
    image.push(41, &memory.column_blocks[..banks * params.columns], 0);
    let block_room = if blocks == 0 { 0 } else { room(blocks, 4, usize::MAX) };
    let list_room = block_room * CELL_STRIDE;
    let word_room = |words: usize| room(words, 256, usize::MAX);
    if let Some(compact) = compact {
        image.push_owned(42, compact.lists(), list_room);
        image.push_owned(43, &compact.words(memory), word_room(compact.word_count()));
    } else {
        let words = memory.scalars.posting_words_used as usize;
        image.push(42, &memory.posting_lists[..blocks * CELL_STRIDE], list_room);
        image.push(43, &memory.postings.words[..words], word_room(words));
    }
}

fn push_segments<'a>(image: &mut ImageWriter<'a>, memory: &'a TemporalMemory) {
    let segments = &memory.segments;
    let count = memory.scalars.segment_count as usize;
    let stride = memory.params().synapse_stride();
    // A new model has nothing to say of how it will grow, and must be small.
    let roomy = if count == 0 { 0 } else { room(count, SEGMENT_HEADROOM, usize::MAX) };
    image.push(50, &segments.presynaptic_cells[..count * stride], roomy * stride);
    match &segments.permanences {
        StoredPermanences::Codes(codes, _) => image.push(51, &codes[..count * stride], roomy * stride),
        StoredPermanences::Values(values) => image.push(51, &values[..count * stride], roomy * stride),
    }
    image.push(52, &segments.infos[..count], roomy);
    image.push(53, &segments.activations[..count], roomy);
    image.push(56, &memory.kept_activity, 0);
}

fn push_likelihood<'a>(image: &mut ImageWriter<'a>, likelihood: &'a HtmengineLikelihood) {
    let measured = likelihood.measured();
    let (values, raw_scores, oldest) = likelihood.window().ring();
    let record = LikelihoodRecord {
        row_count: likelihood.row_count(),
        has_measured: u64::from(measured.is_some()),
        measured_row_id: measured.map_or(0, |measured| measured.row_id),
        oldest: oldest as u64,
        state: measured.map_or_else(zerocopy::FromZeros::new_zeroed, |measured| measured.state),
    };
    image.push_owned(70, &[record], 1);
    let rows = room(values.len(), 64, WINDOW_ROWS);
    image.push(71, values, rows);
    image.push(72, raw_scores, rows);
}

fn take_memory(image: &mut ImageReader, params: &ModelParams) -> Result<Memory, FormatError> {
    Ok(match params.memory() {
        MemoryParams::Backtracking(memory) => {
            Memory::Backtracking(Box::new(take_temporal_memory(image, memory, params.permanence_codes())?))
        }
        MemoryParams::Plain(memory) => Memory::Plain(Box::new(plain_memory::take(image, *memory)?)),
    })
}

fn take_spatial_pooler(
    image: &mut ImageReader,
    params: &ModelParams,
    templates: &Templates,
) -> Result<SpatialPooler, FormatError> {
    let params = *params.spatial_pooler();
    let scalars: SpatialPoolerScalars = image.take_record(20)?;
    let slots = at_most("private columns", scalars.slot_count, params.columns)?;
    let rows = at_most("private rows", scalars.row_count, params.input_bits)?;
    Ok(SpatialPooler {
        template: templates.get(&params),
        scalars,
        column_slots: image.take_used(21, params.columns)?,
        private_permanences: image.take_used(22, slots * params.stride())?,
        row_slots: image.take_used(23, params.input_bits)?,
        private_rows: image.take_used(24, rows * params.row_words())?,
        overlap_duty: image.take_used(25, params.columns)?,
        active_duty: image.take_used(26, params.columns)?,
        params,
    })
}

fn take_temporal_memory(
    image: &mut ImageReader,
    params: &BacktrackingTmParams,
    codes: Option<&Arc<PermanenceCodes>>,
) -> Result<TemporalMemory, FormatError> {
    let columns = params.columns;
    let scalars: TmScalars = image.take_record(30)?;
    at_most("queued updates", scalars.queue_count, columns)?;
    at_most("patterns for inference", scalars.infer_history_count, params.max_infer_backtrack + 1)?;
    at_most("patterns for learning", scalars.learn_history_count, params.max_learn_backtrack + 1)?;
    let lists = at_most("blocks", scalars.block_count, usize::from(NO_COLUMN_BLOCK))? * CELL_STRIDE;
    let segments = scalars.segment_count as usize;
    let banks = banks_for(segments);
    let memory = TemporalMemory {
        params: *params,
        infer_active: image.take_used(31, columns)?,
        infer_predicted: image.take_used(32, columns)?,
        learn_active: image.take_used(33, columns)?,
        learn_predicted: image.take_used(34, columns)?,
        learn_cells: image.take_used(35, PATTERN_STRIDE)?,
        predicted_columns: image.take_used(36, words_for(columns))?,
        infer_history: image.take_used(37, params.infer_history_len())?,
        learn_history: image.take_used(38, params.learn_history_len())?,
        queue_segments: image.take_used(39, columns)?,
        queue_picks: image.take_used(40, columns)?,
        column_blocks: image.take_used(41, banks.saturating_mul(columns))?,
        posting_lists: image.take_used(42, lists)?,
        postings: Postings { words: image.take_used(43, scalars.posting_words_used as usize)? },
        segments: take_segments(image, params, codes, segments)?,
        kept_activity: image.take(56)?.0,
        scalars,
    };
    let kept = memory.kept_activity.len();
    if kept != 0 && kept != banks * BANK_COUNTERS || kept == 0 && memory.scalars.has_kept_activity != 0 {
        return Err(FormatError::Bounds {
            reason: format!("it has {kept} kept counts for {segments} segments"),
        });
    }
    Ok(memory)
}

fn take_segments(
    image: &mut ImageReader,
    params: &BacktrackingTmParams,
    codes: Option<&Arc<PermanenceCodes>>,
    count: usize,
) -> Result<Segments, FormatError> {
    let synapses = count.saturating_mul(params.synapse_stride());
    Ok(Segments {
        presynaptic_cells: image.take_used(50, synapses)?,
        permanences: match codes {
            Some(table) => StoredPermanences::Codes(image.take_used(51, synapses)?, Arc::clone(table)),
            None => StoredPermanences::Values(image.take_used(51, synapses)?),
        },
        infos: image.take_used(52, count)?,
        activations: image.take_used(53, count)?,
    })
}

fn take_likelihood(image: &mut ImageReader) -> Result<HtmengineLikelihood, FormatError> {
    let record: LikelihoodRecord = image.take_record(70)?;
    let (values, rows) = image.take(71)?;
    let raw_scores = image.take_used(72, rows)?;
    let impossible =
        |what: &str| FormatError::Bounds { reason: format!("the likelihood's {what} is impossible") };
    let oldest = usize::try_from(record.oldest).map_err(|_| impossible("window"))?;
    let window =
        ScoreWindow::from_ring(values, raw_scores, rows, oldest).ok_or_else(|| impossible("window"))?;
    let measured = Measured { state: record.state, row_id: record.measured_row_id };
    let measured = (record.has_measured != 0).then_some(measured);
    if measured.is_some_and(|measured| !measured.state.is_possible()) {
        return Err(impossible("distribution"));
    }
    Ok(HtmengineLikelihood::from_parts(window, record.row_count, measured))
}

/// `count` as an index type, if it is at most `limit`.
pub(super) fn at_most(what: &str, count: u32, limit: usize) -> Result<usize, FormatError> {
    if count as usize <= limit {
        return Ok(count as usize);
    }
    Err(FormatError::Bounds { reason: format!("it has {count} {what}, at most {limit} are possible") })
}
