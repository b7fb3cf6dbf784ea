//! Portable overlap counts, and the adder tree that the other instruction sets compile for their registers.
//!
//! The tree is Harley and Seal's (Warren, "Hacker's Delight", population count of arrays), used across rows.

/// Adds `rows` to the counters in `planes`, one word at a time.
pub(super) fn add_rows<const PLANES: usize>(rows: &[&[u64]], row_words: usize, planes: &mut [u64]) {
    add_in_blocks::<1, PLANES>(rows, row_words, planes);
}

/// Adds `rows` to the counters in the first `PLANES` planes, `LANES` words at a time; what is left of a row that is
/// no multiple of that, one word at a time.
#[inline(always)]
pub(super) fn add_in_blocks<const LANES: usize, const PLANES: usize>(
    rows: &[&[u64]],
    row_words: usize,
    planes: &mut [u64],
) {
    let mut offset = 0;
    while offset + LANES <= row_words {
        add_block::<LANES, PLANES>(rows, row_words, offset, planes);
        offset += LANES;
    }
    while offset < row_words {
        add_block::<1, PLANES>(rows, row_words, offset, planes);
        offset += 1;
    }
}

#[inline(always)]
fn add_block<const LANES: usize, const PLANES: usize>(
    rows: &[&[u64]],
    row_words: usize,
    offset: usize,
    planes: &mut [u64],
) {
    let lanes = |row: &[u64]| *row[offset..].first_chunk::<LANES>().expect("a row has `row_words` words");
    let mut counters = [[0u64; LANES]; PLANES];
    for (plane, counter) in counters.iter_mut().enumerate() {
        *counter = lanes(&planes[plane * row_words..]);
    }
    let (eights, rest) = rows.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in eights {
        let twos_1 = add_two(&mut counters[0], lanes(a), lanes(b));
        let twos_2 = add_two(&mut counters[0], lanes(c), lanes(d));
        let fours_1 = add_two(&mut counters[1], twos_1, twos_2);
        let twos_1 = add_two(&mut counters[0], lanes(e), lanes(f));
        let twos_2 = add_two(&mut counters[0], lanes(g), lanes(h));
        let fours_2 = add_two(&mut counters[1], twos_1, twos_2);
        let eights = add_two(&mut counters[2], fours_1, fours_2);
        ripple::<LANES, PLANES>(&mut counters, 3, eights);
    }
    for pair in rest.chunks(2) {
        let second = pair.get(1).map_or([0; LANES], |row| lanes(row));
        let twos = add_two(&mut counters[0], lanes(pair[0]), second);
        ripple::<LANES, PLANES>(&mut counters, 1, twos);
    }
    for (plane, counter) in counters.iter().enumerate() {
        planes[plane * row_words + offset..][..LANES].copy_from_slice(counter);
    }
}

/// Full adder: the counter keeps the lowest bit of the sum of three, the carry is returned.
#[inline(always)]
fn add_two<const LANES: usize>(counter: &mut [u64; LANES], a: [u64; LANES], b: [u64; LANES]) -> [u64; LANES] {
    let mut carry = [0; LANES];
    for lane in 0..LANES {
        let half = counter[lane] ^ a[lane];
        carry[lane] = (counter[lane] & a[lane]) | (half & b[lane]);
        counter[lane] = half ^ b[lane];
    }
    carry
}

/// Adds one bit per column to the counters from plane `from` up.
#[inline(always)]
fn ripple<const LANES: usize, const PLANES: usize>(
    counters: &mut [[u64; LANES]; PLANES],
    from: usize,
    mut bits: [u64; LANES],
) {
    for counter in &mut counters[from..] {
        for lane in 0..LANES {
            let carry = counter[lane] & bits[lane];
            counter[lane] ^= bits[lane];
            bits[lane] = carry;
        }
    }
}
