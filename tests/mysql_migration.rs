//! Promise: `htmengine migrate` makes the original's schema exactly, brings its old revisions up, and harms nothing else.

use std::collections::BTreeSet;

use htm_tests::private_mariadb::{PrivateMariadb, runtime};
use htm_tests::program;
use htm_tests::repository_conformance::{append, complete, id, insert, rows_of, update, within};
use htmengine::repository::mysql::migration::{MigrationTarget, migrate, offline_sql};
use htmengine::repository::mysql::{MysqlRepository, MysqlSettings};
use htmengine::repository::{Repository, RepositoryError};
use htmengine::row_detection::RowDetection;

/// The original's own schema at its newest revision, as recorded from it.
const CAPTURED_SCHEMA: &str = include_str!("data/captures/schema.sql");
const REVISIONS: [&str; 4] = ["57ab75d58038", "1d2eddc43366", "872a895b8e8", "315d6ad6c19f"];
/// The columns of `metric_data` by which a migrated database may differ, besides tables of our own.
const OUR_COLUMNS: [&str; 3] = [
    "  `detection_score` double DEFAULT NULL,\n",
    "  `alert_score` double DEFAULT NULL,\n",
    "  `detection_components` varchar(120) DEFAULT NULL,\n",
];
const OUR_TABLES: [&str; 7] = [
    "alert_cursor",
    "alert_delivery",
    "alert_episode",
    "change",
    "htmengine_version",
    "reject",
    "score_progress",
];

fn server() -> &'static PrivateMariadb {
    PrivateMariadb::shared()
}

fn migrated(settings: &MysqlSettings, target: MigrationTarget) -> Vec<String> {
    migrate(settings, target, runtime()).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(settings: &MysqlSettings, parts: &[&str]) {
    let before = server().dump_schema(&settings.database);
    match migrate(settings, MigrationTarget::Head, runtime()) {
        Err(RepositoryError::Fatal { reason }) => {
            for part in parts {
                assert!(reason.contains(part), "`{part}` is not said in: {reason}");
            }
        }
        other => panic!("expected a refusal, found {other:?}"),
    }
    assert_eq!(server().dump_schema(&settings.database), before, "nothing was changed");
}

/// Definitions of a dump by table, without the lines around them.
fn tables(dump: &str) -> Vec<(String, String)> {
    let definitions = dump.split("CREATE TABLE `").skip(1);
    definitions
        .map(|rest| {
            let (name, rest) = rest.split_once('`').expect("a name");
            let (definition, _) = rest.split_once(';').expect("an end");
            (name.to_owned(), definition.to_owned())
        })
        .collect()
}

fn captured() -> Vec<(String, String)> {
    let tables = tables(CAPTURED_SCHEMA);
    assert_eq!(tables.len(), 5);
    tables
}

#[test]
fn a_migrated_database_equals_the_originals() {
    let settings = server().fresh_database();
    let done = migrated(&settings, MigrationTarget::Original);
    assert_eq!(done.len(), REVISIONS.len(), "{done:?}");
    assert_eq!(tables(&server().dump_schema(&settings.database)), captured());
    let recorded = server().query(&settings.database, "SELECT version_num FROM alembic_version");
    assert_eq!(recorded.trim(), REVISIONS[3]);
    assert_eq!(server().query(&settings.database, "SELECT name FROM `lock`").trim(), "metrics");
    // Ours on top, by name.
    assert_eq!(migrated(&settings, MigrationTarget::Head).len(), 1);
    let mut ours = tables(&server().dump_schema(&settings.database));
    ours.retain(|(name, _)| !OUR_TABLES.contains(&name.as_str()));
    for (name, definition) in &mut ours {
        if name == "metric" {
            *definition = definition.replace(",\n  KEY `name_idx` (`name`(191))", "");
        }
        for column in OUR_COLUMNS {
            *definition = definition.replace(column, "");
        }
    }
    assert_eq!(ours, captured());
    assert_eq!(server().query(&settings.database, "SELECT version FROM htmengine_version").trim(), "3");
}

#[test]
fn migrating_again_does_nothing() {
    let settings = server().migrated_database();
    let before = server().dump_schema(&settings.database);
    assert_eq!(migrated(&settings, MigrationTarget::Head), Vec::<String>::new());
    assert_eq!(migrated(&settings, MigrationTarget::Original), Vec::<String>::new());
    assert_eq!(server().dump_schema(&settings.database), before);
}

#[test]
fn a_database_of_version_1_works_without_the_detection_score_until_it_is_brought_up() {
    let settings = server().migrated_database();
    server().query(
        &settings.database,
        "ALTER TABLE metric_data DROP COLUMN detection_score, DROP COLUMN alert_score, DROP COLUMN detection_components;
         DROP TABLE alert_delivery, alert_episode, alert_cursor;
         UPDATE htmengine_version SET version = 1",
    );
    let detection = |repository: &dyn Repository| rows_of(repository, "aa")[0].detection;
    let old = MysqlRepository::connect(&settings, runtime()).expect("connects");
    insert(&*old, "aa", "aa");
    append(&*old, "aa", 0..1);
    complete(&*old, "aa", &[1]);
    assert_eq!(detection(&*old), None);
    assert!(!old.has_alert_tables());
    assert_eq!(migrated(&settings, MigrationTarget::Head).len(), 1);
    let new = MysqlRepository::connect(&settings, runtime()).expect("connects");
    assert_eq!(detection(&*new), None, "scored before");
    assert!(new.has_alert_tables());
    complete(&*new, "aa", &[1]);
    assert_eq!(detection(&*new), Some(RowDetection::default()));
    assert_eq!(migrated(&settings, MigrationTarget::Head), Vec::<String>::new());
}

#[test]
fn two_migrations_at_once_wait_for_one_another() {
    let settings = server().fresh_database();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| migrated(&settings, MigrationTarget::Head).len()));
        both.into_iter().map(|one| one.join().expect("migrates")).collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), REVISIONS.len() + 1, "{counts:?}");
    MysqlRepository::connect(&settings, runtime()).expect("connects");
}

