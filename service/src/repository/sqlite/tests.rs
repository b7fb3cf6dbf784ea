//! The SQLite repository against real files.

use std::path::PathBuf;
use std::sync::mpsc;

use super::*;
use crate::reject::RejectReason;
use crate::repository::metric::DATASOURCE_CUSTOM;
use crate::repository::metric_data::{RowUpdate, StoredSample};
use crate::repository::{MAX_CHANGES, Transaction};

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
             multi_step_best_predictions",
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

#[test]
fn a_metric_is_read_back_as_it_was_written() {
    let fixture = fixture();
    let mut written = metric("a1", "cpu.load");
    written.parameters = Some("{\"x\": 1}".to_owned());
    written.tag_name = Some("tag".to_owned());
    written.message = Some("text".to_owned());
    written.model_params = Some("{}".to_owned());
    written.status = MetricStatus::Active;
    within(&fixture.repository, |tx| tx.insert_metric(&written)).expect("inserts");
    let by_id = fixture.repository.metric(&id("a1")).expect("reads");
    let by_name = fixture.repository.metric_by_name("cpu.load").expect("reads");
    assert_eq!(by_id.as_ref(), Some(&written));
    assert_eq!(by_name.as_ref(), Some(&written));
    assert_eq!(fixture.repository.metric_by_name("CPU.load").expect("reads"), None);
}

#[test]
fn metrics_are_listed_by_name_and_filtered_by_status() {
    let fixture = fixture();
    for (uid, name, status) in [("a", "z", MetricStatus::Active), ("b", "y", MetricStatus::Error)] {
        let listed = Metric { status, ..metric(uid, name) };
        within(&fixture.repository, |tx| tx.insert_metric(&listed)).expect("inserts");
    }
    let names = |statuses: &[MetricStatus]| {
        let metrics = fixture.repository.metrics(statuses).expect("lists");
        metrics.into_iter().map(|metric| metric.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["y", "z"]);
    assert_eq!(names(&[MetricStatus::Active]), ["z"]);
    // A row that is no metric hides nothing.
    fixture.raw().execute("INSERT INTO metric (uid, name) VALUES ('b b', 'a')", []).expect("inserts");
    assert_eq!(names(&[]), ["y", "z"]);
}

#[test]
fn row_ids_are_consecutive_across_transactions_and_reopening() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    insert(&fixture.repository, "b", "b");
    assert_eq!(append(&fixture.repository, "a", 0..3), RowId(3));
    assert_eq!(append(&fixture.repository, "b", 0..1), RowId(1));
    assert_eq!(append(&fixture.repository, "a", 3..5), RowId(5));
    let path = fixture.path();
    drop(fixture.repository);
    let reopened = SqliteRepository::open(&path, OpenMode::ReadWrite).expect("opens again");
    let rows = reopened.rows_after(&id("a"), RowId(0), 100).expect("reads");
    assert_eq!(rows.iter().map(|row| row.row_id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(rows.iter().map(|row| row.timestamp).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(append(&reopened, "a", 5..6), RowId(6));
    assert_eq!(reopened.metric(&id("a")).expect("reads").expect("exists").last_rowid, RowId(6));
    let two = reopened.rows_after(&id("a"), RowId(2), 2).expect("reads");
    assert_eq!(two.iter().map(|row| row.row_id.0).collect::<Vec<_>>(), [3, 4]);
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
fn values_round_trip_exactly() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    let values = [0.1, -7829.8, 1e300, f64::MIN_POSITIVE, 9_007_199_254_740_993.0, 5.0, 1.0 / 3.0];
    let stored: Vec<StoredSample> =
        (0..).zip(values).map(|(timestamp, value)| StoredSample { timestamp, value }).collect();
    within(&fixture.repository, |tx| tx.append_rows(&id("a"), &stored)).expect("appends");
    let rows = fixture.repository.rows_after(&id("a"), RowId(0), 100).expect("reads");
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&rows.iter().map(|row| row.value).collect::<Vec<_>>()), bits(&values));
}

#[test]
fn a_failed_transaction_changes_nothing() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    for bad in [
        StoredSample { timestamp: 9, value: f64::NAN },
        StoredSample { timestamp: 9, value: f64::INFINITY },
        StoredSample { timestamp: i64::MAX, value: 1.0 },
    ] {
        let mixed = [StoredSample { timestamp: 8, value: 1.0 }, bad];
        let answer = within(&fixture.repository, |tx| tx.append_rows(&id("a"), &mixed));
        assert!(matches!(answer, Err(RepositoryError::Rejected { .. })), "{answer:?}");
    }
    assert_eq!(fixture.repository.metric(&id("a")).expect("reads").expect("exists").last_rowid, RowId(0));
    assert_eq!(fixture.repository.rows_after(&id("a"), RowId(0), 9), Ok(Vec::new()));
    let unknown = within(&fixture.repository, |tx| tx.append_rows(&id("nobody"), &samples(0..1)));
    assert!(matches!(unknown, Err(RepositoryError::Rejected { .. })), "{unknown:?}");
}

