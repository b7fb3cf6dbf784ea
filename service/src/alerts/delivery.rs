//! Telling one channel what waits for it: what to do with a delivery now, and the thread that does it.
//!
//! A delivery is sent, recorded, and only then done with: at least once, with the same key each time. A failure is tried
//! again after 1, 2, 4 s and so on up to [`MAX_RETRY_S`], until [`MAX_DELIVERY_AGE_S`] have passed since it was due; a
//! refusal only [`MAX_REFUSALS`] times. What is given up is logged, counted and kept with the episode.
//!
//! Invariants: channels have threads of their own and never wait for one another; the thread that may wait for a receiver
//! holds no database, so that stopping does not wait for it; the end of an episode is told after its beginning, and only
//! where that was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::channel::{Channel, ChannelKind};
use super::message::{Message, Status};
use super::rule::Rule;
use super::settings::AlertSettings;
use super::webhook::{Poster, Verdict};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::log_limiter::LogLimiter;
use crate::repository::alert::{
    AlertDelivery, AlertEpisode, DeliveryKind, DeliveryState, MAX_ERROR_CHARS, Suppression,
};
use crate::repository::{Repository, RepositoryError};

/// Pause before the first repetition, in seconds; doubles each time.
const FIRST_RETRY_S: i64 = 1;
/// Longest pause between repetitions, in seconds.
const MAX_RETRY_S: i64 = 300;
/// A delivery that fails for so long is given up, in seconds.
const MAX_DELIVERY_AGE_S: i64 = 86_400;
/// A delivery that the receiver refuses so often is given up.
const MAX_REFUSALS: u32 = 3;
/// Deliveries taken from the database at once.
const MAX_DUE: usize = 16;
/// How often due deliveries are looked for when nobody tells of new ones.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The stop signal is looked at this often.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// What a delivery that has begun gets to end in when the engine stops.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long the broker may take to confirm a message.
pub(super) const CONFIRM_LIMIT: Duration = Duration::from_secs(5);

/// What to do with a delivery that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// Send it, as this; `true` if it is a repetition.
    Send(Status, bool),
    /// It is not to be sent before this time, and counts as due from then on.
    Postpone(i64),
    /// Look again at this time.
    Later(i64),
    /// Nothing is to be sent any more.
    Settle(DeliveryState),
}

/// What to do with `delivery` at `now`. `opening` is the delivery of the same episode's beginning to the same channel.
fn decide(
    delivery: &AlertDelivery,
    opening: Option<&AlertDelivery>,
    episode: &AlertEpisode,
    rule: Option<&Rule>,
    now: i64,
) -> Decision {
    let quiet_until = rule.and_then(|rule| rule.quiet_until(now));
    let send = |status, is_repetition| match quiet_until {
        Some(end) => Decision::Postpone(end),
        None => Decision::Send(status, is_repetition),
    };
    let is_over = episode.until.is_some();
    match (delivery.kind, delivery.state) {
        (DeliveryKind::Open, DeliveryState::Waiting) => {
            if is_over && delivery.repeats > 0 {
                Decision::Settle(DeliveryState::Delivered)
            } else if is_over && episode.suppressed == Some(Suppression::Quiet) {
                Decision::Settle(DeliveryState::Dropped)
            } else {
                send(Status::Firing, false)
            }
        }
        (DeliveryKind::Open, DeliveryState::Delivered) => {
            let repeat_after_s = rule.map_or(0, |rule| rule.repeat_after_s);
            let suppression = rule.and_then(|rule| rule.suppression(now));
            if is_over || repeat_after_s == 0 {
                Decision::Settle(DeliveryState::Delivered)
            } else if suppression == Some(Suppression::Maintenance) {
                Decision::Later(now.saturating_add(repeat_after_s))
            } else {
                send(Status::Firing, true)
            }
        }
        (DeliveryKind::Resolved, DeliveryState::Waiting) => match opening {
            Some(opening) if opening.state == DeliveryState::Delivered || opening.repeats > 0 => {
                send(Status::Resolved, false)
            }
            Some(opening) if opening.state == DeliveryState::Waiting => {
                Decision::Later(opening.next_at.unwrap_or(now).max(now) + 1)
            }
            Some(_) | None => Decision::Settle(DeliveryState::Dropped),
        },
        (_, state) => Decision::Settle(state),
    }
}

