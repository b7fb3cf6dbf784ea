//! Overlap: how many connected synapses of each column are on active inputs.
//!
//! Idea: hold the counters of 64 columns vertically, one bit of each count per word ("planes"), and add the
//! active inputs' connected rows to them like a chain of full adders. Three rows are first compressed into a sum
//! and a carry word, so that most additions touch two planes. No column is visited; 42 rows of 256 bytes are.
//!
//! A count over all 2048 columns by AND and popcount reads twelve times as much memory.

use super::MAX_PLANES;

/// Adds up the rows of `active_inputs` into `planes` (`MAX_PLANES x row_words`): bit `p` of the overlap of
/// column `c` is bit `c` of plane `p`. Returns how many planes may be non-zero; the rest is zeroed.
///
/// # Panics
/// If an input has no row, if there are more inputs than the planes can count, or if `planes` has another length.
pub fn count(connected_rows: &[u64], row_words: usize, active_inputs: &[u16], planes: &mut [u64]) -> usize {
    assert_eq!(planes.len(), MAX_PLANES * row_words, "planes x row words");
    assert!(
        active_inputs.len() < 1 << MAX_PLANES,
        "{} active inputs overflow the planes",
        active_inputs.len()
    );
    let used = (usize::BITS - active_inputs.len().leading_zeros()) as usize;
    planes.fill(0);
    let mut offset = 0;
    while offset < row_words {
        // Eight words at a time stay in registers; the last chunk of a narrow region may be shorter.
        let width = (row_words - offset).min(LANES);
        let mut counters = [[0u64; LANES]; MAX_PLANES];
        let row = |input: u16| {
            let mut lanes = [0u64; LANES];
            lanes[..width]
                .copy_from_slice(&connected_rows[usize::from(input) * row_words + offset..][..width]);
            lanes
        };
        let mut triples = active_inputs.chunks_exact(3);
        for triple in &mut triples {
            let (sum, carry) = compress(row(triple[0]), row(triple[1]), row(triple[2]));
            add(&mut counters[..used], sum);
            add(&mut counters[1..used], carry);
        }
        for &input in triples.remainder() {
            add(&mut counters[..used], row(input));
        }
        for (plane, lanes) in counters[..used].iter().enumerate() {
            planes[plane * row_words + offset..][..width].copy_from_slice(&lanes[..width]);
        }
        offset += width;
    }
    used
}

/// The overlap of one column, read back from the planes.
pub fn of_column(planes: &[u64], row_words: usize, column: usize) -> u32 {
    (0..MAX_PLANES)
        .map(|plane| u32::from(crate::word::get(&planes[plane * row_words..][..row_words], column)) << plane)
        .sum()
}

const LANES: usize = 8;

/// Full adder on three rows: per column, `sum + 2 * carry` is the number of rows that have it.
#[inline]
fn compress(a: [u64; LANES], b: [u64; LANES], c: [u64; LANES]) -> ([u64; LANES], [u64; LANES]) {
    let mut sum = [0; LANES];
    let mut carry = [0; LANES];
    for lane in 0..LANES {
        let half = a[lane] ^ b[lane];
        sum[lane] = half ^ c[lane];
        carry[lane] = (a[lane] & b[lane]) | (half & c[lane]);
    }
    (sum, carry)
}

/// Adds one bit per column to vertical counters.
#[inline]
fn add(counters: &mut [[u64; LANES]], mut bits: [u64; LANES]) {
    for counter in counters {
        for lane in 0..LANES {
            let carry = counter[lane] & bits[lane];
            counter[lane] ^= bits[lane];
            bits[lane] = carry;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_what_a_loop_counts(
            columns in 1usize..700,
            rows in proptest::collection::vec(any::<u64>(), 60),
            active in proptest::collection::btree_set(0u16..60, 0..60),
        ) {
            let row_words = word::words_for(columns);
            let mut connected = Vec::new();
            for (input, seed) in rows.iter().enumerate() {
                for index in 0..row_words {
                    connected.push(seed.rotate_left(u32::try_from(input + 7 * index).expect("small")));
                }
            }
            let active: Vec<u16> = active.into_iter().collect();
            let mut planes = vec![0; MAX_PLANES * row_words];
            count(&connected, row_words, &active, &mut planes);
            for column in 0..columns {
                let expected = active
                    .iter()
                    .filter(|&&input| word::get(&connected[usize::from(input) * row_words..], column))
                    .count();
                prop_assert_eq!(of_column(&planes, row_words, column) as usize, expected);
            }
        }
    }
}
