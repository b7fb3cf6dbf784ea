//! Promise: stopping and starting again, in whatever way, gives the same scores as never stopping; and so does a
//! model file that is damaged, foreign, out of step with the rows or gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use htm_core::encoder::Record;
use htm_core::format::checkpoint;
use htm_core::format::header::Header;
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::params::ModelParams;
use htm_tests::lone_run::{assert_equal, assert_scored, assert_stored, padded_range, scores};
use htm_tests::program::{Server, open_repository};
use htm_tests::recording::series;
use htm_tests::running_engine::RunningEngine;
use htm_tests::seeded_random::SeededRandom;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{
    metric, monitor, row_count, rows, scored_count, wait_for_rejects, wait_for_rows, wait_for_scores,
};
use htm_tests::turn_by_turn::TurnByTurn;
use htm_tests::waiting::{MAX_WAIT, wait_until};
use htmengine::backends::DATABASE_FILE;
use htmengine::bus::message::{CommandMethod, ModelOutput};
use htmengine::clock::{Clock, SystemClock};
use htmengine::engine::{EngineOptions, MODELS_FOLDER};
use htmengine::monitoring::{self, MonitorError, SystemRandom, create_metric, in_transaction};
use htmengine::reject::RejectReason;
use htmengine::repository::Repository;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::StoredSample;
use htmengine::scheduler::{Scheduler, SchedulerTurn};

/// Where the format version lies in a file.
const VERSION_AT: usize = 8;
/// So that models are saved in the middle of everything.
const OFTEN: [&str; 2] = ["--checkpoint-rows", "50"];

fn often(options: &mut EngineOptions) {
    options.checkpoint_rows = 50;
}

fn samples(name: &str, count: usize) -> Vec<Record> {
    series(name).into_iter().map(|(_, record)| record).take(count).collect()
}

fn count(number: i64) -> usize {
    usize::try_from(number).expect("not negative")
}

fn model_file(data_dir: &Path, repository: &dyn Repository, name: &str) -> PathBuf {
    let uid = metric(repository, name).expect("stored").uid.to_string();
    data_dir.join(MODELS_FOLDER).join(&uid[..2]).join(format!("{uid}.model"))
}

#[test]
fn an_engine_stopped_in_the_middle_of_a_backlog_goes_on_where_it_was() {
    let samples = samples("speed_7578", usize::MAX);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = RunningEngine::start_in(folder.path(), often);
    monitor(running.repository(), "speed", Some(range));
    send(running.address(), lines("speed", &samples).as_bytes());
    wait_until("some scores", || scored_count(running.repository(), "speed") >= 100);
    running.stop();

    let stopped = open_repository(folder.path());
    let scored = count(scored_count(&stopped, "speed"));
    let rows = rows(&stopped, "speed");
    assert_stored("stopping stores what was received", &rows, &samples);
    assert_scored("before", &rows[..scored], &scores(&samples[..scored], range));
    assert!(rows[scored..].iter().all(|row| row.raw_anomaly_score.is_none()), "no gap in the scores");
    assert!(model_file(folder.path(), &stopped, "speed").exists(), "stopping saves");

    let running = RunningEngine::start_in(folder.path(), often);
    let rows = wait_for_scores(running.repository(), "speed", samples.len());
    assert_equal("after", &rows, &samples, range);
    running.stop();
}

#[test]
fn a_program_terminated_in_the_middle_of_a_backlog_goes_on_where_it_was() {
    let samples = samples("ec2_cpu_utilization_5f5533", 1500);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), OFTEN);
    monitor(&server.repository(), "cpu", Some(range));
    send(server.address(), lines("cpu", &samples[..1200]).as_bytes());
    let repository = server.repository();
    wait_until("some scores", || scored_count(&repository, "cpu") >= 60);
    let log = folder.path().join("serve.log");
    assert!(server.terminate().success(), "SIGTERM is a good end");
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("everything is saved"), "{log}");
    assert_eq!(row_count(&repository, "cpu"), 1200, "what was received is stored");

    let server = Server::start(folder.path(), OFTEN);
    send(server.address(), lines("cpu", &samples[1200..]).as_bytes());
    let rows = wait_for_scores(&repository, "cpu", samples.len());
    assert_equal("after SIGTERM", &rows, &samples, range);
    assert!(!server.log().contains("cannot be used"), "{}", server.log());
}