/// The delivery after an attempt.
fn after_attempt(
    delivery: &AlertDelivery,
    verdict: &Verdict,
    rule: Option<&Rule>,
    now: i64,
) -> AlertDelivery {
    let mut after = delivery.clone();
    after.tries = after.tries.saturating_add(1);
    after.last_error.clone_from(&verdict.error);
    if verdict.is_delivered() {
        after.state = DeliveryState::Delivered;
        let repeat_after_s = rule.map_or(0, |rule| rule.repeat_after_s);
        let is_repeated = delivery.kind == DeliveryKind::Open && repeat_after_s > 0;
        after.next_at = is_repeated.then(|| now.saturating_add(repeat_after_s));
        return after;
    }
    let is_old = now.saturating_sub(after.due_since) >= MAX_DELIVERY_AGE_S;
    let is_refused = verdict.is_refused && after.tries >= MAX_REFUSALS;
    if is_old || is_refused {
        after.state = DeliveryState::GivenUp;
        after.next_at = None;
        return after;
    }
    after.next_at = Some(now.saturating_add(retry_delay_s(after.tries)));
    after
}

/// Pause after so many attempts.
fn retry_delay_s(tries: u32) -> i64 {
    let doublings = tries.saturating_sub(1).min(16);
    (FIRST_RETRY_S << doublings).min(MAX_RETRY_S)
}

/// Where messages of a channel go.
enum Line {
    /// To a thread that posts them.
    Http { bodies: SyncSender<Vec<u8>>, verdicts: Receiver<Verdict> },
    /// To the broker.
    Exchange(Arc<dyn Bus>),
}

impl Line {
    fn open(channel: &Channel, bus: &Arc<dyn Bus>) -> std::io::Result<Self> {
        if channel.kind == ChannelKind::Exchange {
            return Ok(Self::Exchange(Arc::clone(bus)));
        }
        let (bodies, to_post) = sync_channel::<Vec<u8>>(1);
        let (told, verdicts) = sync_channel(1);
        let poster = Poster::new(channel);
        // Not waited for at the end: it may be waiting for a receiver, and holds nothing of ours.
        thread::Builder::new().name("alert post".to_owned()).spawn(move || {
            for body in to_post {
                if told.send(poster.post(&body)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Http { bodies, verdicts })
    }

    /// Sends one message; `None` if the engine stops before it is known what came of it.
    fn send(&self, body: Vec<u8>, stop: &AtomicBool, clock: &dyn Clock) -> Option<Verdict> {
        match self {
            Self::Exchange(bus) => Some(publish(&**bus, body)),
            Self::Http { bodies, verdicts } => {
                let gone = || Verdict::failed(&"the thread that posts has ended");
                if bodies.send(body).is_err() {
                    return Some(gone());
                }
                let mut until = None;
                loop {
                    match verdicts.recv_timeout(STOP_CHECK_INTERVAL) {
                        Ok(verdict) => return Some(verdict),
                        Err(RecvTimeoutError::Disconnected) => return Some(gone()),
                        Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => {
                            let now = clock.monotonic();
                            if now >= *until.get_or_insert(now + STOP_GRACE) {
                                return None;
                            }
                        }
                        Err(RecvTimeoutError::Timeout) => {}
                    }
                }
            }
        }
    }
}

/// Publishes one message at the broker.
pub(super) fn publish(bus: &dyn Bus, body: Vec<u8>) -> Verdict {
    match bus.publish_alert(body, CONFIRM_LIMIT) {
        Ok(()) => Verdict::delivered(None),
        Err(error) => Verdict::failed(&error),
    }
}

/// Who tells one channel.
pub(super) struct Courier {
    repository: Arc<dyn Repository>,
    settings: Arc<AlertSettings>,
    clock: Arc<dyn Clock>,
    channel: Channel,
    line: Line,
    warnings: LogLimiter,
}

impl Courier {
    /// For this channel.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn new(
        channel: &Channel,
        settings: &Arc<AlertSettings>,
        repository: &Arc<dyn Repository>,
        bus: &Arc<dyn Bus>,
        clock: &Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            repository: Arc::clone(repository),
            settings: Arc::clone(settings),
            clock: Arc::clone(clock),
            channel: channel.clone(),
            line: Line::open(channel, bus)?,
            warnings: LogLimiter::default(),
        })
    }

