//! Promise: a full disk damages no model file, loses no score and does not end the engine; it is said what is wrong, and
//! saving goes on by itself when there is room again.
//!
//! Needs leave to mount a small tmpfs; without it the test says so and ends.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use htm_core::encoder::Record;
use htm_tests::lone_run::{assert_equal, padded_range};
use htm_tests::program::{Server, fail, succeed};
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::small_disk::SmallDisk;
use htm_tests::stored::{metric, monitor, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::config::DEFAULT_DATA_DIR;
use htmengine::engine::MODELS_FOLDER;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries =
        |folder: &Path| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries(folder)
        .filter(|path| path.is_dir())
        .flat_map(|shard| entries(&shard).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_full_disk_is_survived_and_left_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let models = folder.path().join(DEFAULT_DATA_DIR).join(MODELS_FOLDER);
    let disk = match SmallDisk::mount(&models, "16m") {
        Ok(disk) => disk,
        Err(reason) => {
            writeln!(io::stderr(), "skipped: no tmpfs may be mounted here: {reason}")
                .expect("standard error");
            return;
        }
    };
    let samples: Vec<Record> =
        series("art_daily_jumpsup").into_iter().map(|(_, record)| record).take(200).collect();
    let range = padded_range(&samples);
    let often = ["--checkpoint-rows", "20"];
    let server = Server::start(folder.path(), often);
    let repository = server.repository();
    let send_rows = |server: &Server, part: std::ops::Range<usize>| {
        for name in NAMES {
            send(server.address(), lines(name, &samples[part.clone()]).as_bytes());
        }
        for name in NAMES {
            wait_for_scores(&repository, name, part.end);
        }
    };
    for name in NAMES {
        monitor(&repository, name, Some(range));
    }
    send_rows(&server, 0..80);
    let data_dir = server.data_dir().to_str().expect("text").to_owned();
    succeed(["checkpoint", "--data-dir", &data_dir]);
    let files = NAMES.map(|name| {
        let uid = metric(&repository, name).expect("stored").uid.to_string();
        models.join(&uid[..2]).join(format!("{uid}.model"))
    });
    let before = files.each_ref().map(|file| fs::read(file).expect("a saved model"));

    disk.fill();
    send_rows(&server, 80..140);
    wait_until("the log names the trouble", || server.log().contains("could not be written"));
    let asked = ["checkpoint", "--data-dir", &data_dir];
    fail(asked, 1, &["No space left", "bytes are needed", "bytes are free", "free some space"]);
    let now = files.each_ref().map(|file| fs::read(file).expect("a saved model"));
    assert!(now == before, "the old files are untouched");
    assert_eq!(files_below(&models).len(), NAMES.len(), "nothing unfinished is left");

    disk.empty();
    wait_until("models are saved again by themselves", || {
        files.iter().zip(&before).all(|(file, before)| fs::read(file).expect("a saved model") != *before)
    });
    assert!(server.log().contains("models can be saved again"), "{}", server.log());
    send_rows(&server, 140..170);
    assert!(server.terminate().success(), "a good end");
    let server = Server::start(folder.path(), often);
    send_rows(&server, 170..200);
    for name in NAMES {
        assert_equal(name, &wait_for_scores(&repository, name, samples.len()), &samples, range);
    }
    assert!(!server.log().contains("cannot be used"), "{}", server.log());
    assert!(server.terminate().success(), "a good end");
}
