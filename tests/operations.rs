//! Promise: operations on metrics and models keep the rules of the original's datasource adapter and repository
//! functions; what is refused changed nothing.
//!
//! Most tests here restate one of the original's `custom_datasource_adapter_test`; the engine's part of those tests
//! (a metric becomes active) is in `http_api.rs`.

use std::sync::Arc;

use htm_core::ids::RowId;
use htmengine::bus::Bus;
use htmengine::bus::memory::{MemoryBus, MemoryBusLimits};
use htmengine::bus::message::ModelHint;
use htmengine::clock::{Clock, SystemClock};
use htmengine::listener::connection::MAX_LINE_BYTES;
use htmengine::monitoring::SystemRandom;
use htmengine::operations::listing::{MetricQuery, status_from_text};
use htmengine::operations::metric_filter::MetricFilter;
use htmengine::operations::{OperationError, Operations};
use htmengine::reject::RejectReason;
use htmengine::repository::Repository;
use htmengine::repository::metric::{Metric, MetricStatus};
use htmengine::repository::metric_data::{DataQuery, RowUpdate, StoredSample};
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use htmengine::row_detection::RowDetection;
use htmengine::sample::SampleLimits;
use serde_json::{Value, json};
use tempfile::TempDir;

const DAY_S: i64 = 86_400;

struct Bench {
    operations: Operations,
    repository: Arc<dyn Repository>,
    bus: Arc<MemoryBus>,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("rows.sqlite");
        let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("a new database");
        let repository: Arc<dyn Repository> = Arc::new(repository);
        let bus = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
        let operations = Operations::new(
            Arc::clone(&repository),
            Some(Arc::clone(&bus) as Arc<dyn Bus>),
            Arc::new(SystemClock::new()),
            Arc::new(SystemRandom::open().expect("/dev/urandom")),
        );
        Self { operations, repository, bus, _folder: folder }
    }

    fn metric(&self, name: &str) -> Metric {
        self.operations.metric(name).unwrap_or_else(|error| panic!("{error}"))
    }

    fn monitor(&self, spec: &Value) -> Metric {
        let monitored = self.operations.monitor_metric(&spec.to_string());
        let monitored = monitored.unwrap_or_else(|error| panic!("{error}"));
        let metric = self.metric(monitored.uid.as_str());
        assert_eq!((metric.status, &metric.name), (monitored.status, &monitored.name));
        metric
    }

    fn append(&self, name: &str, samples: &[(f64, i64)]) {
        let uid = self.metric(name).uid;
        let samples: Vec<StoredSample> =
            samples.iter().map(|&(value, timestamp)| StoredSample { timestamp, value }).collect();
        self.repository.transact(&mut |tx| tx.append_rows(&uid, &samples).map(|_| ())).expect("appended");
    }

    /// The names of a refused operation's error, and that nothing but `names` exists.
    #[track_caller]
    fn refused(&self, spec: &Value, start: &str) -> OperationError {
        let error = self.operations.monitor_metric(&spec.to_string()).expect_err("refused");
        assert!(error.to_string().starts_with(start), "{error}");
        assert_eq!(
            (error.class().name, error.class().code, error.class().http_status),
            ("ValueError", 4, 400)
        );
        error
    }

    fn hints(&self) -> Vec<ModelHint> {
        let waiting = self.bus.hints().depth();
        let deliveries = if waiting == 0 {
            Vec::new()
        } else {
            self.bus.hints().receive(waiting, std::time::Duration::ZERO).expect("open")
        };
        if let Some(last) = deliveries.last() {
            self.bus.hints().acknowledge(last.tag).expect("acknowledged");
        }
        deliveries.into_iter().map(|delivery| delivery.message).collect()
    }
}

fn spec(name: &str, params: Value) -> Value {
    let mut spec = json!({"datasource": "custom", "metricSpec": {"metric": name}});
    if !params.is_null() {
        spec["modelParams"] = params;
    }
    spec
}