    /// Delivers until `stop` is raised. `wake` tells of new deliveries.
    pub(super) fn run(mut self, stop: &AtomicBool, wake: &Receiver<()>) {
        while !stop.load(Ordering::Relaxed) {
            let worked = self.turn(stop);
            match worked {
                Ok(count) if count > 0 => continue,
                Ok(_) => {}
                Err(error) => self.warn(&error),
            }
            let until = self.clock.monotonic() + LOOK_INTERVAL;
            while !stop.load(Ordering::Relaxed) && self.clock.monotonic() < until {
                match wake.recv_timeout(STOP_CHECK_INTERVAL) {
                    Ok(()) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                    // The alerter is gone; what waits is still delivered.
                    Err(RecvTimeoutError::Disconnected) => thread::sleep(STOP_CHECK_INTERVAL),
                }
            }
        }
    }

    /// Works off what is due; returns how much that was.
    fn turn(&mut self, stop: &AtomicBool) -> Result<usize, RepositoryError> {
        let now = self.clock.unix_seconds();
        let due = self.repository.due_alert_deliveries(&self.channel.name, now, MAX_DUE)?;
        for delivery in &due {
            if stop.load(Ordering::Relaxed) {
                return Ok(0);
            }
            match self.work_off(delivery, stop) {
                // It must not keep the next ones waiting.
                Err(RepositoryError::Rejected { reason }) => self.give_up(delivery, &reason)?,
                other => other?,
            }
        }
        Ok(due.len())
    }

    /// Puts a delivery aside whose episode cannot be read or written.
    fn give_up(&self, delivery: &AlertDelivery, reason: &str) -> Result<(), RepositoryError> {
        let after = AlertDelivery {
            state: DeliveryState::GivenUp,
            next_at: None,
            last_error: Some(reason.chars().take(MAX_ERROR_CHARS).collect()),
            ..delivery.clone()
        };
        tracing::error!(channel = %after.channel, key = %after.key, "an alert was given up: {reason}");
        self.repository.transact(&mut |tx| tx.put_alert_delivery(&after))
    }

    fn work_off(&self, delivery: &AlertDelivery, stop: &AtomicBool) -> Result<(), RepositoryError> {
        let Some(episode) = self.repository.alert_episode(&delivery.key)? else {
            // Purged meanwhile, and its deliveries with it.
            return Ok(());
        };
        let opening = match delivery.kind {
            DeliveryKind::Open => None,
            DeliveryKind::Resolved => {
                let all = self.repository.alert_deliveries(&delivery.key)?;
                all.into_iter().find(|it| it.channel == delivery.channel && it.kind == DeliveryKind::Open)
            }
        };
        let rule = self.settings.rule(&episode.rule);
        let now = self.clock.unix_seconds();
        let after = match decide(delivery, opening.as_ref(), &episode, rule, now) {
            Decision::Send(status, is_repetition) => {
                let mut sent = delivery.clone();
                if is_repetition {
                    sent.repeats = sent.repeats.saturating_add(1);
                    sent.tries = 0;
                    sent.due_since = now;
                    sent.state = DeliveryState::Waiting;
                }
                let dashboard = self.settings.dashboard.as_deref();
                let message = Message { episode: &episode, status, repeats: sent.repeats, dashboard, now };
                let body = message.body(self.channel.kind);
                let Some(verdict) = self.line.send(body, stop, &*self.clock) else { return Ok(()) };
                let after = after_attempt(&sent, &verdict, rule, self.clock.unix_seconds());
                report(&after, &episode);
                after
            }
            Decision::Postpone(until) => {
                AlertDelivery { next_at: Some(until), due_since: until, ..delivery.clone() }
            }
            Decision::Later(at) => AlertDelivery { next_at: Some(at), ..delivery.clone() },
            Decision::Settle(state) => AlertDelivery { next_at: None, state, ..delivery.clone() },
        };
        self.repository.transact(&mut |tx| {
            // The episode may have been purged meanwhile.
            if tx.alert_episode(&after.key)?.is_some() { tx.put_alert_delivery(&after) } else { Ok(()) }
        })
    }

