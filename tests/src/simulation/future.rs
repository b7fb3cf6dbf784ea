//! Samples about as far ahead of the clock as may be: with a clock that jumps nobody knows beforehand whether one is taken, but
//! it is stored or counted as refused, and nothing else.

use htmengine::repository::metric_data::StoredSample;
use htmengine::sample::DEFAULT_MAX_FUTURE_SECONDS;

use super::clients::Meaning;
use super::stage::EPOCH_S;
use super::world::MAX_SKEW_S;
use crate::seeded_random::SeededRandom;

/// Their metric, which has no model.
const NAME: &str = "future.0";
/// Most of them.
const MAX_SAMPLES: usize = 30;
/// One occasion in so many has one.
const ONE_IN: usize = 3;
/// Time from one to the next, at most; all of them reach from one end of what a clock may be off to the other.
const MAX_STEP_S: usize = 4 * MAX_SKEW_S / MAX_SAMPLES;

/// Who sends them.
#[derive(Debug)]
pub(super) struct FutureFeed {
    random: SeededRandom,
    sent: usize,
    timestamp: i64,
}

impl FutureFeed {
    pub(super) fn new(seed: u64) -> Self {
        let skew = i64::try_from(MAX_SKEW_S).expect("small");
        let timestamp = EPOCH_S + DEFAULT_MAX_FUTURE_SECONDS - skew;
        Self { random: SeededRandom::new(seed), sent: 0, timestamp }
    }

    /// The next, each newer than the one before, if it is its turn.
    pub(super) fn line(&mut self) -> Option<(Vec<u8>, Meaning)> {
        if self.sent == MAX_SAMPLES || self.random.below(ONE_IN) > 0 {
            return None;
        }
        self.sent += 1;
        self.timestamp += 1 + i64::try_from(self.random.below(MAX_STEP_S)).expect("small");
        let (value, timestamp) = (1.5, self.timestamp);
        let line = format!("{NAME} {value} {timestamp}").into_bytes();
        Some((line, Meaning::Uncertain(NAME.to_owned(), StoredSample { timestamp, value })))
    }
}
