//! Samples out of a pickle: what carbon's relays, `StatsD` and Diamond send instead of lines.
//!
//! A frame's body is a pickled list of `(name, (timestamp, value))`. [`samples`] runs it on a stack machine of our own
//! (`pickle/machine.rs`), which knows numbers, texts, tuples and lists and nothing else: whatever would make an object or
//! call a function is refused by its name, and nothing is ever executed. What comes out are Graphite lines, which go the
//! way of all others: whether a name, value or time is good is judged where lines are read.
//!
//! Invariants: never panics, whatever the bytes; no recursion; all of a frame or nothing of it; the lines of a frame take
//! at most [`MAX_EXPANSION`] times its bytes, however often it repeats a name.
//!
//! Source: carbon's `MetricPickleReceiver` and its safe unpickler. Departures: numbers and texts are read by our own
//! machine, not by Python's with a list of allowed classes; names with blanks are refused, not stored.

mod machine;
mod opcode;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Write;

use self::machine::{Heap, Value};
use crate::reject::RejectReason;

/// Longest name, in bytes: 255 characters of the longest kind.
const MAX_NAME_BYTES: usize = 1_020;
/// Longest number that came as text.
const MAX_NUMBER_BYTES: usize = 64;
/// The lines of a frame may take so many times its own bytes: a name that is put once and recalled for each sample costs
/// two bytes there and its whole length here.
pub const MAX_EXPANSION: usize = 32;
/// What any frame may expand to.
const MIN_EXPANSION_BYTES: usize = 4_096;
/// What a line costs beside its bytes.
const LINE_OVERHEAD_BYTES: usize = 32;
/// A refused sample is shown with so much of its name.
const MAX_SHOWN_BYTES: usize = 200;

/// Why a whole frame was refused. Its connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PickleError {
    /// An opcode that no sender of samples needs.
    Refused {
        /// The byte.
        opcode: u8,
        /// Its name in Python's documentation.
        name: &'static str,
        /// Where it stands, from 0.
        at: usize,
    },
    /// No pickle, or none of samples.
    Malformed {
        /// Where reading ended, from 0.
        at: usize,
        /// What was found there.
        found: String,
    },
}

impl PickleError {
    /// Under which reason it is counted.
    pub fn reason(&self) -> RejectReason {
        match self {
            Self::Refused { .. } => RejectReason::UnsafePickle,
            Self::Malformed { .. } => RejectReason::BadPickle,
        }
    }
}

impl fmt::Display for PickleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { opcode, name, at } => {
                write!(
                    formatter,
                    "{name} (0x{opcode:02x}) at byte {at}; expected a list of (name, (timestamp, value))"
                )
            }
            Self::Malformed { at, found } => {
                write!(formatter, "{found} at byte {at}; expected a list of (name, (timestamp, value))")
            }
        }
    }
}

impl std::error::Error for PickleError {}

fn malformed(at: usize, found: &str) -> PickleError {
    PickleError::Malformed { at, found: found.to_owned() }
}

/// One item of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pickled<'a> {
    /// A line, to be read as any other.
    Line(&'a [u8]),
    /// No line can be made of it: why, and what it was.
    Refused(RejectReason, &'a [u8]),
}

/// The items of one frame, in order.
#[derive(Debug, Default)]
pub struct Samples {
    text: Vec<u8>,
    /// Where each one ends in the text.
    entries: Vec<(usize, Option<RejectReason>)>,
}

impl Samples {
    /// All of them.
    pub fn items(&self) -> impl Iterator<Item = Pickled<'_>> {
        let mut from = 0;
        self.entries.iter().map(move |(to, refused)| {
            let bytes = &self.text[from..*to];
            from = *to;
            refused.map_or(Pickled::Line(bytes), |reason| Pickled::Refused(reason, bytes))
        })
    }
}

/// Reads the body of a frame.
///
/// # Errors
/// [`PickleError`] if it is no pickle of a list, or needs more than data.
pub fn samples(pickle: &[u8]) -> Result<Samples, PickleError> {
    let (heap, list) = machine::run(pickle)?;
    let items = heap.members(list).ok_or_else(|| malformed(pickle.len(), "a value that is no list"))?;
    let limit = (pickle.len() * MAX_EXPANSION).max(MIN_EXPANSION_BYTES);
    let mut samples = Samples::default();
    for item in items {
        let from = samples.text.len();
        let refused = write_line(&heap, *item, &mut samples.text).err();
        if refused.is_some() {
            samples.text.truncate(from);
            show(&heap, *item, &mut samples.text);
        }
        samples.entries.push((samples.text.len(), refused));
        if samples.text.len() + samples.entries.len() * LINE_OVERHEAD_BYTES > limit {
            let found =
                format!("samples of more than {MAX_EXPANSION} times the frame's {} bytes", pickle.len());
            return Err(malformed(pickle.len(), &found));
        }
    }
    Ok(samples)
}

/// Writes an item as `name value timestamp`.
fn write_line(heap: &Heap<'_>, item: Value, into: &mut Vec<u8>) -> Result<(), RejectReason> {
    let pair = |value: Value| match heap.members(value) {
        Some(&[first, second]) => Ok((first, second)),
        _ => Err(RejectReason::WrongFieldCount),
    };
    let (name, point) = pair(item)?;
    let (timestamp, value) = pair(point)?;
    let name = heap.text(name).ok_or(RejectReason::BadName)?;
    if name.len() > MAX_NAME_BYTES {
        return Err(RejectReason::NameTooLong);
    }
    if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
        return Err(RejectReason::BadName);
    }
    into.extend_from_slice(name);
    write_number(heap, value, into).ok_or(RejectReason::BadValue)?;
    write_number(heap, timestamp, into).ok_or(RejectReason::BadTimestamp)
}

/// Writes a blank and a number; `None` if it is none.
fn write_number(heap: &Heap<'_>, value: Value, into: &mut Vec<u8>) -> Option<()> {
    into.push(b' ');
    match value {
        Value::Int(number) => write!(into, "{number}").ok(),
        // With an exponent where that is shorter.
        Value::Float(number) => write!(into, "{number:?}").ok(),
        Value::Text { .. } | Value::Unescaped { .. } => {
            let text = heap.text(value)?.trim_ascii();
            let is_one_field = !text.is_empty() && !text.iter().any(u8::is_ascii_whitespace);
            (is_one_field && text.len() <= MAX_NUMBER_BYTES).then(|| into.extend_from_slice(text))
        }
        Value::None | Value::Tuple { .. } | Value::List(_) => None,
    }
}

/// Writes what a refused item was: the start of its name, if it has one.
fn show(heap: &Heap<'_>, item: Value, into: &mut Vec<u8>) {
    let name = heap.members(item).and_then(|members| heap.text(*members.first()?));
    let shown = name.unwrap_or(b"an item that is no (name, (timestamp, value))");
    into.extend_from_slice(&shown[..shown.len().min(MAX_SHOWN_BYTES)]);
}