#[test]
fn a_transient_failure_runs_the_work_again_from_the_start() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    let mut runs = 0;
    let answer = fixture.repository.transact(&mut |tx| {
        tx.append_rows(&id("a"), &samples(0..2))?;
        runs += 1;
        if runs < 3 { Err(RepositoryError::Transient { reason: "made up".to_owned() }) } else { Ok(()) }
    });
    assert_eq!((answer, runs), (Ok(()), 3));
    assert_eq!(fixture.repository.metric(&id("a")).expect("reads").expect("exists").last_rowid, RowId(2));
}

#[test]
fn retries_end_with_their_budget() {
    let mut fixture = fixture();
    fixture.repository.retry_budget = Duration::from_millis(150);
    let mut runs = 0;
    let answer = fixture.repository.transact(&mut |_| {
        runs += 1;
        Err(RepositoryError::Transient { reason: "made up".to_owned() })
    });
    assert!(matches!(answer, Err(RepositoryError::Transient { .. })));
    assert_eq!(runs, 3, "at once, after 0.1 s, and after the 0.05 s that were left");
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
fn too_long_columns_are_refused_by_name_and_never_cut() {
    let fixture = fixture();
    let long = |chars: usize| Some("\u{e9}".repeat(chars));
    let base = || metric("a", "a");
    for (column, bad) in [
        ("name", Metric { name: "n".repeat(256), ..base() }),
        ("description", Metric { description: long(201), ..base() }),
        ("server", Metric { server: long(101), ..base() }),
        ("location", Metric { location: long(201), ..base() }),
        ("tag_name", Metric { tag_name: long(201), ..base() }),
        ("datasource", Metric { datasource: long(101), ..base() }),
    ] {
        let answer = within(&fixture.repository, |tx| tx.insert_metric(&bad));
        let Err(RepositoryError::Rejected { reason }) = answer else { panic!("{column}: {answer:?}") };
        assert!(reason.starts_with(column) && reason.contains("at most"), "{reason}");
    }
    let fits = Metric { name: "\u{e9}".repeat(255), description: long(200), server: long(100), ..base() };
    assert_eq!(within(&fixture.repository, |tx| tx.insert_metric(&fits)), Ok(()));
    let too_long = within(&fixture.repository, |tx| tx.set_server(&id("a"), &"s".repeat(101)));
    assert!(matches!(too_long, Err(RepositoryError::Rejected { .. })), "{too_long:?}");
    assert_eq!(within(&fixture.repository, |tx| tx.set_server(&id("a"), "box")), Ok(()));
    assert_eq!(
        fixture.repository.metric(&id("a")).expect("reads").expect("exists").server.as_deref(),
        Some("box")
    );
}

#[test]
fn ids_and_names_are_unique() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    for twin in [metric("a", "b"), metric("b", "a")] {
        let answer = within(&fixture.repository, |tx| tx.insert_metric(&twin));
        assert!(matches!(answer, Err(RepositoryError::Rejected { .. })), "{answer:?}");
    }
}

