//! The header of a checkpoint: from bytes to checked values.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FormatError;
use crate::ids::RowId;

/// First bytes of every checkpoint.
pub const MAGIC: [u8; 8] = *b"HTMMODEL";
/// The version this program writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Longest generation name.
pub const MAX_GENERATION_BYTES: usize = 32;

/// The header as it lies in the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    magic: [u8; 8],
    format_version: U32,
    section_count: U32,
    file_size_bytes: U64,
    last_stepped_row_id: I64,
    generation: [u8; MAX_GENERATION_BYTES],
    payload_crc: U32,
    header_crc: U32,
    reserved: [u8; 56],
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_BYTES);
const _: () = assert!(std::mem::offset_of!(RawHeader, generation) == 32);
const _: () = assert!(std::mem::offset_of!(RawHeader, header_crc) == 68);

/// Size of the header.
pub const HEADER_BYTES: usize = 128;

/// A header that has been checked against its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Entries of the section table.
    pub section_count: u32,
    /// The last row the model has learned.
    pub last_stepped_row_id: RowId,
    /// Which life of the metric's model this is.
    pub generation: String,
}

impl Header {
    /// Checks the header of a whole file.
    ///
    /// # Errors
    /// Anything that shows that the file is not a whole, undamaged checkpoint of this version.
    pub fn of(file: &[u8]) -> Result<Self, FormatError> {
        let (raw, payload) = RawHeader::read_from_prefix(file)
            .map_err(|_| FormatError::Size { found: file.len() as u64, expected: HEADER_BYTES as u64 })?;
        if raw.magic != MAGIC {
            return Err(FormatError::Magic { found: raw.magic });
        }
        if raw.format_version.get() != FORMAT_VERSION {
            return Err(FormatError::Version { found: raw.format_version.get(), expected: FORMAT_VERSION });
        }
        check_sum("header", raw.header_crc.get(), sum_of_header(raw))?;
        if raw.file_size_bytes.get() != file.len() as u64 {
            return Err(FormatError::Size { found: file.len() as u64, expected: raw.file_size_bytes.get() });
        }
        check_sum("contents", raw.payload_crc.get(), crc32fast::hash(payload))?;
        let generation = raw.generation.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(Self {
            section_count: raw.section_count.get(),
            last_stepped_row_id: RowId(raw.last_stepped_row_id.get()),
            generation: String::from_utf8_lossy(generation).into_owned(),
        })
    }

    /// The header's fields without any check of sums, so that tests can forge a file.
    #[cfg(test)]
    pub(super) fn of_unchecked_for_tests(file: &[u8]) -> Result<Self, FormatError> {
        let (raw, _) =
            RawHeader::read_from_prefix(file).map_err(|_| FormatError::Size { found: 0, expected: 0 })?;
        let generation = String::from_utf8_lossy(&raw.generation).into_owned();
        let last_stepped_row_id = RowId(raw.last_stepped_row_id.get());
        Ok(Self { section_count: raw.section_count.get(), last_stepped_row_id, generation })
    }

    /// Writes the header of `file`, whose contents after it are complete, over its first bytes.
    ///
    /// # Panics
    /// If the generation is longer than [`MAX_GENERATION_BYTES`] or the file shorter than a header.
    pub fn write(&self, file: &mut [u8]) {
        let mut generation = [0; MAX_GENERATION_BYTES];
        generation[..self.generation.len()].copy_from_slice(self.generation.as_bytes());
        let mut raw = RawHeader {
            magic: MAGIC,
            format_version: FORMAT_VERSION.into(),
            section_count: self.section_count.into(),
            file_size_bytes: (file.len() as u64).into(),
            last_stepped_row_id: self.last_stepped_row_id.0.into(),
            generation,
            payload_crc: crc32fast::hash(&file[HEADER_BYTES..]).into(),
            header_crc: 0.into(),
            reserved: [0; 56],
        };
        raw.header_crc = sum_of_header(raw).into();
        file[..HEADER_BYTES].copy_from_slice(raw.as_bytes());
    }
}

fn sum_of_header(mut raw: RawHeader) -> u32 {
    raw.header_crc = 0.into();
    crc32fast::hash(raw.as_bytes())
}

fn check_sum(part: &'static str, expected: u32, found: u32) -> Result<(), FormatError> {
    if found == expected { Ok(()) } else { Err(FormatError::Checksum { part, found, expected }) }
}
