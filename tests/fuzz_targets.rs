//! Promise: bytes from outside never do worse than an error. Each fuzz target over its kept inputs and a bounded number of
//! their mutations; `fuzz/` runs the same bodies without a bound.
//!
//! `HTMENGINE_FUZZ_SECONDS=60` goes on for so long with each target, from the seed `HTMENGINE_FUZZ_SEED`, and tells how many
//! inputs it tried (with `--nocapture`).

use std::env;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use htm_tests::fuzzing::{self, mutated, seeds};
use htm_tests::seeded_random::SeededRandom;

/// Every run of the suite tries the same inputs: what fails here fails everywhere.
const SEED: u64 = 20_261_122;

/// Runs a target over its seeds and so many mutations of them.
#[track_caller]
fn run(target: &str, count: usize, check: fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        run_one(target, seed, check);
    }
    let (mut random, mut tried) = (SeededRandom::new(number("HTMENGINE_FUZZ_SEED").unwrap_or(SEED)), 0);
    let extra = number("HTMENGINE_FUZZ_SECONDS").map(Duration::from_secs);
    let started = Instant::now();
    while tried < count || extra.is_some_and(|extra| started.elapsed() < extra) {
        tried += 1;
        run_one(target, &mutated(&seeds, &mut random), check);
    }
    if extra.is_some() {
        writeln!(std::io::stderr(), "{target}: {tried} mutations, no failure").expect("standard error");
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[track_caller]
fn run_one(target: &str, input: &[u8], check: fn(&[u8])) {
    let checked = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(
        checked.is_ok(),
        "{target} fails (see above); mend it and keep this input in fuzz/seeds/{target}: {}",
        input.escape_ascii()
    );
}

#[test]
fn lines() {
    run("plaintext_line", 20_000, fuzzing::plaintext_line::check);
}

#[test]
fn datagrams() {
    run("datagram", 10_000, fuzzing::datagram::check);
}

#[test]
fn pickles() {
    run("pickle", 20_000, fuzzing::pickle::check);
}

#[test]
fn messages_of_a_broker() {
    run("bus_message", 10_000, fuzzing::bus_message::check);
}

#[test]
fn http_requests() {
    run("http_request", 600, fuzzing::http_request::check);
}

#[test]
fn render_targets() {
    run("render_target", 600, fuzzing::render_target::check);
}

#[test]
fn settings_files() {
    run("settings_file", 1_000, fuzzing::settings_file::check);
}

#[test]
fn folders_of_the_original() {
    run("original_settings", 600, fuzzing::original_settings::check);
}

#[test]
fn model_files() {
    run("model_file", 60, fuzzing::model_file::check);
}

#[test]
fn overlaps_on_every_instruction_set() {
    run("spatial_pooler_overlap", 1_000, fuzzing::spatial_pooler_overlap::check);
}

#[test]
fn lives_of_a_temporal_memory() {
    run("temporal_memory_model", 40, fuzzing::temporal_memory_model::check);
}
