//! The section table: named arrays of plain numbers, each at a multiple of 64 bytes.

use std::collections::BTreeMap;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FormatError;
use super::header::HEADER_BYTES;

/// Sections start at multiples of this.
pub const ALIGNMENT: usize = 64;
/// Most sections a file may announce.
pub const MAX_SECTIONS: u32 = 256;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    id: U32,
    element_size_bytes: U32,
    offset: U64,
    size_bytes: U64,
}

/// Collects sections and lays them out.
#[derive(Debug, Default)]
pub struct SectionWriter<'a> {
    sections: Vec<(u32, usize, &'a [u8])>,
}

impl<'a> SectionWriter<'a> {
    /// Adds an array.
    pub fn push<T: IntoBytes + Immutable>(&mut self, id: u32, elements: &'a [T]) {
        self.sections.push((id, size_of::<T>(), elements.as_bytes()));
    }

    /// The file without its header (128 zero bytes), and the number of sections.
    ///
    /// # Panics
    /// If there are more than [`MAX_SECTIONS`].
    pub fn finish(self) -> (Vec<u8>, u32) {
        let count = u32::try_from(self.sections.len()).expect("a few dozen sections");
        assert!(count <= MAX_SECTIONS, "{count} sections");
        let table = HEADER_BYTES + self.sections.len() * size_of::<Entry>();
        let mut offset = table.next_multiple_of(ALIGNMENT);
        let mut entries = Vec::with_capacity(self.sections.len());
        for &(id, element_size, bytes) in &self.sections {
            entries.push(Entry {
                id: id.into(),
                element_size_bytes: u32::try_from(element_size).expect("a small record").into(),
                offset: (offset as u64).into(),
                size_bytes: (bytes.len() as u64).into(),
            });
            offset = (offset + bytes.len()).next_multiple_of(ALIGNMENT);
        }
        let mut file = vec![0; offset];
        file[HEADER_BYTES..table].copy_from_slice(entries.as_bytes());
        for (entry, (_, _, bytes)) in entries.iter().zip(&self.sections) {
            let start = usize::try_from(entry.offset.get()).expect("as laid out above");
            file[start..start + bytes.len()].copy_from_slice(bytes);
        }
        (file, count)
    }
}

/// The sections of a file, found but not yet read.
#[derive(Debug)]
pub struct SectionReader<'a> {
    sections: BTreeMap<u32, (u32, &'a [u8])>,
}

impl<'a> SectionReader<'a> {
    /// Reads the table of a whole file.
    ///
    /// # Errors
    /// If an entry points outside the file, is misaligned or doubled, or the table itself does not fit.
    pub fn new(file: &'a [u8], count: u32) -> Result<Self, FormatError> {
        let whole = |size: usize| FormatError::Size { found: file.len() as u64, expected: size as u64 };
        let count = count.min(MAX_SECTIONS + 1) as usize;
        let table = HEADER_BYTES + count * size_of::<Entry>();
        let entries = file.get(HEADER_BYTES..table).ok_or_else(|| whole(table))?;
        let entries = <[Entry]>::ref_from_bytes(entries).map_err(|_| whole(table))?;
        let mut sections = BTreeMap::new();
        for entry in entries {
            let id = entry.id.get();
            let error = |reason: &str| FormatError::Section { id, reason: reason.to_owned() };
            let start = usize::try_from(entry.offset.get()).map_err(|_| error("starts outside the file"))?;
            let size = usize::try_from(entry.size_bytes.get()).map_err(|_| error("ends outside the file"))?;
            let end = start.checked_add(size).ok_or_else(|| error("ends outside the file"))?;
            if start < table || start % ALIGNMENT != 0 {
                return Err(error("starts at a wrong place"));
            }
            let bytes = file.get(start..end).ok_or_else(|| error("ends outside the file"))?;
            if sections.insert(id, (entry.element_size_bytes.get(), bytes)).is_some() {
                return Err(error("is there twice"));
            }
        }
        Ok(Self { sections })
    }

    /// Takes the array with this id, of any length.
    ///
    /// # Errors
    /// If it is missing or its elements have another size.
    pub fn take<T: FromZeros + FromBytes + IntoBytes>(&mut self, id: u32) -> Result<Vec<T>, FormatError> {
        let error = |reason: String| FormatError::Section { id, reason };
        let (element_size, bytes) =
            self.sections.remove(&id).ok_or_else(|| error("is missing".to_owned()))?;
        if element_size as usize != size_of::<T>() || bytes.len() % size_of::<T>() != 0 {
            let expected = size_of::<T>();
            return Err(error(format!("has elements of {element_size} bytes, expected {expected}")));
        }
        let mut elements = T::new_vec_zeroed(bytes.len() / size_of::<T>())
            .map_err(|_| error(format!("of {} bytes does not fit into memory", bytes.len())))?;
        elements.as_mut_slice().as_mut_bytes().copy_from_slice(bytes);
        Ok(elements)
    }

    /// Takes the array with this id, which must have `len` elements.
    ///
    /// # Errors
    /// As [`Self::take`], or if it has another length.
    pub fn take_exact<T: FromZeros + FromBytes + IntoBytes>(
        &mut self,
        id: u32,
        len: usize,
    ) -> Result<Vec<T>, FormatError> {
        let elements = self.take(id)?;
        if elements.len() == len {
            return Ok(elements);
        }
        let reason = format!("has {} elements, expected {len}", elements.len());
        Err(FormatError::Section { id, reason })
    }

    /// Takes the single record with this id.
    ///
    /// # Errors
    /// As [`Self::take_exact`].
    pub fn take_one<T: FromZeros + FromBytes + IntoBytes>(&mut self, id: u32) -> Result<T, FormatError> {
        let mut elements = self.take_exact(id, 1)?;
        Ok(elements.remove(0))
    }

    /// Checks that every section was taken.
    ///
    /// # Errors
    /// If one is left.
    pub fn finish(self) -> Result<(), FormatError> {
        match self.sections.keys().next() {
            None => Ok(()),
            Some(&id) => Err(FormatError::Section { id, reason: "is unknown".to_owned() }),
        }
    }
}
