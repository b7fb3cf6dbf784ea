//! The role over a real database, turn by turn: what it folds, from where, and what it keeps.

use tempfile::TempDir;

use super::*;
use crate::alerts::settings::AlertFile;
use crate::bus::Bus;
use crate::bus::memory::{MemoryBus, MemoryBusLimits};
use crate::clock::SystemClock;
use crate::monitoring::{self, SystemRandom, create_metric};
use crate::repository::alert::{AlertEpisode, DeliveryKind};
use crate::repository::metric_data::{RowUpdate, StoredSample};
use crate::repository::sqlite::{OpenMode, SqliteRepository};
use crate::row_detection::RowDetection;

const HOUR_S: i64 = 3_600;
/// Rows until scores count without the components of a detection: 288 to learn, as many for the likelihood.
const YOUNG: usize = 576;

/// A database and the bus of an engine.
struct Fixture {
    repository: Arc<dyn Repository>,
    bus: MemoryBus,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("engine.db");
        let repository = SqliteRepository::open(&path, OpenMode::ReadWriteCreate).expect("creates");
        Self { repository: Arc::new(repository), bus: MemoryBus::new(MemoryBusLimits::default()), folder }
    }

    /// The role after its first turn, over rules as in a settings file.
    fn started(&self, rules: &str) -> Alerter {
        let file: AlertFile = toml::from_str(rules).expect("TOML");
        let settings = AlertSettings::from_file(&file, &|_| String::new()).expect("valid");
        let (repository, clock) = (Arc::clone(&self.repository), Arc::new(SystemClock::new()));
        let results = self.bus.results().subscribe();
        let mut alerter = Alerter::new(repository, Arc::new(settings), clock, results, Vec::new());
        alerter.begin().expect("begins");
        turn(&mut alerter);
        alerter
    }

    /// More scored rows of a metric, which is made and active.
    fn score(&self, name: &str, scores: &[f64]) -> ModelId {
        let random = SystemRandom::open().expect("/dev/urandom");
        let mut made = None;
        self.repository
            .transact(&mut |tx| {
                let metric = create_metric(tx, name, &random)?;
                let id = metric.uid;
                tx.set_status(&id, &[MetricStatus::Unmonitored], MetricStatus::Active, None)?;
                let first = metric.last_rowid.0 + 1;
                let rows = || (first..).zip(scores);
                let samples: Vec<StoredSample> = rows()
                    .map(|(row, value)| StoredSample { timestamp: row * HOUR_S, value: *value })
                    .collect();
                tx.append_rows(&id, &samples)?;
                let updates: Vec<RowUpdate> = rows()
                    .map(|(row, score)| RowUpdate {
                        row_id: RowId(row),
                        raw_anomaly_score: *score,
                        anomaly_score: *score,
                        display_value: 0,
                        best_predictions: None,
                        detection: RowDetection {
                            score: *score,
                            alert_score: *score,
                            components: None,
                            open_predictions: None,
                        },
                    })
                    .collect();
                tx.complete_rows(&id, &updates)?;
                made = Some(id);
                Ok(())
            })
            .expect("stored");
        made.expect("made")
    }

    /// The database, past the repository.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("engine.db")).expect("opens")
    }

    fn episodes(&self) -> Vec<AlertEpisode> {
        self.repository.alert_episodes(&EpisodeQuery::default()).expect("reads")
    }

    fn cursor(&self, id: &ModelId) -> Option<i64> {
        self.repository.alert_cursor(id).expect("reads").map(|cursor| cursor.row_id.0)
    }

    fn resolved(&self, key: &str) -> usize {
        let deliveries = self.repository.alert_deliveries(key).expect("reads");
        deliveries.iter().filter(|delivery| delivery.kind == DeliveryKind::Resolved).count()
    }
}

/// A turn that looks at everything and keeps how far it has come.
fn turn(alerter: &mut Alerter) {
    alerter.next_visit = Duration::ZERO;
    alerter.next_save = Duration::ZERO;
    assert_eq!(alerter.run_once(Duration::ZERO), Ok(true));
}

fn rule(name: &str, metrics: &str) -> String {
    format!("[[rule]]\nname = '{name}'\nmetrics = ['{metrics}']\nchannels = ['c']\n")
}

const CHANNEL: &str = "[[channel]]\nname = 'c'\nkind = 'exchange'\n";

