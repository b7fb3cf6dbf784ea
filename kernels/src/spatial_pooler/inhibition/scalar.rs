//! Radix selection on bit planes, portable; the other instruction sets compile the same text, because all it needs
//! of them is a fast count and index of set bits.

use super::MAX_ROW_WORDS;
use crate::MAX_ACTIVE_COLUMNS;
use crate::word::words_for;

/// Indices written for every word without asking whether it has them; more is rare and loops.
const AT_ONCE: usize = 2;

/// As [`super::select`], whose assertions hold.
pub(super) fn select(planes: &[u64], used_planes: usize, columns: usize, winners: &mut [u16]) {
    select_on_words(planes, used_planes, columns, winners);
}

/// As [`super::select`], for whatever instruction set it is compiled into.
#[inline(always)]
pub(super) fn select_on_words(planes: &[u64], used_planes: usize, columns: usize, winners: &mut [u16]) {
    let row_words = words_for(columns);
    let mut chosen = [0u64; MAX_ROW_WORDS];
    let mut undecided = [0u64; MAX_ROW_WORDS];
    undecided[..columns / 64].fill(u64::MAX);
    if !columns.is_multiple_of(64) {
        undecided[columns / 64] = (1 << (columns % 64)) - 1;
    }
    let (chosen, undecided) = (&mut chosen[..row_words], &mut undecided[..row_words]);
    let mut wanted = winners.len();
    for plane in (0..used_planes).rev() {
        let plane = &planes[plane * row_words..][..row_words];
        let stronger: u32 = plane.iter().zip(&*undecided).map(|(p, u)| (p & u).count_ones()).sum();
        let stronger = stronger as usize;
        if stronger <= wanted {
            wanted -= stronger;
            for ((chosen, undecided), plane) in chosen.iter_mut().zip(&mut *undecided).zip(plane) {
                *chosen |= *undecided & plane;
                *undecided &= !plane;
            }
        } else {
            for (undecided, plane) in undecided.iter_mut().zip(plane) {
                *undecided &= plane;
            }
        }
    }
    take_highest(chosen, undecided, wanted);
    list(chosen, winners);
}

/// Moves the `wanted` highest of the equal columns to the chosen ones.
#[inline(always)]
fn take_highest(chosen: &mut [u64], equals: &[u64], mut wanted: usize) {
    for (chosen, &equals) in chosen.iter_mut().zip(equals).rev() {
        let mut taken = equals;
        let mut surplus = (taken.count_ones() as usize).saturating_sub(wanted);
        wanted -= taken.count_ones() as usize - surplus;
        while surplus > 0 {
            taken &= taken - 1;
            surplus -= 1;
        }
        *chosen |= taken;
        if wanted == 0 {
            break;
        }
    }
}

/// Writes the indices of the set bits, ascending; there are exactly as many as `winners` holds.
#[inline(always)]
fn list(chosen: &[u64], winners: &mut [u16]) {
    let mut indices = [0u16; MAX_ACTIVE_COLUMNS + AT_ONCE];
    let mut count = 0;
    let mut first = 0;
    for &word in chosen {
        let mut rest = word;
        let next = count + word.count_ones() as usize;
        let mut write = |at: usize| {
            #[expect(clippy::cast_possible_truncation, reason = "0..=64")]
            let bit = rest.trailing_zeros() as u16;
            indices[at] = first + bit;
            rest &= rest.wrapping_sub(1);
        };
        // Most words have no more: no branch that could be mispredicted.
        for offset in 0..AT_ONCE {
            write(count + offset);
        }
        for at in count + AT_ONCE..next {
            write(at);
        }
        count = next;
        first += 64;
    }
    winners.copy_from_slice(&indices[..winners.len()]);
}
