//! Each status transition and each refusal, against a real SQLite file.

use std::sync::atomic::{AtomicU8, Ordering};

use super::*;
use crate::repository::metric_data::{RowUpdate, StoredSample};
use crate::repository::sqlite::{OpenMode, SqliteRepository};
use crate::row_detection::RowDetection;

struct Counting(AtomicU8);

impl RandomBytes for Counting {
    fn random_bytes(&self) -> [u8; 16] {
        [self.0.fetch_add(1, Ordering::Relaxed); 16]
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    repository: SqliteRepository,
    random: Counting,
}

impl Fixture {
    fn within<T>(
        &self,
        work: impl FnMut(&mut dyn Transaction) -> Result<T, MonitorError>,
    ) -> Result<T, MonitorError> {
        in_transaction(&self.repository, work)
    }

    fn create(&self, name: &str) -> Metric {
        self.within(|tx| Ok(create_metric(tx, name, &self.random)?)).expect("creates")
    }

    fn stored(&self, metric: &Metric) -> Metric {
        self.repository.metric(&metric.uid).expect("reads").expect("exists")
    }

    fn monitor(&self, metric: &Metric, spec: &ModelSpec) -> Result<MetricStatus, MonitorError> {
        let metric = self.stored(metric);
        self.within(|tx| monitor(tx, &metric, spec, &self.random))
    }

    fn append(&self, metric: &Metric, values: &[f64]) {
        let first = self.stored(metric).last_rowid.0;
        let samples: Vec<StoredSample> =
            (first..).zip(values).map(|(timestamp, &value)| StoredSample { timestamp, value }).collect();
        self.within(|tx| Ok(tx.append_rows(&metric.uid, &samples)?)).expect("appends");
    }

    fn activate(&self, metric: &Metric) -> Option<MetricStatus> {
        self.within(|tx| Ok(activate_if_ready(tx, &metric.uid, &self.random)?)).expect("runs")
    }

    fn force(&self, metric: &Metric, status: MetricStatus) {
        let moved = self.within(|tx| Ok(tx.set_status(&metric.uid, &ALL_STATUSES, status, Some("why"))?));
        assert_eq!(moved, Ok(true));
    }

