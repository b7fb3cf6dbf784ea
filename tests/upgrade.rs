//! Promise: an engine starts on the files and databases of every earlier version, keeps every row and score in them, and scores
//! on as if it had never stopped. A model file of another version is told by its number and built again from its rows.
//!
//! `tests/data/upgrade` has one metric, `speed`, of 150 rows of which 120 are scored, as each version of the SQLite schema kept
//! it, and the model's file at row 120 in the first released format.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use htm_core::encoder::Record;
use htm_core::format::header::{FORMAT_VERSION, Header};
use htm_core::params::ValueRange;
use htm_tests::lone_run::{assert_scored, assert_scored_of_old, assert_stored, scores};
use htm_tests::private_mariadb::{PrivateMariadb, runtime};
use htm_tests::program::{Server, open_repository, succeed};
use htm_tests::recording::{data_path, series};
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, monitor, rows, wait_for_rows, wait_for_scores};
use htmengine::backends::DATABASE_FILE;
use htmengine::config::DEFAULT_DATA_DIR;
use htmengine::engine::MODELS_FOLDER;
use htmengine::repository::Repository;
use htmengine::repository::metric_data::MetricRow;
use htmengine::repository::mysql::MysqlRepository;
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use tempfile::TempDir;

const MODEL_ID: &str = "596c1faa68907d961ae27ecfdb20d3c1";
/// Rows that the old engine scored, and that it stored.
const SCORED: usize = 120;
const STORED: usize = 150;
const ROWS: usize = 200;
/// Where the format version lies in a model file.
const VERSION_AT: usize = 8;

fn samples() -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(ROWS).collect()
}

fn range() -> ValueRange {
    ValueRange::new(0.0, 120.0).expect("usable")
}

fn unpacked(name: &str) -> Vec<u8> {
    let path = data_path(&format!("upgrade/{name}.gz"));
    let file = fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("a whole file");
    bytes
}