#[test]
fn status_moves_only_from_the_named_ones() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    let set = |from: &[MetricStatus], to, message: Option<&str>| {
        within(&fixture.repository, |tx| tx.set_status(&id("a"), from, to, message))
    };
    assert_eq!(set(&[MetricStatus::Active], MetricStatus::Error, Some("x")), Ok(false));
    assert_eq!(set(&[], MetricStatus::Error, Some("x")), Ok(false));
    assert_eq!(
        set(&[MetricStatus::Active, MetricStatus::Unmonitored], MetricStatus::Error, Some("x")),
        Ok(true)
    );
    let stored = fixture.repository.metric(&id("a")).expect("reads").expect("exists");
    assert_eq!((stored.status, stored.message.as_deref()), (MetricStatus::Error, Some("x")));
    assert_eq!(set(&[MetricStatus::Error], MetricStatus::Unmonitored, None), Ok(true));
    assert_eq!(fixture.repository.metric(&id("a")).expect("reads").expect("exists").message, None);
    let nobody = within(&fixture.repository, |tx| {
        tx.set_status(&id("nobody"), &[MetricStatus::Unmonitored], MetricStatus::Active, None)
    });
    assert_eq!(nobody, Ok(false));
}

#[test]
fn scoring_progress_stops_at_the_first_gap() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    append(&fixture.repository, "a", 0..10);
    let complete = |rows: &[i64]| {
        let updates: Vec<RowUpdate> = rows.iter().map(|&row| update(row)).collect();
        within(&fixture.repository, |tx| tx.complete_rows(&id("a"), &updates)).expect("completes")
    };
    let reached = || fixture.repository.scored_up_to(&id("a")).expect("reads").0;
    assert_eq!(reached(), 0);
    assert_eq!(complete(&[2, 3]), 2);
    assert_eq!(reached(), 0, "row 1 is missing");
    assert_eq!(complete(&[1]), 1);
    assert_eq!(reached(), 3);
    assert_eq!(complete(&[6, 5]), 2);
    assert_eq!(complete(&[1, 2, 3]), 3, "again, after a crash");
    assert_eq!(reached(), 3);
    assert_eq!(complete(&[4]), 1);
    assert_eq!(reached(), 6);
    assert_eq!(complete(&[8, 7]), 2, "newest first");
    assert_eq!(reached(), 8);
    assert_eq!(complete(&[9, 10, 11, 12]), 2, "rows 11 and 12 do not exist");
    assert_eq!(reached(), 10);
    append(&fixture.repository, "a", 10..12);
    assert_eq!(reached(), 10, "and were not scored before they came");
    let rows = fixture.repository.rows_after(&id("a"), RowId(9), 1).expect("reads");
    let row = &rows[0];
    assert_eq!(
        (row.raw_anomaly_score, row.anomaly_score, row.display_value),
        (Some(0.25), Some(0.5), Some(1_000))
    );
    // Imported scores without a remembered progress are found by walking.
    fixture.raw().execute("DELETE FROM score_progress", []).expect("deletes");
    assert_eq!(reached(), 10);
    within(&fixture.repository, |tx| tx.clear_scores(&id("a"))).expect("clears");
    assert_eq!(reached(), 0);
    let rows = fixture.repository.rows_after(&id("a"), RowId(0), 100).expect("reads");
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| row.raw_anomaly_score.is_none() && row.anomaly_score.is_none()));
    assert!(rows.iter().all(|row| row.display_value.is_none()));
}

#[test]
fn scores_that_are_not_numbers_are_refused() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    append(&fixture.repository, "a", 0..1);
    let bad = RowUpdate { raw_anomaly_score: f64::NAN, ..update(1) };
    let answer = within(&fixture.repository, |tx| tx.complete_rows(&id("a"), std::slice::from_ref(&bad)));
    assert!(matches!(answer, Err(RepositoryError::Rejected { .. })), "{answer:?}");
}

