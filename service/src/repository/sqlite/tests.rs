//! The SQLite repository against real files: what is its own. What every repository must do is in
//! `tests/src/repository_conformance.rs`.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::*;
use crate::reject::RejectReason;
use crate::repository::alert::AlertReads;
use crate::repository::metric::DATASOURCE_CUSTOM;
use crate::repository::metric_data::{RowUpdate, StoredSample};
use crate::repository::{MAX_CHANGES, Transaction};
use crate::row_detection::RowDetection;

pub(super) struct Fixture {
    folder: tempfile::TempDir,
    pub(super) repository: SqliteRepository,
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.db")
    }

    pub(super) fn raw(&self) -> Connection {
        Connection::open(self.path()).expect("opens")
    }
}

pub(super) fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("engine.db");
    let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates");
    Fixture { folder, repository }
}

pub(super) fn id(text: &str) -> ModelId {
    ModelId::new(text).expect("a valid id")
}

#[test]
fn a_file_of_version_1_is_brought_up_and_keeps_its_rows() {
    let Fixture { folder, repository } = fixture();
    let path = folder.path().join("engine.db");
    repository.transact(&mut |tx| tx.insert_metric(&metric("a", "a"))).expect("inserts");
    repository.transact(&mut |tx| tx.append_rows(&id("a"), &samples(0..2)).map(|_| ())).expect("appends");
    drop(repository);
    let raw = Connection::open(&path).expect("opens");
    raw.execute_batch("DROP INDEX elevated_idx").expect("drops");
    for column in ["detection_score", "alert_score", "detection_components"] {
        raw.execute_batch(&format!("ALTER TABLE metric_data DROP COLUMN {column}")).expect("drops");
    }
    raw.execute_batch("DROP TABLE alert_delivery; DROP TABLE alert_episode; DROP TABLE alert_cursor")
        .expect("drops");
    raw.pragma_update(None, "user_version", 1).expect("updates");
    drop(raw);
    let refused = SqliteRepository::open(&path, OpenMode::ReadOnly).expect_err("an old version");
    assert!(refused.to_string().contains("start `htmengine serve` once"), "{refused}");
    let opened = SqliteRepository::open(&path, OpenMode::ReadWrite).expect("brings it up");
    let completed =
        opened.transact(&mut |tx| tx.complete_rows(&id("a"), &[update(1)]).map(|count| assert_eq!(count, 1)));
    completed.expect("completes");
    let rows = opened.rows_after(&id("a"), RowId(0), 10).expect("reads");
    let detections: Vec<_> = rows.iter().map(|row| row.detection).collect();
    assert_eq!(detections, [Some(RowDetection::default()), None]);
}

#[test]
fn a_file_of_version_2_gets_the_tables_of_alerts() {
    let Fixture { folder, repository } = fixture();
    let path = folder.path().join("engine.db");
    drop(repository);
    let raw = Connection::open(&path).expect("opens");
    raw.execute_batch("DROP INDEX elevated_idx; DROP TABLE alert_delivery; DROP TABLE alert_episode; DROP TABLE alert_cursor")
        .expect("drops");
    raw.pragma_update(None, "user_version", 2).expect("updates");
    drop(raw);
    let opened = SqliteRepository::open(&path, OpenMode::ReadWrite).expect("brings it up");
    assert_eq!(opened.alert_scope(), Ok(None));
    opened.transact(&mut |tx| tx.put_alert_scope(Some("[]"))).expect("puts");
    assert_eq!(opened.alert_scope(), Ok(Some("[]".to_owned())));
}

fn metric(uid: &str, name: &str) -> Metric {
    Metric {
        uid: id(uid),
        datasource: Some(DATASOURCE_CUSTOM.to_owned()),
        name: name.to_owned(),
        description: Some(format!("Custom metric {name}")),
        server: Some(name.to_owned()),
        location: Some(String::new()),
        parameters: None,
        status: MetricStatus::Unmonitored,
        message: None,
        poll_interval_s: 300,
        tag_name: None,
        model_params: None,
        last_rowid: RowId(0),
    }
}

