//! Promise: a model that cannot be saved or opened costs only itself: all others are saved, whoever asks for a checkpoint is
//! told of exactly those that were not, and it is tried again by itself.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::hand_clock::HandClock;
use htm_tests::refusing_files::RefusingFiles;
use htm_tests::stored::{metric, scored_count, status};
use htm_tests::turn_by_turn::TurnByTurn;
use htmengine::model_params::ModelSpec;
use htmengine::monitoring::{self, RandomBytes};
use htmengine::repository::metric::MetricStatus;
use htmengine::scheduler::checkpoint_desk::CheckpointAnswer;
use htmengine::scheduler::{Scheduler, SchedulerTurn};

const RANGE: ValueRange = ValueRange { min: 0.0, max: 130.0 };
/// Turns after which something that has not happened never will.
const MAX_TURNS: usize = 400;
/// The time between two turns.
const BEAT: Duration = Duration::from_millis(250);

/// Ids that begin with this byte, which is the name of their models' folder.
struct IdsOfFolder {
    folder: u8,
    drawn: AtomicU8,
}

impl RandomBytes for IdsOfFolder {
    fn random_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0] = self.folder;
        bytes[1] = self.drawn.fetch_add(1, Ordering::Relaxed);
        bytes
    }
}

/// An engine's disk and clock in the test's hand.
struct Stage {
    turns: TurnByTurn,
    files: Arc<RefusingFiles>,
    clock: Arc<HandClock>,
}

impl Stage {
    fn new() -> Self {
        let (files, clock) = (Arc::new(RefusingFiles::default()), Arc::new(HandClock::default()));
        let turns = TurnByTurn::new(Arc::clone(&clock) as _).with_files(Arc::clone(&files) as _);
        Self { turns, files, clock }
    }

    /// Monitors so many metrics whose models lie in one folder, with a row each; returns their names.
    fn add_models(&self, folder: u8, count: usize) -> Vec<String> {
        let random = IdsOfFolder { folder, drawn: AtomicU8::new(0) };
        let names: Vec<String> = (0..count).map(|number| format!("{folder:02x}.{number}")).collect();
        monitoring::in_transaction::<_, monitoring::MonitorError>(self.turns.repository(), |tx| {
            for name in &names {
                let metric = monitoring::create_metric(tx, name, &random)?;
                let spec = ModelSpec { range: Some(RANGE), ..ModelSpec::for_metric(name) };
                monitoring::monitor(tx, &metric, &spec, &random)?;
            }
            Ok(())
        })
        .expect("monitored");
        self.add_row(&names, 1);
        names
    }

    fn add_row(&self, names: &[String], row: i64) {
        for name in names {
            self.turns.add(name, &[Record { timestamp: row * 300, value: 50.0 }]);
        }
    }

    fn turn(&self, scheduler: &mut Scheduler) {
        let turn = scheduler.run_once(Duration::ZERO).expect("nothing is away");
        assert_ne!(turn, SchedulerTurn::Postponed, "nobody waits for one model's trouble");
        self.turns.commit_scores();
        self.clock.pass(BEAT);
    }

    /// Takes turns until `is_done`.
    #[track_caller]
    fn turn_until(&self, scheduler: &mut Scheduler, what: &str, mut is_done: impl FnMut() -> bool) {
        let is_done = (0..MAX_TURNS).any(|_| {
            self.turn(scheduler);
            is_done()
        });
        assert!(is_done, "{what} within {MAX_TURNS} turns");
    }

    fn is_saved(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.turns.model_file(name).exists())
    }

    #[track_caller]
    fn checkpoint(&self, scheduler: &mut Scheduler) -> CheckpointAnswer {
        let ticket = self.turns.desk().ask();
        let mut answer = None;
        self.turn_until(scheduler, "an answer", || {
            answer = self.turns.desk().take_answer(ticket);
            answer.is_some()
        });
        answer.expect("it was waited for")
    }

    /// Takes turns until all that is hungry has been stepped.
    fn step_all(&self, scheduler: &mut Scheduler) {
        self.turn_until(scheduler, "all rows are stepped", || {
            let figures = self.turns.figures();
            figures.fresh_models + figures.backlog_models == 0
        });
    }
}

