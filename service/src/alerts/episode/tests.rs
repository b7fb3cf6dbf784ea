//! The fold by hand, and against itself cut into batches and killed at any row.

use proptest::prelude::*;

use super::*;
use crate::alerts::rule::Rule;
use crate::alerts::store::Item;
use crate::alerts::watch::Watch;
use crate::repository::alert::{AlertCursor, AlertEpisode};

const HOUR_S: i64 = 3_600;
/// Rows before these are of a model that learns.
const LEARNING_ROWS: i64 = 3;

fn uid() -> ModelId {
    ModelId::new("abc").expect("an id")
}

fn bounds(clear_after_s: i64, min_duration_s: i64) -> Bounds {
    Bounds { threshold: 0.5, clear: 0.25, clear_after_s, min_duration_s }
}

/// An hourly row whose detection score and alert score are these.
fn row(row_id: i64, score: f64, alert_score: f64) -> ScoredRow {
    let components = Components { maturity: 1.0, ..Components::default() };
    ScoredRow {
        row_id: RowId(row_id),
        timestamp: row_id * HOUR_S,
        value: score * 10.0,
        raw_score: score,
        anomaly_score: score,
        detection: Some(RowDetection {
            score,
            alert_score,
            components: Some(components),
            open_predictions: None,
        }),
    }
}

/// Rows from 1 on; an alert score where the score is above the one before.
fn rows(scores: &[f64]) -> Vec<ScoredRow> {
    let mut before = 0.0;
    (1..)
        .zip(scores)
        .map(|(row_id, &score)| {
            let alert_score = if score > before { score } else { 0.0 };
            before = score;
            row(row_id, score, alert_score)
        })
        .collect()
}

/// From, until, row and peak of all episodes.
fn episodes(condition: Condition, bounds: Bounds, rows: &[ScoredRow]) -> Vec<(i64, Option<i64>, i64, f64)> {
    let uid = uid();
    let subject = Subject { rule: "r", condition, bounds, uid: &uid, learning_rows: LEARNING_ROWS };
    let mut phase = Phase::default();
    let mut found: Vec<(i64, Option<i64>, i64, f64)> = Vec::new();
    for row in rows {
        let (open, until) = match phase.step(&subject, row) {
            Some(Change::Open(open)) => (open, None),
            Some(Change::Closed(open, until)) => (open, Some(until / HOUR_S)),
            None => continue,
        };
        assert_eq!(open.key, episode_key("r", &uid, open.row_id));
        found.retain(|(_, _, row_id, _)| *row_id != open.row_id);
        found.push((open.from / HOUR_S, until, open.row_id, open.peak.score));
    }
    found
}

#[test]
fn an_episode_opens_where_the_score_peaks_and_ends_when_it_stays_low() {
    let scores = [0.0, 0.0, 0.0, 0.0, 0.6, 0.4, 0.7, 0.2, 0.3, 0.2, 0.2, 0.1, 0.6];
    let found = episodes(Condition::Detection, bounds(2 * HOUR_S, 0), &rows(&scores));
    assert_eq!(found, [(5, Some(9), 5, 0.7), (13, None, 13, 0.6)]);
    let at_once = episodes(Condition::Detection, bounds(0, 0), &rows(&scores));
    assert_eq!(at_once, [(5, Some(7), 5, 0.7), (13, None, 13, 0.6)]);
}

#[test]
fn a_high_score_without_a_peak_opens_nothing() {
    let falling: Vec<ScoredRow> = (1..10).map(|row_id| row(row_id, 0.9, 0.0)).collect();
    assert_eq!(episodes(Condition::Detection, bounds(0, 0), &falling), []);
    assert_eq!(episodes(Condition::Raw, bounds(0, 0), &falling), [(4, None, 4, 0.9)]);
}

#[test]
fn a_condition_must_hold_as_long_as_the_rule_says() {
    let bounds = bounds(0, 2 * HOUR_S);
    let scores = [0.0, 0.0, 0.0, 0.6, 0.6, 0.1, 0.6, 0.7, 0.8, 0.1];
    let found = episodes(Condition::Anomaly, bounds, &rows(&scores));
    assert_eq!(found, [(7, Some(9), 9, 0.8)], "from the first row that was high, opened at the third");
    assert_eq!(episodes(Condition::Detection, bounds, &rows(&scores)), found);
}

#[test]
fn nothing_opens_while_a_model_learns() {
    let high = [0.9, 0.95, 0.96, 0.1, 0.2];
    assert_eq!(episodes(Condition::Detection, bounds(0, 0), &rows(&high)), []);
    let young = |maturity: f64, row_id: i64| {
        let components = Components { maturity, ..Components::default() };
        let detection = RowDetection {
            score: 0.9,
            alert_score: 0.9,
            components: Some(components),
            open_predictions: None,
        };
        is_mature(&ScoredRow { detection: Some(detection), ..row(row_id, 0.9, 0.9) }, 288)
    };
    assert!(!young(0.998, 10_000) && !young(1.0, 288) && young(1.0, 289));
    assert!(young(0.999_96, 289), "1 with the four digits that are stored");
    let bare = |row_id| is_mature(&ScoredRow { detection: None, ..row(row_id, 0.9, 0.9) }, 288);
    assert!(!bare(576) && bare(577), "without components the likelihood's rows stand for the age");
}

