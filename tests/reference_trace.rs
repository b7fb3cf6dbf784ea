//! Promise: every stage of every record equals NuPIC 1.0.5 to the bit, on five real and artificial series.
//!
//! The recordings hold hashes of each stage for all records, complete index lists for the first 200, and deep
//! state every 500 records. Layout: see `tests/data/golden/README.md`.

use std::sync::Arc;

use htm_core::anomaly::nab_likelihood::NabLikelihood;
use htm_core::float_text::repr;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::temporal_memory::TemporalMemory;
use htm_core::model::workspace::Workspace;
use htm_core::params::{ModelParams, ValueRange};
use htm_core::trace::{Fnv, STAGE_HEADING, Stages, cells, confidences, stage_row};
use htm_kernels::word;
use htm_tests::recording::{SERIES, golden, golden_json, series};
use htm_tests::state_digest;
use serde_json::Value;

fn check(name: &str) {
    let rows = series(name);
    let text = golden(&format!("{name}__cpp.rec.csv.gz"));
    let mut expected = text.lines();
    assert_eq!(expected.next(), Some(STAGE_HEADING), "{name}");
    let full = golden(&format!("{name}__cpp.full.jsonl.gz"));
    let mut full = full.lines();
    let deep_states = golden(&format!("{name}__cpp.state.jsonl.gz"));
    let mut deep_states =
        deep_states.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).peekable();

    let (min, max) = rows.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), (_, record)| {
        (min.min(record.value), max.max(record.value))
    });
    let range = ValueRange::padded(min, max).expect("finite");
    let params = ModelParams::single_metric(range.resolution(None)).expect("valid");
    let mut model = Model::new(Arc::new(params), &Templates::new());
    check_initial(name, &mut model);
    let mut workspace = Workspace::new().with_confidence();
    let mut likelihood = NabLikelihood::for_file(rows.len());
    for (index, (timestamp, record)) in rows.iter().enumerate() {
        let row_id = RowId(i64::try_from(index + 1).expect("small"));
        let scores = model.step(&mut workspace, row_id, *record).expect("a good record");
        let probability = likelihood.likelihood(record.value, scores.raw_anomaly_score);
        let stages = Stages::of(&model, &workspace);
        let found = stage_row(index, timestamp, record.value, &scores, probability, &stages);
        assert_eq!(Some(&*found), expected.next(), "{name}, record {index}");
        if let Some(line) = full.next() {
            check_full(name, index, &serde_json::from_str(line).expect("JSON"), &mut model, &workspace);
        }
        if let Some(state) = deep_states.next_if(|state| state["after_record"] == index) {
            check_state(name, index, &state, &mut model, &likelihood);
        }
    }
    assert_eq!(expected.next(), None, "{name}: every recorded row was compared");
    assert_eq!(full.next(), None, "{name}: every complete dump was compared");
    assert_eq!(deep_states.next(), None, "{name}: every deep state was compared");
    check_buckets(name, &model);
}

fn backtracking(model: &Model) -> &TemporalMemory {
    model.memory().backtracking().expect("the standard memory")
}

fn check_initial(name: &str, model: &mut Model) {
    let meta = golden_json(&format!("{name}__cpp.meta.json"));
    let mut pooler = model.spatial_pooler().clone();
    let mut memory = backtracking(model).clone();
    let initial = &meta["initial"];
    assert_eq!(state_digest::assert_equal(name, initial, &state_digest::spatial_pooler(&mut pooler)), 8);
    assert_eq!(state_digest::assert_equal(name, initial, &state_digest::temporal_memory(&mut memory)), 6);
    assert_eq!(meta["sp_potential"], state_digest::potential_pools(&mut pooler), "{name}: potential pools");
}

