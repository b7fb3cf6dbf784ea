//! The storer against a real SQLite file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use htm_core::ids::RowId;
use htm_core::params::ValueRange;

use super::kept_lines::keep;
use super::test_doubles::{Counting, ListBus, ManualClock, Trouble, TroubledRepository};
use super::*;
use crate::bus::Queue;
use crate::bus::message::DataMessage;
use crate::model_params::ModelStart;
use crate::repository::sqlite::{OpenMode, SqliteRepository};

struct Fixture {
    folder: tempfile::TempDir,
    bus: Arc<ListBus>,
    repository: Arc<TroubledRepository>,
    clock: Arc<ManualClock>,
    ledger: Arc<RejectLedger>,
    storer: Storer,
}

fn fixture_with(patterns: &[&str], hint_room: usize) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("engine.db");
    let inner = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates");
    let repository = Arc::new(TroubledRepository {
        inner,
        troubles: Mutex::default(),
        is_ledger_away: AtomicBool::new(false),
    });
    let bus = Arc::new(ListBus::new(hint_room));
    let (clock, ledger) = (Arc::<ManualClock>::default(), Arc::<RejectLedger>::default());
    let storer = Storer::new(StorerParts {
        bus: bus.clone(),
        repository: repository.clone(),
        clock: clock.clone(),
        ledger: ledger.clone(),
        random: Arc::new(Counting { first: 1, calls: AtomicU64::new(0) }),
        options: StorerOptions {
            monitor: patterns.iter().map(ToString::to_string).collect(),
            ..StorerOptions::default()
        },
    });
    Fixture { folder, bus, repository, clock, ledger, storer }
}

fn fixture() -> Fixture {
    fixture_with(&[], usize::MAX)
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.db")
    }

    fn publish(&self, lines: &[&str]) {
        let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        self.bus.data.publish(DataMessage::new(lines)).expect("there is room");
    }

    fn turn(&mut self) -> StorerTurn {
        self.storer.run_once(Duration::ZERO).expect("not fatal")
    }

    /// Publishes the lines as one message and stores them; returns the rows stored.
    fn store(&mut self, lines: &[&str]) -> usize {
        self.publish(lines);
        match self.turn() {
            StorerTurn::Stored { lines: count, rows } => {
                assert_eq!((count, self.bus.data.unacknowledged()), (lines.len(), 0));
                rows
            }
            StorerTurn::Idle | StorerTurn::Postponed { .. } | StorerTurn::Closed => {
                panic!("nothing was stored")
            }
        }
    }

    fn metric(&self, name: &str) -> Metric {
        self.repository.metric_by_name(name).expect("reads").expect("exists")
    }

    /// Row id and time of every row.
    fn rows(&self, name: &str) -> Vec<(i64, i64)> {
        let rows = self.repository.rows_after(&self.metric(name).uid, RowId(0), usize::MAX).expect("reads");
        rows.iter().map(|row| (row.row_id.0, row.timestamp)).collect()
    }

    /// Everything refused, in the database or on its way there; to be asked once.
    fn refused(&self) -> Vec<(&'static str, u64)> {
        let mut counts = BTreeMap::new();
        for entry in self.ledger.drain().into_iter().chain(self.repository.rejects().expect("reads")) {
            *counts.entry(entry.reason).or_insert(0) += entry.count;
        }
        counts.into_iter().map(|(reason, count)| (reason.name(), count)).collect()
    }

    fn trouble(&self, troubles: &[Trouble]) {
        self.repository.troubles.lock().expect("not poisoned").extend(troubles);
    }

    fn force(&self, name: &str, status: MetricStatus) {
        let uid = self.metric(name).uid;
        let from = [MetricStatus::Unmonitored, MetricStatus::PendingData];
        let moved =
            monitoring::in_transaction::<_, monitoring::MonitorError>(self.repository.as_ref(), |tx| {
                Ok(tx.set_status(&uid, &from, status, None)?)
            });
        assert_eq!(moved, Ok(true));
    }

    fn hinted(&self) -> Vec<ModelId> {
        self.bus.hints.drain().into_iter().map(|hint| hint.model_id).collect()
    }
}

