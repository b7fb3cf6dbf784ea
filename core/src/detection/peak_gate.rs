//! The peak gate: one alert for an episode, and again only if it gets worse.
//!
//! Source: the alert score of our specification of the fused score. The gate remembers scores, not alert scores.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Records looked back on.
const RECORDS: usize = 30;
/// By how much a score must exceed them.
const STEP: f64 = 1e-12;

/// The last scores.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct PeakGate {
    /// Oldest first; zeros before the first record, which let every score above 0 through.
    scores: [f64; RECORDS],
}

impl PeakGate {
    /// `score` if it exceeds the last 30 scores, else 0; then remembers it.
    pub(super) fn let_through(&mut self, score: f64) -> f64 {
        let highest = self.scores.iter().fold(0.0, |highest: f64, &score| highest.max(score));
        self.scores.copy_within(1.., 0);
        self.scores[RECORDS - 1] = score;
        if score > highest + STEP { score } else { 0.0 }
    }

    /// Whether it can be the state of a gate; to be asked of one read from a file.
    pub(super) fn is_possible(&self) -> bool {
        self.scores.iter().all(|score| (0.0..=1.0).contains(score))
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "scores are passed on or not")]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn an_episode_is_told_once_and_when_it_gets_worse() {
        let mut gate = PeakGate::new_zeroed();
        assert_eq!(gate.let_through(0.0), 0.0);
        for (score, expected) in [(0.5, 0.5), (0.5, 0.0), (0.4, 0.0), (0.6, 0.6)] {
            assert_eq!(gate.let_through(score), expected);
        }
        for _ in 0..RECORDS {
            assert_eq!(gate.let_through(0.2), 0.0, "0.6 is among the last 30");
        }
        assert_eq!(gate.let_through(0.3), 0.3);
        assert!(gate.is_possible());
    }
}
