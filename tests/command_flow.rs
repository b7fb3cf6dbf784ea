//! Promise: whoever listens to results hears when a model was made, could not be made, or was removed, and a metric's
//! status moves exactly then.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};
use htm_core::params::ValueRange;
use htm_tests::lone_run::{assert_equal, padded_range};
use htm_tests::recording::series;
use htm_tests::running_engine::RunningEngine;
use htm_tests::sender::{lines, send};
use htm_tests::stored::{metric, monitor, status, wait_for_scores};
use htm_tests::waiting::{MAX_WAIT, wait_until};
use htmengine::anomaly::{Anomaly, AnomalyTurn};
use htmengine::bus::Bus;
use htmengine::bus::Subscription;
use htmengine::bus::memory::{MemoryBus, MemoryBusLimits};
use htmengine::bus::message::{
    CommandMethod, CommandResult, CommandResultMessage, ModelHint, ModelOutput, ResultMessage, RowScore,
    ScoreMessage,
};
use htmengine::clock::SystemClock;
use htmengine::model_params::{ModelSpec, ModelStart};
use htmengine::monitoring::{self, SystemRandom};
use htmengine::repository::Repository;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::{DataQuery, StoredSample};
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use htmengine::results::message::to_json;
use htmengine::row_detection::RowDetection;
use serde_json::{Value, json};

fn range() -> ValueRange {
    ValueRange::new(0.0, 100.0).expect("a range")
}

/// The next message; finished rows are passed over.
#[track_caller]
fn next_command(results: &mut dyn Subscription<ResultMessage>) -> CommandResultMessage {
    loop {
        match results.receive(MAX_WAIT).expect("an open bus").expect("another message") {
            ResultMessage::Command(message) => return message,
            ResultMessage::Inference(_) => {}
        }
    }
}

fn generation(repository: &dyn Repository, name: &str) -> String {
    let params = metric(repository, name).expect("stored").model_params.expect("started");
    ModelStart::from_json(&params).expect("readable").generation
}

fn delete(repository: &dyn Repository, name: &str) {
    let uid = metric(repository, name).expect("stored").uid;
    monitoring::in_transaction(repository, |tx| monitoring::delete(tx, &uid)).expect("deleted");
}

fn unmonitor(repository: &dyn Repository, name: &str) {
    let uid = metric(repository, name).expect("stored").uid;
    monitoring::in_transaction(repository, |tx| monitoring::unmonitor(tx, &uid)).expect("unmonitored");
}

#[test]
fn a_model_is_announced_before_its_first_scores_and_its_metric_becomes_active() {
    let running = RunningEngine::start(|_| {});
    let mut results = running.engine().bus().results().subscribe();
    send(running.address(), b"cpu 5 1386201600\n");
    wait_until("a stored row", || metric(running.repository(), "cpu").is_some_and(|m| m.last_rowid.0 == 1));
    monitor(running.repository(), "cpu", Some(range()));
    let first = results.receive(MAX_WAIT).expect("an open bus").expect("a message");
    let metric = metric(running.repository(), "cpu").expect("stored");
    assert_eq!(metric.status, MetricStatus::Active, "it was active before it was told");
    let spec: Value = serde_json::from_str(&metric.parameters.expect("monitored")).expect("JSON");
    let told: Value = serde_json::from_str(&to_json(&first)).expect("JSON");
    let expected = json!({
        "method": "defineModel", "modelId": metric.uid.as_str(), "status": 0, "errorMessage": null,
        "commandId": generation(running.repository(), "cpu"),
        "modelInfo": {"metricName": "cpu", "resource": "cpu", "modelSpec": spec},
    });
    assert_eq!(told, expected);
    let second = results.receive(MAX_WAIT).expect("an open bus").expect("a message");
    assert!(matches!(second, ResultMessage::Inference(_)), "{second:?}");
    running.stop();
}

#[test]
fn a_model_without_rows_is_made_and_removed() {
    let running = RunningEngine::start(|_| {});
    let mut results = running.engine().bus().results().subscribe();
    monitor(running.repository(), "empty", Some(range()));
    let made = next_command(&mut *results);
    assert_eq!((made.result.method, made.result.status), (CommandMethod::DefineModel, 0));
    assert_eq!(status(running.repository(), "empty"), Some(MetricStatus::Active));
    unmonitor(running.repository(), "empty");
    let removed = next_command(&mut *results);
    assert_eq!((removed.result.method, removed.result.status), (CommandMethod::DeleteModel, 0));
    assert_eq!(removed.result.command_id, made.result.command_id, "it is the same model");
    assert_eq!(removed.model_info, None);
    running.stop();
}