pub(super) fn samples(times: std::ops::Range<i64>) -> Vec<StoredSample> {
    times
        .map(|timestamp| StoredSample {
            timestamp,
            value: f64::from(u8::try_from(timestamp % 100).expect("small")),
        })
        .collect()
}

pub(super) fn update(row_id: i64) -> RowUpdate {
    RowUpdate {
        row_id: RowId(row_id),
        raw_anomaly_score: 0.25,
        anomaly_score: 0.5,
        display_value: 1_000,
        best_predictions: None,
        detection: RowDetection::default(),
    }
}

/// Runs `work` in a transaction and returns what it returned.
pub(super) fn within<T>(
    repository: &SqliteRepository,
    mut work: impl FnMut(&mut dyn Transaction) -> Result<T, RepositoryError>,
) -> Result<T, RepositoryError> {
    let mut answer = None;
    repository.transact(&mut |tx| {
        answer = Some(work(tx)?);
        Ok(())
    })?;
    Ok(answer.expect("the work ran"))
}

pub(super) fn insert(repository: &SqliteRepository, uid: &str, name: &str) {
    within(repository, |tx| tx.insert_metric(&metric(uid, name))).expect("inserts");
}

fn append(repository: &SqliteRepository, uid: &str, times: std::ops::Range<i64>) -> RowId {
    within(repository, |tx| tx.append_rows(&id(uid), &samples(times.clone()))).expect("appends")
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("PRAGMA table_info({table})")).expect("a table");
    let names = statement.query_map([], |row| row.get(1)).expect("rows");
    names.collect::<Result<_, _>>().expect("names")
}

#[test]
fn tables_have_the_original_column_names() {
    let fixture = fixture();
    let raw = fixture.raw();
    for (table, expected) in [
        (
            "metric",
            "uid datasource name description server location parameters status message collector_error \
             last_timestamp poll_interval tag_name model_params last_rowid",
        ),
        (
            "metric_data",
            "uid rowid timestamp metric_value raw_anomaly_score anomaly_score display_value \
             multi_step_best_predictions detection_score alert_score detection_components",
        ),
        ("lock", "name"),
        ("instance_status_history", "server timestamp status"),
        ("reject", "reason count last_seen example"),
        ("change", "number uid"),
        ("score_progress", "uid scored_up_to"),
    ] {
        assert_eq!(columns(&raw, table).join(" "), expected, "table {table}");
    }
    let seed: String = raw.query_row("SELECT name FROM lock", [], |row| row.get(0)).expect("one row");
    assert_eq!(seed, "metrics");
    let defaults: (i64, i64) = raw
        .query_row("INSERT INTO metric (uid) VALUES ('a') RETURNING status, poll_interval", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("inserts");
    assert_eq!(defaults, (0, 60));
}

#[test]
fn the_file_is_in_wal_mode_and_carries_its_version() {
    let fixture = fixture();
    let raw = fixture.raw();
    let mode: String = raw.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
    let version: i64 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    assert_eq!((mode.as_str(), version), ("wal", schema::SCHEMA_VERSION));
}

/// Nothing else notices a commit that is not on the disk: a killed process loses nothing by it, and no test cuts the power.
#[test]
fn a_commit_is_on_the_disk_before_it_is_reported() {
    let fixture = fixture();
    let check = |path: &Path, mode| {
        let writer = connection::open_writer(path, mode).expect("opens");
        let synchronous: i64 =
            writer.pragma_query_value(None, "synchronous", |row| row.get(0)).expect("a level");
        let journal: String =
            writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
        // 2 is FULL.
        assert_eq!((synchronous, journal.as_str()), (2, "wal"));
    };
    check(&fixture.folder.path().join("new.db"), OpenMode::ReadWriteCreate);
    check(&fixture.path(), OpenMode::ReadWrite);
}

#[test]
fn the_timestamp_column_reads_as_mysql_shows_it() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    append(&fixture.repository, "a", 1_386_792_175..1_386_792_176);
    let text: String =
        fixture.raw().query_row("SELECT timestamp FROM metric_data", [], |row| row.get(0)).expect("a row");
    assert_eq!(text, "2013-12-11 20:02:55");
    assert_eq!(within(&fixture.repository, |tx| tx.tail_timestamp(&id("a"))), Ok(Some(1_386_792_175)));
}

