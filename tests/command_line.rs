//! Promise: every verb does what its help says, against a running engine or its folder; results are on standard output
//! in forms that programs can read; errors name what was found, what was expected and what to do, with exit code 1
//! (2 for arguments that cannot be read).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use htm_core::encoder::Record;
use htm_core::params::ValueRange;
use htm_tests::lone_run::{LoneScores, assert_equal, assert_scored, learned_scores, padded_range, scores};
use htm_tests::old_configuration::OldConfiguration;
use htm_tests::program::{Server, command, fail, run, succeed};
use htm_tests::recording::{series, series_path};
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, row_count, rows, status, wait_for_rows, wait_for_scores};
use htm_tests::waiting::wait_until;
use htmengine::clock::{Clock, SystemClock};
use htmengine::engine::MODELS_FOLDER;
use htmengine::repository::metric::MetricStatus;
use serde_json::Value;

const VERBS: [(&str, &str); 23] = [
    ("serve", "Run the engine"),
    ("demo", "Show what the engine does"),
    ("replay", "Score a file of samples"),
    ("nab", "Run the Numenta Anomaly Benchmark"),
    ("evaluate", "Measure precision and recall on labelled series of your own"),
    ("metrics", "List metrics"),
    ("data", "Show the samples of a metric with their scores"),
    ("monitor", "Start a model for a metric"),
    ("unmonitor", "Stop the model of a metric"),
    ("delete", "Delete a metric"),
    ("create", "Make a metric that is not monitored"),
    ("activate", "Start the model of a metric that waits for data"),
    ("export", "Print the specification of a metric's model"),
    ("import", "Monitor what `htmengine export` printed"),
    ("instances", "List servers"),
    ("collect-garbage", "Delete rows older than so many days"),
    ("status", "Show figures of the running engine"),
    ("checkpoint", "Have the running engine save every model"),
    ("backup", "Copy rows and models of an engine"),
    ("restore", "Make an empty data folder what a backup holds"),
    ("rebuild", "Build a metric's model again from its rows"),
    ("doctor", "Look at this machine"),
    ("config", "Show the effective settings, or check them"),
];

fn samples(name: &str, count: usize) -> Vec<Record> {
    series(name).into_iter().map(|(_, record)| record).take(count).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A server, and how to ask about it.
struct Session {
    server: Server,
    folder: tempfile::TempDir,
}

impl Session {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { server: Server::start(folder.path(), arguments), folder }
    }

    /// The verb's arguments and where the data is.
    fn with_data<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--data-dir", text(self.server.data_dir())]].concat()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        succeed(self.with_data(arguments))
    }

    fn fail(&self, arguments: &[&str], parts: &[&str]) {
        fail(self.with_data(arguments), 1, parts);
    }

    fn send(&self, name: &str, samples: &[Record]) {
        send(self.server.address(), lines(name, samples).as_bytes());
    }
}

#[test]
fn help_says_what_each_verb_is_for() {
    let all = succeed(["--help"]);
    for (verb, purpose) in VERBS {
        assert!(all.contains(purpose), "`{purpose}` is not in the overview:\n{all}");
        let help = succeed([verb, "--help"]);
        assert!(help.starts_with(purpose), "{verb}:\n{help}");
        let short = succeed([verb, "-h"]);
        assert!(short.starts_with(purpose) && short.contains("Usage: htmengine"), "{verb}:\n{short}");
    }
    assert!(succeed(["--version"]).starts_with("htmengine 0."));
    fail::<&str>([], 2, &["Usage: htmengine"]);
    fail(["observe"], 2, &["observe", "--help"]);
    fail(["data"], 2, &["<NAME>"]);
}

