//! The stack machine that a pickle is a program for, cut down to values that are data: numbers, texts, tuples, lists.
//!
//! [`run`] steps through the bytes once and leaves a [`Heap`] with the value that the program ends with. Values are small
//! and copied; texts lie in the pickle itself or, where it has escapes, in one buffer; tuples and lists in arrays of the
//! heap. Nothing is looked up by name and nothing is called.
//!
//! Invariants:
//! - No recursion: a value that holds itself is as good as any other.
//! - Memory is bounded by the pickle's length and by the limits here, whichever is less: each opcode makes at most one
//!   value, and each value is moved into at most one tuple or list.

use super::opcode::{
    APPEND, APPENDS, BINBYTES, BINBYTES8, BINFLOAT, BINGET, BININT, BININT1, BININT2, BINPUT, BINSTRING,
    BINUNICODE, BINUNICODE8, DUP, EMPTY_LIST, EMPTY_TUPLE, FLOAT, FRAME, GET, INT, LIST, LONG, LONG_BINGET,
    LONG_BINPUT, LONG1, LONG4, MARK, MEMOIZE, NEWFALSE, NEWTRUE, NONE, POP, POP_MARK, PROTO, PUT,
    SHORT_BINBYTES, SHORT_BINSTRING, SHORT_BINUNICODE, STOP, STRING, TUPLE, TUPLE1, TUPLE2, TUPLE3, UNICODE,
    refused_name,
};
use super::{PickleError, malformed};

/// Values that one pickle may make. A sample takes about eight, and the longest frame holds some 40,000 samples.
pub(super) const MAX_VALUES: usize = 524_288;
/// Marks that may be open at once. Senders need four.
const MAX_MARKS: usize = 64;
/// Entries of the memo, and its highest index. Python's pickler makes about four for a sample.
const MAX_MEMO_ENTRIES: usize = 262_144;
/// Lists in one pickle. Senders need one, or two for each sample where they write lists for tuples.
const MAX_LISTS: usize = 131_072;
/// Highest protocol that there is.
const MAX_PROTOCOL: u8 = 5;
/// Longest text of a number, and longest binary integer in bytes: what 128 bits take.
const MAX_NUMBER_CHARS: usize = 64;
const MAX_INTEGER_BYTES: usize = 16;

/// A value on the stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Int(i64),
    Float(f64),
    /// Bytes of the pickle, `from..to`.
    Text {
        from: u32,
        to: u32,
    },
    /// Bytes of the heap's own buffer.
    Unescaped {
        from: u32,
        to: u32,
    },
    /// Members of the heap.
    Tuple {
        from: u32,
        to: u32,
    },
    /// A list of the heap.
    List(u32),
}

/// What the values refer to.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pickle: &'a [u8],
    unescaped: Vec<u8>,
    members: Vec<Value>,
    lists: Vec<Vec<Value>>,
}

impl Heap<'_> {
    /// The bytes of a text.
    pub(super) fn text(&self, value: Value) -> Option<&[u8]> {
        let (buffer, from, to) = match value {
            Value::Text { from, to } => (self.pickle, from, to),
            Value::Unescaped { from, to } => (&self.unescaped[..], from, to),
            Value::None | Value::Int(_) | Value::Float(_) | Value::Tuple { .. } | Value::List(_) => {
                return None;
            }
        };
        buffer.get(from as usize..to as usize)
    }

    /// The members of a tuple or list.
    pub(super) fn members(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Tuple { from, to } => self.members.get(from as usize..to as usize),
            Value::List(idx) => self.lists.get(idx as usize).map(Vec::as_slice),
            Value::None | Value::Int(_) | Value::Float(_) | Value::Text { .. } | Value::Unescaped { .. } => {
                None
            }
        }
    }
}

