//! The fused score: is this record an anomaly that a person would want to hear of?
//!
//! The likelihood of raw scores sees sequences that the model did not expect; people also mark values, shapes and levels
//! that never were before. Five components of bounded state, each 0..=1, a weighted sum, a maturity ramp for young
//! metrics, and a gate that lets one alert through for an episode. A stage beside the likelihood of
//! [`crate::anomaly`], never instead of it: part of every model's step, and usable without a model.
//!
//! | letter | component | file |
//! |---|---|---|
//! | A | likelihood of recent raw anomaly scores | `likelihood.rs` |
//! | T | time-of-day residual | `time_of_day.rs` |
//! | L | sustained elevation | `sustained_elevation.rs` |
//! | R | slow surprise | `slow_surprise.rs` |
//! | D | streaming discord | `discord.rs` |
//!
//! Invariants: scores are finite and 0..=1 whatever the records; the state is one record of fixed size, the same in
//! memory and in files; sums are added in one order on every instruction set; nothing looks ahead. A metric that never
//! changes scores 0 once its model predicts it.
//!
//! # Records that are not like others
//! A missing sample (the value or its raw score is NaN or infinite) scores 0 and leaves no trace: what follows is scored
//! as if it had never come. Values beyond [`MAX_MAGNITUDE`] count as that, raw scores outside 0..=1 as the nearer end.
//! Windows count records, so gaps, repeats and steps back of the clock only choose the hour of the day and the maturity.
//!
//! Source: our specification of the fused score, equal to the recordings of its prototype (`tests/reference_detection.rs`).
//! Where it is silent, and where we depart from it, the components' files say so.

mod discord;
mod likelihood;
mod maturity;
mod peak_gate;
mod recent_scores;
mod record_novelty;
mod sampling_interval;
mod slow_surprise;
mod sustained_elevation;
mod time_of_day;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use self::discord::Discord;
use self::likelihood::Likelihood;
use self::maturity::Maturity;
use self::peak_gate::PeakGate;
use self::recent_scores::RecentScores;
use self::sampling_interval::SamplingInterval;
use self::slow_surprise::SlowSurprise;
use self::sustained_elevation::SustainedElevation;
use self::time_of_day::TimeOfDay;
use crate::array::Array;
use crate::encoder::Record;

/// Alert scores from this on are alerts, unless someone says otherwise.
pub const ALERT_THRESHOLD: f64 = 0.135;
/// The threshold for those who would rather miss some than hear of nothing.
pub const LOW_FALSE_POSITIVE_ALERT_THRESHOLD: f64 = 0.144;
/// Values beyond this count as this, so that squares of differences stay finite.
pub const MAX_MAGNITUDE: f64 = 1e100;

/// Bytes that a detector remembers, in memory and in a file.
pub const STATE_BYTES: usize = size_of::<DetectorState>();
/// As the format's page says.
const _: () = assert!(std::mem::offset_of!(DetectorState, interval) == 24);
const _: () = assert!(std::mem::offset_of!(DetectorState, likelihood) == 552);
const _: () = assert!(std::mem::offset_of!(DetectorState, elevation) == 2296);
const _: () = assert!(std::mem::offset_of!(DetectorState, discord) == 2536);
const _: () = assert!(std::mem::offset_of!(DetectorState, gate) == 7056);
/// The size that every model may be larger for the fused score.
const _: () = assert!(STATE_BYTES <= 8192);

/// Weights of A, R and D; those of T and L are 1.
const LIKELIHOOD_WEIGHT: f64 = 0.6;
const SURPRISE_WEIGHT: f64 = 0.3;
const DISCORD_WEIGHT: f64 = 0.6;
/// Sum of all five weights.
const WEIGHT_SUM: f64 = 3.5;

/// What is said of one record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// 0..=1.
    pub score: f64,
    /// The score where it exceeds those of the last 30 records, else 0: what to compare with [`ALERT_THRESHOLD`].
    pub alert_score: f64,
    /// What the score is made of.
    pub components: Components,
}

impl Detection {
    /// What is said of a missing sample.
    fn of_nothing(maturity: f64) -> Self {
        Self { score: 0.0, alert_score: 0.0, components: Components { maturity, ..Components::default() } }
    }
}

/// The parts of a score, each 0..=1, for explaining it; as JSON, an object under these names in camel case.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Components {
    /// A: rarity of the recent average of raw anomaly scores.
    pub likelihood: f64,
    /// T: how far the value lies beyond all others of their hours.
    pub time_of_day: f64,
    /// L: how far an hour or two lie above all others.
    pub sustained_elevation: f64,
    /// R: how far the average of many raw anomaly scores lies above all others.
    pub slow_surprise: f64,
    /// D: how unlike the recent past the last values are.
    pub discord: f64,
    /// What the weighted sum of the others is multiplied with, from 0.3.
    pub maturity: f64,
}