fn stored_spec(metric: &Metric) -> Value {
    serde_json::from_str(metric.parameters.as_deref().expect("monitored")).expect("JSON")
}

fn day_of_samples() -> Vec<(f64, i64)> {
    (0..288).map(|row| (if row == 0 { 5000.0 } else { 7000.0 }, 1_400_000_000 + row * 300)).collect()
}

#[test]
fn a_created_metric_is_unmonitored_and_exists_once() {
    let bench = Bench::new();
    let made = bench.operations.create_metric("cpu").expect("made");
    let found = bench.metric("cpu");
    assert_eq!((found.status, found.datasource.as_deref()), (MetricStatus::Unmonitored, Some("custom")));
    assert_eq!(found.server.as_deref(), Some("cpu"));
    let error = bench.operations.create_metric("cpu").expect_err("there");
    assert_eq!(error, OperationError::MetricAlreadyExists { uid: made.uid.clone(), name: "cpu".to_owned() });
    assert_eq!((error.class().name, error.class().code), ("MetricAlreadyExists", 2));
    assert_eq!(bench.metric(made.uid.as_str()), found, "an id names it too");
    bench.operations.create_metric(made.uid.as_str()).expect("a name like any other");
    assert_eq!(bench.metric(made.uid.as_str()), found, "an id wins over a name");
    assert!(bench.operations.create_metric("a b").is_err() && bench.operations.create_metric("").is_err());
}

#[test]
fn deleting_works_from_any_status_and_tells_the_scheduler() {
    let bench = Bench::new();
    bench.operations.create_metric("plain").expect("made");
    bench.monitor(&spec("monitored", json!({"min": 0, "max": 100})));
    bench.hints();
    for name in ["plain", "monitored"] {
        let gone = bench.operations.delete_metric(name).expect("deleted");
        assert_eq!(bench.hints(), [ModelHint { model_id: gone.uid, is_changed: true }]);
        let error = bench.operations.delete_metric(name).expect_err("gone");
        assert_eq!(
            (error.class().name, error.class().code, error.class().http_status),
            ("ObjectNotFoundError", 3, 404)
        );
    }
}

#[test]
fn a_metric_without_parameters_waits_for_data() {
    let bench = Bench::new();
    let asked = json!({"datasource": "custom", "metricSpec": {
        "metric": "a.b", "resource": "server 1", "unit": "Count", "userInfo": {"symbol": "X"}}});
    let metric = bench.monitor(&asked);
    assert_eq!(metric.status, MetricStatus::PendingData);
    assert_eq!(metric.server.as_deref(), Some("server 1"));
    assert_eq!(stored_spec(&metric), asked, "the specification is kept as it was asked for");
}

#[test]
fn enough_rows_or_a_range_start_the_model_at_once() {
    let bench = Bench::new();
    bench.operations.create_metric("enough").expect("made");
    bench.append("enough", &day_of_samples());
    let metric = bench.monitor(&spec("enough", Value::Null));
    assert_eq!(metric.status, MetricStatus::CreatePending);
    let params: Value = serde_json::from_str(&metric.model_params.expect("started")).expect("JSON");
    let pointer = "/modelConfig/modelParams/sensorParams/encoders/c1/resolution";
    let resolution = params.pointer(pointer).and_then(Value::as_f64).expect("a resolution");
    // 3,800 to 8,200 over 130 buckets; the original of 2017 had 4,600 to 7,400 over 114.
    assert!((resolution - 4400.0 / 130.0).abs() < 1e-9, "{resolution}");
    let ranged = spec("ranged", json!({"min": 0.0, "max": 1.0, "minResolution": 0.5}));
    let metric = bench.monitor(&ranged);
    assert_eq!((metric.status, stored_spec(&metric)), (MetricStatus::CreatePending, ranged));
    let params: Value = serde_json::from_str(&metric.model_params.expect("started")).expect("JSON");
    assert_eq!(params.pointer(pointer).and_then(Value::as_f64), Some(0.5));
    assert_eq!(params.pointer("/modelConfig/modelParams/clEnable"), Some(&Value::Bool(false)));
}