#[test]
fn keys_name_rule_metric_and_row() {
    let key = |rule, uid: &str, opened| episode_key(rule, &ModelId::new(uid).expect("an id"), opened);
    assert_eq!(key("a", "b", 7), key("a", "b", 7));
    assert_eq!(key("a", "b", 7).len(), 32);
    let all = [key("a", "b", 7), key("b", "b", 7), key("a", "c", 7), key("a", "b", 8)];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn a_signal_opens_once_and_not_for_what_was_before() {
    let uid = uid();
    let subject = |min_duration_s| Subject {
        rule: "r",
        condition: Condition::NoData,
        bounds: bounds(60, min_duration_s),
        uid: &uid,
        learning_rows: 0,
    };
    let on = SignalState::On { since: 1_000 };
    let mut phase = SignalPhase::default();
    assert_eq!(phase.look(&subject(0), on, 1_010, 1_001), None, "it was on before alerts began");
    assert_eq!(phase.look(&subject(100), on, 1_010, 0), None, "not for long enough");
    let Some(SignalChange::Opened(open)) = phase.look(&subject(0), on, 1_010, 0) else { panic!("{phase:?}") };
    assert_eq!((open.from, open.key.as_str()), (1_000, episode_key("r", &uid, 1_000).as_str()));
    assert_eq!(phase.look(&subject(0), on, 1_020, 0), None);
    assert_eq!(phase.look(&subject(0), SignalState::Unknown, 2_000, 0), None);
    assert_eq!(phase.look(&subject(0), SignalState::Off, 1_079, 0), None, "not off for long enough");
    let closed = phase.look(&subject(0), SignalState::Off, 1_080, 0);
    assert!(matches!(closed, Some(SignalChange::Closed(_, 1_080))), "{closed:?}");
    assert_eq!(phase, SignalPhase::Idle);
}

/// Two rules over one metric: one that waits, one that does not.
fn rules() -> Vec<Rule> {
    [
        "name = 'now'\nthreshold = 0.5\nclear_after_s = 7200",
        "name = 'held'\nwhen = 'raw'\nthreshold = 0.5\nclear = 0.4\n\
     clear_after_s = 3600\nmin_duration_s = 7200",
    ]
    .map(|text| Rule::from_file(&toml::from_str(text).expect("TOML")).expect("valid"))
    .to_vec()
}

fn begin(cursor: &AlertCursor) -> Watch {
    let (watch, abandoned) = Watch::new("m", cursor, &rules(), LEARNING_ROWS);
    assert_eq!(abandoned, []);
    watch
}

fn beginning() -> AlertCursor {
    AlertCursor { uid: uid(), row_id: RowId(0), began_at: 0, state: String::new() }
}

/// What is kept of episodes, as the store merges it.
fn keep(kept: &mut Vec<AlertEpisode>, items: Vec<Item>) {
    for item in items {
        let Item::Seen { episode, .. } = item else { panic!("nothing is abandoned") };
        match kept.iter_mut().find(|it| it.key == episode.key) {
            Some(stored) => *stored = crate::alerts::store::merged(stored, &episode),
            None => kept.push(*episode),
        }
    }
    kept.sort_by(|one, other| (one.row_id, &one.rule).cmp(&(other.row_id, &other.rule)));
}

fn in_one_go(rows: &[ScoredRow]) -> Vec<AlertEpisode> {
    let mut kept = Vec::new();
    let mut watch = begin(&beginning());
    for row in rows {
        let items = watch.fold(&rules(), std::slice::from_ref(row));
        keep(&mut kept, items);
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn batches_and_kills_change_no_episode(
        scores in prop::collection::vec(prop::sample::select(vec![0.0, 0.1, 0.3, 0.45, 0.6, 0.8]), 1..60),
        // Rows of a batch, whether the cursor is kept after it, whether the engine is killed then.
        batches in prop::collection::vec((1_usize..9, any::<bool>(), prop::bool::weighted(0.3)), 1..80),
    ) {
        let rows = rows(&scores);
        let mut kept = Vec::new();
        let mut cursor = beginning();
        let mut watch = begin(&cursor);
        for (count, is_saved, is_killed) in batches.into_iter().chain(std::iter::once((rows.len(), true, false))) {
            let done = usize::try_from(watch.row_id.0).expect("small");
            let batch = &rows[done..(done + count).min(rows.len())];
            let items = watch.fold(&rules(), batch);
            keep(&mut kept, items);
            if is_saved {
                cursor = watch.cursor(&rules());
            }
            if is_killed {
                watch = begin(&cursor);
            }
        }
        prop_assert_eq!(watch.row_id, RowId(i64::try_from(rows.len()).expect("small")));
        prop_assert_eq!(kept, in_one_go(&rows));
    }
}
