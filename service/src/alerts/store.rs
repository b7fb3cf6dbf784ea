//! What is kept of episodes, so that repeating is doing once.
//!
//! The fold may come to the same episode twice, after a kill or a restart. The first time decides: whether it was told at
//! once, later or never, and which deliveries there are. Later times only add a higher peak and the end.
//!
//! Invariant: an episode, its deliveries and what becomes of them are written in one transaction.

use super::rule::Rule;
use crate::repository::alert::{AlertDelivery, AlertEpisode, DeliveryKind, DeliveryState, Suppression};
use crate::repository::{RepositoryError, Transaction};

/// One thing to keep.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// An episode as the fold sees it now, and the place of its rule in the settings.
    Seen {
        /// The episode.
        episode: Box<AlertEpisode>,
        /// Its rule.
        rule_idx: usize,
    },
    /// An episode that nothing will ever end otherwise: its metric or its rule is gone or another one.
    Abandoned {
        /// Which.
        key: String,
        /// When it is taken to be over, if nothing better is known.
        until: Option<i64>,
        /// Its rule, if it still is one.
        rule_idx: Option<usize>,
    },
}

/// Keeps one thing; `now` is our clock's.
///
/// # Errors
/// [`RepositoryError`] from the database.
pub(super) fn keep(
    tx: &mut dyn Transaction,
    rules: &[Rule],
    item: &Item,
    now: i64,
) -> Result<(), RepositoryError> {
    match item {
        Item::Seen { episode, rule_idx } => match rules.get(*rule_idx) {
            Some(rule) => keep_seen(tx, rule, episode, now),
            None => Ok(()),
        },
        Item::Abandoned { key, until, rule_idx } => {
            let Some(mut stored) = tx.alert_episode(key)? else { return Ok(()) };
            if stored.until.is_none() {
                stored.until = Some(until.unwrap_or(stored.peak_at));
                tx.put_alert_episode(&stored)?;
            }
            let rule = rule_idx.and_then(|idx| rules.get(idx));
            rule.map_or(Ok(()), |rule| tell_the_end(tx, rule, &stored, now))
        }
    }
}

fn keep_seen(
    tx: &mut dyn Transaction,
    rule: &Rule,
    seen: &AlertEpisode,
    now: i64,
) -> Result<(), RepositoryError> {
    let episode = if let Some(stored) = tx.alert_episode(&seen.key)? {
        let merged = merged(&stored, seen);
        if merged != stored {
            tx.put_alert_episode(&merged)?;
        }
        merged
    } else {
        let new = AlertEpisode { suppressed: rule.suppression(now), opened_at: now, ..seen.clone() };
        tx.put_alert_episode(&new)?;
        tell_the_beginning(tx, rule, &new, now)?;
        new
    };
    if episode.until.is_some() { tell_the_end(tx, rule, &episode, now) } else { Ok(()) }
}

/// What is stored, with what has become of it since.
pub(super) fn merged(stored: &AlertEpisode, seen: &AlertEpisode) -> AlertEpisode {
    let is_higher = seen.peak_score > stored.peak_score;
    let peak = if is_higher { seen } else { stored };
    AlertEpisode {
        until: stored.until.or(seen.until),
        peak_score: peak.peak_score,
        peak_at: peak.peak_at,
        peak_value: peak.peak_value,
        ..stored.clone()
    }
}

fn tell_the_beginning(
    tx: &mut dyn Transaction,
    rule: &Rule,
    episode: &AlertEpisode,
    now: i64,
) -> Result<(), RepositoryError> {
    let due = match episode.suppressed {
        Some(Suppression::Maintenance) => return Ok(()),
        Some(Suppression::Quiet) => rule.quiet_until(now).unwrap_or(now),
        None => now,
    };
    rule.channels
        .iter()
        .try_for_each(|channel| tx.add_alert_delivery(&waiting(episode, channel, DeliveryKind::Open, due)))
}

/// Only to whom the beginning is told; the delivery sees to it that it comes after that, or not at all.
fn tell_the_end(
    tx: &mut dyn Transaction,
    rule: &Rule,
    episode: &AlertEpisode,
    now: i64,
) -> Result<(), RepositoryError> {
    if !rule.resolve || episode.suppressed == Some(Suppression::Maintenance) {
        return Ok(());
    }
    rule.channels.iter().try_for_each(|channel| {
        tx.add_alert_delivery(&waiting(episode, channel, DeliveryKind::Resolved, now))
    })
}

fn waiting(episode: &AlertEpisode, channel: &str, kind: DeliveryKind, due: i64) -> AlertDelivery {
    AlertDelivery {
        key: episode.key.clone(),
        channel: channel.to_owned(),
        kind,
        state: DeliveryState::Waiting,
        repeats: 0,
        tries: 0,
        due_since: due,
        next_at: Some(due),
        last_error: None,
    }
}
