//! The sections of a model file: which there are, in which order, and where one lies.
//!
//! Every file has every section, in this order, even if one is empty. So a table is checked entry by entry
//! against [`SECTIONS`], and a section is found by its position.

use std::ops::Range;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FormatError;
use super::header::HEADER_BYTES;
use super::mapping::ALIGNMENT;

/// One kind of section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionKind {
    /// Its number in files; numbers ascend.
    pub id: u32,
    /// Its name in reports and in FORMAT.md.
    pub name: &'static str,
    /// Sizes an element may have; which one it has follows from the parameters.
    pub element_sizes: &'static [u32],
}

const fn kind(id: u32, name: &'static str, element_sizes: &'static [u32]) -> SectionKind {
    SectionKind { id, name, element_sizes }
}

/// All kinds, in file order.
pub const SECTIONS: [SectionKind; SECTION_COUNT] = [
    kind(1, "parameters", &[1]),
    kind(10, "value encoder", &[152]),
    kind(11, "bucket bits", &[2]),
    kind(20, "spatial pooler scalars", &[12]),
    kind(21, "column_slots", &[2]),
    kind(22, "private_permanences", &[4]),
    kind(23, "connected_rows", &[8]),
    kind(24, "overlap_duty", &[4]),
    kind(25, "active_duty", &[4]),
    kind(30, "temporal memory scalars", &[344]),
    kind(31, "infer_active", &[4]),
    kind(32, "infer_predicted", &[4]),
    kind(33, "learn_active", &[4]),
    kind(34, "learn_predicted", &[4]),
    kind(35, "learn_cells", &[2]),
    kind(36, "predicted_columns", &[8]),
    kind(37, "infer_history", &[2]),
    kind(38, "learn_history", &[2]),
    kind(39, "queue_segments", &[4]),
    kind(40, "queue_picks", &[8]),
    kind(41, "column_blocks", &[2]),
    kind(42, "cell_segment_counts", &[1]),
    kind(43, "posting_offsets", &[4]),
    kind(44, "posting_counts", &[4]),
    kind(45, "posting_classes", &[1]),
    kind(46, "postings", &[4]),
    kind(50, "presynaptic_cells", &[2]),
    kind(51, "permanences", &[4]),
    kind(52, "counts", &[1]),
    kind(53, "connected_counts", &[1]),
    kind(54, "cells", &[2]),
    kind(55, "slots", &[1]),
    kind(56, "learn_activity", &[1]),
    kind(57, "positive_activations", &[4]),
    kind(58, "total_activations", &[4]),
    kind(59, "last_active_iterations", &[4]),
    kind(60, "duty_cycles", &[4]),
    kind(61, "duty_cycle_iterations", &[4]),
    kind(70, "likelihood", &[240]),
    kind(71, "window values", &[8]),
    kind(72, "window raw scores", &[4]),
];

/// Number of sections in every file.
pub const SECTION_COUNT: usize = 41;

/// Where the first section may begin.
pub const TABLE_END: usize = HEADER_BYTES + SECTION_COUNT * size_of::<Entry>();

/// A table entry as it lies in the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Entry {
    id: U32,
    element_size_bytes: U32,
    offset: U64,
    used_bytes: U64,
    room_bytes: U64,
    crc: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<Entry>() == 40);

/// A table entry that has been checked against its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is.
    pub kind: SectionKind,
    /// Size of one element.
    pub element_size_bytes: usize,
    /// Its bytes in the file, the room for growing included.
    pub range: Range<usize>,
    /// How many of them are in use; the rest is zero.
    pub used_bytes: usize,
    /// CRC-32 of the whole range.
    pub crc: u32,
}

impl Section {
    /// The entry of this section.
    pub fn entry(&self) -> Entry {
        let as_u32 = |size: usize| U32::new(u32::try_from(size).expect("a small record"));
        Entry {
            id: self.kind.id.into(),
            element_size_bytes: as_u32(self.element_size_bytes),
            offset: (self.range.start as u64).into(),
            used_bytes: (self.used_bytes as u64).into(),
            room_bytes: (self.range.len() as u64).into(),
            crc: self.crc.into(),
            reserved: 0.into(),
        }
    }

    /// Checks the table of a file of `file_bytes` bytes; ranges come out ascending and disjoint.
    ///
    /// # Errors
    /// If an entry is not the expected one, or points outside the file, into another section or to a wrong place.
    pub fn read_table(table: &[u8], file_bytes: usize) -> Result<Vec<Self>, FormatError> {
        let expected = FormatError::Size { found: file_bytes as u64, expected: TABLE_END as u64 };
        let entries = <[Entry]>::ref_from_bytes(table).map_err(|_| expected.clone())?;
        if entries.len() != SECTION_COUNT {
            return Err(expected);
        }
        let mut sections = Vec::with_capacity(SECTION_COUNT);
        let mut end = TABLE_END;
        for (entry, kind) in entries.iter().zip(SECTIONS) {
            let section = Self::of(entry, kind, end, file_bytes)?;
            end = section.range.end;
            sections.push(section);
        }
        Ok(sections)
    }

    fn of(entry: &Entry, kind: SectionKind, end: usize, file_bytes: usize) -> Result<Self, FormatError> {
        let error = |reason: &str| FormatError::Section { name: kind.name, reason: reason.to_owned() };
        if entry.id.get() != kind.id {
            return Err(error(&format!("is missing: section {} is in its place", entry.id.get())));
        }
        if !kind.element_sizes.contains(&entry.element_size_bytes.get()) {
            let found = entry.element_size_bytes.get();
            return Err(error(&format!("has elements of {found} bytes, expected {:?}", kind.element_sizes)));
        }
        let as_usize = |value: U64| usize::try_from(value.get()).map_err(|_| error("ends outside the file"));
        let (start, used, room) =
            (as_usize(entry.offset)?, as_usize(entry.used_bytes)?, as_usize(entry.room_bytes)?);
        let section_end = start.checked_add(room).filter(|&section_end| section_end <= file_bytes);
        let range = start..section_end.ok_or_else(|| error("ends outside the file"))?;
        if start < end || start % ALIGNMENT != 0 {
            return Err(error("starts at a wrong place"));
        }
        let element_size_bytes = entry.element_size_bytes.get() as usize;
        if used > room || used % element_size_bytes != 0 || room % element_size_bytes != 0 {
            return Err(error(&format!("has {used} of {room} bytes in use, which are no whole elements")));
        }
        Ok(Self { kind, element_size_bytes, range, used_bytes: used, crc: entry.crc.get() })
    }

    /// Elements in use.
    pub fn used(&self) -> usize {
        self.used_bytes / self.element_size_bytes
    }
}