#[test]
fn lines_become_rows_of_new_metrics() {
    let mut fixture = fixture();
    assert_eq!(fixture.turn(), StorerTurn::Idle);
    assert_eq!(fixture.store(&["b 21 1443197361", "a 1.5 1443197300", "b 22 1443197661", ""]), 3);
    assert_eq!(fixture.rows("b"), [(1, 1_443_197_361), (2, 1_443_197_661)]);
    assert_eq!(fixture.rows("a"), [(1, 1_443_197_300)]);
    let metric = fixture.metric("b");
    assert_eq!((metric.status, metric.last_rowid), (MetricStatus::Unmonitored, RowId(2)));
    assert_eq!(fixture.store(&["b 23 1443197961"]), 1);
    assert_eq!(fixture.rows("b").len(), 3);
    assert_eq!(fixture.refused(), []);
    assert_eq!(fixture.hinted(), [], "no model, no hint");
}

#[test]
fn one_turn_takes_at_most_200_messages() {
    let mut fixture = fixture();
    for second in 0..201 {
        fixture.publish(&[&format!("a 1 {second}")]);
    }
    assert_eq!(fixture.turn(), StorerTurn::Stored { lines: 200, rows: 200 });
    assert_eq!(fixture.turn(), StorerTurn::Stored { lines: 1, rows: 1 });
    let ids: Vec<i64> = fixture.rows("a").into_iter().map(|(row_id, _)| row_id).collect();
    assert_eq!(ids, (1..=201).collect::<Vec<_>>());
}

#[test]
fn a_bad_line_costs_only_itself_and_is_counted() {
    let mut fixture = fixture();
    let stored = fixture.store(&["rubbish", "a 1 12:30PM", "a nan 5", "a 1 5", "a 1 99999999999", "b 1 6"]);
    assert_eq!(stored, 2);
    assert_eq!(fixture.refused().iter().map(|(_, count)| count).sum::<u64>(), 4);
    assert_eq!(fixture.turn(), StorerTurn::Idle, "poison never loops");
}

#[test]
fn late_and_duplicate_samples_are_counted_with_their_line() {
    let mut fixture = fixture();
    assert_eq!(fixture.store(&["a 1 100", "a 2 100", "a 3 99", "a 4 101"]), 2);
    assert_eq!(fixture.store(&["a 5 101", "a 6 50", "a 7 102"]), 1);
    assert_eq!(fixture.rows("a"), [(1, 100), (2, 101), (3, 102)]);
    assert_eq!(fixture.refused(), [("late_sample", 2), ("duplicate_sample", 2)]);
}

#[test]
fn the_same_lines_again_store_nothing() {
    let mut fixture = fixture();
    let lines = ["a 1 100", "b 1 100", "a 2 101"];
    assert_eq!(fixture.store(&lines), 3);
    assert_eq!(fixture.store(&lines), 0);
    assert_eq!((fixture.rows("a").len(), fixture.rows("b").len()), (2, 1));
    assert_eq!(fixture.refused(), [("late_sample", 1), ("duplicate_sample", 2)]);
}

#[test]
fn metrics_in_every_status_keep_storing_and_only_models_are_hinted() {
    let mut fixture = fixture();
    for (status, is_hinted) in [
        (MetricStatus::Unmonitored, false),
        (MetricStatus::PendingData, false),
        (MetricStatus::Error, false),
        (MetricStatus::CreatePending, true),
        (MetricStatus::Active, true),
    ] {
        let name = format!("m{}", status.code());
        assert_eq!(fixture.store(&[&format!("{name} 1 1")]), 1);
        fixture.force(&name, status);
        assert_eq!(fixture.store(&[&format!("{name} 1 2")]), 1);
        let expected: Vec<ModelId> = is_hinted.then(|| fixture.metric(&name).uid).into_iter().collect();
        assert_eq!(fixture.hinted(), expected, "{status:?}");
        assert_eq!(fixture.store(&[&format!("{name} 1 2")]), 0);
        assert_eq!(fixture.hinted(), [], "no new row, no hint");
    }
}

