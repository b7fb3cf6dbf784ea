//! Duty cycles: moving shares of steps in which a column had an overlap, and in which it was active.
//!
//! `duty = (duty * (period - 1) + hit) / period` in `f32`, in this order and with a true division.
//!
//! Source: `updateDutyCycles_` and `updateMinDutyCyclesGlobal_` of `SpatialPooler.cpp`.

use super::{MAX_PLANES, SpatialPoolerParams, SpatialPoolerState};
use crate::MAX_ACTIVE_COLUMNS;

/// Every so many steps the minimum is taken anew.
pub const UPDATE_PERIOD: u32 = 50;

/// Brings both duty cycles up to date. `planes` are this step's overlaps, `active_columns` its winners.
///
/// # Panics
/// If a shape is wrong, or there are more than [`MAX_ACTIVE_COLUMNS`] winners.
pub fn update(
    params: &SpatialPoolerParams,
    state: &mut SpatialPoolerState<'_>,
    planes: &[u64],
    active_columns: &[u16],
) {
    #[expect(clippy::cast_precision_loss, reason = "at most the duty cycle period")]
    let period = state.scalars.iteration.min(params.duty_cycle_period) as f32;
    let row_words = params.row_words();
    for (index, duties) in state.overlap_duty.chunks_mut(64).enumerate() {
        let hits = (0..MAX_PLANES).fold(0, |any, plane| any | planes[plane * row_words + index]);
        update_word(duties, hits, period);
    }
    // Few columns are active: decay all of them in one vector loop and put the winners right from their old value.
    let mut before = [0.0f32; MAX_ACTIVE_COLUMNS];
    for (old, &column) in before.iter_mut().zip(active_columns) {
        *old = state.active_duty[usize::from(column)];
    }
    decay(state.active_duty, period, 0.0);
    for (old, &column) in before.iter().zip(active_columns) {
        state.active_duty[usize::from(column)] = average(*old, period, 1.0);
    }
}

/// Takes the minimum overlap duty cycle anew from the best column.
pub fn update_minimum(params: &SpatialPoolerParams, state: &mut SpatialPoolerState<'_>) {
    let best = state.overlap_duty.iter().fold(0.0f32, |best, &duty| if duty > best { duty } else { best });
    state.scalars.min_overlap_duty = params.min_overlap_duty_share * best;
}

fn update_word(duties: &mut [f32], hits: u64, period: f32) {
    match hits {
        u64::MAX => decay(duties, period, 1.0),
        0 => decay(duties, period, 0.0),
        mixed => {
            for (bit, duty) in duties.iter_mut().enumerate() {
                *duty = average(*duty, period, if mixed >> bit & 1 == 1 { 1.0 } else { 0.0 });
            }
        }
    }
}

fn decay(duties: &mut [f32], period: f32, hit: f32) {
    for duty in duties {
        *duty = average(*duty, period, hit);
    }
}

#[inline]
fn average(duty: f32, period: f32, hit: f32) -> f32 {
    (duty * (period - 1.0) + hit) / period
}