#[test]
fn a_deleted_metric_takes_its_model_with_it() {
    let running = RunningEngine::start(|options| options.checkpoint_rows = 5);
    let mut results = running.engine().bus().results().subscribe();
    let samples: Vec<_> = series("nyc_taxi").into_iter().map(|(_, sample)| sample).take(20).collect();
    monitor(running.repository(), "taxi", Some(padded_range(&samples)));
    send(running.address(), lines("taxi", &samples).as_bytes());
    wait_for_scores(running.repository(), "taxi", samples.len());
    let uid = metric(running.repository(), "taxi").expect("stored").uid;
    let made = next_command(&mut *results).result;
    delete(running.repository(), "taxi");
    let removed = next_command(&mut *results);
    assert_eq!((removed.result.method, removed.result.model_id), (CommandMethod::DeleteModel, uid.clone()));
    assert_eq!(removed.result.command_id, made.command_id);
    let file = running.data_dir().join("models").join(&uid.as_str()[..2]).join(format!("{uid}.model"));
    wait_until("the end of its file", || !file.exists());
    running.stop();
}

#[test]
fn a_metric_monitored_anew_gets_a_new_model_after_the_old_one_is_gone() {
    let running = RunningEngine::start(|_| {});
    let mut results = running.engine().bus().results().subscribe();
    let samples: Vec<_> = series("nyc_taxi").into_iter().map(|(_, sample)| sample).take(30).collect();
    let wide = ValueRange::new(-1e6, 1e6).expect("a range");
    monitor(running.repository(), "taxi", Some(wide));
    send(running.address(), lines("taxi", &samples).as_bytes());
    wait_for_scores(running.repository(), "taxi", samples.len());
    let first = next_command(&mut *results).result;
    // At once, as clients do that change a range.
    unmonitor(running.repository(), "taxi");
    monitor(running.repository(), "taxi", Some(padded_range(&samples)));
    let removed = next_command(&mut *results).result;
    let second = next_command(&mut *results).result;
    assert_eq!((removed.method, removed.command_id), (CommandMethod::DeleteModel, first.command_id.clone()));
    assert_eq!(second.method, CommandMethod::DefineModel);
    assert_ne!(second.command_id, first.command_id);
    let rows = wait_for_scores(running.repository(), "taxi", samples.len());
    assert_equal("the second life", &rows, &samples, padded_range(&samples));
    running.stop();
}

#[test]
fn a_model_that_cannot_be_made_puts_its_metric_into_error() {
    let running = RunningEngine::start(|_| {});
    let mut results = running.engine().bus().results().subscribe();
    let repository = running.repository();
    let random = SystemRandom::open().expect("/dev/urandom");
    monitoring::in_transaction::<_, monitoring::MonitorError>(repository, |tx| {
        let metric = monitoring::create_metric(tx, "broken", &random)?;
        let spec = ModelSpec { range: Some(range()), ..ModelSpec::for_metric("broken") };
        monitoring::monitor(tx, &metric, &spec, &random)?;
        tx.set_model(&metric.uid, Some(&spec.to_json()), Some("{\"modelConfig\": 3}"))?;
        Ok(())
    })
    .expect("monitored");
    let failed = next_command(&mut *results);
    assert_eq!((failed.result.method, failed.model_info), (CommandMethod::DefineModel, None));
    assert_ne!(failed.result.status, 0);
    let metric = metric(repository, "broken").expect("stored");
    assert_eq!((metric.status, metric.message), (MetricStatus::Error, failed.result.error_message));
    running.stop();
}

#[test]
fn a_hint_of_a_change_is_enough() {
    let running = RunningEngine::start(|_| {});
    let mut results = running.engine().bus().results().subscribe();
    monitor(running.repository(), "cpu", Some(range()));
    let made = next_command(&mut *results).result;
    let uid = made.model_id;
    // As a client of the original's database would do, who knows nothing of our table of changes.
    running
        .repository()
        .transact(&mut |tx| {
            tx.set_status(&uid, &[MetricStatus::Active], MetricStatus::Unmonitored, None)?;
            tx.set_model(&uid, None, None)
        })
        .expect("unmonitored");
    let hint = ModelHint { model_id: uid.clone(), is_changed: true };
    running.engine().bus().hints().publish(hint).expect("an open bus");
    let removed = next_command(&mut *results).result;
    assert_eq!((removed.method, removed.model_id), (CommandMethod::DeleteModel, uid));
    running.stop();
}

