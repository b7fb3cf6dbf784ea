//! When an episode opens and ends: a fold over the scored rows of one metric for one rule, in the order of the rows.
//!
//! ```text
//!            score >= threshold                held for min_duration_s
//!   Idle  ------------------------>  Pending  ------------------------->  Open
//!    ^  ^                               |                                  |
//!    |  +--- score < threshold ---------+                                  |
//!    +------------------ score < clear for clear_after_s ------------------+
//! ```
//!
//! Pure and deterministic: the same rows give the same episodes with the same keys, however they are cut into batches and
//! whenever the fold is stopped and continued from a [`Phase`] kept before. All times here are sample times.
//!
//! A detection rule opens by the alert score (the detection score where it peaks, else 0) and then goes by the detection
//! score itself; all others go by one score.
//!
//! A signal is no fold over rows: it is asked for from time to time, and its phase follows what it says.

use std::fmt::Write;

use htm_core::detection::Components;
use htm_core::ids::{ModelId, RowId};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::rule::{Bounds, Condition};
use crate::bus::message::ResultRow;
use crate::repository::metric_data::MetricRow;
use crate::row_detection::{RowDetection, four_digits};
use crate::signals::SignalState;

/// Rows that the anomaly likelihood needs before it means anything, as in the original.
const LIKELIHOOD_ROWS: i64 = 288;
/// Hexadecimal digits of an episode's key.
const KEY_CHARS: usize = 32;

/// One row with its scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredRow {
    /// Which.
    pub row_id: RowId,
    /// Unix seconds.
    pub timestamp: i64,
    /// The sample.
    pub value: f64,
    /// Raw anomaly score.
    pub raw_score: f64,
    /// htmengine's anomaly score.
    pub anomaly_score: f64,
    /// Fused detection score.
    pub detection: Option<RowDetection>,
}

impl ScoredRow {
    /// From a stored row; `None` unless it carries scores.
    pub fn from_stored(row: &MetricRow) -> Option<Self> {
        Some(Self {
            row_id: row.row_id,
            timestamp: row.timestamp,
            value: row.value,
            raw_score: row.raw_anomaly_score?,
            anomaly_score: row.anomaly_score?,
            detection: row.detection,
        })
    }

    /// From a published row.
    pub fn from_published(row: &ResultRow) -> Self {
        Self {
            row_id: RowId(row.rowid),
            #[expect(clippy::cast_possible_truncation, reason = "made of whole unix seconds")]
            timestamp: row.ts as i64,
            value: row.value,
            raw_score: row.raw_anomaly,
            anomaly_score: row.anomaly,
            detection: row.detection,
        }
    }
}

/// Whether a metric's model has learned enough at this row for its scores to be a reason for an alert: it has seen the
/// rows that it learns its range from, and the metric is as old as the detection score takes for mature (five days).
/// Where the components are not known, as many rows more as the likelihood needs stand for that age.
pub fn is_mature(row: &ScoredRow, learning_rows: i64) -> bool {
    match row.detection.and_then(|detection| detection.components) {
        // Components are stored with four digits: so a row counts the same, published or stored.
        Some(Components { maturity, .. }) => row.row_id.0 > learning_rows && four_digits(maturity) >= 1.0,
        None => row.row_id.0 > learning_rows.saturating_add(LIKELIHOOD_ROWS),
    }
}

/// What a rule sees of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Observed {
    /// Keeps an episode open.
    score: f64,
    /// Opens one.
    trigger: f64,
}

impl Observed {
    fn of(row: &ScoredRow, condition: Condition) -> Self {
        match condition {
            Condition::Detection => {
                let detection = row.detection.unwrap_or_default();
                Self { score: detection.score, trigger: detection.alert_score }
            }
            Condition::Anomaly => Self { score: row.anomaly_score, trigger: row.anomaly_score },
            Condition::Raw => Self { score: row.raw_score, trigger: row.raw_score },
            Condition::NoData | Condition::FlatLine | Condition::OutOfRange | Condition::SaturatedEncoder => {
                Self { score: 0.0, trigger: 0.0 }
            }
        }
    }
}

/// The largest score of a stretch of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// The score.
    pub score: f64,
    /// Its sample time.
    pub at: i64,
    /// The value then.
    pub value: f64,
}

impl Peak {
    fn of(row: &ScoredRow, observed: Observed) -> Self {
        Self { score: observed.score, at: row.timestamp, value: row.value }
    }

    fn or_higher(self, other: Self) -> Self {
        if other.score > self.score { other } else { self }
    }
}

/// An open episode of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenScore {
    /// See [`episode_key`].
    pub key: String,
    /// When the condition began.
    pub from: i64,
    /// The row at which it opened.
    pub row_id: i64,
    /// The largest score so far.
    pub peak: Peak,
    /// The latest row at which the score was not below `clear`.
    pub latest_at: i64,
}

