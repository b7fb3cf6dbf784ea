//! The header of a model file: from bytes to checked values.
//!
//! Its checksum covers header and section table, so that opening a file proves where everything lies without
//! touching the sections; each section has a checksum of its own.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FormatError;
use super::section::{SECTIONS, Section, table_end};
use crate::ids::RowId;

/// First bytes of every model file.
pub const MAGIC: [u8; 8] = *b"HTMMODEL";
/// The version this program writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 4;
/// Longest generation name.
pub const MAX_GENERATION_BYTES: usize = 32;
/// Size of the header.
pub const HEADER_BYTES: usize = 128;
/// Longest header and section table.
pub const MAX_HEAD_BYTES: usize = table_end(SECTIONS.len());

/// The header as it lies in the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    format_version: U32,
    section_count: U32,
    file_size_bytes: U64,
    last_stepped_row_id: I64,
    generation: [u8; MAX_GENERATION_BYTES],
    crc: U32,
    reserved: [u8; 60],
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_BYTES);
const _: () = assert!(std::mem::offset_of!(RawHeader, generation) == 32);
const _: () = assert!(std::mem::offset_of!(RawHeader, crc) == 64);

/// A header and section table that have been checked against their file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The last row the model has learned.
    pub last_stepped_row_id: RowId,
    /// Which life of the metric's model this is.
    pub generation: String,
    /// The sections, in file order.
    pub sections: Vec<Section>,
}

impl Header {
    /// Checks the header and the table of a whole file, not the sections' contents.
    ///
    /// # Errors
    /// Anything that shows that the file is not a whole model file of this version.
    pub fn of(file: &[u8]) -> Result<Self, FormatError> {
        Self::of_head(file, file.len())
    }

    /// As [`Self::of`] from the first [`MAX_HEAD_BYTES`] of a file of `file_bytes`.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_head(head: &[u8], file_bytes: usize) -> Result<Self, FormatError> {
        let found = file_bytes as u64;
        let (raw, _) = RawHeader::read_from_prefix(head)
            .map_err(|_| FormatError::Size { found, expected: HEADER_BYTES as u64 })?;
        if raw.magic != MAGIC {
            return Err(FormatError::Magic { found: raw.magic });
        }
        if raw.format_version.get() != FORMAT_VERSION {
            return Err(FormatError::Version { found: raw.format_version.get(), expected: FORMAT_VERSION });
        }
        let count = raw.section_count.get() as usize;
        if count > SECTIONS.len() {
            let reason = format!("it has {count} sections, at most {} are known", SECTIONS.len());
            return Err(FormatError::Bounds { reason });
        }
        let end = table_end(count);
        let table = head.get(HEADER_BYTES..end);
        let table = table.ok_or(FormatError::Size { found, expected: end as u64 })?;
        check_sum("header", sum(raw, table), raw.crc.get())?;
        if raw.file_size_bytes.get() != found {
            return Err(FormatError::Size { found, expected: raw.file_size_bytes.get() });
        }
        let generation = raw.generation.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(Self {
            last_stepped_row_id: RowId(raw.last_stepped_row_id.get()),
            generation: String::from_utf8_lossy(generation).into_owned(),
            sections: Section::read_table(table, file_bytes)?,
        })
    }

    /// The section with this number, if the file has it.
    pub fn section(&self, id: u32) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind.id == id)
    }

    /// Compares every section with its checksum.
    ///
    /// # Errors
    /// The first section that differs.
    ///
    /// # Panics
    /// If `file` is not the file this header was read from.
    pub fn check_sections(&self, file: &[u8]) -> Result<(), FormatError> {
        for section in &self.sections {
            check_sum(section.kind.name, crc32fast::hash(&file[section.range.clone()]), section.crc)?;
        }
        Ok(())
    }

    /// Checks that the room for growing is zero.
    ///
    /// # Errors
    /// The first section where it is not.
    ///
    /// # Panics
    /// If `file` is not the file this header was read from.
    pub fn check_room(&self, file: &[u8]) -> Result<(), FormatError> {
        for section in &self.sections {
            let room = &file[section.range.start + section.used_bytes..section.range.end];
            if room.iter().any(|&byte| byte != 0) {
                let reason = "has something in its room for growing".to_owned();
                return Err(FormatError::Section { name: section.kind.name, reason });
            }
        }
        Ok(())
    }

    /// Makes the checksums of a changed file right again where its table still makes sense: what someone who forges a
    /// file would do, so tests and fuzzers do it.
    ///
    /// # Panics
    /// If the file is shorter than a header.
    pub fn mend(file: &mut [u8]) {
        let (mut raw, _) = RawHeader::read_from_prefix(file).expect("a whole header");
        let table_end = table_end((raw.section_count.get() as usize).min(SECTIONS.len())).min(file.len());
        let Ok(sections) = Section::read_table(&file[HEADER_BYTES..table_end], file.len()) else { return };
        for (index, section) in sections.into_iter().enumerate() {
            let crc = crc32fast::hash(&file[section.range.clone()]);
            let mended = Section { crc, ..section };
            file[HEADER_BYTES + index * 40..][..40].copy_from_slice(mended.entry().as_bytes());
        }
        raw.crc = sum(raw, &file[HEADER_BYTES..table_end]).into();
        file[..HEADER_BYTES].copy_from_slice(raw.as_bytes());
    }

    /// Writes header and table of a file of `file_bytes` bytes over the first bytes of `head`.
    ///
    /// # Panics
    /// If the generation is longer than [`MAX_GENERATION_BYTES`] or `head` shorter than the table.
    pub fn write(&self, head: &mut [u8], file_bytes: usize) {
        let mut generation = [0; MAX_GENERATION_BYTES];
        generation[..self.generation.len()].copy_from_slice(self.generation.as_bytes());
        for (section, entry) in self.sections.iter().zip(head[HEADER_BYTES..].chunks_mut(40)) {
            entry.copy_from_slice(section.entry().as_bytes());
        }
        let mut raw = RawHeader {
            magic: MAGIC,
            format_version: FORMAT_VERSION.into(),
            section_count: u32::try_from(self.sections.len()).expect("a few dozen sections").into(),
            file_size_bytes: (file_bytes as u64).into(),
            last_stepped_row_id: self.last_stepped_row_id.0.into(),
            generation,
            crc: 0.into(),
            reserved: [0; 60],
        };
        raw.crc = sum(raw, &head[HEADER_BYTES..table_end(self.sections.len())]).into();
        head[..HEADER_BYTES].copy_from_slice(raw.as_bytes());
    }
}

fn sum(mut raw: RawHeader, table: &[u8]) -> u32 {
    raw.crc = 0.into();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(raw.as_bytes());
    hasher.update(table);
    hasher.finalize()
}

fn check_sum(part: &'static str, found: u32, expected: u32) -> Result<(), FormatError> {
    if found == expected { Ok(()) } else { Err(FormatError::Checksum { part, found, expected }) }
}
