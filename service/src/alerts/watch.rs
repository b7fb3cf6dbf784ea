//! One metric with the folds of all rules that match it.
//!
//! What it knows after a row is a [`WatchState`] as JSON: kept with the row's number, it is where a later fold goes on.

use std::collections::BTreeMap;

use htm_core::ids::{ModelId, RowId};
use serde::{Deserialize, Serialize};

use super::episode::{Change, OpenScore, OpenSignal, Phase, ScoredRow, SignalChange, SignalPhase, Subject};
use super::rule::{Condition, Rule};
use super::store::Item;
use crate::repository::alert::{AlertCursor, AlertEpisode};
use crate::repository::metric::MetricStatus;
use crate::signals::{Signal, SignalState};

/// What a rule knows of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum RuleState {
    /// Of a score.
    Score(Phase),
    /// Of a signal.
    Signal(SignalPhase),
}

impl RuleState {
    fn of(condition: Condition) -> Self {
        match condition.signal() {
            None => Self::Score(Phase::Idle),
            Some(_) => Self::Signal(SignalPhase::Idle),
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self, Self::Score(Phase::Idle) | Self::Signal(SignalPhase::Idle))
    }

    /// Key and end of its open episode, if nothing more came.
    fn open_episode(&self) -> Option<(&str, i64)> {
        match self {
            Self::Score(Phase::Open(open)) => Some((&open.key, open.latest_at)),
            Self::Signal(SignalPhase::Open(open)) => Some((&open.key, open.latest_at)),
            Self::Score(Phase::Idle | Phase::Pending { .. }) | Self::Signal(SignalPhase::Idle) => None,
        }
    }
}

/// What one rule knows, and under which definition of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Remembered {
    fingerprint: String,
    state: RuleState,
}

/// What all rules know, by the rules' names; those that know nothing are left out.
type WatchState = BTreeMap<String, Remembered>;

/// One metric.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    uid: ModelId,
    /// Its name.
    pub(super) name: String,
    /// Places of its rules in the settings, and what each knows.
    rules: Vec<(usize, RuleState)>,
    /// The last row that was folded.
    pub(super) row_id: RowId,
    began_at: i64,
    /// Rows that its model learns its range from.
    pub(super) learning_rows: i64,
    /// Status of the metric when it was looked at last.
    pub(super) status: MetricStatus,
    /// Whether it has changed since it was kept.
    pub(super) is_dirty: bool,
    /// What the signals said when they were last computed, and the newest row then.
    seen: Option<SeenSignals>,
}

/// What is known of a metric's signals as long as no row comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenSignals {
    /// The newest row.
    pub(super) newest: RowId,
    /// What each said.
    pub(super) signals: [Signal; 4],
    /// After this time there is no data.
    pub(super) no_data_since: Option<i64>,
}

impl SeenSignals {
    fn state(&self, condition: Condition, now: i64) -> SignalState {
        if condition == Condition::NoData {
            return match self.no_data_since {
                None => SignalState::Unknown,
                Some(since) if now > since => SignalState::On { since },
                Some(_) => SignalState::Off,
            };
        }
        let found = self.signals.iter().find(|signal| Some(signal.name) == condition.signal());
        found.map_or(SignalState::Unknown, |signal| signal.state)
    }
}

impl Watch {
    /// A metric that goes on from `cursor`; also what is to become of episodes whose rule has changed or is gone.
    pub(super) fn new(
        name: &str,
        cursor: &AlertCursor,
        rules: &[Rule],
        learning_rows: i64,
    ) -> (Self, Vec<Item>) {
        // A state that cannot be read is that of a newer program, or nobody's: the rules then begin anew.
        let mut remembered: WatchState = serde_json::from_str(&cursor.state).unwrap_or_default();
        let mut abandoned = Vec::new();
        let mut abandon = |state: &RuleState, rule_idx| {
            if let Some((key, until)) = state.open_episode() {
                abandoned.push(Item::Abandoned { key: key.to_owned(), until: Some(until), rule_idx });
            }
        };
        let mut states = Vec::new();
        for (rule_idx, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.matches(name)) {
            let state = match remembered.remove(&rule.name) {
                Some(found) if found.fingerprint == rule.fingerprint() => found.state,
                Some(found) => {
                    abandon(&found.state, Some(rule_idx));
                    RuleState::of(rule.condition)
                }
                None => RuleState::of(rule.condition),
            };
            states.push((rule_idx, state));
        }
        for found in remembered.values() {
            abandon(&found.state, None);
        }
        let watch = Self {
            uid: cursor.uid.clone(),
            name: name.to_owned(),
            rules: states,
            row_id: cursor.row_id,
            began_at: cursor.began_at,
            learning_rows,
            status: MetricStatus::Unmonitored,
            is_dirty: !abandoned.is_empty(),
            seen: None,
        };
        (watch, abandoned)
    }

    /// What is to be kept of it now.
    pub(super) fn cursor(&self, rules: &[Rule]) -> AlertCursor {
        let known = self.rules.iter().filter(|(_, state)| !state.is_idle());
        let state: WatchState = known
            .filter_map(|(idx, state)| {
                let rule = rules.get(*idx)?;
                Some((
                    rule.name.clone(),
                    Remembered { fingerprint: rule.fingerprint(), state: state.clone() },
                ))
            })
            .collect();
        AlertCursor {
            uid: self.uid.clone(),
            row_id: self.row_id,
            began_at: self.began_at,
            state: serde_json::to_string(&state).unwrap_or_default(),
        }
    }

    /// Whether a rule goes by the detection score.
    pub(super) fn needs_detection(&self, rules: &[Rule]) -> bool {
        self.conditions(rules).any(|condition| condition == Condition::Detection)
    }

