//! Bounds of everything in a checkpoint that a kernel will use as an index or a count.
//!
//! The checksums say that the bytes are those that were written; this says that using them stays inside the
//! arrays. It does not prove that a model is one this program could have learned.

use std::sync::Arc;

use htm_kernels::backtracking_tm::pattern::PATTERN_STRIDE;
use htm_kernels::backtracking_tm::postings::{NO_BLOCK, NO_CLASS, SIZE_CLASSES, block_len};
use htm_kernels::backtracking_tm::state::NO_COLUMN_BLOCK;
use htm_kernels::backtracking_tm::{BacktrackingTmParams, CELL_STRIDE};
use htm_kernels::spatial_pooler::NO_SLOT;
use htm_kernels::word;

use super::FormatError;
use super::checkpoint::{self, Trust};
use super::header::Header;
use super::mapping::Region;
use crate::encoder::random_distributed_scalar::RandomDistributedScalarEncoder;
use crate::model::Model;
use crate::model::spatial_pooler::SpatialPooler;
use crate::model::template::Templates;
use crate::model::temporal_memory::TemporalMemory;
use crate::params::ModelParams;

/// Checks a whole file by itself: header, checksums and every invariant of the model in it.
///
/// # Errors
/// The first thing that is wrong.
pub fn file(region: Region, templates: &Templates) -> Result<Model, FormatError> {
    let header = Header::of(region.bytes())?;
    header.check_sections(region.bytes())?;
    let description = region.bytes()[header.sections[0].range.clone()].to_vec();
    let description = String::from_utf8_lossy(&description).into_owned();
    let params = ModelParams::from_description(&description)
        .ok_or(FormatError::UnknownParameters { found: description })?;
    checkpoint::open(region, &Arc::new(params), &header.generation, templates, Trust::Nothing)
}

/// Checks every invariant of an opened model.
///
/// # Errors
/// The first one that does not hold.
pub fn model(model: &Model) -> Result<(), FormatError> {
    let mut encoders = model.encoder().random_distributed_scalars();
    let buckets = encoders.all(RandomDistributedScalarEncoder::are_bits_valid);
    ensure(buckets, "a bucket's bit is")?;
    spatial_pooler(model.spatial_pooler())?;
    temporal_memory(model.temporal_memory())
}

fn ensure(is_valid: bool, what: &str) -> Result<(), FormatError> {
    if is_valid { Ok(()) } else { Err(FormatError::Bounds { reason: format!("{what} out of bounds") }) }
}

fn spatial_pooler(pooler: &SpatialPooler) -> Result<(), FormatError> {
    let params = pooler.params();
    let (slots, rows) = (pooler.scalars.slot_count, pooler.scalars.row_count);
    ensure(are_slots_valid(&pooler.column_slots, slots), "a column's slot is")?;
    ensure(are_slots_valid(&pooler.row_slots, rows), "an input's row is")?;
    let used = &pooler.private_permanences[..slots as usize * params.stride()];
    let is_possible = |column: &[f32]| {
        let (pool, rest) = column.split_at(params.pool_size());
        pool.iter().all(|value| (0.0..=1.0).contains(value)) && rest.iter().all(|value| value.to_bits() == 0)
    };
    ensure(used.chunks_exact(params.stride()).all(is_possible), "a permanence is")?;
    let is_share = |value: &f32| (0.0..=1.0).contains(value);
    ensure(pooler.overlap_duty.iter().all(is_share), "an overlap duty cycle is")?;
    ensure(pooler.active_duty.iter().all(is_share), "an active duty cycle is")?;
    connected_rows(pooler)
}

/// Every slot in use belongs to exactly one owner.
fn are_slots_valid(slots: &[u16], used: u32) -> bool {
    let mut taken: Vec<u16> = slots.iter().copied().filter(|&slot| slot != NO_SLOT).collect();
    taken.sort_unstable();
    taken.into_iter().map(u32::from).eq(0..used)
}

/// The connected rows are those that follow from the permanences.
fn connected_rows(pooler: &SpatialPooler) -> Result<(), FormatError> {
    let params = *pooler.params();
    let mut copy = pooler.clone();
    let state = copy.view();
    let mut expected = vec![0u64; params.input_bits * params.row_words()];
    for column in 0..params.columns {
        for (input, &value) in state.pool(&params, column).zip(state.permanences(&params, column)) {
            if value >= params.connected_threshold() {
                word::set(&mut expected[input * params.row_words()..][..params.row_words()], column);
            }
        }
    }
    let rows = state.connected_rows(&params);
    let mut inputs = (0u16..).zip(expected.chunks_exact(params.row_words()));
    ensure(inputs.all(|(input, expected)| rows.row(input) == expected), "a connected column is")
}