#[test]
fn an_id_wins_over_a_name_and_is_never_stored() {
    let bench = Bench::new();
    let uid = bench.operations.create_metric("named").expect("made").uid;
    let mut asked = spec("another", json!({"min": 0, "max": 5}));
    asked["metricSpec"]["uid"] = uid.as_str().into();
    let metric = bench.monitor(&asked);
    assert_eq!((metric.uid, metric.name.as_str()), (uid, "named"));
    let stored = stored_spec(&bench.metric("named"));
    assert_eq!(stored["metricSpec"], json!({"metric": "named"}));
    assert!(bench.operations.metric("another").is_err(), "the losing name made no metric");
    asked["metricSpec"]["uid"] = "0123456789abcdef0123456789abcdef".into();
    let error = bench.operations.monitor_metric(&asked.to_string()).expect_err("unknown");
    assert_eq!(error.class().name, "ObjectNotFoundError");
}

#[test]
fn bad_specifications_are_value_errors_and_leave_no_metric_behind() {
    let bench = Bench::new();
    bench.refused(&spec("m", json!({"min": 1})), "min and max params must both be None or non-None");
    bench.refused(&spec("m", json!({"max": 1})), "min and max params must both be None or non-None");
    let neither = json!({"datasource": "custom", "metricSpec": {"unit": "Count"}});
    bench.refused(&neither, "Neither uid nor metric name present in metricSpec");
    bench.refused(&json!({"metricSpec": {"metric": "m"}}), "");
    bench.refused(&json!({"datasource": "other", "metricSpec": {"metric": "m"}}), "");
    bench.refused(&spec("a b", json!({"min": 0, "max": 1})), "`a b` is no metric name");
    bench.refused(&spec(&"x".repeat(256), Value::Null), "");
    assert_eq!(bench.operations.metrics(&MetricQuery::default()).expect("listed").metrics, []);
    assert_eq!(bench.hints(), []);
}

#[test]
fn monitoring_twice_is_refused_with_the_id() {
    let bench = Bench::new();
    let asked = spec("twice", json!({"min": 0, "max": 5}));
    let metric = bench.monitor(&asked);
    let error = bench.operations.monitor_metric(&asked.to_string()).expect_err("monitored");
    assert_eq!((error.class().name, error.class().http_status), ("MetricAlreadyMonitored", 409));
    assert_eq!(error.uid(), Some(&metric.uid));
    bench.monitor(&spec("waiting", Value::Null));
    let error =
        bench.operations.monitor_metric(&spec("waiting", Value::Null).to_string()).expect_err("waits");
    assert_eq!(error.class().name, "MetricAlreadyMonitored");
    let ranged = bench.monitor(&spec("waiting", json!({"min": 0, "max": 5})));
    assert_eq!(ranged.status, MetricStatus::CreatePending, "a declared range ends the waiting");
}

#[test]
fn activating_takes_the_range_of_whatever_rows_there_are() {
    let bench = Bench::new();
    let uid = bench.monitor(&spec("few", json!({"minResolution": 2.0}))).uid;
    bench.hints();
    let error = bench.operations.activate_model("few").expect_err("no rows");
    assert_eq!((error.class().name, error.class().code), ("MetricStatisticsNotReadyError", 1));
    bench.append("few", &[(5.0, 1_000), (7.0, 1_300)]);
    let activated = bench.operations.activate_model(uid.as_str()).expect("activated");
    assert_eq!((activated.uid, activated.status), (uid.clone(), MetricStatus::CreatePending));
    assert_eq!(bench.hints(), [ModelHint { model_id: uid, is_changed: true }]);
    let params: Value =
        serde_json::from_str(&bench.metric("few").model_params.expect("started")).expect("JSON");
    let resolution = params.pointer("/modelConfig/modelParams/sensorParams/encoders/c1/resolution");
    assert_eq!(resolution.and_then(Value::as_f64), Some(2.0), "minResolution is honoured");
    let again = bench.operations.activate_model("few").expect("nothing to do");
    assert_eq!(again.status, MetricStatus::CreatePending);
    bench.operations.create_metric("plain").expect("made");
    let error = bench.operations.activate_model("plain").expect_err("not monitored");
    assert_eq!(error.class().name, "MetricNotMonitoredError");
}