#[test]
fn a_program_killed_again_and_again_loses_and_doubles_nothing() {
    const SEED: u64 = 7;
    const ROUNDS: usize = 5;
    let metrics: Vec<(&str, Vec<Record>)> = ["speed_7578", "art_daily_jumpsup", "ec2_cpu_utilization_5f5533"]
        .map(|name| (name, samples(name, 400)))
        .to_vec();
    let mut random = SeededRandom::new(SEED);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for round in 0..=ROUNDS {
        let server = Server::start(folder.path(), OFTEN);
        let repository = server.repository();
        if round == 0 {
            for (name, samples) in &metrics {
                monitor(&repository, name, Some(padded_range(samples)));
            }
        }
        // What was sent before comes again: nobody told the sender what was lost.
        for part in 0..4 {
            let text: String =
                metrics.iter().map(|(name, all)| lines(name, &all[part * 100..(part + 1) * 100])).collect();
            send(server.address(), text.as_bytes());
        }
        let total = || metrics.iter().map(|(name, _)| count(scored_count(&repository, name))).sum::<usize>();
        if round == ROUNDS {
            let refused = RejectReason::LateSample;
            wait_for_rejects(&repository, refused, 1);
            finish_killed(&server, &metrics);
            return;
        }
        let kill_at = (total() + 1 + random.below(250)).min(1200);
        wait_until("the moment to kill", || total() >= kill_at);
        server.kill();
    }
}

fn finish_killed(server: &Server, metrics: &[(&str, Vec<Record>)]) {
    for (name, samples) in metrics {
        let rows = wait_for_scores(&server.repository(), name, samples.len());
        assert_equal(&format!("{name} after SIGKILL"), &rows, samples, padded_range(samples));
    }
    assert!(!server.log().contains("cannot be used"), "a kill leaves whole files: {}", server.log());
}

/// What happens to a model file while the engine is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    None,
    Missing,
    Empty,
    CutOff,
    FlippedBit,
    NoModel,
    /// Whole, of another model with the same parameters.
    Foreign,
    WrongVersion,
    /// Whole, of this life of the model, with other parameters.
    WrongParameters,
}

const ALL_DAMAGES: [Damage; 9] = [
    Damage::None,
    Damage::Missing,
    Damage::Empty,
    Damage::CutOff,
    Damage::FlippedBit,
    Damage::NoModel,
    Damage::Foreign,
    Damage::WrongVersion,
    Damage::WrongParameters,
];

impl Damage {
    fn apply(self, file: &Path, foreign: &Path) {
        let mut bytes = fs::read(file).expect("a saved model");
        match self {
            Self::None => return,
            Self::Missing => return fs::remove_file(file).expect("removed"),
            Self::Empty => bytes.clear(),
            Self::CutOff => bytes.truncate(bytes.len() / 2),
            Self::FlippedBit => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Self::NoModel => bytes = SeededRandom::new(11).bytes(bytes.len()),
            Self::Foreign => bytes = fs::read(foreign).expect("a saved model"),
            Self::WrongVersion => bytes[VERSION_AT] ^= 0x40,
            Self::WrongParameters => {
                let header = Header::of(&bytes).expect("a saved model");
                let params = ModelParams::single_metric(123.0).expect("a usable resolution");
                let model = Model::new(Arc::new(params), &Templates::new());
                checkpoint::write(&model, &header.generation, &mut bytes);
            }
        }
        fs::write(file, bytes).expect("written");
    }

    /// What the reason beside the file says; `None` if the file is used, or there is none.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Missing => None,
            Self::Empty | Self::CutOff => Some("bytes long"),
            Self::FlippedBit => Some("damaged"),
            Self::NoModel => Some("it starts with"),
            Self::Foreign => Some("it belongs to model generation"),
            Self::WrongVersion => Some("format version"),
            Self::WrongParameters => Some("its parameters are"),
        }
    }
}

/// Moves with every question, of which a share has one for each row.
struct QuestionClock {
    step: Duration,
    questions: AtomicU32,
}

impl Clock for QuestionClock {
    fn unix_seconds(&self) -> i64 {
        SystemClock::new().unix_seconds()
    }

    fn monotonic(&self) -> Duration {
        self.step * self.questions.fetch_add(1, Ordering::Relaxed)
    }
}