fn temporal_memory(memory: &TemporalMemory) -> Result<(), FormatError> {
    let (params, scalars) = (memory.params(), &memory.scalars);
    let columns = params.columns;
    ensure(scalars.random.is_valid(), "the generator's position is")?;
    for (cells, what) in [
        (&memory.infer_active, "an active cell is"),
        (&memory.infer_predicted, "a predicted cell is"),
        (&memory.learn_active, "a learning cell is"),
        (&memory.learn_predicted, "a predicted learning cell is"),
    ] {
        ensure(cells.iter().all(|cells| cells & !params.column_mask() == 0), what)?;
    }
    patterns(&memory.infer_history, scalars.infer_history_count, columns)?;
    patterns(&memory.learn_history, scalars.learn_history_count, columns)?;
    patterns(&memory.learn_cells, 1, columns * CELL_STRIDE)?;
    ensure(
        memory.queue_segments[..scalars.queue_count as usize].iter().all(|&id| id < scalars.segment_count),
        "a queued segment is",
    )?;
    blocks(memory)?;
    segments(params, memory)
}

/// Records of at most 63 ascending indices below `limit`.
fn patterns(records: &[u16], count: u32, limit: usize) -> Result<(), FormatError> {
    let is_valid = |record: &[u16]| {
        let indices = record.get(1..=usize::from(record[0])).unwrap_or(&[u16::MAX, 0]);
        indices.is_sorted_by(|a, b| a < b) && indices.iter().all(|&index| usize::from(index) < limit)
    };
    ensure(records.chunks_exact(PATTERN_STRIDE).take(count as usize).all(is_valid), "a pattern is")
}

fn blocks(memory: &TemporalMemory) -> Result<(), FormatError> {
    let scalars = &memory.scalars;
    let is_valid = |block: u16| block == NO_COLUMN_BLOCK || u32::from(block) < scalars.block_count;
    ensure(memory.column_blocks.iter().all(|&block| is_valid(block)), "a column's block is")?;
    let words = memory.postings.words.len();
    for entry in 0..scalars.block_count as usize * CELL_STRIDE {
        let (class, count) = (memory.posting_classes[entry], memory.posting_counts[entry] as usize);
        let is_valid = if class == NO_CLASS {
            count == 0
        } else {
            usize::from(class) < SIZE_CLASSES
                && count <= block_len(class)
                && memory.posting_offsets[entry] as usize + block_len(class) <= words
        };
        ensure(is_valid, "a posting list is")?;
        if class != NO_CLASS {
            let list = &memory.postings.words[memory.posting_offsets[entry] as usize..][..count];
            ensure(list.iter().all(|&id| id < scalars.segment_count), "a posting is")?;
        }
    }
    for (&head, class) in scalars.posting_free_blocks.iter().zip(0..) {
        ensure(head == NO_BLOCK || head as usize + block_len(class) <= words, "a free block is")?;
    }
    Ok(())
}

fn segments(params: &BacktrackingTmParams, memory: &TemporalMemory) -> Result<(), FormatError> {
    let segments = &memory.segments;
    let is_known = |cell: u16| {
        usize::from(cell) < params.columns * CELL_STRIDE
            && usize::from(cell) % CELL_STRIDE < params.cells_per_column
            && memory.column_blocks[usize::from(cell) / CELL_STRIDE] != NO_COLUMN_BLOCK
    };
    let stride = params.max_synapses_per_segment;
    let mut synapse_count = 0;
    for (id, &cell) in segments.cells[..memory.scalars.segment_count as usize].iter().enumerate() {
        let count = usize::from(segments.counts[id]);
        ensure(is_known(cell) && count <= stride, "a segment is")?;
        let sources = &segments.presynaptic_cells[id * stride..][..count];
        ensure(
            sources.is_sorted_by(|a, b| a < b) && sources.iter().all(|&cell| is_known(cell)),
            "a synapse is",
        )?;
        ensure(segments.duty_cycle_iterations[id] <= memory.scalars.iteration, "a duty cycle's step is")?;
        synapse_count += count;
    }
    ensure(memory.scalars.synapse_count as usize == synapse_count, "the number of synapses is")
}