impl Components {
    /// The fused score, 0..=1: summed in the order of the recordings.
    fn score(&self) -> f64 {
        let sum = LIKELIHOOD_WEIGHT * self.likelihood
            + self.time_of_day
            + SURPRISE_WEIGHT * self.slow_surprise
            + DISCORD_WEIGHT * self.discord
            + self.sustained_elevation;
        (self.maturity * sum / WEIGHT_SUM).min(1.0)
    }
}

/// Scores the records of one metric, one after the other.
#[derive(Debug, Clone)]
pub struct Detector {
    /// One; a forged file may have room for more.
    state: Array<DetectorState>,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        Self { state: Array::zeroed(1) }
    }

    /// A detector that goes on in place from the first of `state`, which a file may have forged.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn of_state(state: Array<DetectorState>) -> Self {
        assert!(!state.is_empty(), "a detector needs a state");
        Self { state }
    }

    /// A detector that goes on from [`Self::bytes`]; `None` if they are none, or no possible state.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let state = DetectorState::read_from_bytes(bytes).ok()?;
        state.is_possible().then(|| Self { state: Array::copy_of(&[state]) })
    }

    /// Scores the next record, given its raw anomaly score (0..=1), and learns it.
    pub fn detect(&mut self, record: Record, raw_anomaly_score: f32) -> Detection {
        let state = &mut self.state[0];
        if !record.value.is_finite() || !raw_anomaly_score.is_finite() {
            return Detection::of_nothing(state.maturity_at(record.timestamp));
        }
        let value = record.value.clamp(-MAX_MAGNITUDE, MAX_MAGNITUDE);
        state.take_in(Record { value, ..record }, raw_anomaly_score.clamp(0.0, 1.0))
    }

    /// Records seen, missing samples left out.
    pub fn record_count(&self) -> u64 {
        self.state[0].record_count
    }

    /// The state, [`STATE_BYTES`] of them.
    pub fn bytes(&self) -> &[u8] {
        self.state[..1].as_bytes()
    }

    /// The state as a section's elements: one.
    pub(crate) fn state(&self) -> &[DetectorState] {
        &self.state[..1]
    }

    /// Whether the state can be one; to be asked of one read from a file.
    pub(crate) fn is_possible(&self) -> bool {
        self.state[0].is_possible()
    }

    /// Bytes of memory that are no section of a file.
    pub fn own_bytes(&self) -> usize {
        self.state.own_bytes()
    }
}

/// All that a detector remembers; plain numbers, all zero before the first record.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct DetectorState {
    record_count: u64,
    /// The largest magnitude of all values.
    magnitude: f64,
    maturity: Maturity,
    interval: SamplingInterval,
    recent: RecentScores,
    likelihood: Likelihood,
    time_of_day: TimeOfDay,
    elevation: SustainedElevation,
    surprise: SlowSurprise,
    discord: Discord,
    gate: PeakGate,
}

impl DetectorState {
    fn take_in(&mut self, record: Record, raw_score: f32) -> Detection {
        let Record { timestamp, value } = record;
        let record_idx = self.record_count;
        self.record_count += 1;
        self.magnitude = self.magnitude.max(value.abs());
        self.maturity.take_in(record_idx, timestamp);
        self.interval.take_in(record_idx, timestamp);
        self.recent.take_in(raw_score);
        let average = self.recent.mean_of_last(self.interval.records_in(3600, 3, 10));
        let slow_average = self.recent.mean_of_last(recent_scores::RECORDS);
        let hourly = self.time_of_day.take_in(record_idx, timestamp, value, self.magnitude);
        let components = Components {
            likelihood: self.likelihood.take_in(record_idx, average),
            time_of_day: hourly.component,
            sustained_elevation: self.elevation.take_in(
                record_idx,
                &self.interval,
                hourly.residual,
                self.magnitude,
            ),
            slow_surprise: self.surprise.take_in(record_idx, slow_average),
            discord: self.discord.take_in(record_idx, value, self.magnitude),
            maturity: self.maturity.at(timestamp),
        };
        let score = components.score();
        Detection { score, alert_score: self.gate.let_through(score), components }
    }

    fn maturity_at(&self, timestamp: i64) -> f64 {
        if self.record_count == 0 { maturity::LEAST } else { self.maturity.at(timestamp) }
    }

    /// Whether it can be the state of a detector; to be asked of one read from a file.
    fn is_possible(&self) -> bool {
        (0.0..=MAX_MAGNITUDE).contains(&self.magnitude)
            && self.interval.is_possible()
            && self.recent.is_possible()
            && self.likelihood.is_possible(self.record_count)
            && self.time_of_day.is_possible()
            && self.elevation.is_possible()
            && self.surprise.is_possible()
            && self.discord.is_possible()
            && self.gate.is_possible()
    }
}

/// Brings a novelty, 0 to the largest number, to 0..=1; `half` becomes one half.
fn saturating_share(novelty: f64, half: f64) -> f64 {
    novelty / (novelty + half)
}
