#![doc = include_str!("FORMAT.md")]
//!
//! # In this crate
//! [`checkpoint`] writes a model as such a file and opens one in place; [`image`] puts sections together and takes
//! them apart; [`header`] and [`section`] check header and table; [`mapping`] is the memory below; [`verify`] proves
//! every invariant; [`element`] shows what is inside. Opening treats the bytes as hostile.

pub mod checkpoint;
mod classifier;
mod compact_postings;
pub mod element;
mod encoder;
pub mod header;
pub mod image;
pub mod mapping;
mod plain_memory;
pub mod section;
pub mod verify;

use std::fmt;

/// Why bytes are not a checkpoint of the model asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// Does not start as one.
    Magic {
        /// The first bytes found.
        found: [u8; 8],
    },
    /// Written by another version of this program.
    Version {
        /// Found.
        found: u32,
        /// Expected.
        expected: u32,
    },
    /// Shorter or longer than the header says.
    Size {
        /// Found.
        found: u64,
        /// Expected.
        expected: u64,
    },
    /// Changed after it was written.
    Checksum {
        /// Which part.
        part: &'static str,
        /// Found.
        found: u32,
        /// Expected.
        expected: u32,
    },
    /// Of another life of the metric's model.
    Generation {
        /// Found.
        found: String,
        /// Expected.
        expected: String,
    },
    /// Of no model that this program makes.
    UnknownParameters {
        /// Found.
        found: String,
    },
    /// Of a model with other parameters.
    Parameters {
        /// Found.
        found: String,
        /// Expected.
        expected: String,
    },
    /// A section is missing, unknown, doubled or has another shape.
    Section {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An index or count lies outside its bounds.
    Bounds {
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic { found } => {
                write!(formatter, "it starts with {found:02x?}, a model file with {:02x?}", header::MAGIC)
            }
            Self::Version { found, expected } => {
                write!(formatter, "it has format version {found}, this program reads {expected}")
            }
            Self::Size { found, expected } => {
                write!(formatter, "it is {found} bytes long instead of {expected}: cut off or appended to")
            }
            Self::Checksum { part, found, expected } => {
                write!(
                    formatter,
                    "the checksum of its {part} is {found:08x} instead of {expected:08x}: damaged"
                )
            }
            Self::Generation { found, expected } => {
                write!(formatter, "it belongs to model generation {found}, the metric's is {expected}")
            }
            Self::UnknownParameters { found } => {
                write!(formatter, "its parameters are {found}, which no model of this program has")
            }
            Self::Parameters { found, expected } => {
                write!(formatter, "its parameters are {found}, the metric's {expected}")
            }
            Self::Section { name, reason } => write!(formatter, "section `{name}` {reason}"),
            Self::Bounds { reason } => formatter.write_str(reason),
        }
    }
}

impl std::error::Error for FormatError {}
