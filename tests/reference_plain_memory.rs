//! Promise: the plain temporal memory equals NuPIC 1.0.5's `TemporalMemory` to the bit: at every stage of every record
//! of five real and artificial series, and under small, hostile configurations with full cells, full segments, resets
//! and segments that are punished until they are gone.
//!
//! Layout of the recordings: see `tests/data/golden/README.md`.

use htm_core::anomaly::nab_likelihood::NabLikelihood;
use htm_core::anomaly::raw_score::raw_anomaly_score;
use htm_core::classifier::Predictions;
use htm_core::detection::Detector;
use htm_core::encoder::{MultiEncoder, Record};
use htm_core::float_text::repr;
use htm_core::model::Scores;
use htm_core::model::plain_memory::PlainMemory;
use htm_core::model::spatial_pooler::SpatialPooler;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::{ModelParams, ValueRange, standard_plain_memory};
use htm_core::sdr::Sdr;
use htm_core::trace::{Fnv, STAGE_HEADING, Stages, stage_row};
use htm_kernels::temporal_memory::TemporalMemoryParams;
use htm_kernels::word::{self, Ones};
use htm_tests::recording::{golden, golden_json, series};
use htm_tests::state_digest;
use serde_json::Value;

/// Encoder, spatial pooler and plain memory, driven as a model drives them.
struct Parts {
    encoder: MultiEncoder,
    sdr: Sdr,
    spatial_pooler: SpatialPooler,
    memory: PlainMemory,
    workspace: Workspace,
    inputs: Vec<u16>,
    columns: Vec<u16>,
    detector: Detector,
}

impl Parts {
    fn new(rows: &[(String, Record)]) -> Self {
        let values = || rows.iter().map(|(_, record)| record.value);
        let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let range = ValueRange::padded(min, max).expect("finite");
        let params = ModelParams::single_metric(range.resolution(None)).expect("valid");
        let template = Templates::new().get(params.spatial_pooler());
        Self {
            encoder: MultiEncoder::new(params.encoder()),
            sdr: Sdr::new(params.encoder().width()),
            spatial_pooler: SpatialPooler::new(*params.spatial_pooler(), template),
            memory: PlainMemory::new(standard_plain_memory()),
            workspace: Workspace::new(),
            inputs: Vec::new(),
            columns: Vec::new(),
            detector: Detector::new(),
        }
    }

    fn step(&mut self, record: Record) -> Scores {
        let bucket = self.encoder.encode(record, &mut self.sdr).expect("a good record");
        self.inputs = self.sdr.active_bits().map(|bit| u16::try_from(bit).expect("few")).collect();
        self.columns = self.spatial_pooler.compute(&mut self.workspace, &self.inputs).to_vec();
        let predicted = self.memory.predicted_columns();
        let open_predictions = u32::try_from(word::ones(predicted).count()).expect("few");
        let raw_anomaly_score = raw_anomaly_score(&self.columns, predicted);
        self.memory.compute(&mut self.workspace, &self.columns);
        let detection = self.detector.detect(record, raw_anomaly_score);
        let best_predictions = Predictions::default();
        Scores {
            bucket,
            raw_anomaly_score,
            open_predictions,
            anomaly_score: 0.0,
            detection,
            best_predictions,
        }
    }

    fn stages(&self) -> Stages {
        let lists = Lists::of(&self.memory);
        let of = |list: &[u32]| Fnv::of(list.iter().copied());
        Stages {
            encoded: Fnv::of(self.inputs.iter().copied().map(u32::from)),
            active_columns: Fnv::of(self.columns.iter().copied().map(u32::from)),
            active_cells: of(&lists.active),
            predicted_cells: of(&lists.predictive),
            predicted_columns: of(&lists.predicted_columns),
            learn_cells: of(&lists.winners),
            learn_predicted_cells: of(&lists.match_counts),
            confidence: Fnv::new(),
        }
    }
}

/// What a memory shows after a step, as the recordings have it.
struct Lists {
    active: Vec<u32>,
    predictive: Vec<u32>,
    predicted_columns: Vec<u32>,
    winners: Vec<u32>,
    /// Active, matching segments.
    match_counts: [u32; 2],
}

