//! Looking at segments synapse by synapse: do enough connected ones lie on active cells?
//!
//! Counting over posting lists does not know permanences, so it finds segments that match; of those that may be
//! active this kernel decides. In an old memory they are thousands a step, and whether a synapse is active is as good
//! as random, so the code has no branch on it.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
mod scalar;

use super::CELL_STRIDE;
use super::state::{CellSet, SYNAPSE_CHUNK, SegmentArrays};
use crate::isa::{Isa, IsaKind};
use crate::permanence::Permanences;
use crate::prefetch::prefetch;

/// What is asked about segments.
pub struct Question<'a> {
    /// The cells that are active.
    pub active: &'a CellSet,
    /// Connected synapses on them from which a segment is active, above 0.
    pub threshold: u32,
    /// Row length of the segment arrays.
    pub synapse_stride: usize,
    /// Permanence of a connected synapse; not used for codes, whose table knows.
    pub connected_permanence: f32,
}

/// Marks the cells of those of `candidates` that are active segments in `predicted`, one word a column. Whether a
/// cell that is marked already has another active segment is not asked.
///
/// # Panics
/// If a candidate or its cell lies outside the arrays.
pub fn predict(
    isa: Isa,
    question: &Question<'_>,
    segments: &SegmentArrays<'_>,
    candidates: &[u32],
    predicted: &mut [u32],
) {
    let Permanences::Codes { codes, table } = &segments.permanences else {
        for &segment in candidates {
            mark_if(segments, segment, predicted, || connected_active_values(question, segments, segment));
        }
        return;
    };
    let rows = Rows {
        stride: question.synapse_stride,
        cells: segments.presynaptic_cells,
        codes,
        connected_from: table.connected_from(),
    };
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls code for an instruction set")]
        IsaKind::Avx512 => {
            // SAFETY: an `Isa` exists only where the machine has its features.
            unsafe { avx512::predict(question, &rows, segments, candidates, predicted) }
        }
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls code for an instruction set")]
        IsaKind::Avx2 => {
            // SAFETY: an `Isa` exists only where the machine has its features.
            unsafe { avx2::predict(question, &rows, segments, candidates, predicted) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        IsaKind::Avx2 | IsaKind::Avx512 => scalar::predict(question, &rows, segments, candidates, predicted),
        IsaKind::Scalar => scalar::predict(question, &rows, segments, candidates, predicted),
    }
}

/// The synapses, with permanences as codes.
struct Rows<'a> {
    stride: usize,
    cells: &'a [u16],
    codes: &'a [u8],
    connected_from: u8,
}

impl<'a> Rows<'a> {
    /// Asks for the synapses of a candidate some places ahead of this one.
    #[inline]
    fn prefetch(&self, candidates: &[u32], position: usize) {
        const LOOK_AHEAD: usize = 12;
        if let Some(&segment) = candidates.get(position + LOOK_AHEAD) {
            prefetch(self.cells, segment as usize * self.stride);
            prefetch(self.codes, segment as usize * self.stride);
        }
    }

    /// The chunks of one segment.
    #[inline]
    fn chunks(
        &self,
        segment: u32,
    ) -> impl Iterator<Item = (&'a [u16; SYNAPSE_CHUNK], &'a [u8; SYNAPSE_CHUNK])> {
        let start = segment as usize * self.stride;
        let (cells, _) = self.cells[start..start + self.stride].as_chunks();
        let (codes, _) = self.codes[start..start + self.stride].as_chunks();
        cells.iter().zip(codes)
    }
}

/// Runs through the candidates; `connected_active` has a bit for each synapse of a chunk that is connected and on an
/// active cell, whether the segment uses it or not.
#[expect(
    clippy::inline_always,
    reason = "what it calls is code for an instruction set, to be inlined with it"
)]
#[inline(always)]
fn predict_each(
    question: &Question<'_>,
    rows: &Rows<'_>,
    segments: &SegmentArrays<'_>,
    candidates: &[u32],
    predicted: &mut [u32],
    connected_active: impl Fn(&[u16; SYNAPSE_CHUNK], &[u8; SYNAPSE_CHUNK]) -> u32,
) {
    for (position, &segment) in candidates.iter().enumerate() {
        rows.prefetch(candidates, position);
        mark_if(segments, segment, predicted, || {
            let count = segments.infos[segment as usize].count;
            let mut active_count = 0;
            for ((cells, codes), first) in rows.chunks(segment).zip((0..).step_by(SYNAPSE_CHUNK)) {
                active_count += (connected_active(cells, codes) & used(count, first)).count_ones();
            }
            active_count >= question.threshold
        });
    }
}

