//! Promise: models never take more memory than they are given, whatever is asked of them, and a single fresh sample does
//! not wait for the backlogs of others.

use htm_core::encoder::Record;
use htm_tests::lone_run::{assert_equal, padded_range};
use htm_tests::recording::series;
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{monitor, scored_count, wait_for_rows, wait_for_scores};
use htmengine::engine::EngineOptions;

fn samples(name: &str, count: usize) -> Vec<Record> {
    series(name).into_iter().map(|(_, record)| record).take(count).collect()
}

/// Long backlogs and single rows in turn, of models that grow while they are stepped.
fn check_limited(context: &str, limit: impl FnOnce(&mut EngineOptions)) -> RunningEngine {
    let samples = samples("ec2_cpu_utilization_5f5533", 260);
    let range = padded_range(&samples);
    let running = RunningEngine::start(|options| {
        options.checkpoint_rows = 100;
        limit(options);
    });
    let names: Vec<String> = (0..12).map(|number| format!("cpu.{number}")).collect();
    for name in &names {
        monitor(running.repository(), name, Some(range));
    }
    for part in [0..200, 200..201, 201..240, 240..241, 241..260] {
        for name in &names {
            send(running.address(), lines(name, &samples[part.clone()]).as_bytes());
        }
        for name in &names {
            wait_for_scores(running.repository(), name, part.end);
        }
    }
    for name in &names {
        let rows = wait_for_scores(running.repository(), name, samples.len());
        assert_equal(&format!("{context}, {name}"), &rows, &samples, range);
    }
    running
}

#[test]
fn the_memory_budget_is_kept() {
    let running = check_limited("budget", |options| options.memory_budget_bytes = 24 << 20);
    let figures = running.engine().figures();
    assert!(figures.peak_reserved_bytes <= figures.memory_budget_bytes, "{figures:?}");
    assert!(figures.resident_models > 1, "the budget is made use of: {figures:?}");
    assert!(figures.swaps_in > 24 && figures.replayed_rows > 0, "models came and went: {figures:?}");
    running.stop();
}

#[test]
fn models_larger_than_the_memory_budget_are_stepped_one_at_a_time() {
    let running = check_limited("lone", |options| options.memory_budget_bytes = 1);
    let figures = running.engine().figures();
    assert_eq!(figures.resident_models, 1, "{figures:?}");
    assert!(figures.peak_reserved_bytes < 8 << 20, "never two of them: {figures:?}");
    running.stop();
}

#[test]
fn the_number_of_models_in_memory_is_kept() {
    let running = check_limited("number", |options| options.max_resident_models = Some(3));
    let figures = running.engine().figures();
    assert!(figures.resident_models <= 3 && figures.swaps_in > 24, "{figures:?}");
    running.stop();
}

#[test]
fn a_fresh_sample_does_not_wait_for_the_backlogs_of_others() {
    let long = samples("nyc_taxi", 3000);
    let range = padded_range(&long);
    let running = RunningEngine::start(|_| {});
    let names: Vec<String> = (0..6).map(|number| format!("backlog.{number}")).collect();
    for name in &names {
        send(running.address(), lines(name, &long).as_bytes());
    }
    for name in &names {
        wait_for_rows(running.repository(), name, long.len());
        monitor(running.repository(), name, Some(range));
    }
    monitor(running.repository(), "fresh", Some(range));
    let scored = || names.iter().map(|name| scored_count(running.repository(), name)).sum::<i64>();
    htm_tests::waiting::wait_until("backlogs are worked off", || scored() > 0);
    for row in 0..3 {
        send(running.address(), lines("fresh", &long[row..=row]).as_bytes());
        wait_for_scores(running.repository(), "fresh", row + 1);
    }
    let unfinished = names.iter().filter(|name| scored_count(running.repository(), name) < 3000).count();
    assert_eq!(unfinished, names.len(), "every backlog was still being worked off");
    for name in &names {
        assert_equal(name, &wait_for_scores(running.repository(), name, long.len()), &long, range);
    }
    running.stop();
}