/// Where the fold of a rule over scores stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is wrong.
    #[default]
    Idle,
    /// The score is high, but not for long enough yet.
    Pending {
        /// Since when.
        from: i64,
        /// The largest score so far.
        peak: Peak,
    },
    /// An episode is open.
    Open(OpenScore),
}

/// What a row did.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An episode opened, or an open one peaked higher.
    Open(OpenScore),
    /// An episode is over since this sample time.
    Closed(OpenScore, i64),
}

/// Whose fold it is.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// What it looks at.
    pub condition: Condition,
    /// From where to where.
    pub bounds: Bounds,
    /// The metric.
    pub uid: &'a ModelId,
    /// Rows that the metric's model learns its range from.
    pub learning_rows: i64,
}

impl Phase {
    /// Takes in the next row.
    pub fn step(&mut self, subject: &Subject<'_>, row: &ScoredRow) -> Option<Change> {
        let Bounds { threshold, clear, clear_after_s, min_duration_s } = subject.bounds;
        let observed = Observed::of(row, subject.condition);
        let here = Peak::of(row, observed);
        match self {
            Self::Open(open) => {
                let before = open.peak;
                open.peak = open.peak.or_higher(here);
                if observed.score >= clear {
                    open.latest_at = row.timestamp;
                } else if row.timestamp.saturating_sub(open.latest_at) >= clear_after_s {
                    let (open, until) = (open.clone(), open.latest_at);
                    *self = Self::Idle;
                    return Some(Change::Closed(open, until));
                }
                return (open.peak != before).then(|| Change::Open(open.clone()));
            }
            Self::Pending { from, peak } => {
                if observed.score >= threshold {
                    let (from, peak) = (*from, peak.or_higher(here));
                    return self.hold(subject, row, from, peak);
                }
                *self = Self::Idle;
            }
            Self::Idle => {}
        }
        if observed.trigger >= threshold && is_mature(row, subject.learning_rows) {
            debug_assert!(min_duration_s >= 0, "checked when it was read");
            return self.hold(subject, row, row.timestamp, here);
        }
        None
    }

    /// The condition holds since `from`: opens an episode if that is long enough.
    fn hold(&mut self, subject: &Subject<'_>, row: &ScoredRow, from: i64, peak: Peak) -> Option<Change> {
        if row.timestamp.saturating_sub(from) < subject.bounds.min_duration_s {
            *self = Self::Pending { from, peak };
            return None;
        }
        let key = episode_key(subject.rule, subject.uid, row.row_id.0);
        let open = OpenScore { key, from, row_id: row.row_id.0, peak, latest_at: row.timestamp };
        *self = Self::Open(open.clone());
        Some(Change::Open(open))
    }
}

/// An open episode of a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSignal {
    /// See [`episode_key`].
    pub key: String,
    /// Since when the signal is on.
    pub from: i64,
    /// When it was last seen to be on, by our clock.
    pub latest_at: i64,
}

/// Where a rule over a signal stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SignalPhase {
    /// Nothing is wrong.
    #[default]
    Idle,
    /// An episode is open.
    Open(OpenSignal),
}

/// What a look at a signal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalChange {
    /// An episode opened.
    Opened(OpenSignal),
    /// An episode is over since this time.
    Closed(OpenSignal, i64),
}

impl SignalPhase {
    /// Takes in what a signal says at `now`. One that was on before `began_at` already is history and no reason for an
    /// alert.
    pub fn look(
        &mut self,
        subject: &Subject<'_>,
        state: SignalState,
        now: i64,
        began_at: i64,
    ) -> Option<SignalChange> {
        let Bounds { clear_after_s, min_duration_s, .. } = subject.bounds;
        match (&mut *self, state) {
            (Self::Idle, SignalState::On { since })
                if since >= began_at && now.saturating_sub(since) >= min_duration_s =>
            {
                let key = episode_key(subject.rule, subject.uid, since);
                let open = OpenSignal { key, from: since, latest_at: now };
                *self = Self::Open(open.clone());
                Some(SignalChange::Opened(open))
            }
            (Self::Open(open), SignalState::On { .. }) => {
                open.latest_at = now;
                None
            }
            (Self::Open(open), SignalState::Off) if now.saturating_sub(open.latest_at) >= clear_after_s => {
                let closed = SignalChange::Closed(open.clone(), now);
                *self = Self::Idle;
                Some(closed)
            }
            (Self::Open(_), SignalState::Off)
            | (Self::Idle, SignalState::On { .. } | SignalState::Off)
            | (_, SignalState::Unknown) => None,
        }
    }
}

/// Names an episode for good: by its rule, its metric, and the row at which it opened or the time at which its signal
/// went on. Receivers know a repeated message by it.
pub fn episode_key(rule: &str, uid: &ModelId, opened: i64) -> String {
    let digest = Sha1::digest(format!("{rule}\n{uid}\n{opened}"));
    digest.iter().take(KEY_CHARS / 2).fold(String::with_capacity(KEY_CHARS), |mut key, byte| {
        // Writing to a String cannot fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}

#[cfg(test)]
mod tests;