fn calm(rows: usize) -> Vec<f64> {
    vec![0.0; rows]
}

#[test]
fn rows_that_nobody_told_of_are_found_and_folded_once() {
    let fixture = Fixture::new();
    let mut alerter = fixture.started(&format!("{CHANNEL}{}", rule("odd", "*")));
    let id = fixture.score("m", &[calm(100), vec![0.9], calm(YOUNG), vec![0.5, 0.4], calm(4)].concat());
    turn(&mut alerter);
    let found = fixture.episodes();
    assert_eq!(found.len(), 1, "not the early one: {found:?}");
    assert_eq!((found[0].row_id, found[0].peak_score), (Some(RowId(678)), Some(0.5)));
    assert_eq!(found[0].until, Some(679 * HOUR_S));
    assert_eq!((fixture.cursor(&id), fixture.resolved(&found[0].key)), (Some(683), 1));
    // As after a kill that lost the cursor: the same again.
    let lost = AlertCursor { uid: id.clone(), row_id: RowId(0), began_at: 0, state: String::new() };
    fixture.repository.transact(&mut |tx| tx.put_alert_cursor(&lost)).expect("puts");
    drop(alerter);
    fixture.started(&format!("{CHANNEL}{}", rule("odd", "*")));
    assert_eq!((fixture.episodes(), fixture.cursor(&id)), (found, Some(683)));
}

#[test]
fn what_was_before_a_rule_is_history_and_what_comes_while_it_is_away_is_not() {
    let fixture = Fixture::new();
    let spike = || [calm(YOUNG), vec![0.9], calm(4)].concat();
    let (a, b) = (fixture.score("a", &spike()), fixture.score("b", &spike()));
    drop(fixture.started(&format!("{CHANNEL}{}", rule("odd", "a"))));
    assert_eq!((fixture.cursor(&a), fixture.cursor(&b)), (Some(581), None));
    // Both go on while the engine is down; `b` is new to the rules that it comes back with, `c` new altogether.
    fixture.score("a", &[0.9]);
    fixture.score("b", &[0.9]);
    let mut alerter = fixture.started(&format!("{CHANNEL}{}{}", rule("odd", "a"), rule("more", "*")));
    assert_eq!(fixture.cursor(&b), Some(582));
    fixture.score("c", &spike());
    turn(&mut alerter);
    let mut found: Vec<(String, String)> =
        fixture.episodes().into_iter().map(|it| (it.metric, it.rule)).collect();
    found.sort();
    let expected = [("a", "more"), ("a", "odd"), ("c", "more")];
    assert_eq!(found, expected.map(|(metric, rule)| (metric.to_owned(), rule.to_owned())));
    // A rule that is gone ends its episodes; the others stay open.
    drop(alerter);
    drop(fixture.started(&format!("{CHANNEL}{}", rule("odd", "*"))));
    let open: Vec<String> =
        fixture.episodes().into_iter().filter(|it| it.until.is_none()).map(|it| it.rule).collect();
    assert_eq!(open, ["odd"]);
}

#[test]
fn a_metric_that_is_given_up_or_deleted_ends_its_episodes_and_that_is_told() {
    let fixture = Fixture::new();
    let mut alerter = fixture.started(&format!("{CHANNEL}{}", rule("odd", "*")));
    let (a, b) = (fixture.score("a", &calm(YOUNG)), fixture.score("b", &calm(YOUNG)));
    turn(&mut alerter);
    fixture.score("a", &[0.9]);
    fixture.score("b", &[0.8]);
    turn(&mut alerter);
    assert!(fixture.episodes().iter().all(|episode| episode.until.is_none()), "{:?}", fixture.episodes());
    monitoring::in_transaction::<_, monitoring::MonitorError>(&*fixture.repository, |tx| {
        monitoring::unmonitor(tx, &a)?;
        Ok(tx.delete_metric(&b)?)
    })
    .expect("given up and deleted");
    turn(&mut alerter);
    let found = fixture.episodes();
    assert_eq!(found.len(), 2);
    for episode in found {
        assert_eq!((episode.until, fixture.resolved(&episode.key)), (Some(577 * HOUR_S), 1), "{episode:?}");
    }
    assert_eq!((fixture.cursor(&a), fixture.cursor(&b)), (Some(577), None));
}

