//! Promise: roles in processes of their own are one engine: they start in any order, survive one another's death and
//! that of broker and database in the middle of load, and every row is stored once, scored once in value, and published.
//!
//! Real processes over a real RabbitMQ and a real MariaDB of this test alone.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use htm_tests::audit::Audit;
use htm_tests::installation::Installation;
use htm_tests::load::Load;
use htm_tests::private_mariadb::PrivateMariadb;
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::program::{fail, succeed};
use htm_tests::sender::connect;
use htm_tests::stored::scored_count;
use htm_tests::waiting::wait_until;
use htmengine::bus::rabbitmq::RabbitSettings;
use htmengine::control::REQUESTS_FOLDER;
use htmengine::engine::MODELS_FOLDER;
use serde_json::{Value, json};

/// Every role with rows or lines, in the order of a sample.
const ROLES: [&str; 4] = ["listener", "storer", "scheduler", "anomaly"];

fn status_of(installation: &Installation) -> Value {
    let status = succeed(installation.arguments(&["status", "--json"]));
    serde_json::from_str(&status).expect("JSON")
}

#[test]
fn roles_start_in_any_order_and_wait_for_broker_and_database() {
    let (broker, database) = (PrivateRabbitMq::start(), PrivateMariadb::start_own());
    let installation = Installation::new(&broker.fresh_settings(), &database.migrated_database());
    let load = Load::new(3, 60);
    load.monitor(&*installation.repository());
    broker.stop();
    database.stop();
    let waiting: Vec<_> =
        ["anomaly", "scheduler", "listener", "storer"].map(|role| installation.start(role)).into();
    for role in &waiting {
        wait_until("a word about what is waited for", || role.log().contains("waiting for the"));
    }
    let status = status_of(&installation);
    assert_eq!((&status["is_running"], &status["is_starting"]), (&true.into(), &true.into()));
    let scheduler = waiting.iter().find(|role| role.role() == "scheduler").expect("started");
    assert_eq!(status["process_id"], scheduler.process_id(), "not the one before it");
    // What is asked of it now it does when it is at work; the request was removed then, and its asker waited on.
    let verb = installation.arguments(&["checkpoint"]);
    let asker = thread::spawn(move || succeed(verb));
    let requests = installation.data_dir().join(REQUESTS_FOLDER);
    wait_until("a request", || fs::read_dir(&requests).is_ok_and(|mut files| files.next().is_some()));
    database.start();
    broker.start_again();
    for role in &waiting {
        role.wait_until_ready();
    }
    installation.send(load.all().as_bytes());
    load.wait_for_scores(&*installation.repository());
    load.check(&*installation.repository());
    let status = status_of(&installation);
    assert_eq!(status["running_roles"], json!(["scheduler", "listener", "storer", "anomaly"]));
    assert_eq!((&status["is_running"], &status["is_starting"]), (&true.into(), &false.into()));
    wait_until("the answer to who asked at the start", || asker.is_finished());
    asker.join().expect("an answer");
    succeed(installation.arguments(&["checkpoint"]));
    let folder = installation.data_dir().join(MODELS_FOLDER);
    assert!(folder.is_dir(), "{} has the models", folder.display());
    for role in waiting {
        assert_eq!(role.terminate().code(), Some(0), "an orderly end");
    }
}

