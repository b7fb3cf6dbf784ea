//! Slow surprise (R): the model is wrong more often than it ever was for so long.
//!
//! Source: component R of our specification of the fused score.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::record_novelty::{RecordNovelty, SeenRange, Sides};
use super::saturating_share;

const NOVELTY: RecordNovelty = RecordNovelty { first_record_idx: 280, warm_up_records: 30, sides: Sides::Up };
/// Novelty at which the component is one half.
const HALF: f64 = 0.05;

/// The slow averages seen.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct SlowSurprise {
    range: SeenRange,
}

impl SlowSurprise {
    /// Takes in the mean of the last 80 raw anomaly scores; 0..1.
    pub(super) fn take_in(&mut self, record_idx: u64, mean_raw_score: f64) -> f64 {
        saturating_share(NOVELTY.take_in(&mut self.range, record_idx, mean_raw_score, 1.0), HALF)
    }

    /// Whether it can be the state of the component; to be asked of one read from a file.
    pub(super) fn is_possible(&self) -> bool {
        self.range.is_possible()
    }
}