/// The statements that bring an empty database to the revision with this number.
fn script_up_to(number: usize) -> String {
    let script = offline_sql(MigrationTarget::Original);
    let end = REVISIONS.get(number + 1).and_then(|next| script.find(&format!("-- revision {next}")));
    script[..end.unwrap_or(script.len())].to_owned()
}

#[test]
fn every_revision_of_the_original_is_brought_up_with_its_rows() {
    for (number, revision) in REVISIONS.iter().enumerate() {
        let settings = server().fresh_database();
        let database = settings.database.as_str();
        server().query(database, &script_up_to(number));
        let recorded = server().query(database, "SELECT version_num FROM alembic_version");
        assert_eq!(recorded.trim(), *revision);
        server().query(
            database,
            "INSERT INTO metric (uid, datasource, name, server, status, last_rowid) \
               VALUES ('aa', 'custom', 'old', 'old', 0, 2);
             INSERT INTO metric_data (uid, rowid, timestamp, metric_value) \
               VALUES ('aa', 1, '2014-07-01 00:00:00', 0.1), ('aa', 2, '2014-07-01 00:30:00', 10844);
             INSERT INTO instance_status_history VALUES ('i', '2014-07-01 00:00:01', 'running')",
        );
        let too_old = MysqlRepository::connect(&settings, runtime());
        if number < REVISIONS.len() - 1 {
            let Err(RepositoryError::Fatal { reason }) = too_old else { panic!("connected") };
            assert!(reason.contains(revision) && reason.contains("htmengine migrate"), "{reason}");
        }
        assert_eq!(migrated(&settings, MigrationTarget::Original).len(), REVISIONS.len() - 1 - number);
        assert_eq!(tables(&server().dump_schema(database)), captured(), "from {revision}");
        migrated(&settings, MigrationTarget::Head);
        let repository = MysqlRepository::connect(&settings, runtime()).expect("connects");
        let rows = rows_of(&*repository, "aa");
        let read: Vec<_> = rows.iter().map(|row| (row.row_id.0, row.timestamp, row.value)).collect();
        assert_eq!(read, [(1, 1_404_172_800, 0.1), (2, 1_404_174_600, 10_844.0)], "from {revision}");
        let status = server().query(database, "SELECT timestamp FROM instance_status_history");
        assert_eq!(status.trim(), "2014-07-01 00:00:01");
    }
}

#[test]
fn the_originals_own_dump_is_recognised() {
    let settings = server().fresh_database();
    let database = settings.database.as_str();
    server().query(database, CAPTURED_SCHEMA);
    server().query(
        database,
        "INSERT INTO alembic_version VALUES ('315d6ad6c19f'); INSERT INTO `lock` VALUES ('metrics'); \
         INSERT INTO metric (uid, datasource, name) VALUES ('aa', 'custom', 'cpu')",
    );
    let repository = MysqlRepository::connect(&settings, runtime()).expect("connects without our tables");
    // `last_rowid`, `poll_interval` and the rest as another program left them.
    let found = repository.metric_by_name("cpu").expect("reads").expect("exists");
    assert_eq!((found.last_rowid.0, found.poll_interval_s, found.server), (0, 60, None));
    assert_eq!(append(&*repository, "aa", 0..2).0, 2);
    within(&*repository, |tx| tx.complete_rows(&id("aa"), &[update(1)])).expect("completes");
    let texts = server().query(
        database,
        "SELECT rowid, timestamp, multi_step_best_predictions FROM metric_data ORDER BY rowid",
    );
    assert_eq!(texts, "1\t1970-01-01 00:00:00\tnull\n2\t1970-01-01 00:00:01\tNULL\n");
    assert_eq!(migrated(&settings, MigrationTarget::Head).len(), 1);
    let repository = MysqlRepository::connect(&settings, runtime()).expect("connects");
    assert_eq!(repository.scored_up_to(&id("aa")).expect("reads").0, 1, "told from the rows");
}

