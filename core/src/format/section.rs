//! The sections of a model file: which there are, in which order, and where one lies.
//!
//! A file has the sections that its model's parameters call for, in the order of [`SECTIONS`], even if one is empty. So
//! a table is checked entry by entry against that list, and a reader takes them one after the other.

use std::ops::Range;

use zerocopy::little_endian;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FormatError;
use super::header::HEADER_BYTES;
use super::mapping::ALIGNMENT;

/// What a section's elements are, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementKind {
    /// UTF-8 text.
    Text,
    /// One record of this many bytes; FORMAT.md lists its fields.
    Record(u32),
    /// Unsigned numbers of this many bytes.
    Unsigned(u32),
    /// Floating-point numbers of this many bytes.
    Float(u32),
}

impl ElementKind {
    /// Size of one element.
    pub const fn size_bytes(self) -> u32 {
        match self {
            Self::Text => 1,
            Self::Record(size) | Self::Unsigned(size) | Self::Float(size) => size,
        }
    }
}

/// One kind of section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionKind {
    /// Its number in files; numbers ascend.
    pub id: u32,
    /// Its name in reports and in FORMAT.md.
    pub name: &'static str,
    /// What its elements may be; which one follows from the parameters.
    pub elements: &'static [ElementKind],
}

const fn kind(id: u32, name: &'static str, elements: &'static [ElementKind]) -> SectionKind {
    SectionKind { id, name, elements }
}

const TEXT: &[ElementKind] = &[ElementKind::Text];
const U8: &[ElementKind] = &[ElementKind::Unsigned(1)];
const U16: &[ElementKind] = &[ElementKind::Unsigned(2)];
const U32: &[ElementKind] = &[ElementKind::Unsigned(4)];
const U64: &[ElementKind] = &[ElementKind::Unsigned(8)];
const F32: &[ElementKind] = &[ElementKind::Float(4)];
const F64: &[ElementKind] = &[ElementKind::Float(8)];

const TM_SCALARS_BYTES: u32 = 296;

/// All kinds, in file order.
pub const SECTIONS: [SectionKind; 52] = [
    kind(1, "parameters", TEXT),
    kind(10, "value_encoders", &[ElementKind::Record(152)]),
    kind(11, "bucket_bits", U16),
    kind(20, "spatial_pooler_scalars", &[ElementKind::Record(16)]),
    kind(21, "column_slots", U16),
    kind(22, "private_permanences", F32),
    kind(23, "row_slots", U16),
    kind(24, "private_rows", U64),
    kind(25, "overlap_duty", F32),
    kind(26, "active_duty", F32),
    kind(30, "temporal_memory_scalars", &[ElementKind::Record(TM_SCALARS_BYTES)]),
    kind(31, "infer_active", U32),
    kind(32, "infer_predicted", U32),
    kind(33, "learn_active", U32),
    kind(34, "learn_predicted", U32),
    kind(35, "learn_cells", U16),
    kind(36, "predicted_columns", U64),
    kind(37, "infer_history", U16),
    kind(38, "learn_history", U16),
    kind(39, "queue_segments", U32),
    kind(40, "queue_picks", U64),
    kind(41, "column_blocks", U16),
    kind(42, "posting_lists", &[ElementKind::Record(8)]),
    kind(43, "postings", U16),
    kind(50, "presynaptic_cells", U16),
    kind(51, "permanences", &[ElementKind::Unsigned(1), ElementKind::Float(4)]),
    kind(52, "segment_infos", &[ElementKind::Record(16)]),
    kind(53, "segment_activations", &[ElementKind::Record(12)]),
    kind(56, "kept_activity", U8),
    kind(58, "plain_memory_scalars", &[ElementKind::Record(536)]),
    kind(59, "plain_active_cells", U32),
    kind(60, "plain_winner_cells", U32),
    kind(61, "plain_predicted_columns", U64),
    kind(62, "plain_matches", &[ElementKind::Record(12)]),
    kind(63, "plain_column_segments", U32),
    kind(64, "plain_segments", &[ElementKind::Record(32)]),
    kind(65, "plain_presynaptic_cells", U16),
    kind(66, "plain_permanences", F32),
    kind(67, "plain_posting_lists", &[ElementKind::Record(12)]),
    kind(68, "plain_postings", U32),
    kind(70, "likelihood", &[ElementKind::Record(240)]),
    kind(71, "window_values", F64),
    kind(72, "window_raw_scores", F32),
    kind(75, "detection", &[ElementKind::Record(7296)]),
    kind(80, "classifier_scalars", &[ElementKind::Record(16)]),
    kind(81, "classifier_columns", U16),
    kind(82, "classifier_cells", U32),
    kind(83, "classifier_blocks", U16),
    kind(84, "classifier_buckets", U16),
    kind(85, "classifier_weights", F32),
    kind(86, "bucket_means", F64),
    kind(87, "has_bucket", U8),
];

