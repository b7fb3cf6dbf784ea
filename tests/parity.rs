//! Promise: what htmengine's own tests asked of it holds here too. `tests/htmengine_parity.md` answers each of them
//! with a test of ours, and this file checks that table; below it are those answers that fit nowhere else.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use htm_core::encoder::Record;
use htm_core::ids::RowId;
use htm_core::params::ValueRange;
use htm_tests::lone_run::{assert_equal, assert_scored, assert_stored, learned_scores};
use htm_tests::process_signal::send_signal;
use htm_tests::program::command;
use htm_tests::recording::series;
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{connect, finish, lines, send};
use htm_tests::source_tree::read;
use htm_tests::stored::{metric, monitor, rows, status, wait_for_rows, wait_for_scores};
use htm_tests::waiting::{wait_for, wait_until};
use htmengine::bus::message::{InferenceResults, ResultMessage};
use htmengine::bus::{BusError, Subscription};
use htmengine::model_params::ModelSpec;
use htmengine::monitoring::{self, SystemRandom};
use htmengine::repository::Repository;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::MetricRow;

const TABLE: &str = "tests/htmengine_parity.md";
/// Tests of the original.
const ORIGINAL_TESTS: usize = 204;

/// One answer of the table.
#[derive(Debug)]
struct Answer {
    status: String,
    original: String,
    /// `path::function` each.
    ours: Vec<String>,
    how: String,
}

/// The rows of all tables on the page, headings left out.
fn answers(page: &str) -> Vec<Answer> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = page.lines().filter(|line| line.starts_with('|')).map(cells);
    let is_answer =
        |row: &Vec<String>| row[0] != "status" && !row[0].chars().all(|c| matches!(c, '-' | ':' | ' '));
    rows.filter(is_answer)
        .map(|row| {
            let [status, original, ours, how] = row.try_into().expect("four columns in every row");
            let ours = ours.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Answer { status, original, ours, how }
        })
        .collect()
}

/// Whether `text` has a function `name` that is marked as a test, or is made one for every repository.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test = |head: &str| {
        lines.iter().enumerate().any(|(index, line)| {
            // Between the mark and the function only attributes and comments may stand.
            let before = lines[..index].iter().rev();
            let mut marks = before.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            line.starts_with(head) && marks.any(|mark| *mark == "#[test]")
        })
    };
    is_test(&format!("fn {name}(")) || is_conformance_check(text, name)
}

/// The suite that is run against each repository has its checks in one file; a macro there lists them.
fn is_conformance_check(text: &str, name: &str) -> bool {
    let Some((_, rest)) = text.split_once("macro_rules! conformance_tests") else { return false };
    let Some((list, checks)) = rest.split_once("\n}\n") else { return false };
    let is_listed = list.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == name);
    is_listed && checks.contains(&format!("    pub fn {name}("))
}

#[test]
fn every_row_of_the_table_is_answered_by_a_test_that_exists() {
    let answers = answers(&read(TABLE));
    let mut violations = Vec::new();
    let mut sources = BTreeMap::new();
    let mut originals = BTreeMap::new();
    for answer in &answers {
        let original = &answer.original;
        *originals.entry(original).or_insert(0) += 1;
        match answer.status.as_str() {
            "kept" | "improved" => {}
            "not applicable" if !answer.how.is_empty() => {}
            other => violations.push(format!("{original}: status `{other}` without a word on it")),
        }
        if answer.ours.is_empty() {
            violations.push(format!("{original}: no test is named"));
        }
        for named in &answer.ours {
            let Some((path, function)) = named.split_once("::") else {
                violations.push(format!("{original}: `{named}` is no path::function"));
                continue;
            };
            let text = sources.entry(path.to_owned()).or_insert_with(|| {
                let exists = htm_tests::source_tree::root().join(path).is_file();
                if exists { read(path) } else { String::new() }
            });
            if !has_test(text, function) {
                violations.push(format!("{original}: there is no test {named}"));
            }
        }
    }
    violations.extend(
        originals
            .iter()
            .filter(|(_, count)| **count != 1)
            .map(|(name, count)| format!("{name}: {count} rows")),
    );
    assert_eq!(answers.len(), ORIGINAL_TESTS, "one row for each test of the original");
    assert!(violations.is_empty(), "{TABLE}:\n  {}", violations.join("\n  "));
}

#[test]
fn tests_are_told_from_other_functions() {
    let text = "#[test]\nfn a() {}\nfn b() {}\n    #[test]\n    #[cfg(unix)]\n    // why\n    fn c() {}\n";
    assert!(has_test(text, "a") && has_test(text, "c"));
    assert!(!has_test(text, "b") && !has_test(text, "d") && !has_test("#[test]\nfn ab() {}", "a"));
    let text =
        "macro_rules! conformance_tests {\n    a\n}\nmod checks {\n    pub fn a() {}\n    pub fn b() {}\n}\n";
    assert!(has_test(text, "a") && !has_test(text, "b"));
}

fn range(min: f64, max: f64) -> ValueRange {
    ValueRange::new(min, max).expect("a range")
}

