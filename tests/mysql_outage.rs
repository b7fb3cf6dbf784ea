//! Promise: whatever becomes of a connection or of the server, MySQL's rows are written once, and values that do not
//! fit are refused and not changed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use htm_core::ids::RowId;
use htm_tests::lone_run::padded_range;
use htm_tests::private_mariadb::{PrivateMariadb, runtime};
use htm_tests::recording::series;
use htm_tests::repository_conformance::{append, id, insert, metric, rows_of, samples, update, within};
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{monitor, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::backends::RepositoryChoice;
use htmengine::monitoring::{in_transaction, unmonitor};
use htmengine::repository::metric::{Metric, MetricStatus};
use htmengine::repository::metric_data::{RowUpdate, StoredSample};
use htmengine::repository::mysql::migration::{MigrationTarget, migrate};
use htmengine::repository::mysql::{MysqlRepository, MysqlSettings};
use htmengine::repository::{MAX_CHANGES, Repository, RepositoryError, Transaction};

fn server() -> &'static PrivateMariadb {
    PrivateMariadb::shared()
}

fn connect(settings: &MysqlSettings) -> Arc<dyn Repository> {
    MysqlRepository::connect(settings, runtime()).unwrap_or_else(|error| panic!("{error}"))
}

fn open() -> (MysqlSettings, Arc<dyn Repository>) {
    let settings = server().migrated_database();
    let repository = connect(&settings);
    (settings, repository)
}

fn row_ids(repository: &dyn Repository, uid: &str) -> Vec<i64> {
    rows_of(repository, uid).iter().map(|row| row.row_id.0).collect()
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(answer: Result<T, RepositoryError>) -> String {
    match answer {
        Err(RepositoryError::Rejected { reason }) => reason,
        other => panic!("expected a rejection, found {other:?}"),
    }
}

/// Ends every connection to a database from the server's side.
fn kill_connections(settings: &MysqlSettings) {
    let sql = format!(
        "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = '{}'",
        settings.database
    );
    let orders = server().query("mysql", &sql);
    assert!(!orders.is_empty(), "there is a connection to kill");
    server().query("mysql", &orders);
}

#[test]
fn a_deadlock_is_run_again() {
    let (_, repository) = open();
    insert(&*repository, "a", "a");
    insert(&*repository, "b", "b");
    let (both_hold_one, runs) = (Barrier::new(2), AtomicUsize::new(0));
    thread::scope(|scope| {
        for [first, second] in [["a", "b"], ["b", "a"]] {
            let (repository, both_hold_one, runs) = (&*repository, &both_hold_one, &runs);
            scope.spawn(move || {
                let mut is_first_run = true;
                within(repository, |tx| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    tx.append_rows(&id(first), &samples(0..2))?;
                    if std::mem::take(&mut is_first_run) {
                        both_hold_one.wait();
                    }
                    tx.append_rows(&id(second), &samples(0..2))
                })
                .expect("both go through");
            });
        }
    });
    assert_eq!(runs.into_inner(), 3, "the server gave one of them up");
    for uid in ["a", "b"] {
        assert_eq!(row_ids(&*repository, uid), [1, 2, 3, 4]);
    }
}

#[test]
fn a_lock_that_is_held_for_long_is_waited_for() {
    let (_, repository) = open();
    insert(&*repository, "a", "a");
    let (is_held, runs) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            within(&*repository, |tx| {
                tx.append_rows(&id("a"), &samples(0..1))?;
                is_held.store(true, Ordering::Release);
                wait_until("the other to run into the lock twice", || runs.load(Ordering::Acquire) == 2);
                Ok(())
            })
            .expect("commits");
        });
        wait_until("the lock", || is_held.load(Ordering::Acquire));
        within(&*repository, |tx| {
            runs.fetch_add(1, Ordering::Release);
            tx.append_rows(&id("a"), &samples(1..2))
        })
        .expect("goes through in the end");
    });
    assert_eq!(row_ids(&*repository, "a"), [1, 2]);
}

#[test]
fn a_connection_killed_in_the_middle_is_repeated_once_and_exactly() {
    let (settings, repository) = open();
    insert(&*repository, "a", "a");
    let mut runs = 0;
    within(&*repository, |tx| {
        runs += 1;
        tx.append_rows(&id("a"), &samples(0..3))?;
        if runs == 1 {
            kill_connections(&settings);
        }
        tx.append_rows(&id("a"), &samples(3..5))
    })
    .expect("repeats");
    assert_eq!(runs, 2);
    assert_eq!(row_ids(&*repository, "a"), [1, 2, 3, 4, 5]);
    // An idle connection that died is no reason to fail either.
    kill_connections(&settings);
    assert_eq!(repository.metric_by_name("a").expect("reads").expect("exists").last_rowid, RowId(5));
}