#[test]
fn a_rule_that_changes_ends_its_episodes_and_begins_anew() {
    let fixture = Fixture::new();
    let settings = |threshold: &str| format!("{CHANNEL}{}threshold = {threshold}\n", rule("odd", "*"));
    let mut alerter = fixture.started(&settings("0.5"));
    fixture.score("a", &[calm(YOUNG), vec![0.9]].concat());
    turn(&mut alerter);
    drop(alerter);
    let mut alerter = fixture.started(&settings("0.6"));
    let before = fixture.episodes();
    assert_eq!((before.len(), before[0].until), (1, Some(577 * HOUR_S)));
    fixture.score("a", &[0.7]);
    turn(&mut alerter);
    let after = fixture.episodes();
    assert_eq!((after.len(), after[0].until, after[0].peak_score), (2, None, Some(0.7)), "{after:?}");
}

#[test]
fn an_episode_is_one_however_often_the_role_dies_before_it_has_noted_how_far_it_is() {
    let fixture = Fixture::new();
    let rules = format!("{CHANNEL}{}", rule("odd", "*"));
    drop(fixture.started(&rules));
    let parts = [calm(YOUNG), vec![0.5], vec![0.9, 0.8], calm(1), calm(1), vec![0.3]];
    for (round, scores) in parts.iter().enumerate() {
        let id = fixture.score("m", scores);
        let before = fixture.repository.alert_cursor(&id).expect("reads");
        drop(fixture.started(&rules));
        if let Some(before) = before.filter(|_| round % 2 == 1) {
            fixture.repository.transact(&mut |tx| tx.put_alert_cursor(&before)).expect("puts");
        }
    }
    drop(fixture.started(&rules));
    let found: Vec<_> =
        fixture.episodes().into_iter().map(|it| (it.row_id, it.until, it.peak_score)).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&(Some(RowId(577)), Some(579 * HOUR_S), Some(0.9))), "{found:?}");
    assert!(found.contains(&(Some(RowId(582)), None, Some(0.3))), "{found:?}");
}

#[test]
fn a_row_that_cannot_be_read_keeps_only_its_own_metric_waiting() {
    let fixture = Fixture::new();
    let signal = "[[rule]]\nname = 'flat'\nwhen = 'flat_line'\nchannels = ['c']\n";
    let mut alerter = fixture.started(&format!("{CHANNEL}{}{signal}", rule("odd", "*")));
    let ids = ["a", "b", "c"].map(|name| fixture.score(name, &calm(10)));
    let spoil = "UPDATE metric_data SET metric_value = 'x' WHERE uid = ?1 AND rowid = 4";
    fixture.raw().execute(spoil, [ids[1].as_str()]).expect("updates");
    turn(&mut alerter);
    assert_eq!(ids.each_ref().map(|id| fixture.cursor(id)), [Some(10), None, Some(10)]);
    let mend = "UPDATE metric_data SET metric_value = 1.0 WHERE uid = ?1 AND rowid = 4";
    fixture.raw().execute(mend, [ids[1].as_str()]).expect("updates");
    turn(&mut alerter);
    assert_eq!(fixture.cursor(&ids[1]), Some(10), "it goes on where it was");
}

#[test]
fn an_error_that_is_fatal_to_a_role_ends_no_alerts() {
    let fixture = Fixture::new();
    let mut alerter = fixture.started(&format!("{CHANNEL}{}", rule("odd", "*")));
    let id = fixture.score("m", &calm(10));
    fixture.raw().execute_batch("ALTER TABLE metric RENAME TO away").expect("renamed");
    alerter.next_visit = Duration::ZERO;
    let failed = alerter.run_once(Duration::ZERO);
    assert!(matches!(failed, Err(RepositoryError::Fatal { .. })), "{failed:?}");
    alerter.fatal_pause = Duration::from_millis(1);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let running = std::thread::spawn(move || alerter.run(&stopped));
    std::thread::sleep(Duration::from_millis(50));
    fixture.raw().execute_batch("ALTER TABLE away RENAME TO metric").expect("renamed");
    let is_folded = (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        fixture.cursor(&id) == Some(10)
    });
    stop.store(true, Ordering::Relaxed);
    running.join().expect("no panic");
    assert!(is_folded, "it went on by itself");
}