/// Where the table of so many sections ends, and the first of them may begin.
pub const fn table_end(section_count: usize) -> usize {
    HEADER_BYTES + section_count * size_of::<Entry>()
}

/// The kind with this number.
///
/// # Panics
/// If there is none.
pub(super) fn kind_of(id: u32) -> SectionKind {
    *SECTIONS.iter().find(|kind| kind.id == id).expect("a known section")
}

/// A table entry as it lies in the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Entry {
    id: little_endian::U32,
    element_size_bytes: little_endian::U32,
    offset: little_endian::U64,
    used_bytes: little_endian::U64,
    room_bytes: little_endian::U64,
    crc: little_endian::U32,
    reserved: little_endian::U32,
}

const _: () = assert!(size_of::<Entry>() == 40);

/// A table entry that has been checked against its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is.
    pub kind: SectionKind,
    /// What its elements are.
    pub elements: ElementKind,
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
        Entry {
            id: self.kind.id.into(),
            element_size_bytes: self.elements.size_bytes().into(),
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
        let expected = FormatError::Size { found: file_bytes as u64, expected: HEADER_BYTES as u64 };
        let entries = <[Entry]>::ref_from_bytes(table).map_err(|_| expected)?;
        let mut sections = Vec::with_capacity(entries.len());
        let mut end = table_end(entries.len());
        let mut kinds = SECTIONS.iter();
        for entry in entries {
            let id = entry.id.get();
            let kind = kinds.find(|kind| kind.id == id).ok_or_else(|| FormatError::Bounds {
                reason: format!("section {id} is unknown, doubled or at a wrong place of the table"),
            })?;
            let section = Self::of(entry, *kind, end, file_bytes)?;
            end = section.range.end;
            sections.push(section);
        }
        Ok(sections)
    }

    fn of(entry: &Entry, kind: SectionKind, end: usize, file_bytes: usize) -> Result<Self, FormatError> {
        let error = |reason: &str| FormatError::Section { name: kind.name, reason: reason.to_owned() };
        let found = entry.element_size_bytes.get();
        let elements = kind.elements.iter().find(|elements| elements.size_bytes() == found);
        let elements = *elements.ok_or_else(|| {
            let expected = kind.elements;
            error(&format!("has elements of {found} bytes, expected {expected:?}"))
        })?;
        let as_usize = |value: little_endian::U64| {
            usize::try_from(value.get()).map_err(|_| error("ends outside the file"))
        };
        let (start, used, room) =
            (as_usize(entry.offset)?, as_usize(entry.used_bytes)?, as_usize(entry.room_bytes)?);
        let section_end = start.checked_add(room).filter(|&section_end| section_end <= file_bytes);
        let range = start..section_end.ok_or_else(|| error("ends outside the file"))?;
        if start < end || start % ALIGNMENT != 0 {
            return Err(error("starts at a wrong place"));
        }
        let size = elements.size_bytes() as usize;
        if used > room || used % size != 0 || room % size != 0 {
            return Err(error(&format!("has {used} of {room} bytes in use, which are no whole elements")));
        }
        Ok(Self { kind, elements, range, used_bytes: used, crc: entry.crc.get() })
    }

    /// Whether its bytes in `file` have its checksum.
    ///
    /// # Panics
    /// If `file` is not the file it was read from.
    pub fn is_intact(&self, file: &[u8]) -> bool {
        crc32fast::hash(&file[self.range.clone()]) == self.crc
    }

    /// Elements in use.
    pub fn used(&self) -> usize {
        self.used_bytes / self.elements.size_bytes() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_page_lists_the_sections_in_their_order() {
        let (_, page) = include_str!("FORMAT.md").split_once("## Sections").expect("a heading");
        let row_of = |line: &str| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let id = cells.next()?.parse().ok()?;
            Some((id, cells.next()?.trim_matches('`').to_owned()))
        };
        let documented: Vec<(u32, String)> = page.lines().filter_map(row_of).collect();
        let known: Vec<(u32, String)> = SECTIONS.iter().map(|kind| (kind.id, kind.name.to_owned())).collect();
        assert_eq!(documented, known, "FORMAT.md (left) and the code (right)");
        assert!(known.is_sorted_by(|a, b| a.0 < b.0));
    }
}