#[test]
fn a_full_hint_queue_does_not_hold_up_storing() {
    let mut fixture = fixture_with(&[], 0);
    fixture.store(&["a 1 1"]);
    fixture.force("a", MetricStatus::Active);
    assert_eq!(fixture.store(&["a 1 2"]), 1);
}

#[test]
fn new_metrics_that_match_a_pattern_are_monitored() {
    let mut fixture = fixture_with(&["prod.*.cpu", "disk?"], usize::MAX);
    fixture.store(&["prod.web.14.cpu 1 1", "prod.web.memory 1 1", "disk1 1 1", "disk12 1 1"]);
    let status = |name: &str| fixture.metric(name).status;
    assert_eq!(status("prod.web.14.cpu"), MetricStatus::PendingData);
    assert_eq!(status("disk1"), MetricStatus::PendingData);
    assert_eq!(status("prod.web.memory"), MetricStatus::Unmonitored);
    assert_eq!(status("disk12"), MetricStatus::Unmonitored);
    // Who unmonitors a metric does not find it monitored again by its next sample.
    let uid = fixture.metric("disk1").uid;
    monitoring::in_transaction(fixture.repository.as_ref(), |tx| monitoring::unmonitor(tx, &uid))
        .expect("unmonitors");
    fixture.store(&["disk1 1 2"]);
    assert_eq!(fixture.metric("disk1").status, MetricStatus::Unmonitored);
}

#[test]
fn activation_takes_the_range_of_the_first_288_rows_whatever_the_batching() {
    let lines: Vec<String> = (0..400)
        .map(|at| format!("a {} {}", if at < 288 { at % 101 } else { 1_000_000 }, 1_000 + at))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for batch_lines in [400, 1, 287, 288, 150] {
        let mut fixture = fixture_with(&["*"], usize::MAX);
        for batch in lines.chunks(batch_lines) {
            fixture.store(batch);
        }
        let metric = fixture.metric("a");
        let start = ModelStart::from_json(metric.model_params.as_deref().expect("started")).expect("reads");
        assert_eq!(metric.status, MetricStatus::CreatePending);
        assert_eq!(start.range, Some(ValueRange { min: -60.0, max: 160.0 }), "{batch_lines} lines a batch");
        assert!(fixture.hinted().contains(&metric.uid));
        assert_eq!(metric.last_rowid, RowId(400));
    }
}

#[test]
fn a_metric_deleted_behind_the_storers_back_is_made_anew() {
    let mut fixture = fixture();
    fixture.store(&["a 1 100"]);
    let first = fixture.metric("a").uid;
    let delete = |uid: &ModelId| {
        monitoring::in_transaction(fixture.repository.as_ref(), |tx| monitoring::delete(tx, uid))
            .expect("deletes");
    };
    delete(&first);
    assert_eq!(fixture.storer.cache.get("a"), Some(&first), "the storer still believes in it");
    assert_eq!(fixture.store(&["a 1 50"]), 1, "older than the deleted metric's newest row");
    let second = fixture.metric("a").uid;
    assert_ne!(first, second);
    assert_eq!(fixture.rows("a"), [(1, 50)]);
    // The remembered id now belongs to a metric of another name.
    let raw = rusqlite::Connection::open(fixture.path()).expect("opens");
    raw.execute("UPDATE metric SET name = 'b' WHERE name = 'a'", []).expect("renames");
    assert_eq!(fixture.store(&["a 1 60"]), 1);
    assert_eq!((fixture.rows("a"), fixture.rows("b")), (vec![(1, 60)], vec![(1, 50)]));
}