#[test]
fn rows_stay_when_the_file_is_opened_again() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    assert_eq!(append(&fixture.repository, "a", 0..5), RowId(5));
    let path = fixture.path();
    drop(fixture.repository);
    let reopened = SqliteRepository::open(&path, OpenMode::ReadWrite).expect("opens again");
    assert_eq!(reopened.rows_after(&id("a"), RowId(0), 100).expect("reads").len(), 5);
    assert_eq!(append(&reopened, "a", 5..6), RowId(6));
}

#[test]
fn what_another_hand_wrote_hides_nothing() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    fixture.raw().execute("INSERT INTO metric (uid, name) VALUES ('b b', 'b')", []).expect("inserts");
    assert_eq!(fixture.repository.metrics(&[]).expect("lists").len(), 1, "a row that is no metric");
    fixture.raw().execute("INSERT INTO reject VALUES ('from_the_future', 1, 1, '')", []).expect("inserts");
    let known =
        RejectEntry { reason: RejectReason::NanValue, count: 2, last_seen: 10, example: "a".to_owned() };
    fixture.repository.add_rejects(std::slice::from_ref(&known)).expect("adds");
    assert_eq!(fixture.repository.rejects(), Ok(vec![known]));
    append(&fixture.repository, "a", 0..3);
    within(&fixture.repository, |tx| tx.complete_rows(&id("a"), &[update(1), update(2)])).expect("completes");
    // Imported scores without a remembered progress are found by walking.
    fixture.raw().execute("DELETE FROM score_progress", []).expect("deletes");
    assert_eq!(fixture.repository.scored_up_to(&id("a")), Ok(RowId(2)));
}

#[test]
fn only_the_newest_changes_are_kept() {
    let fixture = fixture();
    within(&fixture.repository, |tx| tx.announce(&id("a"))).expect("announces");
    let last_old = MAX_CHANGES + 1;
    fixture.raw().execute("INSERT INTO change VALUES (?1, 'b')", [last_old]).expect("inserts");
    within(&fixture.repository, |tx| tx.announce(&id("c"))).expect("announces");
    assert_eq!(
        fixture.repository.changes_after(0, 10),
        Ok(vec![(last_old, id("b")), (last_old + 1, id("c"))]),
        "change 1 is now {MAX_CHANGES} behind"
    );
}

#[test]
fn retries_end_with_their_budget() {
    let mut fixture = fixture();
    fixture.repository.retry_budget = Duration::from_millis(200);
    let mut runs = 0;
    let answer = fixture.repository.transact(&mut |_| {
        runs += 1;
        Err(RepositoryError::Transient { reason: "made up".to_owned() })
    });
    assert!(matches!(answer, Err(RepositoryError::Transient { .. })));
    assert_eq!(runs, 3, "at once, after 0.1 s, and after the rest of 0.2 s");
}

#[test]
fn a_full_disk_is_transient_and_loses_nothing() {
    let mut fixture = fixture();
    fixture.repository.retry_budget = Duration::ZERO;
    insert(&fixture.repository, "a", "a");
    let set_limit = |pages: i64| {
        let writer = fixture.repository.writer.as_ref().expect("writes").lock().expect("not poisoned");
        writer.pragma_update(None, "max_page_count", pages).expect("sets");
    };
    set_limit(1);
    let answer = within(&fixture.repository, |tx| tx.append_rows(&id("a"), &samples(0..2_000)));
    let Err(RepositoryError::Transient { reason }) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("disk is full"), "{reason}");
    set_limit(1_000_000);
    assert_eq!(append(&fixture.repository, "a", 0..2_000), RowId(2_000));
}