/// Monitors as somebody who wrote `spec`; the metric is made if it is missing.
fn monitor_by(repository: &dyn Repository, spec: &str) -> MetricStatus {
    let random = SystemRandom::open().expect("/dev/urandom");
    let spec = ModelSpec::from_json(spec).expect("a specification");
    monitoring::in_transaction::<_, monitoring::MonitorError>(repository, |tx| {
        let metric = monitoring::create_metric(tx, &spec.metric_name, &random)?;
        monitoring::monitor(tx, &metric, &spec, &random)
    })
    .expect("monitored")
}

#[test]
fn samples_at_uneven_times_are_all_scored() {
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    let start = 1_386_201_600;
    let samples = [0, 299, 599].map(|later| Record { timestamp: start + later, value: 5.0 });
    send(running.address(), lines("uneven", &samples[..1]).as_bytes());
    wait_for_rows(repository, "uneven", 1);
    monitor(repository, "uneven", Some(range(0.0, 5.0)));
    send(running.address(), lines("uneven", &samples[1..]).as_bytes());
    let rows = wait_for_scores(repository, "uneven", 3);
    assert_equal("uneven", &rows, &samples, range(0.0, 5.0));
    // Nothing is known of a series so young.
    assert!(rows.iter().all(|row| row.anomaly_score == Some(0.0) && row.display_value == Some(0)));
}

#[test]
fn a_deleted_metric_comes_back_with_its_next_sample() {
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    let spec = r#"{"datasource": "custom", "metricSpec": {"metric": "cpu", "unit": "Count"},
                   "modelParams": {"min": 0, "max": 100}}"#;
    let samples = [1_386_201_600, 1_386_288_000].map(|timestamp| Record { timestamp, value: 5.0 });
    let mut uids = Vec::new();
    for _ in 0..2 {
        send(running.address(), lines("cpu", &samples[..1]).as_bytes());
        wait_for_rows(repository, "cpu", 1);
        assert_eq!(status(repository, "cpu"), Some(MetricStatus::Unmonitored));
        assert_eq!(monitor_by(repository, spec), MetricStatus::CreatePending);
        send(running.address(), lines("cpu", &samples[1..]).as_bytes());
        assert_stored("cpu", &wait_for_scores(repository, "cpu", 2), &samples);
        let found = metric(repository, "cpu").expect("stored");
        let kept = ModelSpec::from_json(found.parameters.as_deref().expect("monitored")).expect("ours");
        assert_eq!(kept.unit.as_deref(), Some("Count"));
        monitoring::in_transaction(repository, |tx| monitoring::delete(tx, &found.uid)).expect("deleted");
        assert_eq!(metric(repository, "cpu"), None);
        assert!(repository.rows_after(&found.uid, RowId(0), 10).expect("readable").is_empty());
        uids.push(found.uid);
    }
    assert_ne!(uids[0], uids[1], "another metric under the same name");
}

