//! A model file being put together, and one being taken apart into arrays.
//!
//! Writing appends one section after the other to reused memory, each with room to grow, so that a model opened
//! from the file rarely has to move an array. Taking apart copies nothing: every array is a piece of the region.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::FormatError;
use super::header::Header;
use super::mapping::{ALIGNMENT, Piece, Region};
use super::section::{ElementKind, SECTION_COUNT, SECTIONS, Section, SectionKind, TABLE_END};
use crate::array::{Array, Element};
use crate::ids::RowId;

/// Puts a file together.
#[derive(Debug)]
pub struct ImageWriter<'a> {
    file: &'a mut Vec<u8>,
    sections: Vec<Section>,
}

impl<'a> ImageWriter<'a> {
    /// Starts a file in `file`, whose old contents are dropped.
    pub fn new(file: &'a mut Vec<u8>) -> Self {
        file.clear();
        file.resize(TABLE_END, 0);
        Self { file, sections: Vec::with_capacity(SECTION_COUNT) }
    }

    /// Appends the next section: the elements in use, and room for `room` elements in all.
    ///
    /// # Panics
    /// If there are more sections than [`SECTIONS`], the id is not the next one's, or its elements are no `T`s.
    pub fn push<T: IntoBytes + Immutable>(&mut self, id: u32, used: &[T], room: usize) {
        let kind = SECTIONS[self.sections.len()];
        assert_eq!(kind.id, id, "the next section");
        let is_right = |elements: &&ElementKind| elements.size_bytes() as usize == size_of::<T>();
        let elements = *kind.elements.iter().find(is_right).expect("elements of the section's size");
        self.append(kind, elements, room, |file| file.extend_from_slice(used.as_bytes()));
    }

    /// Appends the next section, whose only kind of elements `write` appends as bytes.
    ///
    /// # Panics
    /// As [`Self::push`].
    pub fn push_written(&mut self, id: u32, room: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let kind = SECTIONS[self.sections.len()];
        assert_eq!(kind.id, id, "the next section");
        self.append(kind, kind.elements[0], room, write);
    }

    fn append(
        &mut self,
        kind: SectionKind,
        elements: ElementKind,
        room: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.file.len().next_multiple_of(ALIGNMENT);
        self.file.resize(start, 0);
        write(self.file);
        let used_bytes = self.file.len() - start;
        self.file.resize(start + used_bytes.max(room * elements.size_bytes() as usize), 0);
        let crc = crc32fast::hash(&self.file[start..]);
        let range = start..self.file.len();
        self.sections.push(Section { kind, elements, range, used_bytes, crc });
    }

    /// Completes the file.
    ///
    /// # Panics
    /// If sections are missing.
    pub fn finish(self, last_stepped_row_id: RowId, generation: &str) {
        assert_eq!(self.sections.len(), SECTION_COUNT, "sections");
        let generation = generation.to_owned();
        Header { last_stepped_row_id, generation, sections: self.sections }.write(self.file);
    }
}

/// Takes the sections of a file one after the other.
#[derive(Debug)]
pub struct ImageReader {
    sections: std::vec::IntoIter<(Section, Piece)>,
}

impl ImageReader {
    /// Cuts up the region that `header` was read from.
    pub fn new(region: Region, header: &Header) -> Self {
        let ranges: Vec<_> = header.sections.iter().map(|section| section.range.clone()).collect();
        let pieces = region.split(&ranges);
        let sections: Vec<_> = header.sections.iter().cloned().zip(pieces).collect();
        Self { sections: sections.into_iter() }
    }

    /// The next section as an array of its whole room, and how many elements are in use.
    ///
    /// # Errors
    /// If its elements are not `T`s.
    ///
    /// # Panics
    /// If the id is not the next one's.
    pub fn take<T: Element>(&mut self, id: u32) -> Result<(Array<T>, usize), FormatError> {
        let (section, piece) = self.sections.next().expect("every section is taken once");
        assert_eq!(section.kind.id, id, "the next section");
        let used = section.used();
        let size = section.elements.size_bytes();
        let is_right = size as usize == size_of::<T>();
        let array = Array::of_piece(piece).filter(|_| is_right);
        let expected = size_of::<T>();
        let reason = || format!("has elements of {size} bytes, expected {expected}");
        let name = section.kind.name;
        array.map(|array| (array, used)).ok_or_else(|| FormatError::Section { name, reason: reason() })
    }

    /// The next section, of which `used` elements must be in use.
    ///
    /// # Errors
    /// As [`Self::take`], or if another number is.
    ///
    /// # Panics
    /// As [`Self::take`].
    pub fn take_used<T: Element>(&mut self, id: u32, used: usize) -> Result<Array<T>, FormatError> {
        let name = self.sections.as_slice().first().map_or("", |(section, _)| section.kind.name);
        let (array, found) = self.take(id)?;
        if found == used {
            return Ok(array);
        }
        let reason = format!("has {found} elements, expected {used}");
        Err(FormatError::Section { name, reason })
    }

    /// The next section's single record, copied.
    ///
    /// # Errors
    /// If it is not one such record.
    ///
    /// # Panics
    /// As [`Self::take`].
    pub fn take_record<T: FromBytes + FromZeros>(&mut self, id: u32) -> Result<T, FormatError> {
        let (section, piece) = self.sections.next().expect("every section is taken once");
        assert_eq!(section.kind.id, id, "the next section");
        T::read_from_bytes(piece.bytes()).map_err(|_| FormatError::Section {
            name: section.kind.name,
            reason: format!("has {} bytes, expected one record of {}", piece.bytes().len(), size_of::<T>()),
        })
    }
}
