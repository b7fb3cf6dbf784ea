//! Learning: active columns move their permanences towards the input; starving columns are raised as a whole.
//!
//! All arithmetic is `f32`, synapse by synapse, so neither order nor vector width can change a bit. Whenever a
//! permanence crosses the connected threshold, the column's bit in that input's connected row is inverted, which
//! happens a few times per record.
//!
//! Source: `adaptSynapses_`, `bumpUpWeakColumns_` and `updatePermanencesForColumn_` of `SpatialPooler.cpp`.

use super::{NO_SLOT, SpatialPoolerParams, SpatialPoolerState};
use crate::word;

const CHUNK: usize = 16;

/// Adapts the permanences of `active_columns` to the input.
///
/// `deltas` is scratch of one stride; it receives what each input adds.
///
/// # Panics
/// If the state has no room for the private slots that [`SpatialPoolerState::slots_missing`] counts.
pub fn adapt(
    params: &SpatialPoolerParams,
    state: &mut SpatialPoolerState<'_>,
    active_inputs: &[u16],
    active_columns: &[u16],
    deltas: &mut [f32],
) {
    assert_eq!(deltas.len(), params.stride(), "one stride");
    deltas.fill(-params.inactive_decrement);
    for &input in active_inputs {
        deltas[usize::from(input)] = params.active_increment;
    }
    let (threshold, trim) = (params.connected_threshold(), params.trim_threshold());
    for &column in active_columns {
        change_column(params, state, usize::from(column), |chunk_idx, values| {
            let deltas = &deltas[chunk_idx * CHUNK..][..CHUNK];
            let mut crossed = false;
            for (value, delta) in values.iter_mut().zip(deltas) {
                let changed = clip(*value + delta);
                crossed |= (*value >= threshold) != (changed >= threshold);
                *value = if changed < trim { 0.0 } else { changed };
            }
            crossed
        });
    }
}

/// Raises every permanence of the columns whose overlap duty cycle is below the minimum.
///
/// # Panics
/// If the state has no room for their private slots.
pub fn bump_up(params: &SpatialPoolerParams, state: &mut SpatialPoolerState<'_>) {
    let (threshold, trim, bump) = (params.connected_threshold(), params.trim_threshold(), params.bump());
    for column in 0..params.columns {
        if !is_starving(state, column) {
            continue;
        }
        change_column(params, state, column, |_, values| {
            let mut crossed = false;
            for value in values {
                let changed = *value + bump;
                crossed |= (*value >= threshold) != (changed >= threshold);
                *value = if changed < trim { 0.0 } else { clip(changed) };
            }
            crossed
        });
    }
}

/// Appends the starving columns to `starving` through `report`; none is the normal case.
pub fn for_each_starving(state: &SpatialPoolerState<'_>, mut report: impl FnMut(usize)) {
    // The comparison against one shared minimum vectorises; the list is walked only if one is below.
    let minimum = state.scalars.min_overlap_duty;
    #[expect(clippy::needless_bitwise_bool, reason = "a lazy `or` would branch on every column")]
    let is_any_starving = state.overlap_duty.iter().fold(false, |any, &duty| any | (duty < minimum));
    if is_any_starving {
        (0..state.overlap_duty.len()).filter(|&column| is_starving(state, column)).for_each(&mut report);
    }
}

fn is_starving(state: &SpatialPoolerState<'_>, column: usize) -> bool {
    state.overlap_duty[column] < state.scalars.min_overlap_duty
}

/// Runs `change` over the column's permanences, 16 at a time, and mends the connected rows where it reports that
/// one crossed the threshold.
fn change_column(
    params: &SpatialPoolerParams,
    state: &mut SpatialPoolerState<'_>,
    column: usize,
    mut change: impl FnMut(usize, &mut [f32; CHUNK]) -> bool,
) {
    let (stride, row_words, threshold) = (params.stride(), params.row_words(), params.connected_threshold());
    let slot = private_slot(params, state, column);
    let permanences = &mut state.private_permanences[slot * stride..][..stride];
    let (chunks, _) = permanences.as_chunks_mut::<CHUNK>();
    for (chunk_idx, values) in chunks.iter_mut().enumerate() {
        let before = *values;
        if change(chunk_idx, values) {
            for lane in 0..CHUNK {
                if (before[lane] >= threshold) != (values[lane] >= threshold) {
                    let input = chunk_idx * CHUNK + lane;
                    word::toggle(&mut state.connected_rows[input * row_words..][..row_words], column);
                }
            }
        }
    }
}

/// The column's private slot, opened with the template's permanences if it has none yet.
fn private_slot(params: &SpatialPoolerParams, state: &mut SpatialPoolerState<'_>, column: usize) -> usize {
    if state.column_slots[column] == NO_SLOT {
        let stride = params.stride();
        let slot = state.scalars.slot_count as usize;
        assert!((slot + 1) * stride <= state.private_permanences.len(), "no room for private column {slot}");
        state.private_permanences[slot * stride..][..stride]
            .copy_from_slice(&state.template_permanences[column * stride..][..stride]);
        state.column_slots[column] = u16::try_from(slot).expect("at most 2048 columns");
        state.scalars.slot_count += 1;
    }
    usize::from(state.column_slots[column])
}

/// Into 0..=1; NaN (outside the potential pool) stays NaN.
#[inline]
fn clip(value: f32) -> f32 {
    value.clamp(0.0, 1.0)
}