/// Rows of two models, by turns and far fewer than are due to be saved, that are stepped again after a kill.
fn replayed_after_kill(rows: usize, step: Duration) -> u64 {
    const NAMES: [&str; 2] = ["cpu.0", "cpu.1"];
    const MAX_TURNS: usize = 10_000;
    let samples = samples("nyc_taxi", rows + 1);
    let range = padded_range(&samples);
    let turns = TurnByTurn::new(Arc::new(QuestionClock { step, questions: AtomicU32::new(0) }));
    for name in NAMES {
        monitor(turns.repository(), name, Some(range));
    }
    let mut scheduler = turns.scheduler();
    let step_all = |scheduler: &mut Scheduler, rows: usize| {
        let is_done = (0..MAX_TURNS).any(|_| {
            let turn = scheduler.run_once(Duration::ZERO).expect("nothing is away");
            turns.commit_scores();
            let is_scored = |name: &&str| count(scored_count(turns.repository(), name)) == rows;
            turn == SchedulerTurn::Idle && NAMES.iter().all(is_scored)
        });
        assert!(is_done, "{rows} rows of each model are scored within {MAX_TURNS} turns");
    };
    for (row, sample) in samples[..rows].chunks(1).enumerate() {
        for name in NAMES {
            turns.add(name, sample);
        }
        step_all(&mut scheduler, row + 1);
    }
    drop(scheduler);
    for name in NAMES {
        turns.add(name, &samples[rows..]);
    }
    step_all(&mut turns.scheduler(), rows + 1);
    turns.figures().replayed_rows
}

#[test]
fn models_that_take_long_to_step_again_are_saved_before_they_are_due() {
    // Ten seconds for both together and half of the most that each may lack: 100 rows of 100 ms each.
    let slow = replayed_after_kill(280, Duration::from_millis(100));
    assert!((2..=220).contains(&slow), "{slow} rows stepped again");
    let quick = replayed_after_kill(280, Duration::from_millis(1));
    assert_eq!(quick, 560, "saving pays for nothing while stepping again is quick");
}

#[test]
fn a_model_file_that_cannot_be_used_costs_time_and_no_score() {
    let samples = samples("art_daily_jumpsup", 180);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), OFTEN);
    let repository = server.repository();
    let names = ALL_DAMAGES.map(|damage| format!("metric.{damage:?}"));
    for name in &names {
        monitor(&repository, name, Some(range));
        send(server.address(), lines(name, &samples[..120]).as_bytes());
    }
    for name in &names {
        wait_for_scores(&repository, name, 120);
    }
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().success(), "a good end");
    let files = names.each_ref().map(|name| model_file(&data_dir, &repository, name));
    for (damage, file) in ALL_DAMAGES.into_iter().zip(&files) {
        damage.apply(file, &files[0]);
    }

    let server = Server::start(folder.path(), OFTEN);
    for name in &names {
        send(server.address(), lines(name, &samples[120..]).as_bytes());
    }
    for ((name, damage), file) in names.iter().zip(ALL_DAMAGES).zip(&files) {
        let rows = wait_for_scores(&repository, name, samples.len());
        assert_equal(name, &rows, &samples, range);
        let aside = file.with_extension("model.unusable");
        let is_unusable = damage.reason().is_some();
        assert_eq!(aside.exists(), is_unusable, "{name}: {} is kept", aside.display());
        let said = fs::read_to_string(file.with_extension("model.reason.txt")).ok();
        assert_eq!(said.is_some(), is_unusable, "{name}: a text says why");
        let (said, expected) = (said.unwrap_or_default(), damage.reason().unwrap_or_default());
        assert!(said.contains(expected), "{name}: `{expected}` is not in: {said}");
        let is_logged = server.log().contains(aside.to_str().expect("text"));
        assert_eq!(is_logged, is_unusable, "{name}: the log names {}", aside.display());
    }
}

/// Copies the database as a backup does, with the engine stopped.
fn copy_database(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{DATABASE_FILE}{suffix}");
        let _ = fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).expect("copied");
        }
    }
}

/// The backup has 60 rows; the model's file stands at row 120 of a future that did not happen.
fn check_restored_backup(context: &str, prepare: impl Fn(&dyn Repository, &[Record])) {
    let first = samples("art_daily_jumpsup", 60);
    let [old, new] = ["speed_7578", "ec2_cpu_utilization_5f5533"].map(|name| {
        let shift = |(index, record): (i64, Record)| Record {
            timestamp: first[59].timestamp + 300 * index,
            value: record.value,
        };
        (1..).zip(samples(name, 60)).map(shift).collect::<Vec<_>>()
    });
    let range = padded_range(&first);
    let [folder, backup] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let running = RunningEngine::start_in(folder.path(), often);
    monitor(running.repository(), "metric", Some(range));
    send(running.address(), lines("metric", &first).as_bytes());
    wait_for_scores(running.repository(), "metric", 60);
    running.stop();
    copy_database(folder.path(), backup.path());
    let running = RunningEngine::start_in(folder.path(), often);
    send(running.address(), lines("metric", &old).as_bytes());
    wait_for_scores(running.repository(), "metric", 120);
    running.stop();

    copy_database(backup.path(), folder.path());
    prepare(&open_repository(folder.path()), &new);
    let running = RunningEngine::start_in(folder.path(), often);
    send(running.address(), lines("metric", &new).as_bytes());
    wait_for_rows(running.repository(), "metric", 120);
    let rows = wait_for_scores(running.repository(), "metric", 120);
    assert_equal(context, &rows, &[first, new].concat(), range);
}

