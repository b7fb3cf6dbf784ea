//! Promise: killing the engine at any moment, again and again, while memory is so short that models leave it and come
//! again all the time, changes no score.
//!
//! Small by default. `HTMENGINE_KILLS=200 HTMENGINE_KILL_MODELS=200 cargo test --release --test kill_recovery` is the
//! full size; `HTMENGINE_KILL_SEED` draws other moments.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use htm_core::format::header::Header;
use htm_tests::load::Load;
use htm_tests::lone_run::{assert_scored, assert_stored};
use htm_tests::program::{Server, succeed};
use htm_tests::seeded_random::SeededRandom;
use htm_tests::sender::connect;
use htm_tests::stored::{metric, wait_for_scores};
use htmengine::engine::MODELS_FOLDER;
use htmengine::repository::Repository;
use serde_json::Value;

/// Rows of each metric.
const ROWS: usize = 160;
/// Longest life of an engine, shorter than it takes to work off what it is sent.
const MAX_LIFE_MS: usize = 400;
/// Room for a handful of models, and checkpoints in between.
const SHORT_OF_MEMORY: [&str; 4] = ["--memory-budget-mib", "6", "--checkpoint-rows", "40"];

fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`")))
}

/// Sends as much as the engine takes before it is killed.
fn send_until_killed(server: &Server, text: String) -> thread::JoinHandle<()> {
    let mut stream = connect(server.address());
    thread::spawn(move || {
        let _ = stream.write_all(text.as_bytes());
    })
}

#[test]
fn engines_killed_while_models_come_and_go_change_no_score() {
    let (kills, models) = (setting("HTMENGINE_KILLS", 8), setting("HTMENGINE_KILL_MODELS", 20));
    let seed = setting("HTMENGINE_KILL_SEED", 1);
    let mut random = SeededRandom::new(seed as u64);
    let load = Load::long(models, ROWS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut replayed = 0;
    for kill in 0..kills {
        let server = Server::start(folder.path(), SHORT_OF_MEMORY);
        let repository = server.repository();
        if kill == 0 {
            load.monitor(&repository);
        }
        let sending = send_until_killed(&server, load.missing(&repository, (kill + 1) * ROWS / (kills + 1)));
        thread::sleep(Duration::from_millis(random.below(MAX_LIFE_MS) as u64));
        let data_dir = server.data_dir().to_owned();
        server.kill();
        sending.join().expect("sent what could be");
        replayed += rows_beyond_files(&repository, &data_dir, load.names());
    }
    let server = Server::start(folder.path(), SHORT_OF_MEMORY);
    let repository = server.repository();
    send_until_killed(&server, load.missing(&repository, ROWS)).join().expect("sent");
    for (index, name) in load.names().iter().enumerate() {
        let rows = wait_for_scores(&repository, name, ROWS);
        let (samples, scores) = load.of(index);
        let context = format!("seed {seed}, {kills} kills, {name}");
        assert_stored(&context, &rows, samples);
        assert_scored(&context, &rows, scores);
    }
    assert!(!server.log().contains("cannot be used"), "a kill leaves whole files: {}", server.log());
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().success(), "a good end");
    let status: Value =
        serde_json::from_str(&succeed(["status", "--json", "--data-dir", data_dir.to_str().expect("text")]))
            .expect("JSON");
    let [swaps, last] = ["swaps_in", "replayed_rows"].map(|key| status[key].as_u64().expect("a count"));
    assert!(swaps > models as u64, "models came and went: {status}");
    let report = format!(
        "seed {seed}: {kills} kills, {models} models of {ROWS} rows; {replayed} rows to step again after the kills; in \
         the last life {swaps} models swapped in, {last} rows stepped again"
    );
    writeln!(io::stderr(), "{report}").expect("standard error");
}

/// Rows whose scores are stored and that the model's file has not seen: what the next life steps again.
fn rows_beyond_files(repository: &dyn Repository, data_dir: &Path, names: &[String]) -> i64 {
    let beyond = |name: &String| {
        let uid = metric(repository, name).expect("stored").uid;
        let file = data_dir.join(MODELS_FOLDER).join(&uid.as_str()[..2]).join(format!("{uid}.model"));
        let position = fs::read(file)
            .map_or(0, |bytes| Header::of(&bytes).expect("a kill leaves whole files").last_stepped_row_id.0);
        let scored = repository.scored_up_to(&uid).expect("a readable database").0;
        assert!(position <= scored, "{name}: its file stands at {position}, scores at {scored}");
        scored - position
    };
    names.iter().map(beyond).sum()
}