impl Lists {
    fn of(memory: &PlainMemory) -> Self {
        let as_u32 = |index: usize| u32::try_from(index).expect("small");
        let cells_per_column = memory.params().cells_per_column;
        let cells = |words: &[u32]| -> Vec<u32> {
            let of_column = |(column, &cells): (usize, &u32)| {
                Ones(cells.into()).map(move |cell| as_u32(column * cells_per_column + cell))
            };
            words.iter().enumerate().flat_map(of_column).collect()
        };
        let external = |cell: u16| as_u32(usize::from(cell) / 32 * cells_per_column) + u32::from(cell) % 32;
        Self {
            active: cells(memory.active_cells()),
            predictive: memory.predictive_cells().map(external).collect(),
            predicted_columns: word::ones(memory.predicted_columns()).map(as_u32).collect(),
            winners: cells(memory.winner_cells()),
            match_counts: [
                memory.matches().iter().map(|entry| u32::from(entry.is_active)).sum(),
                memory.matches().iter().map(|entry| u32::from(entry.is_matching)).sum(),
            ],
        }
    }
}

fn check_series(name: &str) {
    let rows = series(name);
    let text = golden(&format!("{name}__tm_cpp.rec.csv.gz"));
    let mut expected = text.lines();
    assert_eq!(expected.next(), Some(STAGE_HEADING), "{name}");
    let full = golden(&format!("{name}__tm_cpp.full.jsonl.gz"));
    let mut full = full.lines();
    let deep_states = golden(&format!("{name}__tm_cpp.state.jsonl.gz"));
    let mut deep_states =
        deep_states.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).peekable();
    let mut parts = Parts::new(&rows);
    let initial = &golden_json(&format!("{name}__tm_cpp.meta.json"))["initial"];
    assert_eq!(compare_state(name, initial, &mut parts), 8 + 4, "{name}: keys of the initial state");
    let mut likelihood = NabLikelihood::for_file(rows.len());
    for (index, (timestamp, record)) in rows.iter().enumerate() {
        let context = format!("{name}, record {index}");
        let scores = parts.step(*record);
        let probability = likelihood.likelihood(record.value, scores.raw_anomaly_score);
        let found = stage_row(index, timestamp, record.value, &scores, probability, &parts.stages());
        assert_eq!(Some(&*found), expected.next(), "{context}");
        if let Some(line) = full.next() {
            check_full(&context, &serde_json::from_str(line).expect("JSON"), &parts, &scores);
        }
        if let Some(state) = deep_states.next_if(|state| state["after_record"] == index) {
            let has_draws = usize::from(state.get("sp_rng").is_some());
            assert_eq!(compare_state(&context, &state, &mut parts), 7 + has_draws + 4, "{context}: keys");
        }
    }
    assert_eq!(expected.next(), None, "{name}: every recorded row was compared");
    assert_eq!(full.next(), None, "{name}: every complete dump was compared");
    assert_eq!(deep_states.next(), None, "{name}: every deep state was compared");
}

fn compare_state(context: &str, state: &Value, parts: &mut Parts) -> usize {
    let pooler = state_digest::spatial_pooler(&mut parts.spatial_pooler);
    let memory = state_digest::plain_memory(&mut parts.memory);
    state_digest::assert_equal(context, state, &pooler) + state_digest::assert_equal(context, state, &memory)
}

fn check_full(context: &str, full: &Value, parts: &Parts, scores: &Scores) {
    let check = |key: &str, found: &[u32]| {
        let expected: Vec<u32> = serde_json::from_value(full[key].clone()).expect("a list");
        assert_eq!(found, expected, "{context}: {key}");
    };
    let lists = Lists::of(&parts.memory);
    let as_u32 = |list: &[u16]| -> Vec<u32> { list.iter().copied().map(u32::from).collect() };
    check("enc", &as_u32(&parts.inputs));
    check("sp", &as_u32(&parts.columns));
    check("active", &lists.active);
    check("pred", &lists.predictive);
    check("predcols", &lists.predicted_columns);
    check("learn", &lists.winners);
    check("lpred", &lists.match_counts);
    assert_eq!(full["anomaly"], repr(scores.raw_anomaly_score.into()), "{context}: raw anomaly score");
}

