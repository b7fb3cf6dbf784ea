//! The reference: eight counters at a time, by arithmetic on a word.

use super::{After, Block};
use crate::backtracking_tm::state::Found;
use crate::word::Ones;

/// Counters looked at together.
const BLOCK: usize = 64;

pub(super) fn scan(block: Block<'_>, found: &mut Found<'_>) {
    let Block { counters, first_id, threshold, after } = block;
    for (counters, first_id) in counters.chunks_mut(BLOCK).zip((first_id..).step_by(BLOCK)) {
        // The maximum of 64 counters is a handful of vector instructions where there are any.
        if counters.iter().fold(0, |most, &active| most.max(active)) >= threshold {
            let (words, rest) = counters.as_chunks::<8>();
            for (word, id) in words.iter().zip((first_id..).step_by(8)) {
                for bit in Ones(reached(u64::from_le_bytes(*word), threshold)) {
                    let place = bit / 8;
                    push(found, id + u32::try_from(place).expect("below 8"), word[place]);
                }
            }
            let rest_id = first_id + u32::try_from(words.len() * 8).expect("at most 64");
            for (id, &active) in (rest_id..).zip(rest).filter(|(_, active)| **active >= threshold) {
                push(found, id, active);
            }
        }
        if after == After::Clear {
            counters.fill(0);
        }
    }
}

#[inline]
fn push(found: &mut Found<'_>, segment: u32, active: u8) {
    found.segments[found.count] = segment;
    found.activity[found.count] = active;
    found.count += 1;
}

/// The top bit of each of eight counters that reaches the threshold, which is at most 64. Without its top bit, adding
/// `128 - threshold` to a counter carries into its own top bit and no further.
#[inline]
fn reached(counters: u64, threshold: u8) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = counters & (127 * EACH);
    ((low + u64::from(128 - threshold) * EACH) | counters) & (128 * EACH)
}
