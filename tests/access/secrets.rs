//! No secret in anything that is shown: settings, doctor, errors, and the whole log of an engine with database, broker and
//! webhook, down to what the clients of these say of themselves.

use std::fs;
use std::process::Command;

use htm_tests::http_client::request_with;
use htm_tests::private_mariadb::PrivateMariadb;
use htm_tests::private_rabbitmq::PrivateRabbitMq;
use htm_tests::program::{Server, command, run};
use htm_tests::sender::send;
use htm_tests::waiting::wait_until;
use htm_tests::webhook_receiver::WebhookReceiver;

/// Each where it is secret; found anywhere, it says where it came from.
const DATABASE: &str = "geheimDatabase7";
const BROKER: &str = "geheimBroker7";
const KEY: &str = "geheimKey7";
const PATH: &str = "geheimPath7";
const TOKEN: &str = "geheimToken7";
const HEADER: &str = "geheimHeader7";

/// What people run to see how it stands.
const VERBS: [&[&str]; 10] = [
    &["config", "show"],
    &["config", "show", "--json"],
    &["config", "check"],
    &["doctor"],
    &["doctor", "--json"],
    &["status"],
    &["metrics"],
    &["queue-depths"],
    &["alerts"],
    &["alert", "test", "--channel", "ops"],
];

#[track_caller]
fn assert_silent(what: &str, text: &str) {
    for line in text.lines() {
        assert!(!line.contains("geheim"), "{what}: {line}");
        // As clients send it.
        for encoded in ["Z2VoZWlt", "67656865696d", "103, 101, 104, 101, 105, 109"] {
            assert!(!line.to_lowercase().contains(&encoded.to_lowercase()), "{what}: {line}");
        }
    }
}

/// A settings file with a secret wherever there may be one, each of them right.
fn settings(database: &PrivateMariadb, broker: &PrivateRabbitMq, receiver: &WebhookReceiver) -> String {
    let name = database.migrated_database().database;
    database.query(
        "mysql",
        &format!(
            "CREATE USER t@'127.0.0.1' IDENTIFIED BY '{DATABASE}'; GRANT ALL ON {name}.* TO t@'127.0.0.1'"
        ),
    );
    let vhost = broker.fresh_vhost();
    broker.evaluate(&format!(
        "rabbit_auth_backend_internal:add_user(<<\"tester\">>, <<\"{BROKER}\">>, <<\"test\">>), \
         rabbit_auth_backend_internal:set_permissions(<<\"tester\">>, <<\"{vhost}\">>, <<\".*\">>, <<\".*\">>, \
         <<\".*\">>, <<\"test\">>)."
    ));
    let hook = receiver.url(&format!("/{PATH}?token={TOKEN}"));
    let (port, amqp) = (database.port(), broker.address());
    format!(
        "database = \"mysql://t:{DATABASE}@127.0.0.1:{port}/{name}\"\n\
         broker = \"amqp://tester:{BROKER}@{amqp}/{vhost}\"\n\
         http_key = \"{KEY}\"\n[alert]\n\
         [[alert.channel]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"{hook}\"\n\
         headers = {{ Authorization = \"Bearer {HEADER}\" }}\n\
         [[alert.rule]]\nname = \"silent\"\nwhen = \"no_data\"\nchannels = [\"ops\"]\n"
    )
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let database = PrivateMariadb::start_own();
    let receiver = WebhookReceiver::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("htmengine.toml");
    let settings = settings(&database, PrivateRabbitMq::shared(), &receiver);
    fs::write(&file, &settings).expect("written");
    let config = file.to_str().expect("text");
    let data = folder.path().join("htmengine-data");
    let data = data.to_str().expect("text");

    let serve = ["--config", config, "--http", "127.0.0.1:0"];
    let verbose = |serve: &mut Command| {
        serve.env("HTMENGINE_LOG", "trace");
    };
    let server = Server::start_changed(folder.path(), serve, verbose);
    assert_silent("the announcement", &server.announcement().join("\n"));
    let api = server.announced("HTTP API: http://");
    send(server.address(), b"a 1 1000\n");
    let ask = |method, path, key| {
        let answer = request_with(api, method, path, &[("Authorization", &format!("Bearer {key}"))], "");
        assert_silent(path, &answer.body);
        answer.status
    };
    wait_until("the row", || ask("GET", "/api/v1/metrics/a", KEY) == 200);
    assert_eq!(ask("GET", "/api/v1/settings", KEY), 200);
    assert_eq!(ask("GET", "/api/v1/alerts/rules", KEY), 200);
    assert_eq!(ask("GET", "/api/v1/overview", "geheimWrong"), 401);
    for verb in VERBS {
        let mut command = command(verb.iter().copied().chain(["--config", config]));
        if verb[0] != "config" && verb[0] != "alert" {
            command.args(["--data-dir", data]);
        }
        let output = command.env("HTMENGINE_LOG", "trace").output().expect("run");
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(!text.is_empty(), "{verb:?} says something");
        assert_silent(&verb.join(" "), &text);
    }
    let is_used = receiver.received().iter().any(|it| it.path.contains(TOKEN) && it.head.contains(HEADER));
    assert!(is_used, "the webhook's own are used");
    let log = server.log();
    assert!(server.terminate().success());
    assert!(log.contains("DEBUG"), "the log is verbose");
    assert_silent("the log", &log);
}

#[test]
fn nothing_that_is_refused_is_told_with_its_secrets() {
    for arguments in [
        ["metrics", "--database", "mysql://u:geheim@127.0.0.1:1/d"],
        ["metrics", "--database", "mysql://u:geheim"],
        ["metrics", "--database", "mysql://u:geheim/x@h/d"],
        ["metrics", "--database", "mysql://u:geheim@h/d?password=geheim"],
        ["metrics", "--database", "postgres://u:geheim@h/d"],
        ["doctor", "--broker", "amqp://u:geheim@127.0.0.1:1/"],
        ["doctor", "--broker", "amqp://u:geheim@h:port/"],
    ] {
        let told = run(arguments);
        assert_ne!(told.code, Some(0), "{told:?}");
        assert_silent(&arguments.join(" "), &(told.stdout + &told.stderr));
    }
}
