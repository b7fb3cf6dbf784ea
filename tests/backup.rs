//! Promise: a backup taken while the engine works brings back every row it had, and scores go on as if nothing had
//! happened; one that is damaged or not complete is never used, and none is begun without room for it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_tests::lone_run::{assert_equal, assert_stored, padded_range};
use htm_tests::private_mariadb::PrivateMariadb;
use htm_tests::program::{Server, fail, open_repository, succeed};
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::small_disk::SmallDisk;
use htm_tests::stored::{metric, monitor, monitor_all, row_count, rows, wait_for_scores};
use htmengine::engine::MODELS_FOLDER;
use htmengine::repository::Repository;
use serde_json::Value;
use tempfile::TempDir;

const METRICS: usize = 16;
const ROWS: usize = 300;
/// Rows of each metric that are scored when the backup begins.
const ROWS_BEFORE: usize = 120;
/// Few models in memory, saved often: files change all the time.
const BUSY: [&str; 4] = ["--memory-budget-mib", "6", "--checkpoint-rows", "25"];

fn samples(count: usize) -> Vec<Record> {
    series("speed_7578").into_iter().map(|(_, record)| record).take(count).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn names() -> Vec<String> {
    (0..METRICS).map(|number| format!("speed.{number}")).collect()
}

/// Rows `part` of all metrics, in turns.
fn interleaved(samples: &[Record], part: std::ops::Range<usize>) -> String {
    part.flat_map(|row| names().into_iter().map(move |name| (row, name)))
        .map(|(row, name)| lines(&name, &samples[row..=row]))
        .collect()
}

#[test]
fn a_backup_under_load_brings_back_its_rows_and_exact_scores() {
    let samples = samples(ROWS);
    let range = padded_range(&samples);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let backup = folder.path().join("backups").join("monday");
    let server = Server::start(folder.path(), BUSY);
    let (repository, data_dir) = (server.repository(), server.data_dir().to_owned());
    let names = names();
    monitor_all(&repository, &names.iter().map(String::as_str).collect::<Vec<_>>(), Some(range));
    send(server.address(), interleaved(&samples, 0..ROWS_BEFORE).as_bytes());
    for name in &names {
        wait_for_scores(&repository, name, ROWS_BEFORE);
    }
    let rest = interleaved(&samples, ROWS_BEFORE..ROWS - 20);
    let address = server.address();
    let sending = thread::spawn(move || send(address, rest.as_bytes()));
    let report = json(&succeed(["backup", text(&backup), "--json", "--data-dir", text(&data_dir)]));
    sending.join().expect("sent");
    drop(repository);
    server.kill();
    fs::remove_dir_all(&data_dir).expect("removed");

    assert_eq!(json(&succeed(["backup", "--verify", text(&backup), "--json"])), report);
    let restored = json(&succeed(["restore", text(&backup), "--json", "--data-dir", text(&data_dir)]));
    assert_eq!(restored, report);
    assert_eq!(report["model_files"], METRICS, "{report}");
    let repository = open_repository(&data_dir);
    let mut stored = 0;
    for name in &names {
        let rows = rows(&repository, name);
        assert!(rows.len() >= ROWS_BEFORE, "{name}: what was stored before is in the backup");
        assert_stored(name, &rows, &samples[..rows.len()]);
        stored += rows.len();
    }
    assert_eq!(report["stored_rows"], stored);

    let server = Server::start(folder.path(), BUSY);
    let missing: Vec<String> = names
        .iter()
        .map(|name| {
            let stored = usize::try_from(row_count(&repository, name)).expect("not negative");
            lines(name, &samples[stored..])
        })
        .collect();
    send(server.address(), missing.concat().as_bytes());
    for name in &names {
        assert_equal(name, &wait_for_scores(&repository, name, ROWS), &samples, range);
    }
    assert!(!server.log().contains("cannot be used"), "every model goes on: {}", server.log());
    assert!(server.terminate().success(), "a good end");
}

/// A backup of an engine with one metric of 60 rows that has stopped.
fn small_backup() -> (TempDir, PathBuf, PathBuf) {
    let samples = samples(60);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), [""; 0]);
    monitor(&server.repository(), "speed", Some(padded_range(&samples)));
    send(server.address(), lines("speed", &samples).as_bytes());
    wait_for_scores(&server.repository(), "speed", 60);
    let data_dir = server.data_dir().to_owned();
    assert!(server.terminate().success(), "a good end");
    fs::write(data_dir.join("unstored.lines"), lines("speed", &samples[59..])).expect("written");
    let backup = folder.path().join("backup");
    let said = succeed(["backup", text(&backup), "--data-dir", text(&data_dir)]);
    assert!(said.contains("is complete: 60 rows of 1 metrics, 60 of them scored, 1 model files"), "{said}");
    (folder, data_dir, backup)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