    /// Whether a rule goes by a signal.
    pub(super) fn needs_signals(&self, rules: &[Rule]) -> bool {
        self.conditions(rules).any(|condition| condition.signal().is_some())
    }

    fn conditions<'a>(&'a self, rules: &'a [Rule]) -> impl Iterator<Item = Condition> + 'a {
        self.rules.iter().filter_map(|(idx, _)| rules.get(*idx)).map(|rule| rule.condition)
    }

    /// Folds the next rows, which begin after [`Self::row_id`] and are in order; returns what is to be kept, each episode
    /// once.
    pub(super) fn fold(&mut self, rules: &[Rule], rows: &[ScoredRow]) -> Vec<Item> {
        let Some(last) = rows.last() else { return Vec::new() };
        let mut items = Vec::new();
        for (rule_idx, state) in &mut self.rules {
            let (RuleState::Score(phase), Some(rule)) = (state, rules.get(*rule_idx)) else { continue };
            let subject = subject_of(rule, &self.uid, self.learning_rows);
            let mut seen: BTreeMap<String, AlertEpisode> = BTreeMap::new();
            for row in rows {
                let episode = match phase.step(&subject, row) {
                    Some(Change::Open(open)) => of_score(rule, &self.uid, &self.name, &open, None),
                    Some(Change::Closed(open, until)) => {
                        of_score(rule, &self.uid, &self.name, &open, Some(until))
                    }
                    None => continue,
                };
                seen.insert(episode.key.clone(), episode);
            }
            let mut seen: Vec<AlertEpisode> = seen.into_values().collect();
            seen.sort_by_key(|episode| episode.row_id);
            let item = |episode| Item::Seen { episode: Box::new(episode), rule_idx: *rule_idx };
            items.extend(seen.into_iter().map(item));
        }
        self.row_id = last.row_id;
        self.is_dirty = true;
        items
    }

    /// Whether its signals must be computed anew, because rows have come.
    pub(super) fn has_new_rows(&self, newest: RowId) -> bool {
        self.seen.is_none_or(|seen| seen.newest != newest)
    }

    /// Notes what its signals say.
    pub(super) fn note_signals(&mut self, seen: SeenSignals) {
        self.seen = Some(seen);
    }

    /// Looks at its signals, as far as they are known; returns what is to be kept.
    pub(super) fn look(&mut self, rules: &[Rule], now: i64) -> Vec<Item> {
        let Some(seen) = self.seen else { return Vec::new() };
        let mut items = Vec::new();
        for (rule_idx, state) in &mut self.rules {
            let (RuleState::Signal(phase), Some(rule)) = (state, rules.get(*rule_idx)) else { continue };
            let subject = subject_of(rule, &self.uid, self.learning_rows);
            let episode = match phase.look(&subject, seen.state(rule.condition, now), now, self.began_at) {
                Some(SignalChange::Opened(open)) => of_signal(rule, &self.uid, &self.name, &open, None),
                Some(SignalChange::Closed(open, until)) => {
                    of_signal(rule, &self.uid, &self.name, &open, Some(until))
                }
                None => continue,
            };
            self.is_dirty = true;
            items.push(Item::Seen { episode: Box::new(episode), rule_idx: *rule_idx });
        }
        items
    }

    /// Ends its open episodes: those of scores, or all of them.
    pub(super) fn abandon(&mut self, rules: &[Rule], only_scores: bool) -> Vec<Item> {
        let mut items = Vec::new();
        for (rule_idx, state) in &mut self.rules {
            if only_scores && matches!(state, RuleState::Signal(_)) {
                continue;
            }
            if let Some((key, until)) = state.open_episode() {
                let rule_idx = Some(*rule_idx);
                items.push(Item::Abandoned { key: key.to_owned(), until: Some(until), rule_idx });
            }
            if let Some(rule) = rules.get(*rule_idx) {
                self.is_dirty |= !state.is_idle();
                *state = RuleState::of(rule.condition);
            }
        }
        items
    }
}

fn subject_of<'a>(rule: &'a Rule, uid: &'a ModelId, learning_rows: i64) -> Subject<'a> {
    Subject { rule: &rule.name, condition: rule.condition, bounds: rule.bounds, uid, learning_rows }
}

fn of_score(rule: &Rule, uid: &ModelId, name: &str, open: &OpenScore, until: Option<i64>) -> AlertEpisode {
    AlertEpisode {
        row_id: Some(RowId(open.row_id)),
        peak_score: Some(open.peak.score),
        peak_at: open.peak.at,
        peak_value: Some(open.peak.value),
        ..of_rule(rule, uid, name, &open.key, (open.from, until))
    }
}

fn of_signal(rule: &Rule, uid: &ModelId, name: &str, open: &OpenSignal, until: Option<i64>) -> AlertEpisode {
    of_rule(rule, uid, name, &open.key, (open.from, until))
}

fn of_rule(
    rule: &Rule,
    uid: &ModelId,
    name: &str,
    key: &str,
    (from, until): (i64, Option<i64>),
) -> AlertEpisode {
    AlertEpisode {
        key: key.to_owned(),
        rule: rule.name.clone(),
        condition: rule.condition.as_str().to_owned(),
        severity: rule.severity.clone(),
        threshold: rule.shown_threshold(),
        uid: uid.clone(),
        metric: name.to_owned(),
        // Set when it is kept for the first time.
        opened_at: 0,
        from,
        until,
        row_id: None,
        peak_score: None,
        peak_at: from,
        peak_value: None,
        suppressed: None,
    }
}
