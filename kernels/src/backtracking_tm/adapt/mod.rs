//! One change of a segment's permanences, as codes: up on active cells, down on the others, gone at 0.
//!
//! Contract: `presynaptic_cells` and `codes` are one segment's, `synapse_stride` long, with `count` synapses. Each
//! code is replaced by what the table says; a synapse to be removed gets [`REMOVED`], the rest of the row stays.
//! [`Change`] tells about each synapse by one bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use super::state::{CellSet, SYNAPSE_CHUNK};
use crate::isa::{Isa, IsaKind};
use crate::permanence::PermanenceCodes;
#[cfg(doc)]
use crate::permanence::REMOVED;

/// What happened to the synapses of a segment, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// On an active cell.
    pub active: u64,
    /// To be removed.
    pub removed: u64,
    /// Connected, and not removed.
    pub connected: u64,
}

/// Changes the permanences of one segment.
///
/// # Panics
/// If the two rows differ in length, or are not of one or two chunks of [`SYNAPSE_CHUNK`], or shorter than `count`.
pub fn change(
    isa: Isa,
    presynaptic_cells: &[u16],
    codes: &mut [u8],
    count: usize,
    active: &CellSet,
    table: &PermanenceCodes,
) -> Change {
    assert!(presynaptic_cells.len() == codes.len() && count <= codes.len(), "{count} synapses");
    assert!(codes.len() <= 64 && codes.len().is_multiple_of(SYNAPSE_CHUNK), "{} codes", codes.len());
    let (cells, _) = presynaptic_cells.as_chunks::<SYNAPSE_CHUNK>();
    let (codes, _) = codes.as_chunks_mut::<SYNAPSE_CHUNK>();
    let mut change = Change::default();
    for ((cells, codes), first) in cells.iter().zip(codes).zip((0..).step_by(SYNAPSE_CHUNK)) {
        let used = u32::try_from((1u64 << count.saturating_sub(first).min(SYNAPSE_CHUNK)) - 1);
        let part = change_chunk(isa, cells, codes, used.expect("32 bits"), active, table);
        change.active |= u64::from(part.active) << first;
        change.removed |= u64::from(part.removed) << first;
        change.connected |= u64::from(part.connected) << first;
    }
    change
}

/// [`Change`] of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ChunkChange {
    active: u32,
    removed: u32,
    connected: u32,
}

#[inline]
fn change_chunk(
    isa: Isa,
    cells: &[u16; SYNAPSE_CHUNK],
    codes: &mut [u8; SYNAPSE_CHUNK],
    used: u32,
    active: &CellSet,
    table: &PermanenceCodes,
) -> ChunkChange {
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls code for an instruction set")]
        IsaKind::Avx512 if table.len() <= avx512::MAX_CODES => {
            // SAFETY: an `Isa` exists only where the machine has its features.
            unsafe { avx512::change(cells, codes, used, active, table) }
        }
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls code for an instruction set")]
        IsaKind::Avx2 if table.len() <= avx2::MAX_CODES => {
            // SAFETY: an `Isa` exists only where the machine has its features.
            unsafe { avx2::change(cells, codes, used, active, table) }
        }
        IsaKind::Avx2 | IsaKind::Avx512 | IsaKind::Scalar => {
            scalar::change(cells, codes, used, active, table)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MAX_COLUMNS;
    use crate::backtracking_tm::BacktrackingTmParams;
    use crate::backtracking_tm::tests::standard_params;
    use crate::permanence::{REMOVED, decremented, incremented};

    /// 23, 45, 101 and more than 128 codes.
    fn tables() -> Vec<(BacktrackingTmParams, PermanenceCodes)> {
        let steps = [(0.1, 0.1), (0.05, 0.1), (0.02, 0.02), (0.01, 0.02), (0.25, 0.0)];
        let all = steps.map(|(permanence_increment, permanence_decrement)| {
            let params =
                BacktrackingTmParams { permanence_increment, permanence_decrement, ..standard_params() };
            PermanenceCodes::of(&params).map(|table| (params, table))
        });
        all.into_iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn every_code_changes_as_its_permanence_would(
            cells in proptest::collection::vec(any::<u16>(), 64),
            codes in proptest::collection::vec(any::<u8>(), 64),
            active in proptest::collection::vec(any::<u32>(), MAX_COLUMNS),
            table in any::<prop::sample::Index>(),
        ) {
            let tables = tables();
            let (params, table) = &tables[table.index(tables.len())];
            let active: &CellSet = active.as_slice().try_into().expect("all columns");
            let codes: Vec<u8> = codes.iter().map(|code| u8::try_from(usize::from(*code) % table.len()).expect("a code")).collect();
            for (stride, count) in [(32, 0), (32, 1), (32, 16), (32, 31), (32, 32), (64, 33), (64, 63), (64, 64)] {
                for isa in Isa::available() {
                    let mut changed = codes[..stride].to_vec();
                    let change = change(isa, &cells[..stride], &mut changed, count, active, table);
                    for synapse in 0..stride {
                        let bit = |bits: u64| bits >> synapse & 1 == 1;
                        let (cell, before) = (usize::from(cells[synapse]), codes[synapse]);
                        if synapse >= count {
                            prop_assert_eq!(changed[synapse], before);
                            prop_assert!(!bit(change.active | change.removed | change.connected));
                            continue;
                        }
                        let is_active = active[cell / 32] >> (cell % 32) & 1 == 1;
                        let value = table.value(before);
                        let expected = if is_active { Some(incremented(params, value)) } else { decremented(params, value) };
                        let found = (changed[synapse] != REMOVED).then(|| table.value(changed[synapse]));
                        prop_assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits), "{}", isa);
                        prop_assert_eq!(bit(change.active), is_active);
                        prop_assert_eq!(bit(change.removed), expected.is_none());
                        let is_connected = expected.is_some_and(|value| value >= params.connected_permanence);
                        prop_assert_eq!(bit(change.connected), is_connected);
                    }
                }
            }
        }
    }
}