#[test]
fn work_that_overlooks_a_failure_is_not_committed_in_part() {
    let (settings, repository) = open();
    insert(&*repository, "a", "a");
    let mut runs = 0;
    within(&*repository, |tx| {
        runs += 1;
        tx.append_rows(&id("a"), &samples(0..3))?;
        if runs == 1 {
            kill_connections(&settings);
        }
        let _ = tx.append_rows(&id("a"), &samples(3..5));
        Ok(())
    })
    .expect("repeats");
    assert_eq!((runs, row_ids(&*repository, "a").len()), (2, 5));
}

/// Where a [`Wire`] breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The server never hears of the COMMIT.
    BeforeCommit,
    /// The server commits, and its answer is lost.
    AfterCommit,
}

/// A wire to the shared server that breaks at one COMMIT, once it is armed.
struct Wire {
    port: u16,
    is_armed: Arc<AtomicBool>,
}

impl Wire {
    fn new(cut: Cut) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let is_armed = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&is_armed);
        // Ends with the process: it holds nothing but sockets.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, armed) = (client.expect("a connection"), Arc::clone(&armed));
                thread::spawn(move || Self::carry(&client, cut, &armed));
            }
        });
        Self { port, is_armed }
    }

    fn carry(client: &TcpStream, cut: Cut, armed: &AtomicBool) {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server().port())).expect("the server");
        let back = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        let is_cut = Arc::new(AtomicBool::new(false));
        let is_mute = Arc::clone(&is_cut);
        thread::spawn(move || {
            let (mut from, mut to) = back;
            let mut bytes = [0; 1 << 14];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if is_mute.load(Ordering::Acquire) {
                    break;
                }
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
        let (mut from, mut to) = (client, &server);
        let mut bytes = [0; 1 << 14];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            // A command of its own: three bytes of length, a number, the kind, the text.
            if bytes[..count].ends_with(b"\x03COMMIT") && armed.swap(false, Ordering::AcqRel) {
                is_cut.store(true, Ordering::Release);
                if cut == Cut::BeforeCommit {
                    break;
                }
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        if cut == Cut::BeforeCommit {
            let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
        }
    }
}

#[test]
fn a_commit_whose_answer_is_lost_counts_once() {
    type Work = fn(&mut dyn Transaction) -> Result<(), RepositoryError>;
    let works: [(&str, Work); 4] = [
        ("rows", |tx| tx.append_rows(&id("a"), &samples(0..700)).map(|_| ())),
        ("a metric", |tx| tx.insert_metric(&metric("b", "b"))),
        ("a status", |tx| {
            let moved = tx.set_status(&id("a"), &[MetricStatus::Unmonitored], MetricStatus::Active, None)?;
            assert!(moved, "it is moved once");
            Ok(())
        }),
        ("a deletion", |tx| {
            assert!(tx.delete_metric(&id("gone"))?, "it is deleted once");
            Ok(())
        }),
    ];
    for cut in [Cut::BeforeCommit, Cut::AfterCommit] {
        let wire = Wire::new(cut);
        let settings = server().migrated_database();
        let repository = connect(&MysqlSettings { port: wire.port, ..settings.clone() });
        insert(&*repository, "a", "a");
        insert(&*repository, "gone", "gone");
        for (what, work) in works {
            let mut runs = 0;
            wire.is_armed.store(true, Ordering::Release);
            let done = within(&*repository, |tx| {
                runs += 1;
                work(tx)
            });
            assert_eq!(done, Ok(()), "{what}, {cut:?}");
            assert!(!wire.is_armed.load(Ordering::Acquire), "{what}: the wire was cut");
            assert_eq!(runs, if cut == Cut::BeforeCommit { 2 } else { 1 }, "{what}, {cut:?}");
        }
        let found = connect(&settings);
        assert_eq!(row_ids(&*found, "a"), (1..=700).collect::<Vec<_>>(), "{cut:?}");
        let metrics = found.metrics(&[]).expect("lists");
        let listed: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.status)).collect();
        assert_eq!(listed, [("a", MetricStatus::Active), ("b", MetricStatus::Unmonitored)], "{cut:?}");
    }
}