fn check_full(name: &str, index: usize, full: &Value, model: &mut Model, workspace: &Workspace) {
    let memory = backtracking(model);
    let params = memory.params();
    let list = |key: &str| -> Vec<u32> { serde_json::from_value(full[key].clone()).expect("a list") };
    let check = |key: &str, found: Vec<u32>| assert_eq!(found, list(key), "{name}, record {index}: {key}");
    check("enc", workspace.active_inputs().iter().map(|&bit| bit.into()).collect());
    check("sp", workspace.active_columns().iter().map(|&column| column.into()).collect());
    check("active", cells(params, memory.infer_active()).collect());
    check("pred", cells(params, memory.infer_predicted()).collect());
    let predicted = word::ones(memory.predicted_columns());
    check("predcols", predicted.map(|column| u32::try_from(column).expect("small")).collect());
    check("learn", cells(params, memory.learn_active()).collect());
    check("lpred", cells(params, memory.learn_predicted()).collect());
    check("colconf_bits", confidences(workspace.confidence()).collect());
    assert_eq!(full["nseg"], memory.scalars().segment_count, "{name}, record {index}: segments");
    assert_eq!(full["nsyn"], memory.scalars().synapse_count, "{name}, record {index}: synapses");
    assert_eq!(full["pam"], memory.scalars().pam, "{name}, record {index}: pam");
}

fn check_state(name: &str, index: usize, state: &Value, model: &mut Model, likelihood: &NabLikelihood) {
    let context = format!("{name} after record {index}");
    let mut pooler = model.spatial_pooler().clone();
    let mut memory = backtracking(model).clone();
    let has_draws = usize::from(state.get("sp_rng").is_some());
    let pooler_keys = state_digest::assert_equal(&context, state, &state_digest::spatial_pooler(&mut pooler));
    assert_eq!(pooler_keys, 7 + has_draws, "{context}: keys of the spatial pooler");
    let memory_keys =
        state_digest::assert_equal(&context, state, &state_digest::temporal_memory(&mut memory));
    assert_eq!(memory_keys, 5 + has_draws, "{context}: keys of the temporal memory");
    let estimate = likelihood.state();
    assert_eq!(state.get("lik_dist").is_some(), estimate.is_some(), "{context}: likelihood estimated");
    if let Some(estimate) = estimate {
        let distribution = estimate.distribution();
        assert_eq!(state["lik_dist"]["mean"], repr(distribution.mean), "{context}: mean");
        assert_eq!(state["lik_dist"]["variance"], repr(distribution.variance), "{context}: variance");
        assert_eq!(state["lik_dist"]["stdev"], repr(distribution.stdev), "{context}: standard deviation");
        assert_eq!(state["lik_total"], repr(estimate.average_total()), "{context}: running total");
    }
}

fn check_buckets(name: &str, model: &Model) {
    let meta = golden_json(&format!("{name}__cpp.meta.json"));
    let encoder = model.encoder().random_distributed_scalars().next().expect("the value encoder");
    assert_eq!(meta["rdse_min_index"], *encoder.buckets().start(), "{name}: lowest bucket");
    assert_eq!(meta["rdse_max_index"], *encoder.buckets().end(), "{name}: highest bucket");
    assert_eq!(meta["rdse_offset"], repr(encoder.offset().expect("encoded")), "{name}: offset");
    let bits = encoder.buckets().flat_map(|bucket| encoder.bucket_bits(bucket)).map(|&bit| u32::from(bit));
    assert_eq!(meta["rdse_map"], Fnv::of(bits).to_string(), "{name}: bucket map");
}

#[test]
fn art_daily_jumpsup_equals_the_recording() {
    check("art_daily_jumpsup");
}

#[test]
fn art_flatline_equals_the_recording() {
    check("art_flatline");
}

#[test]
fn ec2_cpu_utilization_equals_the_recording() {
    check("ec2_cpu_utilization_5f5533");
}

#[test]
fn nyc_taxi_equals_the_recording() {
    check("nyc_taxi");
}

#[test]
fn speed_7578_equals_the_recording() {
    check("speed_7578");
}

#[test]
fn every_recorded_series_is_checked() {
    assert_eq!(SERIES.len(), 5);
}