#[test]
fn serve_says_where_it_listens_and_a_first_sample_can_be_looked_at() {
    let session = Session::start(&["--results", "127.0.0.1:0"]);
    let announcement = session.server.announcement().join("\n");
    let port = session.server.address().port();
    let data_dir = text(session.server.data_dir());
    session.server.announced("live results: newline-delimited JSON on TCP ");
    for part in [
        " and UDP 127.0.0.1:",
        &format!("data: {data_dir}"),
        "monitoring: every new metric that matches *",
        &format!("nc -q0 127.0.0.1 {port}"),
        &format!("htmengine data cpu.load --data-dir {data_dir}"),
    ] {
        assert!(announcement.contains(part), "`{part}` is not in:\n{announcement}");
    }
    let now = SystemClock::new().unix_seconds();
    send(session.server.address(), format!("cpu.load 0.5 {now}\n").as_bytes());
    wait_for_rows(&session.server.repository(), "cpu.load", 1);
    let table = session.succeed(&["data", "cpu.load"]);
    let row = table.lines().nth(1).expect("a row below the headings");
    let fields: Vec<&str> = row.split_whitespace().collect();
    let time = htmengine::timestamp::format_seconds(now).expect("a year of four digits");
    let [date, time] = [&time[..10], &time[11..]];
    assert_eq!(fields, ["1", date, time, "0.5", "-", "-", "-", "-"], "{table}");
    let metrics = session.succeed(&["metrics"]);
    assert!(metrics.contains("cpu.load") && metrics.contains("pending data"), "{metrics}");
}

#[test]
fn monitoring_unmonitoring_and_deleting_take_effect_in_a_running_engine() {
    let session = Session::start(&["--no-monitor", "--checkpoint-rows", "50"]);
    let repository = session.server.repository();
    let samples = samples("ec2_cpu_utilization_5f5533", 160);
    let range = ValueRange::new(0.0, 100.0).expect("a range");
    session.send("cpu", &samples[..120]);
    wait_for_rows(&repository, "cpu", 120);
    let listed = json(&session.succeed(&["metrics", "cpu", "--json"]));
    assert_eq!((&listed[0]["status"], &listed[0]["rows"]), (&"unmonitored".into(), &120.into()), "{listed}");

    let answer = session.succeed(&["monitor", "cpu", "--min", "0", "--max", "100"]);
    assert!(answer.starts_with("cpu is monitored"), "{answer}");
    assert_equal("monitored", &wait_for_scores(&repository, "cpu", 120), &samples[..120], range);
    session.fail(&["monitor", "cpu"], &["`cpu`", "is monitored already", "unmonitor it first"]);
    let uid = metric(&repository, "cpu").expect("stored").uid.to_string();
    let file = session.server.data_dir().join(MODELS_FOLDER).join(&uid[..2]).join(format!("{uid}.model"));
    wait_until("the model's file", || file.exists());

    let answer = session.succeed(&["unmonitor", "cpu"]);
    assert_eq!(answer, "cpu is no longer monitored; its 120 samples are kept\n");
    let cleared = rows(&repository, "cpu");
    assert_eq!(cleared.len(), 120);
    assert!(cleared.iter().all(|row| row.raw_anomaly_score.is_none() && row.anomaly_score.is_none()));
    wait_until("the removal of the file", || !file.exists());
    session.send("cpu", &samples[120..140]);
    wait_for_rows(&repository, "cpu", 140);

    let answer = json(&session.succeed(&["monitor", "cpu", "--min", "0", "--max", "100", "--json"]));
    assert_eq!(answer["uid"], uid.as_str(), "the same metric: {answer}");
    assert_equal("once more", &wait_for_scores(&repository, "cpu", 140), &samples[..140], range);
    wait_until("the new model's file", || file.exists());

    let answer = session.succeed(&["delete", "cpu"]);
    assert_eq!(answer, "cpu and its 140 samples are deleted\n");
    session.fail(&["data", "cpu"], &["no metric named 'cpu'", "htmengine metrics"]);
    wait_until("the removal of the file", || !file.exists());

    session.send("cpu", &samples);
    wait_for_rows(&repository, "cpu", 160);
    assert_ne!(metric(&repository, "cpu").expect("made anew").uid.to_string(), uid);
    assert_eq!(status(&repository, "cpu"), Some(MetricStatus::Unmonitored));
    session.succeed(&["monitor", "cpu", "--min", "0", "--max", "100"]);
    assert_equal("made anew", &wait_for_scores(&repository, "cpu", 160), &samples, range);
}