#[test]
fn the_live_stream_shows_rows_only() {
    use std::io::{BufRead, BufReader};
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let running = RunningEngine::start(|options| options.results = Some(any_port));
    let reader = htm_tests::sender::connect(running.engine().results_address().expect("served"));
    let mut lines = BufReader::new(reader).lines();
    let mut in_process = running.engine().bus().results().subscribe();
    // The stream subscribes when it has accepted; new models go on until it shows something.
    let line = std::thread::scope(|scope| {
        let reading = scope.spawn(move || lines.next().expect("a line").expect("text"));
        let mut number = 0;
        wait_until("a line on the stream", || {
            let name = format!("metric.{number}");
            monitor(running.repository(), &name, Some(range()));
            send(running.address(), format!("{name} 5 1386201600\n").as_bytes());
            wait_for_scores(running.repository(), &name, 1);
            number += 1;
            reading.is_finished()
        });
        reading.join().expect("no panic")
    });
    let shown: Value = serde_json::from_str(&line).expect("JSON");
    assert!(shown.get("results").is_some(), "{line}");
    next_command(&mut *in_process);
    running.stop();
}

/// An anomaly role with a metric, and nothing else around it.
struct Lone {
    bus: Arc<MemoryBus>,
    repository: Arc<SqliteRepository>,
    anomaly: Anomaly,
    uid: ModelId,
    generation: String,
    _folder: tempfile::TempDir,
}

impl Lone {
    /// Its metric waits for its model and has one row.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.sqlite");
        let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("opened");
        let repository = Arc::new(repository);
        monitor(&*repository, "cpu", Some(range()));
        let uid = metric(&*repository, "cpu").expect("stored").uid;
        let sample = StoredSample { timestamp: 1_386_201_600, value: 5.0 };
        repository.transact(&mut |tx| tx.append_rows(&uid, &[sample]).map(|_| ())).expect("stored");
        let bus = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
        let shared: Arc<dyn Bus> = Arc::<MemoryBus>::clone(&bus);
        let rows: Arc<dyn Repository> = Arc::<SqliteRepository>::clone(&repository);
        let anomaly = Anomaly::new(shared, rows, Arc::new(SystemClock::new()));
        let generation = generation(&*repository, "cpu");
        Self { bus, repository, anomaly, uid, generation, _folder: folder }
    }

    fn command(&self, method: CommandMethod, failure: Option<&str>) -> CommandResult {
        CommandResult {
            model_id: self.uid.clone(),
            method,
            command_id: self.generation.clone(),
            status: i64::from(failure.is_some()),
            error_message: failure.map(str::to_owned),
        }
    }

    fn set_status(&self, to: MetricStatus, message: Option<&str>) {
        let all = [MetricStatus::Active, MetricStatus::CreatePending, MetricStatus::Error];
        self.repository
            .transact(&mut |tx| tx.set_status(&self.uid, &all, to, message).map(|_| ()))
            .expect("set");
    }

    /// Hands over the messages in one turn; what is published, and what the metric is then.
    fn turn(&mut self, messages: Vec<ModelOutput>) -> Vec<ResultMessage> {
        let mut results = self.bus.results().subscribe();
        for message in messages {
            self.bus.scores().publish(message).expect("an open bus");
        }
        let turn = self.anomaly.run_once(Duration::ZERO).expect("a usable database");
        assert!(matches!(turn, AnomalyTurn::Completed { .. }), "{turn:?}");
        std::iter::from_fn(|| results.receive(Duration::ZERO).expect("an open bus")).collect()
    }

    #[track_caller]
    fn apply(&mut self, result: CommandResult) -> Option<CommandResultMessage> {
        let mut published = self.turn(vec![ModelOutput::Command(result)]);
        assert!(published.len() <= 1, "{published:?}");
        published.pop().map(|message| match message {
            ResultMessage::Command(message) => message,
            ResultMessage::Inference(message) => panic!("no scores were given: {message:?}"),
        })
    }

    fn state(&self) -> (MetricStatus, Option<String>) {
        let metric = metric(&*self.repository, "cpu").expect("stored");
        (metric.status, metric.message)
    }
}

#[test]
fn a_defined_model_moves_only_a_metric_that_waits_for_it() {
    let mut lone = Lone::new();
    let define = lone.command(CommandMethod::DefineModel, None);
    let message = lone.apply(define.clone()).expect("published");
    assert_eq!(message.model_info.expect("of a model that was made").metric_name, "cpu");
    assert_eq!(lone.state(), (MetricStatus::Active, None));
    // Again, as after a crash.
    assert!(lone.apply(define.clone()).is_some());
    assert_eq!(lone.state(), (MetricStatus::Active, None));
    lone.set_status(MetricStatus::Error, Some("why"));
    assert!(lone.apply(define).is_some());
    assert_eq!(lone.state(), (MetricStatus::Error, Some("why".to_owned())));
}

