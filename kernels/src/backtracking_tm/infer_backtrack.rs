//! Inference backtracking: the input does not fit the predictions, so look for the oldest remembered pattern
//! such that, started on its start cells, the memory would have understood everything up to now.
//!
//! Source: `inferBacktrack` of `Cells4.cpp`. Left out because it has no effect there either: the comparison of
//! candidates by confidence (the first success ends the search), and restoring the old predictions at the end
//! (the next step overwrites them first).

use super::BacktrackingTmParams;
use super::infer::{activate, predict};
use super::pattern::{forget, indices, recall};
use super::state::{TmScratch, TmState};

pub(super) fn run(params: &BacktrackingTmParams, state: &mut TmState<'_>, scratch: &mut TmScratch<'_>) {
    let count = state.scalars.infer_history_count as usize;
    scratch.infer_active_backup.copy_from_slice(state.infer_active);
    let candidate = (0..count).find(|&start| is_understood_from(params, state, scratch, start, count));
    if candidate.is_none() {
        state.infer_active.copy_from_slice(scratch.infer_active_backup);
        let current = recall(state.infer_history, count - 1);
        predict(params, state, scratch, indices(&current));
    }
    // Every start before the candidate failed; they, and the candidate itself, will not be tried again. Without
    // a candidate all failed.
    let tried = candidate.map_or(count, |start| start + 1);
    forget(state.infer_history, &mut state.scalars.infer_history_count, tried);
}

/// Replays the remembered patterns from `start` on.
fn is_understood_from(
    params: &BacktrackingTmParams,
    state: &mut TmState<'_>,
    scratch: &mut TmScratch<'_>,
    start: usize,
    count: usize,
) -> bool {
    (start..count).all(|position| {
        let pattern = recall(state.infer_history, position);
        // What the last phase 2 predicted becomes the prediction for this pattern. Exchanging the two buffers
        // is enough: phase 2 overwrites the other one, and a start on start cells reads neither.
        scratch.infer_predicted_before.swap_with_slice(state.infer_predicted);
        activate(params, state, scratch, indices(&pattern), position == start)
            && predict(params, state, scratch, indices(&pattern))
    })
}
