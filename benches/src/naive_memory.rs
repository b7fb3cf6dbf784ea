//! Active synapses counted by looking at every synapse of every segment: what the presynaptic index saves.

use htm_kernels::backtracking_tm::CELL_STRIDE;
use htm_kernels::backtracking_tm::state::TmState;

/// Counts, for each segment, its synapses on cells of `active` (one word of cells a column) into `activity`.
///
/// # Panics
/// If `activity` is shorter than the segments, or they have more than `synapse_stride` synapses.
pub fn count_active(state: &TmState<'_>, synapse_stride: usize, active: &[u32], activity: &mut [u8]) {
    let segment_count = state.scalars.segment_count as usize;
    let synapses = state.segments.presynaptic_cells.chunks_exact(synapse_stride);
    let infos = &state.segments.infos[..segment_count];
    for ((activity, sources), info) in activity.iter_mut().zip(synapses).zip(infos) {
        let is_active = |&cell: &u16| active[usize::from(cell) / CELL_STRIDE] >> (cell % 32) & 1 == 1;
        let active_count = sources[..usize::from(info.count)].iter().filter(|cell| is_active(cell)).count();
        *activity = u8::try_from(active_count).expect("a segment has at most 64 synapses");
    }
}

#[cfg(test)]
mod tests {
    use htm_core::model::temporal_memory::TemporalMemory;
    use htm_core::model::workspace::Workspace;
    use htm_core::params::standard_temporal_memory;
    use htm_kernels::backtracking_tm::activity;
    use htm_kernels::backtracking_tm::bank::BANK_COUNTERS;

    use super::*;

    #[test]
    fn counts_what_the_index_counts() {
        let params = standard_temporal_memory();
        let mut memory = TemporalMemory::new(params);
        let mut workspace = Workspace::new();
        for step in 0..200u16 {
            let columns: Vec<u16> = (step % 10..2048).step_by(51).collect();
            memory.compute(&mut workspace, &columns);
        }
        let active = memory.infer_active().to_vec();
        let columns: Vec<usize> =
            (0..).zip(&active).filter(|(_, cells)| **cells != 0).map(|(c, _)| c).collect();
        let segment_count = memory.scalars().segment_count as usize;
        let (mut indexed, mut naive) = (vec![0; BANK_COUNTERS], vec![0; segment_count]);
        let view = memory.view();
        activity::count(
            &view.posting_lists(),
            &active,
            &columns.iter().copied(),
            segment_count,
            &mut indexed,
        );
        count_active(&view, params.synapse_stride(), &active, &mut naive);
        assert_eq!(indexed[..segment_count], naive);
        assert!(naive.iter().any(|&count| count > 0), "something was counted");
    }
}