fn is_in(path: &Path, folder: &str) -> bool {
    path.components().any(|part| part.as_os_str() == folder)
}

/// Models that could not be saved were tried again by their ids, the smallest first, in the place of all others, and after a
/// checkpoint of nothing but them nobody was saved for a while, as if the disk were full.
#[test]
fn a_folder_that_cannot_be_written_to_keeps_no_other_model_from_being_saved() {
    let stage = Stage::new();
    let (bad, good) = (stage.add_models(0x00, 40), stage.add_models(0xff, 3));
    let mut scheduler = stage.turns.scheduler();
    stage.step_all(&mut scheduler);
    stage.files.refuse_writing(|path| is_in(path, "00").then_some(io::ErrorKind::PermissionDenied));
    let answer = stage.checkpoint(&mut scheduler);
    assert_eq!((answer.saved, answer.failed), (3, 40), "{answer:?}");
    assert!(answer.reason.is_some_and(|reason| reason.contains("let the engine's user write there")));
    assert!(stage.is_saved(&good));
    let trouble = stage.turns.figures().checkpoint_trouble;
    assert!(trouble.is_some(), "what others save does not hide it");
    stage.files.refuse_nothing();
    stage.turn_until(&mut scheduler, "all are saved", || stage.is_saved(&bad));
    assert_eq!(stage.turns.figures().checkpoint_trouble, None);
}

/// One that could not be saved was spoken of for ever once it had left memory, and was not spoken of when another was saved that had
/// failed after it.
#[test]
fn trouble_is_shown_while_a_model_in_memory_cannot_be_saved_and_no_longer() {
    let mut stage = Stage::new();
    let first = stage.add_models(0x00, 1);
    stage.turns.options.max_resident_models = 2;
    let mut scheduler = stage.turns.scheduler();
    stage.step_all(&mut scheduler);
    stage.files.refuse_writing(|_| Some(io::ErrorKind::PermissionDenied));
    for _ in 0..3 {
        assert_eq!(stage.checkpoint(&mut scheduler).failed, 1);
    }
    // It fails last, and is tried again first.
    let second = stage.add_models(0x01, 1);
    stage.step_all(&mut scheduler);
    assert_eq!(stage.checkpoint(&mut scheduler).failed, 2);
    let refusing = |folder: &'static str| {
        stage
            .files
            .refuse_writing(move |path| is_in(path, folder).then_some(io::ErrorKind::PermissionDenied));
    };
    let trouble = || stage.turns.figures().checkpoint_trouble;
    refusing("00");
    stage.turn_until(&mut scheduler, "the other is saved", || stage.is_saved(&second));
    assert!(trouble().is_some_and(|reason| reason.contains("/00/")), "{:?}", trouble());
    refusing("01");
    stage.turn_until(&mut scheduler, "the first is saved", || stage.is_saved(&first));
    assert_eq!(trouble(), None);
    stage.add_row(&second, 2);
    stage.step_all(&mut scheduler);
    assert_eq!(stage.checkpoint(&mut scheduler).failed, 1);
    assert!(trouble().is_some());
    // Enough for it to leave, and it hears of no row any more.
    let others = stage.add_models(0xff, 4);
    stage.step_all(&mut scheduler);
    let is_scored = || others.iter().all(|name| scored_count(stage.turns.repository(), name) == 1);
    stage.turn_until(&mut scheduler, "the others are scored", is_scored);
    stage.turn_until(&mut scheduler, "it has left", || trouble().is_none());
}

#[test]
fn models_that_are_too_large_for_a_full_disk_keep_no_small_one_from_being_saved() {
    let stage = Stage::new();
    let (large, small) = (stage.add_models(0x00, 3), stage.add_models(0xff, 3));
    let mut scheduler = stage.turns.scheduler();
    stage.step_all(&mut scheduler);
    stage.files.refuse_writing(|_| Some(io::ErrorKind::StorageFull));
    let answer = stage.checkpoint(&mut scheduler);
    assert_eq!((answer.saved, answer.failed), (0, 6), "{answer:?}");
    stage.files.refuse_writing(|path| is_in(path, "00").then_some(io::ErrorKind::StorageFull));
    stage.turn_until(&mut scheduler, "the small ones are saved", || stage.is_saved(&small));
    assert!(!stage.is_saved(&large));
}