    fn changes(&self) -> i64 {
        self.repository.newest_change().expect("reads")
    }
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("engine.db");
    let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates");
    Fixture { folder, repository, random: Counting(AtomicU8::new(1)) }
}

fn spec(min: f64, max: f64) -> ModelSpec {
    ModelSpec { range: Some(ValueRange { min, max }), ..ModelSpec::for_metric("ignored") }
}

fn start(metric: &Metric) -> ModelStart {
    ModelStart::from_json(metric.model_params.as_deref().expect("started")).expect("reads")
}

#[test]
fn creating_twice_gives_the_same_metric() {
    let fixture = fixture();
    let first = fixture.create("cpu.load");
    assert_eq!(fixture.create("cpu.load"), first);
    assert_eq!(fixture.stored(&first), first);
    assert_eq!(first.uid.as_str(), "01".repeat(16));
    assert_eq!(first.description.as_deref(), Some("Custom metric cpu.load"));
    assert_eq!((first.server.as_deref(), first.location.as_deref()), (Some("cpu.load"), Some("")));
    assert_eq!(
        (first.poll_interval_s, first.status, first.last_rowid),
        (300, MetricStatus::Unmonitored, RowId(0))
    );
}

#[test]
fn a_long_name_is_kept_and_its_derived_columns_cut() {
    let fixture = fixture();
    let metric = fixture.create(&"n".repeat(255));
    assert_eq!(metric.name.len(), 255);
    assert_eq!(metric.server.map(|server| server.len()), Some(MAX_SERVER_CHARS));
    assert_eq!(metric.description.map(|text| text.len()), Some(MAX_DESCRIPTION_CHARS));
    let too_long = fixture.within(|tx| Ok(create_metric(tx, &"n".repeat(256), &fixture.random)?));
    assert!(
        matches!(too_long, Err(MonitorError::Repository(RepositoryError::Rejected { .. }))),
        "{too_long:?}"
    );
}

#[test]
fn a_range_starts_the_model_at_once() {
    let fixture = fixture();
    let metric = fixture.create("a");
    let asked = ModelSpec { resource: Some("box".to_owned()), min_resolution: Some(0.5), ..spec(0.0, 130.0) };
    assert_eq!(fixture.monitor(&metric, &asked), Ok(MetricStatus::CreatePending));
    let stored = fixture.stored(&metric);
    assert_eq!((stored.status, stored.server.as_deref()), (MetricStatus::CreatePending, Some("box")));
    let kept = ModelSpec::from_json(stored.parameters.as_deref().expect("kept")).expect("reads");
    assert_eq!(kept, ModelSpec { metric_name: "a".to_owned(), ..asked });
    let start = start(&stored);
    assert_eq!(start, ModelStart::new("02".repeat(16), ValueRange { min: 0.0, max: 130.0 }, Some(0.5)));
    assert_eq!(fixture.repository.changes_after(0, 9), Ok(vec![(1, metric.uid)]));
}

#[test]
fn a_declared_range_ends_the_waiting_for_data() {
    let fixture = fixture();
    let metric = fixture.create("a");
    let declare = |spec: &ModelSpec| {
        fixture.within(|tx| declare_range(tx, &fixture.stored(&metric), spec, &fixture.random))
    };
    let refused = declare(&spec(0.0, 130.0));
    assert!(matches!(refused, Err(MonitorError::AlreadyMonitored { .. })), "not waiting: {refused:?}");
    assert_eq!(fixture.monitor(&metric, &ModelSpec::for_metric("a")), Ok(MetricStatus::PendingData));
    assert_eq!(declare(&spec(0.0, 130.0)), Ok(MetricStatus::CreatePending));
    let stored = fixture.stored(&metric);
    assert_eq!(stored.status, MetricStatus::CreatePending);
    assert_eq!(start(&stored).range, Some(ValueRange { min: 0.0, max: 130.0 }));
}

#[test]
fn monitoring_is_refused_unless_unmonitored() {
    let fixture = fixture();
    let metric = fixture.create("a");
    for status in
        [MetricStatus::Active, MetricStatus::CreatePending, MetricStatus::Error, MetricStatus::PendingData]
    {
        fixture.force(&metric, status);
        let expected =
            MonitorError::AlreadyMonitored { uid: metric.uid.clone(), name: "a".to_owned(), status };
        assert_eq!(fixture.monitor(&metric, &spec(0.0, 1.0)), Err(expected));
        assert_eq!(fixture.stored(&metric).parameters, None);
    }
    assert_eq!(fixture.changes(), 0);
    let ghost = Metric { uid: ModelId::new("ghost").expect("valid"), ..metric };
    let answer = fixture.within(|tx| monitor(tx, &ghost, &spec(0.0, 1.0), &fixture.random));
    assert_eq!(answer, Err(MonitorError::NotFound { what: "ghost".to_owned() }));
}

#[test]
fn a_refused_specification_changes_nothing() {
    let fixture = fixture();
    let metric = fixture.create("a");
    let too_long = ModelSpec { resource: Some("r".repeat(101)), ..spec(0.0, 1.0) };
    for bad in [spec(2.0, 1.0), spec(f64::NAN, 1.0), too_long] {
        assert!(fixture.monitor(&metric, &bad).is_err(), "{bad:?}");
        assert_eq!(fixture.stored(&metric), metric);
    }
    assert_eq!(fixture.changes(), 0);
}

#[test]
fn a_metric_with_enough_rows_is_estimated_over_all_of_them() {
    let fixture = fixture();
    let metric = fixture.create("a");
    fixture.append(&metric, &[5_000.0; 287]);
    assert_eq!(fixture.monitor(&metric, &ModelSpec::for_metric("a")), Ok(MetricStatus::PendingData));
    assert_eq!(fixture.stored(&metric).model_params, None);
    fixture.within(|tx| unmonitor(tx, &metric.uid)).expect("unmonitors");
    fixture.append(&metric, &[5_000.0, 5_000.0, 7_000.0]);
    assert_eq!(fixture.monitor(&metric, &ModelSpec::for_metric("a")), Ok(MetricStatus::CreatePending));
    assert_eq!(start(&fixture.stored(&metric)).range, Some(ValueRange { min: 3_800.0, max: 8_200.0 }));
}

#[test]
fn a_waiting_metric_is_estimated_over_its_first_288_rows_whatever_the_batching() {
    for batches in [&[287_usize, 1, 100][..], &[388], &[100, 288]] {
        let fixture = fixture();
        let metric = fixture.create("a");
        let asked = ModelSpec { min_resolution: Some(2.0), ..ModelSpec::for_metric("a") };
        assert_eq!(fixture.monitor(&metric, &asked), Ok(MetricStatus::PendingData));
        let values: Vec<f64> =
            (0..388_u32).map(|at| if at < 288 { f64::from(at % 101) } else { 1e6 }).collect();
        let mut rest = &values[..];
        for &count in batches {
            let (now, later) = rest.split_at(count);
            fixture.append(&metric, now);
            let expected = if values.len() - later.len() < 288 {
                MetricStatus::PendingData
            } else {
                MetricStatus::CreatePending
            };
            assert_eq!(fixture.activate(&metric), Some(expected));
            rest = later;
        }
        let stored = fixture.stored(&metric);
        let range = ValueRange { min: -60.0, max: 160.0 };
        let expected = ModelStart::new("02".repeat(16), range, Some(2.0)).learned(RowId(288));
        assert_eq!((stored.status, start(&stored)), (MetricStatus::CreatePending, expected));
        assert_eq!(fixture.changes(), 2, "once by monitoring, once by activation");
    }
}

#[test]
fn activation_touches_no_other_status() {
    let fixture = fixture();
    let metric = fixture.create("a");
    fixture.append(&metric, &[1.0; 300]);
    for status in
        [MetricStatus::Unmonitored, MetricStatus::Active, MetricStatus::CreatePending, MetricStatus::Error]
    {
        fixture.force(&metric, status);
        assert_eq!(fixture.activate(&metric), Some(status));
        assert_eq!(fixture.stored(&metric).model_params, None);
    }
    let ghost = Metric { uid: ModelId::new("ghost").expect("valid"), ..metric };
    assert_eq!(fixture.activate(&ghost), None);
}

#[test]
fn a_waiting_metric_that_cannot_start_moves_to_error() {
    let fixture = fixture();
    let wide = fixture.create("wide");
    assert_eq!(fixture.monitor(&wide, &ModelSpec::for_metric("wide")), Ok(MetricStatus::PendingData));
    fixture.append(&wide, &[-1e308; 287]);
    fixture.append(&wide, &[1e308]);
    let spoiled = fixture.create("spoiled");
    fixture.append(&spoiled, &[1.0; 288]);
    fixture.force(&spoiled, MetricStatus::PendingData);
    for metric in [wide, spoiled] {
        assert_eq!(fixture.activate(&metric), Some(MetricStatus::Error));
        let message = fixture.stored(&metric).message.expect("says why");
        assert!(message.contains("monitor it with min and max"), "{message}");
    }
}

#[test]
fn rows_deleted_for_their_age_count_for_nothing() {
    let fixture = fixture();
    let metric = fixture.create("a");
    assert_eq!(fixture.monitor(&metric, &ModelSpec::for_metric("a")), Ok(MetricStatus::PendingData));
    fixture.append(&metric, &[1.0; 287]);
    let path = fixture.folder.path().join("engine.db");
    rusqlite::Connection::open(path)
        .and_then(|raw| raw.execute("DELETE FROM metric_data", []))
        .expect("deletes");
    fixture.append(&metric, &[3.0; 200]);
    assert_eq!(fixture.activate(&metric), Some(MetricStatus::PendingData));
    fixture.append(&metric, &[4.0; 88]);
    assert_eq!(fixture.activate(&metric), Some(MetricStatus::CreatePending));
    assert_eq!(start(&fixture.stored(&metric)).range, Some(ValueRange { min: 2.4, max: 4.6 }));
}

#[test]
fn a_range_that_was_outgrown_begins_the_next_life_and_a_declared_one_never_does() {
    let fixture = fixture();
    let (learning, declared) = (fixture.create("a"), fixture.create("b"));
    for metric in [&learning, &declared] {
        fixture.append(metric, &[5.0, 6.0].repeat(150));
    }
    assert_eq!(fixture.monitor(&learning, &ModelSpec::for_metric("a")), Ok(MetricStatus::CreatePending));
    assert_eq!(fixture.monitor(&declared, &spec(5.0, 6.0)), Ok(MetricStatus::CreatePending));
    for metric in [&learning, &declared] {
        fixture.append(metric, &[9.0]);
    }
    let first = start(&fixture.stored(&learning));
    assert_eq!(first.learned_up_to, Some(RowId(300)));
    let widen = |metric: &Metric, generation: &str, up_to| {
        fixture.within(|tx| Ok(widen_range(tx, &metric.uid, generation, RowId(up_to))?)).expect("asks")
    };
    assert!(!widen(&learning, &first.generation, 301), "it has no model yet");
    for metric in [&learning, &declared] {
        fixture.force(metric, MetricStatus::Active);
    }
    assert!(!widen(&declared, &start(&fixture.stored(&declared)).generation, 301), "declared");
    assert!(!widen(&learning, &"f".repeat(32), 301), "another life");
    assert!(!widen(&learning, &first.generation, 300), "not outgrown yet");
    let changes = fixture.changes();
    assert!(widen(&learning, &first.generation, 301));
    let next = start(&fixture.stored(&learning));
    assert_ne!(next.generation, first.generation);
    assert_eq!(next.learned_up_to, Some(RowId(301)));
    let [(min, max), (least, most)] = [next.range.expect("learned"), ValueRange { min: 2.6, max: 11.4 }]
        .map(|range| (range.min, range.max));
    assert!((min - least).abs() < 1e-12 && (max - most).abs() < 1e-12, "{min} to {max}");
    assert_eq!(fixture.changes(), changes + 1, "announced");
    assert!(!widen(&learning, &next.generation, 301), "once");
}

#[test]
fn unmonitoring_clears_everything_but_the_samples() {
    let fixture = fixture();
    let metric = fixture.create("a");
    for status in ALL_STATUSES {
        fixture.force(&metric, MetricStatus::Unmonitored);
        assert_eq!(fixture.monitor(&metric, &spec(0.0, 1.0)), Ok(MetricStatus::CreatePending));
        fixture.append(&metric, &[1.0]);
        let last = fixture.stored(&metric).last_rowid;
        let scores = RowUpdate {
            row_id: RowId(1),
            raw_anomaly_score: 1.0,
            anomaly_score: 0.5,
            display_value: 1_000,
            best_predictions: None,
            detection: RowDetection::default(),
        };
        fixture
            .within(|tx| Ok(tx.complete_rows(&metric.uid, std::slice::from_ref(&scores))?))
            .expect("completes");
        fixture.force(&metric, status);
        let before = fixture.changes();
        for _ in 0..2 {
            assert_eq!(fixture.within(|tx| unmonitor(tx, &metric.uid)), Ok(()));
        }
        assert_eq!(fixture.stored(&metric), Metric { last_rowid: last, ..metric.clone() });
        let rows = fixture.repository.rows_after(&metric.uid, RowId(0), 1).expect("reads");
        let row = &rows[0];
        assert_eq!((row.raw_anomaly_score, row.anomaly_score, row.display_value), (None, None, None));
        assert_eq!(fixture.changes(), before + 2);
    }
    let gone = fixture.within(|tx| unmonitor(tx, &ModelId::new("ghost").expect("valid")));
    assert_eq!(gone, Err(MonitorError::NotFound { what: "ghost".to_owned() }));
}

#[test]
fn each_start_has_its_own_generation() {
    let fixture = fixture();
    let metric = fixture.create("a");
    let mut generations = Vec::new();
    for _ in 0..2 {
        fixture.monitor(&metric, &spec(0.0, 1.0)).expect("monitors");
        generations.push(start(&fixture.stored(&metric)).generation);
        fixture.within(|tx| unmonitor(tx, &metric.uid)).expect("unmonitors");
    }
    assert_ne!(generations[0], generations[1]);
}

#[test]
fn deleting_is_announced_and_refused_the_second_time() {
    let fixture = fixture();
    let metric = fixture.create("a");
    assert_eq!(fixture.within(|tx| delete(tx, &metric.uid)), Ok(()));
    assert_eq!(fixture.repository.metric(&metric.uid), Ok(None));
    assert_eq!(fixture.changes(), 1);
    let again = fixture.within(|tx| delete(tx, &metric.uid));
    assert_eq!(again, Err(MonitorError::NotFound { what: metric.uid.to_string() }));
    assert_eq!(fixture.changes(), 1);
}

#[test]
fn the_systems_randomness_does_not_repeat() {
    let random = SystemRandom::open().expect("opens");
    assert_ne!(random.random_bytes(), random.random_bytes());
}

fn complete_params() -> serde_json::Map<String, serde_json::Value> {
    let start = ModelStart::new("0".repeat(32), ValueRange { min: 0.0, max: 130.0 }, None);
    let text: serde_json::Value = serde_json::from_str(&start.to_json()).expect("JSON");
    let mut complete = serde_json::Map::new();
    for key in ["modelConfig", "inferenceArgs"] {
        complete.insert(key.to_owned(), text[key].clone());
    }
    complete.insert("timestampFieldName".to_owned(), "c0".into());
    complete.insert("valueFieldName".to_owned(), "c1".into());
    complete
}

#[test]
fn complete_parameters_start_the_model_at_once_whatever_rows_there_are() {
    let fixture = fixture();
    for rows in [0, 300] {
        let metric = fixture.create(&format!("m{rows}"));
        fixture.append(&metric, &vec![1.0; rows]);
        let asked = ModelSpec {
            complete_model_params: Some(complete_params()),
            ..ModelSpec::for_metric(&metric.name)
        };
        let metric = fixture.stored(&metric);
        assert_eq!(fixture.monitor(&metric, &asked), Ok(MetricStatus::CreatePending));
        let stored = fixture.stored(&metric);
        assert_eq!(ModelSpec::from_json(stored.parameters.as_deref().expect("kept")), Ok(asked));
        let started = start(&stored);
        assert_eq!(started.range, None);
        let expected = htm_core::params::ModelParams::single_metric(1.0).expect("usable");
        assert_eq!(started.params(), Ok(expected));
    }
    let metric = fixture.create("refused");
    let mut complete = complete_params();
    complete.remove("valueFieldName");
    let asked = ModelSpec { complete_model_params: Some(complete), ..ModelSpec::for_metric("refused") };
    assert!(matches!(fixture.monitor(&metric, &asked), Err(MonitorError::Params(_))));
    assert_eq!(fixture.stored(&metric).status, MetricStatus::Unmonitored);
}

#[test]
fn a_classifier_is_asked_for_by_range_and_by_estimate() {
    let fixture = fixture();
    let classifier =
        |metric: &Metric| start(&fixture.stored(metric)).params().map(|params| params.classifier().cloned());
    let standard = Ok(Some(htm_core::classifier::ClassifierParams::standard()));
    let by_range = fixture.create("range");
    let asked = ModelSpec { enable_classifier: true, ..spec(0.0, 1.0) };
    assert_eq!(fixture.monitor(&by_range, &asked), Ok(MetricStatus::CreatePending));
    assert_eq!(classifier(&by_range), standard);
    let text = fixture.stored(&by_range).model_params.expect("started");
    assert!(text.contains("\"clEnable\":true"), "{text}");
    let waiting = fixture.create("estimate");
    let asked = ModelSpec { enable_classifier: true, ..ModelSpec::for_metric("estimate") };
    assert_eq!(fixture.monitor(&waiting, &asked), Ok(MetricStatus::PendingData));
    fixture.append(&waiting, &vec![1.0; 288]);
    assert_eq!(fixture.activate(&waiting), Some(MetricStatus::CreatePending));
    assert_eq!(classifier(&waiting), standard);
    let without = fixture.create("without");
    assert_eq!(fixture.monitor(&without, &spec(0.0, 1.0)), Ok(MetricStatus::CreatePending));
    assert_eq!(classifier(&without), Ok(None));
    assert!(fixture.stored(&without).model_params.expect("started").contains("\"clEnable\":false"));
}
