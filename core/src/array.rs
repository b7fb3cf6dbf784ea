//! An array of plain numbers that belongs to a model: a section of its mapped file, or memory of its own.
//!
//! A model opened from a checkpoint works directly on the file's image; an array that outgrows its section moves
//! into memory of its own. Nobody who uses an array can tell the difference. Arrays are as long as their *room*; how
//! much of it is in use is said by the counts beside them.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::format::mapping::{Piece, Region};

/// What an array may hold: plain numbers and records of them.
pub trait Element: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy> Element for T {}

/// A mutable slice that owns its memory.
#[derive(Debug)]
pub struct Array<T> {
    piece: Option<Piece>,
    elements: PhantomData<T>,
}

impl<T: Element> Array<T> {
    /// Without elements, and without memory.
    pub const fn empty() -> Self {
        Self { piece: None, elements: PhantomData }
    }

    /// `len` zeros, which cost no memory until they are written if there are many of them.
    pub fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self::empty();
        }
        let bytes = len * size_of::<T>();
        let whole = 0..bytes;
        let piece = Region::zeroed(bytes).split(&[whole]).pop();
        Self { piece, elements: PhantomData }
    }

    /// `len` times `value`.
    pub fn filled(len: usize, value: T) -> Self {
        let mut array = Self::zeroed(len);
        array.fill(value);
        array
    }

    /// A copy of `elements`.
    pub fn copy_of(elements: &[T]) -> Self {
        let mut array = Self::zeroed(elements.len());
        array.copy_from_slice(elements);
        array
    }

    /// A section as an array; `None` if it is no whole number of elements or begins at a wrong place.
    pub fn of_piece(piece: Piece) -> Option<Self> {
        <[T]>::ref_from_bytes(piece.bytes())
            .is_ok()
            .then_some(Self { piece: Some(piece), elements: PhantomData })
    }

    /// Bytes of memory that are its own, not a section's.
    pub fn own_bytes(&self) -> usize {
        self.piece.as_ref().filter(|piece| piece.is_whole()).map_or(0, |piece| piece.bytes().len())
    }

    /// Makes room for at least `len` elements, keeping those there are. The room is zeroed.
    pub fn grow(&mut self, len: usize) {
        if len > self.len() {
            let mut grown = Self::zeroed(len);
            grown[..self.len()].copy_from_slice(self);
            *self = grown;
        }
    }
}

impl<T: Element> Default for Array<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Element> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self::copy_of(self)
    }
}

impl<T: Element + PartialEq> PartialEq for Array<T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T: Element> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let bytes = self.piece.as_ref().map_or(&[][..], Piece::bytes);
        <[T]>::ref_from_bytes(bytes).unwrap_or(&[])
    }
}

impl<T: Element> DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.piece {
            Some(piece) => <[T]>::mut_from_bytes(piece.bytes_mut()).unwrap_or(&mut []),
            None => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_that_outgrows_its_section_keeps_its_elements() {
        let pieces = Region::copy_of(&[1; 24]).split(&[0..16, 16..24]);
        let mut arrays = pieces.into_iter().map(|piece| Array::<u32>::of_piece(piece).expect("whole"));
        let (mut first, second) = (arrays.next().expect("two"), arrays.next().expect("two"));
        first.grow(10);
        first[9] = 5;
        assert_eq!(first[..], [0x0101_0101, 0x0101_0101, 0x0101_0101, 0x0101_0101, 0, 0, 0, 0, 0, 5]);
        assert_eq!(second[..], [0x0101_0101, 0x0101_0101]);
    }

    #[test]
    fn a_section_of_another_shape_is_no_array() {
        let mut pieces = Region::zeroed(200).split(&[0..15, 66..74, 128..136]);
        assert!(Array::<u64>::of_piece(pieces.remove(0)).is_none(), "15 bytes");
        assert!(Array::<u64>::of_piece(pieces.remove(0)).is_none(), "misaligned");
        assert!(Array::<u64>::of_piece(pieces.remove(0)).is_some());
        assert!(Array::<f64>::empty().is_empty());
    }
}
