//! Learning backtracking: the learned sequence broke off, so look for a remembered pattern from which, started
//! on its start cells, everything up to now would have been predicted, and learn along that way.
//!
//! Source: `learnBacktrack` and `learnBacktrackFrom` of `Cells4.cpp`.

use super::BacktrackingTmParams;
use super::learn::{Mode, choose_cells, follow_cells, predict, shift};
use super::pattern::{forget, indices, recall};
use super::segment_update::apply_queued;
use super::state::{TmScratch, TmState};

/// Returns the length of the sequence it locked on to, 0 if none fits.
pub(super) fn run(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
) -> u32 {
    // The current pattern is no valid start.
    let starts = (state.scalars.learn_history_count as usize).saturating_sub(1);
    let found = (0..starts).find(|&start| learn_from(params, state, scratch, start, Mode::ReadOnly));
    let Some(start) = found else { return 0 };
    learn_from(params, state, scratch, start, Mode::Learn);
    forget(state.learn_history, &mut state.scalars.learn_history_count, start + 1);
    u32::try_from(starts - start).expect("a history holds a few patterns")
}

/// Replays the remembered patterns from `start` on; true if the last one was still understood.
fn learn_from(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    start: usize,
    mode: Mode,
) -> bool {
    if mode == Mode::Learn {
        state.scalars.queue_count = 0;
    }
    let count = state.scalars.learn_history_count as usize;
    for position in start..count {
        let pattern = recall(state.learn_history, position);
        let columns = indices(&pattern);
        shift(state, scratch);
        if mode == Mode::Learn {
            apply_queued(params, state, scratch, columns);
        }
        let is_understood = if position == start {
            state.activate_start_cells(columns);
            true
        } else if mode == Mode::Learn {
            choose_cells(params, state, scratch, columns)
        } else {
            follow_cells(state, scratch, columns)
        };
        if !is_understood {
            return false;
        }
        if position + 1 < count {
            predict(params, state, scratch, mode);
        }
    }
    true
}
