//! Blocks of a few sizes (8, 12, 16, 24, 32, ... elements) in an array that only grows: where the synapses of segments
//! and the postings of columns lie.
//!
//! A list that outgrows its block moves to a larger one and leaves the old one to others; free blocks of a size form a
//! chain through their first elements. The array is the caller's: this file only hands out places in it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of block sizes; the largest has more elements than there can be segments.
pub const SIZE_CLASSES: usize = 45;

const SIZE_CLASSES_U8: u8 = 45;
const _: () = assert!(SIZE_CLASSES_U8 as usize == SIZE_CLASSES);

/// Class of a list that has no block.
pub const NO_CLASS: u8 = u8::MAX;

/// Marks the end of a chain of free blocks.
pub const NO_BLOCK: u32 = u32::MAX;

/// Elements of a block of `class`; 0 for [`NO_CLASS`].
///
/// # Panics
/// If there is no such class.
pub const fn block_len(class: u8) -> usize {
    if class == NO_CLASS {
        return 0;
    }
    assert!(class < SIZE_CLASSES_U8, "a size class that does not exist");
    let base = 8 << (class / 2);
    if class % 2 == 1 { base + base / 2 } else { base }
}

/// The class of the smallest block that holds `count` elements.
///
/// # Panics
/// If no block does.
pub fn smallest_class(count: usize) -> u8 {
    assert!(count <= block_len(SIZE_CLASSES_U8 - 1), "{count} elements in a block");
    let Some(power) = (count.saturating_sub(1) / 8).checked_ilog2() else { return 0 };
    // More than 8 << power, and at most twice that.
    let even = u8::try_from(2 * power).expect("a logarithm is small");
    if count <= block_len(even + 1) { even + 1 } else { even + 2 }
}

/// An array whose elements can hold the offset of another block.
pub trait Links {
    /// The offset written at `at`.
    fn link(&self, at: u32) -> u32;

    /// Writes an offset at `at`.
    fn set_link(&mut self, at: u32, link: u32);
}

impl Links for [u32] {
    fn link(&self, at: u32) -> u32 {
        self[at as usize]
    }

    fn set_link(&mut self, at: u32, link: u32) {
        self[at as usize] = link;
    }
}

/// Two elements hold an offset, low half first.
impl Links for [u16] {
    fn link(&self, at: u32) -> u32 {
        let halves = &self[at as usize..][..2];
        u32::from(halves[0]) | u32::from(halves[1]) << 16
    }

    fn set_link(&mut self, at: u32, link: u32) {
        let bytes = link.to_le_bytes();
        let halves = &mut self[at as usize..][..2];
        halves[0] = u16::from_le_bytes([bytes[0], bytes[1]]);
        halves[1] = u16::from_le_bytes([bytes[2], bytes[3]]);
    }
}

/// Which places of an array are handed out.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Blocks {
    /// Elements handed out so far, in use or free.
    pub used: u32,
    /// The free block of each class that was freed last, [`NO_BLOCK`] for none.
    pub free: [u32; SIZE_CLASSES],
}

impl Blocks {
    /// Nothing handed out.
    pub const fn new() -> Self {
        Self { used: 0, free: [NO_BLOCK; SIZE_CLASSES] }
    }

    /// Hands out a block of `class` and returns its offset.
    ///
    /// # Panics
    /// If it would end beyond 2^32 elements. That it lies inside the array is for [`super::room`] to see to.
    pub fn take<L: Links + ?Sized>(&mut self, array: &L, class: u8) -> u32 {
        let free = self.free[usize::from(class)];
        if free != NO_BLOCK {
            self.free[usize::from(class)] = array.link(free);
            return free;
        }
        let start = self.used;
        let end = start as usize + block_len(class);
        self.used = u32::try_from(end).expect("at most 2^32 elements");
        start
    }

    /// Takes a block back.
    ///
    /// # Panics
    /// If it lies outside the array.
    pub fn give<L: Links + ?Sized>(&mut self, array: &mut L, class: u8, start: u32) {
        array.set_link(start, self.free[usize::from(class)]);
        self.free[usize::from(class)] = start;
    }
}

impl Default for Blocks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_class_is_the_first_that_holds_the_elements() {
        for count in (0..5000).chain([65_535, 65_536, 65_537, 1 << 25]) {
            let first = (0..SIZE_CLASSES_U8).find(|&class| block_len(class) >= count);
            assert_eq!(Some(smallest_class(count)), first, "{count}");
        }
    }

    #[test]
    fn a_block_given_back_is_the_next_of_its_size() {
        fn check<L: Links + ?Sized>(array: &mut L) {
            let mut blocks = Blocks::new();
            let taken = [0, 1, 0, 2].map(|class| blocks.take(array, class));
            assert_eq!(taken, [0, 8, 20, 28]);
            blocks.give(array, 0, 0);
            blocks.give(array, 0, 20);
            assert_eq!([0, 0, 0].map(|class| blocks.take(array, class)), [20, 0, 44]);
            assert_eq!(blocks.used, 52);
        }
        check(&mut [0u32; 60][..]);
        check(&mut [0u16; 60][..]);
    }
}
