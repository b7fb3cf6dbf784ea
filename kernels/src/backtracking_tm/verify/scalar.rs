//! The reference: one synapse after the other.

use super::{Question, Rows, predict_each};
use crate::backtracking_tm::CELL_STRIDE;
use crate::backtracking_tm::state::SegmentArrays;

pub(super) fn predict(
    question: &Question<'_>,
    rows: &Rows<'_>,
    segments: &SegmentArrays<'_>,
    candidates: &[u32],
    predicted: &mut [u32],
) {
    predict_each(question, rows, segments, candidates, predicted, |cells, codes| {
        let mut bits = 0;
        for ((&cell, &code), synapse) in cells.iter().zip(codes).zip(0..) {
            let cell = usize::from(cell);
            let is_active = question.active[cell / CELL_STRIDE] >> (cell % CELL_STRIDE) & 1;
            bits |= (is_active & u32::from(code >= rows.connected_from)) << synapse;
        }
        bits
    });
}
