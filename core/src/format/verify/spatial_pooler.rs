//! What must hold in a spatial pooler.

use htm_kernels::spatial_pooler::NO_SLOT;
use htm_kernels::word;

use super::{FormatError, ensure};
use crate::model::spatial_pooler::SpatialPooler;

/// Checks shapes, ranges, that every private slot has one owner, and that the connected rows follow from the
/// permanences.
pub(super) fn check(pooler: &SpatialPooler) -> Result<(), FormatError> {
    let params = pooler.params();
    let (slots, rows) = (pooler.scalars.slot_count, pooler.scalars.row_count);
    ensure(are_slots_valid(&pooler.column_slots, slots), || {
        "a private column has no or several owners".to_owned()
    })?;
    ensure(are_slots_valid(&pooler.row_slots, rows), || "a private row has no or several owners".to_owned())?;
    let used = &pooler.private_permanences[..slots as usize * params.stride()];
    let is_possible = |column: &[f32]| {
        let (pool, rest) = column.split_at(params.pool_size());
        pool.iter().all(|value| (0.0..=1.0).contains(value)) && rest.iter().all(|value| value.to_bits() == 0)
    };
    ensure(used.chunks_exact(params.stride()).all(is_possible), || {
        "a proximal permanence lies outside 0..=1".to_owned()
    })?;
    let is_share = |value: &f32| (0.0..=1.0).contains(value);
    ensure(pooler.overlap_duty.iter().all(is_share), || {
        "an overlap duty cycle lies outside 0..=1".to_owned()
    })?;
    ensure(pooler.active_duty.iter().all(is_share), || "an active duty cycle lies outside 0..=1".to_owned())?;
    connected_rows(pooler)
}

/// Every slot in use belongs to exactly one owner.
fn are_slots_valid(slots: &[u16], used: u32) -> bool {
    let mut taken: Vec<u16> = slots.iter().copied().filter(|&slot| slot != NO_SLOT).collect();
    taken.sort_unstable();
    taken.into_iter().map(u32::from).eq(0..used)
}

/// The connected rows are those that follow from the permanences.
fn connected_rows(pooler: &SpatialPooler) -> Result<(), FormatError> {
    let params = *pooler.params();
    let mut copy = pooler.clone();
    let state = copy.view();
    let mut expected = vec![0u64; params.input_bits * params.row_words()];
    for column in 0..params.columns {
        for (input, &value) in state.pool(&params, column).zip(state.permanences(&params, column)) {
            if value >= params.connected_threshold() {
                word::set(&mut expected[input * params.row_words()..][..params.row_words()], column);
            }
        }
    }
    let rows = state.connected_rows(&params);
    for (input, expected) in (0u16..).zip(expected.chunks_exact(params.row_words())) {
        let differs = || format!("the connected columns of input {input} do not follow from the permanences");
        ensure(rows.row(input) == expected, differs)?;
    }
    Ok(())
}
