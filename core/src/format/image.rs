//! A model file being put together, and one being taken apart into arrays.
//!
//! Writing lists one section after the other where the model has it, each with room to grow, so that a model opened
//! from the file rarely has to move an array. Taking apart copies nothing either: every array is a piece of the region.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::FormatError;
use super::header::Header;
use super::mapping::{ALIGNMENT, Piece, Region};
use super::section::{ElementKind, Section, kind_of, table_end};
use crate::array::{Array, Element};
use crate::ids::RowId;

/// Room for growing is written from here, piece by piece.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A file as parts that lie where the model has them, so that writing it copies nothing.
#[derive(Debug)]
pub struct Image<'a> {
    head: Vec<u8>,
    parts: Vec<Part<'a>>,
    len: usize,
}

#[derive(Debug)]
enum Part<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    Zeros(usize),
}

impl Image<'_> {
    /// Size of the file.
    pub fn size_bytes(&self) -> usize {
        self.len
    }

    /// The file's bytes, in order.
    pub fn slices(&self) -> Vec<&[u8]> {
        let mut slices = vec![&*self.head];
        for part in &self.parts {
            match part {
                Part::Borrowed(bytes) => slices.push(bytes),
                Part::Owned(bytes) => slices.push(bytes),
                Part::Zeros(count) => {
                    slices.extend(std::iter::repeat_n(&ZEROS[..], count / ZEROS.len()));
                    slices.push(&ZEROS[..count % ZEROS.len()]);
                }
            }
        }
        slices.retain(|slice| !slice.is_empty());
        slices
    }
}

/// Puts a file together.
#[derive(Debug)]
pub struct ImageWriter<'a> {
    parts: Vec<Part<'a>>,
    /// Their ranges are counted from the first section's place, until it is known how long the table is.
    sections: Vec<Section>,
    len: usize,
}

impl Default for ImageWriter<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> ImageWriter<'a> {
    /// Starts a file.
    pub fn new() -> Self {
        Self { parts: Vec::new(), sections: Vec::new(), len: 0 }
    }

    /// Appends the next section: the elements in use, and room for `room` elements in all.
    ///
    /// # Panics
    /// If the id is unknown or not above the last one's, or its elements are no `T`s.
    pub fn push<T: IntoBytes + Immutable>(&mut self, id: u32, used: &'a [T], room: usize) {
        self.append(id, size_of::<T>(), room, Part::Borrowed(used.as_bytes()));
    }

    /// Same, of elements that belong to nobody else.
    ///
    /// # Panics
    /// As [`Self::push`].
    pub fn push_owned<T: IntoBytes + Immutable>(&mut self, id: u32, used: &[T], room: usize) {
        self.append(id, size_of::<T>(), room, Part::Owned(used.as_bytes().to_vec()));
    }

    fn append(&mut self, id: u32, element_size: usize, room: usize, used: Part<'a>) {
        let kind = kind_of(id);
        assert!(self.sections.last().is_none_or(|last| last.kind.id < id), "section {id} comes too late");
        let is_right = |elements: &&ElementKind| elements.size_bytes() as usize == element_size;
        let elements = *kind.elements.iter().find(is_right).expect("elements of the section's size");
        let bytes = match &used {
            Part::Borrowed(bytes) => bytes,
            Part::Owned(bytes) => &**bytes,
            Part::Zeros(_) => &[],
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(bytes);
        let (used_bytes, start) = (bytes.len(), self.len.next_multiple_of(ALIGNMENT));
        let end = start + used_bytes.max(room * element_size);
        let mut rest = end - start - used_bytes;
        let zeros = rest;
        while rest > 0 {
            let piece = rest.min(ZEROS.len());
            hasher.update(&ZEROS[..piece]);
            rest -= piece;
        }
        self.parts.extend([Part::Zeros(start - self.len), used, Part::Zeros(zeros)]);
        self.len = end;
        let crc = hasher.finalize();
        self.sections.push(Section { kind, elements, range: start..end, used_bytes, crc });
    }

    /// Completes the file.
    ///
    /// # Panics
    /// If the generation is too long.
    pub fn finish(mut self, last_stepped_row_id: RowId, generation: &str) -> Image<'a> {
        let generation = generation.to_owned();
        let first = table_end(self.sections.len()).next_multiple_of(ALIGNMENT);
        for section in &mut self.sections {
            section.range = section.range.start + first..section.range.end + first;
        }
        let header = Header { last_stepped_row_id, generation, sections: self.sections };
        let len = first + self.len;
        let mut head = vec![0; first];
        header.write(&mut head, len);
        Image { head, parts: self.parts, len }
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
    /// If it is another one, or its elements are not `T`s.
    pub fn take<T: Element>(&mut self, id: u32) -> Result<(Array<T>, usize), FormatError> {
        let (section, piece) = self.next(id)?;
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
    pub fn take_used<T: Element>(&mut self, id: u32, used: usize) -> Result<Array<T>, FormatError> {
        let (array, found) = self.take(id)?;
        if found == used {
            return Ok(array);
        }
        let reason = format!("has {found} elements, expected {used}");
        Err(FormatError::Section { name: kind_of(id).name, reason })
    }

    /// The next section's single record, copied.
    ///
    /// # Errors
    /// If it is not one such record, or another section.
    pub fn take_record<T: FromBytes + FromZeros>(&mut self, id: u32) -> Result<T, FormatError> {
        let (section, piece) = self.next(id)?;
        T::read_from_bytes(piece.bytes()).map_err(|_| FormatError::Section {
            name: section.kind.name,
            reason: format!("has {} bytes, expected one record of {}", piece.bytes().len(), size_of::<T>()),
        })
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// If there is another section.
    pub fn finish(mut self) -> Result<(), FormatError> {
        let Some((section, _)) = self.sections.next() else { return Ok(()) };
        let reason = "is not called for by the parameters".to_owned();
        Err(FormatError::Section { name: section.kind.name, reason })
    }

    fn next(&mut self, id: u32) -> Result<(Section, Piece), FormatError> {
        let next = self.sections.next();
        next.filter(|(section, _)| section.kind.id == id).ok_or_else(|| FormatError::Section {
            name: kind_of(id).name,
            reason: "is missing, although the parameters call for it".to_owned(),
        })
    }
}
