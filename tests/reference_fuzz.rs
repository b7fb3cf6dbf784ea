//! Promise: the temporal memory and the spatial pooler equal the reference's C++ classes under small, hostile
//! configurations: full columns with tens of thousands of evictions, full segments, resets, other decrements,
//! empty inputs, starving columns, all tiers of the duty cycle.
//!
//! Layout of the recordings: see `tests/data/golden/README.md`.

use std::sync::Arc;

use htm_core::model::spatial_pooler::SpatialPooler;
use htm_core::model::template::Template;
use htm_core::model::temporal_memory::TemporalMemory;
use htm_core::model::workspace::Workspace;
use htm_core::params::{standard_spatial_pooler, standard_temporal_memory};
use htm_core::trace::{Fnv, cells, confidences};
use htm_kernels::backtracking_tm::BacktrackingTmParams;
use htm_kernels::isa::Isa;
use htm_kernels::spatial_pooler::SpatialPoolerParams;
use htm_tests::recording::golden;
use htm_tests::state_digest;
use serde_json::Value;

fn count(header: &Value, key: &str) -> usize {
    usize::try_from(header[key].as_u64().unwrap_or_else(|| panic!("{key} in {header}"))).expect("small")
}

fn decimal(header: &Value, key: &str) -> f32 {
    // The reference converts decimal text to f64 and then to f32.
    #[expect(clippy::cast_possible_truncation, reason = "as the reference does")]
    let value = header[key].as_f64().unwrap_or_else(|| panic!("{key} in {header}")) as f32;
    value
}

fn temporal_memory_params(header: &Value) -> BacktrackingTmParams {
    let standard = standard_temporal_memory();
    BacktrackingTmParams {
        columns: count(header, "numberOfCols"),
        cells_per_column: count(header, "cellsPerColumn"),
        activation_threshold: count(header, "activationThreshold"),
        min_threshold: count(header, "minThreshold"),
        new_synapse_count: count(header, "newSynapseCount"),
        max_segments_per_cell: count(header, "maxSegmentsPerCell"),
        max_synapses_per_segment: count(header, "maxSynapsesPerSegment"),
        initial_permanence: decimal(header, "initialPerm"),
        connected_permanence: decimal(header, "connectedPerm"),
        permanence_increment: decimal(header, "permanenceInc"),
        permanence_decrement: decimal(header, "permanenceDec"),
        pam_length: u32::try_from(count(header, "pamLength")).expect("small"),
        max_sequence_length: header.get("maxSeqLength").map_or(standard.max_sequence_length, |_| {
            u32::try_from(count(header, "maxSeqLength")).expect("small")
        }),
        seed: count(header, "seed") as u64,
        ..standard
    }
}

/// The five lists of a memory's step: active, predicted, confidences, learning, predicted learning.
fn lists(memory: &TemporalMemory, workspace: &Workspace) -> [Vec<u32>; 5] {
    let params = memory.params();
    [
        cells(params, memory.infer_active()).collect(),
        cells(params, memory.infer_predicted()).collect(),
        confidences(&workspace.confidence()[..params.columns]).collect(),
        cells(params, memory.learn_active()).collect(),
        cells(params, memory.learn_predicted()).collect(),
    ]
}

fn describe(kind: &str, memory: &TemporalMemory, workspace: &Workspace) -> String {
    let lists = lists(memory, workspace);
    if kind == "c4l" {
        let joined = lists.join(&u32::MAX);
        return Fnv::of(joined).to_string();
    }
    let hashes = lists.map(|list| Fnv::of(list).to_string()).join(" ");
    let scalars = memory.scalars();
    format!("{hashes} {} {} {}", scalars.segment_count, scalars.synapse_count, scalars.pam)
}

/// Every form that a memory can take, with the code of every instruction set.
fn check_temporal_memory(name: &str, steps: usize) {
    let forms: [fn(BacktrackingTmParams) -> TemporalMemory; 3] =
        [TemporalMemory::new, TemporalMemory::without_codes, |params| {
            TemporalMemory::new(params).with_kept_activity()
        }];
    for isa in Isa::available() {
        check_form(name, steps, isa, forms[0]);
    }
    check_form(name, steps, Isa::chosen(), forms[1]);
    check_form(name, steps, Isa::chosen(), forms[2]);
}

