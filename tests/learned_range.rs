//! Promise: a metric whose range nobody declared is scored without looking ahead, and outgrowing what was learned costs no
//! row and no score, whatever dies meanwhile.

use htm_core::encoder::Record;
use htm_tests::lone_run::{assert_scored, assert_stored, learned_scores};
use htm_tests::program::{self, Server};
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{lines, send, send_in_parts};
use htm_tests::stored::{metric, scored_count, wait_for_rows, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::model_params::ModelStart;
use htmengine::repository::Repository;

const INTERVAL_S: i64 = 300;
/// Rows that a model waits for.
const LEARNED_ROWS: usize = 288;

/// A daily wave that grows to the 4-fold at row 400 and to the 30-fold at row 500, with one wild value before.
fn growing() -> Vec<Record> {
    (0..600_i32)
        .map(|row| {
            let level = match row {
                350 => 1e6,
                0..400 => 1.0,
                400..500 => 4.0,
                _ => 30.0,
            };
            let wave = f64::from((row * 7) % 48) / 48.0;
            Record { timestamp: 1_700_000_000 + i64::from(row) * INTERVAL_S, value: level * (1.0 + wave) }
        })
        .collect()
}

fn start(repository: &dyn Repository, name: &str) -> ModelStart {
    let metric = metric(repository, name).expect("stored");
    ModelStart::from_json(metric.model_params.as_deref().expect("started")).expect("reads")
}

#[test]
fn a_metric_that_outgrows_its_range_is_scored_by_one_model_after_the_other() {
    let samples = growing();
    let (expected, lives) = learned_scores(&samples, LEARNED_ROWS);
    assert!(lives > 2, "it is outgrown more than once: {lives} models");
    let running = RunningEngine::start(|options| options.monitor = vec!["*".to_owned()]);
    let batchings: [(&str, &[usize]); 3] =
        [("at.once", &[600]), ("across", &[287, 114, 199]), ("tens", &[10; 60])];
    for (name, sizes) in batchings {
        send_in_parts(running.address(), name, &samples, sizes);
    }
    let data_dir = running.data_dir().to_str().expect("plain characters").to_owned();
    for (name, _) in batchings {
        let rows = wait_for_scores(running.repository(), name, samples.len());
        assert_stored(name, &rows, &samples);
        assert_scored(name, &rows, &expected);
        let range = start(running.repository(), name).range.expect("learned");
        let signals = program::succeed(["signals", name, "--json", "--data-dir", &data_dir]);
        let signals: serde_json::Value = serde_json::from_str(&signals).expect("JSON");
        assert_eq!(signals[2], serde_json::json!({"name": "out_of_range", "state": "off"}));
        assert_eq!(signals[3], serde_json::json!({"name": "saturated_encoder", "state": "off"}));
        assert!(range.contains(30.0) && !range.contains(1e6), "the wild value is no part of {range:?}");
    }
    running.stop();
}

#[test]
fn a_range_is_learned_from_as_many_rows_as_asked_for() {
    let samples = &growing()[..340];
    let running = RunningEngine::start(|options| {
        options.monitor = vec!["*".to_owned()];
        options.learning_rows = 60;
    });
    send(running.address(), lines("early", &samples[..59]).as_bytes());
    let rows = wait_for_rows(running.repository(), "early", 59);
    assert!(rows.iter().all(|row| row.raw_anomaly_score.is_none()), "one row is missing");
    send(running.address(), lines("early", &samples[59..]).as_bytes());
    let rows = wait_for_scores(running.repository(), "early", samples.len());
    assert_scored("early", &rows, &learned_scores(samples, 60).0);
    running.stop();
}

#[test]
fn killing_the_program_while_ranges_are_outgrown_changes_no_score() {
    let samples = growing();
    let (expected, _) = learned_scores(&samples, LEARNED_ROWS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sent = 0;
    for until in [290, 380, 404, 406, 450, 503, 505, 600] {
        let server = Server::start(folder.path(), ["--checkpoint-rows", "20"]);
        let repository = server.repository();
        send(server.address(), lines("grows", &samples[sent..until]).as_bytes());
        sent = until;
        wait_for_rows(&repository, "grows", sent);
        if until < samples.len() {
            // At no moment in particular: before, while or after the next life begins.
            wait_until("some more scores", || {
                scored_count(&repository, "grows") + 12 >= i64::from(count(sent))
            });
            server.kill();
        } else {
            let rows = wait_for_scores(&repository, "grows", samples.len());
            assert_stored("killed", &rows, &samples);
            assert_scored("killed", &rows, &expected);
        }
    }
}

fn count(rows: usize) -> i32 {
    i32::try_from(rows).expect("small")
}