#[test]
fn a_model_that_failed_moves_its_metric_once() {
    let mut lone = Lone::new();
    let failed = lone.command(CommandMethod::DefineModel, Some("no such encoder"));
    let message = lone.apply(failed.clone()).expect("published");
    assert_eq!((message.result, message.model_info), (failed.clone(), None));
    assert_eq!(lone.state(), (MetricStatus::Error, Some("no such encoder".to_owned())));
    let again = CommandResult { error_message: Some("another reason".to_owned()), ..failed };
    assert!(lone.apply(again).is_some());
    assert_eq!(lone.state(), (MetricStatus::Error, Some("no such encoder".to_owned())));
}

#[test]
fn commands_about_metrics_that_are_gone_or_not_monitored() {
    let mut lone = Lone::new();
    let define = lone.command(CommandMethod::DefineModel, None);
    let failed = lone.command(CommandMethod::DefineModel, Some("why"));
    let removed = lone.command(CommandMethod::DeleteModel, None);
    let not_removed = lone.command(CommandMethod::DeleteModel, Some("why"));
    unmonitor(&*lone.repository, "cpu");
    assert_eq!(lone.apply(define.clone()), None, "there is no specification to tell of");
    assert_eq!(lone.apply(failed.clone()).expect("published").result, failed);
    assert_eq!(lone.state(), (MetricStatus::Unmonitored, None), "it asks for no model");
    delete(&*lone.repository, "cpu");
    assert_eq!(lone.apply(define), None);
    assert_eq!(lone.apply(failed.clone()).expect("published").result, failed);
    for result in [removed, not_removed] {
        let message = lone.apply(result.clone()).expect("published");
        assert_eq!((message.result, message.model_info), (result, None));
    }
}

#[test]
fn a_late_command_does_not_move_the_next_life_of_a_metric() {
    let mut lone = Lone::new();
    let define = lone.command(CommandMethod::DefineModel, None);
    let failed = lone.command(CommandMethod::DefineModel, Some("why"));
    unmonitor(&*lone.repository, "cpu");
    monitor(&*lone.repository, "cpu", Some(range()));
    assert_eq!(lone.apply(define), None);
    assert!(lone.apply(failed).is_some());
    assert_eq!(lone.state(), (MetricStatus::CreatePending, None));
}

#[test]
fn scores_are_taken_from_the_message_that_follows_the_definition() {
    let mut lone = Lone::new();
    let scores = ScoreMessage {
        model_id: lone.uid.clone(),
        generation: lone.generation.clone(),
        scores: vec![RowScore {
            row_id: RowId(1),
            raw_anomaly_score: 1.0,
            anomaly_score: 0.25,
            best_predictions: None,
            detection: RowDetection::default(),
        }],
    };
    let early = lone.turn(vec![ModelOutput::Scores(scores.clone())]);
    assert!(early.is_empty(), "the model was not announced: {early:?}");
    let define = lone.command(CommandMethod::DefineModel, None);
    let published = lone.turn(vec![ModelOutput::Command(define), ModelOutput::Scores(scores)]);
    assert!(
        matches!(published.as_slice(), [ResultMessage::Command(_), ResultMessage::Inference(_)]),
        "{published:?}"
    );
    let rows = lone.repository.data(&lone.uid, &DataQuery::default()).expect("a readable database");
    assert_eq!(rows[0].raw_anomaly_score, Some(1.0));
}

/// Scores were committed and the anomaly role died before it had published them. When they came again the metric was in error,
/// or over a wider range, and the message was dropped.
#[test]
fn scores_that_are_stored_already_are_published_whatever_became_of_the_metric() {
    let mut lone = Lone::new();
    let scores = |generation: &str, anomaly_score: f64| {
        ModelOutput::Scores(ScoreMessage {
            model_id: lone.uid.clone(),
            generation: generation.to_owned(),
            scores: vec![RowScore {
                row_id: RowId(1),
                raw_anomaly_score: 1.0,
                anomaly_score,
                best_predictions: None,
                detection: RowDetection::default(),
            }],
        })
    };
    let first = scores(&lone.generation, 0.25);
    let (of_another_life, other) = (scores(&"f".repeat(32), 0.25), scores(&lone.generation, 0.5));
    let define = lone.command(CommandMethod::DefineModel, None);
    let published = lone.turn(vec![ModelOutput::Command(define), first.clone()]);
    assert_eq!(lone.turn(vec![of_another_life]), published[1..], "the life moved on");
    lone.set_status(MetricStatus::Error, Some("a row was refused"));
    assert_eq!(lone.turn(vec![first]), published[1..], "the status moved on");
    assert_eq!(lone.turn(vec![other]), [], "others were never stored");
}
