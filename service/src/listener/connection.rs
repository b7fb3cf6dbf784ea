//! Lines out of bytes: one framer per connection, and the connection it belongs to.
//!
//! The poll loop reads a chunk from a socket and pushes it through the socket's [`LineFramer`]; whole lines go on
//! to the batch. The framer does no I/O and knows nothing of metrics.
//!
//! Invariants:
//! - How the bytes are cut into chunks never changes what comes out.
//! - At most [`MAX_LINE_BYTES`] are held per connection, and at most `KEPT_PARTIAL_BYTES` between lines, so that
//!   10,000 idle connections cost a few megabytes.
//!
//! Source: the per-connection reader of htmengine's metric listener (LF ends a line, whitespace around it is
//! dropped, the last line needs no LF). Departures: lines are bounded, blank lines are not passed on.

use std::net::IpAddr;
use std::time::Duration;

use super::framer::Framer;

/// Longest line in bytes, counted without its LF but with any whitespace around it.
pub const MAX_LINE_BYTES: usize = 65_536;
/// How much of an over-long line is kept as an example.
pub const MAX_HEAD_BYTES: usize = 256;
/// A partial-line buffer larger than this is given back as soon as its line is complete.
const KEPT_PARTIAL_BYTES: usize = 512;

/// What a [`LineFramer`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A line without its LF, trimmed of ASCII whitespace at both ends, not empty.
    Line(&'a [u8]),
    /// A line longer than [`MAX_LINE_BYTES`] began with these bytes (at most [`MAX_HEAD_BYTES`]); the rest of it
    /// is skipped.
    TooLong(&'a [u8]),
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct LineFramer {
    /// Start of the line whose end has not come; at most [`MAX_LINE_BYTES`].
    partial: Vec<u8>,
    /// The current line was reported as too long: everything up to the next LF is thrown away.
    is_skipping: bool,
}

impl LineFramer {
    /// At the start of a line. Allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on every line that ends in them, in order. Returns whether there was one.
    pub fn push(&mut self, bytes: &[u8], mut hand_on: impl FnMut(Framed<'_>)) -> bool {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.complete(&rest[..end], &mut hand_on);
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() && !self.is_skipping {
            self.keep(rest, &mut hand_on);
        }
        rest.len() < bytes.len()
    }

    /// The stream has ended: a line without LF counts as a line. The framer is as new afterwards.
    pub fn finish(&mut self, mut hand_on: impl FnMut(Framed<'_>)) {
        self.complete(&[], &mut hand_on);
    }

    /// Whether a line was begun (blanks count, skipped bytes do not).
    pub fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Memory taken by the line that was begun.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    fn complete(&mut self, end_of_line: &[u8], hand_on: &mut impl FnMut(Framed<'_>)) {
        if std::mem::take(&mut self.is_skipping) {
            return;
        }
        if self.partial.len() + end_of_line.len() > MAX_LINE_BYTES {
            self.report_too_long(end_of_line, hand_on);
            return;
        }
        if self.partial.is_empty() {
            hand_on_line(end_of_line, hand_on);
            return;
        }
        self.append(end_of_line);
        hand_on_line(&self.partial, hand_on);
        self.forget_partial();
    }

    fn keep(&mut self, start_of_line: &[u8], hand_on: &mut impl FnMut(Framed<'_>)) {
        if self.partial.len() + start_of_line.len() > MAX_LINE_BYTES {
            self.report_too_long(start_of_line, hand_on);
            self.is_skipping = true;
        } else {
            self.append(start_of_line);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let needed = self.partial.len() + bytes.len();
        if needed > self.partial.capacity() {
            // Doubling as Vec would, but never past MAX_LINE_BYTES, which is a power of two.
            self.partial.reserve_exact(needed.next_power_of_two() - self.partial.len());
        }
        self.partial.extend_from_slice(bytes);
    }

    fn report_too_long(&mut self, continuation: &[u8], hand_on: &mut impl FnMut(Framed<'_>)) {
        let mut head = [0; MAX_HEAD_BYTES];
        let bytes = self.partial.iter().chain(continuation);
        for (slot, byte) in head.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        hand_on(Framed::TooLong(&head));
        self.forget_partial();
    }

    fn forget_partial(&mut self) {
        self.partial.clear();
        if self.partial.capacity() > KEPT_PARTIAL_BYTES {
            self.partial = Vec::new();
        }
    }
}

fn hand_on_line(line: &[u8], hand_on: &mut impl FnMut(Framed<'_>)) {
    let trimmed = line.trim_ascii();
    if !trimmed.is_empty() {
        hand_on(Framed::Line(trimmed));
    }
}

/// One client.
pub(super) struct Connection {
    pub(super) stream: mio::net::TcpStream,
    pub(super) framer: Framer,
    /// Who it is.
    pub(super) source: IpAddr,
    /// Monotonic time of the last byte received.
    pub(super) last_activity: Duration,
    /// Since when something is begun and not ended.
    pub(super) partial_since: Option<Duration>,
    /// What the framer held when it was last looked at.
    pub(super) held_bytes: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Owned {
        Line(Vec<u8>),
        TooLong(Vec<u8>),
    }

    fn frame<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
        let mut found = Vec::new();
        let mut framer = LineFramer::new();
        let mut keep = |framed: Framed<'_>| {
            found.push(match framed {
                Framed::Line(line) => Owned::Line(line.to_vec()),
                Framed::TooLong(head) => Owned::TooLong(head.to_vec()),
            });
        };
        for chunk in chunks {
            framer.push(chunk, &mut keep);
            assert!(framer.partial.capacity() <= MAX_LINE_BYTES);
        }
        framer.finish(&mut keep);
        assert!(!framer.has_partial());
        found
    }

    #[track_caller]
    fn check(bytes: &[u8], lines: &[&str]) {
        let expected: Vec<_> = lines.iter().map(|line| Owned::Line(line.as_bytes().to_vec())).collect();
        assert_eq!(frame([bytes]), expected);
        assert_eq!(frame(bytes.chunks(1)), expected, "byte by byte");
    }

    #[test]
    fn lines_end_at_lf_and_are_trimmed() {
        check(b"a 1 2\nb 3 4\r\n\t c 5 6 \n", &["a 1 2", "b 3 4", "c 5 6"]);
        check(b"a\rb\n", &["a\rb"]);
    }

    #[test]
    fn blank_lines_are_dropped() {
        check(b"\n\r\n \t\na\n\n", &["a"]);
        check(b"", &[]);
    }

    #[test]
    fn the_last_line_needs_no_lf() {
        check(b"a\nb", &["a", "b"]);
        check(b"a\n  ", &["a"]);
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_byte_more_does_not() {
        let longest = vec![b'x'; MAX_LINE_BYTES];
        let too_long = vec![b'x'; MAX_LINE_BYTES + 1];
        let stream = [&longest[..], b"\n", &too_long, b"\nnext\n", &too_long].concat();
        let head = Owned::TooLong(vec![b'x'; MAX_HEAD_BYTES]);
        for chunk_bytes in [1, 1_000, MAX_LINE_BYTES, stream.len()] {
            let found = frame(stream.chunks(chunk_bytes));
            let expected = [
                Owned::Line(longest.clone()),
                head_copy(&head),
                Owned::Line(b"next".to_vec()),
                head_copy(&head),
            ];
            assert!(found == expected, "chunks of {chunk_bytes} bytes");
        }
    }

    fn head_copy(head: &Owned) -> Owned {
        match head {
            Owned::Line(bytes) => Owned::Line(bytes.clone()),
            Owned::TooLong(bytes) => Owned::TooLong(bytes.clone()),
        }
    }

    #[test]
    fn the_head_of_an_over_long_line_is_its_beginning() {
        let mut line = b"begin ".to_vec();
        line.resize(MAX_LINE_BYTES + 9, b'-');
        for chunks in [line.chunks(3), line.chunks(line.len())] {
            let found = frame(chunks);
            assert!(matches!(&found[..], [Owned::TooLong(head)] if head[..] == line[..MAX_HEAD_BYTES]));
        }
    }

    #[test]
    fn an_endless_line_is_reported_once_and_not_buffered() {
        let mut framer = LineFramer::new();
        let mut reports = 0;
        for _ in 0..200 {
            framer.push(&vec![b'x'; 65_536], |_| reports += 1);
            assert!(framer.partial.capacity() <= MAX_LINE_BYTES);
        }
        assert_eq!((reports, framer.partial.capacity()), (1, 0));
        let mut lines = Vec::new();
        framer.push(b"tail\ngood\n", |framed| lines.push(framed == Framed::Line(b"good")));
        assert_eq!(lines, [true]);
    }

    #[test]
    fn a_big_buffer_is_given_back_between_lines() {
        let mut framer = LineFramer::new();
        assert_eq!(framer.partial.capacity(), 0);
        framer.push(&vec![b'x'; 40_000], |_| ());
        framer.push(b"\n", |_| ());
        assert!(framer.partial.capacity() <= KEPT_PARTIAL_BYTES);
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_matter(
            pieces in proptest::collection::vec((0_usize..6, 1_usize..70_000), 0..12),
            borders in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            let mut stream = Vec::new();
            for (kind, length) in pieces {
                match kind {
                    0 | 1 => stream.push(b'\n'),
                    2 => stream.extend_from_slice(b" \r\n"),
                    3 => stream.extend((0..length).map(|n| b'a' + u8::try_from(n % 26).expect("below 26"))),
                    _ => stream.extend_from_slice(b"name 1 2"),
                }
            }
            let mut cuts: Vec<usize> = borders.iter().map(|border| border.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
            prop_assert!(frame(chunks) == frame([&stream[..]]));
        }
    }
}