#[test]
fn data_is_filtered_by_time_score_and_count() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    append(&fixture.repository, "a", 100..110);
    let scored = RowUpdate { anomaly_score: 0.9, ..update(4) };
    within(&fixture.repository, |tx| tx.complete_rows(&id("a"), &[update(3), scored.clone()]))
        .expect("completes");
    let rows = |query: DataQuery| {
        let rows = fixture.repository.data(&id("a"), &query).expect("reads");
        rows.iter().map(|row| row.row_id.0).collect::<Vec<_>>()
    };
    let all = DataQuery::default();
    assert_eq!(rows(all), (1..=10).collect::<Vec<_>>());
    assert_eq!(rows(DataQuery { since: Some(108), ..all }), [9, 10]);
    assert_eq!(rows(DataQuery { until: Some(101), ..all }), [1, 2]);
    assert_eq!(
        rows(DataQuery { since: Some(i64::MIN), until: Some(i64::MAX), limit: Some(2), ..all }),
        [9, 10]
    );
    assert_eq!(rows(DataQuery { min_anomaly_score: Some(0.5), ..all }), [3, 4]);
    assert_eq!(rows(DataQuery { min_anomaly_score: Some(0.51), ..all }), [4]);
    assert_eq!(rows(DataQuery { limit: Some(0), ..all }), Vec::<i64>::new());
    assert_eq!(within(&fixture.repository, |tx| tx.value_range(&id("a"), None)), Ok(Some((0.0, 9.0))));
    assert_eq!(
        within(&fixture.repository, |tx| tx.value_range(&id("a"), Some(RowId(4)))),
        Ok(Some((0.0, 3.0)))
    );
    assert_eq!(within(&fixture.repository, |tx| tx.value_range(&id("b"), None)), Ok(None));
    let between =
        within(&fixture.repository, |tx| tx.rows_between(&id("a"), RowId(2), RowId(4))).expect("reads");
    assert_eq!(between.iter().map(|row| row.row_id.0).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn deleting_a_metric_deletes_its_rows_only() {
    let fixture = fixture();
    insert(&fixture.repository, "a", "a");
    insert(&fixture.repository, "b", "b");
    append(&fixture.repository, "a", 0..3);
    append(&fixture.repository, "b", 0..3);
    within(&fixture.repository, |tx| tx.complete_rows(&id("a"), &[update(1)])).expect("completes");
    assert_eq!(within(&fixture.repository, |tx| tx.delete_metric(&id("a"))), Ok(true));
    assert_eq!(within(&fixture.repository, |tx| tx.delete_metric(&id("a"))), Ok(false));
    assert_eq!(fixture.repository.rows_after(&id("a"), RowId(0), 9), Ok(Vec::new()));
    assert_eq!(fixture.repository.scored_up_to(&id("a")), Ok(RowId(0)));
    assert_eq!(fixture.repository.rows_after(&id("b"), RowId(0), 9).expect("reads").len(), 3);
}

#[test]
fn rejects_are_summed_and_listed_most_frequent_first() {
    let fixture = fixture();
    let entry = |reason, count, last_seen, example: &str| RejectEntry {
        reason,
        count,
        last_seen,
        example: example.to_owned(),
    };
    let first = [entry(RejectReason::NanValue, 2, 10, "a"), entry(RejectReason::LateSample, 4, 10, "b")];
    fixture.repository.add_rejects(&first).expect("adds");
    fixture.repository.add_rejects(&[entry(RejectReason::NanValue, 3, 11, "c")]).expect("adds");
    fixture.raw().execute("INSERT INTO reject VALUES ('from_the_future', 1, 1, '')", []).expect("inserts");
    let expected =
        vec![entry(RejectReason::NanValue, 5, 11, "c"), entry(RejectReason::LateSample, 4, 10, "b")];
    assert_eq!(fixture.repository.rejects(), Ok(expected));
}

#[test]
fn changes_are_numbered_and_only_the_newest_kept() {
    let fixture = fixture();
    assert_eq!(fixture.repository.newest_change(), Ok(0));
    for uid in ["a", "b", "a"] {
        within(&fixture.repository, |tx| tx.announce(&id(uid))).expect("announces");
    }
    assert_eq!(fixture.repository.newest_change(), Ok(3));
    assert_eq!(fixture.repository.changes_after(1, 10), Ok(vec![(2, id("b")), (3, id("a"))]));
    assert_eq!(fixture.repository.changes_after(0, 1), Ok(vec![(1, id("a"))]));
    let last_old = MAX_CHANGES + 2;
    fixture.raw().execute("INSERT INTO change VALUES (?1, 'c')", [last_old]).expect("inserts");
    within(&fixture.repository, |tx| tx.announce(&id("d"))).expect("announces");
    assert_eq!(
        fixture.repository.changes_after(0, 10),
        Ok(vec![(last_old, id("c")), (last_old + 1, id("d"))]),
        "change 3 is now {MAX_CHANGES} behind"
    );
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
    std::thread::scope(|scope| {
        for _ in 0..3 * connection::MAX_READERS {
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
    assert_eq!(finished.iter().count(), 3 * connection::MAX_READERS);
}
