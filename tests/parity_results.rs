//! Promise: scores that a metric does not want, or that do not fit its rows, change nothing and are not published, and
//! cost nothing but their own message.
//!
//! These restate what `anomaly_service_test.py` of htmengine asks about rejected results.

use std::sync::Arc;
use std::time::Duration;

use htm_core::ids::{ModelId, RowId};
use htm_core::params::ValueRange;
use htm_tests::stored::{metric, monitor, rows};
use htmengine::anomaly::{Anomaly, AnomalyTurn};
use htmengine::bus::Bus;
use htmengine::bus::memory::{MemoryBus, MemoryBusLimits};
use htmengine::bus::message::{ModelOutput, ResultMessage, RowScore, ScoreMessage};
use htmengine::clock::SystemClock;
use htmengine::model_params::ModelStart;
use htmengine::monitoring;
use htmengine::repository::Repository;
use htmengine::repository::metric::MetricStatus;
use htmengine::repository::metric_data::StoredSample;
use htmengine::repository::sqlite::{OpenMode, SqliteRepository};
use htmengine::row_detection::RowDetection;
use tempfile::TempDir;

/// Rows of the metric.
const ROWS: i64 = 4;

const ALL: [MetricStatus; 5] = [
    MetricStatus::Unmonitored,
    MetricStatus::Active,
    MetricStatus::CreatePending,
    MetricStatus::Error,
    MetricStatus::PendingData,
];

/// The role by itself, over a metric `cpu` that is active and has [`ROWS`] rows without scores.
struct Role {
    bus: Arc<MemoryBus>,
    repository: Arc<SqliteRepository>,
    anomaly: Anomaly,
    uid: ModelId,
    generation: String,
    _folder: TempDir,
}

impl Role {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("rows.sqlite");
        let repository =
            Arc::new(SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("a new database"));
        monitor(&*repository, "cpu", Some(ValueRange::new(0.0, 100.0).expect("a range")));
        let found = metric(&*repository, "cpu").expect("stored");
        let start = ModelStart::from_json(found.model_params.as_deref().expect("started")).expect("ours");
        let samples: Vec<StoredSample> =
            (1..=ROWS).map(|row| StoredSample { timestamp: 1_386_201_600 + 300 * row, value: 5.0 }).collect();
        repository.transact(&mut |tx| tx.append_rows(&found.uid, &samples).map(|_| ())).expect("stored");
        let bus = Arc::new(MemoryBus::new(MemoryBusLimits::default()));
        let shared: Arc<dyn Bus> = Arc::<MemoryBus>::clone(&bus);
        let stored: Arc<dyn Repository> = Arc::<SqliteRepository>::clone(&repository);
        let anomaly = Anomaly::new(shared, stored, Arc::new(SystemClock::new()));
        let role =
            Self { bus, repository, anomaly, uid: found.uid, generation: start.generation, _folder: folder };
        role.set_status(MetricStatus::Active, None);
        role
    }

    fn set_status(&self, to: MetricStatus, message: Option<&str>) {
        let set = &mut |tx: &mut dyn htmengine::repository::Transaction| {
            tx.set_status(&self.uid, &ALL, to, message).map(|_| ())
        };
        self.repository.transact(set).expect("set");
    }

    fn scores(&self, row_ids: &[i64]) -> ScoreMessage {
        let scores = row_ids.iter().map(|&row_id| RowScore {
            row_id: RowId(row_id),
            raw_anomaly_score: 0.75,
            anomaly_score: 0.999_95,
            best_predictions: None,
            detection: RowDetection::default(),
        });
        ScoreMessage {
            model_id: self.uid.clone(),
            generation: self.generation.clone(),
            scores: scores.collect(),
        }
    }

    /// Hands the messages over in one turn and returns the row ids that were published, message by message.
    fn turn(&mut self, messages: Vec<ScoreMessage>) -> Vec<Vec<i64>> {
        let mut results = self.bus.results().subscribe();
        for message in messages {
            self.bus.scores().publish(ModelOutput::Scores(message)).expect("an open bus");
        }
        let turn = self.anomaly.run_once(Duration::ZERO).expect("a usable database");
        assert!(matches!(turn, AnomalyTurn::Completed { .. }), "{turn:?}");
        assert_eq!(self.anomaly.run_once(Duration::ZERO).expect("usable"), AnomalyTurn::Idle, "acknowledged");
        std::iter::from_fn(|| results.receive(Duration::ZERO).expect("an open bus"))
            .map(|message| match message {
                ResultMessage::Inference(message) => message.results.iter().map(|row| row.rowid).collect(),
                ResultMessage::Command(message) => panic!("{message:?}"),
            })
            .collect()
    }

    fn scored(&self) -> Vec<i64> {
        let rows = rows(&*self.repository, "cpu");
        rows.iter().filter(|row| row.raw_anomaly_score.is_some()).map(|row| row.row_id.0).collect()
    }
}

#[test]
fn scores_that_do_not_fit_their_rows_cost_only_their_message() {
    let mut role = Role::new();
    // Of row ids without a row, of rows left out, of rows in another order, of nothing at all; good ones between them.
    let bad: [&[i64]; 5] = [&[3, 4, 5], &[1, 3], &[2, 1], &[7], &[]];
    let mut messages: Vec<ScoreMessage> = bad.iter().map(|row_ids| role.scores(row_ids)).collect();
    messages.insert(2, role.scores(&[1, 2]));
    messages.push(role.scores(&[3]));
    assert_eq!(role.turn(messages), [vec![1, 2], vec![3]]);
    assert_eq!(role.scored(), [1, 2, 3]);
    // Told again, as after a crash: written again, published again.
    let again = role.scores(&[1, 2]);
    assert_eq!(role.turn(vec![again]), [[1, 2]]);
    let found = rows(&*role.repository, "cpu");
    assert_eq!((found[0].raw_anomaly_score, found[0].anomaly_score), (Some(0.75), Some(0.999_95)));
    assert_eq!(found[0].display_value, Some(1_000_000), "the band between 0.9999 and 0.99999");
    assert_eq!(metric(&*role.repository, "cpu").expect("stored").status, MetricStatus::Active);
}

#[test]
fn scores_for_a_metric_that_is_not_active_change_nothing() {
    let others = ALL.into_iter().filter(|status| *status != MetricStatus::Active);
    for status in others {
        let mut role = Role::new();
        role.set_status(status, Some("why"));
        let before = metric(&*role.repository, "cpu");
        let unwanted = role.scores(&[1, 2]);
        assert!(role.turn(vec![unwanted]).is_empty(), "{status:?}");
        assert_eq!(role.scored(), [0_i64; 0], "{status:?}");
        assert_eq!(metric(&*role.repository, "cpu"), before, "{status:?}");
    }
}

#[test]
fn scores_for_a_metric_that_is_gone_are_dropped() {
    let mut role = Role::new();
    let late = role.scores(&[1]);
    let of_another_life = ScoreMessage { generation: "0".repeat(32), ..late.clone() };
    assert!(
        role.turn(vec![of_another_life]).is_empty(),
        "scores of an earlier model are not its successor's"
    );
    monitoring::in_transaction(&*role.repository, |tx| monitoring::delete(tx, &role.uid)).expect("deleted");
    assert!(role.turn(vec![late]).is_empty());
    assert_eq!(metric(&*role.repository, "cpu"), None);
}
