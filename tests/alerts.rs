//! Promise: an odd stretch of a metric reaches whoever is to be told, once, whatever dies meanwhile; nobody is told while a
//! model is learning, in maintenance or of what was before; and whoever does not answer keeps nobody else waiting.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::http_client::{get, request};
use htm_tests::process_signal::send_signal;
use htm_tests::program::{Server, command, fail, succeed};
use htm_tests::recording::series;
use htm_tests::sender::{lines, send};
use htm_tests::services::Services;
use htm_tests::source_tree;
use htm_tests::stored::{metric, monitor, scored_count, wait_for_scores};
use htm_tests::waiting::{wait_for, wait_until};
use htm_tests::webhook_receiver::{Reply, WebhookReceiver};
use htmengine::backends::start_runtime;
use htmengine::clock::{Clock, SystemClock};
use htmengine::repository::Repository;
use htmengine::repository::alert::{AlertEpisode, AlertReads, DeliveryState, EpisodeQuery};
use lapin::options::{BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};

/// The taxi series' own range, widened by 20 % on each side, as the benchmark declares it.
const TAXI_RANGE: ValueRange = ValueRange { min: -7829.8, max: 47034.8 };
/// The night of the marathon, on which the clocks go back: 2014-11-02 01:00.
const MARATHON: i64 = 1_414_890_000;
const MARATHON_ROW: usize = 5_955;
const HOUR_S: i64 = 3_600;
/// Of the wave: a spike while the model learns, and one when it has learned.
const EARLY_SPIKE: usize = 100;
const SPIKE: usize = 320;

/// A folder with a settings file that has this table of alerts.
struct Settings {
    folder: tempfile::TempDir,
}

impl Settings {
    fn new(alert: &str) -> Self {
        let settings = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        settings.write(alert);
        settings
    }

    fn write(&self, alert: &str) {
        fs::write(self.file(), alert).expect("written");
    }