#[test]
fn unmonitoring_keeps_samples_and_clears_the_rest() {
    let bench = Bench::new();
    bench.monitor(&json!({"datasource": "custom", "metricSpec": {"metric": "m", "resource": "r"},
        "modelParams": {"min": 0, "max": 5}}));
    bench.append("m", &[(1.0, 1_000), (2.0, 1_300)]);
    let uid = bench.metric("m").uid;
    let update = RowUpdate {
        row_id: RowId(1),
        raw_anomaly_score: 0.5,
        anomaly_score: 0.25,
        display_value: 3,
        best_predictions: None,
        detection: RowDetection::default(),
    };
    bench
        .repository
        .transact(&mut |tx| tx.complete_rows(&uid, std::slice::from_ref(&update)).map(|_| ()))
        .expect("scored");
    bench.operations.unmonitor_metric("m").expect("unmonitored");
    let metric = bench.metric("m");
    assert_eq!(
        (metric.status, metric.parameters, metric.model_params),
        (MetricStatus::Unmonitored, None, None)
    );
    assert_eq!((metric.last_rowid, metric.server.as_deref()), (RowId(2), Some("r")));
    let rows = bench.repository.data(&uid, &DataQuery::default()).expect("read");
    assert_eq!(rows.iter().map(|row| row.value).collect::<Vec<_>>(), [1.0, 2.0]);
    assert!(rows.iter().all(|row| row.raw_anomaly_score.is_none() && row.anomaly_score.is_none()));
    assert!(rows.iter().all(|row| row.display_value.is_none()));
    bench.operations.unmonitor_metric("m").expect("twice is once");
    bench.monitor(&spec("m", json!({"min": 0, "max": 5})));
}

#[test]
fn an_export_has_fourteen_days_and_can_be_imported_again() {
    let bench = Bench::new();
    let now = SystemClock::new().unix_seconds();
    let asked = json!({"datasource": "custom", "metricSpec": {"metric": "m", "unit": "Count"}});
    bench.monitor(&asked);
    let samples = [(1.0, now - 15 * DAY_S), (2.0, now - 14 * DAY_S - 60), (0.1, now - DAY_S), (-4.5, now)];
    bench.append("m", &samples);
    let export = bench.operations.export_model("m").expect("exported");
    let text = |at: i64| htmengine::timestamp::format_seconds(at).expect("a time");
    assert_eq!(export["data"], json!([[0.1, text(now - DAY_S)], [-4.5, text(now)]]));
    assert_eq!(export["datasource"], "custom");
    assert_eq!(export["metricSpec"], asked["metricSpec"]);

    bench.operations.delete_metric("m").expect("deleted");
    let imported = bench.operations.import_model(&export.to_string()).expect("imported");
    assert_eq!(imported.status, MetricStatus::PendingData);
    assert_eq!(stored_spec(&bench.metric("m")), asked);
    assert_eq!(bench.operations.export_model("m").expect("exported"), export);

    let again = bench.operations.import_model(&export.to_string()).expect("left as it is");
    assert_eq!((again.uid, again.status), (imported.uid, MetricStatus::PendingData));
    assert_eq!(bench.metric("m").last_rowid, RowId(2), "nothing is stored twice");
    bench.operations.unmonitor_metric("m").expect("unmonitored");
    let error = bench.operations.export_model("m").expect_err("no specification");
    assert_eq!(error.class().name, "MetricNotMonitoredError");
    bench.operations.import_model(&export.to_string()).expect("monitored anew");
    assert_eq!(bench.metric("m").last_rowid, RowId(2), "a metric with rows keeps its own");
}