/// Runs a pickle; returns what it made and the value that it ends with.
pub(super) fn run(pickle: &[u8]) -> Result<(Heap<'_>, Value), PickleError> {
    if u32::try_from(pickle.len()).is_err() {
        return Err(malformed(0, "a pickle of 4 GiB or more"));
    }
    let heap = Heap { pickle, ..Heap::default() };
    let mut machine =
        Machine { at: 0, heap, stack: Vec::new(), marks: Vec::new(), memo: Vec::new(), made: 0 };
    loop {
        let opcode = machine.byte()?;
        if opcode == STOP {
            break;
        }
        machine.step(opcode)?;
    }
    let result = machine.pop()?;
    if machine.at < pickle.len() {
        return Err(malformed(machine.at, "bytes after the end (STOP)"));
    }
    Ok((machine.heap, result))
}

struct Machine<'a> {
    /// Of the next byte.
    at: usize,
    heap: Heap<'a>,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    /// Values made so far.
    made: usize,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        let at = self.at - 1;
        match opcode {
            PROTO => self.protocol(),
            // How the pickler cut its output; the bytes come all the same.
            FRAME => self.take(8).map(drop),
            MARK => self.mark(),
            POP => self.pop_or_unmark(),
            POP_MARK => self.unmark().map(|from| self.stack.truncate(from)),
            DUP => self.top().and_then(|value| self.push(value)),
            NONE => self.push(Value::None),
            NEWTRUE => self.push(Value::Int(1)),
            NEWFALSE => self.push(Value::Int(0)),
            INT | LONG | FLOAT | BININT | BININT1 | BININT2 | LONG1 | LONG4 | BINFLOAT => {
                let number = self.number(opcode)?;
                self.push(number)
            }
            STRING | UNICODE => {
                let text = self.escaped(opcode)?;
                self.push(text)
            }
            SHORT_BINSTRING | SHORT_BINBYTES | SHORT_BINUNICODE => self.text(1),
            BINSTRING | BINBYTES | BINUNICODE => self.text(4),
            BINBYTES8 | BINUNICODE8 => self.text(8),
            EMPTY_TUPLE => self.tuple(self.stack.len()),
            TUPLE1 => self.short_tuple(1),
            TUPLE2 => self.short_tuple(2),
            TUPLE3 => self.short_tuple(3),
            TUPLE => self.unmark().and_then(|from| self.tuple(from)),
            EMPTY_LIST => self.list(self.stack.len()),
            LIST => self.unmark().and_then(|from| self.list(from)),
            APPEND => {
                let from = self.stack.len().saturating_sub(1);
                self.append(from)
            }
            APPENDS => self.unmark().and_then(|from| self.append(from)),
            PUT | BINPUT | LONG_BINPUT => self.memo_idx(opcode).and_then(|idx| self.remember(idx)),
            MEMOIZE => self.remember(self.memo.len()),
            GET | BINGET | LONG_BINGET => self.memo_idx(opcode).and_then(|idx| self.recall(idx)),
            _ => Err(PickleError::Refused { opcode, name: refused_name(opcode), at }),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.heap.pickle.len());
        let end = end.ok_or_else(|| malformed(self.at, "the end of the frame in the middle of a value"))?;
        let taken = &self.heap.pickle[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A little-endian length or index of so many bytes.
    fn size(&mut self, bytes: usize) -> Result<usize, PickleError> {
        let mut padded = [0; 8];
        padded[..bytes].copy_from_slice(self.take(bytes)?);
        // What does not fit lies beyond the end of any pickle.
        Ok(usize::try_from(u64::from_le_bytes(padded)).unwrap_or(usize::MAX))
    }

    /// The bytes up to the next line end, which is passed over.
    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.heap.pickle[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| malformed(self.at, "a text without a line end"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        self.made += 1;
        if self.made > MAX_VALUES {
            return Err(malformed(self.at, &format!("more than {MAX_VALUES} values in one frame")));
        }
        self.stack.push(value);
        Ok(())
    }

    /// The value on top of the stack, above the last mark.
    fn top(&self) -> Result<Value, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = self.stack[floor..].last().copied();
        value.ok_or_else(|| malformed(self.at, "an opcode that wants a value where there is none"))
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_or_unmark(&mut self) -> Result<(), PickleError> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn mark(&mut self) -> Result<(), PickleError> {
        if self.marks.len() >= MAX_MARKS {
            return Err(malformed(self.at, &format!("more than {MAX_MARKS} marks open at once")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn unmark(&mut self) -> Result<usize, PickleError> {
        self.marks.pop().ok_or_else(|| malformed(self.at, "an opcode that wants a mark where there is none"))
    }

    fn short_tuple(&mut self, count: usize) -> Result<(), PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count).filter(|from| *from >= floor);
        let from = from.ok_or_else(|| malformed(self.at, "a tuple of more values than there are"))?;
        self.tuple(from)
    }

    /// A tuple of what lies on the stack from there on.
    fn tuple(&mut self, from: usize) -> Result<(), PickleError> {
        let first = small(self.heap.members.len());
        self.heap.members.extend(self.stack.drain(from..));
        let to = small(self.heap.members.len());
        self.push(Value::Tuple { from: first, to })
    }

    fn list(&mut self, from: usize) -> Result<(), PickleError> {
        let idx = self.heap.lists.len();
        if idx >= MAX_LISTS {
            return Err(malformed(self.at, &format!("more than {MAX_LISTS} lists in one frame")));
        }
        self.heap.lists.push(self.stack.drain(from..).collect());
        self.push(Value::List(small(idx)))
    }

    /// Appends what lies on the stack from there on to the list below it.
    fn append(&mut self, from: usize) -> Result<(), PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let below = from.checked_sub(1).filter(|below| *below >= floor).map(|below| self.stack[below]);
        let Some(Value::List(idx)) = below else {
            return Err(malformed(self.at, "values to append where there is no list"));
        };
        let items = self.stack.drain(from..);
        self.heap.lists[idx as usize].extend(items);
        Ok(())
    }

    fn memo_idx(&mut self, opcode: u8) -> Result<usize, PickleError> {
        match opcode {
            BINPUT | BINGET => self.byte().map(usize::from),
            LONG_BINPUT | LONG_BINGET => self.size(4),
            _ => {
                let at = self.at;
                let text = self.line()?;
                let idx = str::from_utf8(text).ok().and_then(|text| text.trim_ascii().parse().ok());
                idx.ok_or_else(|| malformed(at, "a memo index that is no number"))
            }
        }
    }

    fn remember(&mut self, idx: usize) -> Result<(), PickleError> {
        if idx >= MAX_MEMO_ENTRIES {
            return Err(malformed(self.at, &format!("a memo index of {MAX_MEMO_ENTRIES} or more")));
        }
        let value = self.top()?;
        if idx >= self.memo.len() {
            self.memo.resize(idx + 1, None);
        }
        self.memo[idx] = Some(value);
        Ok(())
    }

    fn recall(&mut self, idx: usize) -> Result<(), PickleError> {
        let value = self.memo.get(idx).copied().flatten();
        self.push(value.ok_or_else(|| malformed(self.at, "a memo index that nothing was put at"))?)
    }

    fn protocol(&mut self) -> Result<(), PickleError> {
        let protocol = self.byte()?;
        if protocol > MAX_PROTOCOL {
            let found = format!("protocol {protocol}, where {MAX_PROTOCOL} is the highest");
            return Err(malformed(self.at - 1, &found));
        }
        Ok(())
    }

    #[expect(
        clippy::big_endian_bytes,
        reason = "pickle has its integers least, its floats most significant byte first"
    )]
    fn number(&mut self, opcode: u8) -> Result<Value, PickleError> {
        Ok(match opcode {
            BININT => Value::Int(i32::from_le_bytes(self.array()?).into()),
            BININT1 => Value::Int(self.byte()?.into()),
            BININT2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            BINFLOAT => Value::Float(f64::from_bits(u64::from_be_bytes(self.array()?))),
            LONG1 | LONG4 => {
                let bytes = self.size(if opcode == LONG1 { 1 } else { 4 })?;
                self.long(bytes)?
            }
            _ => {
                let at = self.at;
                let text = self.line()?;
                let number = number_of(opcode, text);
                number.ok_or_else(|| malformed(at, "a number that is none, or longer than 128 bits"))?
            }
        })
    }

    fn long(&mut self, bytes: usize) -> Result<Value, PickleError> {
        if bytes > MAX_INTEGER_BYTES {
            let found = format!("an integer of {bytes} bytes, where {MAX_INTEGER_BYTES} are the most");
            return Err(malformed(self.at, &found));
        }
        let taken = self.take(bytes)?;
        let is_negative = taken.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut padded = [if is_negative { 0xff } else { 0 }; MAX_INTEGER_BYTES];
        padded[..bytes].copy_from_slice(taken);
        Ok(whole(i128::from_le_bytes(padded)))
    }

    fn text(&mut self, size_bytes: usize) -> Result<(), PickleError> {
        let size = self.size(size_bytes)?;
        let from = self.at;
        self.take(size)?;
        self.push(Value::Text { from: small(from), to: small(self.at) })
    }

    /// The text of a line: in quotes and with a string's escapes, or Latin-1 with those of code points.
    fn escaped(&mut self, opcode: u8) -> Result<Value, PickleError> {
        let at = self.at;
        let mut line = self.line()?;
        let mut from = at;
        if opcode == STRING {
            let ([b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"']) = line else {
                return Err(malformed(at, "a string without quotes"));
            };
            (line, from) = (inner, at + 1);
        }
        let is_plain = |byte: &u8| *byte != b'\\' && (opcode == STRING || byte.is_ascii());
        if line.iter().all(is_plain) {
            return Ok(Value::Text { from: small(from), to: small(from + line.len()) });
        }
        let from = small(self.heap.unescaped.len());
        let is_good = if opcode == STRING {
            unescape_string(line, &mut self.heap.unescaped)
        } else {
            unescape_unicode(line, &mut self.heap.unescaped)
        };
        is_good.ok_or_else(|| malformed(at, "a text with an escape that is none"))?;
        Ok(Value::Unescaped { from, to: small(self.heap.unescaped.len()) })
    }
}

/// A place in a pickle, or in something no longer than twice that: such a length was checked at the start.
fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn whole(number: i128) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "carbon makes a float of it too")]
    i64::try_from(number).map_or(Value::Float(number as f64), Value::Int)
}