#[test]
fn each_role_killed_in_the_middle_of_load_loses_and_doubles_nothing() {
    let (broker, database) = (PrivateRabbitMq::shared(), PrivateMariadb::shared());
    let broker_settings = RabbitSettings { extended_results: true, ..broker.fresh_settings() };
    let installation = Installation::new(&broker_settings, &database.migrated_database());
    let audit = Audit::start(&broker_settings);
    let load = Load::long(6, 200);
    let repository = installation.repository();
    load.monitor(&*repository);
    let mut running: Vec<_> = ROLES.map(|role| installation.start(role)).into();
    for role in &running {
        role.wait_until_ready();
    }
    for (round, role) in ROLES.iter().enumerate() {
        let rows = 50 * (round + 1);
        let text = load.missing(&*repository, rows);
        let stream_address = installation.listener_address();
        let sender = thread::spawn(move || {
            let mut stream = connect(stream_address);
            for part in text.as_bytes().chunks(2_000) {
                // The listener may be the one that is killed.
                if stream.write_all(part).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let before = load.scored(&*repository);
        wait_until("scores of this round", || load.scored(&*repository) > before);
        let index = running.iter().position(|process| process.role() == *role).expect("started");
        running.swap_remove(index).kill();
        let again = installation.start(role);
        again.wait_until_ready();
        running.push(again);
        sender.join().expect("no panic");
        installation.flush(&format!("sentinel.{round}"));
    }
    installation.send(load.missing(&*repository, load.rows()).as_bytes());
    load.wait_for_scores(&*repository);
    load.check(&*repository);
    audit.check(&load, &*repository);
    for role in running {
        assert_eq!(role.terminate().code(), Some(0), "an orderly end");
    }
}

#[test]
fn broker_and_database_going_away_in_the_middle_of_load_are_waited_for() {
    let (broker, database) = (PrivateRabbitMq::start(), PrivateMariadb::start_own());
    let broker_settings = RabbitSettings { extended_results: true, ..broker.fresh_settings() };
    let installation = Installation::new(&broker_settings, &database.migrated_database());
    let audit = Audit::start(&broker_settings);
    let load = Load::long(4, 240);
    load.monitor(&*installation.repository());
    let running = ROLES.map(|role| installation.start(role));
    for role in &running {
        role.wait_until_ready();
    }
    let (address, text) = (installation.listener_address(), load.all());
    let sender = thread::spawn(move || {
        let mut stream = connect(address);
        for part in text.as_bytes().chunks(1_000) {
            stream.write_all(part).expect("the listener stays");
            thread::sleep(Duration::from_millis(60));
        }
        htm_tests::sender::finish(stream);
    });
    let progress = |rows: i64| {
        wait_until("more scores", || load.scored(&*installation.repository()) >= rows);
    };
    progress(20);
    broker.kill();
    thread::sleep(Duration::from_millis(500));
    broker.start_again();
    progress(200);
    database.kill();
    thread::sleep(Duration::from_millis(500));
    database.start();
    progress(400);
    broker.stop();
    database.stop();
    database.start();
    broker.start_again();
    sender.join().expect("no panic");
    load.wait_for_scores(&*installation.repository());
    load.check(&*installation.repository());
    audit.check(&load, &*installation.repository());
    for role in running {
        assert_eq!(role.terminate().code(), Some(0), "the same process to the end");
    }
}

#[test]
fn a_second_role_over_one_folder_and_a_role_without_a_broker_are_refused() {
    let (broker, database) = (PrivateRabbitMq::shared(), PrivateMariadb::shared());
    let installation = Installation::new(&broker.fresh_settings(), &database.migrated_database());
    let scheduler = installation.start("scheduler");
    scheduler.wait_until_ready();
    fail(installation.arguments(&["scheduler"]), 1, &["another engine uses the data folder"]);
    let storer = installation.start("storer");
    storer.wait_until_ready();
    fail(installation.arguments(&["storer"]), 1, &["another storer uses the data folder"]);
    let alone = tempfile::tempdir().expect("a folder");
    let folder = alone.path().to_str().expect("text");
    fail(["anomaly", "--data-dir", folder], 1, &["RabbitMQ", "--broker", "htmengine serve"]);
    fail(["scheduler", "--data-dir", folder, "--modelID", "x"], 1, &["--modelID", "--concurrency"]);
    fail(["anomaly", "--data-dir", folder, "positional"], 2, &["positional"]);
    assert_eq!(scored_count(&*installation.repository(), "nothing"), 0);
    for role in [scheduler, storer] {
        assert_eq!(role.terminate().code(), Some(0), "an orderly end");
    }
}

#[test]
fn wrong_credentials_and_a_missing_schema_are_told_at_once() {
    let (broker, database) = (PrivateRabbitMq::shared(), PrivateMariadb::shared());
    let broker_settings = broker.fresh_settings();
    let mut wrong = broker_settings.clone();
    wrong.password = "wrong".to_owned();
    let installation = Installation::new(&wrong, &database.migrated_database());
    fail(installation.arguments(&["storer"]), 1, &["guest"]);
    let installation = Installation::new(&broker_settings, &database.fresh_database());
    fail(installation.arguments(&["anomaly"]), 1, &["htmengine migrate"]);
}
