//! Promise: many metrics from many clients at once do not disturb one another: every sample is stored, and each
//! metric's scores equal those of a model that had the machine to itself. Also when memory is so short that models
//! leave it and come again all the time.

use std::net::SocketAddr;
use std::thread;

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::lone_run::{LoneScores, assert_scored, assert_stored, scores};
use htm_tests::running_engine::RunningEngine;
use htm_tests::seeded_random::SeededRandom;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{monitor_all, wait_for_scores};

const SAMPLES: usize = 20;
const CONNECTIONS: usize = 10;
/// Metrics share their values with others, so that a few lone runs tell the scores of all.
const SERIES: usize = 40;

fn range() -> ValueRange {
    ValueRange::new(0.0, 100.0).expect("a range")
}

/// Series with different periods and a jump each.
fn all_series() -> Vec<(Vec<Record>, Vec<LoneScores>)> {
    (0..SERIES)
        .map(|series| {
            let samples: Vec<Record> = (0..SAMPLES)
                .map(|index| {
                    let jump = if index == 7 + series % 11 { 37 } else { 0 };
                    let step = u32::try_from((index % (2 + series % 7)) * (3 + series) % 60 + jump);
                    let minutes = i64::try_from(index * 5 * (1 + series % 3)).expect("small");
                    Record { timestamp: 1_440_000_000 + minutes * 60, value: step.expect("small").into() }
                })
                .collect();
            let scores = scores(&samples, range());
            (samples, scores)
        })
        .collect()
}

fn name_of(metric: usize) -> String {
    format!("host{}.cpu{metric}", metric % 17)
}

/// Sends the samples `part` of all metrics over [`CONNECTIONS`] connections, each metric's in order on one of them,
/// otherwise in random order.
fn send_part(
    address: SocketAddr,
    metric_count: usize,
    series: &[(Vec<Record>, Vec<LoneScores>)],
    part: std::ops::Range<usize>,
    seed: u64,
) {
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let part = part.clone();
            scope.spawn(move || {
                let mut random = SeededRandom::new(seed + connection as u64);
                let metrics: Vec<usize> = (connection..metric_count).step_by(CONNECTIONS).collect();
                let mut turns: Vec<usize> =
                    metrics.iter().flat_map(|&metric| std::iter::repeat_n(metric, part.len())).collect();
                random.shuffle(&mut turns);
                let mut next_of = vec![part.start; metric_count];
                let mut text = String::new();
                for metric in turns {
                    let next = &mut next_of[metric];
                    text.push_str(&lines(&name_of(metric), &series[metric % SERIES].0[*next..=*next]));
                    *next += 1;
                }
                send(address, text.as_bytes());
            });
        }
    });
}

fn check(running: &RunningEngine, metric_count: usize, parts: &[std::ops::Range<usize>], seed: u64) {
    let series = all_series();
    let names: Vec<String> = (0..metric_count).map(name_of).collect();
    let all_names: Vec<&str> = names.iter().map(String::as_str).collect();
    monitor_all(running.repository(), &all_names, Some(range()));
    for part in parts {
        send_part(running.address(), metric_count, &series, part.clone(), seed);
        for name in &names {
            wait_for_scores(running.repository(), name, part.end);
        }
    }
    for (metric, name) in names.iter().enumerate() {
        let rows = wait_for_scores(running.repository(), name, SAMPLES);
        let (samples, scores) = &series[metric % SERIES];
        let context = format!("seed {seed}, {name}");
        assert_stored(&context, &rows, samples);
        assert_scored(&context, &rows, scores);
    }
}

#[test]
fn a_thousand_metrics_over_ten_connections_score_as_if_alone() {
    let running = RunningEngine::start(|_| {});
    check(&running, 1000, std::slice::from_ref(&(0..SAMPLES)), 1);
    running.stop();
}

#[test]
fn models_that_do_not_fit_into_memory_score_as_if_alone() {
    let metric_count = 150;
    let running = RunningEngine::start(|options| options.memory_budget_bytes = 8 << 20);
    check(&running, metric_count, &[0..5, 5..6, 6..13, 13..SAMPLES], 2);
    let figures = running.engine().figures();
    assert!(figures.swaps_in > 3 * metric_count as u64, "models left and came again: {figures:?}");
    assert!(figures.replayed_rows > 0, "some were dropped unsaved: {figures:?}");
    assert!(figures.peak_reserved_bytes <= figures.memory_budget_bytes, "the budget is kept: {figures:?}");
    running.stop();
}