/// The number on a line of `INT`, `LONG` or `FLOAT`.
fn number_of(opcode: u8, text: &[u8]) -> Option<Value> {
    if text.len() > MAX_NUMBER_CHARS {
        return None;
    }
    let text = str::from_utf8(text).ok()?.trim_ascii();
    if opcode == FLOAT {
        return text.parse().ok().map(Value::Float);
    }
    let digits = if opcode == LONG { text.strip_suffix('L').unwrap_or(text) } else { text };
    digits.parse().ok().map(whole)
}

/// Undoes the escapes of a string as Python 2 writes them.
fn unescape_string(text: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            into.push(*first);
            continue;
        }
        let (kind, tail) = rest.split_first()?;
        rest = tail;
        into.push(match kind {
            b'\\' | b'\'' | b'"' => *kind,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                u8::try_from(hexadecimal(digits)?).ok()?
            }
            _ => return None,
        });
    }
    Some(())
}

/// Undoes the escapes of `raw-unicode-escape`, in which every other byte is a Latin-1 character.
fn unescape_unicode(text: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let digits = match (first, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let character = if digits == 0 {
            char::from(*first)
        } else {
            let (number, tail) = rest[1..].split_at_checked(digits)?;
            rest = tail;
            char::from_u32(hexadecimal(number)?)?
        };
        into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(())
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let mut digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
    digits.try_fold(0, |number: u32, digit| Some(number.wrapping_mul(16).wrapping_add(digit?)))
}