    fn file(&self) -> String {
        self.folder.path().join("htmengine.toml").to_str().expect("text").to_owned()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn serve(&self) -> Server {
        Server::start(self.path(), ["--config", &self.file(), "--no-monitor", "--http", "127.0.0.1:0"])
    }
}

fn channel(name: &str, kind: &str, url: &str) -> String {
    format!("[[alert.channel]]\nname = '{name}'\nkind = '{kind}'\nurl = '{url}'\ntimeout_s = 2\n")
}

/// Hourly, the same every day, but for two spikes; the later one is the larger.
fn wave(rows: std::ops::Range<usize>) -> Vec<Record> {
    let value = |row: usize| match row {
        EARLY_SPIKE => 50.0,
        SPIKE => 500.0,
        _ => f64::from(u32::try_from(row % 24).expect("small")),
    };
    let time = |row: usize| 1_700_000_000 + i64::try_from(row).expect("small") * HOUR_S;
    rows.map(|row| Record { timestamp: time(row), value: value(row) }).collect()
}

const WAVE_RANGE: ValueRange = ValueRange { min: 0.0, max: 600.0 };

fn episodes(repository: &dyn Repository) -> Vec<AlertEpisode> {
    repository.alert_episodes(&EpisodeQuery::default()).expect("reads")
}

/// Waits until all rows up to this one were folded, and that is kept.
fn wait_for_fold(repository: &dyn Repository, name: &str, row: usize) {
    let uid = metric(repository, name).expect("stored").uid;
    let row = i64::try_from(row).expect("small");
    wait_until(&format!("row {row} of {name} to be folded"), || {
        repository.alert_cursor(&uid).expect("reads").is_some_and(|cursor| cursor.row_id.0 >= row)
    });
}

/// Waits until nothing is to be delivered any more.
fn wait_for_deliveries(repository: &dyn Repository) {
    wait_until("all deliveries", || {
        let keys = episodes(repository).into_iter().map(|episode| episode.key);
        let deliveries = keys.flat_map(|key| repository.alert_deliveries(&key).expect("reads"));
        deliveries.into_iter().all(|delivery| delivery.state == DeliveryState::Delivered)
    });
}

#[test]
fn the_marathon_is_told_once_also_when_the_engine_is_killed() {
    let receiver = WebhookReceiver::start();
    let ops = channel("ops", "webhook", &receiver.url("/hook"));
    let settings = Settings::new(&format!("{ops}[[alert.rule]]\nname = 'odd'\nchannels = ['ops']\n"));
    let samples: Vec<Record> = series("nyc_taxi").into_iter().map(|(_, record)| record).take(6_050).collect();
    let is_marathon = |body: &&Value| body["from"] == MARATHON && body["status"] == "firing";
    let of_marathon = || receiver.bodies().iter().filter(is_marathon).cloned().collect::<Vec<Value>>();

    // Killed in the middle of a backlog.
    let server = settings.serve();
    let repository = server.repository();
    monitor(&repository, "taxi", Some(TAXI_RANGE));
    send(server.address(), lines("taxi", &samples[..MARATHON_ROW - 5]).as_bytes());
    wait_until("half of the scores", || scored_count(&repository, "taxi") > 3_000);
    server.kill();

    // Killed while the receiver has the message and has not answered.
    let server = settings.serve();
    wait_for_scores(&repository, "taxi", MARATHON_ROW - 5);
    wait_for_fold(&repository, "taxi", MARATHON_ROW - 5);
    wait_for_deliveries(&repository);
    assert_eq!(of_marathon(), Vec::<Value>::new());
    receiver.reply([Reply::Hang]);
    send(server.address(), lines("taxi", &samples[MARATHON_ROW - 5..MARATHON_ROW]).as_bytes());
    wait_until("the marathon", || of_marathon().len() == 1);
    server.kill();

    // Told again, since nobody knows that it was told; and killed once more when it is known.
    let server = settings.serve();
    wait_until("the marathon again", || of_marathon().len() == 2);
    wait_for_deliveries(&repository);
    server.kill();
    let server = settings.serve();
    send(server.address(), lines("taxi", &samples[MARATHON_ROW..]).as_bytes());
    wait_for_scores(&repository, "taxi", samples.len());
    wait_for_fold(&repository, "taxi", samples.len());
    wait_for_deliveries(&repository);
    let told = of_marathon();
    assert_eq!(told.len(), 2, "not again: {told:#?}");
    assert_eq!(told[0]["dedup_key"], told[1]["dedup_key"], "one alert");
    assert_eq!((&told[1]["rowid"], &told[1]["metric"]), (&json!(MARATHON_ROW), &json!("taxi")));
    assert_eq!(told[1]["condition"], "detection");
    let resolved = receiver.bodies().into_iter().filter(|body| body["status"] == "resolved");
    let resolved: Vec<Value> = resolved.filter(|body| body["dedup_key"] == told[0]["dedup_key"]).collect();
    assert_eq!(resolved.len(), 1, "{resolved:#?}");

    // Every episode, and there are some before, was told once as firing and once as over.
    let stored = episodes(&repository);
    assert!(stored.len() >= 6 && stored.iter().all(|episode| episode.until.is_some()), "{stored:#?}");
    let keys: BTreeSet<String> = stored.into_iter().map(|episode| episode.key).collect();
    let of_receiver = receiver.bodies().into_iter().map(|body| body["dedup_key"].as_str().map(str::to_owned));
    assert_eq!(of_receiver.collect::<Option<BTreeSet<String>>>(), Some(keys));

    // A model that starts over scores the same rows again, and nothing is told of them.
    let before = receiver.bodies().len();
    let data_dir = server.data_dir().to_str().expect("text").to_owned();
    succeed(["unmonitor", "taxi", "--data-dir", &data_dir]);
    monitor(&repository, "taxi", Some(TAXI_RANGE));
    server.terminate();
    let server = settings.serve();
    wait_until("the first scores anew", || scored_count(&repository, "taxi") > 700);
    assert_eq!(receiver.bodies().len(), before);
    drop(server);
}

/// Four rules and six channels, which receivers in this order stand for.
fn rules_of_the_crowd([good, flaky, hanging, chat, manager, sleeper]: [&WebhookReceiver; 6]) -> String {
    format!(
        "{}{}{}{}{}{}
[alert]
check_interval_s = 1
dashboard = 'http://dashboard.example'
[[alert.rule]]
name = 'odd'
metrics = ['wave;*']
tags = ['dc=fra']
channels = ['hanging', 'flaky', 'good', 'chat', 'manager']
severity = 'page'
[[alert.rule]]
name = 'asleep'
channels = ['sleeper']
quiet = [{{ from = '00:00', until = '00:00' }}]
[[alert.rule]]
name = 'works'
channels = ['sleeper']
maintenance = [{{ from = '2020-01-01 00:00:00', until = '2120-01-01 00:00:00' }}]
[[alert.rule]]
name = 'others'
tags = ['dc=nyc']
channels = ['sleeper']
",
        channel("good", "webhook", &good.url("/a?b=geheim")),
        channel("flaky", "webhook", &flaky.url("/")),
        channel("hanging", "webhook", &hanging.url("/")),
        channel("chat", "slack", &chat.url("/services/x")),
        channel("manager", "alertmanager", &manager.url("")),
        channel("sleeper", "webhook", &sleeper.url("/")),
    )
}

/// What the API says of the crowd's episodes while they are open.
fn assert_listed(api: SocketAddr, name: &str) {
    let listed = get(api, "/api/v1/alerts?state=open").json();
    let of =
        |rule: &str| listed["episodes"].as_array().and_then(|all| all.iter().find(|it| it["rule"] == rule));
    let odd = of("odd").expect("open");
    let state = |channel: &str| {
        let deliveries = odd["deliveries"].as_array().expect("a list");
        deliveries.iter().find(|it| it["channel"] == channel).map(|it| it["state"].clone())
    };
    assert_eq!((state("hanging"), state("good")), (Some(json!("waiting")), Some(json!("delivered"))));
    assert_eq!((&odd["metric"], &odd["until"]), (&json!(name), &Value::Null));
    assert_eq!(of("asleep").expect("recorded")["suppressed"], "quiet");
    let works = of("works").expect("recorded");
    assert_eq!((&works["suppressed"], &works["deliveries"]), (&json!("maintenance"), &json!([])));
    assert!(of("others").is_none());
    let rules = get(api, "/api/v1/alerts/rules").json();
    assert_eq!(rules["channels"].as_array().map(Vec::len), Some(6));
    assert!(!rules.to_string().contains("geheim"), "{rules}");
}

#[test]
fn whoever_fails_or_hangs_delays_nobody_and_some_are_not_told() {
    let [good, flaky, hanging, chat, manager, sleeper] = [(); 6].map(|()| WebhookReceiver::start());
    flaky.reply([Reply::Status(500), Reply::Status(503)]);
    hanging.reply([Reply::Hang; 50]);
    let settings = Settings::new(&rules_of_the_crowd([&good, &flaky, &hanging, &chat, &manager, &sleeper]));
    let server = settings.serve();
    let repository = server.repository();
    let name = "wave;dc=fra";
    monitor(&repository, name, Some(WAVE_RANGE));
    send(server.address(), lines(name, &wave(0..SPIKE + 1)).as_bytes());
    wait_until("everybody else to be told", || {
        [&good, &chat, &manager].iter().all(|it| it.received().len() == 1) && flaky.received().len() == 3
    });
    let told = &good.received()[0];
    assert_eq!(told.path, "/a?b=geheim");
    assert!(told.head.to_lowercase().contains("content-type: application/json"), "{}", told.head);
    let body = &told.body;
    assert_eq!((&body["status"], &body["severity"]), (&json!("firing"), &json!("page")));
    assert_eq!(
        (&body["rowid"], &body["peak_value"]),
        (&json!(SPIKE + 1), &json!(500.0)),
        "not the early spike"
    );
    assert_eq!(
        (&body["tags"], &body["url"]),
        (&json!({"dc": "fra"}), &json!("http://dashboard.example/#/metric/wave%3Bdc%3Dfra"))
    );
    let keys: BTreeSet<String> = flaky.bodies().iter().map(|body| body["dedup_key"].to_string()).collect();
    assert_eq!(keys, BTreeSet::from([body["dedup_key"].to_string()]), "the same key each time");
    assert!(chat.bodies()[0]["text"].as_str().is_some_and(|text| text.contains(name)));
    assert_eq!(manager.received()[0].path, "/api/v2/alerts");
    assert_eq!(manager.bodies()[0][0]["labels"]["dc"], "fra");

    let api = server.announced("HTTP API: http://");
    assert_listed(api, name);

    // Calm again: the end is told to whom the beginning was told.
    send(server.address(), lines(name, &wave(SPIKE + 1..SPIKE + 40)).as_bytes());
    wait_until("the end to be told", || {
        [&good, &chat, &manager].iter().all(|it| it.received().len() == 2) && flaky.received().len() == 4
    });
    assert_eq!(good.bodies()[1]["status"], "resolved");
    assert_eq!(good.bodies()[1]["dedup_key"], *body.get("dedup_key").expect("a key"));
    assert!(hanging.bodies().iter().all(|body| body["status"] == "firing"));
    assert_eq!(sleeper.bodies(), Vec::<Value>::new());
    let data_dir = server.data_dir().to_str().expect("text");
    let table = succeed(["alerts", "--metric", name, "--data-dir", data_dir]);
    assert!(table.contains("good open delivered") && table.contains("[quiet]"), "{table}");
    let asked = get(api, "/api/v1/alerts?state=closed");
    assert_eq!(asked.status, 400, "{asked:?}");
}

#[test]
fn what_was_before_alerts_is_history_and_a_missing_sample_is_told() {
    let receiver = WebhookReceiver::start();
    let settings = Settings::new("");
    let server = settings.serve();
    let repository = server.repository();
    monitor(&repository, "old", Some(WAVE_RANGE));
    send(server.address(), lines("old", &wave(0..SPIKE + 20)).as_bytes());
    wait_for_scores(&repository, "old", SPIKE + 20);
    server.kill();
    settings.write(&format!(
        "{}[alert]\ncheck_interval_s = 1\n[[alert.rule]]\nname = 'odd'\nchannels = ['ops']\n\
         [[alert.rule]]\nname = 'silent'\nwhen = 'no_data'\nchannels = ['ops']\nmetrics = ['minutely', 'old']\n",
        channel("ops", "webhook", &receiver.url("/"))
    ));
    let server = settings.serve();
    wait_for_fold(&repository, "old", SPIKE + 20);
    // A metric that stopped ten minutes ago, and one that stopped long before alerts were set up.
    let now = SystemClock::new().unix_seconds();
    let minutely: Vec<Record> = (0..100)
        .map(|row| Record {
            timestamp: now - 600 - (100 - row) * 60,
            value: f64::from(i32::try_from(row % 7).expect("small")),
        })
        .collect();
    send(server.address(), lines("minutely", &minutely).as_bytes());
    wait_until("no data", || receiver.received().len() == 1);
    let told = receiver.bodies().remove(0);
    assert_eq!((&told["rule"], &told["condition"]), (&json!("silent"), &json!("no_data")));
    assert_eq!((&told["metric"], &told["peak_score"]), (&json!("minutely"), &Value::Null));
    assert_eq!(told["from"], minutely[99].timestamp + 180, "three intervals after the newest sample");
    send(server.address(), format!("minutely 3 {now}\n").as_bytes());
    wait_until("data again", || receiver.received().len() == 2);
    assert_eq!(receiver.bodies()[1]["status"], "resolved");
    assert_eq!(episodes(&repository).len(), 1, "nothing of the old metric");
    let data_dir = server.data_dir().to_str().expect("text");
    succeed(["delete", "minutely", "--data-dir", data_dir]);
    let uid = episodes(&repository)[0].uid.clone();
    assert_eq!(repository.alert_cursor(&uid), Ok(None));
    server.terminate();
}

#[test]
fn a_channel_is_tried_and_settings_are_checked() {
    let receiver = WebhookReceiver::start();
    let settings = Settings::new(&format!(
        "{}headers = {{ Authorization = 'Bearer geheim' }}\n[[alert.rule]]\nname = 'odd'\nchannels = ['ops']\n",
        channel("ops", "webhook", &receiver.url("/geheim"))
    ));
    let file = settings.file();
    let said = succeed(["alert", "test", "--channel", "ops", "--config", &file]);
    assert!(
        said.contains("delivered to channel ops") && said.contains("200") && !said.contains("geheim"),
        "{said}"
    );
    assert_eq!(receiver.bodies()[0]["status"], "test");
    assert!(receiver.received()[0].head.to_lowercase().contains("authorization: bearer geheim"));
    receiver.reply([Reply::Status(307), Reply::Status(403), Reply::Status(404), Reply::Hang]);
    fail(["alert", "test", "--channel", "ops", "--config", &file], 1, &["answered 307 (redirects are not"]);
    fail(["alert", "test", "--channel", "ops", "--config", &file], 1, &["answered 403: heard"]);
    fail(["alert", "test", "--channel", "nobody", "--config", &file], 1, &["no channel 'nobody'", "ops"]);
    let server = settings.serve();
    let api = server.announced("HTTP API: http://");
    let try_channel = |body: &str| request(api, "POST", "/api/v1/alerts/test", body);
    let refused = try_channel(r#"{"channel": "ops"}"#).json();
    assert_eq!((&refused["delivered"], &refused["status"]), (&json!(false), &json!(404)));
    assert!(refused["error"].as_str().is_some_and(|text| text.contains("404")));
    let silent = try_channel(r#"{"channel": "ops"}"#).json();
    assert_eq!((&silent["delivered"], &silent["status"]), (&json!(false), &Value::Null));
    assert!(silent["error"].as_str().is_some_and(|text| text.contains("no answer within 2 s")), "{silent}");
    assert_eq!(
        try_channel(r#"{"channel": "ops"}"#).json(),
        json!({"delivered": true, "status": 200, "error": null})
    );
    assert_eq!(try_channel(r#"{"channel": "nobody"}"#).status, 404);
    assert_eq!(try_channel(r#"{"channels": 1}"#).status, 400);
    for verb in [&["config", "show", "--json"][..], &["doctor", "--json"]] {
        let output = command(verb.iter().copied().chain(["--config", &file, "--data-dir"]))
            .arg(server.data_dir())
            .output()
            .expect("runs");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(
            text.contains("ops") && text.contains(&receiver.url("")) && !text.contains("geheim"),
            "{text}"
        );
    }
    settings.write(&example_of_the_readme());
    let shown = succeed(["config", "show", "--json", "--config", &file]);
    assert!(shown.contains("Europe/Berlin") && shown.contains("https://example.com"), "{shown}");
    settings.write("[[alert.rule]]\nname = 'odd'\nthreshhold = 0.2\n");
    fail(["config", "check", "--config", &file], 1, &["threshhold", "line 3"]);
    settings.write("\n[[alert.rule]]\nname = 'odd'\nchannels = ['ops']\nthreshold = 0.0\n");
    fail(["config", "check", "--config", &file], 1, &["htmengine.toml:3", "threshold is 0"]);
    settings.write("[[alert.channel]]\nname = 'mq'\nkind = 'exchange'\n");
    fail(["config", "check", "--config", &file], 1, &["'mq'", "no broker"]);
}

/// The settings in the section about alerts.
fn example_of_the_readme() -> String {
    let readme = source_tree::read("README.md");
    let section = readme.split("\n## Alerts\n").nth(1).expect("a section about alerts");
    section.split("```").nth(1).and_then(|block| block.strip_prefix("toml")).expect("an example").to_owned()
}

/// A process that ends with its test.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        // Gone already, or a test that failed and reports its own reason.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It had opened no database, said that the rules were in effect, and raised nothing.
#[test]
fn rules_that_come_with_a_reload_to_a_process_that_served_results_only_are_followed() {
    let services = Services::fresh();
    let settings = Settings::new("");
    let mut role =
        command(["results", "--results", "127.0.0.1:0", "--config", &settings.file(), "--data-dir"]);
    role.arg(settings.path().join("role")).args(services.flags()).stdout(Stdio::piped());
    let mut role = Role(role.spawn().expect("runs"));
    let mut said = String::new();
    BufReader::new(role.0.stdout.take().expect("piped")).read_line(&mut said).expect("text");
    assert!(said.contains("serves newline-delimited JSON"), "{said}");
    let repository = services.repository();
    assert_eq!(repository.alert_scope(), Ok(None));
    settings.write(
        "[[alert.channel]]\nname = 'mq'\nkind = 'exchange'\n\
         [[alert.rule]]\nname = 'odd'\nchannels = ['mq']\n",
    );
    send_signal(role.0.id(), "HUP");
    wait_until("somebody to follow the rules", || repository.alert_scope().expect("reads").is_some());
}

#[test]
fn alerts_reach_a_second_exchange_of_the_broker() {
    let services = Services::fresh();
    let settings = Settings::new(
        "[alert]\ncheck_interval_s = 1\n[[alert.channel]]\nname = 'mq'\nkind = 'exchange'\n\
         [[alert.rule]]\nname = 'odd'\nchannels = ['mq']\n",
    );
    let runtime = start_runtime().expect("a runtime");
    let exchange = format!("{}.alerts", services.broker.results_exchange);
    let url = services.broker_url();
    let (_connection, queue) = runtime.block_on(async {
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("opens");
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let (name, none) = (exchange.as_str(), FieldTable::default());
        channel
            .exchange_declare(name.into(), ExchangeKind::Fanout, durable, none.clone())
            .await
            .expect("declares");
        let options = QueueDeclareOptions::default();
        channel.queue_declare("seen".into(), options, none.clone()).await.expect("declares");
        let bound =
            channel.queue_bind("seen".into(), name.into(), "".into(), QueueBindOptions::default(), none);
        bound.await.expect("binds");
        (connection, channel)
    });
    // The role that raises alerts, in a process of its own.
    let mut arguments = vec!["--no-monitor".to_owned()];
    arguments.extend(services.flags());
    let server = Server::start(settings.path(), &arguments);
    let mut role = command(["results", "--config", &settings.file(), "--data-dir"]);
    role.arg(settings.path().join("role")).args(services.flags()).stdout(Stdio::piped());
    let mut role = Role(role.spawn().expect("runs"));
    let mut said = String::new();
    BufReader::new(role.0.stdout.take().expect("piped")).read_line(&mut said).expect("text");
    assert_eq!(said, "htmengine results raises alerts\n");
    let repository = services.repository();
    monitor(&*repository, "wave", Some(WAVE_RANGE));
    send(server.address(), lines("wave", &wave(0..SPIKE + 1)).as_bytes());
    let message = wait_for("the alert", || {
        let got = runtime.block_on(queue.basic_get("seen".into(), BasicGetOptions { no_ack: true }));
        got.expect("reads")
    });
    let body: Value = serde_json::from_slice(&message.data).expect("JSON");
    assert_eq!((&body["metric"], &body["rowid"]), (&json!("wave"), &json!(SPIKE + 1)));
    assert_eq!(message.properties.delivery_mode(), &Some(2), "persistent");
    wait_for_deliveries(&*repository);
    assert_eq!(episodes(&*repository)[0].key, body["dedup_key"]);
    let mut test = vec!["alert".to_owned(), "test".to_owned(), "--channel".to_owned(), "mq".to_owned()];
    test.extend(["--config".to_owned(), settings.file()]);
    test.extend(services.flags());
    assert!(succeed(test).contains("delivered"));
    assert!(server.terminate().success());
}