#[test]
fn a_metric_may_be_monitored_before_its_first_sample() {
    let session = Session::start(&["--monitor", "auto.*"]);
    let repository = session.server.repository();
    let samples = samples("speed_7578", 60);
    let arguments = ["monitor", "load;b=2;a=1", "--min", "-10", "--max", "1e2", "--min-resolution", "2.5"];
    session.succeed(&[&arguments[..], &["--resource", "web"]].concat());
    session.send("load;a=1;b=2", &samples);
    session.send("auto.mated", &samples[..1]);
    session.send("other", &samples[..1]);
    let found = wait_for_scores(&repository, "load;a=1;b=2", samples.len());
    let resolution = ValueRange::new(0.0, 2.5 * 130.0).expect("a range of that resolution");
    assert_scored("with a minimum resolution", &found, &scores(&samples, resolution));
    assert_eq!(metric(&repository, "load;a=1;b=2").expect("stored").server.as_deref(), Some("web"));
    wait_for_rows(&repository, "other", 1);
    assert_eq!(status(&repository, "auto.mated"), Some(MetricStatus::PendingData));
    assert_eq!(status(&repository, "other"), Some(MetricStatus::Unmonitored));
}

#[test]
fn arguments_that_cannot_be_meant_are_refused_with_advice() {
    let session = Session::start(&["--no-monitor"]);
    session.send("cpu", &samples("speed_7578", 1));
    wait_for_rows(&session.server.repository(), "cpu", 1);
    let both = "min and max params must both be None or non-None";
    session.fail(&["monitor", "cpu", "--min", "5"], &[both, "max"]);
    session.fail(&["monitor", "cpu", "--max", "5"], &[both, "min"]);
    session.fail(&["monitor", "cpu", "--min", "5", "--max", "1"], &["min 5", "max 1", "exchange them"]);
    session.fail(&["monitor", "cpu", "--min", "nan", "--max", "1"], &["NaN", "finite"]);
    session.fail(&["monitor", "two words", "--min", "0", "--max", "1"], &["two words", "no metric name"]);
    assert_eq!(status(&session.server.repository(), "cpu"), Some(MetricStatus::Unmonitored), "unchanged");
    for verb in ["data", "unmonitor", "delete"] {
        session.fail(&[verb, "gpu"], &["no metric named 'gpu'", "htmengine metrics"]);
    }
    session.fail(&["data", "cpu", "--since", "yesterday"], &["`yesterday`", "YYYY-MM-DD"]);
    fail(session.with_data(&["data", "cpu", "--format", "xml"]), 2, &["xml", "ndjson"]);
    assert_eq!(row_count(&session.server.repository(), "cpu"), 1, "nothing was deleted");
}

#[test]
fn a_folder_without_data_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("nowhere");
    for verb in [&["metrics"][..], &["data", "a"], &["unmonitor", "a"], &["delete", "a"]] {
        fail([verb, &["--data-dir", text(&missing)]].concat(), 1, &["error: ", text(&missing)]);
    }
    let monitor = ["monitor", "a", "--min", "0", "--max", "1", "--data-dir", text(&missing)];
    fail(monitor, 1, &["error: ", text(&missing)]);
    assert!(!missing.exists(), "looking makes nothing");
}

