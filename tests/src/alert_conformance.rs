//! What every repository with the tables of alerts must do with episodes, deliveries and cursors; part of the suite in
//! `repository_conformance.rs`.

use htm_core::ids::RowId;
use htmengine::repository::alert::{
    AlertCursor, AlertDelivery, AlertEpisode, DeliveryKind, DeliveryState, EpisodeQuery, Suppression,
};
use htmengine::repository::{Repository, RepositoryError};

use crate::repository_conformance::{id, insert, within};

/// An open episode of metric `a` that was found at `opened_at`.
fn episode(key: &str, opened_at: i64) -> AlertEpisode {
    AlertEpisode {
        key: key.to_owned(),
        rule: "odd \u{20ac}".to_owned(),
        condition: "detection".to_owned(),
        severity: "page".to_owned(),
        threshold: Some(0.135),
        uid: id("a"),
        metric: "a".to_owned(),
        opened_at,
        from: opened_at - 10,
        until: None,
        row_id: Some(RowId(7)),
        peak_score: Some(0.1 + 0.2),
        peak_at: opened_at - 5,
        peak_value: Some(-1.5e-300),
        suppressed: Some(Suppression::Quiet),
    }
}

fn delivery(key: &str, channel: &str, kind: DeliveryKind, next_at: Option<i64>) -> AlertDelivery {
    AlertDelivery {
        key: key.to_owned(),
        channel: channel.to_owned(),
        kind,
        state: DeliveryState::Waiting,
        repeats: 0,
        tries: 0,
        due_since: 5,
        next_at,
        last_error: None,
    }
}

#[track_caller]
fn put(repository: &dyn Repository, episodes: &[AlertEpisode]) {
    within(repository, |tx| episodes.iter().try_for_each(|it| tx.put_alert_episode(it))).expect("puts");
}

#[track_caller]
fn keys(repository: &dyn Repository, query: &EpisodeQuery) -> Vec<String> {
    let episodes = repository.alert_episodes(query).expect("reads");
    episodes.into_iter().map(|episode| episode.key).collect()
}

/// An episode is read back as it was written, replaced by its key, and listed by what is asked for.
///
/// # Panics
/// If it is not.
pub fn episodes_are_kept_and_listed(repository: &dyn Repository) {
    assert!(repository.has_alert_tables());
    insert(repository, "a", "a");
    let (old, new) = (episode("old", 100), episode("new", 200));
    let signal = AlertEpisode {
        rule: "gone".to_owned(),
        threshold: None,
        row_id: None,
        peak_score: None,
        peak_value: None,
        suppressed: None,
        uid: id("b"),
        ..episode("signal", 150)
    };
    put(repository, &[old.clone(), new.clone(), signal.clone()]);
    assert_eq!(repository.alert_episode("signal"), Ok(Some(signal)));
    assert_eq!(repository.alert_episode("none"), Ok(None));
    let over = AlertEpisode { until: Some(120), peak_score: Some(0.9), ..old };
    put(repository, std::slice::from_ref(&over));
    let found = within(repository, |tx| tx.alert_episode("old")).expect("reads");
    assert_eq!(found, Some(over));
    let all = EpisodeQuery::default();
    assert_eq!(keys(repository, &all), ["new", "signal", "old"], "the latest first");
    for (query, expected) in [
        (EpisodeQuery { is_open: true, ..all.clone() }, &["new", "signal"][..]),
        (EpisodeQuery { uid: Some(id("a")), ..all.clone() }, &["new", "old"]),
        (EpisodeQuery { rule: Some("gone".to_owned()), ..all.clone() }, &["signal"]),
        (EpisodeQuery { from: Some(120), ..all.clone() }, &["new", "signal", "old"]),
        (EpisodeQuery { from: Some(121), ..all.clone() }, &["new", "signal"]),
        (EpisodeQuery { until: Some(140), ..all.clone() }, &["signal", "old"]),
        (EpisodeQuery { limit: Some(1), ..all.clone() }, &["new"]),
    ] {
        assert_eq!(keys(repository, &query), expected, "{query:?}");
    }
    let long = AlertEpisode { rule: "x".repeat(101), ..new };
    let refused = within(repository, |tx| tx.put_alert_episode(&long));
    assert!(matches!(refused, Err(RepositoryError::Rejected { .. })), "{refused:?}");
}