fn check_form(name: &str, steps: usize, isa: Isa, memory_of: fn(BacktrackingTmParams) -> TemporalMemory) {
    let text = golden(name);
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().expect("a header")).expect("JSON");
    let kind = header["kind"].as_str().expect("a kind");
    let mut memory = memory_of(temporal_memory_params(&header));
    let mut workspace = Workspace::new().with_isa(isa).with_confidence();
    let (mut stepped, mut states) = (0, 0);
    for line in lines {
        let context = format!("{name}, step {stepped}");
        if let Some(state) = line.strip_prefix("S ") {
            let state: Value = serde_json::from_str(state).expect("JSON");
            let compared =
                state_digest::assert_equal(&context, &state, &state_digest::temporal_memory(&mut memory));
            assert_eq!(compared, 6, "{context}: keys of the state");
            states += 1;
            continue;
        }
        let (input, expected) = line.split_once(" ; ").expect("input ; output");
        let (flag, columns) = input.split_once(' ').expect("flag columns");
        if flag == "R" {
            memory.reset();
        }
        let columns: Vec<u16> = columns.split(' ').map(|column| column.parse().expect("a column")).collect();
        memory.compute(&mut workspace, &columns);
        assert_eq!(describe(kind, &memory, &workspace), expected, "{context}");
        stepped += 1;
    }
    assert_eq!(stepped, steps, "{name}: steps");
    assert!(states > 0, "{name}: deep states");
}

fn check_spatial_pooler(name: &str, steps: usize) {
    let text = golden(name);
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().expect("a header")).expect("JSON");
    let first = |key: &str| usize::try_from(header[key][0].as_u64().expect("a size")).expect("small");
    let params = SpatialPoolerParams {
        columns: first("columnDimensions"),
        active_columns: count(&header, "numActiveColumnsPerInhArea"),
        potential_share: decimal(&header, "potentialPct"),
        active_increment: decimal(&header, "synPermActiveInc"),
        inactive_decrement: decimal(&header, "synPermInactiveDec"),
        connected_permanence: decimal(&header, "synPermConnected"),
        seed: count(&header, "seed") as u64,
        ..standard_spatial_pooler(first("inputDimensions"))
    };
    let mut pooler = SpatialPooler::new(params, Arc::new(Template::new(params)));
    assert_eq!(
        header["potential_hash"],
        state_digest::potential_pools(&mut pooler),
        "{name}: potential pools"
    );
    let mut workspace = Workspace::new();
    let (mut stepped, mut states) = (0, 0);
    for line in lines {
        let context = format!("{name}, step {stepped}");
        if let Some(state) = line.strip_prefix("S ") {
            let state: Value = serde_json::from_str(state).expect("JSON");
            let digest = state_digest::spatial_pooler(&mut pooler);
            let compared = state_digest::assert_equal(&context, &state, &digest);
            assert_eq!(compared, 7 + usize::from(states == 0), "{context}: keys of the state");
            states += 1;
            continue;
        }
        let (input, expected) = line.split_once(" ; ").expect("input ; output");
        let bits: Vec<u16> = input.split_whitespace().map(|bit| bit.parse().expect("a bit")).collect();
        let found: Vec<String> =
            pooler.compute(&mut workspace, &bits).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected, "{context}");
        stepped += 1;
    }
    assert_eq!(stepped, steps, "{name}: steps");
}

#[test]
fn full_columns_and_segments_equal_the_reference() {
    check_temporal_memory("fuzz_c4_full.txt.gz", 3000);
}

#[test]
fn other_decrements_equal_the_reference() {
    check_temporal_memory("fuzz_c4_dec.txt.gz", 3000);
}

#[test]
fn resets_equal_the_reference() {
    check_temporal_memory("fuzz_c4_reset.txt.gz", 2000);
}

#[test]
fn a_pam_length_of_one_equals_the_reference() {
    check_temporal_memory("fuzz_c4_pam1.txt.gz", 2000);
}

#[test]
fn a_long_life_equals_the_reference() {
    check_temporal_memory("fuzz_c4_long.txt.gz", 105_000);
}

#[test]
fn a_small_pooler_equals_the_reference() {
    check_spatial_pooler("fuzz_sp_small.txt.gz", 2000);
}

#[test]
fn a_starving_pooler_equals_the_reference() {
    check_spatial_pooler("fuzz_sp_sparse.txt.gz", 1500);
}