#[test]
fn a_reader_sees_what_a_writer_commits_in_the_same_file() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    let reader =
        SqliteRepository::open(&fixture.path(), OpenMode::ReadOnly).expect("opens beside the writer");
    append(&fixture.repository, "a", 0..2);
    assert_eq!(reader.rows_after(&id("a"), RowId(0), 9).expect("reads").len(), 2);
    // Also while the writer is in the middle of a transaction.
    within(&fixture.repository, |tx| {
        tx.append_rows(&id("a"), &samples(2..3))?;
        assert_eq!(reader.rows_after(&id("a"), RowId(0), 9)?.len(), 2);
        Ok(())
    })
    .expect("commits");
    assert_eq!(reader.rows_after(&id("a"), RowId(0), 9).expect("reads").len(), 3);
    let refused = reader.transact(&mut |_| Ok(()));
    assert!(matches!(refused, Err(RepositoryError::Fatal { .. })), "{refused:?}");
    assert!(matches!(reader.add_rejects(&[]), Err(RepositoryError::Fatal { .. })));
}

#[test]
fn a_closed_file_can_be_read_only() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    let path = fixture.path();
    drop(fixture.repository);
    let reader = SqliteRepository::open(&path, OpenMode::ReadOnly).expect("opens");
    assert!(reader.metric_by_name("a").expect("reads").is_some());
}

#[test]
fn files_that_are_not_ours_are_refused_with_the_path_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.db");
    let text_file = folder.path().join("notes.txt");
    std::fs::write(&text_file, "not a database, but long enough to be taken for a header. ".repeat(40))
        .expect("writes");
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).and_then(|raw| raw.execute_batch("CREATE TABLE t (x)")).expect("creates");
    let newer = folder.path().join("newer.db");
    drop(SqliteRepository::open(&newer, OpenMode::ReadWriteCreate).expect("creates"));
    Connection::open(&newer).and_then(|raw| raw.pragma_update(None, "user_version", 99)).expect("updates");
    let every = [OpenMode::ReadWriteCreate, OpenMode::ReadWrite, OpenMode::ReadOnly];
    for (path, modes, expected) in [
        (&missing, &every[1..], "htmengine serve"),
        (&text_file, &every[..], "expected an SQLite database"),
        (&foreign, &every[..], "not made by htmengine"),
        (&newer, &every[..], "newer htmengine"),
    ] {
        for &mode in modes {
            let answer = SqliteRepository::open(path, mode);
            let Err(RepositoryError::Fatal { reason }) = answer else {
                panic!("{path:?} {mode:?}: {answer:?}")
            };
            let names_path = reason.contains(&path.display().to_string());
            assert!(names_path && reason.contains(expected), "{mode:?}: {reason}");
        }
    }
    assert!(!missing.exists(), "nothing was created by looking");
    let untouched = std::fs::read_to_string(&text_file).expect("reads");
    assert!(untouched.starts_with("not a database"), "nothing was written to it");
}

#[test]
fn two_writers_in_two_handles_never_share_a_row_id() {
    const TURNS: i64 = 50;
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    let other = SqliteRepository::open(&fixture.path(), OpenMode::ReadWrite).expect("opens");
    std::thread::scope(|scope| {
        for repository in [&fixture.repository, &other] {
            scope.spawn(move || {
                for turn in 0..TURNS {
                    append(repository, "a", turn..turn + 3);
                }
            });
        }
    });
    let rows = fixture.repository.rows_after(&id("a"), RowId(0), 1_000).expect("reads");
    let ids: Vec<i64> = rows.iter().map(|row| row.row_id.0).collect();
    assert_eq!(ids, (1..=2 * TURNS * 3).collect::<Vec<_>>());
}

#[test]
fn more_readers_than_connections_all_get_their_turn() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    let (done, finished) = mpsc::channel();
    let readers = 3 * fixture.repository.readers.limit();
    std::thread::scope(|scope| {
        for _ in 0..readers {
            let (done, repository) = (done.clone(), &fixture.repository);
            scope.spawn(move || {
                for _ in 0..20 {
                    assert!(repository.metric(&id("a")).expect("reads").is_some());
                }
                done.send(()).expect("the test waits");
            });
        }
    });
    drop(done);
    assert_eq!(finished.iter().count(), readers);
}