/// Deliveries are found when they are due, the longest due first, each channel by itself; adding one twice changes nothing.
///
/// # Panics
/// If they are not.
pub fn deliveries_are_found_when_they_are_due(repository: &dyn Repository) {
    insert(repository, "a", "a");
    put(repository, &[episode("k1", 100), episode("k2", 100)]);
    let late = delivery("k1", "ops", DeliveryKind::Open, Some(20));
    let soon = delivery("k2", "ops", DeliveryKind::Open, Some(10));
    let other = delivery("k1", "Ops", DeliveryKind::Open, Some(10));
    let never = delivery("k1", "ops", DeliveryKind::Resolved, None);
    let all = [&late, &soon, &other, &never];
    within(repository, |tx| all.iter().try_for_each(|it| tx.add_alert_delivery(it))).expect("adds");
    let due = |channel: &str, now, limit| {
        let found = repository.due_alert_deliveries(channel, now, limit).expect("reads");
        found.into_iter().map(|it| (it.key, it.kind)).collect::<Vec<_>>()
    };
    assert_eq!(due("ops", 9, 10), []);
    let (first, second) = (("k2".to_owned(), DeliveryKind::Open), ("k1".to_owned(), DeliveryKind::Open));
    assert_eq!(due("ops", 20, 10), [first.clone(), second.clone()]);
    assert_eq!(due("ops", 20, 1), [first]);
    assert_eq!(due("Ops", 20, 10), [second], "names differ by case");
    let done = AlertDelivery {
        state: DeliveryState::GivenUp,
        repeats: 2,
        tries: 3,
        due_since: 6,
        next_at: None,
        last_error: Some("no \u{20ac}".to_owned()),
        ..late.clone()
    };
    within(repository, |tx| tx.put_alert_delivery(&done)).expect("puts");
    within(repository, |tx| tx.add_alert_delivery(&late)).expect("adds nothing");
    assert_eq!(repository.alert_deliveries("k1"), Ok(vec![other, done, never]), "by channel and kind");
}

/// A cursor is kept for as long as its metric is there, and the scope of the rules until it is taken away.
///
/// # Panics
/// If it is not.
pub fn cursors_are_kept_with_their_metrics(repository: &dyn Repository) {
    assert_eq!(repository.alert_scope(), Ok(None));
    for scope in [None, Some("[]"), Some("[1]")] {
        within(repository, |tx| tx.put_alert_scope(scope)).expect("puts");
        assert_eq!(repository.alert_scope(), Ok(scope.map(str::to_owned)));
    }
    insert(repository, "a", "a");
    assert_eq!(repository.alert_cursor(&id("a")), Ok(None));
    let cursor = |uid: &str, row: i64, state: &str| AlertCursor {
        uid: id(uid),
        row_id: RowId(row),
        began_at: 9,
        state: state.to_owned(),
    };
    let large = format!("{{\"\u{20ac}\":\"{}\"}}", "x".repeat(100_000));
    for kept in [cursor("a", 3, "{}"), cursor("a", 4, &large)] {
        within(repository, |tx| tx.put_alert_cursor(&kept)).expect("puts");
        assert_eq!(repository.alert_cursor(&id("a")), Ok(Some(kept)));
    }
    within(repository, |tx| tx.put_alert_cursor(&cursor("nobody", 1, "{}"))).expect("does nothing");
    assert_eq!(repository.alert_cursor(&id("nobody")), Ok(None));
    put(repository, &[episode("open", 100), AlertEpisode { until: Some(7), ..episode("over", 100) }]);
    within(repository, |tx| tx.delete_metric(&id("a"))).expect("deletes");
    assert_eq!(repository.alert_cursor(&id("a")), Ok(None));
    let until = |key| repository.alert_episode(key).expect("reads").expect("kept").until;
    assert_eq!((until("open"), until("over")), (Some(95), Some(7)), "an open episode ends where it peaked");
    assert_eq!(repository.alert_scope(), Ok(Some("[1]".to_owned())));
    within(repository, |tx| tx.put_alert_scope(None)).expect("takes away");
    assert_eq!(repository.alert_scope(), Ok(None));
}

/// Old closed episodes go with their deliveries, by age and by number; open ones stay.
///
/// # Panics
/// If they do not.
pub fn old_episodes_are_purged(repository: &dyn Repository) {
    within(repository, |tx| tx.put_alert_scope(Some("[]"))).expect("puts");
    let over = |key: &str, at| AlertEpisode { until: Some(at), ..episode(key, at) };
    put(repository, &[episode("open", 10), over("a", 20), over("b", 30), over("c", 40), over("d", 50)]);
    let told = delivery("a", "ops", DeliveryKind::Open, Some(1));
    within(repository, |tx| tx.add_alert_delivery(&told)).expect("adds");
    let purge = |before, kept| within(repository, |tx| tx.purge_alerts(before, kept)).expect("purges");
    assert_eq!(purge(20, 10), 0);
    assert_eq!(purge(21, 10), 1, "by age");
    assert_eq!(repository.due_alert_deliveries("ops", 99, 9), Ok(Vec::new()));
    assert_eq!(purge(0, 2), 1, "by number, the oldest");
    assert_eq!(keys(repository, &EpisodeQuery::default()), ["d", "c", "open"]);
    assert_eq!(repository.alert_scope(), Ok(Some("[]".to_owned())));
}