/// Marks the segment's cell, if it is not yet and the segment has `threshold` of what is counted.
#[expect(
    clippy::inline_always,
    reason = "what it calls is code for an instruction set, to be inlined with it"
)]
#[inline(always)]
fn mark_if(
    segments: &SegmentArrays<'_>,
    segment: u32,
    predicted: &mut [u32],
    is_active: impl FnOnce() -> bool,
) {
    let cell = usize::from(segments.infos[segment as usize].cell);
    let cells = &mut predicted[cell / CELL_STRIDE];
    if *cells >> (cell % CELL_STRIDE) & 1 == 0 {
        *cells |= u32::from(is_active()) << (cell % CELL_STRIDE);
    }
}

/// Bits of the synapses of a chunk that exist, given how many a segment has and where the chunk starts.
#[inline]
fn used(count: u8, first: usize) -> u32 {
    let count = usize::from(count).saturating_sub(first).min(SYNAPSE_CHUNK);
    u32::try_from((1u64 << count) - 1).unwrap_or(u32::MAX)
}

fn connected_active_values(question: &Question<'_>, segments: &SegmentArrays<'_>, segment: u32) -> bool {
    let start = segment as usize * question.synapse_stride;
    let count = usize::from(segments.infos[segment as usize].count);
    let mut active_count = 0;
    for synapse in start..start + count {
        let cell = usize::from(segments.presynaptic_cells[synapse]);
        let is_active = question.active[cell / CELL_STRIDE] >> (cell % CELL_STRIDE) & 1;
        let is_connected = segments.permanences.value(synapse) >= question.connected_permanence;
        active_count += is_active & u32::from(is_connected);
    }
    active_count >= question.threshold
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MAX_COLUMNS;
    use crate::backtracking_tm::state::{SegmentActivations, SegmentInfo};
    use crate::backtracking_tm::tests::standard_params;
    use crate::permanence::PermanenceCodes;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Codes under every instruction set, and the values they stand for, against a count of the synapses.
        #[test]
        fn every_form_predicts_the_same_cells(
            sources in proptest::collection::vec(any::<u16>(), 64),
            codes in proptest::collection::vec(0u8..23, 64),
            active in proptest::collection::vec(any::<u32>(), MAX_COLUMNS),
            threshold in 1u32..20,
        ) {
            let params = standard_params();
            let table = PermanenceCodes::of(&params).expect("few values");
            let active: &CellSet = active.as_slice().try_into().expect("all columns");
            for (stride, count) in [(32, 0), (32, 1), (32, 31), (32, 32), (64, 33), (64, 63), (64, 64)] {
                let question =
                    Question { active, threshold, synapse_stride: stride, connected_permanence: 0.5 };
                let values: Vec<f32> = codes.iter().map(|&code| table.value(code)).collect();
                let is_counted = |synapse: &usize| {
                    let cell = usize::from(sources[*synapse]);
                    active[cell / 32] >> (cell % 32) & 1 == 1 && values[*synapse] >= 0.5
                };
                let is_active = (0..count).filter(is_counted).count() >= threshold as usize;
                let found = |isa: Isa, has_codes: bool| {
                    let (mut sources, mut codes, mut values) = (sources.clone(), codes.clone(), values.clone());
                    let count = u8::try_from(count).expect("small");
                    let mut infos = [SegmentInfo { cell: 70, count, ..SegmentInfo::default() }];
                    let segments = SegmentArrays {
                        presynaptic_cells: &mut sources,
                        permanences: if has_codes {
                            Permanences::Codes { codes: &mut codes, table: &table }
                        } else {
                            Permanences::Values(&mut values)
                        },
                        infos: &mut infos,
                        activations: &mut [SegmentActivations::default()],
                    };
                    let mut predicted = [0; 4];
                    predict(isa, &question, &segments, &[0], &mut predicted);
                    predicted
                };
                let expected = [0, 0, u32::from(is_active) << 6, 0];
                prop_assert_eq!(found(Isa::SCALAR, false), expected);
                for isa in Isa::available() {
                    prop_assert_eq!(found(isa, true), expected, "{}, {} synapses", isa, count);
                }
            }
        }
    }
}