#[test]
fn a_postponed_batch_is_stored_once_and_counted_once() {
    let mut fixture = fixture();
    fixture.store(&["a 1 100"]);
    fixture.trouble(&[Trouble::Transient, Trouble::Transient, Trouble::RunTwice]);
    fixture.publish(&["a 2 100", "a 3 101", "rubbish", "b 1 100"]);
    for _ in 0..2 {
        assert_eq!(fixture.turn(), StorerTurn::Postponed { reason: "made up".to_owned() });
        assert_eq!(fixture.bus.data.unacknowledged(), 1);
        assert_eq!(fixture.rows("a"), [(1, 100)]);
    }
    assert_eq!(fixture.turn(), StorerTurn::Stored { lines: 4, rows: 2 });
    assert_eq!(fixture.bus.data.unacknowledged(), 0);
    assert_eq!((fixture.rows("a"), fixture.rows("b")), (vec![(1, 100), (2, 101)], vec![(1, 100)]));
    assert_eq!(fixture.refused(), [("wrong_field_count", 1), ("duplicate_sample", 1)]);
}

/// They were counted at the end of a turn, but a turn that is postponed between two transactions forgets the first.
#[test]
fn rows_of_a_postponed_turn_count_as_stored() {
    let mut fixture = fixture();
    fixture.trouble(&[Trouble::RunTwice, Trouble::Transient]);
    for (name, seconds) in [("a", 0..MAX_ROWS_PER_TRANSACTION), ("b", 0..10)] {
        let lines: Vec<String> = seconds.map(|second| format!("{name} 1 {second}")).collect();
        fixture.publish(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let counted = || {
        let shown = recorder.handle().render();
        let line = shown.lines().find_map(|line| line.strip_prefix("htmengine_rows_stored_total "));
        line.map(str::to_owned)
    };
    metrics::with_local_recorder(&recorder, || {
        assert!(matches!(fixture.turn(), StorerTurn::Postponed { .. }));
        assert_eq!((fixture.rows("a").len(), counted()), (20_000, Some("20000".to_owned())));
        assert_eq!(fixture.turn(), StorerTurn::Stored { lines: 20_010, rows: 10 });
        assert_eq!(counted(), Some("20010".to_owned()));
    });
}

#[test]
fn a_fatal_error_stops_the_role_before_anything_is_acknowledged() {
    let mut fixture = fixture();
    fixture.trouble(&[Trouble::Fatal]);
    fixture.publish(&["a 1 100"]);
    let stopped = fixture.storer.run(&AtomicBool::new(false));
    assert!(matches!(stopped, Err(RepositoryError::Fatal { .. })), "{stopped:?}");
    assert_eq!(fixture.bus.data.unacknowledged(), 1);
}

#[test]
fn a_metric_that_cannot_be_stored_costs_only_itself() {
    let mut fixture = fixture();
    let names: Vec<String> = (0..9).map(|number| format!("m{number}")).collect();
    let lines = |second: i64| names.iter().map(|name| format!("{name} 1 {second}")).collect::<Vec<_>>();
    let store = |fixture: &mut Fixture, lines: &[String]| {
        fixture.store(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(store(&mut fixture, &lines(1)), 9);
    // The id that the next row of these would take is already there.
    let raw = rusqlite::Connection::open(fixture.path()).expect("opens");
    raw.execute("UPDATE metric SET last_rowid = 0 WHERE name IN ('m2', 'm3', 'm8')", []).expect("spoils");
    assert_eq!(store(&mut fixture, &lines(2)), 6);
    assert_eq!(fixture.rows("m2"), [(1, 1)]);
    assert_eq!(fixture.rows("m7"), [(1, 1), (2, 2)]);
    assert_eq!(fixture.refused(), [("not_storable", 3)]);
}

#[test]
fn the_ledger_reaches_the_repository_at_most_once_a_second_and_survives_its_absence() {
    let mut fixture = fixture();
    let stored = |fixture: &Fixture| {
        fixture.repository.rejects().expect("reads").iter().map(|entry| entry.count).sum::<u64>()
    };
    fixture.store(&["rubbish"]);
    assert_eq!(stored(&fixture), 1);
    fixture.store(&["rubbish"]);
    assert_eq!(stored(&fixture), 1, "within the same second");
    fixture.clock.elapsed.store(1, Ordering::Relaxed);
    fixture.repository.is_ledger_away.store(true, Ordering::Relaxed);
    assert_eq!(fixture.turn(), StorerTurn::Idle);
    assert_eq!(stored(&fixture), 1);
    fixture.repository.is_ledger_away.store(false, Ordering::Relaxed);
    fixture.clock.elapsed.store(2, Ordering::Relaxed);
    assert_eq!(fixture.turn(), StorerTurn::Idle);
    assert_eq!(stored(&fixture), 2);
}

#[test]
fn running_ends_when_the_queue_is_closed_and_drained() {
    let mut fixture = fixture();
    fixture.publish(&["a 1 100"]);
    fixture.publish(&["a 1 101", "rubbish"]);
    fixture.trouble(&[Trouble::Transient]);
    fixture.bus.data.close();
    assert_eq!(fixture.storer.run(&AtomicBool::new(false)), Ok(()));
    assert_eq!(fixture.rows("a").len(), 2);
    assert_eq!(fixture.repository.rejects().expect("reads").len(), 1, "also what was counted last");
}

#[test]
fn stopping_gives_up_a_database_that_is_away() {
    let mut fixture = fixture();
    fixture.publish(&["a 1 100"]);
    fixture.trouble(&[Trouble::Transient]);
    let stopped = fixture.storer.run(&AtomicBool::new(true));
    let Err(RepositoryError::Transient { reason }) = stopped else { panic!("{stopped:?}") };
    assert!(reason.contains("up to 1 lines"), "{reason}");
    assert_eq!(fixture.bus.data.unacknowledged(), 1);
}

fn keep_earlier(fixture: &Fixture, lines: &str) -> PathBuf {
    let path = fixture.folder.path().join(kept_lines::KEPT_LINES_FILE);
    std::fs::write(&path, lines).expect("written");
    path
}

#[test]
fn kept_lines_are_stored_before_the_queue_and_their_file_is_removed() {
    let (mut fixture, no) = (fixture(), AtomicBool::new(false));
    let path = keep_earlier(&fixture, "a 1 100\na 1 101\n");
    fixture.trouble(&[Trouble::Transient]);
    assert_eq!(fixture.storer.store_kept(&path, &no, &no), Ok(true));
    assert_eq!(fixture.rows("a"), [(1, 100), (2, 101)]);
    assert!(!path.exists());
}

/// What the engine could not store was added to the file by then, and went with it.
#[test]
fn the_file_of_kept_lines_stays_once_the_storer_is_given_up() {
    let (mut fixture, no, yes) = (fixture(), AtomicBool::new(false), AtomicBool::new(true));
    let path = keep_earlier(&fixture, "a 1 100\n");
    assert_eq!(fixture.storer.store_kept(&path, &no, &yes), Ok(false));
    assert!(path.exists() && fixture.repository.metric_by_name("a") == Ok(None));
    fixture.trouble(&[Trouble::Transient; 3]);
    assert_eq!(fixture.storer.store_kept(&path, &no, &no), Ok(true), "the next engine stores them");
    assert!(!path.exists());
}

/// All lines of the turn were, and the next engine refused once more what was refused, and the stored ones as duplicates.
#[test]
fn what_is_refused_or_stored_of_a_turn_is_not_kept() {
    let mut fixture = fixture();
    let kept = keep_earlier(&fixture, "");
    let lines: Vec<String> = (0..MAX_ROWS_PER_TRANSACTION).map(|second| format!("a 1 {second}")).collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.extend(["rubbish", "", "b 1 100"]);
    fixture.publish(&lines);
    fixture.bus.data.close();
    fixture.trouble(&[Trouble::RunTwice, Trouble::Transient]);
    assert!(matches!(fixture.turn(), StorerTurn::Postponed { .. }));
    assert_eq!(fixture.rows("a").len(), MAX_ROWS_PER_TRANSACTION, "in a transaction of their own");
    assert_eq!(keep(&kept, &fixture.storer.in_hand(), &fixture.bus.data).expect("keeps"), 1);
    assert_eq!(std::fs::read_to_string(&kept).expect("readable"), "b 1 100\n");
}

/// They counted as in hand, and were added to their own file: once more at each start over a database that failed.
#[test]
fn kept_lines_are_not_kept_again_when_the_database_fails() {
    let (mut fixture, no) = (fixture(), AtomicBool::new(false));
    let kept = keep_earlier(&fixture, "a 1 100\n");
    fixture.publish(&["a 2 200"]);
    fixture.bus.data.close();
    fixture.trouble(&[Trouble::Fatal]);
    let ended = fixture.storer.run_behind_kept(&kept, &no, &no);
    assert!(matches!(ended, Err(RepositoryError::Fatal { .. })), "{ended:?}");
    assert_eq!(keep(&kept, &fixture.storer.in_hand(), &fixture.bus.data).expect("keeps"), 1);
    assert_eq!(std::fs::read_to_string(&kept).expect("readable"), "a 1 100\na 2 200\n");
}

/// A stop ended the waiting for the kept lines of an earlier engine, and then the younger ones on the queue were tried: with
/// the database there again they were stored, and the kept ones refused as late at the next start.
#[test]
fn what_waits_behind_kept_lines_is_not_stored_before_them() {
    let mut fixture = fixture();
    let kept = keep_earlier(&fixture, "a 1 100\n");
    fixture.publish(&["a 2 200"]);
    fixture.bus.data.close();
    let [raised, lowered] = [true, false].map(AtomicBool::new);
    fixture.trouble(&[Trouble::Transient]);
    fixture.storer.run_behind_kept(&kept, &raised, &lowered).expect("stops");
    assert_eq!(fixture.bus.data.depth(), 1);
    assert_eq!(keep(&kept, &fixture.storer.in_hand(), &fixture.bus.data).expect("keeps"), 1);
    fixture.storer.run_behind_kept(&kept, &lowered, &lowered).expect("ends with the queue");
    assert_eq!((fixture.rows("a"), fixture.refused()), (vec![(1, 100), (2, 200)], Vec::new()));
    assert!(!kept.exists());
}

#[test]
fn two_storers_on_one_file_do_not_break_row_ids() {
    const SECONDS: i64 = 300;
    let fixture = fixture();
    let storers: Vec<(Arc<ListBus>, Storer)> = (2..4)
        .map(|first| {
            let inner = SqliteRepository::open(&fixture.path(), OpenMode::ReadWrite).expect("opens");
            let bus = Arc::new(ListBus::new(usize::MAX));
            for second in 0..SECONDS {
                let line = format!("a {first} {second}").into_bytes();
                bus.data.publish(DataMessage::new(vec![line])).expect("there is room");
            }
            bus.data.close();
            let storer = Storer::new(StorerParts {
                bus: bus.clone(),
                repository: Arc::new(inner),
                clock: fixture.clock.clone(),
                ledger: fixture.ledger.clone(),
                random: Arc::new(Counting { first, calls: AtomicU64::new(0) }),
                options: StorerOptions::default(),
            });
            (bus, storer)
        })
        .collect();
    std::thread::scope(|scope| {
        for (_bus, mut storer) in storers {
            scope.spawn(move || storer.run(&AtomicBool::new(false)).expect("runs to the end"));
        }
    });
    let rows = fixture.rows("a");
    assert_eq!(rows.len(), usize::try_from(fixture.metric("a").last_rowid.0).expect("small"));
    assert!(rows.iter().zip(1..).all(|(row, expected)| row.0 == expected), "ids are consecutive");
    assert!(rows.is_sorted_by(|before, after| before.1 < after.1), "times ascend");
    assert_eq!(rows.last().map(|row| row.1), Some(SECONDS - 1));
    let refused: u64 = fixture.refused().iter().map(|(_, count)| count).sum();
    assert_eq!(
        rows.len() + usize::try_from(refused).expect("small"),
        usize::try_from(2 * SECONDS).expect("small")
    );
}
