//! Bit sets in 64-bit words: bit `i` of a set is bit `i % 64` of word `i / 64`, least significant first.

/// Words needed for `bits` bits.
pub const fn words_for(bits: usize) -> usize {
    bits.div_ceil(64)
}

/// Whether bit `index` is set.
///
/// # Panics
/// If `index` lies outside `words`.
#[inline]
pub fn get(words: &[u64], index: usize) -> bool {
    words[index / 64] >> (index % 64) & 1 == 1
}

/// Sets bit `index`.
///
/// # Panics
/// If `index` lies outside `words`.
#[inline]
pub fn set(words: &mut [u64], index: usize) {
    words[index / 64] |= 1 << (index % 64);
}

/// Inverts bit `index`.
///
/// # Panics
/// If `index` lies outside `words`.
#[inline]
pub fn toggle(words: &mut [u64], index: usize) {
    words[index / 64] ^= 1 << (index % 64);
}

/// The indices of the set bits, ascending.
pub fn ones(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(word_idx, &word)| Ones(word).map(move |bit| word_idx * 64 + bit))
}

/// The set bits of one word, ascending.
#[derive(Debug, Clone)]
pub struct Ones(pub u64);

impl Iterator for Ones {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_lists_what_was_set() {
        let mut words = [0u64; 3];
        let indices = [0, 1, 63, 64, 100, 127, 128, 191];
        for index in indices {
            set(&mut words, index);
            assert!(get(&words, index));
        }
        assert_eq!(ones(&words).collect::<Vec<_>>(), indices);
        toggle(&mut words, 64);
        assert!(!get(&words, 64));
    }
}
