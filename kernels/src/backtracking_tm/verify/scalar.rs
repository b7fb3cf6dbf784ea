//! The reference: one synapse after the other.

use super::{Question, Rows, mark_if, used};
use crate::backtracking_tm::state::SegmentArrays;
use crate::word::Ones;

pub(super) fn predict(
    question: &Question<'_>,
    rows: &Rows<'_>,
    segments: &SegmentArrays<'_>,
    candidates: &[u32],
    predicted: &mut [u32],
) {
    for &segment in candidates {
        mark_if(segments, segment, predicted, || {
            let count = segments.infos[segment as usize].count;
            let mut active_count = 0;
            for ((cells, codes), first) in rows.chunks(segment).zip((0..).step_by(cells_per_chunk())) {
                for synapse in Ones(u64::from(used(count, first))) {
                    let cell = usize::from(cells[synapse]);
                    let is_active = question.active[cell / 32] >> (cell % 32) & 1;
                    active_count += is_active & u32::from(codes[synapse] >= rows.connected_from);
                }
            }
            active_count >= question.threshold
        });
    }
}

const fn cells_per_chunk() -> usize {
    crate::backtracking_tm::state::SYNAPSE_CHUNK
}
