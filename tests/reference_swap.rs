//! Promise: scores do not depend on the instruction set, nor on how often a model is swapped out to its file and in
//! again, nor on whether the file is mapped or read.
//!
//! Each recording of `reference_trace.rs` is stepped on every instruction set of this machine, and all of the memory
//! is thrown away between records: what goes on is what the file holds. The short recordings are swapped after every
//! record, the long ones now and then, with the backtracking memory and with the plain one; all of them after every record with
//! `cargo test --release -p htm-tests --test reference_swap -- --ignored` (some minutes).

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use htm_core::anomaly::nab_likelihood::NabLikelihood;
use htm_core::detection::Detector;
use htm_core::format::checkpoint::{self, Trust};
use htm_core::format::mapping::{BufferPool, Region};
use htm_core::ids::RowId;
use htm_core::isa::Isa;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::ValueRange;
use htm_core::trace::{STAGE_HEADING, Stages, stage_row};
use htm_tests::recording::{SERIES, golden, params_with, series};

const GENERATION: &str = "a swapped model";

/// A model that lives in a file between records.
struct Swapped<'a> {
    path: &'a Path,
    pool: Arc<BufferPool>,
    templates: Templates,
    image: Vec<u8>,
}

impl Swapped<'_> {
    /// Out to the file and in again, mapped or read.
    fn swap(&mut self, model: Model, is_mapped: bool) -> Model {
        let params = Arc::clone(model.params());
        checkpoint::write(&model, GENERATION, &mut self.image);
        drop(model);
        std::fs::write(self.path, &self.image).expect("written");
        let file = File::open(self.path).expect("just written");
        let region = if is_mapped { Region::map(&file) } else { Region::read(&file, &self.pool) };
        let region = region.expect("a readable file");
        checkpoint::open(region, &params, GENERATION, &self.templates, Trust::Known).expect("our own file")
    }
}

fn check(name: &str, memory: &str, isa: Isa, swap_every: usize) {
    let rows = series(name);
    let text = golden(&format!("{name}__{memory}.rec.csv.gz"));
    let mut expected = text.lines();
    assert_eq!(expected.next(), Some(STAGE_HEADING), "{name}");
    let (min, max) = rows.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), (_, record)| {
        (min.min(record.value), max.max(record.value))
    });
    let range = ValueRange::padded(min, max).expect("finite");
    let params = Arc::new(params_with(memory, range.resolution(None)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("swapped.model");
    let templates = Templates::new();
    let mut model = Model::new(params, &templates);
    let mut swapped = Swapped { path: &path, pool: BufferPool::new(), templates, image: Vec::new() };
    let mut likelihood = NabLikelihood::for_file(rows.len());
    // Never swapped; equal to its own recordings in `reference_detection.rs`.
    let mut detector = Detector::new();
    let mut workspace = Workspace::new().with_confidence().with_isa(isa);
    for (index, (timestamp, record)) in rows.iter().enumerate() {
        let row_id = RowId(i64::try_from(index + 1).expect("small"));
        let scores = model.step(&mut workspace, row_id, *record).expect("a good record");
        let stages = Stages::of(&model, &workspace);
        let probability = likelihood.likelihood(record.value, scores.raw_anomaly_score);
        let found = stage_row(index, timestamp, record.value, &scores, probability, &stages);
        assert_eq!(Some(&*found), expected.next(), "{name} on {isa}, record {index}");
        let detection = detector.detect(*record, scores.raw_anomaly_score);
        assert_eq!(scores.detection, detection, "{name} on {isa}, record {index}");
        if index.is_multiple_of(swap_every) {
            model = swapped.swap(model, index.is_multiple_of(2 * swap_every));
        }
    }
}

fn check_on_every_isa(name: &str, swap_every: usize) {
    for isa in Isa::available() {
        check(name, "cpp", isa, swap_every);
    }
}

/// The plain memory has the same code for every instruction set.
fn check_plain(name: &str, swap_every: usize) {
    check(name, "tm_cpp", Isa::chosen(), swap_every);
}

#[test]
fn plain_speed_7578_swapped_after_every_record_equals_the_recording() {
    check_plain("speed_7578", 1);
}

#[test]
fn plain_art_flatline_swapped_now_and_then_equals_the_recording() {
    check_plain("art_flatline", 5);
}

#[test]
fn plain_art_daily_jumpsup_swapped_now_and_then_equals_the_recording() {
    check_plain("art_daily_jumpsup", 41);
}

#[test]
fn plain_ec2_cpu_utilization_swapped_now_and_then_equals_the_recording() {
    check_plain("ec2_cpu_utilization_5f5533", 37);
}

#[test]
fn plain_nyc_taxi_swapped_now_and_then_equals_the_recording() {
    check_plain("nyc_taxi", 111);
}

#[test]
fn speed_7578_swapped_after_every_record_equals_the_recording() {
    check_on_every_isa("speed_7578", 1);
}

#[test]
fn art_flatline_swapped_now_and_then_equals_the_recording() {
    check_on_every_isa("art_flatline", 5);
}

#[test]
fn art_daily_jumpsup_swapped_now_and_then_equals_the_recording() {
    check_on_every_isa("art_daily_jumpsup", 41);
}

#[test]
fn ec2_cpu_utilization_swapped_now_and_then_equals_the_recording() {
    check_on_every_isa("ec2_cpu_utilization_5f5533", 37);
}

#[test]
fn nyc_taxi_swapped_now_and_then_equals_the_recording() {
    check_on_every_isa("nyc_taxi", 111);
}

#[test]
#[ignore = "takes minutes"]
fn every_recording_swapped_after_every_record_equals_the_recording() {
    for name in SERIES {
        check_on_every_isa(name, 1);
        check_plain(name, 1);
    }
}