#[test]
fn a_migration_that_was_cut_off_goes_on() {
    let full = script_up_to(3);
    let statements: Vec<&str> = full.split_inclusive(";\n").collect();
    for cut in 1..statements.len() {
        let settings = server().fresh_database();
        server().query(&settings.database, &statements[..cut].concat());
        migrated(&settings, MigrationTarget::Original);
        assert_eq!(tables(&server().dump_schema(&settings.database)), captured(), "after {cut} statements");
        assert_eq!(server().query(&settings.database, "SELECT name FROM `lock`").trim(), "metrics");
    }
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let settings = server().fresh_database();
    server().query(&settings.database, "CREATE TABLE metric (x INT); CREATE TABLE elephants (x INT)");
    refused(&settings, &["`metric`", "alembic_version", "empty database"]);

    let settings = server().fresh_database();
    server().query(
        &settings.database,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL); \
         INSERT INTO alembic_version VALUES ('2f1cf2a9bf8b')",
    );
    refused(&settings, &["`2f1cf2a9bf8b`", "315d6ad6c19f"]);
    let connected = MysqlRepository::connect(&settings, runtime()).err().map(|error| error.to_string());
    assert!(connected.is_some_and(|reason| reason.contains("2f1cf2a9bf8b")));

    let settings = server().fresh_database();
    migrated(&settings, MigrationTarget::Original);
    server().query(&settings.database, "CREATE TABLE `change` (x INT)");
    refused(&settings, &["`change`", "htmengine_version"]);

    let settings = server().migrated_database();
    server().query(&settings.database, "UPDATE htmengine_version SET version = 7");
    refused(&settings, &["version 7", "newer"]);

    let settings = server().settings("no_such_database");
    let Err(RepositoryError::Fatal { reason }) = migrate(&settings, MigrationTarget::Head, runtime()) else {
        panic!("migrated nothing");
    };
    assert!(reason.contains("no_such_database") && reason.contains("CREATE DATABASE"), "{reason}");
}

#[test]
fn offline_sql_makes_the_same() {
    let [printed, made] = [server().fresh_database(), server().migrated_database()];
    let sql = program::succeed(["migrate", "--offline"]);
    server().query(&printed.database, &sql);
    let dumps = [&printed, &made].map(|settings| tables(&server().dump_schema(&settings.database)));
    assert_eq!(dumps[0], dumps[1]);
    assert_eq!(migrated(&printed, MigrationTarget::Head), Vec::<String>::new());
    let original = program::succeed(["migrate", "--offline", "--to", "original"]);
    assert!(sql.starts_with(&original) && !original.contains("htmengine_version"));
}

#[test]
fn the_command_line_migrates_and_says_so() {
    let settings = server().fresh_database();
    let url = format!("mysql://root@127.0.0.1:{}/{}", settings.port, settings.database);
    let said = program::succeed(["migrate", "--database", &url]);
    let lines: BTreeSet<&str> = said.lines().collect();
    assert!(lines.len() == 5 && lines.iter().all(|line| line.starts_with("done: ")), "{said}");
    assert!(program::succeed(["migrate", "--database", &url]).starts_with("nothing to do"));
    let repository = MysqlRepository::connect(&settings, runtime()).expect("connects");
    insert(&*repository, "a", "a");
    program::fail(["migrate"], 1, &["--database mysql://", "SQLite"]);
    let wrong = format!("mysql://nobody:geheim@127.0.0.1:{}/{}", settings.port, settings.database);
    program::fail(["migrate", "--database", &wrong], 1, &["check user and password"]);
}

#[test]
fn tables_of_another_character_set_are_extended() {
    let settings = server().fresh_database();
    migrated(&settings, MigrationTarget::Original);
    // Made under latin1; the database has moved on since.
    let database = &settings.database;
    server().query(database, &format!("ALTER DATABASE {database} CHARACTER SET utf8mb4"));
    migrated(&settings, MigrationTarget::Head);
    let dump = server().dump_schema(database);
    let progress = tables(&dump).into_iter().find(|(name, _)| name == "score_progress").expect("made");
    assert!(progress.1.contains("CHARSET=latin1"), "{}", progress.1);
}