#[test]
fn many_quick_samples_past_the_288th_are_all_kept() {
    let samples: Vec<Record> = (0_i32..988)
        .map(|index| Record {
            timestamp: 1_386_201_600 + 300 * i64::from(index),
            value: f64::from(index % 24),
        })
        .collect();
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    send(running.address(), lines("quick", &samples[..1]).as_bytes());
    wait_for_rows(repository, "quick", 1);
    assert_eq!(
        monitor_by(repository, r#"{"datasource": "custom", "metricSpec": {"metric": "quick"}}"#),
        MetricStatus::PendingData
    );
    send(running.address(), lines("quick", &samples[1..]).as_bytes());
    let rows = wait_for_scores(repository, "quick", samples.len());
    assert_stored("quick", &rows, &samples);
    assert_scored("quick", &rows, &learned_scores(&samples, 288).0);
    assert_eq!(status(repository, "quick"), Some(MetricStatus::Active));
    assert_eq!(metric(repository, "quick").expect("stored").last_rowid, RowId(988));
}

/// The next message with rows.
fn next_rows(results: &mut dyn Subscription<ResultMessage>) -> InferenceResults {
    wait_for("a message with rows", || match results.receive(Duration::from_millis(100)) {
        Ok(Some(ResultMessage::Inference(message))) => Some(message),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    })
}

#[test]
fn resource_unit_and_user_information_are_kept() {
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    let mut results = running.engine().bus().results().subscribe();
    let full = r#"{"metric": "full", "unit": "Count", "resource": "web1", "userInfo": {"symbol": "X", "n": [1, 2]}}"#;
    let cases = [("full", full, "web1"), ("bare", r#"{"metric": "bare"}"#, "bare")];
    for (name, metric_spec, server) in cases {
        let expected: serde_json::Value = serde_json::from_str(metric_spec).expect("JSON");
        let waiting = format!(r#"{{"datasource": "custom", "metricSpec": {metric_spec}}}"#);
        assert_eq!(monitor_by(repository, &waiting), MetricStatus::PendingData);
        let check = |with_params: bool| {
            let found = metric(repository, name).expect("stored");
            assert_eq!(found.server.as_deref(), Some(server));
            let text = found.parameters.expect("monitored");
            let stored: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!((&stored["datasource"], &stored["metricSpec"]), (&"custom".into(), &expected));
            assert_eq!(stored.get("modelParams").is_some(), with_params, "{stored}");
            assert_eq!(ModelSpec::from_json(&text).expect("as it was given").to_json(), text);
            found.uid
        };
        let uid = check(false);
        monitoring::in_transaction(repository, |tx| monitoring::unmonitor(tx, &uid)).expect("unmonitored");
        assert_eq!(metric(repository, name).expect("stored").parameters, None);
        let with_range = format!(
            r#"{{"datasource": "custom", "metricSpec": {metric_spec}, "modelParams": {{"min": 0, "max": 100}}}}"#
        );
        assert_eq!(monitor_by(repository, &with_range), MetricStatus::CreatePending);
        assert_eq!(check(true), uid, "the same metric");
        send(running.address(), format!("{name} 5 1386201600\n").as_bytes());
        let message = next_rows(&mut *results);
        assert_eq!((message.metric.name.as_str(), &message.metric.spec), (name, &expected));
        assert_eq!(message.metric.resource.as_deref(), Some(server));
    }
}

/// Takes what was published until `count` rows are there.
fn published_rows(results: &mut dyn Subscription<ResultMessage>, count: usize) -> Vec<(i64, [u64; 4])> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(next_rows(results).results.into_iter().map(|row| {
            assert_eq!(row.multi_step_best_predictions, None);
            (row.rowid, [row.ts, row.value, row.raw_anomaly, row.anomaly].map(f64::to_bits))
        }));
    }
    assert!(
        matches!(results.receive(Duration::ZERO), Ok(None) | Err(BusError::Closed)),
        "every row is published once"
    );
    found
}

fn as_published(row: &MetricRow) -> (i64, [u64; 4]) {
    #[expect(clippy::cast_precision_loss, reason = "unix seconds are exact in an f64")]
    let time = row.timestamp as f64;
    let score = |score: Option<f64>| score.expect("scored");
    let numbers = [time, row.value, score(row.raw_anomaly_score), score(row.anomaly_score)];
    (row.row_id.0, numbers.map(f64::to_bits))
}

#[test]
fn a_series_sent_whole_and_monitored_then_is_published_as_it_is_stored() {
    let samples: Vec<Record> =
        series("iio_us-east-1_i-a2eb1cd9_NetworkIn").into_iter().map(|(_, record)| record).collect();
    assert_eq!(samples.len(), 1243);
    let running = RunningEngine::start(|_| {});
    let repository = running.repository();
    for name in ["first", "second"] {
        send(running.address(), lines(name, &samples).as_bytes());
        assert_stored(name, &wait_for_rows(repository, name, samples.len()), &samples);
        let mut results = running.engine().bus().results().subscribe();
        monitor(repository, name, None);
        let rows = wait_for_scores(repository, name, samples.len());
        // Both runs equal the lone one, and so each other.
        assert_stored(name, &rows, &samples);
        assert_scored(name, &rows, &learned_scores(&samples, samples.len()).0);
        let published = published_rows(&mut *results, samples.len());
        assert_eq!(published, rows.iter().map(as_published).collect::<Vec<_>>(), "{name}");
    }
}

/// Starts `serve` over `folder` and waits until it is ready; returns where it takes lines, too.
fn serve(folder: &Path) -> (Child, String) {
    let mut serve = command(["serve", "--graphite", "127.0.0.1:0", "--monitor", "*", "--data-dir"]);
    let mut child = serve
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be run");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut address = None;
    for line in stdout.lines().map_while(Result::ok) {
        if let Some(rest) = line.strip_prefix("htmengine takes Graphite lines on TCP ") {
            address = rest.split(' ').next().map(str::to_owned);
        } else if line.starts_with("then: ") {
            break;
        }
    }
    (child, address.expect("serve says where it listens"))
}

#[test]
fn signals_stop_an_engine_with_and_without_models() {
    let samples: Vec<Record> = series("speed_7578").into_iter().map(|(_, record)| record).take(300).collect();
    for signal in ["TERM", "INT"] {
        for count in [0, samples.len()] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let (mut child, address) = serve(folder.path());
            if count > 0 {
                let mut stream = connect(address.parse().expect("an address"));
                std::io::Write::write_all(&mut stream, lines("cpu", &samples).as_bytes()).expect("sent");
                finish(stream);
            }
            send_signal(child.id(), signal);
            let status = wait_for("the end of serve", || child.try_wait().expect("our own child"));
            assert_eq!(status.code(), Some(0), "SIG{signal} with {count} samples");
            // Everything that was taken in is stored, and the next life scores what this one did not.
            if count > 0 {
                let running = RunningEngine::start_in(folder.path(), |_| {});
                let repository = running.repository();
                assert_stored(signal, &rows(repository, "cpu"), &samples);
                let found = wait_for_scores(repository, "cpu", count);
                assert_stored(signal, &found, &samples);
                assert_scored(signal, &found, &learned_scores(&samples, 288).0);
                wait_until("the model", || status_is_active(repository));
            }
        }
    }
}

fn status_is_active(repository: &dyn Repository) -> bool {
    status(repository, "cpu") == Some(MetricStatus::Active)
}