#[test]
fn a_model_file_ahead_of_a_restored_database_is_not_used() {
    check_restored_backup("restored", |_, _| {});
}

/// The row ids alone do not tell: other rows have them by the time that the model is opened.
#[test]
fn a_model_file_ahead_of_the_scores_is_not_used() {
    check_restored_backup("restored, and as many rows stored again", |repository, new| {
        let uid = metric(repository, "metric").expect("stored").uid;
        let samples: Vec<StoredSample> = new
            .iter()
            .map(|record| StoredSample { timestamp: record.timestamp, value: record.value })
            .collect();
        let mut last = RowId(0);
        let appended = repository.transact(&mut |tx| {
            last = tx.append_rows(&uid, &samples)?;
            Ok(())
        });
        appended.expect("a writable database");
        assert_eq!(last, RowId(120), "as far as the file");
    });
}

/// A model is saved when its rows are scored, so nobody may see rows as scored before they are: a first version asked
/// for the first unscored row and for the last row in two statements, and rows that were stored in between counted.
#[test]
fn rows_that_were_just_stored_are_never_taken_for_scored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = RunningEngine::start_in(folder.path(), |_| {});
    let names: Vec<String> = (0..300).map(|number| format!("metric.{number}")).collect();
    let random = SystemRandom::open().expect("/dev/urandom");
    let repository = running.repository();
    let metrics = in_transaction::<_, htmengine::monitoring::MonitorError>(repository, |tx| {
        names.iter().map(|name| Ok(create_metric(tx, name, &random)?)).collect::<Result<Vec<_>, _>>()
    });
    let metrics = metrics.expect("created");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for name in &names {
                send(running.address(), lines(name, &samples("speed_7578", 2)).as_bytes());
            }
        });
        for metric in &metrics {
            // Without a pause: the moment to catch is short.
            let started = Instant::now();
            while row_count(repository, &metric.name) == 0 {
                assert!(started.elapsed() < MAX_WAIT, "waited too long for {}", metric.name);
                assert_eq!(
                    repository.scored_up_to(&metric.uid),
                    Ok(RowId(0)),
                    "{} has no model",
                    metric.name
                );
            }
        }
    });
}

/// Changes are announced to an engine that runs. One that did not kept the files of deleted metrics for good, and nobody was
/// told that their models were gone.
#[test]
fn models_whose_metrics_went_while_no_engine_ran_are_removed() {
    const NAMES: [&str; 4] = ["kept", "deleted", "unmonitored", "failed"];
    const TURNS: usize = 20;
    let samples = samples("nyc_taxi", 3);
    let turns = TurnByTurn::new(Arc::new(SystemClock::new()));
    let take_turns = |scheduler: &mut Scheduler| {
        for _ in 0..TURNS {
            scheduler.run_once(Duration::ZERO).expect("nothing is away");
        }
    };
    for name in NAMES {
        monitor(turns.repository(), name, Some(padded_range(&samples)));
        turns.add(name, &samples);
    }
    let mut scheduler = turns.scheduler();
    take_turns(&mut scheduler);
    turns.commit_scores();
    turns.desk().ask();
    take_turns(&mut scheduler);
    drop(scheduler);
    let files = NAMES.map(|name| turns.model_file(name));
    assert!(files.iter().all(|file| file.exists()), "all are saved");
    let uids = NAMES.map(|name| metric(turns.repository(), name).expect("stored").uid);
    in_transaction(turns.repository(), |tx| {
        monitoring::delete(tx, &uids[1])?;
        monitoring::unmonitor(tx, &uids[2])?;
        tx.set_status(&uids[3], &[MetricStatus::Active], MetricStatus::Error, Some("a row was refused"))?;
        Ok::<_, MonitorError>(())
    })
    .expect("changed");
    take_turns(&mut turns.scheduler());
    assert_eq!(files.map(|file| file.exists()), [true, false, false, true]);
    let removed = turns.take_outputs().into_iter().filter_map(|output| match output {
        ModelOutput::Command(result) => Some((result.model_id, result.method)),
        ModelOutput::Scores(_) => None,
    });
    let mut removed: Vec<_> = removed.collect();
    removed.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected = [1, 2].map(|gone: usize| (uids[gone].clone(), CommandMethod::DeleteModel));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(removed, expected);
}