#[test]
fn a_damaged_backup_is_refused_by_the_name_of_its_file() {
    let (folder, _, backup) = small_backup();
    let target = folder.path().join("new");
    let files = files_below(&backup);
    assert_eq!(files.len(), 5, "database, model, kept lines, manifest and its checksum: {files:?}");
    for file in &files {
        let whole = fs::read(file).expect("a readable file");
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let named = name.strip_suffix(".sha1").unwrap_or(name);
        let mut flipped = whole.clone();
        flipped[whole.len() / 3] ^= 1;
        for damaged in [&flipped[..], &whole[..whole.len() / 2]] {
            fs::write(file, damaged).expect("written");
            let parts = [named, "is damaged", "nothing of this backup is used"];
            fail(["backup", "--verify", text(&backup)], 1, &parts);
            fail(["restore", text(&backup), "--data-dir", text(&target)], 1, &parts);
        }
        fs::remove_file(file).expect("removed");
        fail(["restore", text(&backup), "--data-dir", text(&target)], 1, &[named]);
        assert!(!target.exists(), "nothing was written");
        fs::write(file, &whole).expect("written");
    }
    succeed(["restore", text(&backup), "--data-dir", text(&target)]);
    assert_eq!(rows(&open_repository(&target), "speed").len(), 60);
    assert!(target.join("unstored.lines").exists(), "lines that were not stored yet are not lost");
}

#[test]
fn nothing_is_ever_written_over_or_half_used() {
    let (folder, data_dir, backup) = small_backup();
    let again = ["backup", text(&backup), "--data-dir", text(&data_dir)];
    fail(again, 1, &["backup exists and is not an empty folder", "name a new one"]);
    let inside = data_dir.join("backup");
    fail(["backup", text(&inside), "--data-dir", text(&data_dir)], 1, &["outside of it"]);
    let other = folder.path().join("other");
    fs::create_dir(folder.path().join("other.unfinished")).expect("made");
    let cut_off = ["other.unfinished is there", "if none runs, remove it"];
    fail(["backup", text(&other), "--data-dir", text(&data_dir)], 1, &cut_off);
    fail(["backup", "--verify", text(&folder.path().join("other.unfinished"))], 1, &["no complete backup"]);
    let none = folder.path().join("none");
    fail(["backup", text(&other), "--data-dir", text(&none)], 1, &["no engine has run over"]);
    assert!(!other.exists() && !none.exists());

    fail(["restore", text(&backup), "--data-dir", text(&data_dir)], 1, &["is not empty", "--data-dir"]);
    let target = folder.path().join("new").join("htmengine-data");
    fs::create_dir(folder.path().join("new")).expect("made");
    let server = Server::start(&folder.path().join("new"), [""; 0]);
    fail(["restore", text(&backup), "--data-dir", text(&target)], 1, &["is not empty", "stop the engine"]);
    drop(server);
    fs::remove_dir_all(&target).expect("removed");
    succeed(["restore", text(&backup), "--data-dir", text(&target)]);
    fs::write(target.join("restore.unfinished"), b"").expect("written");
    let parts = ["a restore into", "was cut off", "run `htmengine restore` again"];
    fail(["serve", "--graphite", "127.0.0.1:0", "--no-http", "--data-dir", text(&target)], 1, &parts);
    fail(["restore", text(&backup), "--data-dir", text(&target)], 1, &["new/htmengine-data"]);
}