#[test]
fn a_taken_port_or_folder_and_a_bad_settings_file_are_named() {
    let session = Session::start(&[]);
    let other = session.folder.path().join("other");
    let address = session.server.address().to_string();
    let serve = ["serve", "--no-udp", "--data-dir", text(&other), "--graphite"];
    fail([&serve[..], &[&address]].concat(), 1, &[&address, "already in use", "another port"]);
    let results = [&serve[..], &["127.0.0.1:0", "--results", &address]].concat();
    fail(results, 1, &[&address, "--results"]);
    let same_folder = session.with_data(&["serve", "--graphite", "127.0.0.1:0"]);
    fail(same_folder, 1, &["another engine", text(session.server.data_dir()), "--data-dir"]);

    let settings = session.folder.path().join("htmengine.toml");
    let with_settings = [&serve[..], &["127.0.0.1:0", "--config", text(&settings)]].concat();
    fail(with_settings.clone(), 1, &[text(&settings), "cannot be read"]);
    fs::write(&settings, "udp = true\ngrafite = \"127.0.0.1:2003\"\n").expect("written");
    fail(with_settings.clone(), 1, &[text(&settings), "grafite", "`graphite`", "line 2"]);
    fs::write(&settings, "max_connections = \"many\"\n").expect("written");
    fail(with_settings, 1, &[text(&settings), "many", "line 1"]);
    fail(["serve", "--graphite", "2003"], 2, &["2003", "--graphite"]);
    // The one that was there first took no harm.
    session.send("cpu", &samples("speed_7578", 1));
    wait_for_rows(&session.server.repository(), "cpu", 1);
}

#[test]
fn a_settings_file_is_used_and_flags_win_over_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = folder.path().join("htmengine.toml");
    let file = "graphite = \"127.0.0.1:1\"\nmonitor = [\"a.*\", \"b.*\"]\nudp = false\nmax_future_s = 0\n";
    fs::write(&settings, file).expect("written");
    let server = Server::start(folder.path(), ["--config", text(&settings)]);
    let announcement = server.announcement().join("\n");
    assert!(announcement.contains("matches a.* or b.*") && !announcement.contains("UDP"), "{announcement}");
    assert_ne!(server.address().port(), 1);
    let tomorrow = SystemClock::new().unix_seconds() + 80_000;
    send(server.address(), format!("soon 1 {tomorrow}\nnow 1 -1\n").as_bytes());
    wait_for_rows(&server.repository(), "now", 1);
    assert_eq!(metric(&server.repository(), "soon"), None);
}

/// A finished metric of 300 rows.
fn scored_session() -> (Session, Vec<Record>) {
    let session = Session::start(&[]);
    let samples = samples("speed_7578", 300);
    session.send("speed", &samples);
    wait_for_scores(&session.server.repository(), "speed", 300);
    (session, samples)
}

#[test]
fn every_format_of_data_reads_back_to_the_same_rows() {
    let (session, samples) = scored_session();
    let data = |more: &[&str]| session.succeed(&[&["data", "speed", "--limit", "0"], more].concat());
    let list = json(&data(&["--format", "json"]));
    let list = list.as_array().expect("a list");
    let lines: Vec<Value> = data(&["--format", "ndjson"]).lines().map(json).collect();
    assert_eq!(*list, lines);
    let table = data(&["--format", "csv"]);
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let headings = reader.headers().expect("headings").clone();
    let expected = [
        "rowid",
        "timestamp",
        "value",
        "raw_anomaly_score",
        "anomaly_score",
        "display_value",
        "detection_score",
        "alert_score",
    ];
    assert_eq!(headings, expected[..]);
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let (scores, _) = learned_scores(&samples, 288);
    assert_eq!((list.len(), rows.len()), (300, 300));
    for (((row, object), sample), scores) in rows.iter().zip(list).zip(&samples).zip(&scores) {
        let bits = |text: &str| text.parse::<f64>().expect("a number").to_bits();
        let number = |value: &Value| value.as_f64().expect("a number").to_bits();
        let detection = &object["detection"];
        assert_eq!(object["rowid"].to_string(), row[0]);
        assert_eq!(object["time"], row[1]);
        assert_eq!(object["timestamp"], sample.timestamp);
        let numbers = [
            (&object["value"], 2, sample.value),
            (&object["raw_anomaly_score"], 3, scores.raw_anomaly_score),
            (&object["anomaly_score"], 4, scores.anomaly_score),
            (&detection["score"], 6, scores.detection_score),
            (&detection["alertScore"], 7, scores.alert_score),
        ];
        for (of_object, column, expected) in numbers {
            let found = [number(of_object), bits(&row[column])];
            assert_eq!(found, [expected.to_bits(); 2], "{}", &headings[column]);
        }
        assert_eq!(object["display_value"].to_string(), row[5]);
    }
}

