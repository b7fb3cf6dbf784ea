//! Average of the last ten raw anomaly scores, from a running total that is never summed anew.
//!
//! Source: `MovingAverage` of nupic's `utils.py`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Scores averaged.
pub const WINDOW: usize = 10;

/// The last scores and their running total.
#[derive(Debug, Clone, Copy, PartialEq, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MovingAverage {
    total: f64,
    /// Oldest first; only the first `count` count.
    values: [f64; WINDOW],
    count: u64,
}

impl MovingAverage {
    /// Takes in a score and returns the average.
    #[expect(clippy::missing_panics_doc, reason = "the count is at most ten")]
    pub fn push(&mut self, value: f64) -> f64 {
        let mut count = usize::try_from(self.count).expect("at most ten").min(WINDOW);
        if count == WINDOW {
            self.total -= self.values[0];
            self.values.copy_within(1.., 0);
            count -= 1;
        }
        self.values[count] = value;
        count += 1;
        self.total += value;
        self.count = count as u64;
        #[expect(clippy::cast_precision_loss, reason = "at most ten")]
        let divisor = count as f64;
        self.total / divisor
    }

    /// The running total.
    pub fn total(&self) -> f64 {
        self.total
    }
}
