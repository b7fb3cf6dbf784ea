//! Permanences of synapses: as themselves, or as codes of one byte.
//!
//! Starting from one initial value and changed only by fixed steps, permanences take few values: 23 of them with
//! the standard parameters. A segment then stores the number of its value in ascending order, and a change is a
//! table lookup, of which one vector instruction does sixteen and more. The tables are worked out in `f32` by the
//! steps themselves, so that codes say exactly what the values would have said.
//!
//! Invariants: codes ascend with their values, so that comparing codes compares values; [`REMOVED`] is no code.
//! Unused synapses of a segment hold 0 in either form.
//!
//! Source: `Segment::updateSynapses` of nupic.core for the steps. Departure: the codes.

use crate::backtracking_tm::BacktrackingTmParams;

/// What a table answers for a synapse whose permanence reaches 0.
pub const REMOVED: u8 = u8::MAX;

/// Most values that codes can stand for.
pub const MAX_CODES: usize = REMOVED as usize;

/// The permanences of all segments, `capacity x synapse_stride`.
#[derive(Debug)]
pub enum Permanences<'a> {
    /// As codes.
    Codes {
        /// One per synapse.
        codes: &'a mut [u8],
        /// What they stand for.
        table: &'a PermanenceCodes,
    },
    /// As themselves, for parameters that reach too many values.
    Values(&'a mut [f32]),
}

impl Permanences<'_> {
    /// The permanence of one synapse.
    ///
    /// # Panics
    /// If `synapse` lies outside.
    #[inline]
    pub fn value(&self, synapse: usize) -> f32 {
        match self {
            Self::Codes { codes, table } => table.value(codes[synapse]),
            Self::Values(values) => values[synapse],
        }
    }

    /// Synapses there is room for.
    pub fn capacity(&self) -> usize {
        match self {
            Self::Codes { codes, .. } => codes.len(),
            Self::Values(values) => values.len(),
        }
    }
}

/// What permanence codes stand for and how they change. Entries without a value repeat the last value and change
/// to [`REMOVED`].
#[derive(Debug, Clone, PartialEq)]
pub struct PermanenceCodes {
    values: [f32; 256],
    values_above_max: [f32; 256],
    incremented: [u8; 256],
    decremented: [u8; 256],
    count: usize,
    connected_from: u8,
    initial: u8,
}

impl PermanenceCodes {
    /// The codes for these parameters; `None` if more than [`MAX_CODES`] values can be reached, or one that is no
    /// number.
    pub fn of(params: &BacktrackingTmParams) -> Option<Self> {
        let (values, count) = reachable(params)?;
        let values = &values[..count];
        let code_of = |value: f32| {
            let code = values.iter().position(|known| known.to_bits() == value.to_bits());
            code.and_then(|code| u8::try_from(code).ok())
        };
        let last = *values.last()?;
        let mut codes = Self {
            values: [last; 256],
            values_above_max: [last + params.permanence_max; 256],
            incremented: [REMOVED; 256],
            decremented: [REMOVED; 256],
            count,
            connected_from: 0,
            initial: code_of(params.initial_permanence)?,
        };
        for (code, &value) in values.iter().enumerate() {
            codes.values[code] = value;
            codes.values_above_max[code] = value + params.permanence_max;
            codes.incremented[code] = code_of(incremented(params, value))?;
            codes.decremented[code] = match decremented(params, value) {
                Some(value) => code_of(value)?,
                None => REMOVED,
            };
        }
        let is_connected = |value: &f32| *value >= params.connected_permanence;
        codes.connected_from = u8::try_from(values.partition_point(|value| !is_connected(value))).ok()?;
        Some(codes)
    }

    /// How many codes there are.
    #[expect(clippy::len_without_is_empty, reason = "the initial value always has a code")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// What `code` stands for.
    #[inline]
    pub fn value(&self, code: u8) -> f32 {
        self.values[usize::from(code)]
    }

    /// That plus the greatest permanence, rounded as the reference rounds it.
    #[inline]
    pub fn value_above_max(&self, code: u8) -> f32 {
        self.values_above_max[usize::from(code)]
    }

    /// Per code: that of a synapse on an active cell after one step.
    #[inline]
    pub fn incremented(&self) -> &[u8; 256] {
        &self.incremented
    }

    /// Per code: that of a synapse on an inactive cell after one step, or [`REMOVED`].
    #[inline]
    pub fn decremented(&self) -> &[u8; 256] {
        &self.decremented
    }

    /// The first code of a connected synapse.
    #[inline]
    pub fn connected_from(&self) -> u8 {
        self.connected_from
    }

    /// The code of a new synapse.
    #[inline]
    pub fn initial(&self) -> u8 {
        self.initial
    }
}

/// The permanence of a synapse on an active cell after one step.
#[inline]
pub fn incremented(params: &BacktrackingTmParams, permanence: f32) -> f32 {
    at_most(params.permanence_max, permanence + params.permanence_increment)
}

/// The permanence of a synapse on an inactive cell after one step, if it is not removed.
#[inline]
pub fn decremented(params: &BacktrackingTmParams, permanence: f32) -> Option<f32> {
    let changed = at_most(params.permanence_max, permanence - params.permanence_decrement);
    (changed > 0.0).then_some(changed)
}

/// Not `f32::min`: a comparison with what is no number must fail as it does in the reference.
#[inline]
fn at_most(limit: f32, value: f32) -> f32 {
    if value > limit { limit } else { value }
}

/// Every value that the steps reach from the initial one, ascending, and how many they are.
fn reachable(params: &BacktrackingTmParams) -> Option<([f32; MAX_CODES], usize)> {
    let mut values = [params.initial_permanence; MAX_CODES];
    let (mut count, mut position) = (1, 0);
    while position < count {
        let value = values[position];
        if !value.is_finite() {
            return None;
        }
        for next in [Some(incremented(params, value)), decremented(params, value)].into_iter().flatten() {
            if !values[..count].iter().any(|known| known.to_bits() == next.to_bits()) {
                *values.get_mut(count)? = next;
                count += 1;
            }
        }
        position += 1;
    }
    values[..count].sort_unstable_by(f32::total_cmp);
    Some((values, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtracking_tm::tests::standard_params;

    #[test]
    fn the_standard_steps_reach_23_values() {
        let params = standard_params();
        let codes = PermanenceCodes::of(&params).expect("few values");
        assert_eq!(codes.len(), 23);
        assert_eq!(codes.connected_from(), 13);
        assert_eq!(codes.value(codes.initial()).to_bits(), 0.21f32.to_bits());
        for code in 0..23u8 {
            let value = codes.value(code);
            let up = codes.incremented()[usize::from(code)];
            assert_eq!(codes.value(up).to_bits(), incremented(&params, value).to_bits());
            let down = codes.decremented()[usize::from(code)];
            let expected = decremented(&params, value).map(f32::to_bits);
            assert_eq!((down != REMOVED).then(|| codes.value(down).to_bits()), expected);
            assert_eq!(code >= codes.connected_from(), value >= params.connected_permanence);
        }
    }

    #[test]
    fn steps_that_reach_too_many_values_have_no_codes() {
        let fine = BacktrackingTmParams {
            permanence_increment: 0.04,
            permanence_decrement: 0.008,
            ..standard_params()
        };
        assert_eq!(PermanenceCodes::of(&fine), None);
        let not_a_number = BacktrackingTmParams { permanence_increment: f32::NAN, ..standard_params() };
        assert_eq!(PermanenceCodes::of(&not_a_number), None);
    }
}
