//! Duty cycle of a segment: the moving share of steps in which it correctly predicted, computed lazily.
//!
//! Between two looks the share decays by `(1 - alpha)^age`; alpha falls in tiers as the memory grows older, and
//! when a tier is entered every segment is brought up to date. Asking changes the segment (and `f32` rounding
//! makes the set of steps at which it was asked visible), so it is asked exactly where the reference asks.
//!
//! Source: `dutyCycle` of `Segment.cpp`. Departure: powers for small ages come from a table, filled by the same
//! `pow` of the C library.

use std::sync::LazyLock;

use super::state::{SegmentArrays, TmState};

/// Steps after which each alpha applies.
pub const TIERS: [u32; 9] = [0, 100, 320, 1_000, 3_200, 10_000, 32_000, 100_000, 320_000];

const ALPHAS: [f32; 9] =
    [0.0, 0.0032, 0.0010, 0.000_32, 0.000_10, 0.000_032, 0.000_010, 0.000_003_2, 0.000_001_0];

const TABLE_AGES: usize = 1024;

static POWERS: LazyLock<Vec<[f64; TABLE_AGES]>> = LazyLock::new(|| {
    ALPHAS
        .iter()
        .map(|&alpha| {
            let mut powers = [0.0; TABLE_AGES];
            for (age, power) in (0u32..).zip(&mut powers) {
                *power = decay(alpha, age);
            }
            powers
        })
        .collect()
});

/// The alpha of one step, and its powers.
#[derive(Debug, Clone, Copy)]
pub struct Decay {
    iteration: u32,
    alpha: f32,
    powers: &'static [f64; TABLE_AGES],
}

impl Decay {
    /// What applies at step `iteration`.
    pub fn at(iteration: u32) -> Self {
        let tier = TIERS.iter().rposition(|&start| iteration > start).unwrap_or(0);
        Self { iteration, alpha: ALPHAS[tier], powers: &POWERS[tier] }
    }

    /// The share of `segment` now, written back; `is_active` adds this step's positive activation.
    #[expect(
        clippy::inline_always,
        reason = "a call for each of thousands of segments a step cost 2 % of it"
    )]
    #[inline(always)]
    pub fn update(&self, segments: &mut SegmentArrays<'_>, segment: usize, is_active: bool) -> f32 {
        let duty = if self.iteration <= TIERS[1] {
            #[expect(clippy::cast_precision_loss, reason = "at most 100 here")]
            let duty = segments.activations[segment].positive_activations as f32 / self.iteration as f32;
            duty
        } else {
            // An age of 0 decays by a factor of exactly 1.
            let age = self.iteration - segments.infos[segment].duty_cycle_iteration;
            let power = match self.powers.get(age as usize) {
                Some(&power) => power,
                None => decay(self.alpha, age),
            };
            #[expect(clippy::cast_possible_truncation, reason = "the reference rounds this f64 to an f32")]
            let duty = (power * f64::from(segments.infos[segment].duty_cycle)) as f32;
            if is_active { duty + self.alpha } else { duty }
        };
        segments.infos[segment].duty_cycle = duty;
        segments.infos[segment].duty_cycle_iteration = self.iteration;
        duty
    }
}

/// Share of a segment created at step `iteration`.
pub fn of_new(iteration: u32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the reference rounds this f64 to an f32")]
    let duty = (1.0 / f64::from(iteration)) as f32;
    duty
}

/// Brings every segment up to date if this step enters a tier.
pub fn update_all_at_tier(state: &mut TmState<'_>) {
    let iteration = state.scalars.iteration;
    if TIERS.contains(&iteration) {
        let decay = Decay::at(iteration);
        for segment in 0..state.scalars.segment_count as usize {
            decay.update(&mut state.segments, segment, false);
        }
    }
}

fn decay(alpha: f32, age: u32) -> f64 {
    (1.0 - f64::from(alpha)).powf(f64::from(age))
}