fn params_of(header: &Value) -> TemporalMemoryParams {
    let count = |value: &Value| usize::try_from(value.as_u64().expect("a whole number")).expect("small");
    // The reference converts decimal text to f64 and then to f32.
    #[expect(clippy::cast_possible_truncation, reason = "as the reference does")]
    let decimal = |key: &str| header[key].as_f64().expect("a number") as f32;
    TemporalMemoryParams {
        columns: count(&header["columnDimensions"][0]),
        cells_per_column: count(&header["cellsPerColumn"]),
        activation_threshold: count(&header["activationThreshold"]),
        min_threshold: count(&header["minThreshold"]),
        new_synapse_count: count(&header["maxNewSynapseCount"]),
        max_segments_per_cell: count(&header["maxSegmentsPerCell"]),
        max_synapses_per_segment: count(&header["maxSynapsesPerSegment"]),
        initial_permanence: decimal("initialPermanence"),
        connected_permanence: decimal("connectedPermanence"),
        permanence_increment: decimal("permanenceIncrement"),
        permanence_decrement: decimal("permanenceDecrement"),
        predicted_segment_decrement: decimal("predictedSegmentDecrement"),
        seed: header["seed"].as_u64().expect("a whole number"),
    }
}

fn check_fuzz(name: &str, resets: usize) {
    let text = golden(&format!("fuzz_tm_{name}.txt.gz"));
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().expect("a header")).expect("JSON");
    assert_eq!(header["kind"], "tm");
    let mut memory = PlainMemory::new(params_of(&header));
    let mut workspace = Workspace::new();
    let (mut stepped, mut states, mut reset) = (0, 0, 0);
    for line in lines {
        let context = format!("fuzz_tm_{name}, step {stepped}");
        if let Some(state) = line.strip_prefix("S ") {
            let state: Value = serde_json::from_str(state).expect("JSON");
            let digest = state_digest::plain_memory(&mut memory);
            assert_eq!(state_digest::assert_equal(&context, &state, &digest), 4, "{context}: keys");
            states += 1;
            continue;
        }
        let (input, expected) = line.split_once(" ; ").expect("input ; output");
        let (flag, columns) = input.split_once(' ').expect("flag columns");
        if flag == "R" {
            memory.reset();
            reset += 1;
        }
        let columns: Vec<u16> = columns.split(' ').map(|column| column.parse().expect("a column")).collect();
        memory.compute(&mut workspace, &columns);
        let Lists { active, predictive, winners, match_counts, .. } = Lists::of(&memory);
        let hashes = [active, predictive, winners].map(|list| Fnv::of(list).to_string()).join(" ");
        let found = format!("{hashes} {} {}", match_counts[0], match_counts[1]);
        assert_eq!(found, expected, "{context}");
        stepped += 1;
    }
    assert_eq!((stepped, states, reset), (3000, 60, resets), "fuzz_tm_{name}: steps, deep states, resets");
}

#[test]
fn full_cells_and_segments_equal_the_recording() {
    check_fuzz("small", 67);
}

#[test]
fn punished_segments_equal_the_recording() {
    check_fuzz("punish", 0);
}

#[test]
fn evictions_of_the_least_recently_used_equal_the_recording() {
    check_fuzz("lru", 0);
}

#[test]
fn art_daily_jumpsup_equals_the_recording() {
    check_series("art_daily_jumpsup");
}

#[test]
fn art_flatline_equals_the_recording() {
    check_series("art_flatline");
}

#[test]
fn ec2_cpu_utilization_equals_the_recording() {
    check_series("ec2_cpu_utilization_5f5533");
}

#[test]
fn nyc_taxi_equals_the_recording() {
    check_series("nyc_taxi");
}

#[test]
fn speed_7578_equals_the_recording() {
    check_series("speed_7578");
}
