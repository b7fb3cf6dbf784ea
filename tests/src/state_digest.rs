//! Deep state of a pooler or memory under the keys of the recordings (`state.jsonl`, `S` lines).

use htm_core::model::plain_memory::PlainMemory;
use htm_core::model::spatial_pooler::SpatialPooler;
use htm_core::model::temporal_memory::TemporalMemory;
use htm_core::trace::Fnv;
use htm_kernels::backtracking_tm::CELL_STRIDE;
use serde_json::{Map, Value, json};

/// Digest of a spatial pooler.
#[expect(clippy::missing_panics_doc, reason = "a pooler has at most 2048 columns")]
pub fn spatial_pooler(pooler: &mut SpatialPooler) -> Map<String, Value> {
    let params = *pooler.params();
    let as_u32 = |index: usize| u32::try_from(index).expect("small");
    let random = pooler.template().random().words().to_vec();
    let view = pooler.view();
    let (mut permanences, mut connected) = (Fnv::new(), Fnv::new());
    for column in 0..params.columns {
        connected.push(as_u32(column));
        // Inputs outside the potential pool are recorded as 0.
        let mut values = vec![0.0f32; params.input_bits];
        for (input, &value) in view.pool(&params, column).zip(view.permanences(&params, column)) {
            values[input] = value;
        }
        for (input, value) in values.into_iter().enumerate() {
            permanences.push(value.to_bits());
            if value >= params.connected_threshold() {
                connected.push(as_u32(input));
            }
        }
    }
    let minimum = std::iter::repeat_n(view.scalars.min_overlap_duty.to_bits(), params.columns);
    let bits = |values: &[f32]| Fnv::of(values.iter().map(|value| value.to_bits())).to_string();
    let mut digest = Map::new();
    digest.insert("sp_perm".into(), json!(permanences.to_string()));
    digest.insert("sp_conn".into(), json!(connected.to_string()));
    digest.insert("sp_overlap_duty".into(), json!(bits(view.overlap_duty)));
    digest.insert("sp_active_duty".into(), json!(bits(view.active_duty)));
    digest.insert("sp_min_overlap_duty".into(), json!(Fnv::of(minimum).to_string()));
    digest.insert("sp_iter".into(), json!(view.scalars.iteration));
    digest.insert("sp_boost_all_one".into(), json!(true));
    digest.insert("sp_rng".into(), json!(random));
    digest
}

/// Hash of the potential pools: each column followed by its inputs.
#[expect(clippy::missing_panics_doc, reason = "a pooler has at most 2048 columns")]
pub fn potential_pools(pooler: &mut SpatialPooler) -> String {
    let params = *pooler.params();
    let view = pooler.view();
    let mut hash = Fnv::new();
    for column in 0..params.columns {
        hash.push(u32::try_from(column).expect("small"));
        for input in view.pool(&params, column) {
            hash.push(u32::try_from(input).expect("small"));
        }
    }
    hash.to_string()
}

/// Digest of a temporal memory.
///
/// # Panics
/// If the running synapse count differs from the segments'.
pub fn temporal_memory(memory: &mut TemporalMemory) -> Map<String, Value> {
    let params = *memory.params();
    let view = memory.view();
    let segments = &view.segments;
    let mut order: Vec<usize> = (0..view.scalars.segment_count as usize)
        .filter(|&segment| segments.infos[segment].count > 0)
        .collect();
    order.sort_by_key(|&segment| (segments.infos[segment].cell, segments.infos[segment].slot));
    let external = |cell: u16| {
        let (column, cell) = (usize::from(cell) / CELL_STRIDE, usize::from(cell) % CELL_STRIDE);
        u32::try_from(column * params.cells_per_column + cell).expect("small")
    };
    let mut structure = Fnv::new();
    let mut synapse_count = 0;
    for &segment in &order {
        let count = usize::from(segments.infos[segment].count);
        synapse_count += count;
        structure.push(external(segments.infos[segment].cell));
        structure.push(u32::from(segments.infos[segment].slot));
        structure.push(u32::from(segments.infos[segment].count));
        structure.push(1);
        structure.push(segments.activations[segment].positive_activations);
        structure.push(segments.activations[segment].total_activations);
        structure.push(segments.activations[segment].last_active_iteration);
        structure.push(segments.infos[segment].duty_cycle.to_bits());
        structure.push(segments.infos[segment].duty_cycle_iteration);
        let start = segment * params.synapse_stride();
        for synapse in start..start + count {
            structure.push(external(segments.presynaptic_cells[synapse]));
            structure.push(segments.permanences.value(synapse).to_bits());
        }
    }
    assert_eq!(view.scalars.synapse_count as usize, synapse_count, "the running synapse count");
    let mut digest = Map::new();
    digest.insert("tm_struct".into(), json!(structure.to_string()));
    digest.insert("tm_segments".into(), json!(order.len()));
    digest.insert("tm_synapses".into(), json!(synapse_count));
    digest.insert("tm_pam".into(), json!(view.scalars.pam));
    digest.insert("tm_avg_seq_len_bits".into(), json!(view.scalars.average_sequence_length.to_bits()));
    digest.insert("tm_rng".into(), json!(view.scalars.random.words().to_vec()));
    digest
}

/// Digest of a plain temporal memory.
///
/// # Panics
/// If the running counts differ from the segments'.
pub fn plain_memory(memory: &mut PlainMemory) -> Map<String, Value> {
    let params = *memory.params();
    let view = memory.view();
    let slots = view.segments[..view.scalars.slot_count as usize].iter();
    let mut segments: Vec<_> = slots.filter(|segment| segment.is_used != 0).collect();
    segments.sort_by_key(|segment| (segment.cell, segment.ordinal));
    let external = |cell: u16| {
        let (column, cell) = (usize::from(cell) / CELL_STRIDE, usize::from(cell) % CELL_STRIDE);
        u32::try_from(column * params.cells_per_column + cell).expect("small")
    };
    let mut structure = Fnv::new();
    let mut synapse_count = 0;
    for segment in &segments {
        let (start, count) = (segment.synapse_start as usize, usize::from(segment.synapse_count));
        synapse_count += count;
        structure.push(external(segment.cell));
        structure.push(segment.synapse_count.into());
        for synapse in start..start + count {
            structure.push(external(view.presynaptic_cells[synapse]));
            structure.push(view.permanences[synapse].to_bits());
        }
    }
    assert_eq!(view.scalars.segment_count as usize, segments.len(), "the running segment count");
    assert_eq!(view.scalars.synapse_count as usize, synapse_count, "the running synapse count");
    let mut digest = Map::new();
    digest.insert("tm_struct".into(), json!(structure.to_string()));
    digest.insert("tm_segments".into(), json!(segments.len()));
    digest.insert("tm_synapses".into(), json!(synapse_count));
    digest.insert("tm_rng".into(), json!(view.scalars.random.words().to_vec()));
    digest
}

/// Compares every key that the recording has and this digest knows; returns how many were compared.
///
/// # Panics
/// At the first difference.
pub fn assert_equal(context: &str, recorded: &Value, digest: &Map<String, Value>) -> usize {
    let recorded = recorded.as_object().expect("a recorded state is an object");
    let mut compared = 0;
    for (key, expected) in recorded {
        if let Some(found) = digest.get(key) {
            assert_eq!(found, expected, "{context}: {key}");
            compared += 1;
        }
    }
    compared
}