#[test]
fn without_room_nothing_is_begun_on_whichever_disk_it_lacks() {
    let (folder, data_dir, backup) = small_backup();
    let mounted = folder.path().join("disk");
    let disk = match SmallDisk::mount(&mounted, "1m") {
        Ok(disk) => disk,
        Err(reason) => {
            writeln!(io::stderr(), "skipped: no tmpfs may be mounted here: {reason}")
                .expect("standard error");
            return;
        }
    };
    disk.fill();
    let no_room = ["bytes are needed for", "disk/new", "are free there", "free some space"];
    let target = mounted.join("new");
    fail(["backup", text(&target), "--data-dir", text(&data_dir)], 1, &no_room);
    fail(["restore", text(&backup), "--data-dir", text(&target)], 1, &no_room);

    // Models on a disk of their own, which once was not looked at.
    let config = folder.path().join("htmengine.toml");
    fs::write(&config, format!("models_dir = \"{}\"\n", text(&target))).expect("written");
    let data = folder.path().join("new");
    let restore = ["restore", text(&backup), "--config", text(&config), "--data-dir", text(&data)];
    fail(restore, 1, &no_room);
    assert!(!data.exists() && !target.exists(), "nothing is left");
    disk.empty();
    drop(disk);
    let disk = SmallDisk::mount(&mounted, "64m").expect("as before");
    succeed(restore);
    assert_eq!(files_below(&target).len(), 1, "the model");
    drop(disk);
}

#[test]
fn a_backup_whose_models_and_rows_are_apart_is_given_up() {
    let (folder, data_dir, _) = small_backup();
    let repository = open_repository(&data_dir);
    let more = series("speed_7578").into_iter().map(|(_, record)| record).take(100).collect::<Vec<_>>();
    let server = Server::start(folder.path(), [""; 0]);
    send(server.address(), lines("speed", &more[60..]).as_bytes());
    wait_for_scores(&repository, "speed", 100);
    server.kill();
    // The file stands at row 60; rows after it go, which a garbage collector never does.
    let speed = metric(&repository, "speed").expect("stored");
    assert_eq!(repository.purge_rows(&speed, i64::MAX, RowId(80), 1_000), Ok(80));
    let other = folder.path().join("other");
    let parts = [speed.uid.as_str(), "do not come together", "run the backup again"];
    fail(["backup", text(&other), "--data-dir", text(&data_dir)], 1, &parts);
    assert!(!other.exists() && !folder.path().join("other.unfinished").exists(), "nothing is left");
}

#[test]
fn with_mysql_the_models_are_copied_and_the_rows_left_to_its_own_tools() {
    let samples = samples(40);
    let settings = PrivateMariadb::shared().migrated_database();
    let database = format!("mysql://root@127.0.0.1:{}/{}", settings.port, settings.database);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), ["--database", &database]);
    let data_dir = server.data_dir().to_owned();
    let repository = htmengine::repository::mysql::MysqlRepository::connect(
        &settings,
        htm_tests::private_mariadb::runtime(),
    )
    .expect("connects");
    monitor(&*repository, "speed", Some(padded_range(&samples)));
    send(server.address(), lines("speed", &samples).as_bytes());
    wait_for_scores(&*repository, "speed", 40);
    succeed(["checkpoint", "--data-dir", text(&data_dir), "--database", &database]);
    let backup = folder.path().join("backup");
    let said = succeed(["backup", text(&backup), "--data-dir", text(&data_dir), "--database", &database]);
    assert!(said.contains("1 model files") && said.contains("mysqldump --single-transaction"), "{said}");
    assert!(server.terminate().success(), "a good end");

    let target = folder.path().join("new");
    let asked = ["restore", text(&backup), "--data-dir", text(&target)];
    fail(asked, 1, &["has no rows", "--database"]);
    let said = succeed(asked.into_iter().chain(["--database", &database]));
    assert!(said.contains("only the models"), "{said}");
    let models = files_below(&target.join(MODELS_FOLDER));
    assert_eq!(models.len(), 1, "{models:?}");
}