#[test]
fn an_import_that_cannot_be_read_changes_nothing() {
    let bench = Bench::new();
    for data in [
        json!(5),
        json!([[1]]),
        json!([["x", 5]]),
        json!([[1, "yesterday"]]),
        json!([[1.0, "2020-01-01"], [2, null]]),
    ] {
        let mut export = spec("m", Value::Null);
        export["data"] = data.clone();
        let error = bench.operations.import(export).expect_err("refused");
        assert_eq!(error.class().name, "ValueError", "{data}");
        assert!(error.to_string().contains("data"), "{error}");
    }
    assert!(bench.operations.import_model("{").is_err());
    let mut export = spec("m", json!({"min": 3}));
    export["data"] = json!([[1.0, 1000]]);
    assert!(bench.operations.import(export).is_err());
    assert_eq!(bench.operations.metrics(&MetricQuery::default()).expect("listed").metrics, []);
}

#[test]
fn statistics_and_counts_follow_the_rows() {
    let bench = Bench::new();
    bench.operations.create_metric("m").expect("made");
    let error = bench.operations.metric_stats("m").expect_err("no rows");
    assert_eq!(error.class().name, "MetricStatisticsNotReadyError");
    bench.append("m", &[(5.0, 1_000), (6.0, 1_300), (7.0, 1_600)]);
    let stats = bench.operations.metric_stats("m").expect("rows");
    assert_eq!(json!(stats), json!({"min": 5.0, "max": 7.0}), "these two keys and no other");
    let counts = bench.operations.row_counts(&bench.metric("m")).expect("counted");
    assert_eq!((counts.rows, counts.scored), (3, 0));
}

#[test]
fn instances_group_monitored_metrics_by_server() {
    let bench = Bench::new();
    bench.operations.create_metric("alone").expect("made");
    for (name, server, params) in [
        ("aws/ec2/cpu", "web", json!({"min": 0, "max": 1})),
        ("aws/ec2/disk", "web", Value::Null),
        ("plain", "db", Value::Null),
    ] {
        let mut asked = spec(name, params);
        asked["metricSpec"]["resource"] = server.into();
        bench.monitor(&asked);
    }
    let uid = bench.metric("aws/ec2/disk").uid;
    let from = [MetricStatus::PendingData];
    bench
        .repository
        .transact(&mut |tx| tx.set_status(&uid, &from, MetricStatus::Error, Some("broken")).map(|_| ()))
        .expect("set");
    let instances = bench.operations.instances().expect("listed");
    let [db, web] = instances.as_slice() else { panic!("{instances:?}") };
    assert_eq!((db.server.as_str(), db.namespace.as_str(), db.status), ("db", "plain", 8));
    assert_eq!((web.server.as_str(), web.namespace.as_str(), web.status), ("web", "aws/ec2", 2 | 4));
    assert_eq!(web.message.as_deref(), Some("broken"), "said once");
    assert_eq!(web.parameters["metricSpec"]["metric"], "aws/ec2/cpu");
    let (counts, rows) = bench.operations.counts().expect("counted");
    assert_eq!((counts.total, counts.unmonitored, counts.create_pending), (4, 1, 1));
    assert_eq!((counts.error, counts.pending_data, rows.unscored), (1, 1, 0));
}