/// A request for a checkpoint was never answered while a model that it wanted could not be opened, nor any that came after
/// it; and each turn without other work paused everything.
#[test]
fn a_model_whose_file_cannot_be_read_keeps_no_checkpoint_waiting() {
    let stage = Stage::new();
    let (bad, good) = (stage.add_models(0x00, 1), stage.add_models(0xff, 2));
    let mut scheduler = stage.turns.scheduler();
    stage.step_all(&mut scheduler);
    assert_eq!(stage.checkpoint(&mut scheduler).saved, 3);
    stage.files.refuse_reading(|path| is_in(path, "00").then_some(io::ErrorKind::PermissionDenied));
    stage.add_row(&bad, 2);
    stage.add_row(&good, 2);
    let mut scheduler = stage.turns.scheduler();
    let scored = |name: &String| scored_count(stage.turns.repository(), name);
    stage.turn_until(&mut scheduler, "the others are scored", || good.iter().all(|name| scored(name) == 2));
    let answer = stage.checkpoint(&mut scheduler);
    assert_eq!((answer.saved, answer.failed), (2, 1), "{answer:?}");
    assert!(answer.reason.is_some_and(|reason| reason.contains("cannot be read")));
    assert_eq!(stage.checkpoint(&mut scheduler).failed, 1, "it is tried whenever that is asked for");
    stage.files.refuse_nothing();
    stage.turn_until(&mut scheduler, "it goes on", || scored(&bad[0]) == 2);
}

/// It was opened once more, failed at the same row, and its metric went into error, although its rows were all there.
#[test]
fn a_rotten_file_that_can_be_neither_renamed_nor_removed_is_not_opened_again() {
    let stage = Stage::new();
    let bad = stage.add_models(0x00, 1);
    let mut scheduler = stage.turns.scheduler();
    stage.step_all(&mut scheduler);
    assert_eq!(stage.checkpoint(&mut scheduler).saved, 1);
    stage.files.refuse_writing(|path| is_in(path, "00").then_some(io::ErrorKind::PermissionDenied));
    stage.files.refuse_reading(|path| {
        assert!(!is_in(path, "00") || !path.exists(), "rotten");
        None
    });
    stage.add_row(&bad, 2);
    let mut scheduler = stage.turns.scheduler();
    let scored = || scored_count(stage.turns.repository(), &bad[0]);
    stage.turn_until(&mut scheduler, "it is rebuilt from its rows", || scored() == 2);
    assert_eq!(status(stage.turns.repository(), &bad[0]), Some(MetricStatus::Active));
    stage.files.refuse_nothing();
    assert_eq!(stage.checkpoint(&mut scheduler).saved, 1);
    stage.add_row(&bad, 3);
    stage.files.take_opened();
    stage.turn_until(&mut stage.turns.scheduler(), "it goes on from its file", || scored() == 3);
    assert_eq!(stage.files.take_opened(), [stage.turns.model_file(&bad[0])]);
}

/// Once scores had passed the row at which the file stands, it was taken for the model's own whenever that left memory: a model of
/// rows that a restored database no longer has.
#[test]
fn a_file_of_rows_that_are_gone_is_not_believed_when_others_have_taken_their_place() {
    let before = Stage::new();
    let names = before.add_models(0x00, 1);
    for row in 2..=4 {
        before.add_row(&names, row);
    }
    let mut scheduler = before.turns.scheduler();
    before.step_all(&mut scheduler);
    assert_eq!(before.checkpoint(&mut scheduler).saved, 1);
    // The same ids, as in a backup of the database from before the other rows.
    let mut stage = Stage::new();
    assert_eq!(stage.add_models(0x00, 1), names);
    let file = stage.turns.model_file(&names[0]);
    std::fs::create_dir_all(file.parent().expect("in a folder")).expect("made");
    std::fs::copy(before.turns.model_file(&names[0]), &file).expect("copied");
    stage.files.refuse_writing(|path| is_in(path, "00").then_some(io::ErrorKind::PermissionDenied));
    // Each leaves memory for the other.
    stage.turns.options.max_resident_models = 1;
    let other = stage.add_models(0xff, 1);
    let mut scheduler = stage.turns.scheduler();
    let scored = |name: &String| scored_count(stage.turns.repository(), name);
    for row in 2..=8 {
        stage.turns.add(&names[0], &[Record { timestamp: row * 300, value: 90.0 }]);
        stage.add_row(&other, row);
        let is_done = || scored(&names[0]) == row && scored(&other[0]) == row;
        stage.turn_until(&mut scheduler, "both are scored", is_done);
    }
    let opened = stage.files.take_opened().into_iter().filter(|opened| *opened == file).count();
    assert_eq!(opened, 1, "to see that it is none of these rows");
    assert_eq!(stage.turns.figures().quarantined, 1);
}

