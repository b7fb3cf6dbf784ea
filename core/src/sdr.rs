//! A sparse distributed representation: a fixed number of bits, few of them set.

use bitvec::order::Lsb0;
use bitvec::vec::BitVec;

/// A bit set of fixed width. Bit 0 is the least significant of the first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdr {
    bits: BitVec<u64, Lsb0>,
}

impl Sdr {
    /// All `width` bits clear.
    pub fn new(width: usize) -> Self {
        Self { bits: BitVec::repeat(false, width) }
    }

    /// Number of bits.
    pub fn width(&self) -> usize {
        self.bits.len()
    }

    /// Clears every bit.
    pub fn clear(&mut self) {
        self.bits.fill(false);
    }

    /// Sets one bit.
    ///
    /// # Panics
    /// If `index` is not below the width.
    pub fn set(&mut self, index: usize) {
        self.bits.set(index, true);
    }

    /// The active bits, ascending.
    pub fn active_bits(&self) -> impl Iterator<Item = usize> + '_ {
        self.bits.iter_ones()
    }
}