#[test]
fn lists_are_filtered_and_paged_by_name() {
    let bench = Bench::new();
    for name in ["a", "b", "c", "d"] {
        bench.operations.create_metric(name).expect("made");
    }
    bench.monitor(&spec("c", Value::Null));
    let names = |query: &MetricQuery| -> Vec<String> {
        bench
            .operations
            .metrics(query)
            .expect("listed")
            .metrics
            .into_iter()
            .map(|metric| metric.name)
            .collect()
    };
    let page = MetricQuery { after: Some("a".to_owned()), limit: Some(2), ..MetricQuery::default() };
    assert_eq!(names(&page), ["b", "c"]);
    let waiting = status_from_text("pending_data").expect("a status");
    let filtered = |filter: MetricFilter| names(&MetricQuery { filter, ..MetricQuery::default() });
    assert_eq!(filtered(MetricFilter { statuses: vec![waiting], ..MetricFilter::default() }), ["c"]);
    assert_eq!(filtered(MetricFilter { server: Some("d".to_owned()), ..MetricFilter::default() }), ["d"]);
    assert_eq!(
        (status_from_text("8"), status_from_text("3"), status_from_text("x")),
        (Some(waiting), None, None)
    );
}

#[test]
fn ids_come_in_the_order_of_their_display_values() {
    let bench = Bench::new();
    for (name, displays) in [("calm", [1, 2]), ("wild", [40, 50]), ("old", [90, 90])] {
        bench.operations.create_metric(name).expect("made");
        let start = if name == "old" { 0 } else { 10 * DAY_S };
        bench.append(name, &[(1.0, start + 1), (1.0, start + 7_200)]);
        let uid = bench.metric(name).uid;
        let updates: Vec<RowUpdate> = (1..)
            .zip(displays)
            .map(|(row_id, display_value)| RowUpdate {
                row_id: RowId(row_id),
                raw_anomaly_score: 0.0,
                anomaly_score: 0.0,
                display_value,
                best_predictions: None,
                detection: RowDetection::default(),
            })
            .collect();
        bench.repository.transact(&mut |tx| tx.complete_rows(&uid, &updates).map(|_| ())).expect("scored");
    }
    let ids = bench.operations.ids_by_display_value(24).expect("summed");
    let expected = [(bench.metric("wild").uid, 90), (bench.metric("calm").uid, 3)];
    assert_eq!(ids, expected, "the old rows lie outside the period");
    assert!(bench.operations.ids_by_display_value(0).is_err());
}

/// The data queue is bounded in messages: one line of a request took as much of it as the whole request.
#[test]
fn samples_of_a_request_are_bounded_and_dated_as_those_of_the_graphite_port() {
    let bench = Bench::new();
    let limits = SampleLimits::default();
    let blanks = |count: usize| " ".repeat(count);
    let body = format!(
        "a{}1 2\na{}1 2\nnow 1 N\nnow 2 -1\n",
        blanks(MAX_LINE_BYTES - "a1 2".len()),
        blanks(MAX_LINE_BYTES)
    );
    let judged = bench.operations.judge_graphite(body.as_bytes(), &limits);
    let refused: Vec<_> = judged.refused.iter().map(|line| (line.number, line.reason)).collect();
    assert_eq!(refused, [(2, RejectReason::LineTooLong)]);
    assert_eq!(judged.lines[0].len(), MAX_LINE_BYTES);
    for line in &judged.lines[1..] {
        let timestamp =
            String::from_utf8_lossy(line).rsplit(' ').next().and_then(|it| it.parse::<i64>().ok());
        assert!(timestamp.is_some_and(|it| it > 1_700_000_000), "{line:?}");
    }
    let of_one = bench.operations.judge_lines("a", &body.as_bytes()[1..], &limits);
    assert_eq!(of_one.refused[0].reason, RejectReason::LineTooLong);
    let lines = [vec![judged.lines[0].clone(); 9], vec![b"b 1 2".to_vec(); 201]].concat();
    bench.operations.hand_over_lines(&lines).expect("there is room");
    let deliveries = bench.bus.data().receive(99, std::time::Duration::ZERO).expect("open");
    let sizes: Vec<_> = deliveries.iter().map(|delivery| delivery.message.lines.len()).collect();
    assert_eq!(sizes, [4, 4, 200, 2], "256 KiB or 200 lines");
}