/// They were looked for once, at the start, whatever came of it.
#[test]
fn files_of_models_without_a_metric_are_looked_for_until_their_folder_can_be_read() {
    let stage = Stage::new();
    let (gone, kept) = (stage.add_models(0x00, 1), stage.add_models(0xff, 1));
    let mut scheduler = stage.turns.scheduler();
    stage.step_all(&mut scheduler);
    assert_eq!(stage.checkpoint(&mut scheduler).saved, 2);
    drop(scheduler);
    let uid = metric(stage.turns.repository(), &gone[0]).expect("stored").uid;
    monitoring::in_transaction(stage.turns.repository(), |tx| monitoring::unmonitor(tx, &uid))
        .expect("unmonitored");
    stage.files.refuse_reading(|path| path.ends_with("models").then_some(io::ErrorKind::PermissionDenied));
    let mut scheduler = stage.turns.scheduler();
    stage.turn(&mut scheduler);
    stage.files.refuse_nothing();
    stage.turn_until(&mut scheduler, "its file is removed", || !stage.is_saved(&gone));
    assert!(stage.is_saved(&kept));
}

/// What lies unchecked in a model's memory shows when it is written; the panic went through the scheduler, and no model was
/// stepped any more.
#[test]
fn a_model_that_panics_while_it_is_saved_or_opened_is_rebuilt_once() {
    let stage = Stage::new();
    let (bad, good) = (stage.add_models(0x00, 1), stage.add_models(0xff, 2));
    let scored = |name: &String| scored_count(stage.turns.repository(), name);
    let all = || bad.iter().chain(&good);
    let add_row = |row: i64| {
        stage.add_row(&bad, row);
        stage.add_row(&good, row);
    };
    let mut scheduler = stage.turns.scheduler();
    stage.step_all(&mut scheduler);
    assert_eq!(stage.checkpoint(&mut scheduler).saved, 3);
    // Opened after a restart.
    stage.files.refuse_reading(|path| {
        assert!(!is_in(path, "00") || !path.exists(), "rotten");
        None
    });
    add_row(2);
    let mut scheduler = stage.turns.scheduler();
    stage.turn_until(&mut scheduler, "all are scored", || all().all(|name| scored(name) == 2));
    assert_eq!(stage.turns.figures().quarantined, 1);
    stage.files.refuse_nothing();
    assert_eq!(stage.checkpoint(&mut scheduler).saved, 3, "the rebuilt one too");
    // Saved after another.
    add_row(3);
    let mut scheduler = stage.turns.scheduler();
    stage.turn_until(&mut scheduler, "all are scored", || all().all(|name| scored(name) == 3));
    stage.files.refuse_writing(|path| {
        assert!(!is_in(path, "00") || path.extension().is_none_or(|kind| kind != "model"), "rotten");
        None
    });
    let answer = stage.checkpoint(&mut scheduler);
    assert_eq!((answer.saved, answer.failed), (2, 1), "{answer:?}");
    assert!(answer.reason.is_some_and(|reason| reason.contains("rotten")));
    add_row(4);
    stage.turn_until(&mut scheduler, "all are scored", || all().all(|name| scored(name) == 4));
    assert_eq!(status(stage.turns.repository(), &bad[0]), Some(MetricStatus::Active), "it was rebuilt");
    let answer = stage.checkpoint(&mut scheduler);
    assert_eq!((answer.saved, answer.failed), (2, 1), "{answer:?}");
    assert_eq!(
        status(stage.turns.repository(), &bad[0]),
        Some(MetricStatus::Error),
        "it has no file to blame"
    );
}