#[test]
fn data_can_be_narrowed_by_time_score_and_number() {
    let (session, samples) = scored_session();
    let ids = |more: &[&str]| -> Vec<usize> {
        let text = session.succeed(&[&["data", "speed", "--format", "ndjson"], more].concat());
        text.lines().map(|line| json(line)["rowid"].to_string().parse().expect("an id")).collect()
    };
    assert_eq!(ids(&[]), (201..=300).collect::<Vec<_>>(), "the newest hundred, oldest first");
    assert_eq!(ids(&["--limit", "3"]), [298, 299, 300]);
    assert_eq!(ids(&["--limit", "0"]).len(), 300);
    let (since, until) = (samples[9].timestamp, samples[19].timestamp);
    let time = htmengine::timestamp::format_seconds(until).expect("a year of four digits");
    assert_eq!(ids(&["--since", &since.to_string(), "--until", &time]), (10..=20).collect::<Vec<_>>());
    assert_eq!(ids(&["--until", &since.to_string(), "--limit", "2"]), [9, 10]);
    let (scores, _) = learned_scores(&samples, 288);
    let least = scores.iter().map(|scores| scores.anomaly_score).fold(0.0, f64::max);
    let is_strong = |(_, scores): &(usize, &LoneScores)| scores.anomaly_score >= least;
    let strongest: Vec<usize> = (1..).zip(&scores).filter(is_strong).map(|(id, _)| id).collect();
    assert_eq!(ids(&["--min-score", &least.to_string(), "--limit", "0"]), strongest);
    assert_eq!(session.succeed(&["data", "speed", "--since", "2030-01-01"]), "no rows match\n");
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let (session, _) = scored_session();
    let path = series_path("speed_7578");
    let data = ["data", "speed", "--limit", "0", "--format"];
    let commands = [
        session.with_data(&[&data[..], &["csv"]].concat()),
        session.with_data(&[&data[..], &["json"]].concat()),
        session.with_data(&[&data[..], &["ndjson"]].concat()),
        session.with_data(&[&data[..], &["text"]].concat()),
        session.with_data(&["metrics", "--json"]),
        session.with_data(&["metrics"]),
        vec!["replay", text(&path)],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        // Nobody reads from the start, so that it does not depend on how much a pipe holds.
        drop(reader);
        let finished = command(&arguments).stdout(writer).stderr(Stdio::piped()).output().expect("run");
        let said = String::from_utf8_lossy(&finished.stderr);
        assert_eq!((finished.status.code(), &*said), (Some(0), ""), "{arguments:?}");
    }
    let pipeline = "\"$0\" \"$@\" | head -n 2; exit \"${PIPESTATUS[0]}\"";
    let mut head = Command::new("bash");
    head.args(["-c", pipeline]).arg(htm_tests::program::program()).args(["replay", text(&path)]);
    let finished = head.output().expect("bash");
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert_eq!(String::from_utf8_lossy(&finished.stdout).lines().count(), 2);
}