    fn warn(&mut self, error: &RepositoryError) {
        if let Some(repeats) = self.warnings.pass(self.clock.monotonic()) {
            tracing::warn!("alerts for channel `{}` wait: {error}{repeats}", self.channel.name);
        }
    }
}

/// Says in log and figures what came of an attempt.
fn report(after: &AlertDelivery, episode: &AlertEpisode) {
    let (channel, rule, metric) = (&after.channel, &episode.rule, &episode.metric);
    let kind = after.kind.as_str();
    match (after.state, &after.last_error) {
        (DeliveryState::Delivered, _) => {
            tracing::info!(%channel, %rule, %metric, key = %after.key, "an alert was delivered ({kind})");
        }
        (DeliveryState::GivenUp, error) => tracing::error!(
            %channel, %rule, %metric, key = %after.key,
            "an alert ({kind}) was given up after {} attempts: {}",
            after.tries,
            error.as_deref().unwrap_or_default()
        ),
        (_, error) if after.tries == 1 => tracing::warn!(
            %channel, %rule, %metric, key = %after.key,
            "an alert ({kind}) was not delivered: {}; it is tried again",
            error.as_deref().unwrap_or_default()
        ),
        _ => {}
    }
    let outcome = if after.state == DeliveryState::Waiting { "failed" } else { after.state.as_str() };
    metrics::counter!("htmengine_alert_attempts_total", "channel" => channel.clone(), "outcome" => outcome)
        .increment(1);
}

#[cfg(test)]
mod tests {
    use htm_core::ids::ModelId;

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn episode(until: Option<i64>, suppressed: Option<Suppression>) -> AlertEpisode {
        AlertEpisode {
            key: "k".to_owned(),
            rule: "r".to_owned(),
            condition: "raw".to_owned(),
            severity: "warning".to_owned(),
            threshold: None,
            uid: ModelId::new("abc").expect("an id"),
            metric: "m".to_owned(),
            opened_at: NOW,
            from: NOW,
            until,
            row_id: None,
            peak_score: None,
            peak_at: NOW,
            peak_value: None,
            suppressed,
        }
    }

    fn delivery(kind: DeliveryKind, state: DeliveryState, repeats: u32) -> AlertDelivery {
        AlertDelivery {
            key: "k".to_owned(),
            channel: "c".to_owned(),
            kind,
            state,
            repeats,
            tries: 0,
            due_since: NOW,
            next_at: Some(NOW),
            last_error: None,
        }
    }

    fn rule(more: &str) -> Rule {
        let file = toml::from_str(&format!("name = 'r'\nwhen = 'raw'\n{more}")).expect("TOML");
        Rule::from_file(&file).expect("valid")
    }

    /// Quiet from ten minutes before [`NOW`], 22:13:20, to 23:00.
    fn quiet_rule() -> Rule {
        rule("repeat_after_s = 60\nquiet = [{ from = '22:00', until = '23:00' }]")
    }

    #[test]
    fn the_beginning_is_told_at_once_or_when_quiet_ends_if_it_is_open_then() {
        let open = delivery(DeliveryKind::Open, DeliveryState::Waiting, 0);
        let decided = |episode: &AlertEpisode, rule: &Rule| decide(&open, None, episode, Some(rule), NOW);
        assert_eq!(decided(&episode(None, None), &rule("")), Decision::Send(Status::Firing, false));
        let over = episode(Some(NOW), None);
        assert_eq!(decided(&over, &rule("")), Decision::Send(Status::Firing, false), "told even if over");
        let end_of_quiet = NOW + 2_800;
        assert_eq!(decided(&episode(None, None), &quiet_rule()), Decision::Postpone(end_of_quiet));
        let slept_through = episode(Some(NOW), Some(Suppression::Quiet));
        assert_eq!(decided(&slept_through, &rule("")), Decision::Settle(DeliveryState::Dropped));
        assert_eq!(decide(&open, None, &over, None, NOW), Decision::Send(Status::Firing, false), "rule gone");
    }