#[test]
fn a_server_that_goes_and_comes_under_load_loses_and_doubles_nothing() {
    const BATCHES: usize = 80;
    const ROWS: usize = 10;
    let server = PrivateMariadb::start_own();
    let settings = server.migrated_database();
    let repository = connect(&settings);
    let stored = AtomicUsize::new(0);
    let wait_for_batches = |count: usize| {
        wait_until("batches to be stored", || stored.load(Ordering::Acquire) >= count);
    };
    thread::scope(|scope| {
        for uid in ["a", "b"] {
            let (repository, stored) = (&*repository, &stored);
            insert(repository, uid, uid);
            scope.spawn(move || {
                let times: Vec<i64> = (0..).take(BATCHES * ROWS).collect();
                for batch in times.chunks(ROWS) {
                    let end = batch[ROWS - 1] + 1;
                    // As the storer: what is not newer than the last row is there already.
                    let store = |tx: &mut dyn Transaction| {
                        let tail = tx.tail_timestamp(&id(uid))?.unwrap_or(-1);
                        let last = tx.append_rows(&id(uid), &samples(batch[0].max(tail + 1)..end))?;
                        let scores: Vec<RowUpdate> = (last.0 - 9..=last.0).map(update).collect();
                        tx.complete_rows(&id(uid), &scores)
                    };
                    wait_until("a batch", || match within(repository, store) {
                        Ok(completed) => completed == ROWS,
                        Err(RepositoryError::Transient { .. }) => false,
                        Err(error) => panic!("{error}"),
                    });
                    stored.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        wait_for_batches(20);
        server.kill();
        server.start();
        wait_for_batches(80);
        server.stop();
        let away = MysqlRepository::connect(&settings, runtime());
        assert!(matches!(away, Err(RepositoryError::Transient { .. })), "roles go on waiting");
        server.start();
    });
    let expected: Vec<i64> = (1..).take(BATCHES * ROWS).collect();
    for uid in ["a", "b"] {
        assert_eq!(row_ids(&*repository, uid), expected);
        let rows = rows_of(&*repository, uid);
        assert!(
            rows.iter().all(|row| row.timestamp == row.row_id.0 - 1 && row.raw_anomaly_score == Some(0.25))
        );
        assert_eq!(repository.scored_up_to(&id(uid)), Ok(RowId(expected[expected.len() - 1])));
    }
}

#[test]
fn who_is_not_let_in_is_told_what_to_do() {
    let settings = server().fresh_database();
    let refused = |settings: &MysqlSettings| match MysqlRepository::connect(settings, runtime()) {
        Err(RepositoryError::Fatal { reason }) => reason,
        Err(error) => panic!("expected a fatal error, found {error:?}"),
        Ok(_) => panic!("connected"),
    };
    let wrong = MysqlSettings { password: "geheim".to_owned(), ..settings.clone() };
    let told = refused(&wrong);
    assert!(told.contains("check user and password") && !told.contains("geheim"), "{told}");
    assert!(refused(&server().settings("nowhere")).contains("CREATE DATABASE"));
    assert!(refused(&settings).contains("htmengine migrate"), "no tables");
    migrate(&settings, MigrationTarget::Head, runtime()).expect("migrates");
    server().query(&settings.database, "DROP TABLE metric_data");
    assert!(refused(&settings).contains("`metric_data`"));
    let settings = server().migrated_database();
    server().query(&settings.database, "DELETE FROM `lock`");
    let repository = connect(&settings);
    let answer = within(&*repository, |tx| tx.metric_by_name("a"));
    let Err(RepositoryError::Fatal { reason }) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("INSERT INTO `lock`"), "{reason}");
}

#[test]
fn what_a_column_cannot_hold_is_refused_and_never_changed() {
    let (settings, repository) = open();
    insert(&*repository, "a", "a");
    // latin1 has no such characters; in a lax mode they would become question marks.
    for name in ["\u{4e2d}\u{6587}", "cpu \u{1f525}"] {
        let reason = rejected(within(&*repository, |tx| tx.insert_metric(&metric("b", name))));
        assert!(reason.contains("'name'") || reason.contains("`name`"), "{reason}");
        assert_eq!(repository.metric_by_name(name), Ok(None));
    }
    assert_eq!(repository.metrics(&[]).expect("lists").len(), 1);
    let long = "x".repeat(65_536);
    let reason = rejected(within(&*repository, |tx| tx.set_model(&id("a"), Some(&long), None)));
    assert!(reason.contains("parameters has 65536 bytes"), "{reason}");
    let fits = "x".repeat(65_535);
    assert_eq!(within(&*repository, |tx| tx.set_model(&id("a"), None, Some(&fits))), Ok(()));
    let reason = rejected(within(&*repository, |tx| {
        tx.insert_metric(&Metric { poll_interval_s: 1 << 40, ..metric("b", "b") })
    }));
    assert!(reason.contains("poll_interval"), "{reason}");
    append(&*repository, "a", 0..1);
    let big = RowUpdate { display_value: 1 << 40, ..update(1) };
    let reason = rejected(within(&*repository, |tx| tx.complete_rows(&id("a"), std::slice::from_ref(&big))));
    assert!(reason.contains("display_value"), "{reason}");
    let ancient = StoredSample { timestamp: -40_000_000_000, value: 1.0 };
    rejected(within(&*repository, |tx| tx.append_rows(&id("a"), &[ancient])));
    server().query(&settings.database, "UPDATE metric SET last_rowid = 2147483646");
    assert_eq!(append(&*repository, "a", 1..2), RowId(2_147_483_647));
    let reason = rejected(within(&*repository, |tx| tx.append_rows(&id("a"), &samples(2..3))));
    assert!(reason.contains("at most row 2147483647"), "{reason}");
}

#[test]
fn other_programs_may_write_the_same_tables() {
    let (settings, repository) = open();
    insert(&*repository, "a", "a");
    append(&*repository, "a", 0..10);
    let updates: Vec<RowUpdate> = (1..=10).map(update).collect();
    within(&*repository, |tx| tx.complete_rows(&id("a"), &updates)).expect("completes");
    // The original unmonitors a metric, and knows nothing of our tables.
    server().query(
        &settings.database,
        "UPDATE metric_data SET raw_anomaly_score = NULL, anomaly_score = NULL, display_value = NULL, \
         multi_step_best_predictions = NULL",
    );
    assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(0)));
    within(&*repository, |tx| tx.complete_rows(&id("a"), &updates[..2])).expect("completes");
    assert_eq!(repository.scored_up_to(&id("a")), Ok(RowId(2)));
    // A metric of another datasource may have the name of one of ours; one without a name hides none.
    server().query(
        &settings.database,
        "INSERT INTO metric (uid, datasource, name) VALUES ('0', 'cloudwatch', 'a'), ('1', 'custom', NULL)",
    );
    assert_eq!(repository.metric_by_name("a").expect("reads").expect("exists").uid, id("a"));
    assert_eq!(repository.metrics(&[]).expect("lists").len(), 2);
    server().query(&settings.database, "INSERT INTO reject VALUES ('from_the_future', 1, 1, '')");
    assert_eq!(repository.rejects(), Ok(Vec::new()));
    server().query(&settings.database, "DELETE FROM metric WHERE uid = 'a'");
    let left = server().query(&settings.database, "SELECT COUNT(*) FROM score_progress");
    assert_eq!(left.trim(), "0", "goes with its metric");
}

#[test]
fn only_the_newest_changes_are_kept() {
    let (settings, repository) = open();
    within(&*repository, |tx| tx.announce(&id("a"))).expect("announces");
    let last_old = MAX_CHANGES + 1;
    server().query(&settings.database, &format!("INSERT INTO `change` VALUES ({last_old}, 'b')"));
    within(&*repository, |tx| tx.announce(&id("c"))).expect("announces");
    let kept = repository.changes_after(0, 10);
    assert_eq!(kept, Ok(vec![(last_old, id("b")), (last_old + 1, id("c"))]));
}

/// Numbers that were rolled back once made the scheduler take everything for changed: each gap cost every model in memory
/// what it had stepped since its file.
#[test]
fn a_change_that_was_rolled_back_drops_no_model_from_memory_and_one_that_was_deleted_unseen_does() {
    let settings = server().migrated_database();
    let database = RepositoryChoice::Mysql(settings.clone());
    let running = RunningEngine::start(|options| options.repository = database);
    let repository = running.repository();
    let samples: Vec<_> = series("nyc_taxi").into_iter().map(|(_, sample)| sample).take(20).collect();
    let monitored = |name: &str| {
        monitor(repository, name, Some(padded_range(&samples)));
        send(running.address(), lines(name, &samples).as_bytes());
        wait_for_scores(repository, name, samples.len());
    };
    let figures = || running.engine().figures();
    let unmonitored = |name: &str| {
        let uid = repository.metric_by_name(name).expect("reads").expect("exists").uid;
        in_transaction(repository, |tx| unmonitor(tx, &uid)).expect("unmonitored");
    };
    for name in ["first", "second", "third"] {
        monitored(name);
    }
    unmonitored("third");
    wait_until("all changes so far to be seen", || figures().known_models == 2);
    let newest = repository.newest_change().expect("reads");
    let rolled_back = within(repository, |tx| {
        tx.announce(&id("none"))?;
        Err::<(), _>(RepositoryError::Rejected { reason: "made up".to_owned() })
    });
    rejected(rolled_back);
    unmonitored("second");
    assert_eq!(repository.newest_change(), Ok(newest + 2), "there is a gap");
    wait_until("the change to be seen", || figures().known_models == 1);
    assert_eq!(figures().swaps_in, 3, "the first one stayed where it was");

    let far = newest + MAX_CHANGES + 10;
    server().query(&settings.database, &format!("INSERT INTO `change` VALUES ({far}, 'none')"));
    wait_until("all models to be looked at anew", || figures().swaps_in == 4);
    running.stop();
}