#[test]
fn replay_prints_the_scores_of_a_lone_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [file, out] = ["in.csv", "out.csv"].map(|name| folder.path().join(name));
    let whole = fs::read_to_string(series_path("speed_7578")).expect("bundled");
    let part: Vec<&str> = whole.lines().take(201).collect();
    fs::write(&file, part.join(",ignored\n")).expect("written");
    let samples = samples("speed_7578", 200);
    let check = |printed: &str, range: ValueRange| {
        let headings = "timestamp,value,raw_anomaly_score,likelihood,log_likelihood,anomaly_score";
        assert_eq!(printed.lines().next(), Some(headings));
        assert_eq!(printed.lines().count(), 201);
        let expected = samples.iter().zip(scores(&samples, range));
        for (line, (sample, scores)) in printed.lines().skip(1).zip(expected) {
            let fields: Vec<&str> = line.split(',').collect();
            assert!(whole.contains(fields[0]), "the time as it was written: {line}");
            let bits = |index: usize| fields[index].parse::<f64>().expect("a number").to_bits();
            let expected = [sample.value, scores.raw_anomaly_score, scores.anomaly_score].map(f64::to_bits);
            assert_eq!([bits(1), bits(2), bits(5)], expected, "{line}");
            let likelihood = f64::from_bits(bits(3));
            let log = htm_core::anomaly::likelihood::log_likelihood(likelihood);
            assert_eq!(bits(4), log.to_bits(), "{line}");
        }
    };
    let printed = succeed(["replay", text(&file)]);
    check(&printed, padded_range(&samples));
    let given = succeed(["replay", text(&file), "--min", "-5", "--max", "500"]);
    check(&given, ValueRange::new(-5.0, 500.0).expect("a range"));
    assert_ne!(printed, given);
    let finished = run(["replay", text(&file), "--out", text(&out)]);
    assert_eq!((finished.code, &*finished.stdout), (Some(0), ""), "{finished:?}");
    assert_eq!(fs::read_to_string(&out).expect("written"), printed);
    fail(["replay", text(&file), "--min", "1"], 1, &["min and max", "max"]);
    fail(["replay", text(&folder.path().join("none.csv"))], 1, &["none.csv", "cannot be read"]);
}

#[test]
fn replay_leaves_out_rows_that_are_no_samples_and_names_their_lines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("in.csv");
    let rows = "timestamp,value\n2014-07-01 00:00:00,1\nyesterday,2\n1404173100,3\n2014-07-01 00:10:00\n\
                2014-07-01 00:15:00,inf\n2014-07-01 00:20:00, 4.5\n2014-07-01 00:25:00,many\n";
    fs::write(&file, rows).expect("written");
    let finished = run(["replay", text(&file)]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let kept: Vec<&str> = finished.stdout.lines().skip(1).map(|line| &line[..line.len().min(25)]).collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept[0].starts_with("2014-07-01 00:00:00,1.0,"), "{kept:?}");
    assert!(kept[1].starts_with("1404173100,3.0,"), "{kept:?}");
    assert!(kept[2].starts_with("2014-07-01 00:20:00,4.5,"), "{kept:?}");
    let warnings: Vec<&str> = finished.stderr.lines().collect();
    let expected =
        [("line 3", "`yesterday`"), ("line 5", "1 column"), ("line 6", "inf"), ("line 8", "'many'")];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, (line, found)) in warnings.iter().zip(expected) {
        assert!(warning.contains(line) && warning.contains(found), "{warning}");
    }
    fs::write(&file, "timestamp,value\nnothing,here\n").expect("written");
    let finished = run(["replay", text(&file)]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("no usable rows"), "{finished:?}");
}

#[test]
fn the_demo_ends_well_and_says_that_its_scores_are_equal() {
    let before = demo_folders();
    let printed = succeed(["demo", "--exit"]);
    assert!(printed.contains("10320 samples were stored"), "{printed}");
    assert!(printed.contains("equal, bit for bit,") && !printed.contains("NOT"), "{printed}");
    for event in ["Marathon", "Thanksgiving", "Christmas", "New Year", "blizzard"] {
        assert!(printed.contains(event), "{event} is not in:\n{printed}");
    }
    let left: Vec<String> = demo_folders().into_iter().filter(|name| !before.contains(name)).collect();
    assert!(left.iter().all(|name| !printed.contains(name)), "its folder is removed: {left:?}");
}

fn demo_folders() -> Vec<String> {
    let entries = fs::read_dir(std::env::temp_dir()).expect("a readable folder");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("htmengine-demo-")).collect()
}

#[test]
fn the_old_configuration_folder_turns_automatic_monitoring_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = OldConfiguration::new();
    let server =
        Server::start_changed(folder.path(), ["--database", "sqlite", "--broker", "memory"], |serve| {
            serve.env("APPLICATION_CONFIG_PATH", config.path());
        });
    let announcement = server.announcement().join("\n");
    assert!(announcement.contains("monitoring: only metrics named with"), "{announcement}");
}