    #[test]
    fn an_open_episode_is_repeated_as_long_as_it_is_open() {
        let told = delivery(DeliveryKind::Open, DeliveryState::Delivered, 0);
        let repeating = rule("repeat_after_s = 60");
        let decided = |delivery: &AlertDelivery, episode: &AlertEpisode, rule: &Rule| {
            decide(delivery, None, episode, Some(rule), NOW)
        };
        let (open, over) = (episode(None, None), episode(Some(NOW), None));
        assert_eq!(decided(&told, &open, &repeating), Decision::Send(Status::Firing, true));
        assert_eq!(decided(&told, &over, &repeating), Decision::Settle(DeliveryState::Delivered));
        assert_eq!(decided(&told, &open, &rule("")), Decision::Settle(DeliveryState::Delivered));
        let maintained = rule(
            "repeat_after_s = 60\nmaintenance = [{ from = '2023-11-14 00:00:00', until = '2023-11-15 00:00:00' }]",
        );
        assert_eq!(decided(&told, &open, &maintained), Decision::Later(NOW + 60));
        let repetition = delivery(DeliveryKind::Open, DeliveryState::Waiting, 1);
        assert_eq!(decided(&repetition, &over, &repeating), Decision::Settle(DeliveryState::Delivered));
        let after = after_attempt(&told, &Verdict::delivered(Some(200)), Some(&repeating), NOW);
        assert_eq!(after.next_at, Some(NOW + 60));
        let after = after_attempt(&told, &Verdict::delivered(Some(200)), Some(&rule("")), NOW);
        assert_eq!(after.next_at, None);
    }

    #[test]
    fn the_end_is_told_after_the_beginning_and_only_where_that_was_told() {
        let end = delivery(DeliveryKind::Resolved, DeliveryState::Waiting, 0);
        let over = episode(Some(NOW), None);
        let decided =
            |opening: Option<AlertDelivery>| decide(&end, opening.as_ref(), &over, Some(&rule("")), NOW);
        let opening = |state, repeats| Some(delivery(DeliveryKind::Open, state, repeats));
        let dropped = Decision::Settle(DeliveryState::Dropped);
        assert_eq!(decided(opening(DeliveryState::Delivered, 0)), Decision::Send(Status::Resolved, false));
        assert_eq!(decided(opening(DeliveryState::Waiting, 2)), Decision::Send(Status::Resolved, false));
        assert_eq!(decided(opening(DeliveryState::Waiting, 0)), Decision::Later(NOW + 1));
        assert_eq!(decided(opening(DeliveryState::GivenUp, 0)), dropped);
        assert_eq!(decided(opening(DeliveryState::Dropped, 0)), dropped);
        assert_eq!(decided(None), dropped);
    }

    #[test]
    fn failures_are_tried_again_for_a_day_and_refusals_a_few_times() {
        let delays: Vec<i64> = (1..=12).map(retry_delay_s).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        let mut waiting = delivery(DeliveryKind::Open, DeliveryState::Waiting, 0);
        let away = Verdict::failed(&"away");
        waiting.tries = 50;
        let after = after_attempt(&waiting, &away, None, NOW + MAX_DELIVERY_AGE_S - 1);
        assert_eq!((after.state, after.tries), (DeliveryState::Waiting, 51));
        assert_eq!(after.last_error.as_deref(), Some("away"));
        let after = after_attempt(&waiting, &away, None, NOW + MAX_DELIVERY_AGE_S);
        assert_eq!((after.state, after.next_at), (DeliveryState::GivenUp, None));
        waiting.tries = 0;
        let mut states = Vec::new();
        for _ in 0..MAX_REFUSALS {
            waiting = after_attempt(&waiting, &Verdict::refused(&"no"), None, NOW);
            states.push(waiting.state);
        }
        assert_eq!(states, [DeliveryState::Waiting, DeliveryState::Waiting, DeliveryState::GivenUp]);
    }
}
