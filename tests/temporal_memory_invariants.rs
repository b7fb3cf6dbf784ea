//! Promise: whatever a temporal memory goes through, its index, counters, queue and predictions say what its
//! segments say. The fuzz target `temporal_memory_model` looks for counterexamples without a bound on time.

use htm_core::model::temporal_memory::TemporalMemory;
use htm_tests::memory_scenario::{Event, HEADER_BYTES, Scenario};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_memory_never_contradicts_its_segments(bytes in vec(any::<u8>(), HEADER_BYTES..280)) {
        Scenario::from_bytes(&bytes).live();
    }

    #[test]
    fn a_memory_that_keeps_counts_never_contradicts_its_segments(
        bytes in vec(any::<u8>(), HEADER_BYTES..280),
        has_codes in any::<bool>(),
    ) {
        let scenario = Scenario::from_bytes(&bytes);
        let of = if has_codes { TemporalMemory::new } else { TemporalMemory::without_codes };
        let kept = scenario.live_as(of(scenario.params).with_kept_activity());
        let counted = scenario.live();
        prop_assert_eq!(kept.infer_predicted(), counted.infer_predicted());
        prop_assert_eq!(kept.scalars().synapse_count, counted.scalars().synapse_count);
    }

    /// Only known patterns in a fixed order: sequences are learned, so that predictions are right, too.
    #[test]
    fn a_memory_that_learns_a_sequence_never_contradicts_its_segments(
        mut bytes in vec(any::<u8>(), HEADER_BYTES),
        period in 2u8..7,
    ) {
        bytes.extend((0..150u8).map(|step| step % period % 6));
        let memory = Scenario::from_bytes(&bytes).live();
        prop_assert_eq!(memory.scalars().iteration, 150);
    }
}

#[test]
fn lives_reach_what_the_checks_are_about() {
    // A long life of mixed events: it must create, grow, evict and predict, or the checks check nothing.
    // Threshold 3, 8 synapses, 28 columns of 4 cells with one segment each, decrement 0.25, patterns of 3 columns.
    let mut mixed = vec![2, 3, 20, 2, 1, 7, 0, 1, 0, 2, 0, 2, 0, 0, 0, 2];
    mixed.extend((0..12u8).map(|byte| byte.wrapping_mul(29)));
    assert_eq!(mixed.len(), HEADER_BYTES);
    let mut state = 1u32;
    mixed.extend((0..600).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24).to_le_bytes()[0]
    }));
    let scenario = Scenario::from_bytes(&mixed);
    assert!(scenario.events.contains(&Event::Reset), "the life has a reset");
    let memory = scenario.live();
    let (params, scalars) = (memory.params(), memory.scalars());
    assert!(scalars.segment_count > 50 && scalars.synapse_count > 100, "{scalars:?}");
    let has_freed_blocks = scalars.posting_free_blocks.iter().any(|&head| head != u32::MAX);
    assert!(has_freed_blocks, "a posting list outgrew its block: {scalars:?}");
    let room = (params.cells_per_column - 1) * params.max_segments_per_cell;
    let mut per_column = vec![0; params.columns];
    let mut memory = memory.clone();
    let view = memory.view();
    for info in &view.segments.infos[..view.scalars.segment_count as usize] {
        per_column[usize::from(info.cell / 32)] += 1;
    }
    assert!(per_column.contains(&room), "a column is full, so segments were evicted: {per_column:?}");
}