/// The data folder of an engine with this version of the schema and this file of its model.
fn old_folder(schema: i64, model: Option<&[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join(DEFAULT_DATA_DIR);
    let file = data_dir.join(MODELS_FOLDER).join(&MODEL_ID[..2]).join(format!("{MODEL_ID}.model"));
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(data_dir.join(DATABASE_FILE), unpacked(&format!("schema_{schema}.sqlite"))).expect("written");
    if let Some(model) = model {
        fs::write(file, model).expect("written");
    }
    (folder, data_dir)
}

/// Whether `rows` are the first samples with the scores of a lone run, the first `of_old` of them without a detection score.
#[track_caller]
fn assert_upgraded(context: &str, rows: &[MetricRow], of_old: usize) {
    let samples = &samples()[..rows.len()];
    let scores = scores(samples, range());
    assert_stored(context, rows, samples);
    assert_scored_of_old(context, &rows[..of_old], &scores[..of_old]);
    assert_scored(context, &rows[of_old..], &scores[of_old..]);
}

/// Starts an engine over the folder, sends it what is new, and compares every row, of which the first `of_old` were scored
/// without a detection score; returns its log.
fn scores_on(context: &str, folder: &Path, data_dir: &Path, of_old: usize) -> String {
    let samples = samples();
    let server = Server::start(folder, [""; 0]);
    let repository = server.repository();
    let before = rows(&repository, "speed");
    assert_stored(context, &before, &samples[..STORED]);
    assert_upgraded(context, &before[..SCORED], of_old);
    send(server.address(), lines("speed", &samples[STORED..]).as_bytes());
    let all = wait_for_scores(&repository, "speed", ROWS);
    assert_eq!(all.len(), ROWS, "{context}");
    assert_upgraded(context, &all, of_old);
    let log = server.log();
    assert!(server.terminate().success(), "{context}: a good end");
    let verified = succeed(["verify", data_dir.join(MODELS_FOLDER).to_str().expect("text")]);
    assert!(verified.contains("1 model files are right"), "{context}: {verified}");
    log
}

#[test]
fn every_schema_of_sqlite_is_brought_up_with_its_rows_and_scored_on() {
    let model = unpacked("format_4.model");
    for schema in 1..=3 {
        let (folder, data_dir) = old_folder(schema, Some(&model));
        let only_read = SqliteRepository::open(&data_dir.join(DATABASE_FILE), OpenMode::ReadOnly);
        assert_eq!(
            only_read.is_ok(),
            schema == 3,
            "an old schema is refused until an engine has brought it up"
        );
        let of_old = if schema == 1 { SCORED } else { 0 };
        let log = scores_on(&format!("schema {schema}"), folder.path(), &data_dir, of_old);
        assert!(!log.contains("cannot be used"), "schema {schema}: the model goes on from its file: {log}");
        assert!(open_repository(&data_dir).metric_by_name("speed").is_ok_and(|metric| metric.is_some()));
    }
}

#[test]
fn the_model_file_of_the_first_released_format_is_right() {
    let model = unpacked("format_4.model");
    let header = Header::of(&model).expect("a whole file of a version that this program reads");
    assert_eq!(header.last_stepped_row_id.0, i64::try_from(SCORED).expect("few"));
    assert_eq!(
        FORMAT_VERSION, 4,
        "a new format needs its own golden file here, and its own answer to this one"
    );
}

#[test]
fn a_model_file_of_another_version_is_told_by_its_number_and_built_again() {
    let model = unpacked("format_4.model");
    for version in [1_u32, 2, 3, FORMAT_VERSION + 1] {
        let mut other = model.clone();
        other[VERSION_AT..VERSION_AT + 4].copy_from_slice(&version.to_le_bytes());
        Header::mend(&mut other);
        let (folder, data_dir) = old_folder(3, Some(&other));
        let log = scores_on(&format!("format {version}"), folder.path(), &data_dir, 0);
        assert!(log.contains("cannot be used") && log.contains(&format!("version {version}")), "{log}");
    }
}

#[test]
fn every_version_of_our_tables_in_mysql_is_scored_on_before_and_after_it_is_brought_up() {
    /// What brings a database back to version 2, and from there to version 1.
    const BACK: [&str; 2] = [
        "DROP TABLE alert_delivery, alert_episode, alert_cursor; UPDATE htmengine_version SET version = 2",
        "ALTER TABLE metric_data DROP COLUMN detection_score, DROP COLUMN alert_score, \
           DROP COLUMN detection_components; UPDATE htmengine_version SET version = 1",
    ];
    let (samples, server) = (samples(), PrivateMariadb::shared());
    for version in 1..=3 {
        let settings = server.migrated_database();
        for step in &BACK[..3 - version] {
            server.query(&settings.database, step);
        }
        let url = format!("mysql://root@127.0.0.1:{}/{}", settings.port, settings.database);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let context = format!("MySQL, version {version}");
        let engine = Server::start(folder.path(), ["--database", &url]);
        let repository = MysqlRepository::connect(&settings, runtime()).expect("connects");
        monitor(&*repository, "speed", Some(range()));
        send(engine.address(), lines("speed", &samples[..60]).as_bytes());
        let old = wait_for_scores(&*repository, "speed", 60);
        assert_eq!(old.len(), 60, "{context}");
        let of_old = if version == 1 { 60 } else { 0 };
        assert_upgraded(&context, &old, of_old);
        assert!(engine.terminate().success(), "{context}: a good end");

        let said = succeed(["migrate", "--database", &url]);
        assert_eq!(said.contains("nothing to do"), version == 3, "{context}: {said}");
        let engine = Server::start(folder.path(), ["--database", &url]);
        let repository = MysqlRepository::connect(&settings, runtime()).expect("connects");
        assert!(metric(&*repository, "speed").is_some(), "{context}");
        send(engine.address(), lines("speed", &samples[60..100]).as_bytes());
        wait_for_rows(&*repository, "speed", 100);
        let new = wait_for_scores(&*repository, "speed", 100);
        assert_eq!(new.len(), 100, "{context}");
        assert_upgraded(&context, &new, of_old);
        assert!(!engine.log().contains("cannot be used"), "{context}: {}", engine.log());
        assert!(engine.terminate().success(), "{context}: a good end");
    }
}
